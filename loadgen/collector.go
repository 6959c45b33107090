package loadgen

import (
	"fmt"
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
	part     part
	gauge    *gauge
	turns    turns // of a closed loop
	self     *self
	sink     evidence.Sink
	shards   [shards]shard

	mu     sync.Mutex
	base   int                     // slices before it are emitted
	next   int                     // phases before it are emitted
	sum    *hdrhistogram.Histogram // of the slice that is emitted
	recent recent
	told   struct { // at the last Progress
		at   time.Duration
		sent int64
	}
}

func newCollector(a Attack, s *Schedule, p part, g *gauge, users turns, sink evidence.Sink) *collector {
	return &collector{
		attack: a, schedule: s, part: p, gauge: g, turns: users, sink: sink, self: newSelf(a, s.phases, g),
		sum: evidence.NewHistogram(), recent: recent{latency: evidence.NewHistogram()},
	}
}

// record implements recorder.
func (c *collector) record(shard int, r result) {
	if r.class == classUnsent {
		return
	}
	p := c.schedule.phaseOf(r.n)
	c.shards[shard%shards].record(r, c.gauge.grid, p, len(c.schedule.phases), c.schedule.phases[p].End(), c.part.deal)
}

// total is how many requests there are to send, and done how many are answered or have failed.
func (c *collector) total() int64 { return c.part.between(0, c.schedule.Total()) }

func (c *collector) done() int64 {
	n := int64(0)
	for i := range c.shards {
		done, _ := c.shards[i].sums()
		n += done
	}
	return n
}

// complete reports whether every request is answered or has failed; of a closed loop, which has no number of requests, all
// those are that were recorded.
func (c *collector) complete() bool { return c.schedule.Closed() || c.done() == c.total() }

// last is the latest send time.
func (c *collector) last() time.Duration {
	at := time.Duration(0)
	for i := range c.shards {
		_, last := c.shards[i].sums()
		at = max(at, last)
	}
	return at
}

// offered is how many requests are meant for a stretch of time.
func (c *collector) offered(from, to time.Duration) int64 {
	return c.part.between(c.schedule.Before(from), c.schedule.Before(to))
}

// emit writes the slices and phases that are over and whole, in order.
func (c *collector) emit(now time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self.watch(now)
	return c.emitUntil(now)
}

func (c *collector) emitUntil(now time.Duration) error {
	for c.base < c.gauge.grid.planned() {
		from, to := c.gauge.grid.bounds(c.base)
		done := int64(0)
		for i := range c.shards {
			done += c.shards[i].doneIn(c.base)
		}
		if !c.over(to, now) || done < c.offered(from, to) {
			break
		}
		if err := c.emitSlice(to); err != nil {
			return err
		}
	}
	for c.next < len(c.schedule.phases) {
		p := c.schedule.phases[c.next]
		done := int64(0)
		for i := range c.shards {
			done += c.shards[i].doneOf(c.next)
		}
		if !c.over(p.End(), now) || done < c.part.between(p.First, p.Last) {
			break
		}
		if err := c.emitPhase(); err != nil {
			return err
		}
	}
	return nil
}

// over reports whether nothing is sent any more, at a time, that was meant to be sent before to. Of a closed loop, of which
// nobody knows how much that is, all of it is recorded then.
func (c *collector) over(to, now time.Duration) bool {
	return to <= now && (!c.schedule.Closed() || c.turns.earliest() >= to)
}

// emitRest writes all that is left after a load that went all its way, with slices after the end of the schedule as
// long as late requests were sent in them.
func (c *collector) emitRest(now time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self.watch(now)
	if err := c.emitUntil(1 << 62); err != nil {
		return err
	}
	for to := c.gauge.grid.slice(c.last()); c.base <= to; {
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
	c.self.watch(cut)
	last := c.last()
	cut = max(cut, last+1)
	for {
		from, to := c.gauge.grid.bounds(c.base)
		if from >= cut || from >= c.schedule.End() && from > last {
			break
		}
		if err := c.emitSlice(min(to, cut)); err != nil {
			return err
		}
	}
	for c.next < len(c.schedule.phases) && c.schedule.phases[c.next].Start < cut {
		if err := c.emitPhase(); err != nil {
			return err
		}
	}
	return nil
}

// emitSlice writes the next slice, which ends at to.
func (c *collector) emitSlice(to time.Duration) error {
	from, _ := c.gauge.grid.bounds(c.base)
	c.sum.Reset()
	sl := slice{codes: map[string]int{}, latency: c.sum}
	for i := range c.shards {
		c.shards[i].take(c.base, &sl)
	}
	offered := c.offered(from, to)
	if c.schedule.Closed() {
		offered = sl.meant
	}
	lv := c.gauge.take(c.base)
	t := &evidence.Tick{
		Header:  evidence.Header{Trial: c.attack.Trial, Src: src},
		Traffic: c.attack.Traffic.Name, Phase: c.schedule.phases[c.schedule.phaseAt(from)].Name, Index: c.base,
		AtMicros: from.Microseconds(), Micros: (to - from).Microseconds(), Start: c.attack.Start.Add(from).UTC(),
		Offered: offered, Sent: sl.sent, Done: sl.done, Errors: sl.errors, Codes: sl.codes,
		LagMicros: sl.lag.Microseconds(), InFlight: lv.peak, Concurrent: lv.conns,
	}
	c.base++
	if err := evidence.SetLatency(t, sl.latency, sl.max.Microseconds()); err != nil {
		return err
	}
	if err := c.sink.Append(t); err != nil {
		return fmt.Errorf("recording a tick: %w", err)
	}
	return nil
}

// emitPhase writes the next phase.
func (c *collector) emitPhase() error {
	p := c.schedule.phases[c.next]
	sum := phase{codes: map[string]int{}, outcomes: map[string]*outcome{}, lags: evidence.NewHistogram()}
	for i := range c.shards {
		c.shards[i].takePhase(c.next, &sum)
	}
	offered := c.part.between(p.First, p.Last)
	if c.schedule.Closed() {
		offered = sum.meant
	}
	rec := &evidence.Phase{
		Header:  evidence.Header{Trial: c.attack.Trial, Src: src},
		Traffic: c.attack.Traffic.Name, Phase: p.Name,
		AtMicros: p.Start.Microseconds(), ForMicros: p.For.Microseconds(),
		Offered: offered, Achieved: sum.achieved, Done: sum.done, Errors: sum.errors, Codes: sum.codes,
		LagMicros: sum.lag.Microseconds(), Generators: []evidence.Generator{c.self.seen(c.next, sum.done)}, Protocol: string(c.attack.Protocol), Sessions: sum.sessions,
	}
	if c.part.deal != nil && rec.Sessions == nil {
		rec.Sessions = make([]int64, c.part.deal.Sessions())
	}
	c.next++
	if err := sum.encode(rec); err != nil {
		return err
	}
	if err := c.sink.Append(rec); err != nil {
		return fmt.Errorf("recording phase %q: %w", p.Name, err)
	}
	return nil
}

// encode writes the histograms of a phase: those of each outcome, and of all together.
func (p *phase) encode(rec *evidence.Phase) error {
	all := newOutcome()
	rec.Outcomes = map[string]evidence.Outcome{}
	var err error
	for name, o := range p.outcomes {
		all.intended.Merge(o.intended)
		all.service.Merge(o.service)
		out := evidence.Outcome{Done: o.intended.TotalCount()}
		if out.Intended, err = evidence.EncodeHistogram(o.intended); err != nil {
			return err
		}
		if out.Service, err = evidence.EncodeHistogram(o.service); err != nil {
			return err
		}
		rec.Outcomes[name] = out
	}
	if rec.Intended, err = evidence.EncodeHistogram(all.intended); err != nil {
		return err
	}
	if rec.Service, err = evidence.EncodeHistogram(all.service); err != nil {
		return err
	}
	rec.Lag, err = evidence.EncodeHistogram(p.lags)
	return err
}

// progress sums up what happened since it was called last.
func (c *collector) progress(now time.Duration) Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.recent
	for i := range c.shards {
		c.shards[i].takeRecent(r)
	}
	inFlight, sent := c.gauge.read()
	p := Progress{
		Traffic: c.attack.Traffic.Name, Phase: c.schedule.phases[c.schedule.phaseAt(now)].Name, Elapsed: now, InFlight: inFlight,
		P99: time.Duration(evidence.Quantile(r.latency, 0.99)) * time.Microsecond,
	}
	if d := (now - c.told.at).Seconds(); d > 0 {
		p.OfferedRate = float64(c.offered(c.told.at, now)) / d
		p.AchievedRate = float64(sent-c.told.sent) / d
	}
	if r.done > 0 {
		p.ErrorRate = float64(r.errors) / float64(r.done)
	}
	r.latency.Reset()
	r.done, r.errors = 0, 0
	c.told.at, c.told.sent = now, sent
	return p
}
