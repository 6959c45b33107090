//go:build unix

package workers

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's Ctrl-C from a worker: who ordered it stops it, and hears what it has to say.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
