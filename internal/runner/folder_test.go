package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEachRunGetsAFolderOfItsOwnAndLatestPointsAtTheNewest(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	now := time.Date(2026, 11, 23, 6, 30, 0, 0, time.UTC)
	for i, want := range []string{"smoke-20261123T063000Z", "smoke-20261123T063000Z-2", "smoke-20261123T063000Z-3"} {
		dir, id, err := newFolder(out, "smoke", now)
		if err != nil || id != want || dir != filepath.Join(out, want) {
			t.Fatalf("run %d: %s, %s, %v; want %s", i, dir, id, err, want)
		}
		if err := pointLatest(out, id); err != nil {
			t.Fatal(err)
		}
		if l, err := os.Readlink(filepath.Join(out, "latest")); err != nil || l != want {
			t.Fatalf("latest points at %q (%v), want %s", l, err, want)
		}
	}
}

func TestAFileOrFolderNamedLatestIsLeftAlone(t *testing.T) {
	out := t.TempDir()
	mine := filepath.Join(out, "latest")
	if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := pointLatest(out, "smoke-1"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(mine); err != nil || string(b) != "mine" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestAnOutputFolderThatCannotBeMadeIsNamedWithTheRemedy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := newFolder(filepath.Join(file, "out"), "smoke", time.Now())
	if err == nil || !strings.Contains(err.Error(), "--out") || !strings.Contains(err.Error(), file) {
		t.Fatalf("got %v", err)
	}
}
