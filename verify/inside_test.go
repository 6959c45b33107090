package verify

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// innerScenario is the small scenario with a second traffic, which shop sends to cart.
func innerScenario(mesh scenarios.MeshName, gaps ...scenarios.Gap) *scenarios.Scenario {
	s := testScenario(mesh, gaps...)
	inner := s.Spec.Traffic[0]
	inner.Name, inner.From, inner.To = "inner", "shop", "cart"
	s.Spec.Traffic = append(s.Spec.Traffic, inner)
	for _, l := range s.Spec.Expect.Latency {
		l.Traffic = inner.Name
		s.Spec.Expect.Latency = append(s.Spec.Expect.Latency, l)
	}
	for _, e := range s.Spec.Expect.Errors {
		e.Traffic = inner.Name
		s.Spec.Expect.Errors = append(s.Spec.Expect.Errors, e)
	}
	return s
}

// alone leaves a scenario the load of a service alone.
func alone(s *scenarios.Scenario) *scenarios.Scenario {
	s.Spec.Traffic = s.Spec.Traffic[1:]
	s.Spec.Expect.Latency, s.Spec.Expect.Errors = s.Spec.Expect.Latency[1:], s.Spec.Expect.Errors[1:]
	return s
}

func TestAGoodLoadOfAServicePassesEveryCheckOnEveryMesh(t *testing.T) {
	none := func() *scenarios.Scenario {
		return innerScenario(scenarios.MeshNone, scenarios.GapMTLS, scenarios.GapPolicy)
	}
	layered := func(how scenarios.Layered) *scenarios.Scenario {
		s := innerScenario(scenarios.MeshLayered)
		s.Spec.Meshes[0].Layered = &how
		return s
	}
	for name, s := range map[string]*scenarios.Scenario{
		"none": none(), "istio": innerScenario(scenarios.MeshIstio), "linkerd": innerScenario(scenarios.MeshLinkerd),
		"layered":                         layered(scenarios.Layered{Gateway: scenarios.GatewayMeshed, Balancing: scenarios.BalancingService}),
		"none, no other load":             alone(none()),
		"istio, no other load":            alone(innerScenario(scenarios.MeshIstio)),
		"linkerd, no other load":          alone(innerScenario(scenarios.MeshLinkerd)),
		"layered, no other load":          alone(layered(scenarios.Layered{Gateway: scenarios.GatewayMeshed, Balancing: scenarios.BalancingService})),
		"layered, direct, no other load":  alone(layered(scenarios.Layered{Gateway: scenarios.GatewayDirect})),
		"layered, by Envoy, no other one": alone(layered(scenarios.Layered{Gateway: scenarios.GatewayMeshed, Balancing: scenarios.BalancingEndpoint})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := Evaluate(goodRecord(t, s))
			if res.Verdict != Pass {
				t.Errorf("%s %s: %s", res.Verdict, res.Reason, res.Message)
			}
			found := verdicts(res)
			for _, id := range []string{"load/inner/calm", "load/inner/rough", "latency/inner/calm/p99", "errors/inner/rough", "recovery/cut"} {
				if found[id] != "PASS" {
					t.Errorf("%s: %q", id, found[id])
				}
			}
			if _, ok := found["mtls/shop->cart"]; !ok {
				t.Error("nobody looks at the edge that the load takes")
			}
		})
	}
}

func TestTheEdgeThatAServicesLoadTakesIsJudgedThoughNobodyElseTakesIt(t *testing.T) {
	s := innerScenario(scenarios.MeshIstio)
	s.Spec.Policy = scenarios.Policy{}
	s.Spec.Topology.Services[0].Calls = nil
	if !slices.ContainsFunc(edgesOf(s), func(e edge) bool { return e.from.Name == "shop" && e.to.Name == "cart" }) {
		t.Error("the edge is not among those that mutual TLS is judged on")
	}
	s.Spec.Identity.Issuer = &scenarios.Issuer{Audience: "shop"}
	if subjects := tokenSubjects(s); len(subjects) != 1 || subjects[0].Name != "shop" {
		t.Errorf("tokens are asked for at %v: users reach shop alone", subjects)
	}
}

// sent finds the records of inner's load.
func sent(rec *evidence.Record) (out []*evidence.Request) {
	for _, r := range rec.Requests {
		if strings.HasPrefix(r.ID, "load-inner-") {
			out = append(out, r)
		}
	}
	return out
}

func TestWhatSpoilsOrDisprovesTheLoadOfAService(t *testing.T) {
	spoilScenario(t, func() *scenarios.Scenario { return innerScenario(scenarios.MeshIstio) }, []mutation{
		{"a request that nobody recorded, beside as many calls of the same two", func(t *testing.T, rec *evidence.Record) {
			lose(t, rec, "load-inner-7")
		}, "load/inner/calm", Invalid, "NoRecord"},
		{"the same by the proxy's count", func(t *testing.T, rec *evidence.Record) {
			lose(t, rec, "load-inner-7")
		}, "mtls/shop->cart", Invalid, "MetricsDisagree"},
		{"a load that another cluster sent", func(_ *testing.T, rec *evidence.Record) {
			for _, r := range sent(rec) {
				r.Caller = "shop@west"
			}
		}, "load/inner/calm", Invalid, "NoRecord"},
		{"a load that came by the ingress", func(_ *testing.T, rec *evidence.Record) {
			for _, r := range sent(rec) {
				r.Caller = "ingress@east"
			}
		}, "load/inner/rough", Invalid, "NoRecord"},
		{"the same, which the policy forbids", func(_ *testing.T, rec *evidence.Record) {
			for _, r := range sent(rec) {
				r.Caller = "ingress@east"
			}
		}, "policy/cart", Fail, reasonHole},
		{"a request that is forbidden and got through", func(_ *testing.T, rec *evidence.Record) {
			sent(rec)[3].Path = "/secrets"
		}, "policy/cart", Fail, reasonHole},
		{"a request in plaintext", func(_ *testing.T, rec *evidence.Record) {
			sent(rec)[3].XFCC = ""
		}, "mtls/shop->cart", Fail, "NoIdentity"},
		{"a request with the identity of somebody else", func(_ *testing.T, rec *evidence.Record) {
			r := sent(rec)[3]
			r.XFCC = strings.ReplaceAll(r.XFCC, shopID, cartID)
		}, "mtls/shop->cart", Fail, "WrongIdentity"},
		{"a slice of time that was not recorded", func(_ *testing.T, rec *evidence.Record) {
			i := slices.IndexFunc(rec.Ticks, func(k *evidence.Tick) bool { return k.Traffic == "inner" && k.Index == 5 })
			*rec = *without(rec, rec.Ticks[i].Ref())
		}, "latency/inner/calm/p99", Invalid, "TicksMissing"},
	})
}

func TestWhatALostSenderDidNotFinishIsInvalidAndAllElseIsJudged(t *testing.T) {
	rec := goodRecord(t, innerScenario(scenarios.MeshIstio), func(b *builder) { b.lost = "inner" })
	res := Evaluate(rec)
	for _, id := range []string{"load/inner/rough", "latency/inner/rough/p99", "errors/inner/rough", "recovery/cut"} {
		expectCheck(t, res, id, Invalid, "SenderLost")
	}
	for _, id := range []string{"load/visitors/rough", "errors/visitors/rough", "mtls/shop->cart", "policy/cart"} {
		if v := verdicts(res)[id]; v != "PASS" {
			t.Errorf("%s: %s", id, v)
		}
	}
	for _, e := range rec.Events {
		if e.Kind == evidence.EventSenderLost && strings.HasPrefix(verdicts(Evaluate(without(rec, e.Ref())))["load/inner/rough"], "PASS") {
			t.Error("without a word of the sender its load passes")
		}
	}
	mute := goodRecord(t, innerScenario(scenarios.MeshIstio), func(b *builder) { b.lost, b.mute = "inner", true })
	expectCheck(t, Evaluate(mute), "load/inner/rough", Invalid, "CountsDisagree")

	// Whatever its record looks like.
	late := goodRecord(t, innerScenario(scenarios.MeshIstio))
	for _, e := range late.Events {
		if e.Kind == evidence.EventLoadEnd {
			e.Kind, e.Name = evidence.EventSenderLost, "inner"
		}
	}
	expectCheck(t, Evaluate(late), "load/inner/calm", Invalid, "SenderLost")
}

func TestOfALoadThatLostASenderThePhasesStandOfWhichAllHadTold(t *testing.T) {
	calm := int64(0) // its end
	record := func(whole func(int64) string, change func(rec *evidence.Record)) *Result {
		rec := goodRecord(t, innerScenario(scenarios.MeshIstio))
		for _, p := range rec.Phases {
			if p.Traffic == "inner" && p.Phase == "calm" {
				calm = p.AtMicros + p.ForMicros
			}
		}
		for _, e := range rec.Events {
			if e.Kind == evidence.EventLoadEnd {
				e.Kind, e.Name, e.Data = evidence.EventSenderLost, "inner", map[string]string{evidence.SenderWhole: whole(calm)}
			}
		}
		if change != nil {
			change(rec)
		}
		return Evaluate(rec)
	}
	at := func(d int64) func(int64) string {
		return func(end int64) string { return strconv.FormatInt(end+d, 10) }
	}
	inner := func(rec *evidence.Record, phase string) *evidence.Phase {
		i := slices.IndexFunc(rec.Phases, func(p *evidence.Phase) bool { return p.Traffic == "inner" && p.Phase == phase })
		return rec.Phases[i]
	}
	for name, whole := range map[string]func(int64) string{"to its end": at(0), "to the midst of a slice of time": at(1000)} {
		res := record(whole, nil)
		if v := verdicts(res)["load/inner/calm"]; v != "PASS" {
			t.Errorf("%s: calm is %s", name, v)
		}
		expectCheck(t, res, "load/inner/rough", Invalid, "SenderLost")
		expectCheck(t, res, "recovery/cut", Invalid, "SenderLost")
	}
	for name, whole := range map[string]func(int64) string{
		"not quite to its end": at(-1), "nothing that is said": func(int64) string { return "" }, "rubbish": func(int64) string { return "1e9" }, "less than nothing": func(int64) string { return "-5" },
	} {
		if res := record(whole, nil); strings.HasPrefix(verdicts(res)["load/inner/calm"], "PASS") {
			t.Errorf("%s: calm passes", name)
		}
	}
	expectCheck(t, record(at(0), func(rec *evidence.Record) { inner(rec, "calm").Errors++ }), "load/inner/calm", Invalid, "CountsDisagree")
	expectCheck(t, record(at(1000), func(rec *evidence.Record) {
		p := inner(rec, "calm")
		p.Intended, p.Service = inner(rec, "rough").Intended, inner(rec, "rough").Service
	}), "load/inner/calm", Invalid, "CountsDisagree")
	expectCheck(t, record(at(0), func(rec *evidence.Record) { inner(rec, "calm").Generators[0].Of = 2 }), "load/inner/calm", Invalid, "CountsDisagree")
	expectCheck(t, record(at(0), func(rec *evidence.Record) {
		i := slices.IndexFunc(rec.Ticks, func(k *evidence.Tick) bool { return k.Traffic == "inner" && k.Index == 1 })
		*rec = *without(rec, rec.Ticks[i].Ref())
	}), "load/inner/calm", Invalid, "TicksMissing")
	// What came after the loss is nobody's evidence.
	res := record(at(0), func(rec *evidence.Record) {
		i := slices.IndexFunc(rec.Ticks, func(k *evidence.Tick) bool { return k.Traffic == "inner" && k.AtMicros > calm })
		rec.Ticks[i].Done--
	})
	if v := verdicts(res)["load/inner/calm"]; v != "PASS" {
		t.Errorf("calm is %s", v)
	}
}

func TestNoCheckOfAServicesLoadPassesWithoutAnyPieceOfItsEvidence(t *testing.T) {
	rec := goodRecord(t, innerScenario(scenarios.MeshIstio))
	about := func(id string) bool { return strings.Contains(id, "/inner/") || id == "mtls/shop->cart" }
	tried := map[evidence.Stream]int{}
	for _, c := range Evaluate(rec).Checks {
		if !about(c.ID) {
			continue
		}
		if c.Verdict != Pass {
			t.Fatalf("%s is %s: %s", c.ID, c.Verdict, c.Message)
		}
		for i, ref := range c.Used {
			// The checks of one load rest on the same slices of time; of proof traffic other tests take everything away.
			if load := ref.Stream == evidence.Ticks || ref.Stream == evidence.Phases; !load && i%20 != 0 {
				continue
			}
			tried[ref.Stream]++
			if v := verdicts(Evaluate(without(rec, ref)))[c.ID]; v == "PASS" {
				t.Errorf("without %v, %s is still PASS", ref, c.ID)
			}
		}
	}
	if tried[evidence.Ticks] == 0 || tried[evidence.Phases] == 0 || tried[evidence.Requests] == 0 {
		t.Errorf("tried: %v", tried)
	}
}
