package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"meshproof": main})
}

// TestCommandLine drives the command line as a user does.
func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", e.Getenv("WORK")+"/state")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "json": jsonIs, "layout": layoutOf},
	})
}

// exits runs a command and holds its exit code: exits CODE COMMAND ARG…
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var ee *exec.ExitError
		if !errors.As(err, &ee) {
			ts.Fatalf("%v", err)
		}
		got = ee.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// jsonIs holds fields of a file that must be one JSON document and nothing else: json FILE path.to.0.field=value…
func jsonIs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: json FILE PATH=VALUE…")
	}
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	for _, a := range args[1:] {
		path, want, _ := strings.Cut(a, "=")
		at := doc
		for _, k := range strings.Split(path, ".") {
			switch v := at.(type) {
			case map[string]any:
				at = v[k]
			case []any:
				i, err := strconv.Atoi(k)
				if err != nil || i >= len(v) {
					ts.Fatalf("%s: no element %s", path, k)
				}
				at = v[i]
			default:
				ts.Fatalf("%s: nothing at %s", path, k)
			}
		}
		if got := fmt.Sprint(at); !strings.Contains(got, want) {
			ts.Fatalf("%s is %s, want %s", path, got, want)
		}
	}
}

// command is the meshproof that testscript.Main put on the PATH, with a state folder of its own.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("meshproof", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
	return cmd
}
