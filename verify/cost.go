package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/meshproof/meshproof/evidence"
)

// Cost is what the containers of one role used in one phase of one traffic of one trial. It is shown, and judged by
// nothing. What is not known has no figure: it is never 0.
type Cost struct {
	Trial   evidence.Trial `json:"trial"`
	Traffic string         `json:"traffic"` // "" where nothing is known of the whole trial
	Phase   string         `json:"phase"`
	Role    string         `json:"role"` // of evidence.Roles
	// Verdict is PASS where the figures are whole, INVALID where they are not, SKIPPED where there can be none.
	Verdict    Verdict `json:"verdict"`
	Message    string  `json:"message,omitempty"` // why there is no figure
	Containers int     `json:"containers"`
	// CPUSeconds is the time of processors that was used, in core-seconds, and PerThousand that for 1,000 requests of the
	// load, whoever sent them; nil where it cannot be told.
	CPUSeconds  *float64 `json:"cpuSeconds,omitempty"`
	PerThousand *float64 `json:"perThousand,omitempty"`
	// Within is how far the true figure may lie from PerThousand, in either direction.
	Within float64 `json:"within,omitempty"`
	// AtLeast says that what some container used at last is not known: it ended, or was not looked at again.
	AtLeast    bool           `json:"atLeast,omitempty"`
	MemoryMean int64          `json:"memoryMean,omitempty"` // bytes of all working sets together, mean over the samples
	MemoryPeak int64          `json:"memoryPeak,omitempty"` // the highest of these
	Used       []evidence.Ref `json:"used,omitempty"`

	doubt float64 // core-seconds
}

const (
	// maxBetween is how far the two figures of a container may lie apart between which what it had used at the edge of a
	// phase is interpolated without a doubt. What was used between figures that are further apart may belong to either
	// side of the edge.
	maxBetween = 3 * time.Second
	// maxIdle is how far that may be for a container that did nothing: kubelets look at one twice as late each time that
	// they find it as it was, and after 15 s at the latest (cAdvisor's dynamic housekeeping).
	maxIdle = 15 * time.Second
	// maxDoubt is the share of what a role used in a phase that may be in doubt.
	maxDoubt = 0.5
	// allPhases stands for the load from its beginning to its end.
	allPhases = "all phases"
)

// container is one start of one container.
type container struct {
	cluster, namespace, pod, name string
	started                       time.Time
}

// samples are what nodes said in one sample.
type samples struct {
	at    time.Time
	nodes map[string]*evidence.Usage // by cluster/node
}

// costs derives what a trial cost from what its kubelets said.
func (x *trial) costs(modelled bool) []Cost {
	unknownCost := func(v Verdict, message string) []Cost {
		return []Cost{{Trial: x.id, Verdict: v, Message: message}}
	}
	switch {
	case len(x.s.Spec.Traffic) == 0:
		return nil
	case modelled:
		return unknownCost(Skipped, "the data planes are models, whose cost is not a mesh's")
	case len(x.usages) == 0:
		return unknownCost(Invalid, "not recorded: nobody said what containers used")
	case len(x.gaps[evidence.Usages]) > 0:
		return unknownCost(Invalid, "not whole: "+x.gaps[evidence.Usages][0].Message)
	case len(x.events[evidence.EventLoadStart]) != 1:
		return unknownCost(Invalid, "it cannot be told when the load began")
	}
	zero := x.events[evidence.EventLoadStart][0].T
	m := x.measure()
	var out []Cost
	for i := range x.s.Spec.Traffic {
		tr := &x.s.Spec.Traffic[i]
		stages := stagesOf(tr, x.seed)
		if n := len(stages); n > 1 {
			stages = append(stages, stagePhase{name: allPhases, duration: stages[n-1].start + stages[n-1].duration})
		}
		for _, st := range stages {
			from := zero.Add(st.start)
			requests, why := x.requestsIn(st.start, st.start+st.duration)
			for _, role := range evidence.Roles {
				if role != evidence.RoleWorkload && !x.d.proxied() {
					continue
				}
				c := m.cost(role, from, from.Add(st.duration))
				c.Trial, c.Traffic, c.Phase, c.Role = x.id, tr.Name, st.name, role
				if c.Verdict == Pass && why == "" {
					v := evidence.Round(*c.CPUSeconds / float64(requests) * 1000)
					c.PerThousand, c.Within = &v, evidence.Round(c.doubt/float64(requests)*1000)
				} else if c.Verdict == Pass {
					c.Message = "for 1,000 requests it cannot be told: " + why
				}
				out = append(out, c)
			}
		}
	}
	return out
}

// requestsIn counts the requests of all traffic that were meant for a stretch of the load.
func (x *trial) requestsIn(from, to time.Duration) (n int64, why string) {
	for i := range x.s.Spec.Traffic {
		l := x.loadOf(&x.s.Spec.Traffic[i])
		if lack := l.lack(); len(lack) > 0 {
			return 0, lack[0].message
		}
		for _, k := range l.ticks {
			if at := micro(k.AtMicros); at >= from && at < to {
				n += k.Done
			}
		}
	}
	if n == 0 {
		return 0, "there were none"
	}
	return n, ""
}

// measured is what the kubelets of a trial said.
type measured struct {
	trial   *trial
	samples []samples
	nodes   map[string]bool
	series  map[container][]gauged // in the order of time
	roles   map[container]string
}

// gauged is one figure of one container.
type gauged struct {
	evidence.ContainerUsage
	ref evidence.Ref
}

func (x *trial) measure() *measured {
	m := &measured{trial: x, nodes: map[string]bool{}, series: map[container][]gauged{}, roles: map[container]string{}}
	bySample := map[int]*samples{}
	for _, u := range x.usages {
		node := u.Cluster + "/" + u.Node
		m.nodes[node] = true
		s := bySample[u.Sample]
		if s == nil {
			s = &samples{at: u.T, nodes: map[string]*evidence.Usage{}}
			bySample[u.Sample] = s
		}
		s.nodes[node] = u
		for _, c := range u.Containers {
			k := container{u.Cluster, c.Namespace, c.Pod, c.Container, c.Started}
			m.series[k] = append(m.series[k], gauged{c, u.Ref()})
			m.roles[k] = c.Role
		}
	}
	for _, n := range slices.Sorted(maps.Keys(bySample)) {
		m.samples = append(m.samples, *bySample[n])
	}
	for k, list := range m.series {
		slices.SortStableFunc(list, func(a, b gauged) int { return a.Taken.Compare(b.Taken) })
		m.series[k] = slices.CompactFunc(list, func(a, b gauged) bool { return a.Taken.Equal(b.Taken) }) // asked twice before it was looked at again
	}
	return m
}

// cost sums up one role between two moments.
func (m *measured) cost(role string, from, to time.Time) Cost {
	c := Cost{Verdict: Invalid}
	total, doubt := 0.0, 0.0
	keys := make([]container, 0, len(m.series))
	for k := range m.series {
		if m.roles[k] == role && k.started.Before(to) && !m.endedBy(k, from) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b container) int {
		return cmp.Or(cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.pod, b.pod), cmp.Compare(a.name, b.name), a.started.Compare(b.started))
	})
	for _, k := range keys {
		list := m.series[k]
		begin, end := level{}, level{}
		if k.started.Before(from) {
			begin = m.at(k, list, from)
		}
		if end = m.at(k, list, to); begin.why+end.why != "" {
			c.Message = fmt.Sprintf("what container %s of pod %s had used is not known: %s", k.name, k.pod, cmp.Or(begin.why, end.why))
			return c
		}
		if end.cpu < begin.cpu {
			c.Message = fmt.Sprintf("the processor time of container %s of pod %s went backwards", k.name, k.pod)
			return c
		}
		total, doubt = total+end.cpu-begin.cpu, doubt+begin.doubt+end.doubt
		c.AtLeast = c.AtLeast || end.atLeast || begin.atLeast
		c.Used = append(append(c.Used, begin.used...), end.used...)
		c.Containers++
	}
	if c.Containers == 0 {
		c.Message = "no container of this role was seen"
		return c
	}
	if doubt > maxDoubt*total {
		c.Message = fmt.Sprintf("%.2f core-seconds were used between figures more than %s apart, at the edges of the phase, which is too much to tell how much of them belongs to it", doubt, maxBetween)
		return c
	}
	c.doubt = doubt
	if c.Message = m.memory(&c, role, from, to); c.Message != "" {
		return c
	}
	total = evidence.Round(total)
	c.Verdict, c.CPUSeconds, c.Used = Pass, &total, refs(c.Used)
	return c
}

// level is what a container had used at a moment.
type level struct {
	cpu, doubt float64 // core-seconds
	atLeast    bool    // it ended after its last figure
	used       []evidence.Ref
	why        string // it is not known
}

// at interpolates between the figures that were taken before and after a moment. A container had used nothing when it was
// started, and of one that ended its last figure is what is known.
func (m *measured) at(k container, list []gauged, t time.Time) level {
	i := slices.IndexFunc(list, func(r gauged) bool { return r.Taken.After(t) })
	last := list[len(list)-1]
	switch {
	case i < 0 && m.endedBy(k, last.Taken.Add(maxBetween)):
		return level{cpu: last.CPUSeconds, atLeast: true, used: []evidence.Ref{last.ref}}
	case i < 0 && (t.Sub(last.Taken) <= maxBetween || idle(list) && t.Sub(last.Taken) <= maxIdle):
		return level{cpu: last.CPUSeconds, atLeast: true, used: []evidence.Ref{last.ref}}
	case i < 0:
		return level{why: fmt.Sprintf("its last figure is %s older than the edge of the phase", t.Sub(last.Taken).Round(time.Millisecond))}
	}
	after := list[i]
	before := gauged{ContainerUsage: evidence.ContainerUsage{Taken: k.started}, ref: after.ref}
	if i > 0 {
		before = list[i-1]
	}
	between := after.Taken.Sub(before.Taken)
	out := level{used: []evidence.Ref{before.ref, after.ref}}
	if between > maxBetween {
		out.doubt = after.CPUSeconds - before.CPUSeconds
	}
	out.cpu = before.CPUSeconds + (after.CPUSeconds-before.CPUSeconds)*float64(t.Sub(before.Taken))/float64(between)
	return out
}

// idle reports whether a container's last two figures are the same: nobody looks again for a while.
func idle(list []gauged) bool {
	n := len(list)
	return n > 1 && list[n-1].CPUSeconds == list[n-2].CPUSeconds
}

// endedBy reports whether a container is known to have ended by a moment: its pod did, or it was started anew.
func (m *measured) endedBy(k container, by time.Time) bool {
	for _, e := range m.trial.events[evidence.EventPodEnded] {
		if e.At.Cluster == k.cluster && e.At.Namespace == k.namespace && e.At.Pod == k.pod && !e.T.After(by) {
			return true
		}
	}
	for o := range m.series {
		if o.cluster == k.cluster && o.namespace == k.namespace && o.pod == k.pod && o.name == k.name && o.started.After(k.started) && !o.started.After(by) {
			return true
		}
	}
	return false
}

// memory adds up the working sets of a role in each sample between two moments. It says why it cannot.
func (m *measured) memory(c *Cost, role string, from, to time.Time) string {
	var sum, n int64
	for i, s := range m.samples {
		if s.at.Before(from) || s.at.After(to) {
			continue
		}
		bytes := int64(0)
		for _, node := range sortedKeys(m.nodes) {
			u := s.nodes[node]
			switch {
			case u == nil:
				return fmt.Sprintf("node %s is missing from sample %d", node, i+1)
			case u.Error != "":
				return u.Error
			}
			c.Used = append(c.Used, u.Ref())
			for _, k := range u.Containers {
				if k.Role == role {
					bytes += k.MemoryBytes
				}
			}
		}
		sum, n = sum+bytes, n+1
		c.MemoryPeak = max(c.MemoryPeak, bytes)
	}
	if n == 0 {
		return "no sample was taken in this phase"
	}
	c.MemoryMean = sum / n
	return ""
}
