package verify

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// hitSlack is how much of what a fault should hit it may miss: on a busy machine a reading falls behind now and then.
const hitSlack = 0.2

// expectedHits is the least number of n samples that a fault of this share must have hit to be taken for injected: four
// fifths of what is expected, less three standard deviations of a binomial distribution; at least 1.
func expectedHits(n int, share float64) int {
	expected := (1 - hitSlack) * share * float64(n)
	return max(1, int(math.Floor(expected-3*math.Sqrt(float64(n)*share*(1-share)))))
}

// lossEffect wants as many round trips to have been without an answer, or to have waited for a packet to be sent again, as
// the share of lost packets makes likely. A round trip is two packets at least: with a share p lost in each direction,
// 1-(1-p)² of them are hit.
func (x *trial) lossEffect(st *faultState, conn string, was time.Duration, during []*evidence.Fault) string {
	p := st.scenario.Share
	share := evidence.Round(1 - (1-p)*(1-p))
	hit := 0
	for _, s := range during {
		if !s.Probe.OK || micro(s.Probe.Micros) > was+was/2+partitionSlack {
			hit++
		}
	}
	if want := expectedHits(len(during), share); hit < want {
		st.tally.invalid("NoEffect", refsOf(during...), "%d of %d round trips on %s connections were hit by the loss of %g of all packets, want at least %d", hit, len(during), conn, p, want)
	}
	return fmt.Sprintf("%s connections: %d of %d round trips were hit", conn, hit, len(during))
}

// podsEffect wants each pod that was read to have been well before a fault in it, hit during, and well after.
func (x *trial) podsEffect(st *faultState) {
	t, f := &st.tally, st.scenario
	byPod := map[string]map[string][]*evidence.Fault{} // by UID and stage
	for _, r := range x.faults[f.Name] {
		if r.Action != evidence.FaultProbe || r.Probe == nil {
			continue
		}
		if byPod[r.Probe.UID] == nil {
			byPod[r.Probe.UID] = map[string][]*evidence.Fault{}
		}
		byPod[r.Probe.UID][r.Probe.Stage] = append(byPod[r.Probe.UID][r.Probe.Stage], r)
	}
	names, of, share, unhit := map[string]string{}, f.Target.Service, 1.0, 1
	if f.Kind.ByMesh() { // what a caller saw
		from, _, _ := x.s.CallOf(f)
		of, share, unhit = from.Name, f.Share, f.Unhit()
	}
	for _, p := range x.allPods {
		if p.At.Service == of && p.At.Cluster == f.Target.Cluster && byPod[p.At.UID] != nil && names[p.At.UID] == "" {
			names[p.At.UID] = p.At.Pod
			t.use(p.Ref())
		}
	}
	if len(byPod) == 0 {
		t.invalid("NoEffectProbe", nil, "no pod of %s in %s was read", of, f.Target.Cluster)
	}
	for _, uid := range sortedKeys(byPod) {
		if names[uid] == "" {
			t.invalid("NoEffectProbe", nil, "what was read is of a pod with UID %s, and %s in %s has no such", uid, of, f.Target.Cluster)
			continue
		}
		x.podEffect(st, names[uid], byPod[uid], share, unhit)
	}
}

// podEffect is podsEffect for one pod, of whose readings the fault hits a share, and of which so many must show nothing of it
// at the end.
func (x *trial) podEffect(st *faultState, pod string, samples map[string][]*evidence.Fault, share float64, unhit int) {
	t, f := &st.tally, st.scenario
	before, during, after := samples["before"], samples["during"], samples["after"]
	for _, s := range []struct {
		stage string
		list  []*evidence.Fault
		need  int
	}{{"before", before, minSamples}, {"during", during, minSamples}, {"after", after, unhit}} {
		if len(s.list) < s.need {
			t.invalid("NoEffectProbe", refsOf(s.list...), "pod %s was read %d times %s the fault, want %d", pod, len(s.list), s.stage, s.need)
			return
		}
		t.use(atLeast(s.need, s.list)...)
	}
	read, why := answered(before)
	if why != "" {
		t.invalid("NotWellBefore", refsOf(before...), "pod %s: %s before the fault", pod, why)
		return
	}
	was := value(read)
	for _, s := range read {
		if shows, _ := f.Shows(was, s.Probe.Value); shows {
			t.invalid("NotWellBefore", refsOf(s), "pod %s was seen as under the fault before it began", pod)
			return
		}
	}
	hit := 0
	for _, s := range during {
		if shows, _ := f.Shows(was, s.Probe.Value); shows && s.Probe.OK {
			hit++
		}
	}
	if want := expectedHits(len(during), share); hit < want {
		t.invalid("NoEffect", refsOf(during...), "pod %s was seen under the fault by %d of %d readings, want at least %d", pod, hit, len(during), want)
	}
	st.Fault.Effect = join(st.Fault.Effect, fmt.Sprintf("pod %s: read %s before and %s during; %d of %d readings show it", pod, reading(f.Kind, was), reading(f.Kind, value(during)), hit, len(during)))
	var since *evidence.Fault
	row := 0 // readings since
	for _, s := range after {
		_, gone := f.Shows(was, s.Probe.Value)
		switch ok := s.Probe.OK && gone; {
		case !ok:
			since, row = nil, 0
		case since == nil:
			since, row = s, 1
		default:
			row++
		}
	}
	if since == nil || row < unhit {
		t.invalid("NotCleared", refsOf(after[len(after)-1]), "the fault was reverted, and pod %s was still under it when the probe ended", pod)
		return
	}
	if end := since.T; end.After(st.clear) {
		st.clear = end
	}
}

// reading writes what was read from a pod for people.
func reading(kind scenarios.FaultKind, v int64) string {
	switch kind {
	case scenarios.NetworkBandwidth:
		return fmt.Sprintf("%.3g Mbit/s", float64(v)/1e6)
	case scenarios.CPUStress:
		return fmt.Sprintf("%.3g processors", float64(v)/1000)
	case scenarios.MemoryStress:
		return fmt.Sprintf("%d MiB", v>>20)
	case scenarios.ClockSkew:
		return micro(v).Round(time.Millisecond).String() + " ahead"
	case scenarios.MeshDelay:
		return micro(v).Round(time.Millisecond).String()
	case scenarios.MeshAbort:
		return fmt.Sprintf("status %d", v)
	case scenarios.DNSError:
		return map[bool]string{true: "a name that resolved", false: "a name that did not resolve"}[v == 1]
	}
	return fmt.Sprint(v)
}

// value is the median of what was read.
func value(list []*evidence.Fault) int64 {
	v := make([]int64, len(list))
	for i, s := range list {
		v[i] = s.Probe.Value
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// escaped wants no pod to have come up in the clusters between which a tool cut the network: it cuts that of the pods that
// are there when it is told to.
func (x *trial) escaped(st *faultState, inject, revert *evidence.Fault) {
	for _, e := range x.events[evidence.EventPodReady] {
		if slices.Contains(st.scenario.Between, e.At.Cluster) && e.T.After(inject.T) && e.T.Before(revert.T) {
			st.tally.invalid("PodEscaped", refsOf(e), "pod %s came up during the partition, and %s cuts only the pods that it found", podName(e.At), inject.By)
		}
	}
}
