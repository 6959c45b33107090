package evidence

import (
	"fmt"
	"maps"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// MergeTicks makes one slice of time of what several workers recorded of it. Counts and latencies are exactly those of one
// who had recorded all; InFlight and Concurrent are the sums of what each had, which may not have been at the same moment.
func MergeTicks(parts []*Tick) (*Tick, error) {
	if len(parts) == 0 {
		return nil, fmt.Errorf("merging slices of time: there are none")
	}
	out := *parts[0]
	out.Header = Header{Trial: out.Trial, Src: out.Src}
	out.Offered, out.Sent, out.Done, out.Errors, out.InFlight, out.Concurrent = 0, 0, 0, 0, 0, 0
	out.Codes = map[string]int{}
	sum, longest := NewHistogram(), int64(0)
	for _, k := range parts {
		if k.Index != out.Index || k.AtMicros != out.AtMicros || k.Traffic != out.Traffic {
			return nil, fmt.Errorf("merging slices of time: %d of %s at %d µs and %d of %s at %d µs are not the same", out.Index, out.Traffic, out.AtMicros, k.Index, k.Traffic, k.AtMicros)
		}
		out.Micros = max(out.Micros, k.Micros)
		out.Offered += k.Offered
		out.Sent += k.Sent
		out.Done += k.Done
		out.Errors += k.Errors
		out.InFlight += k.InFlight
		out.Concurrent += k.Concurrent
		out.LagMicros = max(out.LagMicros, k.LagMicros)
		longest = max(longest, k.MaxMicros)
		for c, n := range k.Codes {
			out.Codes[c] += n
		}
		if k.Latency == "" {
			continue
		}
		if err := add(sum, k.Latency); err != nil {
			return nil, fmt.Errorf("merging slice of time %d: %w", k.Index, err)
		}
	}
	return &out, SetLatency(&out, sum, longest)
}

// MergePhases makes one phase of several: of what several workers recorded of it, or of several phases of one traffic,
// which it spans. Counts and latencies are exactly those of one who had recorded all.
func MergePhases(parts []*Phase) (*Phase, error) {
	if len(parts) == 0 {
		return nil, fmt.Errorf("merging phases: there are none")
	}
	out := *parts[0]
	out.Header = Header{Trial: out.Trial, Src: out.Src}
	out.Offered, out.Achieved, out.Done, out.Errors = 0, 0, 0, 0
	out.Codes, out.Outcomes, out.Generators, out.Sessions = map[string]int{}, map[string]Outcome{}, nil, nil
	intended, service, lag := NewHistogram(), NewHistogram(), NewHistogram()
	type pair struct{ intended, service *hdrhistogram.Histogram }
	outcomes := map[string]pair{}
	end := int64(0)
	for _, p := range parts {
		if p.Protocol != out.Protocol {
			return nil, fmt.Errorf("merging phase %q: a part of it was sent in %q, and another in %q", p.Phase, p.Protocol, out.Protocol)
		}
		out.AtMicros, end = min(out.AtMicros, p.AtMicros), max(end, p.AtMicros+p.ForMicros)
		out.Offered += p.Offered
		out.Achieved += p.Achieved
		out.Done += p.Done
		out.Errors += p.Errors
		out.LagMicros = max(out.LagMicros, p.LagMicros)
		out.Sessions = AddSessions(out.Sessions, p.Sessions)
		out.Generators = append(out.Generators, p.Generators...)
		for c, n := range p.Codes {
			out.Codes[c] += n
		}
		for _, h := range []struct {
			sum  *hdrhistogram.Histogram
			text string
		}{{intended, p.Intended}, {service, p.Service}, {lag, p.Lag}} {
			if err := add(h.sum, h.text); err != nil {
				return nil, fmt.Errorf("merging phase %q: %w", p.Phase, err)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(p.Outcomes)) {
			if _, ok := outcomes[name]; !ok {
				outcomes[name] = pair{NewHistogram(), NewHistogram()}
			}
			if err := add(outcomes[name].intended, p.Outcomes[name].Intended); err != nil {
				return nil, fmt.Errorf("merging phase %q: %w", p.Phase, err)
			}
			if err := add(outcomes[name].service, p.Outcomes[name].Service); err != nil {
				return nil, fmt.Errorf("merging phase %q: %w", p.Phase, err)
			}
		}
	}
	out.ForMicros = end - out.AtMicros
	slices.SortStableFunc(out.Generators, func(a, b Generator) int { return a.Worker - b.Worker })
	texts := []*string{&out.Intended, &out.Service, &out.Lag}
	for i, h := range []*hdrhistogram.Histogram{intended, service, lag} {
		var err error
		if *texts[i], err = EncodeHistogram(h); err != nil {
			return nil, err
		}
	}
	for name, o := range outcomes {
		sum := Outcome{Done: o.intended.TotalCount()}
		var err error
		if sum.Intended, err = EncodeHistogram(o.intended); err != nil {
			return nil, err
		}
		if sum.Service, err = EncodeHistogram(o.service); err != nil {
			return nil, err
		}
		out.Outcomes[name] = sum
	}
	return &out, nil
}

// add adds an encoded histogram to another.
func add(sum *hdrhistogram.Histogram, text string) error {
	h, err := DecodeHistogram(text)
	if err != nil {
		return err
	}
	if n := sum.Merge(h); n > 0 {
		return fmt.Errorf("%d values lie outside of what is recorded", n)
	}
	return nil
}
