package conformance

import (
	"slices"
	"sync"

	"github.com/meshproof/meshproof/evidence"
)

// sink keeps what it is given.
type sink struct {
	mu    sync.Mutex
	items []evidence.Item
}

// Append implements evidence.Sink.
func (s *sink) Append(item evidence.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, item)
	return nil
}

// sight is what a sink was given from some moment on.
type sight struct {
	of   *sink
	from int // of its items, the first
}

// now is a sight of what is yet to come.
func (s sight) now() sight {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return sight{s.of, len(s.of.items)}
}

// items are a copy of those in sight.
func (s sight) items() []evidence.Item {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return slices.Clone(s.of.items[s.from:])
}

func (s sight) len() int { return len(s.items()) }

// requests are the workloads' records of the request with that ID.
func (s sight) requests(id string) []*evidence.Request {
	var rs []*evidence.Request
	for _, i := range s.items() {
		if r, ok := i.(*evidence.Request); ok && r.ID == id {
			rs = append(rs, r)
		}
	}
	return rs
}

// load is what the sink has of a traffic.
func (s sight) load(traffic string) (ticks []*evidence.Tick, phases []*evidence.Phase) {
	for _, i := range s.items() {
		switch v := i.(type) {
		case *evidence.Tick:
			if v.Traffic == traffic {
				ticks = append(ticks, v)
			}
		case *evidence.Phase:
			if v.Traffic == traffic {
				phases = append(phases, v)
			}
		}
	}
	return ticks, phases
}

// events are the events of a kind.
func (s sight) events(kind string) []*evidence.Event {
	var es []*evidence.Event
	for _, i := range s.items() {
		if e, ok := i.(*evidence.Event); ok && e.Kind == kind {
			es = append(es, e)
		}
	}
	return es
}
