package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/meshproof/meshproof/evidence"
)

// Stages of a sample, and the connections that it can be made on.
const (
	stageBefore = "before"
	stageDuring = "during"
	stageAfter  = "after"

	fresh       = "fresh"
	established = "established"
)

// clearInARow is how many samples one after the other must see nothing of the fault for it to be gone.
const clearInARow = 3

// watch is the effect probe of a fault.
type watch struct {
	fault  *fault
	effect effect
	lanes  []lane
	groups []group // of the lanes, in their order

	mu      sync.Mutex
	samples map[string]map[group][]evidence.FaultSample // by stage, for before and during
}

// group is what lanes side by side sample together: one kind of connection, or one pod.
type group struct{ connection, pod, uid string }

func (g group) String() string {
	if g.uid != "" {
		return "of pod " + g.pod
	}
	return "on " + g.connection + " connections"
}

// lane makes samples of one group, one after the other.
type lane struct {
	of    group
	read  func(context.Context) (took time.Duration, value int64, err error)
	close func() error // nil where there is nothing to close
	first bool         // of its group
}

// watch opens the effect probe of a fault.
func (f *fault) watch(ctx context.Context, e effect) (*watch, error) {
	lanes, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	w := &watch{fault: f, effect: e, lanes: lanes, samples: map[string]map[group][]evidence.FaultSample{stageBefore: {}, stageDuring: {}}}
	for i, l := range lanes {
		if !slices.Contains(w.groups, l.of) {
			lanes[i].first = true
			w.groups = append(w.groups, l.of)
		}
	}
	return w, nil
}

func (w *watch) close() { closeLanes(w.lanes) }

func closeLanes(lanes []lane) {
	for _, l := range lanes {
		if l.close != nil {
			_ = l.close() // it has said what it had to say
		}
	}
}

// before samples the baseline until the fault is due, and longer where there is not enough of it by then.
func (w *watch) before(ctx context.Context) error {
	pause := Lead / (2 * MinSamples)
	never := func(lane, []evidence.FaultSample) bool { return false }
	if err := w.run(ctx, stageBefore, w.fault.at, pause, never); err != nil || ctx.Err() != nil {
		return err
	}
	if w.missing(stageBefore, true) == nil {
		return nil
	}
	limit := time.Now()
	if limit.Before(w.fault.at) {
		limit = w.fault.at
	}
	return w.run(ctx, stageBefore, limit.Add(BaselineLimit), MinSamples*time.Millisecond, func(lane, []evidence.FaultSample) bool {
		return w.missing(stageBefore, true) == nil
	})
}

// during samples the effect until the fault is to be reverted. What is under way then is dropped: it would have seen
// both.
func (w *watch) during(ctx context.Context, until time.Time) error {
	return w.run(ctx, stageDuring, until, pauseOf(w.fault.plan.For.D()), func(lane, []evidence.FaultSample) bool { return false })
}

// after samples until nothing is seen of the fault any more, or ClearLimit is over. Where the fault's tool was made to
// forget it, an effect that is still there is an error: nobody knows how to take it back.
func (w *watch) after(ctx context.Context) error {
	inARow := max(w.effect.inARow, clearInARow)
	var mu sync.Mutex
	left := map[group]bool{}
	for _, g := range w.groups {
		left[g] = true
	}
	err := w.run(ctx, stageAfter, time.Now().Add(ClearLimit), 50*time.Millisecond, func(l lane, s []evidence.FaultSample) bool {
		if !l.first || len(s) < inARow {
			return !l.first
		}
		for _, x := range s[len(s)-inARow:] {
			if !w.effect.gone(w.baselineOf(l.of), x) {
				return false
			}
		}
		mu.Lock()
		defer mu.Unlock()
		delete(left, l.of)
		return true
	})
	if err != nil || ctx.Err() != nil || w.fault.forced == nil || len(left) == 0 {
		return err
	}
	err = fmt.Errorf("its effect is still there %s later: %w", ClearLimit, w.fault.forced)
	return errors.Join(err, w.fault.failed(err))
}

// baselineOf are the samples of a group before the fault.
func (w *watch) baselineOf(g group) []evidence.FaultSample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.samples[stageBefore][g]
}

// run lets every lane make samples until a moment, or until it has enough; enough sees the lane's own samples of this
// run. A sample that the moment or the end of ctx cuts off is dropped. The error is that of the record.
func (w *watch) run(ctx context.Context, stage string, until time.Time, pause time.Duration, enough func(lane, []evidence.FaultSample) bool) error {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	errs := make([]error, len(w.lanes))
	var wg sync.WaitGroup
	for i, l := range w.lanes {
		wg.Go(func() {
			var seen []evidence.FaultSample
			for ctx.Err() == nil && !enough(l, seen) {
				s := l.sample(ctx, w.effect.attempt)
				if ctx.Err() != nil {
					return
				}
				s.Stage = stage
				w.keep(l.of, s)
				seen = append(seen, s)
				if errs[i] = w.fault.record(evidence.Fault{Action: evidence.FaultProbe, Probe: &s}); errs[i] != nil {
					cancel()
					return
				}
				sleep(ctx, pause)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sample reads once.
func (l lane) sample(ctx context.Context, attempt time.Duration) evidence.FaultSample {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	began := time.Now()
	took, value, err := l.read(ctx)
	s := evidence.FaultSample{Connection: l.of.connection, UID: l.of.uid, OK: err == nil, Micros: took.Microseconds(), Value: value}
	if err != nil {
		s.Micros = time.Since(began).Microseconds()
		s.Error = err.Error()
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			s.Error = "timeout"
		}
	}
	return s
}

func (w *watch) keep(g group, s evidence.FaultSample) {
	if s.Stage == stageAfter {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples[s.Stage][g] = append(w.samples[s.Stage][g], s)
}

// missing says which group has too few samples of a stage; answered counts only those that got an answer.
func (w *watch) missing(stage string, answered bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.groups {
		n, last := 0, ""
		for _, s := range w.samples[stage][g] {
			if s.OK || !answered {
				n++
			}
			if !s.OK {
				last = ", the last error was: " + s.Error
			}
		}
		if n < MinSamples {
			return fmt.Errorf("%d of %d samples %s%s", n, MinSamples, g, last)
		}
	}
	return nil
}

// baseline is the median round trip of samples before a fault.
func baseline(before []evidence.FaultSample) time.Duration {
	return time.Duration(median(before, func(s evidence.FaultSample) int64 { return s.Micros })) * time.Microsecond
}

// median is that of the samples that got an answer; 0 where there is none.
func median(samples []evidence.FaultSample, of func(evidence.FaultSample) int64) int64 {
	var all []int64
	for _, s := range samples {
		if s.OK {
			all = append(all, of(s))
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
