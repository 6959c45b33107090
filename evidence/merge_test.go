package evidence

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// recorded is what a worker would write of these latencies (µs), of which every seventh is an error.
func recorded(t *testing.T, worker int, latencies []int64) (*Tick, *Phase) {
	t.Helper()
	h, ok, bad := NewHistogram(), NewHistogram(), NewHistogram()
	k := &Tick{Traffic: "a", Codes: map[string]int{}, Offered: int64(len(latencies)), Sent: int64(len(latencies)), Done: int64(len(latencies)), Micros: 250_000}
	longest := int64(0)
	for _, v := range latencies {
		RecordMicros(h, v)
		longest = max(longest, v)
		if v%7 == 0 {
			RecordMicros(bad, v)
			k.Codes["503"]++
			k.Errors++
		} else {
			RecordMicros(ok, v)
			k.Codes["200"]++
		}
	}
	text := func(sum interface{ TotalCount() int64 }) string {
		switch sum {
		case h:
			s, _ := EncodeHistogram(h)
			return s
		case ok:
			s, _ := EncodeHistogram(ok)
			return s
		}
		s, _ := EncodeHistogram(bad)
		return s
	}
	if err := SetLatency(k, h, longest); err != nil {
		t.Fatal(err)
	}
	p := &Phase{
		Traffic: "a", Phase: "p", ForMicros: 1e6, Offered: k.Offered, Achieved: k.Sent, Done: k.Done, Errors: k.Errors, Codes: k.Codes,
		Intended: text(h), Service: text(h), Lag: text(h), LagMicros: longest, Outcomes: map[string]Outcome{},
		Generators: []Generator{{Worker: worker, Done: k.Done}},
	}
	if n := ok.TotalCount(); n > 0 {
		p.Outcomes[OutcomeOK] = Outcome{Done: n, Intended: text(ok), Service: text(ok)}
	}
	if n := bad.TotalCount(); n > 0 {
		p.Outcomes["5xx"] = Outcome{Done: n, Intended: text(bad), Service: text(bad)}
	}
	return k, p
}

func TestMergedEqualsPooledHoweverRequestsAreSplit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		var all []int64
		for range r.IntN(300) {
			all = append(all, int64(1)<<r.IntN(29)+r.Int64N(1000))
		}
		parts := make([][]int64, 1+r.IntN(5))
		for _, v := range all {
			i := r.IntN(len(parts))
			parts[i] = append(parts[i], v)
		}
		var ticks []*Tick
		var phases []*Phase
		for i, p := range parts {
			k, ph := recorded(t, i, p)
			ticks, phases = append(ticks, k), append(phases, ph)
		}
		wantTick, wantPhase := recorded(t, 0, all)
		tick, err := MergeTicks(ticks)
		if err != nil {
			t.Fatal(err)
		}
		phase, err := MergePhases(phases)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(wantTick, tick, cmpopts.IgnoreUnexported(Header{})); d != "" {
			t.Fatalf("of %d requests in %d parts (-pooled +merged):\n%s", len(all), len(parts), d)
		}
		if d := cmp.Diff(wantPhase, phase, cmpopts.IgnoreUnexported(Header{}), cmpopts.IgnoreFields(Phase{}, "Generators")); d != "" {
			t.Fatalf("of %d requests in %d parts (-pooled +merged):\n%s", len(all), len(parts), d)
		}
		if len(phase.Generators) != len(parts) || phase.Generators[len(parts)-1].Worker != len(parts)-1 {
			t.Fatalf("the merged phase has generators %+v of %d parts", phase.Generators, len(parts))
		}
	}
}

func TestWhatDoesNotBelongTogetherIsNotMerged(t *testing.T) {
	for name, parts := range map[string][]*Tick{
		"nothing": {}, "two slices": {{Index: 1}, {Index: 2}}, "rubbish": {{}, {Latency: "rubbish"}},
	} {
		if _, err := MergeTicks(parts); err == nil {
			t.Errorf("%s: merged", name)
		}
	}
	if _, err := MergePhases([]*Phase{{Intended: "rubbish"}}); err == nil {
		t.Error("rubbish: merged")
	}
	if _, err := MergePhases(nil); err == nil {
		t.Error("nothing: merged")
	}
}

func TestValuesOfOneBucketAreKnownAsSuch(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		a := 1 + r.Int64N(int64(1)<<r.IntN(29))
		b := max(a+r.Int64N(7)-3, 0)
		h, g := NewHistogram(), NewHistogram()
		RecordMicros(h, a)
		RecordMicros(g, b)
		if want := h.Equals(g); SameBucket(a, b) != want {
			t.Fatalf("%d and %d: %v, want %v", a, b, !want, want)
		}
	}
}

func TestEveryCodeHasAnOutcome(t *testing.T) {
	for code, want := range map[string]string{"200": "ok", "304": "ok", "399": "ok", "404": "4xx", "503": "5xx", "timeout": "timeout", "closed": "closed", "": "", "77": "77", "600": "5xx"} {
		if got := OutcomeOf(code); got != want {
			t.Errorf("%q: %q, want %q", code, got, want)
		}
	}
}
