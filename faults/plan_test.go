package faults

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

func scenario() *scenarios.Scenario {
	ms := func(n int) scenarios.Duration { return scenarios.Duration(time.Duration(n) * time.Millisecond) }
	return &scenarios.Scenario{Spec: scenarios.Spec{
		Meshes: []scenarios.MeshEntry{{Name: scenarios.MeshNone}, {Name: scenarios.MeshIstio}},
		Topology: scenarios.Topology{
			Clusters: []scenarios.Cluster{{Name: "east"}, {Name: "west"}}, Network: scenarios.Network{Latency: ms(3)},
			Services: []scenarios.Service{{Name: "cart", Clusters: []string{"west", "east"}, Replicas: 20}},
		},
		Faults: []scenarios.Fault{
			{Name: "dies", Kind: scenarios.PodKill, Target: &scenarios.FaultTarget{Service: "cart"}, At: ms(100)},
			{Name: "slow", Kind: scenarios.NetworkDelay, Between: []string{"east", "west"}, Delay: ms(40), At: ms(200), For: ms(2000)},
			{Name: "cut", Kind: scenarios.Partition, Between: []string{"west", "east"}, At: ms(300), For: ms(1000)},
		},
	}}
}

func TestAPlanHasWhatTheScenarioSays(t *testing.T) {
	got := Plan(scenario(), 7)
	if got[0].Ordinal < 0 || got[0].Ordinal > 19 {
		t.Errorf("pod %d of 20 dies", got[0].Ordinal)
	}
	l := 3 * time.Millisecond
	f := scenario().Spec.Faults
	want := []Planned{{Fault: f[0], Latency: l, Replicas: 20, Ordinal: got[0].Ordinal}, {Fault: f[1], Latency: l}, {Fault: f[2], Latency: l}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTheSameSeedMakesTheSamePlan(t *testing.T) {
	if d := cmp.Diff(Plan(scenario(), 7), Plan(scenario(), 7)); d != "" {
		t.Error(d)
	}
	hit := map[int]int{}
	for seed := range int64(1000) {
		hit[Plan(scenario(), seed)[0].Ordinal]++
	}
	for i := range 20 {
		// 50 are expected, with a standard deviation of 7.
		if hit[i] < 15 || hit[i] > 100 {
			t.Errorf("pod %d dies for %d of 1000 seeds", i, hit[i])
		}
	}
}

func TestAFaultDrawsTheSameWhateverElseIsPlanned(t *testing.T) {
	less := scenario()
	less.Spec.Faults = less.Spec.Faults[:1]
	less.Spec.Meshes = less.Spec.Meshes[1:]
	if d := cmp.Diff(Plan(scenario(), 7)[0], Plan(less, 7)[0]); d != "" {
		t.Error(d)
	}
}
