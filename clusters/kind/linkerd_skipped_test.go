package kind

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestWhyLinkerdLeftAPodOutIsSaidOfThePodThatAskedAlone(t *testing.T) {
	said := []corev1.Event{
		{InvolvedObject: corev1.ObjectReference{UID: "rs-1"}, Message: "Linkerd sidecar proxy injected"},
		{InvolvedObject: corev1.ObjectReference{UID: "rs-1"}, Message: "Linkerd sidecar proxy injection skipped: pod has a sidecar injected already"},
	}
	const why = "pod has a sidecar injected already"
	for _, tt := range []struct{ name, of, pod, namespace, want string }{
		{"the pod asks", "rs-1", "enabled", "", why},
		{"the pod asks for it as an ingress", "rs-1", "ingress", "", why},
		{"its namespace asks", "rs-1", "", "enabled", why},
		{"the pod wants none, whatever its namespace asks", "rs-1", "disabled", "enabled", ""},
		{"nobody asks", "rs-1", "", "", ""},
		{"another's pod", "rs-2", "enabled", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: "other"}, {UID: types.UID(tt.of)}}}}
			if tt.pod != "" {
				p.Annotations = map[string]string{linkerdInject: tt.pod}
			}
			if got := skippedFor(p, tt.namespace, said); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
