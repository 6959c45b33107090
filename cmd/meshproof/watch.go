package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/internal/telemetry"
)

// watchFlags show loads as metrics while they run.
type watchFlags struct{ metrics, remote string }

func (f *watchFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.metrics, "metrics", "", "show Prometheus metrics at this address, on /metrics, while load is sent: 127.0.0.1:9464")
	fl.StringVar(&f.remote, "remote-write", "", "write them to this URL too, by Prometheus' remote write 2.0: http://localhost:9090/api/v1/write")
}

// asked reports whether anything is to be shown.
func (f *watchFlags) asked() bool { return f.metrics != "" || f.remote != "" }

// show shows metrics until ended is called. What goes wrong with them then is said, and no more: the load is what counts.
func (f *watchFlags) show(ctx context.Context, m *telemetry.Metrics, stderr io.Writer) (ended func(), err error) {
	var stops []func() error
	ended = func() {
		m.End()
		for _, stop := range stops {
			if err := stop(); err != nil {
				fmt.Fprintln(stderr, "meshproof:", err)
			}
		}
	}
	if f.remote != "" {
		stop, err := m.Write(f.remote)
		if err != nil {
			return nil, err
		}
		stops = append(stops, stop)
	}
	if f.metrics != "" {
		at, stop, err := m.Serve(ctx, f.metrics)
		if err != nil {
			ended()
			return nil, withCode(exitError, err)
		}
		stops = append(stops, stop)
		fmt.Fprintf(stderr, "metrics: http://%s/metrics\n", at)
	}
	return ended, nil
}

// runWatch shows the loads of runs, one after the other.
type runWatch struct {
	metrics *telemetry.Metrics
	run     *telemetry.Run
}

// begin is runner.Options.Watch.
func (w *runWatch) begin(m *evidence.Manifest) evidence.Sink {
	w.run = w.metrics.Run(m)
	return w.run
}

// update takes what the runner's Observe is told.
func (w *runWatch) update(u runner.Update) {
	switch {
	case w.run == nil:
	case u.Step != runner.StepLoad:
		w.run.Idle()
	default:
		for _, p := range u.Load {
			w.run.Progress(u.Trial, p)
		}
	}
}

// end says that the run is over.
func (w *runWatch) end() {
	if w.run != nil {
		w.run.Close()
	}
	w.run = nil
}
