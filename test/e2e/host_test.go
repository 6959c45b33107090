package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// scenario is what is run where a test has none of its own.
	scenario = "testdata/across.yaml"
	// small is what is run to be stopped: on one cluster.
	small = "testdata/small.yaml"
)

// host is the machine as a user has it, with folders of its own for what meshproof keeps and writes.
type host struct {
	binary string
	state  string // XDG_STATE_HOME
	out    string
	file   string // the scenario
	others *others
	early  bool // a run may have ended before it began to make clusters
}

type hostKey struct{}

func withHost(ctx context.Context, h *host) context.Context {
	return context.WithValue(ctx, hostKey{}, h)
}
func hostOf(ctx context.Context) *host { return ctx.Value(hostKey{}).(*host) }

func newHost(t *testing.T) *host {
	t.Helper()
	path, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{binary: path, file: scenario, state: t.TempDir(), out: t.TempDir()}
	h.others = newOthers(t, "meshproof-e2e")
	t.Cleanup(func() { // also where the test has failed
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if out, err := h.command(ctx, "clean", "--kept").CombinedOutput(); err != nil {
			t.Errorf("clean: %v\n%s", err, out)
		}
	})
	return h
}

// command is meshproof with the host's folders.
func (h *host) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, h.binary, args...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+h.state)
	return cmd
}

// document is what is read of run --output json.
type document struct {
	ExitCode int
	Error    string
	Runs     []struct {
		Dir  string
		Kept *struct {
			ID          string
			Clusters    []string
			Kubeconfigs []string
		}
	}
}

// ended is a run that came to its end.
type ended struct {
	doc    document
	code   int
	stderr string
	took   time.Duration
}

// summary is what the runs' own summaries say, for people.
func (e ended) summary() string {
	var all strings.Builder
	for _, r := range e.doc.Runs {
		b, err := os.ReadFile(filepath.Join(r.Dir, "summary.md"))
		fmt.Fprintln(&all, string(b), err)
	}
	return all.String()
}

// run runs the scenario to its end.
func (h *host) run(ctx context.Context, t *testing.T, flags ...string) ended {
	t.Helper()
	s := h.start(ctx, t, flags...)
	return s.wait(t)
}

// started is a run that is under way.
type started struct {
	h              *host
	cmd            *exec.Cmd
	began          time.Time
	stdout, stderr *bytes.Buffer
	done           chan struct{} // closed when it has ended
}

func (h *host) start(ctx context.Context, t *testing.T, flags ...string) *started {
	t.Helper()
	s := &started{
		h: h, stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, done: make(chan struct{}),
		cmd: h.command(ctx, append([]string{"run", h.file, "--driver", "kind", "--out", h.out, "--output", "json"}, flags...)...),
	}
	s.cmd.Stdout, s.cmd.Stderr = s.stdout, s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what is sent to the run is for it alone
	s.began = time.Now()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // the exit code says all
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); <-s.done })
	return s
}

func (s *started) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if sig == os.Interrupt { // a terminal sends Ctrl-C to all that runs in it
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT)
		return
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

func (s *started) wait(t *testing.T) ended {
	t.Helper()
	<-s.done
	e := ended{code: s.cmd.ProcessState.ExitCode(), stderr: s.stderr.String(), took: time.Since(s.began)}
	if s.stdout.Len() > 0 {
		if err := json.Unmarshal(s.stdout.Bytes(), &e.doc); err != nil {
			t.Errorf("--output json: %v\n%s", err, s.stdout)
		}
	}
	return e
}

// logs waits until the run's log says something.
func (s *started) logs(t *testing.T, what string) {
	t.Helper()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		log, err := os.ReadFile(filepath.Join(s.h.out, "latest", "meshproof.log"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if bytes.Contains(log, []byte(what)) {
			return
		}
		select {
		case <-s.done:
			t.Fatalf("the run ended before its log said %q:\n%s\n%s", what, log, s.stderr)
		case <-tick.C:
		}
	}
}

// inLog finds the IDs of fleets in the logs of runs; inJournal in their journals.
var (
	inLog     = regexp.MustCompile(`\bfleet=([a-z0-9]{6,20})\b`)
	inJournal = regexp.MustCompile(`"fleet":"([a-z0-9]{6,20})"`)
)

// fleets are the IDs of all fleets that runs on this host have made or were about to make.
func (h *host) fleets(t *testing.T) []string {
	t.Helper()
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(h.find(t, filepath.Join(h.out, "*", "meshproof.log"), inLog), h.journalled(t)))))
}

// journalled are the IDs of fleets in journals: those that a run has not removed.
func (h *host) journalled(t *testing.T) []string {
	t.Helper()
	return h.find(t, filepath.Join(h.state, "meshproof", "journal", "*"), inJournal)
}

func (h *host) find(t *testing.T, glob string, what *regexp.Regexp) []string {
	t.Helper()
	paths, err := filepath.Glob(glob)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil && !os.IsNotExist(err) { // a journal goes when its run ends
			t.Fatal(err)
		}
		for _, m := range what.FindAllStringSubmatch(string(b), -1) {
			ids = append(ids, m[1])
		}
	}
	return ids
}

// clean is what users do after a killed run. It returns what was said.
func (h *host) clean(ctx context.Context, t *testing.T, flags ...string) string {
	t.Helper()
	out, err := h.command(ctx, append([]string{"clean"}, flags...)...).CombinedOutput()
	if err != nil {
		t.Errorf("clean: %v\n%s", err, out)
	}
	return string(out)
}

// docker runs Docker's client and returns the lines that it printed.
func docker(ctx context.Context, t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(ctx, "docker", args...).Output()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			t.Fatalf("docker %s: %v: %s", args, err, exit.Stderr)
		}
		t.Fatalf("docker %s: %v", args, err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}
