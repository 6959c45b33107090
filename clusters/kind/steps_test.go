package kind

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/clusters"
)

// logged is the log of a fleet while something is done, without times.
func logged(t *testing.T, do func(*fleet)) string {
	t.Helper()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "took" {
			return slog.Attr{}
		}
		return a
	}}))
	do(newFleet(clusters.Spec{ID: "abcdef", Log: log}, t.TempDir()))
	return out.String()
}

func TestTheLogSaysWhichStepOfWhichFleetWasDone(t *testing.T) {
	got := logged(t, func(f *fleet) {
		if err := f.timed("load", func() error { return nil }, "cluster", "east"); err != nil {
			t.Error(err)
		}
		if err := f.timed("connect", func() error { return errors.New("no way") }); err == nil || err.Error() != "no way" {
			t.Errorf("%v, want the step's own error", err)
		}
	})
	const want = `level=DEBUG msg="step done" fleet=abcdef cluster=east step=load
level=DEBUG msg="step failed" fleet=abcdef step=connect error="no way"
`
	if got != want {
		t.Errorf("logged %s, want %s", got, want)
	}
}

func TestKindsOwnStepsAreLoggedAsWords(t *testing.T) {
	got := logged(t, func(f *fleet) {
		log := steps{f.log}
		log.V(0).Infof(" • %s  ...\n", "Starting control-plane 🕹️")
		log.V(0).Info("")
		log.V(3).Info("what kubeadm says")
		log.Warnf("cgroup %s", "v1")
	})
	if !strings.Contains(got, `msg="Starting control-plane"`) || !strings.Contains(got, `msg="cgroup v1"`) || strings.Count(got, "\n") != 2 {
		t.Errorf("logged %s", got)
	}
}

func TestWithoutALogNothingIsSaid(t *testing.T) {
	f := newFleet(clusters.Spec{ID: "abcdef"}, t.TempDir())
	if err := f.timed("load", func() error { return nil }); err != nil {
		t.Error(err)
	}
}
