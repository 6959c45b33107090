package loadgen

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/meshproof/meshproof/evidence"
)

// self is what a generator sees of its own process while it sends, phase by phase. It looks whenever slices are emitted:
// what belongs to a phase is what happened between the last look before the phase and the first one after it.
type self struct {
	share   Share
	limit   int64
	ports   int64
	gauge   *gauge
	phases  []Phase
	last    usage
	watched []evidence.Generator
}

// usage is what the process used by one moment.
type usage struct {
	at     time.Duration // after the start of the load
	wall   time.Time
	cpu    time.Duration
	pauses int64         // garbage collections, each of which stops the process for a moment
	paused time.Duration // by all of them
	opened int64
}

func newSelf(a Attack, phases []Phase, g *gauge) *self {
	s := &self{
		share: a.Share, limit: int64(a.Traffic.MaxInFlight), ports: localPorts(), gauge: g, phases: phases,
		watched: make([]evidence.Generator, len(phases)),
	}
	s.last, _ = s.look(g.now())
	return s
}

// look reads what the process used until now, and the longest pause since the last look.
func (s *self) look(now time.Duration) (usage, time.Duration) {
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	u := usage{at: now, wall: time.Now(), cpu: cpuTime(), pauses: gc.NumGC, paused: gc.PauseTotal, opened: s.gauge.openedSoFar()}
	longest := time.Duration(0)
	for i := range min(int(u.pauses-s.last.pauses), len(gc.Pause)) { // the most recent first
		longest = max(longest, gc.Pause[i])
	}
	return u, longest
}

// watch adds what happened since the last look to the phases that this time touches.
func (s *self) watch(now time.Duration) {
	u, longest := s.look(now)
	inFlight, open := s.gauge.high()
	for i, p := range s.phases {
		if p.Start >= now || p.End() <= s.last.at {
			continue
		}
		w := &s.watched[i]
		w.Micros += u.wall.Sub(s.last.wall).Microseconds()
		w.CPUMicros += (u.cpu - s.last.cpu).Microseconds()
		w.Collections += u.pauses - s.last.pauses
		w.PauseMicros += (u.paused - s.last.paused).Microseconds()
		w.LongestMicros = max(w.LongestMicros, longest.Microseconds())
		w.InFlight, w.Open = max(w.InFlight, inFlight), max(w.Open, open)
		w.Opened += u.opened - s.last.opened
	}
	s.last = u
}

// seen is what was seen of a phase.
func (s *self) seen(phase int, done int64) evidence.Generator {
	w := s.watched[phase]
	w.Worker, w.Of = s.share.Worker, s.share.of()
	w.Done, w.CPUs, w.MaxInFlight, w.Ports = done, runtime.GOMAXPROCS(0), s.limit, s.ports
	return w
}

// localPorts is how many local ports Linux has for connections; 0 where that cannot be known.
func localPorts() int64 {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0
	}
	var low, high int64
	if _, err := fmt.Sscan(string(b), &low, &high); err != nil || high < low {
		return 0
	}
	return high - low + 1
}
