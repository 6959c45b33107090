package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestAFailureOfABundleSaysWhatToDo(t *testing.T) {
	cases := []struct {
		name string
		err  error
		code int
		want string // all of the message where it is empty
	}{
		{"none", nil, exitPass, ""},
		{"a stop", fmt.Errorf("kubernetes: %w", context.Canceled), exitInterrupted, ""},
		{"a full disk", &fs.PathError{Op: "write", Path: "p", Err: syscall.ENOSPC}, exitError, "the disk is full: free some"},
		{"a full quota", &fs.PathError{Op: "write", Path: "p", Err: syscall.EDQUOT}, exitError, "the disk is full: free some"},
		{"no network", fmt.Errorf("pulling x: %w", &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}), exitError, "meshproof bundle build"},
		{"another", fmt.Errorf("adding x: no image"), exitError, "adding x: no image"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := failed(filling(c.err))
			if code := codeOf(got); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if got != nil && (!strings.Contains(got.Error(), c.want) || c.want == "" && got.Error() != "") {
				t.Errorf("got %q, want %q in it", got, c.want)
			}
		})
	}
}
