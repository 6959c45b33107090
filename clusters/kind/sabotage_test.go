package kind

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// saboteur is a provider whose clusters sign the certificates of one service with an issuer that then expires. The other
// four sabotages are objects of the scenario.
type saboteur struct {
	*Provider
	service string
}

func (s *saboteur) Create(ctx context.Context, spec clusters.Spec) (clusters.Fleet, error) {
	f, err := s.Provider.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	one := f.(*fleet)
	return &sabotaged{one, &sabotagedCluster{cluster: one.list[0], service: s.service}}, nil
}

type sabotaged struct {
	*fleet
	only *sabotagedCluster
}

func (f *sabotaged) Clusters() []clusters.Cluster    { return []clusters.Cluster{f.only} }
func (f *sabotaged) Cluster(string) clusters.Cluster { return f.only }

// sabotagedCluster holds the Deployment of its service back until the issuer has been exchanged.
type sabotagedCluster struct {
	*cluster
	service  string
	heldBack clusters.Object
}

func (c *sabotagedCluster) Apply(ctx context.Context, objs ...clusters.Object) error {
	return c.cluster.Apply(ctx, slices.DeleteFunc(slices.Clone(objs), func(o clusters.Object) bool {
		d, ok := o.(*appsv1.Deployment)
		if ok = ok && d.Name == c.service; ok {
			c.heldBack = d
		}
		return ok
	})...)
}

// expiresIn is how long the issuer of the sabotaged service is valid: long enough for its pods to get certificates.
const expiresIn = 45 * time.Second

func (c *sabotagedCluster) WaitReady(ctx context.Context) error {
	if err := c.cluster.WaitReady(ctx); err != nil || c.heldBack == nil {
		return err
	}
	d := c.heldBack
	c.heldBack = nil
	expires := time.Now().Add(expiresIn).Truncate(time.Second)
	if err := c.exchangeIssuer(ctx, expires); err != nil {
		return err
	}
	if err := c.cluster.Apply(ctx, d); err != nil {
		return err
	}
	if err := c.cluster.WaitReady(ctx); err != nil {
		return err
	}
	if time.Now().After(expires) {
		return fmt.Errorf("the pods of %s were ready only after their issuer had expired", c.service)
	}
	sleep(ctx, time.Until(expires.Add(time.Second)))
	return ctx.Err()
}

// exchangeIssuer has istiod sign with a new intermediate under the same root, as from a restart, and says so in evidence.
func (c *sabotagedCluster) exchangeIssuer(ctx context.Context, expires time.Time) error {
	was := c.issuer(scenarios.MeshIstio)
	now, err := was.Root().IssuerUntil("Meshproof intermediate that expires", expires)
	if err != nil {
		return err
	}
	if err := c.restartIstiod(ctx, now); err != nil {
		return err
	}
	return c.f.append(&evidence.Event{Header: c.f.header("fleet"), Kind: evidence.EventTrust, Data: trustOf(was, now, c.name)})
}

// restartIstiod has the cluster's istiod begin anew with an issuer.
func (c *cluster) restartIstiod(ctx context.Context, issuer *trust.Issuer) error {
	if err := c.giveIssuer(ctx, issuer); err != nil {
		return err
	}
	pods := c.client.CoreV1().Pods(istioNamespace)
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=istiod"}); err != nil {
		return err
	}
	return c.until(ctx, func(ctx context.Context) ([]string, error) {
		if _, err := c.istiod(ctx); err != nil {
			return []string{err.Error()}, nil
		}
		return c.lackingDeployments(ctx, istioNamespace)
	})
}

func trustOf(was, now *trust.Issuer, cluster string) map[string]string {
	return map[string]string{evidence.TrustRoot: was.Root().PEM(), evidence.TrustIssuer(string(scenarios.MeshIstio), cluster): was.PEM() + now.PEM()}
}

// It is all five at once, on one cluster, each at a service of its own: what one of them breaks must not hide, or look
// like, another.
func TestSabotageOfRealIstioIsFoundWhereItIsAndNowhereElse(t *testing.T) {
	p := RealProvider(t)
	s, err := scenarios.Load("testdata/sabotage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	out, err := runner.Run(t.Context(), runner.Options{
		Scenario: s, Provider: &saboteur{p, "old"}, Out: t.TempDir(), Journal: t.TempDir(), Seed: 1, Version: "test", Named: true, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("it took %s", time.Since(began).Round(time.Second))
	judgedSabotage(t, out.Result)
}

// broken is what one sabotage breaks.
type broken struct {
	check, reason, says string // of its primary check, which FAILs
	// besides are its declared consequences: other checks that it takes with it. Of callers that have lost their identity
	// (lost), every row of the matrix knows one that cannot be told from nobody.
	besides []string
	lost    string
}

// sabotages of testdata/sabotage.yaml.
var sabotages = map[string]broken{
	"PERMISSIVE instead of STRICT":             {check: "mtls/web->cart", reason: "PlaintextAccepted", says: "plaintext"},
	"a namespace without injection":            {check: "mtls/web->stock", reason: "WrongSidecarSet", says: "has no istio-proxy", besides: []string{"policy/stock"}, lost: "stock"},
	"an AuthorizationPolicy with a wrong name": {check: "policy/pay", reason: "OverBlocked", says: "web@east->pay GET / (fresh) is allowed, and was refused: 403", besides: []string{"mtls/web->pay"}},
	"an issuer that has expired":               {check: "mtls/web->old", reason: "ForeignChain", says: "expired", besides: []string{"policy/old"}, lost: "old"},
	"a JWKS that the gateway cannot reach":     {check: "identity/web", reason: "OverBlocked", says: "token good) is allowed, and was refused: 401"},
}

func judgedSabotage(t *testing.T, res *verify.Result) {
	t.Helper()
	checks := map[string]verify.Check{}
	for _, c := range res.Checks {
		checks[c.ID] = c
	}
	touched, lost := map[string]bool{}, map[string]bool{}
	for name, b := range sabotages {
		c := checks[b.check]
		said := c.Message
		for _, w := range c.Witnesses {
			said += "\n" + w.Message
		}
		if c.Verdict != verify.Fail || !strings.Contains(said, b.says) {
			t.Errorf("%s: %s is %s %s, want FAIL and %q:\n%s", name, b.check, c.Verdict, c.Reason, b.says, said)
		}
		if c.Reason != b.reason {
			t.Errorf("%s: %s fails for %s, want %s", name, b.check, c.Reason, b.reason)
		}
		lost[b.lost] = true
		for _, id := range append(b.besides, b.check) {
			touched[id] = true
		}
	}
	for id, c := range checks {
		row := strings.HasPrefix(id, "policy/") // in which callers without an identity stand
		if !touched[id] && !row && c.Verdict != verify.Pass {
			t.Errorf("%s is %s %s, and nobody touched it: %s", id, c.Verdict, c.Reason, c.Message)
		}
	}
	cells := 0
	for _, c := range res.Cells {
		if lost[c.From] || touched["policy/"+c.To] {
			continue
		}
		if cells++; c.Verdict != verify.Pass {
			t.Errorf("%s is %s, and nobody touched it: %s", c.ID, c.Verdict, c.Message)
		}
	}
	if untouched := slices.Sorted(maps.Keys(checks)); len(untouched) < 12 || cells < 20 {
		t.Errorf("only %d checks (%q), and %d cells that nobody touched", len(untouched), untouched, cells)
	}
}
