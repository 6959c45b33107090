package verify

import (
	"fmt"
	"slices"

	"github.com/meshproof/meshproof/scenarios"
)

// Stages of a trial at which a plan is executed: before and after the load.
const (
	StageBefore = "before"
	StageAfter  = "after"
)

var stages = []string{StageBefore, StageAfter}

// Kinds of connection that a cell is asked on.
const (
	connFresh       = "fresh"
	connEstablished = "established"
)

const (
	minTimes = 3  // a cell is asked at least so often
	maxTimes = 12 // and at most so often, however many pods there are, unless it takes more to meet each of them
	// cover is how many refused requests a pod of the callee gets on average in a round, on either side of the mesh's
	// border: each pod must have refused one. With n pods and uniform balancing one is left out with less than n·e^-12.
	cover = 12
	// askBudget is how many requests a round may have before cells are asked less often (never less than minTimes).
	askBudget = 2000
	// warmups is how many requests a pod of the callee gets on average to open connections. With n pods and uniform
	// balancing the chance that one is left out is below n·e^-12.
	warmups = 12
	// unlisted is a path that no policy names.
	unlisted = "/meshproof-unlisted"
	// anyPath stands for the wildcard of a path.
	anyPath = "meshproof-any"
)

// NewPlan is what must be asked of a mesh at one stage to prove mutual TLS and policy of the scenario: every caller in
// every cluster, every service, every method and path that the policy for that service distinguishes, on fresh and on
// established connections. Where there is an issuer, good and bad tokens come first. It is empty where the scenario
// has none and expects neither of the two. Defaults must be filled in.
//
// The outsider is asked on fresh connections alone, and only where it must be refused: nothing is claimed about it
// otherwise, and what is closed at once leaves no connection behind.
func NewPlan(s *scenarios.Scenario, stage string) Plan {
	var rounds []Round
	if edge := edgeRound(s, stage); len(edge.Asks) > 0 {
		rounds = append(rounds, edge)
	}
	if !wantsMTLS(s) && s.Spec.Expect.Policy == nil {
		return Plan{rounds}
	}
	fresh := Round{Name: stage + "/" + connFresh, Handshakes: true, Cover: true}
	established := Round{Name: stage + "/" + connEstablished}
	for _, to := range s.Workloads() {
		if to.Service == nil {
			continue
		}
		fresh.Asks = append(fresh.Asks, asksOf(s, to, connFresh)...)
		asks := asksOf(s, to, connEstablished)
		established.Asks = append(established.Asks, asks...)
		established.Warmup = append(established.Warmup, warmupsOf(to, asks)...)
	}
	for _, r := range []*Round{&fresh, &established} {
		limitTimes(s, r.Asks)
	}
	return Plan{append(rounds, fresh, established)}
}

func wantsMTLS(s *scenarios.Scenario) bool {
	return s.Spec.Expect.MTLS != nil && s.Spec.Expect.MTLS.Everywhere
}

// asksOf lists the cells of one callee on one kind of connection.
func asksOf(s *scenarios.Scenario, to scenarios.Workload, connection string) []Ask {
	times := min(max(minTimes, 2*podsOf(to)), maxTimes)
	methods, paths := classes(s, to.Name)
	var asks []Ask
	for _, from := range s.Workloads() {
		if !from.Meshed && (connection != connFresh || !wantsMTLS(s) && s.Spec.Policy.Default != scenarios.DefaultDeny) {
			continue
		}
		for _, cluster := range from.Clusters {
			for _, m := range methods {
				for _, p := range paths {
					asks = append(asks, Ask{
						Cell: cellID(from.Name, cluster, to.Name, m, p, connection),
						From: from.Name, Cluster: cluster, To: to.Name, Method: m, Path: p, Connection: connection,
						Allowed: from.Meshed && s.Spec.Policy.Allows(from.Name, to.Name, m, p), Times: times,
					})
				}
			}
		}
	}
	var allowed []Ask
	for _, a := range asks {
		if a.Allowed {
			allowed = append(allowed, a)
		}
	}
	for i := range asks {
		if !asks[i].Allowed {
			asks[i].Twin = twinOf(asks[i], allowed)
		}
	}
	return asks
}

func cellID(from, cluster, to, method, path, connection string) string {
	return fmt.Sprintf("%s@%s->%s %s %s (%s)", from, cluster, to, method, path, connection)
}

// twinOf picks the allowed ask that differs least from a refused one, of another workload than the callee where one may ask: first who asks, then what is asked, then from
// where. It is nil where nobody may ask anything of the callee.
func twinOf(a Ask, allowed []Ask) *Ask {
	best, at := -1, 0
	for i, b := range allowed {
		score := 0
		if b.From != b.To { // what a pod sends to itself may meet no proxy
			score += 8
		}
		if b.Cluster == a.Cluster {
			score += 4
		}
		if b.Method == a.Method && b.Path == a.Path {
			score += 2
		}
		if b.From == a.From {
			score++
		}
		if score > best {
			best, at = score, i
		}
	}
	if best < 0 {
		return nil
	}
	t := allowed[at]
	return &t
}

// warmupsOf opens connections from every caller to every pod of the callee. Whether a request is allowed makes no
// difference to the connection between the proxies.
func warmupsOf(to scenarios.Workload, asks []Ask) []Ask {
	var out []Ask
	for _, a := range asks {
		if n := len(out); n > 0 && out[n-1].From == a.From && out[n-1].Cluster == a.Cluster {
			continue // asks of one caller stand together
		}
		a.Cell = fmt.Sprintf("warm-up %s@%s->%s", a.From, a.Cluster, a.To)
		a.Times, a.Twin = warmups*podsOf(to), nil
		out = append(out, a)
	}
	return out
}

// coverTimes is how often each refused cell must be asked at least, for all pods of its callee to be met: by callee, and
// by whether the caller is meshed.
func coverTimes(s *scenarios.Scenario, asks []Ask) func(Ask) int {
	type side struct {
		to      string
		outside bool
	}
	sideOf := func(a Ask) side { return side{a.To, a.From == scenarios.OutsiderName} }
	// In plaintext, what nobody may ask may be refused for where it goes instead of how it comes.
	proves := func(a Ask) bool {
		return a.From != scenarios.OutsiderName || slices.ContainsFunc(s.Workloads(), func(w scenarios.Workload) bool {
			return w.Meshed && s.Spec.Policy.Allows(w.Name, a.To, a.Method, a.Path)
		})
	}
	cells := map[side]int{}
	for _, a := range asks {
		if !a.Allowed && proves(a) {
			cells[sideOf(a)]++
		}
	}
	return func(a Ask) int {
		w, ok := s.Workload(a.To)
		if a.Allowed || !ok || podsOf(w) == 1 || !proves(a) {
			return minTimes
		}
		n := cells[sideOf(a)]
		return max(minTimes, (cover*podsOf(w)+n-1)/n)
	}
}

// limitTimes lowers how often cells are asked until the round is within its budget, or until no cell can be asked less.
func limitTimes(s *scenarios.Scenario, asks []Ask) {
	floor := coverTimes(s, asks)
	for i := range asks {
		asks[i].Times = max(asks[i].Times, floor(asks[i]))
	}
	for limit := maxTimes; limit >= minTimes; limit-- {
		total := 0
		for i := range asks {
			asks[i].Times = min(asks[i].Times, max(limit, floor(asks[i])))
			total += asks[i].Times
			if asks[i].Twin != nil {
				total += asks[i].Times
			}
		}
		if total <= askBudget {
			break
		}
	}
	for i := range asks {
		if t := asks[i].Twin; t != nil {
			t.Times = asks[i].Times
		}
	}
}

func podsOf(w scenarios.Workload) int { return w.Replicas * len(w.Clusters) }

// classes lists the methods and the paths that the policy for a callee distinguishes, or that objects of a mesh do: every
// one that a rule names (a pattern is represented by a path that it matches), and one that none names. A dimension that no rule restricts has one
// representative.
func classes(s *scenarios.Scenario, to string) (methods, paths []string) {
	p := &s.Spec.Policy
	if p.Default == scenarios.DefaultDeny {
		for _, r := range p.Allow {
			if r.To != to {
				continue
			}
			for _, m := range r.Methods {
				methods = appendNew(methods, m)
			}
			for _, pattern := range r.Paths {
				paths = appendNew(paths, pathLike(pattern))
			}
		}
		moreMethods, morePaths := extraWords(s, to)
		for _, m := range moreMethods {
			methods = appendNew(methods, m)
		}
		for _, path := range morePaths {
			paths = appendNew(paths, path)
		}
	}
	if len(methods) == 0 {
		methods = []string{"GET"}
	} else if i := slices.IndexFunc(commonMethods, func(m string) bool { return !slices.Contains(methods, m) }); i >= 0 {
		methods = append(methods, commonMethods[i])
	}
	if len(paths) == 0 {
		paths = []string{"/"}
	} else {
		other := unlisted
		for slices.Contains(paths, other) {
			other += "-either"
		}
		paths = append(paths, other)
	}
	return methods, paths
}

// commonMethods are tried in this order for one that the policy does not name.
var commonMethods = []string{"GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
