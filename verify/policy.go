package verify

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// What a cell of the matrix was expected to be, and seen to be.
const (
	allowed = "allowed"
	refused = "refused"
	mixed   = "mixed"
	unknown = "unknown"
)

// policy judges the row of the matrix that belongs to one callee: each of its cells, and what its proxies counted in
// each round.
func (x *trial) policy(to scenarios.Workload) (Check, []Cell) {
	c := Check{Kind: KindPolicy, Subject: to.Name}
	var cells []Cell
	var all, cellTally, metrics, connections tally
	x.whole(&all, evidence.Requests, evidence.Probes, evidence.Accesses, evidence.Scrapes, evidence.Pods, evidence.Events)
	got, forbidden, own := 0, 0, 0
	for _, asks := range x.cellsOf(to) {
		cell, t := x.cell(asks)
		cellTally.add(t)
		cells = append(cells, cell)
		if cell.Verdict == Skipped {
			own++
			continue
		}
		if cell.Expected == refused {
			forbidden++
			if len(t.disproof) > 0 {
				got++
			}
		}
	}
	if what := unasked(x.entry, to.Name); what != "" {
		cellTally.invalid("NotAsked", nil, "%s, which the plan does not vary: whether it opens %s to somebody cannot be told", what, to.Name)
	}
	if len(cells) == 0 {
		cellTally.invalid("NotAsked", nil, "the plan asks nothing of %s", to.Name)
	}
	for _, r := range x.rounds {
		cellTally.add(&r.tally)
		x.unsent(&cellTally, r, to)
	}
	x.loadAllowed(&cellTally, to)
	all.add(&cellTally)
	c.Witnesses = append(c.Witnesses, cellTally.witness("cells", fmt.Sprintf("%d of %d cells are as the policy says", len(cells)-own, len(cells))))
	ok := fmt.Sprintf("all %d cells are as the policy says, %d of them refused", len(cells)-own, forbidden)
	if own > 0 {
		ok += fmt.Sprintf("; %d more cannot be judged: %s", own, onLoopback)
	}
	if x.d.proxied() {
		claim := "fresh requests made handshakes of their own, established ones made none"
		if x.d.traits().keeps {
			claim = x.connectionsKept(&connections, to)
			ok += "; " + claim
		}
		for _, r := range x.rounds {
			x.refusalsCounted(&metrics, r, to)
			if !x.d.traits().keeps {
				x.connectionsClaimed(&connections, r, to)
			}
		}
		all.add(&metrics)
		all.add(&connections)
		c.Witnesses = append(c.Witnesses,
			metrics.witness("proxy metrics", "the proxies counted as many refusals as the clients saw"),
			connections.witness("connections", claim))
	}
	c.Verdict, c.Reason, c.Message, c.Used = all.judge(ok)
	if c.Verdict == Pass && own == len(cells) {
		c.Verdict, c.Reason, c.Message = Skipped, reasonLoopback, onLoopback
		return c, cells
	}
	if x.declares(scenarios.GapPolicy) {
		x.policyGap(&c, cells, &all, got, forbidden)
	}
	return c, cells
}

// unsent notes what a service recorded in a round and no client says that it sent.
func (x *trial) unsent(t *tally, r *round, to scenarios.Workload) {
	for _, rec := range x.received[edgeWindow{window: r.Name, service: to.Name}] {
		x.sentBy(t, r, rec.Request)
	}
}

// policyGap turns a verdict into that of a declared gap: a forbidden request must have got through, and nothing be
// left in doubt.
func (x *trial) policyGap(c *Check, cells []Cell, all *tally, got, forbidden int) {
	switch {
	case len(all.lack) > 0:
		c.Verdict, c.Reason, c.Message = Invalid, all.lack[0].reason, "the declared gap cannot be shown: "+all.lack[0].message
		c.Used = refs(all.lack[0].used)
		for i := range cells {
			if cells[i].Verdict == Fail { // what got through shows the gap, or nothing
				cells[i].Verdict = Invalid
			}
		}
	case len(all.disproof) > 0 && all.disproof[0].reason != reasonHole:
		// An allowed request that is refused is no gap in what the mesh can refuse.
	case got > 0:
		c.Verdict, c.Reason = Gap, "DeclaredGap"
		c.Message = fmt.Sprintf("as declared: %d of %d forbidden cells got through", got, forbidden)
		c.Used = refs(all.used)
		for i := range c.Witnesses {
			if c.Witnesses[i].Verdict == Fail {
				c.Witnesses[i].Verdict = Gap
			}
		}
		for i := range cells {
			if cells[i].Verdict == Fail {
				cells[i].Verdict = Gap
			}
		}
	case forbidden == 0:
		c.Verdict, c.Reason = Invalid, "GapNotShown"
		c.Message = fmt.Sprintf("policy is declared as a gap of this mesh, and the scenario forbids nothing to %s, so the gap cannot be shown", c.Subject)
	default:
		c.Verdict, c.Reason = Invalid, "GapClosed"
		c.Message = "policy is declared as a gap of this mesh, and every forbidden request was refused: the declaration is stale, or the check is blind"
	}
}

// roundAsk is one ask of the plan in its round.
type roundAsk struct {
	*round
	Ask
}

// cellsOf groups what is asked of a callee by cell: before and after the load are one cell.
func (x *trial) cellsOf(to scenarios.Workload) [][]roundAsk {
	at := map[string]int{}
	var out [][]roundAsk
	for _, r := range x.rounds {
		for _, a := range r.Asks {
			if a.To != to.Name {
				continue
			}
			i, ok := at[a.Cell]
			if !ok {
				i = len(out)
				at[a.Cell] = i
				out = append(out, nil)
			}
			out[i] = append(out[i], roundAsk{r, a})
		}
	}
	return out
}

const (
	reasonHole  = "PolicyHole"
	reasonBlock = "OverBlocked"
)

// cell judges one cell over all its rounds.
func (x *trial) cell(asks []roundAsk) (Cell, *tally) {
	a := asks[0].Ask
	c := Cell{
		ID: a.Cell, Trial: x.id, From: a.From, Cluster: a.Cluster, To: a.To, Method: a.Method, Path: a.Path,
		Connection: a.Connection, Expected: refused,
	}
	if a.Allowed {
		c.Expected = allowed
	}
	t := &tally{}
	through, turned, own := 0, 0, 0
	statuses := map[string]bool{}
	for _, ra := range asks {
		kinds := map[refusal]bool{}
		others, mine := x.own(t, x.answered(t, ra.round, ra.Ask))
		own += len(mine)
		for _, p := range others {
			statuses[status(p)] = true
			switch recs := x.requests[p.ID]; {
			case len(recs) > 0:
				through++
			case p.Status/100 != 2:
				turned++
			}
			if a.Allowed {
				x.allowedAsk(t, p)
			} else {
				x.refusedAsk(t, p)
				kinds[refusal{x.clientOf(p), p.Status}] = true
			}
		}
		x.refusalsNamed(t, ra, kinds)
	}
	switch {
	case through > 0 && turned > 0:
		c.Observed = mixed
	case through > 0 && len(t.lack) == 0:
		c.Observed = allowed
	case turned > 0 && len(t.lack) == 0:
		c.Observed = refused
	default:
		c.Observed = unknown
	}
	c.Status = strings.Join(sortedKeys(statuses), ", ")
	c.Verdict, _, c.Message, c.Used = t.judge("")
	if c.Verdict == Pass && c.Observed == unknown && own > 0 {
		c.Verdict, c.Message = Skipped, onLoopback
	}
	return c, t
}

// allowedAsk wants a request to have been answered by the workload, which says so itself, once, under the caller's
// identity where the mesh has any.
func (x *trial) allowedAsk(t *tally, p *evidence.Probe) {
	from, ok := x.s.Workload(p.From.Service)
	to, ok2 := x.s.Workload(p.To)
	if !ok || !ok2 {
		t.invalid("NotAsked", refsOf(p), "request %s is of workloads that the scenario does not have", p.ID)
		return
	}
	recs := x.requests[p.ID]
	if p.Status/100 != 2 {
		used := append(refsOf(p), refsOf(recs...)...)
		switch {
		case len(recs) > 0:
			t.invalid("Unanswered", used, "%s: request %s arrived, and its client saw %s", p.Cell, p.ID, x.seen(p))
		case p.Status == 401 || p.Error == "closed" || slices.Contains(x.d.traits().refusals, p.Status):
			t.fail(reasonBlock, used, "%s is allowed, and was refused: %s", p.Cell, status(p))
		default:
			t.invalid("Unanswered", used, "%s is allowed, and its client saw %s", p.Cell, x.seen(p))
		}
		return
	}
	if rec := x.heard(t, p); rec != nil && x.d.proxied() {
		x.identified(t, rec, from, to)
	}
}

// refusedAsk wants a request to have reached no workload, its authorised twin to have been served, and a proxy to name
// policy as the cause. What is closed before any proxy reads it has no line of its own and is counted instead.
func (x *trial) refusedAsk(t *tally, p *evidence.Probe) {
	recs := x.requests[p.ID]
	used := append(refsOf(p), refsOf(recs...)...)
	if len(recs) > 0 {
		if p.Status/100 == 2 {
			x.heard(t, p)
		} else {
			t.invalid("Unanswered", used, "%s: request %s arrived, and its client saw %s", p.Cell, p.ID, x.seen(p))
		}
		t.fail(reasonHole, used, "%s is forbidden, and got through: request %s was recorded by %s and answered %s", p.Cell, p.ID, podName(recs[0].At), status(p))
		return
	}
	if p.Status/100 == 2 {
		t.invalid("NoRecord", used, "%s is forbidden, and was answered %s without a record of any workload", p.Cell, status(p))
		return
	}
	x.twin(t, p)
	switch {
	case !x.d.proxied():
		t.invalid("NoCause", used, "%s went unanswered (%s), and there is no proxy to say that policy refused it", p.Cell, status(p))
	case p.Status == 0 && p.From.Service == scenarios.OutsiderName:
		// Counted by turnedAway in refusalsCounted.
	case p.Status == 0:
		t.invalid("NoCause", used, "%s went unanswered (%s): that is not how policy refuses", p.Cell, status(p))
	case x.d.traits().logs:
		x.refusalLogged(t, p)
	case !slices.Contains(x.d.traits().refusals, p.Status):
		t.invalid("NoCause", used, "%s was answered %s: that is not how policy refuses", p.Cell, status(p))
	}
}

// refusalsNamed wants the counters of the callee's proxies to name policy as the cause of each refusal of a cell in one
// round, where there is no log that does. They do when, for its client and code, they agree with all that was refused.
func (x *trial) refusalsNamed(t *tally, a roundAsk, kinds map[refusal]bool) {
	if x.d.traits().logs || !x.d.proxied() {
		return
	}
	to, _ := x.s.Workload(a.To)
	p := x.pool(a.round, to)
	for _, code := range x.d.traits().refusals {
		for k := range kinds {
			if k.code == code {
				t.add(&p.tally)
				p.agree(t, a.round, to, k)
			}
		}
	}
}

// refusalLogged wants the callee's proxy to have logged that policy refused this very request, of this very caller.
func (x *trial) refusalLogged(t *tally, p *evidence.Probe) {
	l := x.logged(t, p)
	if l == nil {
		return
	}
	used := append(refsOf(p), l.Ref())
	from, _ := x.s.Workload(p.From.Service)
	switch {
	case !l.denied() || p.Status != l.code:
		t.invalid("NoCause", used, "%s was answered %s, and the access log of %s does not name policy as the cause: code %d, %q", p.Cell, status(p), podName(l.At), l.code, l.details)
	case from.Meshed && l.peer != x.d.identity(from):
		t.fail("WrongIdentity", used, "%s was refused as a request of %q: the refusal says nothing about %s", p.Cell, l.peer, from.Name)
	}
}

// refusalsCounted holds the refusals that the callee's proxies counted in a round against those that clients saw.
func (x *trial) refusalsCounted(t *tally, r *round, to scenarios.Workload) {
	closed, outside := int64(0), []evidence.Ref(nil)
	for _, p := range x.asked[r.Name] {
		if from, _ := x.s.Workload(p.From.Service); p.To == to.Name && p.Status == 0 && !from.Meshed {
			closed++
			outside = append(outside, p.Ref())
		}
	}
	p := x.pool(r, to)
	var seen []evidence.Ref
	for _, list := range p.seen {
		seen = append(seen, list...)
	}
	t.add(&p.tally)
	t.use(seen...)
	t.use(outside...)
	scrapes := refs(p.tally.used)
	used := append(slices.Clone(scrapes), seen...)
	x.turnedAway(t, r, to, closed, outside)
	if x.counted {
		kinds := map[string]refusal{}
		for k := range p.refused {
			kinds[fmt.Sprint(k)] = k
		}
		for k := range p.seen {
			kinds[fmt.Sprint(k)] = k
		}
		for _, k := range sortedKeys(kinds) {
			p.agree(t, r, to, kinds[k])
		}
		for _, c := range p.requests {
			if c.code == http.StatusTooManyRequests && c.n > 0 {
				t.invalid("RateLimited", scrapes, "the proxies of %s turned away %d requests of %s for their rate in proof window %s: that is no answer of its policy", to.Name, c.n, c.client, r.Name)
			}
		}
	}
	// What a pod makes of plaintext says nothing about what it makes of workloads of the mesh.
	meshed := 0
	for k, list := range p.seen {
		if k.secured {
			meshed += len(list)
		}
	}
	for _, pod := range p.pods {
		meshed := meshed
		if x.d.traits().loopback && !x.refusedOthers(r, to, pod.UID) {
			meshed = 0 // only the pod itself asked for what is forbidden to workloads of the mesh
		}
		if len(seen) > 0 && x.refusalsOf(pod, meshed > 0) == 0 && !x.refusedFresh(t, r, to, pod.UID, meshed > 0) {
			n, of := len(seen), ""
			if meshed > 0 {
				n, of = meshed, " of workloads of the mesh"
			}
			t.invalid("NotCovered", scrapes, "pod %s refused none of %d forbidden requests%s to %s in proof window %s, so nothing is known of it", podName(pod.PodRef), n, of, to.Name, r.Name)
		}
	}
	if p.judged && p.denied != int64(len(seen)) {
		t.invalid("MetricsDisagree", used, "the policy filters of %s refused %d requests in proof window %s, and clients saw %d refusals", to.Name, p.denied, r.Name, len(seen))
	}
	if !x.counted && !p.judged && len(seen) > 0 {
		t.invalid("NoMetrics", scrapes, "the proxies of %s do not export how many requests they refused", to.Name)
	}
}

// refusedOthers reports whether any workload of the mesh was refused in a round that a pod could have refused: another pod
// than itself.
func (x *trial) refusedOthers(r *round, to scenarios.Workload, uid string) bool {
	return slices.ContainsFunc(x.asked[r.Name], func(p *evidence.Probe) bool {
		return p.To == to.Name && p.From.UID != uid && x.clientOf(p).secured && slices.Contains(x.d.traits().refusals, p.Status)
	})
}

// refusalsOf is how many requests a pod's proxy counted as refused by its policy, of anybody or of workloads of the mesh.
func (x *trial) refusalsOf(pod podCounts, meshed bool) int64 {
	if meshed {
		return refusedMeshed(x.d, pod.counts, x.counted)
	}
	n := pod.denied
	for _, c := range pod.requests {
		if !c.allowed && slices.Contains(x.d.traits().refusals, c.code) {
			n += c.n
		}
	}
	return n
}

// refusedMeshed is how many requests of workloads of the mesh the policy refused. A proxy that does not count requests
// by client has only refused those that came under TLS: it closes the others unread.
func refusedMeshed(d dialect, c counts, counted bool) int64 {
	if !counted {
		return c.denied
	}
	n := int64(0)
	for _, r := range c.requests {
		if !r.allowed && r.secured && slices.Contains(d.traits().refusals, r.code) {
			n += r.n
		}
	}
	return n
}

// Refusals is how many requests of workloads of the mesh a pod's proxy has refused by its policy, by its metric page. It
// says whom else to ask, and proves nothing.
func Refusals(mesh scenarios.MeshName, body string) (int64, error) {
	d, err := dialectOf(scenarios.MeshEntry{Name: mesh})
	if err != nil {
		return 0, err
	}
	p, err := parsePage(body, d.families())
	if err != nil {
		return 0, err
	}
	var all []sample
	for _, s := range p.series {
		all = append(all, s)
	}
	return refusedMeshed(d, d.counts(all), d.countsRequests(body)), nil
}

// refusedFresh reports whether a pod that met no forbidden request in the established round of a stage refused some in
// the fresh round before it, where the two differ in nothing: a mesh whose proxies keep one connection between them asks
// on the same connection in both. Its balancer may leave a pod aside for seconds that was slow once.
func (x *trial) refusedFresh(t *tally, r *round, to scenarios.Workload, uid string, meshed bool) bool {
	if !x.d.traits().keeps || r.connection != connEstablished {
		return false
	}
	for _, other := range x.rounds {
		if other.stage != r.stage || other.connection != connFresh {
			continue
		}
		p := x.pool(other, to)
		for _, pod := range p.pods {
			if pod.UID == uid && x.refusalsOf(pod, meshed) > 0 {
				t.add(&p.tally)
				return true
			}
		}
	}
	return false
}
