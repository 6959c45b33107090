package kind

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// hopelessError is that something is lacking which no waiting brings.
type hopelessError struct{ lacking string }

func (e *hopelessError) Error() string { return e.lacking }

// imageLacks are the reasons for which a container waits where its image is not to be had. All images were brought onto
// the nodes before.
var imageLacks = []string{"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}

// crashLoop is why a container waits that ended too often, and crashesBorne how often one may have been restarted before
// it counts as one that will never run: on a busy machine a control plane may end once or twice for want of another.
const (
	crashLoop    = "CrashLoopBackOff"
	crashesBorne = 2
)

// hopeless reports whether a pod will not become ready, however long it is waited for.
func hopeless(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil {
		return false
	}
	return slices.ContainsFunc(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		w := s.State.Waiting
		return w != nil && (slices.Contains(imageLacks, w.Reason) || w.Reason == crashLoop && s.RestartCount > crashesBorne)
	})
}
