package verify

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func verdicts(res *Result) map[string]string {
	out := map[string]string{}
	for _, c := range res.Checks {
		out[c.ID] = string(c.Verdict)
		if c.Verdict != Pass {
			out[c.ID] += " " + c.Reason + ": " + c.Message
		}
	}
	return out
}

func TestUpstreamEnvoyWithoutAnyPolicyIsProvedByWhatItServed(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Policy = scenarios.Policy{Default: scenarios.DefaultAllow}
	s.Spec.Expect.Policy = nil
	upstream := func(b *builder) { b.upstream = true }
	rec := goodRecord(t, s, upstream)
	res := Evaluate(rec)
	for id, v := range verdicts(res) {
		if v != "PASS" {
			t.Errorf("%s: %s", id, v)
		}
	}
	for _, take := range []string{"_nothing", servedSeries + " "} { // a page without the family, and one that counts less
		for i, sc := range rec.Scrapes {
			if sc.Edge == "end" && sc.At.Service == "cart" {
				was := sc.Body
				if take == "_nothing" {
					sc.Body = strings.ReplaceAll(was, envoyServed, envoyServed+take)
				} else {
					sc.Body = strings.Replace(was, take, take+"9", 1)
				}
				res := Evaluate(rec)
				sc.Body = was
				if c := checkOf(t, res, "mtls/shop->cart"); c.Verdict != Invalid {
					t.Errorf("scrape %d, %s: %s %s", i, take, c.Verdict, c.Message)
				}
				break
			}
		}
	}
}

func TestAGoodRecordOfIstioPassesEveryCheck(t *testing.T) {
	for _, upstream := range []bool{false, true} {
		res := Evaluate(goodRecord(t, testScenario(scenarios.MeshIstio), func(b *builder) { b.upstream = upstream }))
		if res.Verdict != Pass || res.Reason != "AllProved" {
			t.Errorf("upstream %v: %s %s: %s", upstream, res.Verdict, res.Reason, res.Message)
		}
		for id, v := range verdicts(res) {
			if v != "PASS" {
				t.Errorf("upstream %v: %s: %s", upstream, id, v)
			}
		}
		ids := sortedKeys(verdicts(res))
		want := []string{
			"errors/visitors/calm", "errors/visitors/rough", "fault/cart-dies", "fault/cut", "fault/slow",
			"latency/visitors/calm/p99", "latency/visitors/rough/p99", "load/visitors/calm", "load/visitors/rough",
			"mtls/ingress->shop", "mtls/shop->cart", "policy/cart", "policy/shop",
			"recovery/cart-dies", "recovery/cut", "recovery/slow", "run/whole",
		}
		if d := cmp.Diff(want, ids); d != "" {
			t.Errorf("checks (-want +got):\n%s", d)
		}
		for _, c := range res.Cells {
			if c.Verdict != Pass || c.Observed != c.Expected {
				t.Errorf("cell %s: %s, %s: %s", c.ID, c.Verdict, c.Observed, c.Message)
			}
		}
		for _, c := range res.Checks {
			if len(c.Used) == 0 {
				t.Errorf("%s passes and names no evidence", c.ID)
			}
			for _, w := range c.Witnesses {
				if w.Verdict != Pass || len(w.Used) == 0 {
					t.Errorf("%s: witness %s: %s %s", c.ID, w.Name, w.Verdict, w.Message)
				}
			}
		}
		for _, f := range res.Faults {
			if f.Verdict != Pass || f.RecoveryMicros < 0 || f.Effect == "" {
				t.Errorf("fault %+v", f)
			}
		}
	}
}

func TestNoMeshShowsItsDeclaredGaps(t *testing.T) {
	res := Evaluate(goodRecord(t, testScenario(scenarios.MeshNone, scenarios.GapMTLS, scenarios.GapPolicy)))
	if res.Verdict != Pass {
		t.Errorf("%s %s: %s", res.Verdict, res.Reason, res.Message)
	}
	for id, v := range verdicts(res) {
		want := "PASS"
		if strings.HasPrefix(id, "mtls/") || strings.HasPrefix(id, "policy/") {
			want = "GAP"
		}
		if !strings.HasPrefix(v, want) {
			t.Errorf("%s: %s, want %s", id, v, want)
		}
	}
	gaps := 0
	for _, c := range res.Cells {
		if c.Expected == refused {
			gaps++
			if c.Verdict != Gap || c.Observed != allowed {
				t.Errorf("cell %s: %s, %s", c.ID, c.Verdict, c.Observed)
			}
		}
	}
	if gaps == 0 {
		t.Error("no cell is forbidden")
	}
}

func TestAnUndeclaredGapIsAFailure(t *testing.T) {
	res := Evaluate(goodRecord(t, testScenario(scenarios.MeshNone)))
	if res.Verdict != Fail {
		t.Errorf("%s %s: %s", res.Verdict, res.Reason, res.Message)
	}
	for id, v := range verdicts(res) {
		if strings.HasPrefix(id, "mtls/") || strings.HasPrefix(id, "policy/") {
			if !strings.HasPrefix(v, "FAIL") {
				t.Errorf("%s: %s, want FAIL", id, v)
			}
		}
	}
}

func TestADeclaredGapThatIsClosedIsInvalid(t *testing.T) {
	res := Evaluate(goodRecord(t, testScenario(scenarios.MeshIstio, scenarios.GapMTLS, scenarios.GapPolicy)))
	if res.Verdict != Invalid || res.Reason != "GapClosed" {
		t.Errorf("%s %s: %s", res.Verdict, res.Reason, res.Message)
	}
	for id, v := range verdicts(res) {
		if strings.HasPrefix(id, "mtls/") || strings.HasPrefix(id, "policy/") {
			if !strings.HasPrefix(v, "INVALID GapClosed") {
				t.Errorf("%s: %s, want INVALID GapClosed", id, v)
			}
		}
	}
}

// without is the record without one piece, numbered as if it had never been made: the numbering shows nothing.
func without(rec *evidence.Record, ref evidence.Ref) *evidence.Record {
	out := *rec
	switch ref.Stream {
	case evidence.Requests:
		out.Requests = drop(&out, rec.Requests, ref, func(i *evidence.Request) *evidence.Header { return &i.Header })
	case evidence.Probes:
		out.Probes = drop(&out, rec.Probes, ref, func(i *evidence.Probe) *evidence.Header { return &i.Header })
	case evidence.Handshakes:
		out.Handshakes = drop(&out, rec.Handshakes, ref, func(i *evidence.Handshake) *evidence.Header { return &i.Header })
	case evidence.Accesses:
		out.Accesses = drop(&out, rec.Accesses, ref, func(i *evidence.Access) *evidence.Header { return &i.Header })
	case evidence.Scrapes:
		out.Scrapes = drop(&out, rec.Scrapes, ref, func(i *evidence.Scrape) *evidence.Header { return &i.Header })
	case evidence.Pods:
		out.Pods = drop(&out, rec.Pods, ref, func(i *evidence.Pod) *evidence.Header { return &i.Header })
	case evidence.Faults:
		out.Faults = drop(&out, rec.Faults, ref, func(i *evidence.Fault) *evidence.Header { return &i.Header })
	case evidence.Ticks:
		out.Ticks = drop(&out, rec.Ticks, ref, func(i *evidence.Tick) *evidence.Header { return &i.Header })
	case evidence.Phases:
		out.Phases = drop(&out, rec.Phases, ref, func(i *evidence.Phase) *evidence.Header { return &i.Header })
	case evidence.Events:
		out.Events = drop(&out, rec.Events, ref, func(i *evidence.Event) *evidence.Header { return &i.Header })
	}
	return &out
}

// drop takes an item out of its stream, renumbers what its producer made later, and lowers what it said at its end.
func drop[T any](rec *evidence.Record, items []*T, ref evidence.Ref, head func(*T) *evidence.Header) []*T {
	i := slices.IndexFunc(items, func(i *T) bool { return head(i).Ref() == ref })
	gone := head(items[i])
	out := make([]*T, 0, len(items)-1)
	for j, it := range items {
		if j == i {
			continue
		}
		if h := head(it); h.Trial == gone.Trial && h.Src == gone.Src && h.N > gone.N {
			c := *it
			head(&c).N--
			it = &c
		}
		out = append(out, it)
	}
	events := slices.Clone(rec.Events)
	for j, e := range events {
		if e.Kind == evidence.EventProducerEnd && e.Trial == gone.Trial && e.Of == gone.Src && e.Stream == ref.Stream {
			c := *e
			c.Count--
			events[j] = &c
		}
	}
	rec.Events = events
	if ev, ok := any(out).([]*evidence.Event); ok { // the stream of events itself: take the lowered ends over
		byRef := map[evidence.Ref]*evidence.Event{}
		for _, e := range events {
			byRef[e.Ref()] = e
		}
		for j, e := range ev {
			if e.Kind == evidence.EventProducerEnd {
				n := e.N
				c := *byRef[e.Ref()]
				c.N = n
				ev[j] = &c
			}
		}
	}
	return out
}

func TestNoCheckPassesWithoutAnyPieceOfTheEvidenceThatItUsed(t *testing.T) {
	// Without paths in the policy the matrix is smaller, and the time that this takes grows with its square.
	small := func(s *scenarios.Scenario) *scenarios.Scenario {
		s.Spec.Policy.Allow[1].Paths = nil
		return s
	}
	onePath := func(s *scenarios.Scenario) *scenarios.Scenario {
		s.Spec.Policy.Allow[1].Paths = nil
		s.Spec.Policy.Allow[0].Paths = []string{"/"}
		s.Spec.Topology.Services[1].Clusters = []string{"east"}
		return s
	}
	for name, rec := range map[string]*evidence.Record{
		"istio": goodRecord(t, small(testScenario(scenarios.MeshIstio))),
		"none":  goodRecord(t, small(testScenario(scenarios.MeshNone, scenarios.GapMTLS, scenarios.GapPolicy))),
		// Here paths make a difference of kind: 404 beside 403.
		"linkerd":                               goodRecord(t, onePath(testScenario(scenarios.MeshLinkerd))),
		"layered over Services":                 goodRecord(t, onePath(layeredScenario(scenarios.GatewayMeshed, scenarios.BalancingService))),
		"layered with a gateway of its own TLS": goodRecord(t, onePath(layeredScenario(scenarios.GatewayDirect, ""))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			takeAway(t, rec, func(string) bool { return true }, 100)
		})
	}
}

// takeAway takes each piece of evidence away that one of these checks, or a cell, used to pass, and wants it to fall. There must be at
// least so many.
func takeAway(t *testing.T, rec *evidence.Record, these func(id string) bool, least int) {
	t.Helper()
	users := map[evidence.Ref][]string{}
	note := func(v Verdict, id string, used []evidence.Ref) {
		if (v == Pass || v == Gap) && these(id) {
			for _, r := range used {
				users[r] = append(users[r], id)
			}
		}
	}
	good := Evaluate(rec)
	for _, c := range good.Checks {
		note(c.Verdict, c.ID, c.Used)
	}
	for _, c := range good.Cells {
		note(c.Verdict, "cell "+c.ID, c.Used)
	}
	if len(users) < least {
		t.Fatalf("only %d pieces of evidence were used", len(users))
	}
	streams := map[evidence.Stream]int{}
	tried := 0
	for ref, ids := range users {
		streams[ref.Stream]++

		if hurried() && ref.Line%10 != 0 {
			continue
		}
		tried++
		less := without(rec, ref)
		if g := less.Gaps(); len(g) > 0 {
			t.Fatalf("without %v the numbering shows a gap, which is not what is tested here: %v", ref, g)
		}
		res := Evaluate(less)
		stands := map[string]Verdict{}
		for _, c := range res.Checks {
			stands[c.ID] = c.Verdict
		}
		for _, c := range res.Cells {
			stands["cell "+c.ID] = c.Verdict
		}
		for _, id := range ids {
			if v := stands[id]; v == Pass || v == Gap {
				t.Errorf("without %v, %s is still %s", ref, id, v)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d pieces of evidence tried, of %v", tried, streams)
}

func TestTheOrderOfRecordsMadeAtTheSameTimeMakesNoDifference(t *testing.T) {
	for _, s := range []*scenarios.Scenario{testScenario(scenarios.MeshIstio), testScenario(scenarios.MeshNone), testScenario(scenarios.MeshLinkerd), rotationScenario(scenarios.MeshIstio), layeredEdgeScenario(scenarios.GatewayMeshed, scenarios.BalancingService)} {
		rec := goodRecord(t, s)
		first, err := json.Marshal(Evaluate(rec))
		must(t, err)
		again, err := json.Marshal(Evaluate(rec))
		must(t, err)
		if string(first) != string(again) {
			t.Error("the same record gives two results")
		}
		r := rand.New(rand.NewPCG(1, 2))
		shuffled := *rec
		shuffle(r, &shuffled.Requests)
		shuffle(r, &shuffled.Probes)
		shuffle(r, &shuffled.Handshakes)
		shuffle(r, &shuffled.Accesses)
		shuffle(r, &shuffled.Scrapes)
		shuffle(r, &shuffled.Pods)
		shuffle(r, &shuffled.Faults)
		shuffle(r, &shuffled.Ticks)
		shuffle(r, &shuffled.Phases)
		shuffle(r, &shuffled.Events)
		mixed, err := json.Marshal(Evaluate(&shuffled))
		must(t, err)
		if d := cmp.Diff(string(first), string(mixed)); d != "" {
			t.Errorf("another order gives another result:\n%s", d)
		}
	}
}

func shuffle[T any](r *rand.Rand, list *[]T) {
	*list = slices.Clone(*list)
	r.Shuffle(len(*list), func(i, j int) { (*list)[i], (*list)[j] = (*list)[j], (*list)[i] })
}

// hurried reports whether a sample of the pieces of evidence is enough.
func hurried() bool { return testing.Short() }
