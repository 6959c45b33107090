package runner

import (
	"maps"
	"slices"
	"sync"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

// StepLoad is the step in which load is sent.
const StepLoad = "load and faults"

// Update is the state of a run for people who watch it.
type Update struct {
	Trial  evidence.Trial
	Index  int // of the trial, from 1
	Trials int
	Step   string                      // what is being done
	Load   map[string]loadgen.Progress // by traffic, while there is load
	Faults []string                    // active now
}

// board merges what the parts of a run say into Updates.
type board struct {
	observe func(Update)
	trials  int

	mu     sync.Mutex
	now    Update
	faults map[string]bool
}

func (b *board) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	if b.observe == nil {
		return
	}
	u := b.now
	u.Trials = b.trials
	u.Load = maps.Clone(b.now.Load)
	u.Faults = slices.Sorted(maps.Keys(b.faults))
	b.observe(u)
}

// step shows what is being done now. A new trial clears what the last one showed.
func (b *board) step(t evidence.Trial, step string) {
	b.change(func() {
		if t != b.now.Trial {
			b.now = Update{Trial: t, Index: b.now.Index + 1, Load: map[string]loadgen.Progress{}}
			b.faults = map[string]bool{}
		}
		b.now.Step = step
	})
}

func (b *board) load(traffic string, p loadgen.Progress) {
	b.change(func() { b.now.Load[traffic] = p })
}

func (b *board) fault(name string, active bool) {
	b.change(func() {
		if active {
			b.faults[name] = true
		} else {
			delete(b.faults, name)
		}
	})
}
