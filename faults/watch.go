package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/meshproof/meshproof/clusters"
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

// watch is the effect probe of a fault of a link.
type watch struct {
	fault *fault
	kind  linkKind
	lanes []lane

	mu      sync.Mutex
	samples map[string][]evidence.FaultSample // by stage + connection, for before and during
}

// lane makes samples of one connection, one after the other.
type lane struct {
	connection string
	probe      clusters.LinkProbe
	first      bool // of its connection
}

// watch opens the effect probe of a link. Each lane has a LinkProbe of its own.
func (f *fault) watch(ctx context.Context, link clusters.Link, k linkKind) (*watch, error) {
	w := &watch{fault: f, kind: k, samples: map[string][]evidence.FaultSample{}}
	for i := range k.lanes(f.plan.For) {
		for _, c := range []string{fresh, established} {
			p, err := link.Probe(ctx)
			if err != nil {
				w.close()
				return nil, err
			}
			w.lanes = append(w.lanes, lane{connection: c, probe: p, first: i == 0})
		}
	}
	return w, nil
}

func (w *watch) close() {
	for _, l := range w.lanes {
		_ = l.probe.Close() // it has said what it had to say
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
	return w.run(ctx, stageDuring, until, pauseOf(w.fault.plan.For), func(lane, []evidence.FaultSample) bool { return false })
}

// after samples until nothing is seen of the fault any more, or ClearLimit is over.
func (w *watch) after(ctx context.Context) error {
	limits := map[string]time.Duration{}
	for _, c := range []string{fresh, established} {
		// A half of the baseline is noise; a half of the delay is still its effect, which is twice the delay.
		limits[c] = w.baseline(c)*3/2 + w.kind.delay/2
	}
	return w.run(ctx, stageAfter, time.Now().Add(ClearLimit), 50*time.Millisecond, func(l lane, s []evidence.FaultSample) bool {
		if !l.first || len(s) < clearInARow {
			return !l.first
		}
		for _, x := range s[len(s)-clearInARow:] {
			if !x.OK || time.Duration(x.Micros)*time.Microsecond > limits[l.connection] {
				return false
			}
		}
		return true
	})
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
				s := l.sample(ctx, w.kind.attempt)
				if ctx.Err() != nil {
					return
				}
				s.Stage = stage
				w.keep(s)
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

// sample measures the link once.
func (l lane) sample(ctx context.Context, attempt time.Duration) evidence.FaultSample {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	measure := l.probe.Fresh
	if l.connection == established {
		measure = l.probe.Established
	}
	began := time.Now()
	took, err := measure(ctx)
	s := evidence.FaultSample{Connection: l.connection, OK: err == nil, Micros: took.Microseconds()}
	if err != nil {
		s.Micros = time.Since(began).Microseconds()
		s.Error = err.Error()
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			s.Error = "timeout"
		}
	}
	return s
}

func (w *watch) keep(s evidence.FaultSample) {
	if s.Stage == stageAfter {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples[s.Stage+s.Connection] = append(w.samples[s.Stage+s.Connection], s)
}

// missing says which connection has too few samples of a stage; answered counts only those that got an answer.
func (w *watch) missing(stage string, answered bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range []string{fresh, established} {
		n, last := 0, ""
		for _, s := range w.samples[stage+c] {
			if s.OK || !answered {
				n++
			}
			if !s.OK {
				last = ", the last error was: " + s.Error
			}
		}
		if n < MinSamples {
			return fmt.Errorf("%d of %d samples on %s connections%s", n, MinSamples, c, last)
		}
	}
	return nil
}

// baseline is the median round trip of a connection before the fault.
func (w *watch) baseline(connection string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []int64
	for _, s := range w.samples[stageBefore+connection] {
		if s.OK {
			all = append(all, s.Micros)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return time.Duration(all[len(all)/2]) * time.Microsecond
}
