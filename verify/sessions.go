package verify

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// dealt says where the sessions of a phase did not have their shares of what was planned; "" where they had, or there are
// none. A request that lies on the boundary of two phases may be counted to either: one at each end.
func dealt(p *evidence.Phase, st stagePhase) string {
	if len(p.Sessions) != len(st.sessions) {
		return fmt.Sprintf("it was sent by %d sessions, and the scenario has %d", len(p.Sessions), len(st.sessions))
	}
	sum, off, worst := int64(0), int64(0), 0
	for s, n := range p.Sessions {
		sum += n
		d := max(n-st.sessions[s], st.sessions[s]-n)
		off += d
		if w := p.Sessions[worst] - st.sessions[worst]; d > max(w, -w) {
			worst = s
		}
	}
	const boundaries = 2
	switch {
	case len(p.Sessions) > 0 && sum != p.Done:
		return fmt.Sprintf("its sessions sent %d requests, and %d have an outcome", sum, p.Done)
	case off > boundaries:
		return fmt.Sprintf("session %d sent %d requests, and its share of the plan is %d", worst, p.Sessions[worst], st.sessions[worst])
	}
	return ""
}

// Sessions is how the requests of a traffic's sessions were balanced in one phase.
type Sessions struct {
	Sessions int `json:"sessions"` // whose requests were answered
	OnePod   int `json:"onePod"`   // of which every request was answered by the same pod
	Most     int `json:"most"`     // most pods that answered one of them
	Pods     int `json:"pods"`     // that answered any: where one does all, nothing shows that somebody sticks to sessions
}

// balancedSessions counts the pods that answered each session of a traffic in a phase, as the workloads recorded it; nil
// where it has no sessions. A balancer that sticks to sessions gives each one pod, as long as it is there.
func (x *trial) balancedSessions(tr *scenarios.Traffic, st stagePhase) *Sessions {
	if tr.Sessions == 0 {
		return nil
	}
	deal := scenarios.NewDeal(scenarios.Seed(x.seed, tr.Name), tr.Sessions)
	pods, sent := map[int]map[string]bool{}, x.id.LoadID()+"-"+tr.Name
	for _, r := range x.received[edgeWindow{window: windowLoad, service: tr.To}] {
		i := strings.LastIndex(r.ID, "-")
		if i < 0 || r.ID[:i] != sent || r.Caller != tr.Caller()+"@"+tr.Cluster || evidence.OutcomeOf(itoa(r.Status)) != evidence.OutcomeOK {
			continue
		}
		n, err := strconv.ParseInt(r.ID[i+1:], 10, 64)
		if err != nil || n < st.first || n >= st.first+st.hits { // a call on behalf of a request has a dot behind its number
			continue
		}
		s := deal.Of(n)
		if pods[s] == nil {
			pods[s] = map[string]bool{}
		}
		pods[s][r.At.UID] = true
	}
	out, all := &Sessions{Sessions: len(pods)}, map[string]bool{}
	for _, p := range pods {
		for uid := range p {
			all[uid] = true
		}
		if len(p) == 1 {
			out.OnePod++
		}
		out.Most = max(out.Most, len(p))
	}
	out.Pods = len(all)
	return out
}
