package fidelity

import (
	"fmt"
	"time"

	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// slice is the width of the slices of time in which a recovery is seen: what lies within one has no order.
const slice = 250 * time.Millisecond

// recoveries compares the order in which faults were recovered from, pair by pair, and not how long it took. How long pods
// take to start decides when a fault is over that ends some: between a model and the real thing no order follows from that.
func (m *Mesh) recoveries(mesh string, a, b *run) {
	var names []string
	for i := range a.scenario.Spec.Faults {
		f := &a.scenario.Spec.Faults[i]
		if f.Rotates() {
			continue // nothing is to be recovered from
		}
		name, ok := f.Name, true
		for _, r := range []*run{a, b} {
			for _, f := range r.faults(mesh, name) {
				ok = ok && f.Verdict != verify.Skipped // its check says so
			}
		}
		if ok {
			names = append(names, name)
		}
	}
	known := names[:0:0]
	for _, name := range names {
		d := Difference{Kind: KindRecovery, Subject: name, A: a.recovered(mesh, name), B: b.recovered(mesh, name)}
		if d.A != seenToRecover || d.B != seenToRecover {
			m.Unknown = append(m.Unknown, d)
			continue
		}
		known = append(known, name)
		m.Agreed[KindRecovery]++
	}
	for i, first := range known {
		for _, second := range known[i+1:] {
			x, y := a.order(mesh, first, second), b.order(mesh, first, second)
			if x*y > 0 {
				m.Agreed[KindRecovery]++
			}
			if x*y >= 0 {
				continue // without an order on one side, the other cannot contradict it
			}
			d := Difference{
				Kind: KindRecovery, Subject: "order of " + first + " and " + second,
				A: orderWords(x, first, second), B: orderWords(y, first, second),
			}
			if modelled(a.record) != modelled(b.record) && (a.startsPods(first) || a.startsPods(second)) {
				m.Notes = append(m.Notes, fmt.Sprintf("%s: A %s; B %s: one of them is over when a pod has started, which takes a kubelet seconds and a model nothing", d.Subject, d.A, d.B))
				continue
			}
			m.Differ = append(m.Differ, d)
		}
	}
}

const seenToRecover = "recovered"

// recovered is whether every block's record shows the recovery from a fault.
func (r *run) recovered(mesh, name string) string {
	list := r.faults(mesh, name)
	if len(list) == 0 {
		return "no record of the fault"
	}
	for _, f := range list {
		if _, ok := f.Recovered(); !ok {
			return fmt.Sprintf("block %d: not seen to recover (%s)", f.Trial.Block, f.Effect)
		}
	}
	return seenToRecover
}

// order is -1 where the first of two faults was recovered from before the second in every block, 1 where after it, and 0
// where there is no order, or not the same in all blocks.
func (r *run) order(mesh, first, second string) int {
	at := map[int]time.Duration{}
	for _, f := range r.faults(mesh, first) {
		at[f.Trial.Block], _ = f.Recovered()
	}
	seen := map[int]bool{}
	for _, f := range r.faults(mesh, second) {
		y, _ := f.Recovered()
		switch x := at[f.Trial.Block]; {
		case x < y-slice:
			seen[-1] = true
		case x > y+slice:
			seen[1] = true
		default:
			return 0
		}
	}
	switch {
	case seen[-1] == seen[1]:
		return 0
	case seen[1]:
		return 1
	}
	return -1
}

// startsPods reports whether the recovery from a fault waits for new pods.
func (r *run) startsPods(name string) bool {
	for i := range r.scenario.Spec.Faults {
		if f := &r.scenario.Spec.Faults[i]; f.Name == name {
			return f.Kind == scenarios.PodKill || f.Kind == scenarios.WorkloadOutage
		}
	}
	return false
}

func orderWords(o int, first, second string) string {
	if o < 0 {
		return first + " first"
	}
	return second + " first"
}

func (r *run) faults(mesh, name string) []verify.Fault {
	var out []verify.Fault
	for _, f := range r.result.Faults {
		if f.Trial.Mesh == mesh && f.Name == name {
			out = append(out, f)
		}
	}
	return out
}
