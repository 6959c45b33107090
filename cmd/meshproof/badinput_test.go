package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"
)

// maxMemory is far below what a YAML bomb or a 10 MB scalar would cost if it were taken at its word. The binary alone
// needs about 60 MiB under the race detector.
const maxMemory = 400 << 20

// TestBadInputIsAnswered tries what new users and hostile files bring: always exit code 2, a message that names the
// file, bounded memory, and never a panic.
func TestBadInputIsAnswered(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var utf16le bytes.Buffer
	utf16le.Write([]byte{0xff, 0xfe})
	for _, u := range utf16.Encode([]rune("apiVersion: meshproof/v1alpha1\nkind: Scenario\n")) {
		utf16le.Write([]byte{byte(u), byte(u >> 8)})
	}
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		p := strings.Repeat("*a"+itoa(i-1)+",", 9)
		bomb += "a" + itoa(i) + ": &a" + itoa(i) + " [" + strings.TrimSuffix(p, ",") + "]\n"
	}
	cases := map[string]string{
		"an empty file":       write("empty.yaml", nil),
		"only white space":    write("space.yaml", []byte(" \n\t\n")),
		"only a comment":      write("comment.yaml", []byte("# nothing\n")),
		"a binary file":       write("binary.yaml", bytes.Repeat([]byte{0x7f, 'E', 'L', 'F', 0, 1, 2, 0xfe, 0xff}, 500)),
		"UTF-16":              write("utf16.yaml", utf16le.Bytes()),
		"a YAML bomb":         write("bomb.yaml", []byte(bomb)),
		"100,000 brackets":    write("brackets.yaml", bytes.Repeat([]byte("["), 100_000)),
		"100,000 braces":      write("braces.yaml", bytes.Repeat([]byte("{a: "), 100_000)),
		"100,000 dashes":      write("dashes.yaml", bytes.Repeat([]byte("- "), 100_000)),
		"a 10 MB scalar":      write("scalar.yaml", append([]byte("kind: "), bytes.Repeat([]byte("x"), 10<<20)...)),
		"a list":              write("list.yaml", []byte("- a\n- b\n")),
		"a wrong version":     write("version.yaml", []byte("apiVersion: meshproof/v9\nkind: Scenario\n")),
		"JSON of other kinds": write("other.yaml", []byte(`{"apiVersion":"v1","kind":"Pod"}`)),
		"a directory":         dir,
		"a missing file":      filepath.Join(dir, "no-such-file.yaml"),
		"a name of nothing":   "no-such-scenario",
		"an endless device":   "/dev/zero",
	}
	for name, path := range cases {
		for _, sub := range []string{"validate", "run"} {
			t.Run(sub+" "+name, func(t *testing.T) {
				t.Parallel()
				cmd := command(t, t.TempDir(), sub, path)
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				_ = cmd.Run() // the exit code is looked at below
				clearAnswer(t, cmd, stdout.String(), stderr.String(), path)
			})
		}
	}
}

func clearAnswer(t *testing.T, cmd *exec.Cmd, stdout, stderr, names string) {
	t.Helper()
	if got := cmd.ProcessState.ExitCode(); got != exitUsage {
		t.Errorf("exit code %d, want %d", got, exitUsage)
	}
	if !strings.Contains(stderr, names) {
		t.Errorf("the message does not name %s: %q", names, stderr)
	}
	if strings.Contains(stderr, "panic") || strings.Contains(stderr, "goroutine ") {
		t.Errorf("a stack trace: %s", stderr)
	}
	if len(stderr) > 20_000 || stdout != "" {
		t.Errorf("%d bytes on stderr, %d on stdout", len(stderr), len(stdout))
	}
	if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && ru.Maxrss*1024 > maxMemory {
		t.Errorf("used %d MiB", ru.Maxrss/1024)
	}
}

func itoa(i int) string { return string(rune('0'+i/10)) + string(rune('0'+i%10)) }

// TestTooFewFilesIsAnEnvironmentError allows fewer descriptors, and so sockets, than the pods need.
func TestTooFewFilesIsAnEnvironmentError(t *testing.T) {
	path, err := exec.LookPath("meshproof")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -n 40 && exec "$0" run smoke`, path)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != exitError {
		t.Errorf("exit code %d, want %d", got, exitError)
	}
	if !strings.Contains(string(out), "too few open files are allowed") || !strings.Contains(string(out), "ulimit -n") {
		t.Errorf("neither cause nor remedy: %s", out)
	}
	if strings.Contains(string(out), "goroutine ") {
		t.Errorf("a stack trace: %s", out)
	}
}
