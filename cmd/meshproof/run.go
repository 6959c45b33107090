package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/internal/journal"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/internal/telemetry"
	"github.com/meshproof/meshproof/reports"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// runFlags are the flags of run.
type runFlags struct {
	driver  string
	meshes  []string
	blocks  int
	out     string
	seed    int64
	output  string
	verbose bool
	bundle  string
	keep    bool
	reuse   bool
	pull    bool
	workers int
	watch   watchFlags

	versions versionFlags
}

// onlyKind are the flags that mean something on real clusters alone.
var onlyKind = []string{"keep", "reuse", "bundle", "pull", "istio-version", "linkerd-version"}

// meshNames are the names that --mesh takes.
var meshNames = []string{"none", "istio", "linkerd", "layered"}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run FILE|NAME…",
		Short: "Run scenarios and judge them",
		Long: `Run scenarios, from files or by name from the library (see "meshproof list"), one after
the other. Each leaves a folder <out>/<scenario>-<UTC time> with report.html, report.json,
junit.xml, summary.md and the evidence; <out>/latest points at the newest.`,
		Example: "  meshproof run two-clusters\n  meshproof run my.yaml --mesh istio --blocks 6 --seed 7",
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx, stop := interruptible(cmd.Context(), cmd.ErrOrStderr(), stopRun)
			defer stop()
			return run(cmd.OutOrStdout(), f, func(doc *document) error {
				if err := takes(1, -1)(cmd, names); err != nil {
					return err
				}
				if cmd.Flags().Changed("blocks") && (f.blocks < 1 || f.blocks > scenarios.MaxBlocks) {
					return fmt.Errorf("--blocks %d: must be between 1 and %d", f.blocks, scenarios.MaxBlocks)
				}
				if f.workers < 1 {
					return fmt.Errorf("--workers %d: want 1 or more", f.workers)
				}
				if err := f.real(cmd); err != nil {
					return err
				}
				return runAll(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), names, f, doc)
			})
		},
		ValidArgsFunction: completeScenarios,
	}
	fl := cmd.Flags()
	fl.StringVar(&f.driver, "driver", "embedded", "where the clusters live: embedded (in this process, modelled data planes), or kind (in Docker, real)")
	fl.StringSliceVar(&f.meshes, "mesh", nil, "run only these of the scenario's meshes")
	fl.IntVar(&f.blocks, "blocks", 0, fmt.Sprintf("how often every mesh runs, 1 to %d (default: the scenario's own)", scenarios.MaxBlocks))
	fl.StringVar(&f.out, "out", "out", "folder for the runs' folders")
	fl.Int64Var(&f.seed, "seed", 1, "seed of schedule, fault targets, requests and the models' draws")
	fl.StringVar(&f.output, "output", "text", "text, or json: one JSON document on stdout and nothing else")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "the run's log on stderr too")
	fl.BoolVar(&f.keep, "keep", false, "leave the clusters of the last trial standing, reset, with their kubeconfigs (driver kind)")
	fl.BoolVar(&f.reuse, "reuse", false, "take kept clusters that fit, after a check that nothing of them has drifted; with --keep from trial to trial (driver kind)")
	bundleFlag(fl, "bundle", &f.bundle)
	fl.BoolVar(&f.pull, "pull", false, "first pull what the bundle lacks for these meshes, from image registries and chart repositories (driver kind)")
	fl.IntVar(&f.workers, "workers", 1, "processes that send each traffic together, 1 to 64, each its part of the same requests: of this host, or, of traffic from a pod, in that pod (driver kind)")
	f.watch.add(cmd)
	f.versions.add(fl)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if asksJSON(os.Args[1:]) { // whoever asked for a document gets one, also about a flag beside it
			f.output = "json"
		}
		return run(cmd.OutOrStdout(), f, func(*document) error { return badFlag(cmd, err) })
	})
	must(cmd.RegisterFlagCompletionFunc("driver", cobra.FixedCompletions(drivers, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("mesh", cobra.FixedCompletions(meshNames, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// real refuses flags about real clusters on the embedded driver.
func (f *runFlags) real(cmd *cobra.Command) error {
	for _, name := range onlyKind {
		if f.driver == "embedded" && cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s is about real clusters, and those of driver embedded end with the run: use it with --driver kind", name)
		}
	}
	return nil
}

// document is what --output json prints.
type document struct {
	ExitCode int       `json:"exitCode"`
	Error    string    `json:"error,omitempty"`
	Runs     []runDone `json:"runs"`
}

type runDone struct {
	Dir    string          `json:"dir"`
	Report *reports.Report `json:"report"`
	Kept   *clusters.Kept  `json:"kept,omitempty"`
	Notes  []string        `json:"notes,omitempty"`
}

// asksJSON reports whether a command line that could not be parsed asks for --output json.
func asksJSON(args []string) bool {
	for i, a := range args {
		if a == "--output=json" || a == "--output" && i+1 < len(args) && args[i+1] == "json" {
			return true
		}
	}
	return false
}

// run does the work and, with --output json, writes the one document about it, however it ended.
func run(stdout io.Writer, f runFlags, work func(*document) error) error {
	if f.output != "text" && f.output != "json" {
		return fmt.Errorf("--output %q is not known: text or json", f.output)
	}
	doc := document{Runs: []runDone{}}
	err := work(&doc)
	if f.output == "json" {
		doc.ExitCode = codeOf(err)
		if err != nil {
			doc.Error = err.Error()
		}
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if jerr := enc.Encode(doc); jerr != nil {
			return withCode(exitError, errors.Join(err, fmt.Errorf("writing to stdout: %w", cause(jerr))))
		}
	}
	return err
}

func runAll(ctx context.Context, stdout, stderr io.Writer, args []string, f runFlags, doc *document) error {
	p, err := provider(f.driver, f.bundle, f.versions.asked())
	if err != nil {
		return err
	}
	if f.pull {
		if err := pullFor(ctx, p, args, f, stderr); err != nil {
			return err
		}
	}
	// Everything is read before anything is started: a typo in the last file must not cost an hour of the first ones.
	list, err := loadAll(p, args, f)
	if err != nil {
		return err
	}
	if f.driver == kind.Driver {
		if err := canRun(ctx, list, f); err != nil {
			return err
		}
	}
	dir, err := journal.Dir()
	if err != nil {
		return withCode(exitError, err)
	}
	show, progress := stdout, io.Writer(nil)
	if f.output == "json" {
		show = io.Discard
		progress = stderr
	} else {
		progress = stdout
	}
	o := runner.Options{
		Provider: p, Named: len(f.meshes) > 0, Out: f.out, Journal: dir, Seed: f.seed, Version: version,
		Command: append([]string{"meshproof"}, os.Args[1:]...), Keep: f.keep, Reuse: f.reuse,
	}
	if f.verbose {
		o.Log = stderr
	}
	if o.Workers = f.workers; o.Workers > 1 {
		if o.Worker, err = worker(stderr); err != nil {
			return err
		}
	}
	watch := runWatch{metrics: telemetry.ForRuns()}
	if f.watch.asked() {
		ended, err := f.watch.show(ctx, watch.metrics, stderr)
		if err != nil {
			return err
		}
		defer ended()
		o.Watch = watch.begin
	}
	code := exitPass
	for i, s := range list {
		o.Scenario, o.More = s, i < len(list)-1
		view := newView(progress, s.Metadata.Name)
		o.Observe = func(u runner.Update) {
			view.update(u)
			watch.update(u)
		}
		out, err := runner.Run(ctx, o)
		view.close()
		watch.end()
		if err != nil {
			if errors.Is(err, runner.ErrUsage) {
				return err
			}
			return withCode(exitError, err)
		}
		doc.Runs = append(doc.Runs, runDone{out.Dir, out.Report, out.Kept, out.Notes})
		printResult(show, out.Dir, s.Metadata.Name, out.Result)
		printKept(show, out)
		if f.output == "json" && out.Result.Verdict == verify.Error { // whoever looks at the screen sees why, too
			fmt.Fprintf(stderr, "%s: %s\n", s.Metadata.Name, out.Result.Message)
		}
		code = worse(code, exitOf(out.Result))
		if ctx.Err() != nil { // also where this run was whole by then: what was to come did not run
			code = exitInterrupted
			break
		}
	}
	if f.driver == "embedded" && ctx.Err() == nil {
		fmt.Fprintln(show, kindNeeds())
	}
	if code != exitPass {
		return withCode(code, nil)
	}
	return nil
}

// loadAll reads and narrows every scenario, and reports all of their errors at once.
func loadAll(p clusters.Provider, args []string, f runFlags) ([]*scenarios.Scenario, error) {
	var list []*scenarios.Scenario
	var errs []error
	for _, a := range args {
		s, err := load(p, a, f.meshes...)
		if err == nil {
			err = errors.Join(narrow(s, f), topology(a, s, p, f.keep))
		}
		errs = append(errs, err)
		list = append(list, s)
	}
	return list, errors.Join(errs...)
}

// topology makes sure that the driver can make the clusters of a scenario, given as arg.
func topology(arg string, s *scenarios.Scenario, p clusters.Provider, keep bool) error {
	if err := runner.CheckTopology(s, p, keep); err != nil {
		return fmt.Errorf("%s: %w", arg, err)
	}
	return nil
}

// narrow applies --mesh and --blocks to a scenario.
func narrow(s *scenarios.Scenario, f runFlags) error {
	if f.blocks > 0 {
		s.Spec.Blocks = f.blocks
	}
	if len(f.meshes) == 0 {
		return nil
	}
	var names []string
	for _, m := range s.Spec.Meshes {
		names = append(names, string(m.Name))
	}
	for _, m := range f.meshes {
		if later := scenarios.ReservedMesh(m); later != "" {
			return fmt.Errorf("--mesh %s is not in this version: %s: %s has %s", m, later, s.Metadata.Name, strings.Join(names, ", "))
		}
		if !slices.Contains(names, m) {
			return fmt.Errorf("--mesh %s: %s has only %s (a mesh to compare stands under spec.meshes)", m, s.Metadata.Name, strings.Join(names, ", "))
		}
	}
	s.Spec.Meshes = slices.DeleteFunc(s.Spec.Meshes, func(m scenarios.MeshEntry) bool {
		return !slices.Contains(f.meshes, string(m.Name))
	})
	return nil
}

// completeScenarios offers the library's names beside files.
func completeScenarios(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, e := range scenarios.Library() {
		names = append(names, e.Name+"\t"+e.Description)
	}
	return names, cobra.ShellCompDirectiveDefault
}

// must is for mistakes in this package's own tables.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
