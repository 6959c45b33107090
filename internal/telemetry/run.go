package telemetry

import (
	"strconv"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

// Run is what is known of the loads of one run. It is an evidence.Sink for their ticks and phases.
type Run struct {
	of                  *Metrics
	id, driver, version string
	modelled            bool
	mesh                func(string) string

	// Guarded by the lock of the metrics.
	trial evidence.Trial // that is under way
	ended time.Time
}

// Run begins to watch a run: its loads are told apart by labels run (its ID), mesh (with its build, where that is not what
// the mesh's project publishes), block and traffic.
func (m *Metrics) Run(man *evidence.Manifest) *Run {
	r := &Run{of: m, id: man.RunID, driver: man.Driver, version: man.Version, modelled: man.Modelled, mesh: man.MeshName}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs = append(m.runs, r)
	return r
}

// Append implements evidence.Sink. It never fails.
func (r *Run) Append(item evidence.Item) error {
	if k, ok := item.(*evidence.Tick); ok {
		r.of.mu.Lock()
		defer r.of.mu.Unlock()
		r.load(k.Trial, k.Traffic).add(k)
	}
	return nil
}

// Progress takes what a live view is told of a trial.
func (r *Run) Progress(t evidence.Trial, p loadgen.Progress) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.load(t, p.Traffic).show(p)
}

// Idle says that no load is sent now: what is true only while one is goes to zero.
func (r *Run) Idle() {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.end(evidence.Trial{})
}

// Close says that the run is over.
func (r *Run) Close() {
	r.Idle()
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.ended = r.of.now()
}

// load is a load of a trial, which is under way from now on: no other is. The caller holds the lock.
func (r *Run) load(t evidence.Trial, traffic string) *traffic {
	if t != r.trial {
		r.end(t)
	}
	out := r.of.of(r.values(t, traffic)...)
	out.ended = time.Time{}
	return out
}

// end ends the loads of the trial that was under way; t is under way now. The caller holds the lock.
func (r *Run) end(t evidence.Trial) {
	was := r.values(r.trial, "")
	for _, l := range r.of.load {
		if l.values[0] == was[0] && l.values[1] == was[1] && l.values[2] == was[2] {
			l.show(loadgen.Progress{})
			l.ended = r.of.now()
		}
	}
	r.trial = t
}

func (r *Run) values(t evidence.Trial, traffic string) []string {
	return []string{r.id, r.mesh(t.Mesh), strconv.Itoa(t.Block), traffic}
}

// forget drops what ended long ago. The caller holds the lock.
func (m *Metrics) forget() {
	old := func(ended time.Time) bool { return !ended.IsZero() && m.now().Sub(ended) > keepFor }
	for key, t := range m.load {
		if old(t.ended) {
			delete(m.load, key)
		}
	}
	kept := m.runs[:0]
	for _, r := range m.runs {
		if !old(r.ended) {
			kept = append(kept, r)
		}
	}
	clear(m.runs[len(kept):])
	m.runs = kept
}
