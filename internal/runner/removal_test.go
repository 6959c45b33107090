package runner_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

// without is the record without one item, as if it had never been made: its producer's later records move up by one,
// and its producer-end says one less. What refs say of the others' places stays.
func without(rec *evidence.Record, ref evidence.Ref) *evidence.Record {
	out := *rec
	drop := func(h *evidence.Header) bool { return h.Ref() == ref }
	var gone evidence.Header
	out.Requests = take(rec.Requests, func(r *evidence.Request) *evidence.Header { return &r.Header }, drop, &gone)
	out.Probes = take(rec.Probes, func(r *evidence.Probe) *evidence.Header { return &r.Header }, drop, &gone)
	out.Handshakes = take(rec.Handshakes, func(r *evidence.Handshake) *evidence.Header { return &r.Header }, drop, &gone)
	out.Accesses = take(rec.Accesses, func(r *evidence.Access) *evidence.Header { return &r.Header }, drop, &gone)
	out.Scrapes = take(rec.Scrapes, func(r *evidence.Scrape) *evidence.Header { return &r.Header }, drop, &gone)
	out.Pods = take(rec.Pods, func(r *evidence.Pod) *evidence.Header { return &r.Header }, drop, &gone)
	out.Faults = take(rec.Faults, func(r *evidence.Fault) *evidence.Header { return &r.Header }, drop, &gone)
	out.Ticks = take(rec.Ticks, func(r *evidence.Tick) *evidence.Header { return &r.Header }, drop, &gone)
	out.Phases = take(rec.Phases, func(r *evidence.Phase) *evidence.Header { return &r.Header }, drop, &gone)
	out.Events = take(rec.Events, func(r *evidence.Event) *evidence.Header { return &r.Header }, drop, &gone)
	for i, e := range out.Events {
		if e.Kind == evidence.EventProducerEnd && e.Trial == gone.Trial && e.Of == gone.Src && e.Stream == ref.Stream {
			less := *e
			less.Count--
			out.Events[i] = &less
		}
	}
	return &out
}

// take copies a list without what drop names, renumbering the producer that lost it.
func take[T any](list []*T, head func(*T) *evidence.Header, drop func(*evidence.Header) bool, gone *evidence.Header) []*T {
	i := slices.IndexFunc(list, func(v *T) bool { return drop(head(v)) })
	if i < 0 {
		return slices.Clone(list)
	}
	*gone = *head(list[i])
	out := slices.Delete(slices.Clone(list), i, i+1)
	for k, v := range out {
		if h := head(v); h.Trial == gone.Trial && h.Src == gone.Src && h.N > gone.N {
			moved := *v
			head(&moved).N--
			out[k] = &moved
		}
	}
	return out
}

// TestNoCheckOfARealRunStandsWithoutAPieceOfItsEvidence takes away, one at a time and without a trace in the numbering,
// pieces of a record that the embedded driver made: of each check some of each stream that it used, drawn from a seed.
// (verify's own test takes away every single piece of a synthetic record.)
func TestNoCheckOfARealRunStandsWithoutAPieceOfItsEvidence(t *testing.T) {
	text := strings.Replace(fmt.Sprintf(tiny, "istio"), "  expect:\n", `  expect:
    mtls: {everywhere: true}
    policy: {matrix: complete}
    latency: [{traffic: users, p99: 5s}]
    recovery: [{after: dies, within: 1s}]
`, 1)
	text = strings.Replace(text, "replicas: 8", "replicas: 2", 1)
	out, rec := run(t, text, 5, nil)
	if out.Result.Verdict != verify.Pass {
		t.Fatalf("%s: %s", out.Result.Verdict, out.Result.Message)
	}
	if d := without(rec, rec.Probes[0].Ref()); len(d.Probes) != len(rec.Probes)-1 || len(d.Gaps()) > 0 {
		t.Fatalf("the removal itself leaves a trace: %v", d.Gaps())
	}
	const each = 2
	rng := rand.New(rand.NewPCG(1, 2))
	tried := map[evidence.Ref]*verify.Result{}
	kinds := map[string]bool{}
	for _, c := range out.Result.Checks {
		if c.Verdict != verify.Pass {
			continue
		}
		if len(c.Used) == 0 {
			t.Errorf("%s passed and names no evidence", c.ID)
		}
		kinds[c.Kind] = true
		for _, stream := range evidence.Streams {
			used := slices.DeleteFunc(slices.Clone(c.Used), func(r evidence.Ref) bool { return r.Stream != stream })
			for range min(each, len(used)) {
				ref := used[rng.IntN(len(used))]
				if tried[ref] == nil {
					tried[ref] = verify.Evaluate(without(rec, ref))
				}
				for _, after := range tried[ref].Checks {
					if after.ID == c.ID && after.Verdict == verify.Pass {
						t.Errorf("%s still passes without %s:%d, which it used", c.ID, ref.Stream, ref.Line)
					}
				}
			}
		}
	}
	for _, k := range []string{verify.KindMTLS, verify.KindPolicy, verify.KindLatency, verify.KindErrors, verify.KindRecovery, verify.KindFault, verify.KindLoad, verify.KindRun} {
		if !kinds[k] {
			t.Errorf("no check of kind %s passed", k)
		}
	}
}
