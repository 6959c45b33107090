package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// readWithin bounds one reading of a pod, beside what it takes by its nature.
const readWithin = 5 * time.Second

// inPods takes a fault in all pods of a service in one cluster all its way. Its effect probe reads from each of them what
// the fault changes.
func (f *fault) inPods(ctx context.Context) error {
	cluster := f.env.Fleet.Cluster(f.plan.Target.Cluster)
	if cluster == nil {
		return f.failed(fmt.Errorf("there is no cluster %q", f.plan.Target.Cluster))
	}
	var pods []clusters.Pod
	return f.through(ctx, effect{
		what: fmt.Sprintf("%s in the pods of %s", f.plan.Kind, f.plan.target()),
		undo: map[string]string{"cluster": f.plan.Target.Cluster, "service": f.plan.Target.Service},
		lead: 4 * Lead, attempt: readWithin,
		open: func(ctx context.Context) ([]lane, error) {
			var err error
			if pods, err = f.targets(ctx, cluster); err != nil {
				return nil, err
			}
			var lanes []lane
			for _, p := range pods {
				lanes = append(lanes, lane{of: group{pod: p.Pod, uid: p.UID}, read: f.reader(p)})
			}
			return lanes, nil
		},
		inject: func(ctx context.Context) (func(context.Context) error, error) {
			return f.tool.Inject(ctx, f.plan.Fault, pods)
		},
		gone: func(before []evidence.FaultSample, s evidence.FaultSample) bool {
			_, gone := f.plan.Shows(median(before, func(s evidence.FaultSample) int64 { return s.Value }), s.Value)
			return s.OK && gone
		},
		unmeasured: "its pods could not be read before",
	})
}

// targets are the pods that the fault is in: all of the service.
func (f *fault) targets(ctx context.Context, c clusters.Cluster) ([]clusters.Pod, error) {
	all, err := c.Pods(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	var own []clusters.Pod
	for _, p := range all {
		if p.Service != f.plan.Target.Service {
			continue
		}
		if !p.Ready {
			return nil, fmt.Errorf("pod %s is not ready", p.Pod)
		}
		own = append(own, p)
	}
	if len(own) == 0 {
		return nil, fmt.Errorf("there is no pod of %s", f.plan.target())
	}
	return own, nil
}

// cpuSpan is how long the use of processors is averaged over.
const cpuSpan = 600 * time.Millisecond

// reader reads a pod.
func (f *fault) reader(p clusters.Pod) func(context.Context) (time.Duration, int64, error) {
	read := func(ctx context.Context) (time.Duration, int64, error) {
		began := time.Now()
		v, err := f.tool.Read(ctx, f.plan.Fault, p)
		return time.Since(began), v, err
	}
	if f.plan.Kind != scenarios.CPUStress {
		return read
	}
	return func(ctx context.Context) (time.Duration, int64, error) {
		first := time.Now()
		_, was, err := read(ctx)
		if err != nil {
			return time.Since(first), 0, err
		}
		if !sleep(ctx, cpuSpan) {
			return time.Since(first), 0, ctx.Err()
		}
		_, is, err := read(ctx)
		// Each reading is of some moment while it was asked for: the span is the longest that may lie between the two, so
		// that nothing is taken for more than it is.
		span := time.Since(first)
		return time.Since(first), 1000 * (is - was) / max(span.Microseconds(), 1), err
	}
}
