package loadgen

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/meshproof/meshproof/evidence"
)

// src is the producer of load records in evidence.
const src = "loadgen"

// collector turns results into ticks and phases.
type collector struct {
	attack   Attack
	schedule *Schedule
	gauge    *gauge
	sink     evidence.Sink

	mu     sync.Mutex
	slices []*slice // those not emitted yet
	base   int      // index of slices[0]
	spare  []*hdrhistogram.Histogram

	phases []*phase // those not emitted yet
	done   int64
	last   time.Duration // latest send time

	recent recent
}

// outcomes counts requests by their intended time.
type outcomes struct {
	done   int64
	errors int64
	codes  map[string]int
	lag    time.Duration
}

func (o *outcomes) add(code string, failed bool) {
	o.done++
	if failed {
		o.errors++
	}
	if o.codes == nil {
		o.codes = map[string]int{}
	}
	o.codes[code]++
}

type slice struct {
	outcomes
	offered int64
	sent    int64
	latency *hdrhistogram.Histogram // nil until the first answer
	max     time.Duration
}

type phase struct {
	Phase
	outcomes
	achieved          int64
	intended, service *hdrhistogram.Histogram // nil until the first answer
}

// recent is what happened since the last Progress.
type recent struct {
	at      time.Duration
	sent    int64
	done    int64
	errors  int64
	latency *hdrhistogram.Histogram
}

func newCollector(a Attack, s *Schedule, g *gauge, sink evidence.Sink) *collector {
	c := &collector{attack: a, schedule: s, gauge: g, sink: sink, recent: recent{latency: evidence.NewHistogram()}}
	for _, p := range s.phases {
		c.phases = append(c.phases, &phase{Phase: p})
	}
	return c
}

// record implements recorder.
func (c *collector) record(_ int, r result) {
	if r.class == classUnsent {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	lag := max(r.sent-r.intended, 0)
	c.last = max(c.last, r.sent)

	p := c.phases[c.schedule.phaseOf(r.n)-(len(c.schedule.phases)-len(c.phases))]
	if r.sent <= p.End()+Grace {
		p.achieved++
	}
	p.lag = max(p.lag, lag)
	c.slice(c.gauge.grid.slice(r.sent)).sent++
	sl := c.slice(c.gauge.grid.slice(r.intended))
	sl.lag = max(sl.lag, lag)
	if r.class == classAborted {
		return
	}

	code := r.class
	if code == "" {
		code = strconv.Itoa(r.code)
	}
	failed := r.class != "" || r.code >= 400
	service := r.done - r.sent
	total := lag + service
	c.done++
	p.add(code, failed)
	sl.add(code, failed)
	if p.intended == nil {
		p.intended, p.service = evidence.NewHistogram(), evidence.NewHistogram()
	}
	evidence.RecordMicros(p.intended, total.Microseconds())
	evidence.RecordMicros(p.service, service.Microseconds())
	if sl.latency == nil {
		sl.latency = c.histogram()
	}
	evidence.RecordMicros(sl.latency, total.Microseconds())
	sl.max = max(sl.max, total)

	c.recent.done++
	if failed {
		c.recent.errors++
	}
	evidence.RecordMicros(c.recent.latency, total.Microseconds())
}

// complete reports whether every request is answered or has failed.
func (c *collector) complete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done == c.schedule.Total()
}

// slice finds or makes the slice of an index that is not emitted yet.
func (c *collector) slice(index int) *slice {
	for c.base+len(c.slices) <= index {
		from, to := c.gauge.grid.bounds(c.base + len(c.slices))
		c.slices = append(c.slices, &slice{offered: c.schedule.Before(to) - c.schedule.Before(from)})
	}
	return c.slices[index-c.base]
}

// emit writes the slices and phases that are over and whole, in order.
func (c *collector) emit(now time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.emitUntil(now)
}

func (c *collector) emitUntil(now time.Duration) error {
	for c.base < c.gauge.grid.planned() {
		_, to := c.gauge.grid.bounds(c.base)
		if sl := c.slice(c.base); to > now || sl.done < sl.offered {
			break
		}
		if err := c.emitSlice(to); err != nil {
			return err
		}
	}
	for len(c.phases) > 0 && c.phases[0].End() <= now && c.phases[0].done == c.phases[0].Total() {
		if err := c.emitPhase(); err != nil {
			return err
		}
	}
	return nil
}

// emitRest writes all that is left after a load that went all its way, with slices after the end of the schedule as
// long as late requests were sent in them.
func (c *collector) emitRest() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.emitUntil(c.schedule.End()); err != nil {
		return err
	}
	for to := c.gauge.grid.slice(c.last); c.base <= to; {
		_, end := c.gauge.grid.bounds(c.base)
		if err := c.emitSlice(end); err != nil {
			return err
		}
	}
	return nil
}

// emitPartial writes all that is left after a load that was stopped at cut: the last slice ends there, and phases that
// had not begun are left out.
func (c *collector) emitPartial(cut time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cut = max(cut, c.last+1)
	for {
		from, to := c.gauge.grid.bounds(c.base)
		if from >= cut || from >= c.schedule.End() && from > c.last {
			break
		}
		c.slice(c.base)
		if err := c.emitSlice(min(to, cut)); err != nil {
			return err
		}
	}
	for len(c.phases) > 0 && c.phases[0].Start < cut {
		if err := c.emitPhase(); err != nil {
			return err
		}
	}
	return nil
}

// emitSlice writes the first slice, which ends at to.
func (c *collector) emitSlice(to time.Duration) error {
	sl := c.slice(c.base)
	from, whole := c.gauge.grid.bounds(c.base)
	if to < whole {
		sl.offered = c.schedule.Before(to) - c.schedule.Before(from)
	}
	lv := c.gauge.take(c.base)
	t := &evidence.Tick{
		Header:  evidence.Header{Trial: c.attack.Trial, Src: src},
		Traffic: c.attack.Traffic.Name, Phase: c.schedule.phases[c.schedule.phaseAt(from)].Name, Index: c.base,
		AtMicros: from.Microseconds(), Micros: (to - from).Microseconds(), Start: c.attack.Start.Add(from).UTC(),
		Offered: sl.offered, Sent: sl.sent, Done: sl.done, Errors: sl.errors, Codes: codes(sl.codes),
		MaxMicros: sl.max.Microseconds(), LagMicros: sl.lag.Microseconds(), InFlight: lv.peak, Concurrent: lv.conns,
	}
	if h := sl.latency; h != nil {
		// A bucket's upper edge may lie above the largest value in it.
		t.P50Micros = min(h.ValueAtQuantile(50), t.MaxMicros)
		t.P99Micros = min(h.ValueAtQuantile(99), t.MaxMicros)
		h.Reset()
		c.spare = append(c.spare, h)
	}
	c.slices[0] = nil
	c.slices = c.slices[1:]
	c.base++
	if err := c.sink.Append(t); err != nil {
		return fmt.Errorf("recording a tick: %w", err)
	}
	return nil
}

// emitPhase writes the first phase.
func (c *collector) emitPhase() error {
	p := c.phases[0]
	c.phases = c.phases[1:]
	if p.intended == nil {
		p.intended, p.service = evidence.NewHistogram(), evidence.NewHistogram()
	}
	intended, err := evidence.EncodeHistogram(p.intended)
	if err != nil {
		return err
	}
	service, err := evidence.EncodeHistogram(p.service)
	if err != nil {
		return err
	}
	if err := c.sink.Append(&evidence.Phase{
		Header:  evidence.Header{Trial: c.attack.Trial, Src: src},
		Traffic: c.attack.Traffic.Name, Phase: p.Name,
		AtMicros: p.Start.Microseconds(), ForMicros: p.For.Microseconds(),
		Offered: p.Total(), Achieved: p.achieved, Done: p.done, Errors: p.errors, Codes: codes(p.codes),
		Intended: intended, Service: service, LagMicros: p.lag.Microseconds(),
	}); err != nil {
		return fmt.Errorf("recording phase %q: %w", p.Name, err)
	}
	return nil
}

// codes writes no codes as an empty object rather than null.
func codes(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}

// histogram takes an empty histogram from those of emitted slices.
func (c *collector) histogram() *hdrhistogram.Histogram {
	if n := len(c.spare); n > 0 {
		h := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return h
	}
	return evidence.NewHistogram()
}

// progress sums up what happened since it was called last.
func (c *collector) progress(now time.Duration) Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.recent
	inFlight, sent := c.gauge.read()
	p := Progress{
		Traffic: c.attack.Traffic.Name, Phase: c.schedule.phases[c.schedule.phaseAt(now)].Name, Elapsed: now, InFlight: inFlight,
		P99: time.Duration(r.latency.ValueAtQuantile(99)) * time.Microsecond,
	}
	if d := (now - r.at).Seconds(); d > 0 {
		p.OfferedRate = float64(c.schedule.Before(now)-c.schedule.Before(r.at)) / d
		p.AchievedRate = float64(sent-r.sent) / d
	}
	if r.done > 0 {
		p.ErrorRate = float64(r.errors) / float64(r.done)
	}
	r.latency.Reset()
	*r = recent{at: now, sent: sent, latency: r.latency}
	return p
}
