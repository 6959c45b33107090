package kind

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWhyAPodIsNotReadyIsSaidWithWhatToDo(t *testing.T) {
	of := func(s corev1.ContainerStatus) corev1.Pod {
		s.Name, s.Image = "web", "shop:1"
		return corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{s}}}
	}
	waits := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	ended := func(code int32, reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
	}
	now := metav1.Now()
	for name, tt := range map[string]struct {
		pod       corev1.Pod
		want      string
		container string
		ended     bool
	}{
		"an image that no node has":  {of(corev1.ContainerStatus{State: waits("ErrImageNeverPull", "not present\nwith pull policy of Never")}), "does not have image shop:1, and it cannot be pulled (ErrImageNeverPull: not present with pull policy of Never): put it into the bundle", "", false},
		"an image that is not there": {of(corev1.ContainerStatus{State: waits("ImagePullBackOff", "Back-off")}), "`meshproof bundle add`", "", false},
		"a crash": {
			of(corev1.ContainerStatus{RestartCount: 2, State: waits("CrashLoopBackOff", "back-off 20s"), LastTerminationState: ended(1, "Error")}),
			"container web ended with code 1 (Error), and was restarted 2 times", "web", true,
		},
		"the first crash":   {of(corev1.ContainerStatus{State: ended(2, "Error")}), "container web ended with code 2 (Error)", "web", false},
		"too little memory": {of(corev1.ContainerStatus{State: ended(137, "OOMKilled")}), "raise its limit", "web", false},
		"no room": {corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found.",
		}}}}, "no node takes it: 0/1 nodes are available: 1 Insufficient cpu.: take fewer replicas, or more nodes", "", false},
		"a bad mount": {of(corev1.ContainerStatus{State: waits("CreateContainerConfigError", `secret "x" not found`)}), `waits: CreateContainerConfigError: secret "x" not found`, "", false},
		"not yet":     {of(corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}), "container web runs, and is not ready", "web", false},
		"its end":     {corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}}, "is still ending", "", false},
		"all is well": {of(corev1.ContainerStatus{Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}), "", "", false},
	} {
		why, container, was := stuck(&tt.pod)
		if (why == "") != (tt.want == "") || !strings.Contains(why, tt.want) || container != tt.container || was != tt.ended || strings.Contains(why, "\n") {
			t.Errorf("%s: %q, log of %q (ended: %t), want %q, %q, %t", name, why, container, was, tt.want, tt.container, tt.ended)
		}
	}
}

func TestTheLastWordsOfAWorkloadAreNoRecords(t *testing.T) {
	if got := words("one\ntwo\n{\"process\":\"a\",\"n\":1}\n\nthree\nfour\n"); got != "two | three | four" {
		t.Error(got)
	}
}
