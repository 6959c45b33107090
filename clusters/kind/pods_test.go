package kind

import (
	"errors"
	"testing"
)

func TestAContainerThatTheKubeletKilledFirstIsKilled(t *testing.T) {
	for _, tt := range []struct {
		name, said string
		killed     bool
	}{
		{"all were gone", "docker exec: ctr: no running task found: task 3f: not found\nctr: process already finished: not found", true},
		{"one may run", "docker exec: ctr: no running task found: task 3f: not found\nctr: connection refused", false},
		{"no such command", `docker exec: OCI runtime exec failed: exec: "xargs": executable file not found in $PATH: unknown`, false},
		{"no node", "docker exec: Error response from daemon: No such container: east", false},
		{"out of time", "docker exec: context deadline exceeded", false},
	} {
		if err := notKilled(errors.New(tt.said)); (err == nil) != tt.killed {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := notKilled(nil); err != nil {
		t.Error(err)
	}
}
