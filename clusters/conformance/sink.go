package conformance

import (
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

func (s *sink) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items)
}

// requests are the workloads' records of the request with that ID.
func (s *sink) requests(id string) []*evidence.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rs []*evidence.Request
	for _, i := range s.items {
		if r, ok := i.(*evidence.Request); ok && r.ID == id {
			rs = append(rs, r)
		}
	}
	return rs
}

// load is what the sink has of a traffic.
func (s *sink) load(traffic string) (ticks []*evidence.Tick, phases []*evidence.Phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.items {
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
func (s *sink) events(kind string) []*evidence.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var es []*evidence.Event
	for _, i := range s.items {
		if e, ok := i.(*evidence.Event); ok && e.Kind == kind {
			es = append(es, e)
		}
	}
	return es
}
