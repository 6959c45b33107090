// Package e2e drives the built meshproof against real clusters, as a user does. Its tests want Docker and a bundle, and
// run where MESHPROOF_TEST_KIND is set: see make test-kind.
package e2e

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// env is a host as a user has it, with a state folder of its own.
type env struct {
	t      *testing.T
	binary string
	state  string
	out    string
}

func newEnv(t *testing.T) *env {
	t.Helper()
	if os.Getenv("MESHPROOF_TEST_KIND") == "" {
		t.Skip("makes real clusters: use make test-kind")
	}
	binary, err := filepath.Abs("../../bin/meshproof")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("%v: make build", err)
	}
	return &env{t: t, binary: binary, state: t.TempDir(), out: t.TempDir()}
}

func (e *env) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(e.t.Context(), e.binary, args...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+e.state)
	return cmd
}

func (e *env) run() *exec.Cmd {
	return e.command("run", "smoke", "--driver", "kind", "--mesh", "none", "--out", e.out, "--output", "json")
}

// left lists what there is on the host that a run could leave.
func (e *env) left() []string {
	e.t.Helper()
	var all []string
	for _, args := range [][]string{
		{"ps", "--all", "--format", "container {{.Names}}"}, {"network", "ls", "--format", "network {{.Name}}"}, {"volume", "ls", "--format", "volume {{.Name}}"},
	} {
		out, err := exec.CommandContext(e.t.Context(), "docker", args...).Output()
		if err != nil {
			e.t.Fatalf("docker %s: %v", args, err)
		}
		all = append(all, strings.Split(strings.TrimSpace(string(out)), "\n")...)
	}
	err := filepath.WalkDir(e.state, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, "file "+path)
		}
		return err
	})
	if err != nil {
		e.t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func exitCode(cmd *exec.Cmd) int { return cmd.ProcessState.ExitCode() }

func TestARunOnRealClustersPassesAndLeavesNothing(t *testing.T) {
	e := newEnv(t)
	before := e.left()
	cmd := e.run()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout.String(), stderr.String())
	}
	var doc struct {
		Runs []struct{ Dir string }
	}
	if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil || len(doc.Runs) != 1 {
		t.Fatalf("%v: %s", err, stdout.String())
	}
	// The verdict is the record's, on any machine.
	if out, err := e.command("verify", doc.Runs[0].Dir).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS")) || bytes.Contains(out, []byte("(model)")) {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if d := cmp.Diff(before, e.left()); d != "" {
		t.Errorf("left: %s", d)
	}
}

func TestAnInterruptedRunEndsWithinAMinuteAndLeavesNothing(t *testing.T) {
	e := newEnv(t)
	for _, after := range []time.Duration{5 * time.Second, 45 * time.Second} {
		before := e.left()
		cmd := e.run()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		began := time.Now()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if took := time.Since(began); took > time.Minute || exitCode(cmd) != 130 {
			t.Errorf("interrupted after %s: it took %s, exit code %d", after, took, exitCode(cmd))
		}
		if d := cmp.Diff(before, e.left()); d != "" {
			t.Errorf("interrupted after %s, left: %s", after, d)
		}
	}
}

// TestWhatAKilledRunLeftIsCleaned kills runs at random moments. MESHPROOF_KILLS says how many.
func TestWhatAKilledRunLeftIsCleaned(t *testing.T) {
	e := newEnv(t)
	kills := 3
	if s := os.Getenv("MESHPROOF_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	for range kills {
		before := e.left()
		cmd := e.run()
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(draw.Int64N(int64(50 * time.Second)))
		time.Sleep(after)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		// docker commands that were under way come to their end by themselves: clean must cope with what they still make.
		out, err := e.command("clean").CombinedOutput()
		if err != nil {
			t.Fatalf("killed after %s: clean: %v\n%s", after, err, out)
		}
		time.Sleep(3 * time.Second)
		if d := cmp.Diff(before, e.left()); d != "" {
			t.Errorf("killed after %s, left: %s\nclean said: %s", after, d, out)
		}
	}
}
