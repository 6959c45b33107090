package kind

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// mistake is what somebody got wrong about the gateway of one cluster, in its Deployment or in what is there before it.
type mistake func(ctx context.Context, c *cluster, gateway *corev1.Container) error

// mistaken is a provider whose clusters have one gateway each with a mistake, by cluster.
type mistaken struct {
	*Provider
	mistakes map[string]mistake
}

func (p *mistaken) Create(ctx context.Context, spec clusters.Spec) (clusters.Fleet, error) {
	f, err := p.Provider.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &mistakenFleet{f.(*fleet), p.mistakes}, nil
}

type mistakenFleet struct {
	*fleet
	mistakes map[string]mistake
}

func (f *mistakenFleet) Cluster(name string) clusters.Cluster {
	for _, c := range f.Clusters() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

func (f *mistakenFleet) Clusters() (list []clusters.Cluster) {
	for _, c := range f.list {
		list = append(list, &mistakenCluster{c, f.mistakes[c.name]})
	}
	return list
}

type mistakenCluster struct {
	*cluster
	mistake mistake // nil: everything is as it should be
}

func (c *mistakenCluster) Apply(ctx context.Context, objs ...clusters.Object) error {
	objs = slices.Clone(objs)
	for i, o := range objs {
		d, ok := o.(*appsv1.Deployment)
		if !ok || d.Name != scenarios.IngressName || c.mistake == nil {
			continue
		}
		d = d.DeepCopy()
		if err := c.mistake(ctx, c.cluster, outside(&d.Spec.Template.Spec, nil)); err != nil {
			return err
		}
		objs[i] = d
	}
	return c.cluster.Apply(ctx, objs...)
}

func stockGateway(_ context.Context, _ *cluster, gateway *corev1.Container) error {
	gateway.Name = istioSidecar
	return nil
}

func rsaLeaf(_ context.Context, _ *cluster, gateway *corev1.Container) error {
	gateway.Env = slices.DeleteFunc(gateway.Env, func(e corev1.EnvVar) bool { return e.Name == "ECC_SIGNATURE_ALGORITHM" })
	return nil
}

// foreignRoot has the cluster's istiod sign under a root that nobody else knows.
func foreignRoot(ctx context.Context, c *cluster, _ *corev1.Container) error {
	root, err := trust.NewRoot("Another root")
	if err != nil {
		return err
	}
	issuer, err := root.Issuer("An intermediate of another root")
	if err != nil {
		return err
	}
	return c.restartIstiod(ctx, issuer)
}

// layersOn runs a scenario of testdata on clusters with mistakes, and returns its checks by their IDs, each with all that
// it says.
func layersOn(t *testing.T, p *Provider, file string, mistakes map[string]mistake) (*verify.Result, map[string]verify.Check) {
	t.Helper()
	s, err := scenarios.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	out, err := runner.Run(t.Context(), runner.Options{
		Scenario: s, Provider: &mistaken{p, mistakes}, Out: t.TempDir(), Journal: t.TempDir(), Seed: 1, Version: "test", Named: true, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("it took %s", time.Since(began).Round(time.Second))
	checks := map[string]verify.Check{}
	for _, c := range out.Result.Checks {
		for _, w := range c.Witnesses {
			c.Message += "\n" + w.Message
		}
		checks[c.ID] = c
	}
	return out.Result, checks
}

// failsOf wants a check to FAIL for a reason, and to name what it is about.
func failsOf(t *testing.T, checks map[string]verify.Check, id, reason string, says ...string) {
	t.Helper()
	c := checks[id]
	if c.Verdict != verify.Fail || c.Reason != reason {
		t.Errorf("%s is %s %s, want FAIL %s: %s", id, c.Verdict, c.Reason, reason, c.Message)
	}
	for _, want := range says {
		if !strings.Contains(c.Message, want) {
			t.Errorf("%s does not say %q: %s", id, want, c.Message)
		}
	}
}

// passOf wants everything of a run to be proved but what is touched: checks by their IDs, cells by a function.
func passOf(t *testing.T, res *verify.Result, touched []string, cell func(verify.Cell) bool, atLeast int) {
	t.Helper()
	for _, c := range res.Checks {
		if c.Reason == "OffSchedule" { // a busy host injects late, and what that makes of the mesh nobody can tell
			t.Logf("%s: %s", c.ID, c.Message)
			continue
		}
		if !slices.Contains(touched, c.ID) && c.Verdict != verify.Pass && c.Verdict != verify.Skipped {
			t.Errorf("%s is %s %s, and nobody touched it: %s", c.ID, c.Verdict, c.Reason, c.Message)
		}
	}
	proved := 0
	for _, c := range res.Cells {
		switch {
		case cell(c):
			if c.Verdict == verify.Pass && c.Expected == "allowed" {
				t.Errorf("%s is PASS, and could not be", c.ID)
			}
		case c.Verdict == verify.Pass:
			proved++
		case c.Verdict != verify.Skipped:
			t.Errorf("%s is %s, and nobody touched it: %s", c.ID, c.Verdict, c.Message)
		}
	}
	if proved < atLeast {
		t.Errorf("only %d cells were proved, want %d", proved, atLeast)
	}
}

// layersProvider is a provider of real clusters with both meshes, where the bundle has Linkerd.
func layersProvider(t *testing.T) *Provider {
	t.Helper()
	p := RealProvider(t)
	if _, err := p.Build(string(scenarios.MeshLayered)); errors.Is(err, clusters.ErrNotPossible) {
		t.Skipf("SKIPPED: %v", err)
	}
	return p
}

func TestRealLayersKeepWhatIsExpectedOfThem(t *testing.T) {
	res, checks := layersOn(t, layersProvider(t), "testdata/layered.yaml", nil)
	passOf(t, res, nil, func(verify.Cell) bool { return false }, 20)
	if c := checks["balancing/gateway"]; c.Verdict != verify.Pass || c.Observed != "Linkerd's in use" {
		t.Errorf("who balances: %s, %q", c.Verdict, c.Observed)
	}
	if len(checks) < 9 {
		t.Errorf("only %d checks", len(checks))
	}
}

func TestAStockGatewayAndAPodWithTheWrongSidecarAreFoundInRealLayers(t *testing.T) {
	res, checks := layersOn(t, layersProvider(t), "testdata/layered-mistakes.yaml", map[string]mistake{"east": stockGateway})
	for _, id := range []string{"mtls/ingress->web", "balancing/gateway"} {
		failsOf(t, checks, id, "GatewayNotMeshed", "pod east/ingress-", "stock gateway of Istio's", "pod has a sidecar injected already")
	}
	failsOf(t, checks, "policy/web", "OverBlocked", "ingress@east->web")
	// Both were asked for: Istio's injector came first, and Linkerd's left the pod as it was.
	failsOf(t, checks, "mtls/web->stock", "WrongSidecarSet", "pod east/stock-", "has no linkerd-proxy, and has istio-", "pod has a sidecar injected already")
	passOf(t, res, slices.Collect(maps.Keys(checks)), func(c verify.Cell) bool { return c.From != "web" || c.To == "stock" }, 2)
}

// One gateway is as it should be. What enters there must be proved, and nothing that enters at the two others.
func TestRealLinkerdTakesOnlyTheRightCertificateOfAnEnvoy(t *testing.T) {
	res, checks := layersOn(t, layersProvider(t), "testdata/layered-direct.yaml", map[string]mistake{"west": rsaLeaf, "north": foreignRoot})
	failsOf(t, checks, "policy/star", "OverBlocked", "ingress@east->star", "403")
	passOf(t, res, []string{"mtls/ingress->web", "mtls/ingress->star", "policy/web", "policy/star"}, func(c verify.Cell) bool {
		return c.Cluster != "east" || c.To == "star"
	}, 4)
	// The star lets every Linkerd identity in, and no SPIFFE ID.
	for _, c := range res.Cells {
		if c.From == "web" && c.To == "star" && c.Method == http.MethodGet && c.Status != "200" {
			t.Errorf("%s was answered %s; a star lets Linkerd's own in", c.ID, c.Status)
		}
	}
	// What the gateways' Envoys counted: nobody takes the one's certificate, and the other takes nobody's.
	why := map[string]string{"west": " ssl.connection_error)", "north": " ssl.fail_verify_error)"}
	enters := 0
	for _, c := range res.Cells {
		if c.From != scenarios.IngressName || c.Expected != "allowed" || c.To != "web" {
			continue
		}
		if right := c.Cluster == "east"; right != (c.Verdict == verify.Pass) {
			t.Errorf("%s is %s: %s", c.ID, c.Verdict, c.Message)
		} else if !right && !strings.Contains(c.Status, "503") {
			t.Errorf("%s was answered %s, and Envoy's word for a handshake that failed is 503", c.ID, c.Status)
		} else if !right && !strings.Contains(c.Message, why[c.Cluster]) {
			t.Errorf("%s does not say %q: %s", c.ID, why[c.Cluster], c.Message)
		}
		t.Log(c.Cluster, c.Message)
		enters++
	}
	if enters < 6 {
		t.Errorf("only %d cells are about who may enter", enters)
	}
}
