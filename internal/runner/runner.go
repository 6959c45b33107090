package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/faults"
	"github.com/meshproof/meshproof/internal/journal"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/reports"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// Options say what to run. All fields but Log and Observe are needed.
type Options struct {
	Scenario *scenarios.Scenario // with defaults filled in
	Provider clusters.Provider
	Out      string // folder in which the run's own folder is made
	Journal  string // folder of journals
	Seed     int64
	Version  string   // of meshproof
	Command  []string // the command line, for the report
	Log      io.Writer
	Observe  func(Update) // called for every change worth showing, never concurrently
	// Keep leaves the clusters of the last trial standing, with nothing of the scenario on them. Where other runs follow
	// this one (More), only those of a run that was interrupted.
	Keep, More bool
	// Named says that the scenario's meshes were asked for by name: one that cannot run here is refused. Otherwise its
	// trials are skipped, unless all would be.
	Named bool
	// Workers is how many processes send each traffic together; 0 and 1: one. Worker makes a process of this host that calls
	// workers.Work with its standard input and output.
	Workers int
	Worker  func() *exec.Cmd
	// Watch, unless nil, is told of a run before its first trial, and gives who sees the ticks and phases of its loads as they
	// are recorded. It must not hold them up.
	Watch func(*evidence.Manifest) evidence.Sink
	// Reuse takes kept clusters where some fit; with Keep, every trial leaves its clusters for the next one.
	Reuse bool
}

// Outcome is what a run left.
type Outcome struct {
	Dir    string
	Report *reports.Report
	Result *verify.Result
	Kept   *clusters.Kept // what Options.Keep left; nil where nothing stands
	Notes  []string       // what became of Keep and Reuse where it is not what was asked for, one sentence each
}

// ErrUsage is wrapped by errors about what was asked for: nothing was started.
var ErrUsage = errors.New("nothing was started")

// ErrEnvironment is wrapped by errors of the host that leave no verdict: a full disk, a lost output folder.
var ErrEnvironment = errors.New("the environment failed")

// Check finds out, before anything is started, whether the driver can apply what a mesh entry of the scenario needs.
func Check(s *scenarios.Scenario, e scenarios.MeshEntry, p clusters.Provider) error {
	for _, c := range s.Spec.Topology.Clusters {
		objs, err := Objects(s, e, clusters.Build{}, c.Name)
		if err == nil {
			err = p.Check(string(e.Name), objs)
		}
		if err != nil {
			return err // the other clusters would say the same
		}
	}
	return checkLoads(s, e, p, 1)
}

// checkLoads finds out whether the scenario's traffic can be sent in a mesh by so many processes.
func checkLoads(s *scenarios.Scenario, e scenarios.MeshEntry, p clusters.Provider, workers int) error {
	for i, tr := range s.Spec.Traffic {
		if err := p.CheckLoad(string(e.Name), tr, workers); err != nil {
			return fmt.Errorf("spec.traffic[%d]: %w", i, err)
		}
	}
	return nil
}

// checked is what the driver says of each of the scenario's meshes: why it cannot run it, or nil. Each is rendered once.
type checked map[scenarios.MeshName]error

func check(s *scenarios.Scenario, p clusters.Provider) checked {
	all := checked{}
	for _, e := range s.Spec.Meshes {
		all[e.Name] = Check(s, e, p)
	}
	return all
}

// notPossible names the meshes that the driver is known to have no means for, each with the reason. They are skipped:
// their other errors are the driver's, too.
func (c checked) notPossible() map[string]string {
	reasons := map[string]string{}
	for mesh, err := range c {
		if errors.Is(err, clusters.ErrNotPossible) {
			reasons[string(mesh)] = err.Error()
		}
	}
	return reasons
}

// CheckTopology finds out, before anything is started, whether the driver can make the scenario's clusters and the network
// between them, and keep them where that is asked for. Meshes that it has no means for are left out.
func CheckTopology(s *scenarios.Scenario, p clusters.Provider, keep bool) error {
	return checkTopology(s, p, keep, check(s, p).notPossible())
}

func checkTopology(s *scenarios.Scenario, p clusters.Provider, keep bool, skip map[string]string) error {
	for _, e := range s.Spec.Meshes {
		if skip[string(e.Name)] != "" {
			continue
		}
		spec := topology(s)
		spec.Mesh, spec.Keep = string(e.Name), keep
		if err := p.CheckTopology(spec); err != nil {
			return fmt.Errorf("spec.topology: %w", err)
		}
	}
	return nil
}

// Objects renders what one cluster needs for one mesh entry of a scenario, in the driver's build of the mesh.
func Objects(s *scenarios.Scenario, e scenarios.MeshEntry, b clusters.Build, cluster string) ([]clusters.Object, error) {
	m, err := meshes.ByName(e.Name)
	if err != nil {
		return nil, err
	}
	return meshes.RenderFor(m, e, s, b, cluster)
}

// Install is what the control plane of one cluster is installed from for one mesh entry of a scenario.
func Install(s *scenarios.Scenario, e scenarios.MeshEntry, b clusters.Build, cluster string) (clusters.Installation, error) {
	m, err := meshes.ByName(e.Name)
	if err != nil {
		return clusters.Installation{}, err
	}
	return meshes.Install(m, e, s, b, cluster), nil
}

// Tools are what is installed in each cluster to carry the scenario's faults out.
func Tools(s *scenarios.Scenario) []clusters.Release { return faults.Tools(s) }

// run is one run under way.
type run struct {
	Options
	skip    map[string]string         // why a mesh cannot run here, by mesh
	builds  map[string]clusters.Build // by mesh
	dir     string
	id      string
	log     *slog.Logger
	writer  *evidence.Writer
	watch   evidence.Sink // of loads; may be nil
	journal *journal.Journal
	board   *board
	kept    *clusters.Kept // of the last trial
	notes   []string

	doing string    // the step of the trial that is under way
	since time.Time // when it began
}

// Run runs the scenario and leaves a folder with evidence, verdicts and reports. When ctx ends, load and faults are
// stopped and undone, and what there is by then is judged and reported as partial. An error says that there is no
// outcome; it wraps ErrUsage or ErrEnvironment.
func Run(ctx context.Context, o Options) (*Outcome, error) {
	if _, ok := o.Provider.(clusters.Keeper); !ok && (o.Keep || o.Reuse) {
		return nil, fmt.Errorf("%w: the clusters of driver %s end with the process: only those of driver kind can be kept and reused", ErrUsage, o.Provider.Driver())
	}
	able := check(o.Scenario, o.Provider)
	skip := able.notPossible()
	if err := checkTopology(o.Scenario, o.Provider, o.Keep, skip); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	for _, e := range o.Scenario.Spec.Meshes {
		_, skipped := skip[string(e.Name)]
		if skipped && !o.Named && len(skip) < len(o.Scenario.Spec.Meshes) {
			continue
		}
		if err := able[e.Name]; err != nil {
			return nil, fmt.Errorf("%w: mesh %s: %w", ErrUsage, e.Name, err)
		}
		if err := checkWorkers(o, e); err != nil {
			return nil, fmt.Errorf("%w: mesh %s: %w", ErrUsage, e.Name, err)
		}
	}
	builds, flavors, components := map[string]clusters.Build{}, map[string]string{}, map[string]string{}
	proxies := map[string]map[string]string{}
	for _, e := range o.Scenario.Spec.Meshes {
		if skip[string(e.Name)] != "" {
			continue
		}
		b, err := o.Provider.Build(string(e.Name))
		if err != nil {
			return nil, fmt.Errorf("%w: mesh %s: %w", ErrEnvironment, e.Name, err)
		}
		for _, c := range o.Scenario.Spec.Topology.Clusters {
			if _, err := Objects(o.Scenario, e, b, c.Name); err != nil {
				return nil, fmt.Errorf("%w: mesh %s: %w", ErrUsage, e.Name, err)
			}
		}
		builds[string(e.Name)] = b
		if b.Flavor != "" {
			flavors[string(e.Name)] = b.Flavor
		}
		maps.Copy(components, b.Components)
		if len(b.Proxies) > 0 {
			proxies[string(e.Name)] = b.Proxies
		}
		if b.Joined != "" && len(o.Scenario.Spec.Topology.Clusters) > 1 {
			components["clusters of mesh "+string(e.Name)] = "joined by " + b.Joined
		}
	}
	doc, err := json.Marshal(o.Scenario)
	if err != nil {
		return nil, fmt.Errorf("%w: encoding the scenario: %w", ErrUsage, err)
	}
	started := time.Now()
	dir, id, err := newFolder(o.Out, o.Scenario.Metadata.Name, started)
	if full(err) {
		return nil, fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	names := make([]string, len(o.Scenario.Spec.Meshes))
	for i, m := range o.Scenario.Spec.Meshes {
		names[i] = string(m.Name)
	}
	manifest := evidence.Manifest{
		RunID: id, Version: o.Version, GoVersion: runtime.Version(), Started: started.UTC(), Seed: o.Seed,
		Driver: o.Provider.Driver(), Models: o.Provider.Models(), Modelled: len(o.Provider.Models()) > 0,
		Host: host(), Order: order(names, o.Scenario.Spec.Blocks, o.Seed), Scenario: doc, Command: o.Command,
		Flavors: flavors, Components: components, Proxies: proxies, MaySkip: !o.Named,
	}
	r := &run{Options: o, skip: skip, builds: builds, dir: dir, id: id, board: &board{observe: o.Observe}}
	if o.Watch != nil {
		r.watch = o.Watch(&manifest)
	}
	if err := r.execute(ctx, manifest); err != nil {
		if r.writer == nil { // nothing was recorded: an empty folder would only puzzle
			return nil, errors.Join(environment(err, ""), os.RemoveAll(dir))
		}
		return nil, environment(err, dir)
	}
	r.board.step(evidence.Trial{}, "judging")
	out, err := Judge(dir)
	if err != nil {
		return nil, environment(err, dir)
	}
	out.Kept, out.Notes = r.kept, r.notes
	return out, nil
}

// Judge recomputes the verdicts of the run in dir from its evidence and writes its reports. Where they can't be
// written, the error wraps ErrEnvironment.
func Judge(dir string) (*Outcome, error) {
	rec, err := evidence.Open(filepath.Join(dir, EvidenceDir))
	if err != nil {
		return nil, err
	}
	res := verify.Evaluate(rec)
	rep := reports.Build(rec, res)
	if err := reports.Write(dir, rep); err != nil {
		return nil, environment(err, "")
	}
	return &Outcome{Dir: dir, Report: rep, Result: res}, nil
}

// execute makes the record.
func (r *run) execute(ctx context.Context, m evidence.Manifest) (err error) {
	logFile, err := os.OpenFile(filepath.Join(r.dir, LogFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("creating the log: %w", err)
	}
	defer func() { err = errors.Join(err, logFile.Close()) }()
	var w io.Writer = logFile
	if r.Options.Log != nil {
		w = io.MultiWriter(logFile, r.Options.Log)
	}
	r.log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))

	text, err := scenarios.Marshal(r.Scenario)
	if err != nil {
		return fmt.Errorf("writing the scenario: %w", err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, ScenarioFile), text, 0o644); err != nil {
		return fmt.Errorf("writing the scenario: %w", err)
	}
	if r.journal, err = journal.Open(r.Journal, r.id, m.Driver); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.journal.Close(filepath.Join(r.dir, JournalFile))) }()
	if r.writer, err = evidence.Create(filepath.Join(r.dir, EvidenceDir), m); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.writer.Close()) }()
	if err := pointLatest(r.Out, r.id); err != nil {
		return err
	}

	r.log.Info("run begins", "id", r.id, "seed", m.Seed, "driver", m.Driver, "order", m.Order)
	left := 0 // trials with clusters that are yet to come
	for _, row := range m.Order {
		r.board.trials += len(row)
		for _, mesh := range row {
			if r.skip[mesh] == "" {
				left++
			}
		}
	}
	for b, row := range m.Order {
		for _, mesh := range row {
			if ctx.Err() != nil {
				break
			}
			if r.skip[mesh] == "" {
				left--
			}
			if err := r.trial(ctx, evidence.Trial{Block: b + 1, Mesh: mesh}, left == 0); err != nil {
				return err
			}
		}
	}
	end := &evidence.Event{Header: evidence.Header{Src: "runner"}, Kind: evidence.EventRunEnd}
	if ctx.Err() != nil {
		end.Kind = evidence.EventInterrupted
		r.log.Warn("interrupted")
	}
	if err := r.writer.Append(end); err != nil {
		return err
	}
	if err := r.writer.Seal(); err != nil {
		return err
	}
	r.log.Info("run ends")
	return nil
}
