package kind

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestWhyLinkerdLeftAPodOutIsSaidOfThePodThatAskedAlone(t *testing.T) {
	of := func(kind, name string) corev1.ObjectReference {
		return corev1.ObjectReference{Kind: kind, Namespace: "edge", Name: name, UID: types.UID("uid of " + name)}
	}
	said := []corev1.Event{
		{InvolvedObject: of("Deployment", "ingress"), Message: "Linkerd sidecar proxy injected"},
		{InvolvedObject: of("Deployment", "ingress"), Message: "Linkerd sidecar proxy injection skipped: pod has a sidecar injected already"},
		{InvolvedObject: of("StatefulSet", "base"), Message: "Linkerd sidecar proxy injection skipped: pod has a sidecar injected already"},
	}
	const why = "pod has a sidecar injected already"
	for _, tt := range []struct{ name, of, pod, namespace, want string }{
		{"the pod asks", "ingress-5658985bbc", "enabled", "", why},
		{"the pod of something else asks", "base", "enabled", "", why},
		{"the pod asks for it as an ingress", "ingress-5658985bbc", "ingress", "", why},
		{"its namespace asks", "ingress-5658985bbc", "", "enabled", why},
		{"the pod wants none, whatever its namespace asks", "ingress-5658985bbc", "disabled", "enabled", ""},
		{"nobody asks", "ingress-5658985bbc", "", "", ""},
		{"another's pod", "ingress-2-5658985bbc", "enabled", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: "edge", Labels: map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: "5658985bbc"},
				OwnerReferences: []metav1.OwnerReference{{UID: "other"}, {Name: tt.of, UID: types.UID("uid of " + tt.of)}},
			}}
			if tt.pod != "" {
				p.Annotations = map[string]string{linkerdInject: tt.pod}
			}
			if got := skippedFor(p, tt.namespace, said); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
