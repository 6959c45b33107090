package kind

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// wordsShown is how many lines of a container's log a message has.
const wordsShown = 3

// whyPod says why a pod is not ready and what to do about it, as far as that can be found out: its containers' states, the
// last lines that they wrote, the newest warning about it.
func (c *cluster) whyPod(ctx context.Context, p *corev1.Pod) string {
	why, container, ended := stuck(p)
	if container != "" {
		if words := c.lastWords(ctx, p, container, ended); words != "" {
			why += fmt.Sprintf("; it wrote last: %q", words)
		}
	}
	if why == "" {
		why = c.lastWarning(ctx, p)
	}
	return why
}

// stuck reads from a pod's status why it is not ready. container is the one whose log may say more; ended tells that its
// process is one that has ended.
func stuck(p *corev1.Pod) (why, container string, ended bool) {
	if p.DeletionTimestamp != nil {
		return "is still ending", "", false
	}
	for _, k := range p.Status.Conditions {
		if k.Type == corev1.PodScheduled && k.Status == corev1.ConditionFalse {
			cause, _, _ := strings.Cut(k.Message, " preemption:")
			return "cannot be scheduled, no node takes it: " + cause + ": take fewer replicas, or more nodes", "", false
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		w := s.State.Waiting
		t := cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated)
		switch {
		case w != nil && slices.Contains(imageLacks, w.Reason):
			return fmt.Sprintf("cannot start container %s: its node does not have image %s, and it cannot be pulled (%s: %s): put it into the bundle with `meshproof bundle add`",
				s.Name, s.Image, w.Reason, oneLine(w.Message)), "", false
		case t != nil && (t.ExitCode != 0 || s.RestartCount > 0):
			what := fmt.Sprintf("container %s ended with code %d (%s)", s.Name, t.ExitCode, t.Reason)
			if t.Reason == "OOMKilled" {
				what += ", for want of memory: raise its limit"
			}
			if s.RestartCount > 0 {
				what += fmt.Sprintf(", and was restarted %d times", s.RestartCount)
			}
			return what, s.Name, s.State.Running != nil || w != nil
		case w != nil && w.Message != "":
			return fmt.Sprintf("container %s waits: %s: %s", s.Name, w.Reason, oneLine(w.Message)), "", false
		case s.State.Running != nil && !s.Ready:
			return fmt.Sprintf("container %s runs, and is not ready", s.Name), s.Name, false
		}
	}
	return "", "", false
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// lastWords are the last lines that a container wrote, that are no records, or those of its process before. It is "" where
// nobody has them.
func (c *cluster) lastWords(ctx context.Context, p *corev1.Pod, container string, before bool) string {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lines := int64(20)
	b, err := c.client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: container, Previous: before, TailLines: &lines}).DoRaw(ctx)
	if err != nil {
		return ""
	}
	return words(string(b))
}

// words are the last lines of a log that are meant for people.
func words(log string) string {
	var list []string
	for line := range strings.Lines(log) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, `{"process"`) {
			list = append(list, line)
		}
	}
	return strings.Join(list[max(0, len(list)-wordsShown):], " | ")
}
