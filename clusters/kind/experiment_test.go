package kind

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	chaosapi "github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// fakeChaos is the API server with Chaos Mesh behind it, as one experiment sees them.
type fakeChaos struct {
	dynamic.ResourceInterface
	changes chan watch.Event

	mu  sync.Mutex
	obj *unstructured.Unstructured // nil: not there

	records  []map[string]any // that the experiment has once it is made
	injects  time.Duration    // until all are injected; negative: never
	recovers time.Duration    // until the finalizer goes; negative: never
	sticky   bool             // not even then
	refuses  error
	forced   bool
}

func newFakeChaos() *fakeChaos {
	return &fakeChaos{
		changes: make(chan watch.Event, 16), injects: time.Second, recovers: time.Second,
		records: []map[string]any{{"id": "app/a", "selectorKey": ".", "phase": "Not Injected"}, {"id": "app/b", "selectorKey": ".", "phase": "Not Injected"}},
	}
}

func (f *fakeChaos) tell(kind watch.EventType) {
	f.changes <- watch.Event{Type: kind, Object: f.obj.DeepCopy()}
}

func (f *fakeChaos) Create(_ context.Context, obj *unstructured.Unstructured, _ metav1.CreateOptions, _ ...string) (*unstructured.Unstructured, error) {
	if f.refuses != nil {
		return nil, f.refuses
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.obj = obj.DeepCopy()
	f.status("Not Injected", "False", "")
	if f.injects >= 0 {
		time.AfterFunc(f.injects, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.status("Injected", "True", "")
			f.tell(watch.Modified)
		})
	} else {
		f.status("Not Injected", "False", "Error: Specified qdisc kind is unknown.")
	}
	return f.obj.DeepCopy(), nil
}

// status is what Chaos Mesh writes: its conditions and records.
func (f *fakeChaos) status(phase, all, failure string) {
	var records []any
	for _, r := range f.records {
		r := map[string]any{"id": r["id"], "selectorKey": r["selectorKey"], "phase": phase, "injectedCount": int64(1), "recoveredCount": int64(0)}
		if failure != "" {
			r["events"] = []any{map[string]any{"type": "Failed", "operation": "Apply", "message": failure, "timestamp": nil}}
		}
		records = append(records, r)
	}
	f.obj.Object["status"] = map[string]any{
		"conditions": []any{map[string]any{"type": "Selected", "status": "True"}, map[string]any{"type": "AllInjected", "status": all}},
		"experiment": map[string]any{"desiredPhase": "Run", "containerRecords": records},
	}
}

func (f *fakeChaos) gone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.goes()
}

func (f *fakeChaos) goes() {
	if f.obj != nil {
		f.tell(watch.Deleted)
		f.obj = nil
	}
}

func (f *fakeChaos) Delete(context.Context, string, metav1.DeleteOptions, ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.obj == nil {
		return apierrors.NewNotFound(chaosapi.Resource("networkchaos"), "x")
	}
	if f.recovers >= 0 {
		time.AfterFunc(f.recovers, f.gone)
	}
	return nil
}

func (f *fakeChaos) Patch(_ context.Context, _ string, _ types.PatchType, body []byte, _ metav1.PatchOptions, _ ...string) (*unstructured.Unstructured, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.obj == nil {
		return nil, apierrors.NewNotFound(chaosapi.Resource("networkchaos"), "x")
	}
	f.forced = strings.Contains(string(body), `"finalizers":null`)
	if f.forced && !f.sticky {
		f.goes()
		return &unstructured.Unstructured{}, nil
	}
	return f.obj.DeepCopy(), nil
}

func (f *fakeChaos) List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := &unstructured.UnstructuredList{}
	if f.obj != nil {
		list.Items = append(list.Items, *f.obj.DeepCopy())
	}
	return list, nil
}

func (f *fakeChaos) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return watch.NewProxyWatcher(f.changes), nil
}

func (f *fakeChaos) experiment(t *testing.T) *experiment {
	t.Helper()
	c := &cluster{name: "east", f: &fleet{chaos: chaos{namespace: "chaos-mesh"}}}
	obj := networkChaos(scenarios.Fault{Name: "cut", Kind: scenarios.Partition}, chaosapi.PodSelector{Mode: chaosapi.AllMode}, []string{"10.1.0.0/16"})
	e, err := c.experimentIn(f, obj, "networkchaos", "cut", 2)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAnExperimentIsInjectedWhenChaosMeshSaysSoOfAllThatItHits(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*fakeChaos)
		want   string
	}{
		"all is injected":        {func(*fakeChaos) {}, ""},
		"late, but in time":      {func(f *fakeChaos) { f.injects = injectWithin - time.Second }, ""},
		"never":                  {func(f *fakeChaos) { f.injects = -1 }, `NetworkChaos meshproof-cut in cluster east was not injected within 15s: 0 of 2 are injected, its conditions are ["Selected"], it says: Error: Specified qdisc kind is unknown.`},
		"it hits fewer":          {func(f *fakeChaos) { f.records = f.records[:1] }, "1 of 2 are injected"},
		"it is refused":          {func(f *fakeChaos) { f.refuses = errors.New("Cannot update chaos spec") }, "NetworkChaos meshproof-cut in cluster east: Cannot update chaos spec"},
		"somebody removes it":    {func(f *fakeChaos) { f.injects = -1; time.AfterFunc(time.Second, f.gone) }, "somebody removed it"},
		"it was there at once":   {func(f *fakeChaos) { f.injects = 0 }, ""},
		"it hits nothing at all": {func(f *fakeChaos) { f.records = nil }, "0 of 2 are injected"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeChaos()
				tc.change(f)
				err := f.experiment(t).inject(t.Context())
				if tc.want == "" && err != nil {
					t.Error(err)
				}
				if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("got %v, want %q", err, tc.want)
				}
			})
		})
	}
}

func TestAnExperimentThatHangsOnItsFinalizersIsForcedAwayAndThatIsSaid(t *testing.T) {
	for name, tc := range map[string]struct {
		change     func(*fakeChaos)
		forced     bool
		wantForced bool // the error says so
		want       string
	}{
		"it recovers":         {func(*fakeChaos) {}, false, false, ""},
		"late, but in time":   {func(f *fakeChaos) { f.recovers = recoverWithin - time.Second }, false, false, ""},
		"it hangs":            {func(f *fakeChaos) { f.recovers = -1 }, true, true, "NetworkChaos meshproof-cut in cluster east hung on its finalizers for 8s: 2 of 2 are injected"},
		"not even that helps": {func(f *fakeChaos) { f.recovers, f.sticky = -1, true }, true, false, "whose finalizers hung"},
		"it is gone already":  {func(f *fakeChaos) { f.obj = nil }, false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeChaos()
				e := f.experiment(t)
				if err := e.inject(t.Context()); err != nil {
					t.Fatal(err)
				}
				tc.change(f)
				err := e.remove(t.Context())
				if errors.Is(err, clusters.ErrForced) != tc.wantForced {
					t.Errorf("error %v; forced: want %v", err, tc.wantForced)
				}
				if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("got %v, want %q", err, tc.want)
				}
				if f.forced != tc.forced {
					t.Errorf("finalizers removed: %v, want %v", f.forced, tc.forced)
				}
				if err == nil {
					if err := e.remove(t.Context()); err != nil { // again
						t.Error(err)
					}
				}
			})
		})
	}
}
