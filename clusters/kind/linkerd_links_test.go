package kind

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

func TestABundleWithLinkerdsExtensionJoinsClustersByItAndAnyOtherSaysHow(t *testing.T) {
	charts := linkerd{}.charts()
	for _, tt := range []struct {
		name string
		dir  string
		mesh string
		own  bool
		want string
	}{
		{"with it", bundleWith(t, append(slices.Clone(charts), linkerdapi.LinksChart), linkerdRefs...), "linkerd", true, "Linkerd's multicluster extension"},
		{"without", bundleWith(t, charts, linkerdRefs...), "linkerd", false, "EndpointSlices of the other clusters' pods (the bundle has no chart linkerd-multicluster)"},
		{"no mesh", t.TempDir(), "none", false, "EndpointSlices"},
	} {
		b, err := New(Config{Bundle: tt.dir}).Build(tt.mesh)
		if err != nil {
			t.Fatal(err)
		}
		if b.Links != tt.own || !strings.Contains(b.Joined, tt.want) {
			t.Errorf("%s: %t, %q", tt.name, b.Links, b.Joined)
		}
		if _, there := b.Components[chartPart(linkerdapi.LinksChart)]; there != tt.own {
			t.Errorf("%s: components %v", tt.name, b.Components)
		}
	}
}

func TestAFleetIsLinkedWhereItsMeshIsInstalledWithTheExtension(t *testing.T) {
	with := func(charts ...string) clusters.Spec {
		in := clusters.Installation{}
		for _, c := range charts {
			in.Releases = append(in.Releases, clusters.Release{Chart: c})
		}
		return clusters.Spec{Mesh: "linkerd", Install: map[string]clusters.Installation{"east": in}}
	}
	for linked, spec := range map[bool]clusters.Spec{true: with(linkerdCRDs, linkerdChart, linkerdapi.LinksChart), false: with(linkerdCRDs, linkerdChart)} {
		m, err := meshIn(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.(linkerd).linked; got != linked {
			t.Errorf("linked is %t with %v", got, spec.Install)
		}
	}
	if m, err := meshIn(clusters.Spec{Mesh: "none"}); m != nil || err != nil {
		t.Errorf("no mesh: %v, %v", m, err)
	}
}

func TestLinkerdPassesOverSlicesOfWhatItFindsByLinks(t *testing.T) {
	svc := workload.Service(scenarios.Workload{Name: "cart", Namespace: "app"})
	s := slice(svc, "west", target{[]string{"10.98.0.2", "10.98.0.3"}, map[string]int32{"http": scenarios.WorkloadPort}})
	linkerd{linked: true}.imported(s, nil)
	if len(s.Annotations) != 0 || len(s.Endpoints) != 2 {
		t.Errorf("%+v", s)
	}
	for _, e := range s.Endpoints {
		// Linkerd's destination controller takes endpoints without a reference, and those of Pods and ExternalWorkloads.
		if e.TargetRef == nil || e.TargetRef.Kind != "ServiceImport" || e.TargetRef.Name != "cart" || e.TargetRef.Namespace != "app" {
			t.Errorf("%+v", e)
		}
	}
}

func TestAClusterIsReadWithCredentialsInTheFormOfLinkerdsCharts(t *testing.T) {
	var got []string
	for _, s := range linkCredentials("west", "kubeconfig of west") {
		if s.Name != "cluster-credentials-west" || s.Type != "mirror.linkerd.io/remote-kubeconfig" || s.StringData["kubeconfig"] != "kubeconfig of west" {
			t.Errorf("%+v", s)
		}
		got = append(got, s.Namespace+" "+s.Labels["multicluster.linkerd.io/cluster-name"]+" "+s.Annotations["multicluster.linkerd.io/trust-domain"])
	}
	if d := cmp.Diff([]string{"linkerd-multicluster  ", "linkerd west cluster.local"}, got); d != "" {
		t.Error(d)
	}
}

func TestTheMembersOfAFederatedServiceAreReadFromItsAnnotations(t *testing.T) {
	for _, tt := range []struct {
		local, remote string
		want          []string
	}{
		{"", "", nil},
		{"cart", "", []string{"cart"}},
		{"cart", "cart@west", []string{"cart", "cart@west"}},
		{"", "cart@west,cart@north", []string{"cart@north", "cart@west"}},
	} {
		svc := &corev1.Service{}
		svc.Annotations = map[string]string{localMember: tt.local, remoteMembers: tt.remote}
		if got := membersOf(svc); !slices.Equal(got, tt.want) {
			t.Errorf("%q and %q: %q, want %q", tt.local, tt.remote, got, tt.want)
		}
	}
}

// linkedScenario has two clusters.
func linkedScenario() *scenarios.Scenario {
	s := &scenarios.Scenario{}
	s.Spec.Topology.Clusters = []scenarios.Cluster{{Name: "east"}, {Name: "west"}}
	return s
}

func TestLinkerdsExtensionMakesServiceMirrorsWithoutAGatewayAndAccountsThatReadNoSecret(t *testing.T) {
	mat := linkerdMaterial(t)
	parts, err := mat.bundle.Named(chartPart(linkerdapi.LinksChart))
	if err != nil {
		t.Skipf("SKIPPED: no multicluster extension to test with: %v", err)
	}
	mat.charts[linkerdapi.LinksChart] = parts[0]
	m, err := meshes.ByName(scenarios.MeshLinkerd)
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]image{linkerdCtl: {ref: "cr.test/l5d/linkerd/controller:a", tag: "a"}, linkerdImage: {ref: "cr.test/l5d/linkerd/proxy:b", tag: "b"}}
	in := meshes.Install(m, scenarios.MeshEntry{}, linkedScenario(), clusters.Build{Links: true}, "east")
	at := slices.IndexFunc(in.Releases, func(r clusters.Release) bool { return r.Chart == linkerdapi.LinksChart })
	if at < 0 {
		t.Fatal("the extension is not installed")
	}
	objs := rendered(t, mat, in.Releases[at], linkerd{}.imageValues(linkerdapi.LinksChart, images))
	account := linkerdapi.LinkAccount("west")
	for _, want := range []string{"Deployment/controller-west", "Deployment/linkerd-local-service-mirror", "ServiceAccount/" + account, "ClusterRole/" + account} {
		if objs[want] == nil {
			t.Errorf("there is no %s", want)
		}
	}
	for _, not := range []string{"Deployment/linkerd-gateway", "Service/linkerd-gateway", "Job/namespace-metadata", "Service/probe-west"} {
		if objs[not] != nil {
			t.Errorf("there is a %s", not)
		}
	}
	for _, name := range []string{"Deployment/controller-west", "Deployment/linkerd-local-service-mirror"} {
		if text, err := yaml.Marshal(objs[name]); err != nil || !strings.Contains(string(text), "image: cr.test/l5d/linkerd/controller:a") {
			t.Errorf("%s has another image: %v", name, err)
		}
	}
	// What another cluster may do here: look, and say so in events.
	rules, _ := objs["ClusterRole/"+account]["rules"].([]any)
	if len(rules) == 0 {
		t.Error("the account may do nothing")
	}
	for _, r := range rules {
		rule := r.(map[string]any)
		resources, verbs := rule["resources"].([]any), rule["verbs"].([]any)
		for _, res := range resources {
			if res == "secrets" || res == "*" {
				t.Errorf("the account of another cluster may %v %v", verbs, res)
			}
		}
		for _, v := range verbs {
			if looks := v == "get" || v == "list" || v == "watch"; !looks && !slices.Equal(resources, []any{"events"}) {
				t.Errorf("the account of another cluster may %v %v", v, resources)
			}
		}
	}
	schemas := definitions(t, objs)
	for _, o := range in.Objects {
		l := o.(*linkerdapi.Link)
		u, err := fields(l)
		if err != nil {
			t.Fatal(err)
		}
		if err := schemas[l.APIVersion+"/"+l.Kind].Validate(u.Object); err != nil {
			t.Errorf("Link %s: %v", l.Name, err)
		}
	}
}

func TestOnlyMembersThatAreLateAreToldAgain(t *testing.T) {
	c := &cluster{f: &fleet{}}
	begin := time.Now()
	api, web := absent{"app/api-federated", "api@east"}, absent{"app/web-federated", "web"}
	for _, tt := range []struct {
		after   time.Duration
		out     []absent
		want    []absent
		message string
	}{
		{0, []absent{api, web}, nil, "both are new"},
		{toldAgainAfter - 1, []absent{api}, nil, "one joined, one is nearly late"},
		{toldAgainAfter, []absent{api, web}, []absent{api}, "one is late, one is absent anew"},
		{toldAgainAfter + 1, []absent{api, web}, nil, "the late one was told just now"},
		{2 * toldAgainAfter, []absent{api, web}, []absent{api, web}, "both are late"},
		{3 * toldAgainAfter, nil, nil, "all are there"},
	} {
		if got := c.late(tt.out, begin.Add(tt.after)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: told again are %v, want %v", tt.message, got, tt.want)
		}
	}
}
