package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/internal/alone"
	"github.com/meshproof/meshproof/internal/telemetry"
	"github.com/meshproof/meshproof/internal/workers"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/reports"
	"github.com/meshproof/meshproof/reports/chart"
	"github.com/meshproof/meshproof/scenarios"
)

// stopLoad is what stopping a load means.
var stopLoad = stopping{
	"stopping: nothing more is sent, answers are awaited for a moment (once more to leave at once)",
	"left at once",
}

// loadFlags are the flags of load.
type loadFlags struct {
	profile  string
	rate     float64
	duration time.Duration
	headers  []string
	body     string
	bodyFile string
	expect   string
	output   string
	html     string
	watch    watchFlags

	alone.Options
}

func newLoad() *cobra.Command {
	var f loadFlags
	cmd := &cobra.Command{
		Use:   "load URL",
		Short: "Send a load to a URL, and say how it was answered and whether the figures can be believed",
		Long: `Send a load to a URL with the generator alone. Each request has a time for which it is meant, whatever became of
those before it, and its latency counts from then. What the generator may have done itself is INVALID.

` + scenarios.ProfileSyntax + `

Exit codes: 0 every budget of --expect was kept or, where there is none, the figures can be believed; 1 a budget was
broken; 2 usage, nothing was sent; 3 the load was not as asked for, or its figures may be the generator's own; 4 the
environment failed; 130 stopped.`,
		Example: `  meshproof load http://localhost:8080/
  meshproof load https://shop.test/cart --profile 'ramp:0..200,30s + constant:200,1m' --expect 'p99<50ms,errors<1%' --html load.html`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := takes(1, 1)(cmd, args); err != nil {
				return err
			}
			f.URL = args[0]
			if err := f.complete(cmd); err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context(), cmd.ErrOrStderr(), stopLoad)
			defer stop()
			return f.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.profile, "profile", "", "what to send when (default constant, --rate for --duration)")
	fl.Float64Var(&f.rate, "rate", 50, "requests per second, in place of --profile")
	fl.DurationVar(&f.duration, "duration", 10*time.Second, "for how long, in place of --profile")
	fl.Float64Var(&f.MaxRate, "max-rate", 1000, "refuse a profile that asks for more requests per second")
	fl.StringVarP(&f.Method, "method", "X", http.MethodGet, "HTTP method")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, `a header, "Name: value"; may be given several times`)
	fl.StringVar(&f.body, "body", "", "body of every request")
	fl.StringVar(&f.bodyFile, "body-file", "", "file with the body of every request")
	fl.DurationVar(&f.Timeout, "timeout", 5*time.Second, "time after which a request has failed")
	fl.IntVar(&f.Connections, "connections", 1000, "most requests under way, in HTTP/1.1 and over TCP each on a connection of its own; what is beyond waits, and its latency counts from when it was due")
	fl.StringVar((*string)(&f.Protocol), "protocol", "", "http1, http2 (without TLS by prior knowledge), or grpc: calls to the method in the URL's path, whose message is the body (default http1; tcp://host:port as URL sends lines)")
	fl.IntVar(&f.Messages, "messages", 1, "of a gRPC call: how many times it sends its message, a stream, before it ends its side; 1 to 10000")
	fl.BoolVar(&f.TLS.Insecure, "insecure", false, "do not check the server's certificate")
	fl.StringVar(&f.TLS.CA, "cacert", "", "file with the roots to check it by")
	fl.StringVar(&f.TLS.Cert, "cert", "", "file with a client certificate")
	fl.StringVar(&f.TLS.Key, "key", "", "file with its key")
	fl.StringVar(&f.TLS.ServerName, "server-name", "", "name that the server's certificate must have (default: the URL's)")
	fl.StringVar(&f.Host, "host", "", "Host header (default: the URL's)")
	fl.IntVar(&f.Workers, "workers", 1, "processes that send the load together, 1 to 64; each sends its part of the same requests")
	fl.IntVar(&f.Sessions, "sessions", 0, "deal the requests to so many sessions, each with connections and cookies of its own (default none; http1 alone)")
	fl.Int64Var(&f.Seed, "seed", 1, "seed of what is left to chance")
	fl.StringVar(&f.expect, "expect", "", "budgets over the whole load: p99<50ms,errors<1% (p50, p90, p99, p99.9, max, errors)")
	fl.StringVar(&f.output, "output", "text", "text, or json: one JSON document on stdout and nothing else (schema: meshproof schema load)")
	fl.StringVar(&f.html, "html", "", "also write one HTML page that needs nothing else")
	f.watch.add(cmd)
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// workerCommand is the command that a worker of a load is. Nobody types it.
const workerCommand = "load-worker"

func newLoadWorker() *cobra.Command {
	return &cobra.Command{
		Use:    workerCommand,
		Short:  "Send a part of a load, as told by standard input",
		Hidden: true,
		Args:   takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := workers.Work(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), nil); err != nil {
				return withCode(exitError, err)
			}
			return nil
		},
	}
}

// worker makes processes of this program that are workers.
func worker(stderr io.Writer) (func() *exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, withCode(exitError, fmt.Errorf("finding this program for its workers: %w", err))
	}
	return func() *exec.Cmd {
		w := exec.Command(self, workerCommand)
		w.Stderr = stderr
		return w
	}, nil
}

// complete turns flags into options.
func (f *loadFlags) complete(cmd *cobra.Command) error {
	f.Version = version
	if cmd.Flags().Changed("sessions") && f.Sessions < 1 {
		return fmt.Errorf("--sessions %d: want 1 or more", f.Sessions)
	}
	if f.Workers < 1 {
		return fmt.Errorf("--workers %d: want 1 or more", f.Workers)
	}
	var err error
	if f.Worker, err = worker(cmd.ErrOrStderr()); err != nil {
		return err
	}
	if f.output != "text" && f.output != "json" {
		return fmt.Errorf("--output %q is not known: text or json", f.output)
	}
	text := f.profile
	switch {
	case text == "":
		text = fmt.Sprintf("constant:%g,%s", f.rate, f.duration)
	case cmd.Flags().Changed("rate"), cmd.Flags().Changed("duration"):
		return errors.New("--profile says rate and duration: leave --rate and --duration out")
	}
	if f.Profile, err = scenarios.ParseProfile(text); err != nil {
		return err
	}
	f.Header = http.Header{}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return fmt.Errorf(`--header %q is not of the form "Name: value"`, h)
		}
		if name = strings.TrimSpace(name); strings.EqualFold(name, "host") {
			return errors.New("--header Host: use --host")
		}
		f.Header.Add(name, strings.TrimSpace(value))
	}
	if f.body != "" && f.bodyFile != "" {
		return errors.New("--body and --body-file are two bodies: give one")
	}
	f.Body = []byte(f.body)
	if f.bodyFile != "" {
		if f.Body, err = os.ReadFile(f.bodyFile); err != nil {
			return fmt.Errorf("--body-file %s: %w", f.bodyFile, cause(err))
		}
	}
	if f.expect != "" {
		if f.Expect, err = alone.ParseExpect(f.expect); err != nil {
			return fmt.Errorf("--expect: %w", err)
		}
	}
	return nil
}

// run sends the load and shows what became of it.
func (f *loadFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	show := stdout
	if f.output == "json" {
		show = stderr
	}
	line := newLoadLine(show, f.Profile.Length().D())
	progress, ended, err := f.watched(ctx, stderr, line.update)
	if err != nil {
		return err
	}
	l, err := alone.Run(ctx, f.Options, progress)
	line.close()
	ended()
	if err != nil {
		if errors.Is(err, alone.ErrUsage) {
			return err
		}
		return withCode(exitError, err)
	}
	if f.html != "" {
		if err := writeHTML(f.html, l); err != nil {
			return withCode(exitError, err)
		}
	}
	if f.output == "json" {
		if err := l.JSON(stdout); err != nil {
			return withCode(exitError, err)
		}
	} else {
		printLoad(stdout, l)
		if f.html != "" {
			fmt.Fprintf(stdout, "  page     %s\n", f.html)
		}
	}
	if l.Interrupted {
		return withCode(exitInterrupted, nil)
	}
	if code := codeOfVerdict(l.Verdict); code != exitPass {
		return withCode(code, nil)
	}
	return nil
}

// watched shows the load as metrics while it runs, where that is asked for.
func (f *loadFlags) watched(ctx context.Context, stderr io.Writer, progress func(loadgen.Progress)) (told func(loadgen.Progress), ended func(), err error) {
	if !f.watch.asked() {
		return progress, func() {}, nil
	}
	m := telemetry.New()
	f.Taps = append(f.Taps, m)
	ended, err = f.watch.show(ctx, m, stderr)
	return func(p loadgen.Progress) {
		m.Progress(p)
		progress(p)
	}, ended, err
}

func writeHTML(name string, l *reports.Load) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, cause(err))
	}
	if err := errors.Join(l.HTML(file), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, cause(err))
	}
	return nil
}

// printLoad writes the report as text.
func printLoad(w io.Writer, l *reports.Load) {
	fmt.Fprintf(w, "%s  %s %s: %s\n", l.Verdict, l.Method, l.URL, l.Message)
	if l.Whole == nil {
		return
	}
	fmt.Fprintf(w, "  requests %d planned, %d sent in time, %d done, %d failed (%s)\n", l.Whole.Offered, l.Whole.Achieved, l.Whole.Done, l.Whole.Errors, l.Whole.CodeLine())
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  latency\tp50\tp90\tp99\tp99.9\tmax")
	row := func(name string, q map[string]int64) {
		if q == nil {
			return
		}
		fmt.Fprintf(tw, "  %s", name)
		for _, k := range []string{"p50", "p90", "p99", "p999", "max"} {
			fmt.Fprintf(tw, "\t%s", chart.Micros(float64(q[k])))
		}
		fmt.Fprintln(tw)
	}
	for _, p := range l.Phases {
		if len(l.Phases) > 1 {
			row(p.Phase, p.Intended)
		}
	}
	row("from the intended time", l.Whole.Intended)
	row("from the sending", l.Whole.Service)
	row("send lag", l.Whole.Lag)
	_ = tw.Flush() // what it writes to remembers that it failed
	for _, c := range l.Checks {
		if c.Verdict != "PASS" {
			fmt.Fprintf(w, "  %s  %s: %s\n", c.Verdict, c.ID, c.Message)
		}
	}
}

// loadLine shows a load under way: one line that is written anew on a terminal, one a second elsewhere.
type loadLine struct {
	w     io.Writer
	live  bool
	total time.Duration
	next  time.Time
}

func newLoadLine(w io.Writer, total time.Duration) *loadLine {
	return &loadLine{w: w, live: terminal(w) != nil, total: total}
}

func (v *loadLine) update(p loadgen.Progress) {
	now := time.Now()
	if !v.live && now.Before(v.next) {
		return
	}
	v.next = now.Add(lineEvery)
	text := fmt.Sprintf("%5.1fs of %s  %s  %.0f/s of %.0f/s  p99 %s  errors %.1f%%  %d under way", p.Elapsed.Seconds(), v.total, p.Phase,
		p.AchievedRate, p.OfferedRate, chart.Micros(float64(p.P99.Microseconds())), 100*p.ErrorRate, p.InFlight)
	if !v.live {
		fmt.Fprintln(v.w, text)
		return
	}
	if r, width := []rune(text), columns(v.w); len(r) > width-1 {
		text = string(r[:width-1])
	}
	fmt.Fprintf(v.w, "\r\x1b[K%s", text) // EL (ECMA-48)
}

// close clears the line.
func (v *loadLine) close() {
	if v.live {
		fmt.Fprint(v.w, "\r\x1b[K")
	}
}
