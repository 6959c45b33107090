package verify

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// read checks that the record of a traffic is whole and agrees with itself: slices of time without a gap that reach to
// the end of the load, every phase, as many requests in the one as in the other, and the same latencies. Of a load of which
// something was lost, that part is read which is whole.
func (l *loadState) read(tr *scenarios.Traffic, phases []*evidence.Phase) {
	t := &l.tally
	profile := min(profileMicros(tr.Profile), l.whole)
	if len(l.ticks) == 0 && l.whole > 0 {
		t.invalid("NoLoad", nil, "there is no record of traffic %s", tr.Name)
	}
	// What lies in slices of time that ended by then, and in those that had begun: where none was under way, the same.
	within := newLoadSum()
	begun := within
	inside := newPhaseSums(phases)
	end := int64(0)
	for i, k := range l.ticks {
		if k.AtMicros >= l.whole {
			break
		}
		if k.AtMicros < profile { // what comes after has nothing that was meant for then
			t.use(k.Ref())
		}
		switch {
		case k.Index != i || k.AtMicros != end:
			t.invalid("TicksMissing", refsOf(k), "slices of time of traffic %s are missing before %s", tr.Name, micros(k.AtMicros))
		case k.Micros <= 0:
			t.invalid("TicksMissing", refsOf(k), "slice %d of traffic %s has no width", i, tr.Name)
		case k.Done != k.Offered:
			t.invalid("Unanswered", refsOf(k), "%d of %d requests of traffic %s at %s have no outcome", k.Offered-k.Done, k.Offered, tr.Name, micros(k.AtMicros))
		}
		if n, errs, err := outcomes(k.Codes); err != nil || n != k.Done || errs != k.Errors {
			t.invalid("CountsDisagree", refsOf(k), "the outcomes of traffic %s at %s do not add up", tr.Name, micros(k.AtMicros))
		}
		if name := stageName(tr.Profile, stageAt(tr.Profile, k.AtMicros)); k.Phase != name {
			t.invalid("CountsDisagree", refsOf(k), "the slice of traffic %s at %s is said to be of phase %q, and lies in %s", tr.Name, micros(k.AtMicros), k.Phase, name)
		}
		end = k.AtMicros + k.Micros
		if end > l.whole {
			begun = newLoadSum()
			begun.done, begun.errors = within.done, within.errors
			begun.latency.Merge(within.latency)
		}
		h, err := readTick(k)
		if err != nil {
			t.invalid("BadHistogram", refsOf(k), "traffic %s at %s: %v", tr.Name, micros(k.AtMicros), err)
		}
		begun.add(k, h)
		inside.add(k, h)
	}
	inPhases, readable := newLoadSum(), true
	for _, p := range phases {
		if l.phases[p.Phase] != nil {
			t.invalid("CountsDisagree", refsOf(p), "phase %s of traffic %s is there twice", p.Phase, tr.Name)
		}
		if !hasPhase(tr.Profile, p.Phase) {
			t.invalid("WrongLoad", refsOf(p), "the record of traffic %s has a phase %q, and its profile has not", tr.Name, p.Phase)
		}
		l.phases[p.Phase] = p
		if p.AtMicros+p.ForMicros > l.whole {
			continue
		}
		t.use(p.Ref())
		inPhases.done += p.Done
		inPhases.errors += p.Errors
		h, err := evidence.DecodeHistogram(p.Intended)
		if err != nil { // the phase's own check says so
			readable = false
			continue
		}
		inPhases.latency.Merge(h)
		if why := inside.exceed(p, h); why != "" {
			t.invalid("CountsDisagree", refsOf(p), "phase %s of traffic %s: %s", p.Phase, tr.Name, why)
		}
	}
	switch {
	case inPhases.errors < within.errors || inPhases.errors > begun.errors:
		t.invalid("CountsDisagree", nil, "traffic %s has %d errors in its slices of time, and %d in its phases", tr.Name, begun.errors, inPhases.errors)
	case inPhases.done < within.done || inPhases.done > begun.done:
		t.invalid("CountsDisagree", nil, "traffic %s has %d outcomes in its slices of time, and %d in its phases", tr.Name, begun.done, inPhases.done)
	case readable && !between(inPhases.latency, within.latency, begun.latency):
		t.invalid("CountsDisagree", nil, "traffic %s has other latencies in its slices of time than in its phases", tr.Name)
	}
	if end < profile {
		t.invalid("TicksMissing", nil, "the slices of time of traffic %s end at %s, and its profile at %s", tr.Name, micros(end), micros(profile))
	}
}

// loadSum adds up outcomes and latencies.
type loadSum struct {
	done, errors int64
	latency      *hdrhistogram.Histogram
}

func newLoadSum() *loadSum { return &loadSum{latency: evidence.NewHistogram()} }

// add adds a slice of time with its latencies, nil where it has none.
func (s *loadSum) add(k *evidence.Tick, latency *hdrhistogram.Histogram) {
	s.done += k.Done
	s.errors += k.Errors
	if latency != nil {
		s.latency.Merge(latency)
	}
}

// between reports whether a histogram counts, value by value, no fewer than one and no more than another.
func between(h, low, high *hdrhistogram.Histogram) bool {
	if low.Equals(high) {
		return h.Equals(low)
	}
	counts := func(h *hdrhistogram.Histogram) map[int64]int64 {
		out := map[int64]int64{}
		for _, b := range h.Distribution() {
			if b.Count != 0 {
				out[b.From] = b.Count
			}
		}
		return out
	}
	n, least, most := counts(h), counts(low), counts(high)
	for v, k := range least {
		if n[v] < k {
			return false
		}
	}
	for v, k := range n {
		if k > most[v] {
			return false
		}
	}
	return true
}

// readTick reads the latencies of a slice, nil where it has none, and says where they are not what the slice says of them.
func readTick(k *evidence.Tick) (*hdrhistogram.Histogram, error) {
	if k.Latency == "" && k.Done == 0 {
		if k.P50Micros != 0 || k.P99Micros != 0 || k.MaxMicros != 0 {
			return nil, errors.New("it has latencies and no request")
		}
		return nil, nil
	}
	h, err := evidence.DecodeHistogram(k.Latency)
	if err != nil {
		return nil, err
	}
	if h.TotalCount() != k.Done {
		return h, fmt.Errorf("a latency histogram holds %d of %d requests", h.TotalCount(), k.Done)
	}
	if p50, p99 := evidence.TickQuantiles(h, k.MaxMicros); k.P50Micros != p50 || k.P99Micros != p99 || !evidence.SameBucket(h.Max(), k.MaxMicros) {
		return h, fmt.Errorf("p50 %s, p99 %s and the largest, %s, are not those of its latency histogram", micros(k.P50Micros), micros(k.P99Micros), micros(k.MaxMicros))
	}
	return h, nil
}

// phase judges whether a phase was the load that is asked for.
func (l *loadState) phase(tr *scenarios.Traffic, st stagePhase) (Check, *tally) {
	c := Check{Kind: KindLoad, Subject: tr.Name + "/" + st.name}
	if p := l.phases[st.name]; st.silent() && (p == nil || p.Offered <= onBoundary && p.Done <= onBoundary) {
		c.Verdict, c.Reason, c.Message = Skipped, "NoRequests", "the profile asks for no request in this phase"
		return c, &tally{}
	}
	t := &tally{}
	if (st.start + st.duration).Microseconds() > l.whole {
		t.add(&l.lost)
	}
	t.add(&l.tally)
	p := l.phases[st.name]
	ok := ""
	if p == nil {
		t.invalid("NoPhase", nil, "phase %s of traffic %s was not recorded: the load did not get through it", st.name, tr.Name)
	} else {
		used := refsOf(p)
		if d := p.Offered - st.hits; st.users > 0 && p.Offered < int64(st.users) {
			t.invalid("WrongLoad", used, "in phase %s of traffic %s %d requests were sent, fewer than it has users (%d)", st.name, tr.Name, p.Offered, st.users)
		} else if st.users > 0 { // a closed loop has no plan that it could be held against
			if why := absentUsers(p); why != "" {
				t.invalid("WrongLoad", used, "phase %s of traffic %s: %s", st.name, tr.Name, why)
			}
		} else if d < -onBoundary || d > onBoundary || p.Offered <= 0 {
			t.invalid("WrongLoad", used, "phase %s of traffic %s planned %d requests, and its profile asks for %d", st.name, tr.Name, p.Offered, st.hits)
		}
		if p.AtMicros != st.start.Microseconds() || p.ForMicros != st.duration.Microseconds() {
			t.invalid("WrongLoad", used, "phase %s of traffic %s was from %s for %s, want from %s for %s",
				st.name, tr.Name, micros(p.AtMicros), micros(p.ForMicros), st.start, st.duration)
		}
		if sent := cmp.Or(p.Protocol, string(scenarios.ProtocolHTTP1)); sent != string(cmp.Or(tr.Protocol, scenarios.ProtocolHTTP1)) {
			t.invalid("WrongLoad", used, "phase %s of traffic %s was sent in %s, and the scenario asks for %s", st.name, tr.Name, sent, cmp.Or(tr.Protocol, scenarios.ProtocolHTTP1))
		}
		if why := dealt(p, st); why != "" {
			t.invalid("WrongLoad", used, "phase %s of traffic %s: %s", st.name, tr.Name, why)
		}
		if p.Done != p.Offered {
			t.invalid("Unanswered", used, "%d of %d requests of phase %s have no outcome", p.Offered-p.Done, p.Offered, st.name)
		}
		if n, errs, err := outcomes(p.Codes); err != nil || n != p.Done || errs != p.Errors {
			t.invalid("CountsDisagree", used, "the outcomes of phase %s of traffic %s do not add up", st.name, tr.Name)
		}
		if reason, err := agrees(p); err != nil {
			t.invalid(reason, used, "phase %s of traffic %s: %v", st.name, tr.Name, err)
		}
		short := shortfall(p)
		if st.users == 0 {
			c.Observed, c.Limit = percent(short)+" short", percent(evidence.MaxShortfall)+" short"
		}
		if short > evidence.MaxShortfall || p.Achieved > p.Offered {
			t.invalid("LoadShortfall", used, "the load generator sent %d of %d requests of phase %s in time, %s short of what was asked for (at most %s): what it measured is not this load",
				p.Achieved, p.Offered, st.name, percent(short), percent(evidence.MaxShortfall))
		}
		if why := late(p); why != "" {
			t.invalid("LoadLate", used, "phase %s of traffic %s: %s", st.name, tr.Name, why)
		}
		ok = fmt.Sprintf("%d of %d requests were sent in time", p.Achieved, p.Offered)
		if st.users > 0 {
			ok = fmt.Sprintf("%d requests of %d users, each sent when its user had the answer before it", p.Offered, st.users)
		}
	}
	c.Verdict, c.Reason, c.Message, c.Used = t.judge(ok)
	return c, t
}

// absentUsers says which worker of a closed loop was not there for all of its phase, so that its users were not: in an open
// load what it did not send in time would be missing.
func absentUsers(p *evidence.Phase) string {
	bearable := max(int64(evidence.MaxShortfall*float64(p.ForMicros)), maxLateMicros)
	for i, g := range p.Generators {
		if away := p.ForMicros - g.Micros; away > bearable {
			return fmt.Sprintf("worker %d was not there for %s of %s (at most %s), nor were its users", i, micros(away), micros(p.ForMicros), micros(bearable))
		}
	}
	return ""
}

// agrees says where the histograms of a phase, or what its generators saw of themselves, contradict its counts or each
// other.
func agrees(p *evidence.Phase) (reason string, err error) {
	const bad, disagree = "BadHistogram", "CountsDisagree"
	whole := map[string]*hdrhistogram.Histogram{}
	for name, text := range map[string]string{"latency": p.Intended, "service latency": p.Service, "send lag": p.Lag} {
		h, err := evidence.DecodeHistogram(text)
		if err != nil {
			return bad, fmt.Errorf("%s: %w", name, err)
		}
		if h.TotalCount() != p.Done {
			return disagree, fmt.Errorf("the histogram of %s holds %d of %d requests", name, h.TotalCount(), p.Done)
		}
		whole[name] = h
	}
	if p.Done > 0 && !evidence.SameBucket(whole["send lag"].Max(), p.LagMicros) {
		return disagree, fmt.Errorf("the largest send lag, %s, is not that of its histogram", micros(p.LagMicros))
	}
	byOutcome := map[string]int64{}
	for code, n := range p.Codes {
		byOutcome[evidence.OutcomeOf(code)] += int64(n)
	}
	intended, service := evidence.NewHistogram(), evidence.NewHistogram()
	for _, name := range sortedKeys(p.Outcomes) {
		o := p.Outcomes[name]
		for _, part := range []struct {
			text string
			sum  *hdrhistogram.Histogram
		}{{o.Intended, intended}, {o.Service, service}} {
			h, err := evidence.DecodeHistogram(part.text)
			if err != nil {
				return bad, fmt.Errorf("outcome %s: %w", name, err)
			}
			if h.TotalCount() != o.Done || o.Done != byOutcome[name] {
				return disagree, fmt.Errorf("a histogram of outcome %s holds %d requests, and %d ended so", name, h.TotalCount(), byOutcome[name])
			}
			part.sum.Merge(h)
		}
	}
	if !intended.Equals(whole["latency"]) || !service.Equals(whole["service latency"]) {
		return disagree, fmt.Errorf("the latencies of its outcomes are not together those of the phase")
	}
	return disagree, watched(p)
}

// sawEnough is the share of a phase that a generator must have watched itself for. One that was told to begin a little late
// has missed less.
const sawEnough = 0.5

// watched says where it is not known what the processes that sent a phase saw of themselves.
func watched(p *evidence.Phase) error {
	sent := int64(0)
	for i, g := range p.Generators {
		if g.Worker != i || g.Of != 0 && g.Of != len(p.Generators) {
			return fmt.Errorf("what some of the %d workers of the load generator saw of themselves is missing", max(g.Of, i+1))
		}
		if g.Done < 0 || g.Micros <= 0 && p.Done > 0 || g.CPUs < 1 || g.CPUMicros < 0 || g.PauseMicros < 0 ||
			g.LongestMicros < 0 || g.LongestMicros > g.PauseMicros {
			return fmt.Errorf("worker %d of the load generator did not watch itself", i)
		}
		if float64(g.Micros) < sawEnough*float64(p.ForMicros) {
			return fmt.Errorf("worker %d of the load generator watched itself for %s of the phase's %s", i, micros(g.Micros), micros(p.ForMicros))
		}
		sent += g.Done
	}
	if sent != p.Done {
		return fmt.Errorf("the load generator's processes sent %d of %d requests", sent, p.Done)
	}
	return nil
}
