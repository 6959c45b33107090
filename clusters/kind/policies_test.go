package kind_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	security "istio.io/client-go/pkg/apis/security/v1"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded"
	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/oidc"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	// policySeed draws the cases. Another seed draws others: MESHPROOF_POLICY_SEED.
	policySeed = 20261123
	// policyTargets is how many services there are to try cases on at once.
	policyTargets = 10
	// portableShare is which part of the rounds is about portable policies.
	portableShare = 5
)

// policyRounds draws rounds of cases, one case for each target.
func policyRounds(mesh scenarios.MeshName, seed uint64, rounds int) [][]policyCase {
	g := newGenerator(seed)
	out := make([][]policyCase, rounds)
	for i := range out {
		portable := i >= rounds-max(1, rounds/portableShare) // last, for nothing takes their objects away
		for range policyTargets {
			switch {
			case portable:
				out[i] = append(out[i], g.portableCase(mesh))
			case mesh == scenarios.MeshLinkerd:
				out[i] = append(out[i], g.linkerdCase())
			default:
				out[i] = append(out[i], g.policyCase())
			}
		}
	}
	return out
}

// models is the embedded driver with its models of the meshes.
func models() clusters.Provider {
	return embedded.New(map[string]proxy.Factory{"istio": istio.Factory(), "linkerd": linkerd.Factory()})
}

func TestRandomPoliciesHaveTheSameOutcomeInTheModelAndOnRealIstio(t *testing.T) {
	rounds := 2
	if os.Getenv(kind.EnvKind) == "full" {
		rounds = 20
	}
	sameOutcomes(t, kind.RealProvider(t), scenarios.MeshIstio, rounds, "200", "403", "401", "closed")
}

// Where the bundle has Linkerd.
func TestRandomPoliciesHaveTheSameOutcomeInTheModelAndOnRealLinkerd(t *testing.T) {
	provider := kind.RealProvider(t)
	if _, err := provider.Build(string(scenarios.MeshLinkerd)); errors.Is(err, clusters.ErrNotPossible) {
		t.Skipf("SKIPPED: %v", err)
	}
	rounds := 2
	if os.Getenv(kind.EnvKind) == "full" {
		rounds = 10
	}
	sameOutcomes(t, provider, scenarios.MeshLinkerd, rounds, "200", "403", "404")
}

// sameOutcomes holds the model of a mesh against the real one, on rounds of random policies. Each of the outcomes must
// have come.
func sameOutcomes(t *testing.T, provider clusters.Provider, mesh scenarios.MeshName, rounds int, each ...string) {
	t.Helper()
	seed := uint64(policySeed)
	if s := os.Getenv("MESHPROOF_POLICY_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	issuer, tokens := policyTokens(t)
	real, model := newPolicyWorld(t, provider, mesh, issuer, tokens), newPolicyWorld(t, models(), mesh, issuer, tokens)
	asked, late := 0, 0
	outcomes := map[string]int{}
	var disagree []disagreement
	for i, cases := range policyRounds(mesh, seed, rounds) {
		want, err := model.try(cases)
		if err != nil {
			t.Fatalf("round %d on the model: %v", i, err)
		}
		got, err := real.try(cases)
		if err != nil {
			t.Errorf("round %d on real %s: %v", i, mesh, err)
			continue
		}
		for k, c := range cases {
			for n, ask := range c.Asks {
				asked++
				outcomes[got[k][n]]++
				if want[k][n] == got[k][n] {
					continue
				}
				// Not every difference is one of meaning: on a busy machine a request times out, or its connection breaks.
				if again := real.settle(k, ask, want[k][n]); again == want[k][n] {
					late++
					t.Logf("round %d, target %d: %s on real %s at first, later %s as in the model: %+v", i, k, got[k][n], mesh, again, ask)
					continue
				}
				if again := model.settle(k, ask, got[k][n]); again == got[k][n] {
					late++
					t.Logf("round %d, target %d: %s in the model at first, later %s as on real %s: %+v", i, k, want[k][n], again, mesh, ask)
					continue
				}
				c.Asks = []policyAsk{ask}
				disagree = append(disagree, disagreement{c, want[k][n], got[k][n]})
				t.Errorf("seed %d, round %d, target %d: %s in the model, %s on real %s: %+v", seed, i, k, want[k][n], got[k][n], mesh, ask)
			}
		}
	}
	for _, d := range disagree[:min(len(disagree), maxShrunk)] {
		small, m, r := shrink(t, model, real, d.policyCase, d.model, d.real)
		t.Errorf("%s in the model, %s on real %s:\n%s", m, r, mesh, small)
	}
	t.Logf("seed %d: %d policies, %d requests, outcomes %v, %d settled late", seed, rounds*policyTargets, asked, outcomes, late)
	for _, o := range each {
		if outcomes[o] == 0 {
			t.Errorf("no request was answered %s, so nothing is known of it: %v", o, outcomes)
		}
	}
	fewLate(t, late, asked)
}

// fewLate fails where too many requests were answered otherwise at first.
func fewLate(t *testing.T, late, asked int) {
	t.Helper()
	if late > asked/50 {
		t.Errorf("%d of %d requests were answered otherwise at first: configuration does not hold when clusters are said to be ready", late, asked)
	}
}

// disagreement is a case with the one request that was answered otherwise.
type disagreement struct {
	policyCase
	model, real string
}

// maxShrunk is how many disagreements are made readable.
const maxShrunk = 3

func TestRandomPoliciesAreWithinTheModelAndMeetEachOutcome(t *testing.T) {
	for mesh, each := range map[scenarios.MeshName][]string{
		scenarios.MeshIstio: {"200", "403", "401", "closed"}, scenarios.MeshLinkerd: {"200", "403", "404", "closed"},
	} {
		t.Run(string(mesh), func(t *testing.T) { withinTheModel(t, mesh, each) })
	}
}

func withinTheModel(t *testing.T, mesh scenarios.MeshName, each []string) {
	issuer, tokens := policyTokens(t)
	w := newPolicyWorld(t, models(), mesh, issuer, tokens)
	outcomes, asked, late := map[string]int{}, 0, 0
	rounds := policyRounds(mesh, policySeed, 20)
	if testing.Short() {
		rounds = slices.Concat(rounds[:2], rounds[18:])
	}
	for i, cases := range rounds {
		got, err := w.try(cases)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		for k, c := range cases {
			for n, a := range c.Asks {
				outcomes[got[k][n]]++
				asked++
				if len(c.Portable) == 0 || a.From == scenarios.OutsiderName {
					continue
				}
				// What a portable policy means says package scenarios. Istio decides about normalized paths.
				p := scenarios.Policy{Default: scenarios.DefaultDeny, Allow: c.Portable}
				path, _, _ := strings.Cut(a.Path, "?")
				want := []string{"403"}
				switch {
				case p.Allows(a.From, target, a.Method, path):
					want = []string{"200"}
				case mesh == scenarios.MeshLinkerd: // where no route matches
					want = []string{"403", "404"}
				}
				if strings.ContainsAny(a.Path, ".%") || slices.Contains(want, got[k][n]) {
					continue
				}
				// Proxies learn of policies one after the other: a connection to one that was behind breaks, as a real one does.
				again := got[k][n]
				if again == "502" {
					late++
					again = w.settle(k, a, want...)
				}
				if !slices.Contains(want, again) {
					t.Errorf("round %d, target %d: %+v is %s, and the portable policy says %s:\n%s", i, k, a, again, want, c)
				}
			}
		}
	}
	fewLate(t, late, asked)
	for _, o := range each {
		if outcomes[o] == 0 {
			t.Errorf("no request was answered %s: %v", o, outcomes)
		}
	}
	t.Log(outcomes, late, "settled late")
}

func TestTheSameSeedDrawsTheSamePolicies(t *testing.T) {
	for _, mesh := range []scenarios.MeshName{scenarios.MeshIstio, scenarios.MeshLinkerd} {
		if a, b := fmt.Sprint(policyRounds(mesh, 7, 3)), fmt.Sprint(policyRounds(mesh, 7, 3)); a != b {
			t.Error("one seed draws two lists of cases")
		}
	}
}

// policyTokens starts an issuer, and makes one token of each kind that asks name.
func policyTokens(t *testing.T) (*oidc.Issuer, map[string]string) {
	t.Helper()
	issuer, err := oidc.Start(scenarios.IssuerURL, "shop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := issuer.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	tokens := map[string]string{}
	for _, k := range []struct {
		name, subject, role string
		defect              oidc.Defect
	}{
		{"customer", "ann", "customer", oidc.Good},
		{"staff", "bob", "staff", oidc.Good},
		{"expired", "ann", "customer", oidc.Expired},
		{"wrong-issuer", "ann", "customer", oidc.WrongIssuer},
		{"wrong-audience", "ann", "customer", oidc.WrongAudience},
		{"malformed", "ann", "customer", oidc.Malformed},
		{"foreign-key", "ann", "customer", oidc.ForeignKey},
	} {
		if tokens[k.name], err = issuer.Mint(k.subject, map[string]string{"role": k.role}, time.Hour, k.defect); err != nil {
			t.Fatal(err)
		}
	}
	return issuer, tokens
}

// policyWorld is one cluster with a mesh, callers, and services to try cases on.
type policyWorld struct {
	ctx      context.Context
	provider clusters.Provider
	scenario *scenarios.Scenario
	entry    scenarios.MeshEntry
	mesh     meshes.Mesh
	cluster  clusters.Cluster
	tokens   map[string]string
	records  *requestIDs
	routes   map[string]*gatewayapi.HTTPRoute // Linkerd's of portable policies, by their keys
}

// requestIDs keeps which requests workloads recorded.
type requestIDs struct {
	mu   sync.Mutex
	seen map[string]bool
}

// Append implements evidence.Sink.
func (r *requestIDs) Append(item evidence.Item) error {
	if q, ok := item.(*evidence.Request); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen[q.ID] = true
	}
	return nil
}

func (r *requestIDs) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[id]
}

func targetName(i int) string { return fmt.Sprintf("t%d", i) }

func policyScenario(t *testing.T, mesh scenarios.MeshName) *scenarios.Scenario {
	t.Helper()
	var services strings.Builder
	for i := range policyTargets {
		fmt.Fprintf(&services, "      - {name: %s, namespace: %s}\n", targetName(i), targetName(i))
	}
	s, err := scenarios.Parse("policies.yaml", []byte(`
apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: policies}
spec:
  meshes: [{name: `+string(mesh)+`}]
  identity: {issuer: {audience: shop}}
  topology:
    clusters: [{name: east}]
    services:
      - {name: alpha, namespace: people}
      - {name: beta, namespace: office}
`+services.String()+`
  policy: {default: allow}
  expect: {mtls: {everywhere: true}}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newPolicyWorld(t *testing.T, p clusters.Provider, mesh scenarios.MeshName, issuer *oidc.Issuer, tokens map[string]string) *policyWorld {
	t.Helper()
	s := policyScenario(t, mesh)
	w := &policyWorld{
		ctx: t.Context(), provider: p, scenario: s, entry: s.Spec.Meshes[0], tokens: tokens, records: &requestIDs{seen: map[string]bool{}},
		routes: map[string]*gatewayapi.HTTPRoute{},
	}
	var err error
	if w.mesh, err = meshes.ByName(mesh); err != nil {
		t.Fatal(err)
	}
	build, err := p.Build(string(mesh))
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := p.Create(w.ctx, clusters.Spec{
		ID: "poli" + strings.ReplaceAll(uuid.NewString(), "-", "")[:8], Trial: evidence.Trial{Block: 1, Mesh: string(mesh)}, Clusters: []string{"east"},
		Mesh: string(mesh), Seed: 1, Sink: w.records, Hosts: map[string]string{scenarios.IssuerHost: issuer.Addr()},
		Install: map[string]clusters.Installation{"east": w.mesh.Install(s, w.entry, build.Flavor, "east")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.cluster = fleet.Cluster("east")
	objs, err := meshes.Render(w.mesh, w.entry, s, "east")
	if err == nil {
		err = w.apply(objs)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *policyWorld) apply(objs []clusters.Object) error {
	ctx, cancel := context.WithTimeout(w.ctx, 3*time.Minute)
	defer cancel()
	if err := w.cluster.Apply(ctx, objs...); err != nil {
		return err
	}
	return w.cluster.WaitReady(ctx)
}

// objectsOf renders one case for each target.
func (w *policyWorld) objectsOf(cases []policyCase) ([]clusters.Object, error) {
	var objs []clusters.Object
	s := *w.scenario
	s.Spec.Policy = scenarios.Policy{Default: scenarios.DefaultDeny}
	for i, c := range cases {
		own, err := c.objects(targetName(i))
		if err != nil {
			return nil, err
		}
		objs = append(objs, own...)
		for _, r := range c.Portable {
			r.To = targetName(i)
			s.Spec.Policy.Allow = append(s.Spec.Policy.Allow, r)
		}
	}
	if len(s.Spec.Policy.Allow) > 0 {
		all, err := meshes.Render(w.mesh, w.entry, &s, "east")
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			switch o.(type) {
			case *security.AuthorizationPolicy, *linkerdapi.Server, *linkerdapi.AuthorizationPolicy, *linkerdapi.MeshTLSAuthentication, *gatewayapi.HTTPRoute:
				if strings.HasPrefix(o.GetNamespace(), "t") {
					objs = append(objs, o)
				}
			}
		}
	}
	return append(objs, w.elsewhere(objs)...), nil
}

// elsewhere are the routes of earlier portable policies that are not among objects, as routes to a Server that is not there:
// how many a policy needs differs.
func (w *policyWorld) elsewhere(objs []clusters.Object) (out []clusters.Object) {
	now := map[string]bool{}
	for _, o := range objs {
		if r, ok := o.(*gatewayapi.HTTPRoute); ok {
			now[clusters.Key(o)] = true
			w.routes[clusters.Key(o)] = r
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.routes)) {
		if !now[key] {
			r := w.routes[key].DeepCopy()
			r.Spec.ParentRefs[0].Name = "nobody"
			out = append(out, r)
		}
	}
	return out
}

// try applies one case to each target, and asks what they say. The outcome of an ask is what its client saw, and whether
// the workload did.
func (w *policyWorld) try(cases []policyCase) ([][]string, error) {
	objs, err := w.objectsOf(cases)
	if err == nil {
		err = w.apply(objs)
	}
	if err != nil {
		return nil, err
	}
	out := make([][]string, len(cases))
	var g errgroup.Group
	g.SetLimit(6)
	for i, c := range cases {
		out[i] = make([]string, len(c.Asks))
		for n, a := range c.Asks {
			g.Go(func() error {
				var err error
				out[i][n], err = w.ask(i, a)
				return err
			})
		}
	}
	return out, g.Wait()
}

// settle asks again for a while, until the outcome is one of those that are wanted.
func (w *policyWorld) settle(target int, a policyAsk, want ...string) (got string) {
	for range 4 {
		time.Sleep(time.Second)
		var err error
		if got, err = w.ask(target, a); err != nil || slices.Contains(want, got) {
			return got
		}
	}
	return got
}

func (w *policyWorld) ask(target int, a policyAsk) (string, error) {
	pods, err := w.cluster.Pods(w.ctx)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(pods, func(p clusters.Pod) bool { return p.Service == a.From })
	if at < 0 {
		return "", fmt.Errorf("no pod of %s", a.From)
	}
	to, ok := w.scenario.Workload(targetName(target))
	if !ok {
		return "", fmt.Errorf("no target %d", target)
	}
	id := "proof-" + uuid.NewString()
	req := clusters.Request{Host: to.Host(), Method: a.Method, Path: a.Path, Header: http.Header{}, Fresh: true, Timeout: 10 * time.Second}
	req.Header.Set(scenarios.HeaderID, id)
	req.Header.Set(scenarios.HeaderWindow, "policies")
	req.Header.Set(scenarios.HeaderCaller, a.From+"@east")
	req.Header.Set(scenarios.HeaderProof, "1")
	req.Header.Set(scenarios.HeaderConnection, "fresh")
	if a.Team != "" {
		req.Header.Set("X-Team", a.Team)
	}
	if a.Token != "" {
		req.Header.Set("Authorization", "Bearer "+w.tokens[a.Token])
	}
	res := w.cluster.Send(w.ctx, pods[at], req)
	if res.Status == 0 {
		word, _, _ := strings.Cut(res.Error, ":")
		if word == "other" {
			return "", fmt.Errorf("%+v: %s", a, res.Error)
		}
		return word, nil
	}
	if res.Status/100 != 2 && w.records.has(id) {
		return fmt.Sprintf("%d, and the workload was reached", res.Status), nil
	}
	return fmt.Sprint(res.Status), nil
}

// shrink takes away whatever the two outcomes differ without, a batch of attempts on all targets at a time.
func shrink(t *testing.T, model, real *policyWorld, c policyCase, m, r string) (policyCase, string, string) {
	t.Helper()
	for range 12 {
		smaller := false
		candidates := simpler(c)
		for len(candidates) > 0 && !smaller {
			batch := candidates[:min(policyTargets, len(candidates))]
			candidates = candidates[len(batch):]
			objs, err := model.objectsOf(batch)
			if err == nil {
				err = model.provider.Check(string(model.mesh.Name()), objs)
			}
			if err != nil {
				batch = validOf(model, batch)
			}
			a, err := model.try(batch)
			if err != nil {
				continue
			}
			b, err := real.try(batch)
			if err != nil {
				continue
			}
			for k := range batch {
				if a[k][0] != b[k][0] && real.settle(k, batch[k].Asks[0], a[k][0]) != a[k][0] {
					c, m, r, smaller = batch[k], a[k][0], b[k][0], true
					break
				}
			}
		}
		if !smaller {
			break
		}
	}
	return c, m, r
}

// validOf leaves out what is no valid case any more.
func validOf(w *policyWorld, batch []policyCase) []policyCase {
	var out []policyCase
	for _, c := range batch {
		objs, err := w.objectsOf([]policyCase{c})
		if err == nil && w.provider.Check(string(w.mesh.Name()), objs) == nil {
			out = append(out, c)
		}
	}
	return out
}

// simpler lists what a case is without one field or one element of a list, the largest pieces first.
func simpler(c policyCase) []policyCase {
	b, err := json.Marshal(c)
	if err != nil {
		return nil
	}
	var out []policyCase
	for _, without := range removals(b) {
		var s policyCase
		// Nothing would replace the objects of a portable policy that is gone.
		portable := len(s.Portable) == 0 == (len(c.Portable) == 0) && !slices.ContainsFunc(s.Portable, func(r scenarios.Rule) bool { return r.From == "" || r.To == "" })
		if json.Unmarshal(without, &s) == nil && portable && len(s.Asks) == 1 && s.Asks[0].From != "" && s.Asks[0].Method != "" && s.Asks[0].Path != "" {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b policyCase) int { return len(a.String()) - len(b.String()) })
	return out
}

// removals lists a JSON document without each of its fields and elements.
func removals(doc []byte) [][]byte {
	var out [][]byte
	var walk func(v any, with func(any) any)
	var root any
	if json.Unmarshal(doc, &root) != nil {
		return nil
	}
	emit := func(v any) {
		if b, err := json.Marshal(v); err == nil {
			out = append(out, b)
		}
	}
	walk = func(v any, with func(any) any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				rest := map[string]any{}
				for o, f := range v {
					if o != k {
						rest[o] = f
					}
				}
				emit(with(rest))
				walk(e, func(n any) any {
					all := map[string]any{k: n}
					for o, f := range rest {
						all[o] = f
					}
					return with(all)
				})
			}
		case []any:
			for i, e := range v {
				emit(with(append(slices.Clone(v[:i]), v[i+1:]...)))
				walk(e, func(n any) any {
					all := slices.Clone(v)
					all[i] = n
					return with(all)
				})
			}
		}
	}
	walk(root, func(v any) any { return v })
	return out
}
