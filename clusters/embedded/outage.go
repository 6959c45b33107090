package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/meshproof/meshproof/clusters"
)

// Outage implements clusters.Cluster.
func (c *cluster) Outage(ctx context.Context, namespace, service, reason string) (func(context.Context) error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if reason == "" {
		return nil, errors.New("an outage wants a reason: pods that end for none spoil the evidence")
	}
	f := c.f
	dep := new(appsv1.Deployment)
	dep.Namespace, dep.Name = namespace, service
	f.mu.Lock()
	d := c.deployments[clusters.Key(dep)]
	if d == nil || f.closed {
		f.mu.Unlock()
		return nil, fmt.Errorf("no Deployment %s/%s was applied to cluster %s", namespace, service, c.name)
	}
	d.out++
	var up []*pod
	var failed error
	for _, p := range slices.Clone(d.pods) {
		ran, err := c.fell(p, reason)
		if failed = errors.Join(failed, err); ran {
			up = append(up, p)
		}
	}
	f.notify()
	f.mu.Unlock()
	var killing sync.WaitGroup
	for _, p := range up {
		killing.Go(p.kill)
	}
	killing.Wait()
	var once sync.Once
	restore := func(context.Context) error {
		once.Do(func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			d.out--
			d.reconcile()
			f.publish()
		})
		return f.broken()
	}
	if failed != nil {
		return nil, errors.Join(failed, restore(ctx))
	}
	return restore, nil
}
