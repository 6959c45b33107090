package istio

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/internal/oidc"
)

// edgeGateway is a gateway before a workload of its own.
func (m *testMesh) edgeGateway() *testPod {
	m.t.Helper()
	p := m.pod("shop", nil)
	pod := p.Pod
	pod.Gateway = gatewayPod("shop").Gateway
	first := m.snapshot()
	gw, err := StartGateway(pod, m.world, first)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(gw.Kill)
	return &testPod{sidecar: gw.(*sidecar), app: p.app, Pod: pod}
}

func TestAGatewayTakesPlaintextWhateverPeerAuthenticationSays(t *testing.T) {
	m := newMesh(t, strictMesh)
	gw := m.edgeGateway()
	for _, addr := range []string{gw.Inbound(), gw.Edge()} {
		a := ask(t, client(t, addr), "GET", "http://shop.app/", "x-forwarded-client-cert", "By=me;URI="+gatewayID)
		if a.code != http.StatusOK {
			t.Errorf("%+v", a)
		}
	}
	if got := gw.scrape(t, "istio_requests_total", "reporter", "destination", "response_code", "200", "connection_security_policy", "none"); got != 2 {
		t.Errorf("%v in metrics", got)
	}
	lines := m.access()
	if len(lines) != 2 || lines[0].At != gw.PodRef || strings.Contains(string(lines[0].Line), gatewayID) {
		t.Errorf("access log: %+v", lines)
	}
	snap := m.snapshot()
	snap.Objects = decode(t, disabledMesh)
	gw.Update(snap)
	if len(gw.timers) > 0 {
		t.Error("a PeerAuthentication that changed drains a gateway's connections")
	}
}

func TestTokensAndPolicyHoldAtAGateway(t *testing.T) {
	m := newMesh(t, strictMesh+"\n---\n"+edgeMesh)
	i := users(t, m)
	c := client(t, m.edgeGateway().Edge())
	mint := func(d oidc.Defect, role string) string {
		s, err := i.Mint("anna", map[string]string{"role": role}, time.Minute, d)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + s
	}
	for _, tt := range []struct {
		name, token string
		want        int
	}{
		{"a customer", mint(oidc.Good, "customer"), 200},
		{"somebody else", mint(oidc.Good, "guest"), 403},
		{"an expired token", mint(oidc.Expired, "customer"), 401},
		{"no token", "", 403},
	} {
		if a := ask(t, c, "GET", "http://shop.app/", "authorization", tt.token); a.code != tt.want {
			t.Errorf("%s: %+v, want %d", tt.name, a, tt.want)
		}
	}
}

func TestAGatewaysLeafIsWhatItsEnvironmentSays(t *testing.T) {
	env := func(kv ...string) []corev1.EnvVar {
		var out []corev1.EnvVar
		for i := 0; i < len(kv); i += 2 {
			out = append(out, corev1.EnvVar{Name: kv[i], Value: kv[i+1]})
		}
		return out
	}
	for _, tt := range []struct {
		name       string
		env        []corev1.EnvVar
		annotation string
		ecdsa      bool
		lifetime   time.Duration
	}{
		{"Istio's default", nil, "", false, 24 * time.Hour},
		{"ECDSA", []corev1.EnvVar{ecdsaKey}, "", true, 24 * time.Hour},
		{"ECDSA by annotation", nil, eccOnly, true, 24 * time.Hour},
		{"a lifetime, and the environment over the annotation", env("SECRET_TTL", "2h"), "proxyMetadata: {SECRET_TTL: 3h}", false, 2 * time.Hour},
		{"what changes nothing here", env("POD_NAME", "x", "CA_ADDR", "istiod:15012"), "", false, 24 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pod := gatewayPod("gw", tt.env...)
			if tt.annotation != "" {
				pod.Annotations = map[string]string{configKey: tt.annotation}
			}
			p, err := StartGateway(pod, newWorld(t), &proxy.Snapshot{Cluster: "east"})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Kill()
			leaf := p.(*sidecar).id.Now.Load().Leaf
			_, isECDSA := leaf.PublicKey.(*ecdsa.PublicKey)
			if _, isRSA := leaf.PublicKey.(*rsa.PublicKey); isECDSA != tt.ecdsa || isRSA == tt.ecdsa {
				t.Errorf("the key is %T", leaf.PublicKey)
			}
			if got := leaf.NotAfter.Sub(leaf.NotBefore); got < tt.lifetime || got > tt.lifetime+2*leafBackdate {
				t.Errorf("the leaf lives %v, want %v", got, tt.lifetime)
			}
			if len(leaf.URIs) != 1 || leaf.URIs[0].String() != gatewayID {
				t.Errorf("the leaf is for %v", leaf.URIs)
			}
		})
	}
}

func TestAGatewayThatTheModelCannotRunIsRefusedWithTheReason(t *testing.T) {
	cluster := corev1.EnvVar{Name: envCluster, Value: "east"}
	for _, tt := range []struct {
		name string
		env  []corev1.EnvVar
		want string
	}{
		{"another cluster", []corev1.EnvVar{{Name: envCluster, Value: "Kubernetes"}}, "keeps an old configuration"},
		{"no cluster", nil, "keeps an old configuration"},
		{"an unknown variable", []corev1.EnvVar{cluster, {Name: "PROXY_CONFIG", Value: "{}"}}, "PROXY_CONFIG"},
		{"an unknown key", []corev1.EnvVar{cluster, {Name: "ECC_SIGNATURE_ALGORITHM", Value: "RSA"}}, "Istio knows ECDSA"},
		{"no lifetime", []corev1.EnvVar{cluster, {Name: "SECRET_TTL", Value: "soon"}}, "must be a duration"},
		{"a value from elsewhere", []corev1.EnvVar{{Name: envCluster, ValueFrom: &corev1.EnvVarSource{}}}, "write its value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pod := gatewayPod("gw")
			pod.Gateway.Env = tt.env
			_, err := StartGateway(pod, newWorld(t), &proxy.Snapshot{Cluster: "east"})
			for _, err := range []error{err, CheckGateway(pod.Gateway, "east")} {
				if err == nil || !errors.Is(err, clusters.ErrNotModelled) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "container envoy") {
					t.Errorf("%v, want %q", err, tt.want)
				}
			}
		})
	}
	pod := gatewayPod("gw")
	if err := CheckGateway(pod.Gateway, "east"); err != nil {
		t.Error(err)
	}
	pod.Gateway = nil
	if _, err := StartGateway(pod, newWorld(t), &proxy.Snapshot{Cluster: "east"}); !errors.Is(err, errNoGateway) {
		t.Errorf("without a container: %v", err)
	}
}
