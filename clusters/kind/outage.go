package kind

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Outage implements clusters.Cluster. The Deployment is scaled to nothing, so that no pod comes back, and the pods get
// SIGKILL at the same moment: by itself that would end them gracefully.
func (c *cluster) Outage(ctx context.Context, namespace, service, reason string) (func(context.Context) error, error) {
	if err := errors.Join(ctx.Err(), c.f.alive()); err != nil {
		return nil, err
	}
	if reason == "" {
		return nil, errors.New("an outage wants a reason: pods that end for none spoil the evidence")
	}
	was, err := c.client.AppsV1().Deployments(namespace).GetScale(ctx, service, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading how many pods Deployment %s/%s in cluster %s has: %w", namespace, service, c.name, err)
	}
	uids := c.condemn(namespace, service, reason)
	if err := c.scale(ctx, namespace, service, 0); err != nil {
		c.condemn(namespace, service, "")
		return nil, err
	}
	restore := func(ctx context.Context) error {
		c.f.mu.Lock()
		delete(c.outages, namespace+"/"+service) // before there are pods that shall live
		c.f.mu.Unlock()
		return c.scale(ctx, namespace, service, was.Spec.Replicas)
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, uid := range uids {
		g.Go(func() error {
			if err := c.endNow(gctx, uid); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, errors.Join(err, restore(context.WithoutCancel(ctx)))
	}
	return restore, nil
}

// condemn notes for all pods of a service, and those that it will have, why they are about to be killed, or with no reason
// that they are not, and lists those that there are.
func (c *cluster) condemn(namespace, service, reason string) []types.UID {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if reason == "" {
		delete(c.outages, namespace+"/"+service)
	} else {
		c.outages[namespace+"/"+service] = reason
	}
	var uids []types.UID
	for uid, p := range c.pods {
		if p.ref.Namespace == namespace && p.ref.Service == service {
			p.reason = reason
			uids = append(uids, uid)
		}
	}
	return uids
}

func (c *cluster) scale(ctx context.Context, namespace, service string, replicas int32) error {
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: service}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
	if _, err := c.client.AppsV1().Deployments(namespace).UpdateScale(ctx, service, scale, metav1.UpdateOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("scaling Deployment %s/%s in cluster %s to %d: %w", namespace, service, c.name, replicas, err)
	}
	return nil
}
