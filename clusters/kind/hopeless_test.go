package kind

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
)

func TestNobodyWaitsForAPodThatNoTimeMakesReady(t *testing.T) {
	waits := func(reason string, restarts int32) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "other", Ready: true},
			{Name: "web", RestartCount: restarts, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}},
		}}
	}
	now := metav1.Now()
	inSidecar := corev1.PodStatus{InitContainerStatuses: waits("ImagePullBackOff", 0).ContainerStatuses}
	for name, tt := range map[string]struct {
		pod  corev1.Pod
		want bool
	}{
		"it begins":                           {corev1.Pod{Status: waits("ContainerCreating", 0)}, false},
		"an image that no node has":           {corev1.Pod{Status: waits("ErrImageNeverPull", 0)}, true},
		"an image that is not to be had":      {corev1.Pod{Status: waits("ErrImagePull", 0)}, true},
		"so for a while":                      {corev1.Pod{Status: waits("ImagePullBackOff", 0)}, true},
		"so of a sidecar":                     {corev1.Pod{Status: inSidecar}, true},
		"an image that has no name":           {corev1.Pod{Status: waits("InvalidImageName", 0)}, true},
		"it ended twice, as others were late": {corev1.Pod{Status: waits("CrashLoopBackOff", 2)}, false},
		"it ends again and again":             {corev1.Pod{Status: waits("CrashLoopBackOff", 3)}, true},
		"somebody removes it":                 {corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}, Status: waits("ErrImagePull", 0)}, false},
		"a secret may still come":             {corev1.Pod{Status: waits("CreateContainerConfigError", 0)}, false},
	} {
		if got := hopeless(&tt.pod); got != tt.want {
			t.Errorf("%s: hopeless %t, want %t", name, got, tt.want)
		}
	}
}

func TestAWaitEndsAtOnceWhereWhatIsLackingNeverComes(t *testing.T) {
	c := &cluster{f: newFleet(clusters.Spec{Sink: &sink{}}, t.TempDir()), name: "east"}
	looks := 0
	err := c.until(t.Context(), func(context.Context) ([]string, error) {
		looks++
		if looks == 1 {
			return []string{"not yet"}, nil
		}
		return nil, fmt.Errorf("looking: %w", &hopelessError{"no image"})
	})
	var never *hopelessError
	if looks != 2 || !errors.As(err, &never) || never.lacking != "no image" {
		t.Errorf("after %d looks: %v", looks, err)
	}
}
