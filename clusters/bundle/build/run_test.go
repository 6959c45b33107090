package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters/bundle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// workshop runs steps and remembers what was made.
type workshop struct {
	*runner
	guard sync.Mutex
	done  []string
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	return &workshop{runner: &runner{
		cache: t.TempDir(), bundle: t.TempDir(), now: time.Now, say: func(string, ...any) {},
	}}
}

// note remembers that a step was made.
func (w *workshop) note(name string) {
	w.guard.Lock()
	defer w.guard.Unlock()
	w.done = append(w.done, name)
}

// madeSince returns what was made since it was last asked, in order of names.
func (w *workshop) madeSince() []string {
	w.guard.Lock()
	defer w.guard.Unlock()
	out := slices.Sorted(slices.Values(w.done))
	w.done = nil
	return out
}

// file is a step that makes a file of its own name, of the contents of those that it needs.
func (w *workshop) file(name, input string, needs ...string) step {
	return step{name: name, inputs: []string{input}, needs: needs, make: func(_ context.Context, j job) error {
		w.note(name)
		text := input
		for _, n := range needs {
			b, err := os.ReadFile(filepath.Join(j.from[n], n))
			if err != nil {
				return err
			}
			text += "+" + string(b)
		}
		return os.WriteFile(filepath.Join(j.out, name), []byte(text), 0o644)
	}}
}

// part is a step that puts a part into the bundle.
func (w *workshop) part(name, input string, needs ...string) step {
	s := w.file(name, input, needs...)
	inner := s.make
	s.parts = []string{name}
	s.make = func(ctx context.Context, j job) error {
		if err := inner(ctx, j); err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(j.out, name))
		if err != nil {
			return err
		}
		p := bundle.Part{Name: name, Kind: bundle.Chart, Version: "1", Source: "test", File: name + ".tgz", Inputs: j.key}
		_, err = bundle.Put(ctx, j.bundle, p, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
		return err
	}
	return s
}

func TestNothingIsMadeTwiceForTheSameInputs(t *testing.T) {
	w := newWorkshop(t)
	all := func(a, b string) []step {
		return []step{w.file("a", a), w.file("b", b), w.file("ab", "x", "a", "b"), w.part("chart", "y", "ab")}
	}
	cases := []struct {
		name  string
		steps []step
		want  []string
	}{
		{"at first everything", all("1", "2"), []string{"a", "ab", "b", "chart"}},
		{"then nothing", all("1", "2"), nil},
		{"what depends on a change", all("1", "3"), []string{"ab", "b", "chart"}},
		{"on the way back only the part, which is there once", all("1", "2"), []string{"chart"}},
	}
	for _, c := range cases {
		must(t, w.run(t.Context(), c.steps))
		if got := w.madeSince(); !slices.Equal(got, c.want) {
			t.Errorf("%s: made %q, want %q", c.name, got, c.want)
		}
	}
	w.cache = t.TempDir()
	must(t, w.run(t.Context(), all("1", "2")))
	if got := w.madeSince(); got != nil {
		t.Errorf("with a whole bundle and an empty cache: made %q, want nothing", got)
	}
	must(t, w.run(t.Context(), all("1", "2")[:3]))
	if got := w.madeSince(); !slices.Equal(got, []string{"a", "ab", "b"}) {
		t.Errorf("what was named though no part needs it: made %q", got)
	}
	b, err := bundle.Open(w.bundle)
	must(t, err)
	must(t, b.Verify(t.Context()))
	if got, err := os.ReadFile(filepath.Join(w.bundle, "chart.tgz")); err != nil || string(got) != "y+x+1+2" {
		t.Errorf("the part holds %q, %v", got, err)
	}
}

func TestAPartThatWasDamagedIsMadeAnew(t *testing.T) {
	w := newWorkshop(t)
	steps := []step{w.part("chart", "a text")}
	must(t, w.run(t.Context(), steps))
	for _, damage := range []func(string) error{os.Remove, func(p string) error { return os.Truncate(p, 1) }} {
		must(t, damage(filepath.Join(w.bundle, "chart.tgz")))
		w.madeSince()
		must(t, w.run(t.Context(), steps))
		if got := w.madeSince(); !slices.Equal(got, []string{"chart"}) {
			t.Errorf("made %q, want the part", got)
		}
	}
}

func TestABuildThatFailedGoesOnWhereItWas(t *testing.T) {
	w := newWorkshop(t)
	broken := errors.New("no space left")
	steps := []step{w.file("a", "1"), w.file("b", "2", "a"), w.file("c", "3", "b")}
	good := steps[1].make
	steps[1].make = func(ctx context.Context, j job) error {
		must(t, os.WriteFile(filepath.Join(j.out, "half"), nil, 0o644))
		fmt.Fprintln(j.log, "the tool's last words")
		return broken
	}
	err := w.run(t.Context(), steps)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "b: no space left") || !strings.Contains(err.Error(), "last words") {
		t.Errorf("got %v, want the step, the failure and the end of the log", err)
	}
	if got := w.madeSince(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("before the failure %q was made, want a", got)
	}
	steps[1].make = func(ctx context.Context, j job) error {
		if left, err := os.ReadDir(j.out); err != nil || len(left) > 0 {
			t.Errorf("what the failed try left is still there: %v, %v", left, err)
		}
		return good(ctx, j)
	}
	must(t, w.run(t.Context(), steps))
	if got := w.madeSince(); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("the second time %q was made, want b and c", got)
	}
}

func TestAStopEndsTheBuildAndKeepsWhatIsFinished(t *testing.T) {
	w := newWorkshop(t)
	ctx, cancel := context.WithCancel(t.Context())
	steps := []step{w.file("a", "1"), w.file("b", "2", "a")}
	good := steps[1].make
	steps[1].make = func(ctx context.Context, _ job) error {
		cancel()
		<-ctx.Done()
		return errors.New("signal: killed")
	}
	if err := w.run(ctx, steps); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "killed") {
		t.Errorf("got %v, want the stop and not what the tool made of it", err)
	}
	w.madeSince()
	steps[1].make = good
	must(t, w.run(t.Context(), steps))
	if got := w.madeSince(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("after the stop %q was made, want b", got)
	}
}

func TestFewStepsCompileAtATimeAndOthersRunBesideThem(t *testing.T) {
	w := newWorkshop(t)
	compiling, other := make(chan struct{}, compilers), make(chan struct{})
	var steps []step
	for _, n := range []string{"a", "b", "c", "e"} {
		steps = append(steps, step{name: n, compiles: true, make: func(context.Context, job) error {
			select {
			case compiling <- struct{}{}:
				defer func() { <-compiling }()
			default:
				t.Errorf("more than %d steps compile at once", compilers)
			}
			<-other // comes only when the step that does not compile runs beside
			return nil
		}})
	}
	steps = append(steps, step{name: "d", make: func(context.Context, job) error {
		close(other)
		return nil
	}})
	must(t, w.run(t.Context(), steps))
}

func TestTwoBuildsAtOnceMakeEachStepOnce(t *testing.T) {
	w := newWorkshop(t)
	steps := []step{w.file("a", "1"), w.part("chart", "2", "a")}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := w.run(context.Background(), steps); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := w.madeSince(); !slices.Equal(got, []string{"a", "chart"}) {
		t.Errorf("made %q, want each once", got)
	}
}

func TestABuildSaysThatItWaitsForAnother(t *testing.T) {
	first, second := newWorkshop(t), newWorkshop(t)
	second.cache, second.bundle = first.cache, first.bundle
	making, waits := make(chan struct{}), make(chan struct{})
	second.say = func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); strings.Contains(line, "a: waiting for another build") {
			close(waits) // once
		}
	}
	s := first.file("a", "1")
	inner := s.make
	s.make = func(ctx context.Context, j job) error {
		close(making)
		<-waits
		return inner(ctx, j)
	}
	var group sync.WaitGroup
	group.Go(func() {
		if err := first.run(context.Background(), []step{s}); err != nil {
			t.Error(err)
		}
	})
	<-making
	must(t, second.run(t.Context(), []step{s}))
	group.Wait()
	if got := first.madeSince(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("made %q, want it once", got)
	}
}

func TestAKeyDependsOnAllInputsAndOnNothingElse(t *testing.T) {
	base := func() []step {
		return []step{
			{name: "a", inputs: []string{"x", "y"}},
			{name: "b", inputs: []string{"z"}, needs: []string{"a"}, about: "words"},
		}
	}
	first, err := keys(base())
	must(t, err)
	changes := []struct {
		name   string
		change func([]step)
		a, b   bool // does the key change?
	}{
		{"nothing", func([]step) {}, false, false},
		{"words for people", func(s []step) { s[1].about = "others" }, false, false},
		{"an input of the first", func(s []step) { s[0].inputs[0] = "w" }, true, true},
		{"inputs run together", func(s []step) { s[0].inputs = []string{"xy"} }, true, true},
		{"inputs in another order", func(s []step) { s[0].inputs = []string{"y", "x"} }, true, true},
		{"an input of the second", func(s []step) { s[1].inputs[0] = "w" }, false, true},
		{"need as input", func(s []step) { s[1].needs, s[1].inputs = nil, []string{"z", "a"} }, false, true},
	}
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			s := base()
			c.change(s)
			k, err := keys(s)
			must(t, err)
			if got := k["a"] != first["a"]; got != c.a {
				t.Errorf("a: key changed: %t, want %t", got, c.a)
			}
			if got := k["b"] != first["b"]; got != c.b {
				t.Errorf("b: key changed: %t, want %t", got, c.b)
			}
		})
	}
	for name, s := range map[string][]step{
		"needs what comes later": {{name: "a", needs: []string{"b"}}, {name: "b"}},
		"needs itself":           {{name: "a", needs: []string{"a"}}},
		"twice":                  {{name: "a"}, {name: "a"}},
	} {
		if _, err := keys(s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOnlyTakesWhatIsNamedAndWhatItNeeds(t *testing.T) {
	steps := []step{{name: "a"}, {name: "b", needs: []string{"a"}}, {name: "c"}, {name: "d", needs: []string{"b"}}}
	cases := []struct{ names, want []string }{
		{nil, []string{"a", "b", "c", "d"}},
		{[]string{"d"}, []string{"a", "b", "d"}},
		{[]string{"c", "b"}, []string{"a", "b", "c"}},
	}
	for _, c := range cases {
		got, err := only(steps, c.names)
		must(t, err)
		var names []string
		for _, s := range got {
			names = append(names, s.name)
		}
		if !slices.Equal(names, c.want) {
			t.Errorf("only %q: %q, want %q", c.names, names, c.want)
		}
	}
	if _, err := only(steps, []string{"z"}); err == nil || !strings.Contains(err.Error(), `"z"`) || !strings.Contains(err.Error(), "a, b, c, d") {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestALongStepSaysThatItGoesOn(t *testing.T) {
	w := newWorkshop(t)
	clock, tick, told := time.Unix(0, 0), make(chan time.Time), make(chan string, 1)
	w.tick, w.now = tick, func() time.Time { return clock }
	w.say = func(format string, args ...any) {
		if s := fmt.Sprintf(format, args...); strings.HasPrefix(s, "still") {
			told <- s
		}
	}
	must(t, w.run(t.Context(), []step{{name: "kubernetes", make: func(context.Context, job) error {
		clock = clock.Add(90 * time.Second)
		tick <- time.Time{}
		if got := <-told; got != "still at it: kubernetes 1m30s" {
			t.Errorf("it says %q", got)
		}
		return nil
	}}}))
}
