package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

func TestOutputThatCannotBeWrittenIsNoSuccess(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("SKIPPED: no /dev/full here: ", err)
	}
	defer full.Close()
	for _, args := range []string{"list", "version", "schema report", "render smoke --mesh istio", "validate smoke"} {
		cmd := command(t, t.TempDir(), strings.Fields(args)...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		_ = cmd.Run() // the exit code is looked at below
		if got := cmd.ProcessState.ExitCode(); got != exitError || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%s: exit code %d, want %d; stderr: %s", args, got, exitError, &stderr)
		}
	}
}

// TestARunGoesOnWhenNobodyReadsItsProgress is "meshproof run smoke | head -1": the verdict is in the folder.
func TestARunGoesOnWhenNobodyReadsItsProgress(t *testing.T) {
	dir := t.TempDir()
	cmd := command(t, dir, "run", "smoke", "--mesh", "none")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Error(err)
	}
	out.Close()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got < 0 || got == exitError {
		t.Errorf("ended with %s; stderr: %s", cmd.ProcessState, &stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "out", "latest", "report.html")); err != nil {
		t.Error(err)
	}
}

func TestAClosedTerminalIsAnInterruption(t *testing.T) {
	// What this process catches its children get with its default action, even where the tests run under nohup.
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	defer signal.Stop(hups)
	s := start(t, "two-clusters")
	begun := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-s.rest
	_ = s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != exitInterrupted || time.Since(begun) > 5*time.Second {
		t.Errorf("exit code %d after %s", got, time.Since(begun))
	}
}

func TestNohupKeepsARunAliveWhenTheTerminalCloses(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("SKIPPED: no sh here")
	}
	path, err := exec.LookPath("meshproof")
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, t.TempDir(), "run", "smoke", "--mesh", "none")
	cmd.Args = append([]string{"sh", "-c", `trap '' HUP; exec "$0" "$@"`, path}, cmd.Args[1:]...)
	cmd.Path = sh
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got < 0 || got == exitInterrupted {
		t.Errorf("ended with %s", cmd.ProcessState)
	}
}

// TestWhatFollowsFromABrokenTrialIsCountedAndNotTold holds the few lines that a reader must see: no check that was
// disproved, and none of a trial that was whole, is left out.
func TestWhatFollowsFromABrokenTrialIsCountedAndNotTold(t *testing.T) {
	at := evidence.Trial{Block: 1, Mesh: "istio"}
	check := func(kind string, v verify.Verdict) verify.Check {
		return verify.Check{ID: kind, Kind: kind, Trial: at, Verdict: v}
	}
	for _, c := range []struct {
		name   string
		res    verify.Result
		want   []string
		follow int
	}{
		{"the environment failed", verify.Result{Checks: []verify.Check{check(verify.KindRun, verify.Error), check(verify.KindMTLS, verify.Invalid), check(verify.KindPolicy, verify.Fail)}}, []string{verify.KindRun, verify.KindPolicy}, 1},
		{"the user stopped the run", verify.Result{Interrupted: true, Checks: []verify.Check{check(verify.KindRun, verify.Invalid), check(verify.KindMTLS, verify.Invalid)}}, []string{verify.KindRun}, 1},
		{"a whole trial of a stopped run", verify.Result{Interrupted: true, Checks: []verify.Check{check(verify.KindRun, verify.Pass), check(verify.KindMTLS, verify.Invalid)}}, []string{verify.KindMTLS}, 0},
		{"a trial that is invalid by itself", verify.Result{Checks: []verify.Check{check(verify.KindRun, verify.Invalid), check(verify.KindMTLS, verify.Invalid)}}, []string{verify.KindRun, verify.KindMTLS}, 0},
	} {
		checks, follow := tell(&c.res, at)
		var got []string
		for _, k := range checks {
			got = append(got, k.ID)
		}
		if !slices.Equal(got, c.want) || follow != c.follow {
			t.Errorf("%s: tells %v and counts %d, want %v and %d", c.name, got, follow, c.want, c.follow)
		}
	}
}

func TestChecksOverAllBlocksThatSayTheSameAreToldOnceAndNoneIsLeftOut(t *testing.T) {
	check := func(mesh, id string, v verify.Verdict, message string) verify.Check {
		return verify.Check{ID: id, Trial: evidence.Trial{Mesh: mesh}, Verdict: v, Message: message}
	}
	const few = "not judged, 6 blocks needed"
	got := overall(&verify.Result{Checks: []verify.Check{
		{ID: "mtls/x", Trial: evidence.Trial{Block: 1, Mesh: "istio"}, Verdict: verify.Fail},
		check("istio", "errors/a", verify.Skipped, few), check("istio", "errors/b", verify.Pass, ""), check("istio", "errors/c", verify.Fail, "too many"),
		check("linkerd", "errors/a", verify.Skipped, few), check("linkerd", "errors/b", verify.Skipped, few),
	}})
	want := []string{
		"over all blocks   1 FAIL, 3 SKIPPED, 1 PASS",
		"         SKIPPED istio errors/a and 2 more: " + few,
		"         FAIL istio errors/c: too many",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := overall(&verify.Result{Checks: []verify.Check{{ID: "mtls/x", Trial: evidence.Trial{Block: 1}}}}); got != nil {
		t.Errorf("without such checks: %q", got)
	}
}

func TestTextIsWrappedAtSpaces(t *testing.T) {
	if got := wrap("a bb  ccc dddd", 6); !slices.Equal(got, []string{"a bb", "ccc", "dddd"}) {
		t.Errorf("%q", got)
	}
	if got := wrap("abcdefgh ij", 4); !slices.Equal(got, []string{"abcdefgh", "ij"}) {
		t.Errorf("%q", got)
	}
}
