package kind

import (
	"fmt"
	"strings"
)

// exhausted is what Docker, the kernel and kind say where a host is at its end, and what mends that.
var exhausted = []struct{ says, cause, remedy string }{
	{"no space left on device", "the disk is full", "make room, for example with docker system prune"},
	{"disk quota exceeded", "the disk's quota is used up", "make room, for example with docker system prune"},
	{"port is already allocated", "another program took a port of 127.0.0.1 at the same moment", "run it again"},
	{"address already in use", "another program took a port of 127.0.0.1 at the same moment", "run it again"},
	{"too many open files", "a limit of the kernel is reached", "as root: sysctl -w fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288"},
	{"cannot allocate memory", "the memory is full", "stop what else runs, or take fewer clusters or replicas"},
	{"Cannot connect to the Docker daemon", "Docker has stopped", "start it, and then run meshproof clean"},
	{"permission denied while trying to connect to the Docker daemon", "Docker does not let this user in", "let your user reach Docker: as root, usermod -aG docker USER, then log in again"},
	{"No such image", "the image of nodes is gone from Docker", "run it again: it is loaded from the bundle anew"},
}

// explain says what users can do about an error, where that is known: the cause, the remedy, and then what was said.
func explain(err error) error {
	text := err.Error()
	for _, e := range exhausted {
		if strings.Contains(text, e.says) {
			return &explained{fmt.Sprintf("%s: %s (%s)", e.cause, e.remedy, strings.Join(strings.Fields(text), " ")), err}
		}
	}
	return err
}

// explained is an error in words for users.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }
