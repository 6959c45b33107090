package kind

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
)

func TestImagesThatCameWithAMeshAreRemovedUnderAllTheirNames(t *testing.T) {
	const list = `REF TYPE DIGEST SIZE PLATFORMS LABELS
docker.io/library/pause:3.10 application/x sha256:p 1 MiB linux/amd64 -
docker.io/meshproof/pilot:1 application/x sha256:a 1 MiB linux/amd64 -
docker.io/meshproof/agent:1 application/x sha256:g 1 MiB linux/amd64 -
docker.io/other/agent:1 application/x sha256:g 1 MiB linux/amd64 -
sha256:config-of-pilot application/x sha256:a 1 MiB linux/amd64 -
sha256:config-of-agent application/x sha256:g 1 MiB linux/amd64 -
`
	was := fingerprint{
		"node n: image docker.io/library/pause:3.10": "sha256:p", "node n: image docker.io/meshproof/agent:1": "sha256:g",
		"node other: image docker.io/meshproof/pilot:1": "sha256:a",
	}
	want := []string{"docker.io/meshproof/pilot:1", "docker.io/other/agent:1", "sha256:config-of-pilot"}
	if got := imagesSince(list, "n", was); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := imagesSince(list, "other", fingerprint{}); len(got) != 6 {
		t.Errorf("of a node that had none: %q", got)
	}
}

func TestIstiodHasSettledWhenEveryNamespaceHasTheNewRoot(t *testing.T) {
	with := func(ns, root string) corev1.ConfigMap {
		return corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns}, Data: map[string]string{"root-cert.pem": root}}
	}
	for name, tt := range map[string]struct {
		maps []corev1.ConfigMap
		want string
	}{
		"all have it":        {[]corev1.ConfigMap{with("default", "new"), with("app", "new\n")}, ""},
		"one has an old one": {[]corev1.ConfigMap{with("default", "new"), with("app", "old")}, "namespace app its new root"},
		"none is there yet":  {nil, "no namespace"},
	} {
		got := strings.Join(otherRoots(tt.maps, "new"), "; ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestWhatBecomesOfAKeptMeshIsSaid(t *testing.T) {
	f := newFleet(clusters.Spec{Mesh: "istio", Clusters: []string{"east"}, Sink: &sink{}, Install: map[string]clusters.Installation{
		"east": {Releases: []clusters.Release{{Namespace: "istio-system", Name: "istio-base", Chart: "base"}, {Namespace: "istio-system", Name: "istiod", Chart: "istiod"}}},
	}}, t.TempDir())
	want := []keptRelease{{"istio-system", "istio-base"}, {"istio-system", "istiod"}}
	if got := f.releases(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for was, says := range map[string]string{"none": "", "istio": "installed anew over itself", "linkerd": "linkerd, which is removed"} {
		if got := becoming(was, "istio"); !strings.Contains(got, says) || (got == "") != (says == "") {
			t.Errorf("from %s: %q", was, got)
		}
	}
}
