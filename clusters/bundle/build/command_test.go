package build

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// toolOfAKilledBuild is the environment variable that makes this test's program a build: it starts a tool that says its
// process ID and never ends.
const toolOfAKilledBuild = "MESHPROOF_TEST_TOOL"

func TestAToolEndsWithAProcessThatIsKilled(t *testing.T) {
	if os.Getenv(toolOfAKilledBuild) != "" {
		c := command{log: os.Stdout, isolate: os.Getenv(toolOfAKilledBuild) == "isolated"}
		// Where it is isolated, the shell has a child, which must not outlive it either: nobody else sees its end.
		t.Fatal(c.run(t.Context(), "sh", "-c", "sleep 600 & echo started; wait"))
	}
	ways := []string{"plain"}
	if os.Geteuid() == 0 {
		ways = append(ways, "isolated")
	}
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			marker := "MESHPROOF_TEST_MARKER=" + way + strconv.Itoa(os.Getpid())
			t.Cleanup(func() { // what is not isolated leaves a child, which ends by itself, but not soon
				for _, pid := range with(t, marker, "sh", "sleep") {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
						t.Error(err)
					}
				}
			})
			build := exec.Command(os.Args[0], "-test.run=^"+strings.SplitN(t.Name(), "/", 2)[0]+"$")
			build.Env = append(os.Environ(), toolOfAKilledBuild+"="+way, marker)
			out, err := build.StdoutPipe()
			must(t, err)
			must(t, build.Start())
			_, err = bufio.NewReader(out).ReadString('\n')
			must(t, err)
			if len(with(t, marker, "sh")) == 0 { // more than one where the shell's child is not sleep yet
				t.Fatal("the tool does not run")
			}
			must(t, build.Process.Kill())
			if err := build.Wait(); err == nil {
				t.Error("a process that was killed ended well")
			}
			names := []string{"sh"}
			if way == "isolated" {
				names = append(names, "sleep")
			}
			for deadline := time.Now().Add(20 * time.Second); len(with(t, marker, names...)) > 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("after the build was killed its tool still runs: %v", with(t, marker, names...))
				}
			}
		})
	}
}

// with are the processes of some names that have a variable in their environment.
func with(t *testing.T, variable string, names ...string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	must(t, err)
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || !strings.Contains("\x00"+string(env), "\x00"+variable+"\x00") {
			continue
		}
		name, err := os.ReadFile("/proc/" + e.Name() + "/comm")
		if err != nil {
			continue
		}
		for _, n := range names {
			if strings.TrimSpace(string(name)) == n {
				out = append(out, pid)
			}
		}
	}
	return out
}
