package loadgen

import (
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// shards is among how many tallies requests are counted, so that those who record seldom wait for each other. Each has
// histograms of its own for what is under way, of 170 KiB each.
const shards = 8

// shard counts the results that some goroutines record. All of its counts are by the requests' intended time, but for
// what was sent.
type shard struct {
	mu     sync.Mutex
	slices map[int]*slice // those not emitted yet
	phases []*phase       // by the schedule's; nil where nothing was recorded
	done   int64
	last   time.Duration // latest send time
	spare  []*hdrhistogram.Histogram

	recent recent
}

// slice is one slice of time.
type slice struct {
	meant, sent, done, errors int64 // meant: recorded so far of those meant for it, also where nobody waited for the answer
	codes                     map[string]int
	latency                   *hdrhistogram.Histogram // nil until the first answer
	max, lag                  time.Duration
}

// phase is one phase of the schedule.
type phase struct {
	meant, achieved, done, errors int64
	codes                         map[string]int
	outcomes                      map[string]*outcome
	lags                          *hdrhistogram.Histogram // of what is done; nil until something is
	lag                           time.Duration
	sessions                      []int64 // of done, by session; nil where there are none
}

// outcome is the latency of what ended alike.
type outcome struct{ intended, service *hdrhistogram.Histogram }

func newOutcome() *outcome {
	return &outcome{intended: evidence.NewHistogram(), service: evidence.NewHistogram()}
}

// recent is what came in since the last Progress.
type recent struct {
	done, errors int64
	latency      *hdrhistogram.Histogram // nil until the first answer
}

// record counts a result of phase p, of phases many; g places it in time, deal says of which session it is.
func (s *shard) record(r result, g grid, p, phases int, end time.Duration, deal *scenarios.Deal) {
	lag := max(r.sent-r.intended, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, r.sent)
	if s.phases == nil {
		s.phases = make([]*phase, phases)
	}
	ph := s.phases[p]
	if ph == nil {
		ph = &phase{codes: map[string]int{}, outcomes: map[string]*outcome{}}
		s.phases[p] = ph
	}
	ph.meant++
	if r.sent <= end+Grace {
		ph.achieved++
	}
	ph.lag = max(ph.lag, lag)
	at := g.slice(r.intended)
	s.slice(max(g.slice(r.sent), at)).sent++
	sl := s.slice(at)
	sl.meant++
	sl.lag = max(sl.lag, lag)
	if r.class == classAborted {
		return
	}

	code := r.class
	if code == "" {
		code = strconv.Itoa(r.code)
	}
	failed := int64(0)
	if r.class != "" || r.code >= 400 {
		failed = 1
	}
	service := r.done - r.sent
	total := lag + service
	s.done++
	s.recent.done++
	s.recent.errors += failed
	if s.recent.latency == nil {
		s.recent.latency = evidence.NewHistogram()
	}
	evidence.RecordMicros(s.recent.latency, total.Microseconds())

	sl.done++
	sl.errors += failed
	sl.codes[code]++
	if sl.latency == nil {
		sl.latency = s.histogram()
	}
	evidence.RecordMicros(sl.latency, total.Microseconds())
	sl.max = max(sl.max, total)

	ph.done++
	ph.errors += failed
	ph.codes[code]++
	if deal != nil {
		if ph.sessions == nil {
			ph.sessions = make([]int64, deal.Sessions())
		}
		ph.sessions[deal.Of(r.n)]++
	}
	o := ph.outcomes[evidence.OutcomeOf(code)]
	if o == nil {
		o = newOutcome()
		ph.outcomes[evidence.OutcomeOf(code)] = o
	}
	evidence.RecordMicros(o.intended, total.Microseconds())
	evidence.RecordMicros(o.service, service.Microseconds())
	if ph.lags == nil {
		ph.lags = evidence.NewHistogram()
	}
	evidence.RecordMicros(ph.lags, lag.Microseconds())
}

func (s *shard) slice(index int) *slice {
	sl := s.slices[index]
	if sl == nil {
		if s.slices == nil {
			s.slices = map[int]*slice{}
		}
		sl = &slice{codes: map[string]int{}}
		s.slices[index] = sl
	}
	return sl
}

// histogram takes an empty histogram from those of emitted slices.
func (s *shard) histogram() *hdrhistogram.Histogram {
	if n := len(s.spare); n > 0 {
		h := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return h
	}
	return evidence.NewHistogram()
}

// doneIn is how many requests meant for a slice are done.
func (s *shard) doneIn(index int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl := s.slices[index]; sl != nil {
		return sl.done
	}
	return 0
}

// take adds a slice to sum, and forgets it.
func (s *shard) take(index int, sum *slice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.slices[index]
	if sl == nil {
		return
	}
	delete(s.slices, index)
	sum.meant += sl.meant
	sum.sent += sl.sent
	sum.done += sl.done
	sum.errors += sl.errors
	sum.max, sum.lag = max(sum.max, sl.max), max(sum.lag, sl.lag)
	addCodes(sum.codes, sl.codes)
	if sl.latency != nil {
		sum.latency.Merge(sl.latency)
		sl.latency.Reset()
		s.spare = append(s.spare, sl.latency)
	}
}

// doneOf is how many requests of a phase are done.
func (s *shard) doneOf(p int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phases == nil || s.phases[p] == nil {
		return 0
	}
	return s.phases[p].done
}

// takePhase adds a phase to sum, and forgets it.
func (s *shard) takePhase(p int, sum *phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phases == nil || s.phases[p] == nil {
		return
	}
	ph := s.phases[p]
	s.phases[p] = nil
	sum.meant += ph.meant
	sum.achieved += ph.achieved
	sum.done += ph.done
	sum.errors += ph.errors
	sum.lag = max(sum.lag, ph.lag)
	addCodes(sum.codes, ph.codes)
	sum.sessions = evidence.AddSessions(sum.sessions, ph.sessions)
	if ph.lags != nil {
		sum.lags.Merge(ph.lags)
	}
	for name, o := range ph.outcomes {
		if sum.outcomes[name] == nil {
			sum.outcomes[name] = newOutcome()
		}
		sum.outcomes[name].intended.Merge(o.intended)
		sum.outcomes[name].service.Merge(o.service)
	}
}

// takeRecent adds what came in since it was called last.
func (s *shard) takeRecent(sum *recent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum.done += s.recent.done
	sum.errors += s.recent.errors
	s.recent.done, s.recent.errors = 0, 0
	if s.recent.latency != nil {
		sum.latency.Merge(s.recent.latency)
		s.recent.latency.Reset()
	}
}

// sums are the totals so far: what is done, and when the last request was sent.
func (s *shard) sums() (done int64, last time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done, s.last
}

func addCodes(sum, more map[string]int) {
	for c, n := range more {
		sum[c] += n
	}
}
