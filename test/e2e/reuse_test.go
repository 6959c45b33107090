package e2e

import (
	"context"
	"os"
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
)

const (
	environment = 4 // exit code: the environment failed
	// stray is the namespace that somebody makes in a kept cluster.
	stray = "meshproof-e2e-stray"
)

func TestKeptClustersAreReusedUnlessTheyHaveDrifted(t *testing.T) {
	var kept struct {
		id      string
		paths   []string
		clients []klient.Client
	}
	uids := map[string]bool{} // of the clusters: those of their namespaces kube-system
	test(t, features.New("run --keep, then run --reuse").
		Assess("--keep leaves clusters that answer, reset, with private kubeconfigs", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			r := hostOf(ctx).run(ctx, t, "--keep")
			if r.code != 0 || len(r.doc.Runs) != 1 || r.doc.Runs[0].Kept == nil {
				t.Fatalf("exit code %d: %s, kept nothing\n%s\n%s", r.code, r.doc.Error, r.stderr, r.summary())
			}
			t.Logf("a run on new clusters took %s", r.took)
			k := r.doc.Runs[0].Kept
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
			if len(ofFleet(ctx, t, kept.id)) == 0 {
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
