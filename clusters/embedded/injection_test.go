package embedded

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
)

// TestAPodThatLooksLikeAnIstioGatewayGetsNoLinkerdProxyAndAnEventSaysSo is what the real injector does, silently but for
// its event.
func TestAPodThatLooksLikeAnIstioGatewayGetsNoLinkerdProxyAndAnEventSaysSo(t *testing.T) {
	for name, want := range map[string][]string{"workload": {"linkerd-init", "linkerd-proxy"}, "istio-proxy": nil} {
		t.Run(name, func(t *testing.T) {
			sink := &memory{}
			f := create(t, New(map[string]proxy.Factory{"linkerd": linkerd.Factory()}), testSpec("linkerd", sink))
			east := f.Cluster("east")
			objs := objects(t, "east", 1)
			for _, o := range objs {
				switch o := o.(type) {
				case *corev1.Namespace:
					o.Annotations = map[string]string{"linkerd.io/inject": "enabled", "config.linkerd.io/default-inbound-policy": "deny"}
				case *appsv1.Deployment:
					o.Spec.Template.Spec.Containers[0].Name = name
				}
			}
			apply(t, east, objs...)
			pod := waitReady(t, east)[0]
			if !slices.Equal(pod.Containers, []string{name}) || !slices.Equal(pod.InitContainers, want) {
				t.Errorf("containers %v, init containers %v, want %v", pod.Containers, pod.InitContainers, want)
			}
			if got := skips(sink); (want == nil) != slices.Equal(got, []string{pod.UID + ": pod has a sidecar injected already"}) {
				t.Errorf("events: %q", got)
			}
			if want == nil {
				if _, err := east.Scrape(t.Context(), pod); err != clusters.ErrNoProxy {
					t.Errorf("scrape: %v", err)
				}
				return
			}
			if got := f.list[0].pods()[0].annotations["config.linkerd.io/default-inbound-policy"]; got != "deny" {
				t.Errorf("default inbound policy of the pod: %q", got)
			}
		})
	}
}

// skips lists the pods that the injector left alone, with its reasons.
func skips(m *memory) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, i := range m.items {
		if e, ok := i.(*evidence.Event); ok && e.Kind == evidence.EventInjectionSkipped {
			out = append(out, e.At.UID+": "+e.Message)
		}
	}
	return out
}
