package kind

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	kindlog "sigs.k8s.io/kind/pkg/log"
)

// timed does one step and logs how long it took.
func (f *fleet) timed(step string, do func() error, about ...any) error {
	began := time.Now()
	err := do()
	log := f.log.With(about...).With("step", step, "took", time.Since(began).Round(time.Millisecond))
	if err != nil {
		log.Debug("step failed", "error", err)
		return err
	}
	log.Debug("step done")
	return nil
}

// steps is the log of kind's library, whose messages at its lowest level are the steps of making a cluster: it writes
// them down with their times.
type steps struct{ log *slog.Logger }

var _ kindlog.Logger = steps{}

func (s steps) Warn(message string)            { s.Info(message) }
func (s steps) Warnf(format string, a ...any)  { s.Infof(format, a...) }
func (s steps) Error(message string)           { s.Info(message) } // what fails is returned as an error, too
func (s steps) Errorf(format string, a ...any) { s.Infof(format, a...) }
func (s steps) Enabled() bool                  { return true }
func (s steps) Infof(format string, a ...any)  { s.Info(fmt.Sprintf(format, a...)) }

func (s steps) Info(message string) {
	// Marks and pictures are for terminals.
	words := strings.TrimFunc(message, func(r rune) bool { return r > 0x7f || r == ' ' || r == '\n' || r == '.' })
	if words != "" {
		s.log.Debug(words)
	}
}

// V implements kindlog.Logger.
func (s steps) V(level kindlog.Level) kindlog.InfoLogger {
	if level > 0 {
		return kindlog.NoopInfoLogger{}
	}
	return s
}
