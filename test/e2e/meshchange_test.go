package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// unproved is the exit code of a run of mesh none alone: its gaps were demonstrated, and nothing was proved.
const unproved = 3

func TestAKeptClusterGetsAnotherMeshAndLosesItAgain(t *testing.T) {
	onlyWhole(t)
	var id string
	var bare []string
	run := func(ctx context.Context, t *testing.T, code int, flags ...string) (left []string) {
		t.Helper()
		h := hostOf(ctx)
		h.file = "testdata/keep.yaml"
		r := h.run(ctx, t, append(flags, "--keep")...)
		if r.code != code || len(r.doc.Runs) != 1 || r.doc.Runs[0].Kept == nil {
			t.Fatalf("exit code %d, want %d and clusters kept: %s\n%s\n%s", r.code, code, r.doc.Error, r.stderr, r.summary())
		}
		k := r.doc.Runs[0].Kept
		t.Logf("%q took %s", flags, r.took)
		if id == "" {
			id = k.ID
		} else if k.ID != id {
			t.Errorf("kept fleet %s, want %s again", k.ID, id)
		}
		return objectsOf(ctx, t, k.Kubeconfigs[0]) // the others are like it
	}
	test(t, features.New("run --keep with one mesh, then --reuse with another").
		Assess("a cluster without a mesh is kept", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			bare = run(ctx, t, unproved, "--mesh", "none")
			return ctx
		}).
		Assess("it gets a mesh, which stays on it, and nothing else", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			onlyMesh(t, bare, run(ctx, t, 0, "--mesh", "istio", "--reuse"), "Deployment istio-system/istiod", "istio")
			return ctx
		}).
		Assess("it gets another, which stays on it, and nothing of the first", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			if !hasLinkerd(ctx, t) {
				return ctx
			}
			for range 2 { // the second time over itself
				onlyMesh(t, bare, run(ctx, t, 0, "--mesh", "linkerd", "--reuse"), "Deployment linkerd/linkerd-identity", "linkerd", "gateway.networking.k8s.io")
			}
			return ctx
		}).
		Assess("it gets both in layers, which stay on it, without the gateway and its namespace", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			if !hasLinkerd(ctx, t) {
				return ctx
			}
			for range 2 {
				left := run(ctx, t, 0, "--mesh", "layered", "--reuse")
				for _, controlPlane := range []string{"Deployment istio-system/istiod", "Deployment linkerd/linkerd-identity"} {
					onlyMesh(t, bare, left, controlPlane, "istio", "linkerd", "gateway.networking.k8s.io")
				}
			}
			return ctx
		}).
		Assess("it loses the mesh again, and is what it was", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			left := run(ctx, t, unproved, "--mesh", "none", "--reuse")
			if d := cmp.Diff(bare, left); d != "" {
				t.Errorf("objects (-before the mesh +after it):\n%s", d)
			}
			return ctx
		}).
		Assess("clean --kept removes it", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			hostOf(ctx).clean(ctx, t, "--kept")
			return ctx // that nothing is left is seen at the end of every feature
		}).Feature())
}

// hasLinkerd says whether the bundle has Linkerd, which no build of a bundle brings.
func hasLinkerd(ctx context.Context, t *testing.T) bool {
	t.Helper()
	parts, err := hostOf(ctx).command(ctx, "bundle", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	has := strings.Contains(string(parts), "chart-linkerd-control-plane")
	if !has {
		t.Log("SKIPPED: the bundle has no Linkerd")
	}
	return has
}

// onlyMesh wants what is left on a cluster to be what was there before, and a mesh: its control plane, in a namespace that
// begins with one of its names, and what its charts make of the whole cluster, by parts of the names.
func onlyMesh(t *testing.T, bare, left []string, controlPlane string, names ...string) {
	t.Helper()
	if !slices.Contains(left, controlPlane) {
		t.Errorf("%s was not kept: %q", controlPlane, left)
	}
	for _, o := range left {
		kind, name, _ := strings.Cut(o, " ")
		space, _, spaced := strings.Cut(name, "/")
		named := slices.ContainsFunc(names, func(n string) bool { return strings.Contains(name, n) })
		within := slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(space, n) })
		ours := slices.Contains(bare, o) || spaced && within ||
			named && (!spaced || kind == "ConfigMap") // a mesh's roots are in every namespace
		if !ours {
			t.Errorf("%s is left on it", o)
		}
	}
}

// objectsOf names all objects of a cluster, as kubectl would, but those that come and go by themselves.
func objectsOf(ctx context.Context, t *testing.T, kubeconfig string) []string {
	t.Helper()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	fatal(err)
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	fatal(err)
	client, err := dynamic.NewForConfig(cfg)
	fatal(err)
	lists, err := disco.ServerPreferredResources()
	fatal(err)
	var names []string
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		fatal(err)
		for _, r := range l.APIResources {
			if !slices.Contains(r.Verbs, "list") || slices.Contains([]string{"Event", "Lease", "Endpoints", "EndpointSlice", "Pod", "ReplicaSet", "ControllerRevision", "CertificateSigningRequest", "ComponentStatus", "IPAddress"}, r.Kind) {
				continue
			}
			items, err := client.Resource(gv.WithResource(r.Name)).List(ctx, metav1.ListOptions{})
			fatal(err)
			for i := range items.Items {
				names = append(names, items.Items[i].GetKind()+" "+strings.TrimPrefix(items.Items[i].GetNamespace()+"/"+items.Items[i].GetName(), "/"))
			}
		}
	}
	slices.Sort(names)
	return names
}
