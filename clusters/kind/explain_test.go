package kind

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/clusters"
)

func TestWhatAHostLacksWhileClustersAreMadeIsSaidWithARemedy(t *testing.T) {
	for name, tt := range map[string]struct{ at, says, want string }{
		"a full disk":   {"network create", "mkdir /var/lib/docker/x: no space left on device", "creating kind clusters: the disk is full: make room"},
		"a taken port":  {"run --name", "driver failed programming external connectivity: Bind for 127.0.0.1:41231 failed: port is already allocated", "another program took a port of 127.0.0.1 at the same moment: run it again (creating cluster meshproof-abcdef-east: "},
		"low limits":    {"run --name", "failed to create fsnotify watcher: too many open files", "sysctl -w fs.inotify.max_user_instances"},
		"no engine":     {"network create", "Cannot connect to the Docker daemon at unix:///x", "Docker has stopped: start it, and then run meshproof clean"},
		"no permission": {"network create", "permission denied while trying to connect to the Docker daemon socket", "usermod -aG docker"},
		"no image":      {"run --name", "Error: No such image: node:1", "it is loaded from the bundle anew"},
		"anything else": {"network create", "the moon is full", "creating the network of the nodes: docker network: the moon is full"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := fakeDocker(t, `case "$*" in
"info --format {{json .}}"*) echo '{"CgroupVersion":"2"}';;
"info "*) echo "2 null";;
"`+tt.at+`"*) echo "`+tt.says+`" >&2; exit 125;;
esac`)
			t.Setenv(AgentEnv, filepath.Join(calls, "docker"))
			state := t.TempDir()
			p := New(Config{NodeImage: fromNothing, State: state})
			_, err := p.Create(t.Context(), clusters.Spec{ID: "abcdef", Clusters: []string{"east"}, Mesh: meshNone, Sink: &sink{}})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if left, err := os.ReadDir(state); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

func TestAnExplanationIsStillTheError(t *testing.T) {
	if err := explain(errors.Join(errors.New("no space left on device"), context.Canceled)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not its cause any more", err)
	}
}
