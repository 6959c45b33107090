package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// started is a run under way that has reached its load.
type started struct {
	cmd    *exec.Cmd
	dir    string
	stderr *bytes.Buffer
	rest   chan string
}

// start starts a run and waits until its load is under way.
func start(t *testing.T, scenario string) started {
	t.Helper()
	s := started{dir: t.TempDir(), stderr: &bytes.Buffer{}, rest: make(chan string, 1)}
	s.cmd = command(t, s.dir, "run", scenario)
	s.cmd.Stderr = s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		if strings.Contains(sc.Text(), "load and faults") && strings.Contains(sc.Text(), "/s of") {
			go func() {
				var b strings.Builder
				for sc.Scan() {
					b.WriteString(sc.Text() + "\n")
				}
				s.rest <- b.String()
			}()
			return s
		}
	}
	t.Fatalf("the load never began: %s", s.stderr)
	return s
}

func (s started) run(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(filepath.Join(s.dir, "out", "latest"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s started) again(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command("meshproof", args...)
	cmd.Dir, cmd.Env = s.dir, s.cmd.Env
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

func reportOf(t *testing.T, dir string) (html string, doc struct {
	Verdict     string `json:"verdict"`
	Partial     bool   `json:"partial"`
	Interrupted bool   `json:"interrupted"`
},
) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(j, &doc); err != nil {
		t.Fatal(err)
	}
	return string(b), doc
}

func TestCtrlCEndsSoonWithAPartialReportAndNothingLeft(t *testing.T) {
	s := start(t, "two-clusters")
	begun := time.Now()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-s.rest
	_ = s.cmd.Wait()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %s, at most 5 s are promised", took)
	}
	if got := s.cmd.ProcessState.ExitCode(); got != exitInterrupted {
		t.Errorf("exit code %d, want %d; stderr: %s", got, exitInterrupted, s.stderr)
	}
	html, doc := reportOf(t, s.run(t))
	if doc.Verdict == "PASS" || !doc.Interrupted || !strings.Contains(html, "PARTIAL") {
		t.Errorf("report of an interrupted run: %+v", doc)
	}
	if out, code := s.again(t, "clean"); code != 0 || !strings.Contains(out, "nothing to clean") {
		t.Errorf("clean: %d: %s", code, out)
	}
}

func TestASecondCtrlCLeavesAtOnceAndTheJournalTellsClean(t *testing.T) {
	s := start(t, "two-clusters")
	for range 2 {
		if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
			break // it was faster than the second
		}
		time.Sleep(2 * time.Millisecond)
	}
	<-s.rest
	_ = s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != exitInterrupted {
		t.Errorf("exit code %d, want %d", got, exitInterrupted)
	}
	if _, code := s.again(t, "clean"); code != 0 {
		t.Errorf("clean: exit code %d", code)
	}
}

func TestKill9LeavesEvidenceThatReadsAndAJournalThatClean(t *testing.T) {
	s := start(t, "two-clusters")
	time.Sleep(time.Second)
	if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.rest
	_ = s.cmd.Wait()
	dir := s.run(t)
	if _, err := os.Stat(filepath.Join(dir, "report.html")); err == nil {
		t.Fatal("it had ended before it was killed")
	}
	if out, code := s.again(t, "report", dir); code != 0 {
		t.Fatalf("report: %d: %s", code, out)
	}
	html, doc := reportOf(t, dir)
	if doc.Verdict == "PASS" || !doc.Partial || !strings.Contains(html, "PARTIAL") {
		t.Errorf("report of a killed run: %+v", doc)
	}
	if !strings.Contains(html, "<svg") {
		t.Error("the load that was measured is not drawn")
	}
	if out, code := s.again(t, "verify", dir); code != exitInvalid {
		t.Errorf("verify: %d: %s", code, out)
	}
	if out, code := s.again(t, "clean"); code != 0 || !strings.Contains(out, "undone: create clusters") {
		t.Errorf("clean: %d: %s", code, out)
	}
	if out, _ := s.again(t, "clean"); !strings.Contains(out, "nothing to clean") {
		t.Errorf("second clean: %s", out)
	}
}
