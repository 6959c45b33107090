package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestAFailureOfTheHostSaysWhatToDo(t *testing.T) {
	cases := []struct {
		name string
		err  error
		log  string // what the tool printed, as it was seen
		want string
	}{
		{"a full disk", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "", "the disk is full"},
		{"a full quota", &fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, "", "the disk is full"},
		{"a full disk under the linker", errors.New("go build: exit status 1"), "link: mapping output file failed: no space left on device", "the disk is full"},
		{"no network for go", errors.New("go build: exit status 1"), "dial udp 192.0.2.1:53: connect: network is unreachable", "GOPROXY"},
		{"no network for pip", errors.New("python3 -m pip: exit status 1"), "[Errno -3] Temporary failure in name resolution", "PyPI"},
		{"no network for debootstrap", errors.New("debootstrap: exit status 1"), "E: Failed getting release file http://deb.debian.org/debian/dists/bookworm/Release", "Debian mirror"},
		{"what nobody knows", errors.New("go build: exit status 1"), "main.go:3: syntax error", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorkshop(t)
			err := w.run(t.Context(), []step{{name: "a", make: func(_ context.Context, j job) error {
				fmt.Fprintln(j.log, c.log)
				return c.err
			}}})
			if err == nil || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.log) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want the failure, what the tool said, and %q", err, c.want)
			}
			if got := strings.Contains(err.Error(), "run the command again"); got != (c.want != "") {
				t.Errorf("%v: says how to go on: %t", err, got)
			}
		})
	}
}
