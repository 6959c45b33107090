package journal

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func intend(t *testing.T, j *Journal, what string) func() error {
	t.Helper()
	settle, err := j.Intend(what, map[string]string{"secret": "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	return settle
}

func leftovers(t *testing.T, dir string) []Leftover {
	t.Helper()
	ls, err := Leftovers(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

func TestASettledRunLeavesNoJournalAndARedactedCopy(t *testing.T) {
	dir, cp := t.TempDir(), filepath.Join(t.TempDir(), "journal.jsonl")
	j, err := Open(dir, "run", "embedded")
	if err != nil {
		t.Fatal(err)
	}
	if err := intend(t, j, "create clusters")(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(cp); err != nil {
		t.Fatal(err)
	}
	if ls := leftovers(t, dir); len(ls) != 0 {
		t.Fatalf("left: %+v", ls)
	}
	b, err := os.ReadFile(cp)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "create clusters") || strings.Contains(string(b), "hunter2") {
		t.Fatalf("copy: %s", b)
	}
}

func TestUnsettledChangesAreLeftNewestFirst(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir, "run", "embedded")
	if err != nil {
		t.Fatal(err)
	}
	intend(t, j, "one")
	settle := intend(t, j, "two")
	intend(t, j, "three")
	if err := settle(); err != nil {
		t.Fatal(err)
	}
	if ls := leftovers(t, dir); len(ls) != 1 || !ls[0].Running {
		t.Fatalf("the journal of a living run must be seen as such: %+v", ls)
	}
	if err := j.Close(""); err != nil {
		t.Fatal(err)
	}
	ls := leftovers(t, dir)
	if len(ls) != 1 || ls[0].Running || len(ls[0].Intents) != 2 || ls[0].Intents[0].What != "three" || ls[0].Intents[1].What != "one" {
		t.Fatalf("left: %+v", ls)
	}
	st, err := os.Stat(ls[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", st.Mode())
	}
	if err := ls[0].Remove(); err != nil {
		t.Fatal(err)
	}
}

// TestHelper is the process that the next test kills.
func TestHelper(t *testing.T) {
	dir := os.Getenv("MESHPROOF_TEST_JOURNAL")
	if dir == "" {
		t.Skip("runs only as the child of TestKillReleasesTheLock")
	}
	j, err := Open(dir, "child", "embedded")
	if err != nil {
		t.Fatal(err)
	}
	intend(t, j, "change")
	time.Sleep(time.Minute)
}

func TestKillReleasesTheLockAndLeavesTheIntent(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), "MESHPROOF_TEST_JOURNAL="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ls := leftovers(t, dir); len(ls) == 1 && len(ls[0].Intents) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the child never wrote its intent")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	ls := leftovers(t, dir)
	if len(ls) != 1 || ls[0].Running || len(ls[0].Intents) != 1 || ls[0].Intents[0].What != "change" || ls[0].Driver != "embedded" {
		t.Fatalf("left: %+v", ls)
	}
}
