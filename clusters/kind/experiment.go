package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	chaosapi "github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/meshproof/meshproof/clusters"
)

const (
	// injectWithin bounds how long Chaos Mesh may take to inject a fault everywhere.
	injectWithin = 15 * time.Second
	// recoverWithin is how long it may take to take a fault back before it is made to forget it.
	recoverWithin = 8 * time.Second
	// forgetWithin bounds how long an object may take to go whose finalizers were removed.
	forgetWithin = 4 * time.Second
)

// experiment is one object of Chaos Mesh in one cluster.
type experiment struct {
	cluster  string
	resource dynamic.ResourceInterface // of its kind, in its namespace
	obj      *unstructured.Unstructured
	records  int // things that it hits, which must all be injected
}

func (e *experiment) String() string {
	return fmt.Sprintf("%s %s in cluster %s", e.obj.GetKind(), e.obj.GetName(), e.cluster)
}

// inject makes the object and waits until Chaos Mesh says that everything is injected. It may be there when it fails.
func (e *experiment) inject(ctx context.Context) error {
	made, err := e.resource.Create(ctx, e.obj, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return fmt.Errorf("%s: %w", e, err)
	}
	within, cancel := context.WithTimeout(ctx, injectWithin)
	defer cancel()
	last := made
	err = e.follow(within, func(now *unstructured.Unstructured) (bool, error) {
		if now == nil {
			return false, errors.New("somebody removed it")
		}
		last = now
		s, err := statusOf(now)
		return err == nil && s.injected(e.records), err
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s was not injected within %s: %s: %w", e, injectWithin, describe(last, e.records), err)
	}
	return err
}

// remove deletes the object and waits until it is gone: Chaos Mesh keeps it until it has taken everything back. Where that
// takes too long, the object loses its finalizers, and the error wraps clusters.ErrForced.
func (e *experiment) remove(ctx context.Context) error {
	err := e.resource.Delete(ctx, e.obj.GetName(), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", e, err)
	}
	last := e.obj
	gone := func(within time.Duration) error {
		wait, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		return e.follow(wait, func(now *unstructured.Unstructured) (bool, error) {
			if now != nil {
				last = now
			}
			return now == nil, nil
		})
	}
	slow := gone(recoverWithin)
	if slow == nil {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": nil}})
	if err != nil {
		return err
	}
	_, err = e.resource.Patch(ctx, e.obj.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err == nil {
		err = gone(forgetWithin)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing %s, whose finalizers hung for %s (%s): %w", e, recoverWithin, describe(last, e.records), err)
	}
	return fmt.Errorf("%w: %s hung on its finalizers for %s: %s", clusters.ErrForced, e, recoverWithin, describe(last, e.records))
}

// follow shows the object, as it is and after each change, until enough says so or fails. nil is an object that is gone.
func (e *experiment) follow(ctx context.Context, enough func(*unstructured.Unstructured) (bool, error)) error {
	one := metav1.ListOptions{FieldSelector: "metadata.name=" + e.obj.GetName()}
	for {
		list, err := e.resource.List(ctx, one)
		if err != nil {
			return fmt.Errorf("looking at %s: %w", e, err)
		}
		var now *unstructured.Unstructured
		for i := range list.Items {
			if list.Items[i].GetName() == e.obj.GetName() {
				now = &list.Items[i]
			}
		}
		if ok, err := enough(now); ok || err != nil {
			return err
		}
		changes := one
		changes.ResourceVersion = list.GetResourceVersion()
		if ok, err := e.changes(ctx, changes, enough); ok || err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("watching %s: %w", e, ctx.Err())
		}
	}
}

// changes shows the object after each change until the watch ends.
func (e *experiment) changes(ctx context.Context, opts metav1.ListOptions, enough func(*unstructured.Unstructured) (bool, error)) (bool, error) {
	w, err := e.resource.Watch(ctx, opts)
	if err != nil {
		return false, fmt.Errorf("watching %s: %w", e, err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case change, open := <-w.ResultChan():
			obj, ok := change.Object.(*unstructured.Unstructured)
			if !open || !ok { // the watch was cut off: look anew
				sleep(ctx, lookAgain)
				return false, nil
			}
			if obj.GetName() != e.obj.GetName() {
				continue
			}
			if change.Type == watch.Deleted {
				obj = nil
			}
			if ok, err := enough(obj); ok || err != nil {
				return ok, err
			}
		}
	}
}

// chaosStatus is what every object of Chaos Mesh says of itself.
type chaosStatus chaosapi.ChaosStatus

func statusOf(obj *unstructured.Unstructured) (chaosStatus, error) {
	var s chaosStatus
	raw, ok, err := unstructured.NestedMap(obj.Object, "status")
	if err == nil && ok {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &s)
	}
	if err != nil {
		return s, fmt.Errorf("reading the status of %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	return s, nil
}

// injected reports whether Chaos Mesh says that all is injected, and has as many things in its books as it was to hit.
func (s chaosStatus) injected(records int) bool {
	all := slices.ContainsFunc(s.Conditions, func(c chaosapi.ChaosCondition) bool {
		return c.Type == chaosapi.ConditionAllInjected && c.Status == "True"
	})
	for _, r := range s.Experiment.Records {
		all = all && r.Phase == chaosapi.Injected
	}
	return all && len(s.Experiment.Records) == records
}

// describe says for people how far Chaos Mesh is with an object.
func describe(obj *unstructured.Unstructured, want int) string {
	s, err := statusOf(obj)
	if err != nil {
		return err.Error()
	}
	done := 0
	var why []string
	for _, r := range s.Experiment.Records {
		if r.Phase == chaosapi.Injected {
			done++
		}
		for _, ev := range slices.Backward(r.Events) {
			if ev.Type == chaosapi.TypeFailed {
				if text := strings.Join(strings.Fields(ev.Message), " "); !slices.Contains(why, text) {
					why = append(why, text)
				}
				break
			}
		}
	}
	var conditions []string
	for _, c := range s.Conditions {
		if c.Status == "True" {
			conditions = append(conditions, string(c.Type))
		}
	}
	text := fmt.Sprintf("%d of %d are injected, its conditions are %q", done, want, conditions)
	if len(why) > 0 {
		text += ", it says: " + strings.Join(why, "; ")
	}
	return text
}
