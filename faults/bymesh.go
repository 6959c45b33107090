package faults

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	// enoughHits is how many requests a fault of the mesh should hit while it lasts, so that its share shows.
	enoughHits = 10
	// mostCallers bounds the requests of an effect probe that are under way at once.
	mostCallers = 32
	// settingWithin bounds how long a setting may take to reach every proxy.
	settingWithin = 10 * time.Second
)

// Mesh makes faults with the mesh's own means.
type Mesh struct {
	Scenario *scenarios.Scenario
	// Faulty is the object of one cluster by which the mesh makes a fault, with the fault and as it is without. The error
	// wraps clusters.ErrNotPossible where the mesh cannot.
	Faulty func(f scenarios.Fault) (with, without clusters.Object, err error)
}

// byMesh takes a fault that the mesh's proxies make all its way. Its effect probe is a caller that asks for what it asks
// for anyway, through its own proxy, with the tags of the load: it is judged as that is.
func (f *fault) byMesh(ctx context.Context) error {
	target := f.plan.Target
	cluster := f.env.Fleet.Cluster(target.Cluster)
	if cluster == nil {
		return f.failed(fmt.Errorf("there is no cluster %q", target.Cluster))
	}
	return f.through(ctx, effect{
		what: fmt.Sprintf("%s of requests to %s in cluster %s", f.plan.Kind, target.Service, target.Cluster),
		undo: map[string]string{"cluster": target.Cluster, "service": target.Service},
		lead: 4 * Lead, attempt: readWithin + f.plan.Delay.D(),
		open: func(ctx context.Context) ([]lane, error) { return f.callers(ctx, cluster) },
		inject: func(ctx context.Context) (func(context.Context) error, error) {
			if err := apply(ctx, cluster, f.with); err != nil {
				undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), ToolRevertLimit)
				defer cancel()
				return nil, errors.Join(err, apply(undo, cluster, f.without))
			}
			return func(ctx context.Context) error { return apply(ctx, cluster, f.without) }, nil
		},
		gone: func(before []evidence.FaultSample, s evidence.FaultSample) bool {
			_, gone := f.plan.Shows(median(before, func(s evidence.FaultSample) int64 { return s.Value }), s.Value)
			return s.OK && gone
		},
		inARow:     f.plan.Unhit(),
		unmeasured: "its requests were not answered before",
	})
}

// apply gives a cluster's proxies a setting, and waits until all have it.
func apply(ctx context.Context, c clusters.Cluster, obj clusters.Object) error {
	ctx, cancel := context.WithTimeout(ctx, settingWithin)
	defer cancel()
	if err := c.Apply(ctx, obj); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}

// callers are as many lanes of requests as the fault's share asks for, all from one pod.
func (f *fault) callers(ctx context.Context, c clusters.Cluster) ([]lane, error) {
	s := f.env.Mesh.Scenario
	from, call, ok := s.CallOf(&f.plan.Fault)
	to, ok2 := s.Workload(f.plan.Target.Service)
	if !ok || !ok2 {
		return nil, fmt.Errorf("nobody in %s calls %s", f.plan.Target.Cluster, f.plan.Target.Service)
	}
	pods, err := c.Pods(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	i := slices.IndexFunc(pods, func(p clusters.Pod) bool { return p.Service == from.Name && p.Ready })
	if i < 0 {
		return nil, fmt.Errorf("no pod of %s in %s is ready", from.Name, f.plan.Target.Cluster)
	}
	pod, lasts := pods[i], f.plan.For.D()
	var n atomic.Int64
	ask := func(ctx context.Context) (time.Duration, int64, error) {
		id := fmt.Sprintf("fault-%d-%s-%s-%d", f.env.Trial.Block, f.env.Trial.Mesh, f.plan.Name, n.Add(1))
		h := http.Header{}
		h.Set(scenarios.HeaderID, id)
		h.Set("X-Request-Id", id)
		h.Set(scenarios.HeaderWindow, "load")
		h.Set(scenarios.HeaderCaller, from.Name+"@"+f.plan.Target.Cluster)
		res := c.Send(ctx, pod, clusters.Request{
			Host: to.Host(), Method: call.Method, Path: call.Path, Header: h, Timeout: readWithin + f.plan.Delay.D(),
		})
		switch {
		case res.Status == 0:
			return res.Took, 0, errors.New(res.Error)
		case f.plan.Kind == scenarios.MeshAbort:
			return res.Took, int64(res.Status), nil
		}
		return res.Took, res.Took.Microseconds(), nil
	}
	inOne := max(1, int(lasts/(f.plan.Delay.D()+pauseOf(lasts))))
	want := int(math.Ceil(enoughHits / f.plan.Share / float64(inOne)))
	lanes := make([]lane, min(max(want, 1), mostCallers))
	for i := range lanes {
		lanes[i] = lane{of: group{pod: pod.Pod, uid: pod.UID}, read: ask}
	}
	return lanes, nil
}
