package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// command is a tool of the host, by argument list. It ends with its context, and whatever it started with it. It also
// ends when this process is killed, so that no tool writes where the next build already works; what it started by itself
// then ends with it only where it is isolated.
type command struct {
	dir     string
	env     []string // on top of the process's own
	log     io.Writer
	isolate bool   // in PID and mount namespaces of its own: needs root
	root    string // with another root folder: needs root
}

// run runs the tool; what it prints goes to the log.
func (c command) run(ctx context.Context, name string, args ...string) error {
	return c.start(ctx, c.log, name, args)
}

// output runs the tool and returns what it prints to stdout.
func (c command) output(ctx context.Context, name string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := c.start(ctx, &out, name, args)
	return out.Bytes(), err
}

func (c command) start(ctx context.Context, stdout io.Writer, name string, args []string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout = c.dir, stdout
	cmd.Env = append(os.Environ(), c.env...)
	var said bytes.Buffer
	if cmd.Stderr = c.log; c.log == nil {
		cmd.Stderr = &said
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Chroot: c.root, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // to the kernel, the parent that Pdeathsig speaks of is this thread
	defer runtime.UnlockOSThread()
	if c.isolate {
		// The first process of a PID namespace takes all others with it; mounts go with the mount namespace, and
		// Unshareflags makes them private, so that none of them shows on the host.
		cmd.SysProcAttr.Cloneflags, cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWPID, syscall.CLONE_NEWNS
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%s is not installed: %s", name, install[name])
	}
	err = fmt.Errorf("%s %s: %w", name, strings.Join(args[:min(2, len(args))], " "), err)
	if said.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return err
}

// install says how to get a tool.
var install = map[string]string{
	"go":          "install Go, the version that meshproof's go.mod names or newer",
	"python3":     "install Python 3 with pip (Debian: apt-get install python3-pip)",
	"debootstrap": "install it (Debian: apt-get install debootstrap)",
}
