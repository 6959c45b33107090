package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/klient"
	"sigs.k8s.io/e2e-framework/klient/wait"
	"sigs.k8s.io/e2e-framework/klient/wait/conditions"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/meshproof/meshproof/evidence"
)

const (
	environment = 4 // exit code: the environment failed
	// stray is the namespace that somebody makes in a kept cluster.
	stray = "meshproof-e2e-stray"
)

// TestARunOnRealClustersAndAnotherOnTheSame runs alone, before runs are killed: how long it takes tells when. Its runs share
// their clusters.
func TestARunOnRealClustersAndAnotherOnTheSame(t *testing.T) {
	var first ended
	var kept struct {
		id      string
		paths   []string
		clients []klient.Client
	}
	uids := map[string]bool{} // of the clusters: those of their namespaces kube-system
	test(t, features.New("two clusters without a mesh: run --keep, then run --reuse").
		Assess("the run passes", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			first = hostOf(ctx).run(ctx, t, "--keep")
			if first.code != 0 || len(first.doc.Runs) != 1 || first.doc.Runs[0].Kept == nil {
				t.Fatalf("exit code %d: %s, or kept nothing\n%s\n%s", first.code, first.doc.Error, first.stderr, first.summary())
			}
			whole = first.took
			t.Logf("a run on new clusters took %s", first.took)
			return ctx
		}).
		Assess("its verdict is the record's, and no model's", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			out, err := hostOf(ctx).command(ctx, "verify", first.doc.Runs[0].Dir).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "PASS") || strings.Contains(string(out), "(model)") {
				t.Errorf("verify: %v\n%s", err, out)
			}
			return ctx
		}).
		Assess("traffic went from one cluster to the other, and a pod died", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			acrossWithAPodKilled(t, first)
			return ctx
		}).
		Assess("--keep leaves clusters that answer, reset, with private kubeconfigs", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			k := first.doc.Runs[0].Kept
			kept.id, kept.paths = k.ID, k.Kubeconfigs
			if len(kept.paths) != 2 {
				t.Fatalf("kept %+v, want two clusters", k)
			}
			for _, path := range kept.paths {
				if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o077 != 0 {
					t.Errorf("kubeconfig %s: %v, %v, want it readable by its owner alone", path, st.Mode(), err)
				}
				c, err := klient.NewWithKubeConfigFile(path)
				if err != nil {
					t.Fatal(err)
				}
				kept.clients = append(kept.clients, c)
				if err := wait.For(conditions.New(c.Resources()).DeploymentAvailable("coredns", metav1.NamespaceSystem), wait.WithContext(ctx), wait.WithTimeout(time.Minute), wait.WithImmediate()); err != nil {
					t.Errorf("the DNS server of %s: %v", path, err)
				}
				var namespaces corev1.NamespaceList
				if err := c.Resources().List(ctx, &namespaces); err != nil {
					t.Fatal(err)
				}
				for _, n := range namespaces.Items {
					switch {
					case n.Name == metav1.NamespaceSystem:
						uids[string(n.UID)] = true
					case n.Name != metav1.NamespaceDefault && !strings.HasPrefix(n.Name, "kube-") && n.Name != "local-path-storage":
						t.Errorf("namespace %s of the run is still in %s", n.Name, path)
					}
				}
			}
			return ctx
		}).
		Assess("clean without --kept leaves them", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			if said := hostOf(ctx).clean(ctx, t); !strings.Contains(said, kept.id) || !strings.Contains(said, "--kept") {
				t.Errorf("clean says nothing of them: %s", said)
			}
			if len(inDocker(ctx, t, kept.id)) == 0 {
				t.Fatal("they are gone")
			}
			return ctx
		}).
		Assess("--reuse passes on the same clusters", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			r := hostOf(ctx).run(ctx, t, "--reuse", "--keep")
			if r.code != 0 || len(r.doc.Runs) != 1 || r.doc.Runs[0].Kept == nil || r.doc.Runs[0].Kept.ID != kept.id {
				t.Fatalf("exit code %d: %s, want a PASS on fleet %s, kept again\n%s\n%s", r.code, r.doc.Error, kept.id, r.stderr, r.summary())
			}
			t.Logf("a run on kept clusters took %s", r.took)
			for i, c := range kept.clients {
				var system corev1.Namespace
				if err := c.Resources().Get(ctx, metav1.NamespaceSystem, "", &system); err != nil || !uids[string(system.UID)] {
					t.Errorf("%s is another cluster than before: %v", kept.paths[i], err)
				}
			}
			return ctx
		}).
		Assess("--reuse of a cluster that has drifted is an error that names the difference", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: stray}}
			if err := kept.clients[1].Resources().Create(ctx, namespace); err != nil {
				t.Fatal(err)
			}
			r := hostOf(ctx).run(ctx, t, "--reuse")
			if said := r.doc.Error + r.stderr; r.code != environment || !strings.Contains(said, stray) {
				t.Errorf("exit code %d, want %d and the name %s: %s", r.code, environment, stray, said)
			}
			if err := kept.clients[1].Resources().Get(ctx, stray, "", namespace); err != nil {
				t.Errorf("what somebody made in the cluster: %v", err)
			}
			return ctx
		}).
		Assess("clean --kept removes them", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			t.Log(hostOf(ctx).clean(ctx, t, "--kept"))
			return ctx // that nothing is left is seen at the end of every feature
		}).Feature())
}

// acrossWithAPodKilled wants the record of a run of testdata/across.yaml to have its traffic and its fault.
func acrossWithAPodKilled(t *testing.T, r ended) {
	t.Helper()
	rec, err := evidence.Open(filepath.Join(r.doc.Runs[0].Dir, "evidence"))
	if err != nil {
		t.Fatal(err)
	}
	across, killed := 0, map[string]bool{}
	for _, q := range rec.Requests {
		if q.Caller == "web@east" && q.At.Cluster == "west" && q.Window == "load" {
			across++
		}
	}
	for _, f := range rec.Faults {
		if f.Name == "api-dies" && f.UID != "" {
			killed[f.UID] = true
		}
	}
	// 10 a second for 15 seconds; the pod that died took some with it.
	if across < 100 || across > 150 || len(killed) == 0 {
		t.Errorf("%d requests went from web in east to api in west, want 100 to 150; pods killed: %v", across, killed)
	}
}
