package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// used is a container of the record that meteredRecord makes.
type used struct {
	role, pod, container string
	cores                float64 // that it uses all the time
	mebibytes            int64
	from, until          time.Duration // after the start of the load, in which it is there
}

// always is before and after every load of these tests.
const always = time.Hour

var usedByAll = []used{
	{evidence.RoleWorkload, "shop-1", "workload", 0.1, 20, -always, always},
	{evidence.RoleWorkload, "cart-2", "workload", 0.3, 10, -always, always},
	{evidence.RoleSidecar, "shop-1", "istio-proxy", 0.2, 60, -always, always},
	{evidence.RoleControlPlane, "istiod-1", "discovery", 0.05, 100, -always, always},
}

// meteredRecord is a good record of real clusters, on which a node said each second what the containers used, with
// figures that were 0.4 s old. The load asks 40 requests in its calm 2 s.
func meteredRecord(t *testing.T, list []used) (rec *evidence.Record, start time.Time) {
	t.Helper()
	rec = goodRecord(t, testScenario(scenarios.MeshIstio))
	rec.Manifest.Modelled = false
	trial := evidence.Trial{Block: 1, Mesh: "istio"}
	ends := uint64(0)
	for _, e := range rec.Events {
		switch {
		case e.Kind == evidence.EventLoadStart:
			start = e.T
		case e.Kind == evidence.EventProducerEnd:
			ends++
		}
	}
	for i := range 11 {
		at := time.Duration(i-1) * time.Second
		u := &evidence.Usage{
			Header:  evidence.Header{Trial: trial, Src: "usage", N: uint64(i + 1), T: start.Add(at)},
			Cluster: "east", Node: "node", Sample: i + 1,
		}
		taken := at - 400*time.Millisecond
		for _, c := range list {
			if taken < c.from || at > c.until {
				continue
			}
			u.Containers = append(u.Containers, evidence.ContainerUsage{
				Role: c.role, Namespace: "app", Pod: c.pod, Container: c.container, MemoryBytes: c.mebibytes << 20,
				Started: start.Add(c.from), Taken: start.Add(taken), CPUSeconds: c.cores * (taken - c.from).Seconds(),
			})
		}
		rec.Usages = append(rec.Usages, u)
	}
	rec.Events = append(rec.Events, &evidence.Event{
		Header: evidence.Header{Trial: trial, Src: "writer", N: ends + 1, T: start}, Kind: evidence.EventProducerEnd, Of: "usage", Stream: evidence.Usages, Count: 11,
	})
	return rec, start
}

func calm(t *testing.T, rec *evidence.Record, role string) Cost {
	t.Helper()
	var found []Cost
	for _, c := range Evaluate(rec).Costs {
		if c.Phase == "calm" && c.Role == role || c.Phase == "" {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d costs of %s in phase calm: %+v", len(found), role, found)
	}
	return found[0]
}

func TestCostIsDerivedByPhaseAndRole(t *testing.T) {
	rec, _ := meteredRecord(t, usedByAll)
	for _, tc := range []struct {
		role       string
		containers int
		cpu        float64 // of 2 s, for 40 requests
		mebibytes  int64
	}{
		{evidence.RoleWorkload, 2, 0.8, 30},
		{evidence.RoleSidecar, 1, 0.4, 60},
		{evidence.RoleControlPlane, 1, 0.1, 100},
	} {
		c := calm(t, rec, tc.role)
		if c.Verdict != Pass || c.Containers != tc.containers || c.MemoryMean != tc.mebibytes<<20 || c.MemoryPeak != tc.mebibytes<<20 || c.AtLeast {
			t.Fatalf("%s: %+v", tc.role, c)
		}
		if math.Abs(*c.CPUSeconds-tc.cpu) > 1e-3 || math.Abs(*c.PerThousand-tc.cpu*25) > 0.03 {
			t.Errorf("%s: %v core-seconds, %v for 1,000 requests, want %v and %v", tc.role, *c.CPUSeconds, *c.PerThousand, tc.cpu, tc.cpu*25)
		}
	}
}

func TestWhatIsNotKnownOfCostHasNoFigure(t *testing.T) {
	middle := func(rec *evidence.Record, change func(*evidence.Usage)) {
		for _, u := range rec.Usages[2:5] {
			change(u)
		}
	}
	for _, tc := range []struct {
		name   string
		mutate func(rec *evidence.Record)
		want   Verdict
		why    string
	}{
		{"models", func(rec *evidence.Record) { rec.Manifest.Modelled = true }, Skipped, "whose cost is not a mesh's"},
		{"nothing recorded", func(rec *evidence.Record) { rec.Usages = nil }, Invalid, "not recorded"},
		{"a sample lost", func(rec *evidence.Record) { rec.Usages = slices.Delete(rec.Usages, 3, 4) }, Invalid, "not whole"},
		{"a node that did not answer", func(rec *evidence.Record) {
			middle(rec, func(u *evidence.Usage) { u.Containers, u.Error = nil, "the kubelet is away" })
		}, Invalid, "too much to tell"},
		{"figures that stand still in time", func(rec *evidence.Record) {
			for _, u := range rec.Usages {
				for i := range u.Containers {
					u.Containers[i] = rec.Usages[0].Containers[i]
				}
			}
		}, Invalid, "older"},
		{"a container that is left out", func(rec *evidence.Record) {
			for _, u := range rec.Usages[1:] {
				u.Containers = slices.DeleteFunc(slices.Clone(u.Containers), func(c evidence.ContainerUsage) bool { return c.Container == "istio-proxy" })
			}
		}, Invalid, "older than the edge of the phase"},
		{"no sidecar at all", func(rec *evidence.Record) {
			for _, u := range rec.Usages {
				u.Containers = slices.DeleteFunc(slices.Clone(u.Containers), func(c evidence.ContainerUsage) bool { return c.Container == "istio-proxy" })
			}
		}, Invalid, "no container of this role was seen"},
		{"a count that goes backwards", func(rec *evidence.Record) {
			for _, u := range rec.Usages[3:] {
				for i := range u.Containers {
					u.Containers[i].CPUSeconds -= 5
				}
			}
		}, Invalid, "went backwards"},
		{"a second node that is missing from a sample", func(rec *evidence.Record) {
			rec.Usages[0].Node = "another"
		}, Invalid, "is missing from sample"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec, _ := meteredRecord(t, usedByAll)
			tc.mutate(rec)
			c := calm(t, rec, evidence.RoleSidecar)
			if c.Verdict != tc.want || !strings.Contains(c.Message, tc.why) || c.CPUSeconds != nil || c.PerThousand != nil {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestAContainerThatEndsOrStartsInAPhaseCountsForWhatIsKnownOfIt(t *testing.T) {
	list := []used{
		{evidence.RoleWorkload, "old", "workload", 0.1, 20, -always, 1300 * time.Millisecond},
		{evidence.RoleWorkload, "new", "workload", 0.4, 20, 1200 * time.Millisecond, always},
	}
	rec, start := meteredRecord(t, list)
	rec.Events = append(rec.Events, &evidence.Event{
		Header: evidence.Header{Trial: evidence.Trial{Block: 1, Mesh: "istio"}, Src: "fleet", T: start.Add(1300 * time.Millisecond)},
		Kind:   evidence.EventPodEnded, At: evidence.PodRef{Cluster: "east", Namespace: "app", Pod: "old", UID: "uid-old"},
	})
	c := calm(t, rec, evidence.RoleWorkload)
	// The old one's last figure is of 0.6 s after the start; the new one ran for the last 0.8 s.
	if want := 0.1*0.6 + 0.4*0.8; c.Verdict != Pass || !c.AtLeast || c.Containers != 2 || math.Abs(*c.CPUSeconds-want) > 1e-3 {
		t.Errorf("%+v, want %v: %s", c, want, fmt.Sprint(c.CPUSeconds))
	}
}

func TestFiguresFarApartAndIdleContainersLeaveADoubtThatIsSaid(t *testing.T) {
	list := append(slices.Clone(usedByAll), used{evidence.RoleSidecar, "idle", "istio-proxy", 0, 5, -always, always})
	rec, _ := meteredRecord(t, list)
	for _, u := range rec.Usages[3:6] { // of the workloads nothing is said from 1.6 s until 4.6 s after the start
		u.Containers = slices.DeleteFunc(slices.Clone(u.Containers), func(c evidence.ContainerUsage) bool { return c.Pod == "shop-1" && c.Container == "workload" })
	}
	for _, u := range rec.Usages[2:] { // and of the idle one nothing any more
		u.Containers = slices.DeleteFunc(slices.Clone(u.Containers), func(c evidence.ContainerUsage) bool { return c.Pod == "idle" })
	}
	c := calm(t, rec, evidence.RoleWorkload)
	if want := 0.1 * 4 * 25; c.Verdict != Pass || math.Abs(*c.CPUSeconds-0.8) > 1e-3 || math.Abs(c.Within-want) > 0.1 {
		t.Errorf("%+v: within %v, want %v", c, c.Within, want)
	}
	if c := calm(t, rec, evidence.RoleSidecar); c.Verdict != Pass || !c.AtLeast || c.Containers != 2 || math.Abs(*c.CPUSeconds-0.4) > 1e-3 {
		t.Errorf("%+v", c)
	}
}

func TestCostOfTheWholeLoadIsBesideThatOfItsPhases(t *testing.T) {
	rec, _ := meteredRecord(t, usedByAll)
	for _, c := range Evaluate(rec).Costs {
		if c.Phase == "all phases" && c.Role == evidence.RoleSidecar {
			if c.Verdict != Pass || math.Abs(*c.CPUSeconds-1.2) > 1e-3 {
				t.Errorf("%+v", c)
			}
			return
		}
	}
	t.Error("there is none")
}

func TestCostDecidesNoVerdict(t *testing.T) {
	with, _ := meteredRecord(t, usedByAll)
	without, _ := meteredRecord(t, usedByAll)
	without.Usages, without.Events = nil, without.Events[:len(without.Events)-1]
	a, b := Evaluate(with), Evaluate(without)
	if a.Verdict != b.Verdict || len(a.Checks) != len(b.Checks) {
		t.Errorf("%s with, %s without", a.Verdict, b.Verdict)
	}
}
