package kind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Docker runs the docker command with these arguments and returns what it printed. The error says what it printed on
// stderr. It is started without a shell.
func Docker(ctx context.Context, args ...string) (string, error) { return dockerIn(ctx, nil, args...) }

// dockerIn is Docker with something on stdin.
func dockerIn(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return out.String(), fmt.Errorf("docker %s: %w", args[0], ctx.Err())
		}
		if errors.Is(err, exec.ErrNotFound) {
			return "", fmt.Errorf("%w: install Docker's command-line client", err)
		}
		if text := strings.TrimSpace(errs.String()); text != "" {
			err = errors.New(text)
		}
		return out.String(), fmt.Errorf("docker %s: %w", args[0], err)
	}
	return out.String(), nil
}

// ownGroup keeps a command out of the terminal's group of processes: Ctrl-C there is for Meshproof, which ends its commands
// when it needs them no more.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// onNode runs a command on a node.
func onNode(ctx context.Context, node string, args ...string) (string, error) {
	out, err := Docker(ctx, append([]string{"exec", node}, args...)...)
	if err != nil {
		return out, fmt.Errorf("%q on node %s: %w", strings.Join(args, " "), node, err)
	}
	return out, nil
}
