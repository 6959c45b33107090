package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/probe"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

const (
	// readyWithin bounds how long clusters and workloads may take to come up.
	readyWithin = 2 * time.Minute
	// removeWithin bounds how long a cluster may take to go, also after an interruption.
	removeWithin = 45 * time.Second
	// scrapeEvery is how often every proxy is scraped under load.
	scrapeEvery = 2 * time.Second
	// windowLoad is the window that encloses the load.
	windowLoad = "load"
)

// trial runs one mesh once. A failure of the environment is evidence, and ends the trial, not the run; what it returns
// is a failure to write evidence.
func (r *run) trial(ctx context.Context, t evidence.Trial, last bool) error {
	r.log.Info("trial begins", "trial", t)
	if err := r.event(t, evidence.EventTrialStart, ""); err != nil {
		return err
	}
	if why := r.skip[t.Mesh]; why != "" {
		r.log.Warn("trial skipped", "trial", t, "reason", why)
		return errors.Join(r.event(t, evidence.EventSkipped, why), r.writer.EndTrial(t))
	}
	err := r.steps(ctx, t, last)
	r.stepDone()
	switch {
	case ctx.Err() != nil:
		err = r.event(t, evidence.EventInterrupted, "")
	case err != nil:
		r.log.Error("trial failed", "trial", t, "error", err)
		err = r.event(t, evidence.EventError, err.Error())
	default:
		err = r.event(t, evidence.EventTrialEnd, "")
	}
	r.log.Info("trial ends", "trial", t)
	return errors.Join(err, r.writer.EndTrial(t))
}

func (r *run) event(t evidence.Trial, kind, message string) error {
	return r.writer.Append(&evidence.Event{Header: evidence.Header{Trial: t, Src: "runner"}, Kind: kind, Message: message})
}

// step begins a step of a trial: those who watch see it, and the log says how long the one before it took.
func (r *run) step(t evidence.Trial, name string) {
	r.stepDone()
	r.doing, r.since = name, time.Now()
	r.board.step(t, name)
}

func (r *run) stepDone() {
	if r.doing != "" {
		r.log.Info("step done", "step", r.doing, "took", time.Since(r.since).Round(time.Millisecond))
	}
	r.doing = ""
}

// steps is what a trial does, in order. The clusters are gone when it returns, or kept.
func (r *run) steps(ctx context.Context, t evidence.Trial, last bool) (err error) {
	r.step(t, "bringing up clusters")
	s := r.Scenario
	entry := r.entry(t)
	spec := topology(s)
	spec.Trial, spec.Mesh, spec.Seed, spec.Sink, spec.Log, spec.Keep = t, t.Mesh, r.Seed, r.sink(), r.log, r.Keep
	spec.LeafLifetime = s.Spec.Identity.LeafLifetime.D()
	spec.Install = map[string]clusters.Installation{}
	for _, c := range spec.Clusters {
		in, err := Install(s, entry, r.builds[t.Mesh], c)
		if err != nil {
			return err
		}
		spec.Install[c] = in
	}
	var users *users
	if is := s.Spec.Identity.Issuer; is != nil {
		if users, err = startUsers(is); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, users.close(ctx)) }()
		spec.Hosts = users.hosts()
	}
	if spec.ID, err = r.fleetID(ctx, spec); err != nil {
		return err
	}
	settle, err := r.journal.Intend("create clusters "+strings.Join(spec.Clusters, ", "), map[string]string{"fleet": spec.ID})
	if err != nil {
		return err
	}
	fleet, err := r.Provider.Create(ctx, spec)
	if err != nil {
		err = fmt.Errorf("bringing up clusters: %w", err)
		if errors.Is(err, clusters.ErrLeft) {
			return err // not settled: left to clean
		}
		return errors.Join(err, settle())
	}
	defer func() {
		if !r.keep(ctx, t, fleet, last) {
			r.step(t, "removing clusters")
			down, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
			defer cancel()
			if cerr := fleet.Close(down); cerr != nil {
				err = errors.Join(err, fmt.Errorf("removing clusters: %w", cerr)) // not settled: left to clean
				return
			}
		}
		err = errors.Join(err, settle())
	}()

	r.step(t, "applying objects")
	if err := r.apply(ctx, fleet, entry); err != nil {
		return err
	}
	env := probe.Env{Fleet: fleet, Scenario: s, Sink: r.writer, Trial: t, Mint: users.mint}
	r.step(t, "proving, before the load")
	if err := probe.Run(ctx, env, verify.NewPlan(s, "before")); err != nil {
		return err
	}
	if len(s.Spec.Traffic) > 0 {
		r.step(t, StepLoad)
		if err := r.load(ctx, t, fleet, env, users); err != nil {
			return err
		}
		r.step(t, "waiting for the clusters to settle")
		if err := ready(ctx, fleet); err != nil {
			return err
		}
	}
	r.step(t, "proving, after the load")
	return probe.Run(ctx, env, verify.NewPlan(s, "after"))
}

// entry is what the scenario says of the trial's mesh.
func (r *run) entry(t evidence.Trial) scenarios.MeshEntry {
	for _, m := range r.Scenario.Spec.Meshes {
		if string(m.Name) == t.Mesh {
			return m
		}
	}
	return scenarios.MeshEntry{}
}

// topology is the part of a Spec that the scenario alone decides.
func topology(s *scenarios.Scenario) clusters.Spec {
	t := &s.Spec.Topology
	spec := clusters.Spec{
		Faults: s.Spec.Faults, Tools: Tools(s),
		Nodes: map[string]int{}, Separate: t.Network.Kind == scenarios.NetworkSeparate, Latency: t.Network.Latency.D(),
	}
	for _, c := range t.Clusters {
		spec.Clusters = append(spec.Clusters, c.Name)
		spec.Nodes[c.Name] = c.Nodes
	}
	return spec
}

// apply brings the scenario's objects onto every cluster, and waits until they hold.
func (r *run) apply(ctx context.Context, fleet clusters.Fleet, entry scenarios.MeshEntry) error {
	for _, c := range fleet.Clusters() {
		objs, err := Objects(r.Scenario, entry, r.builds[string(entry.Name)], c.Name())
		if err != nil {
			return err
		}
		if err := c.Apply(ctx, objs...); err != nil {
			return fmt.Errorf("applying objects to cluster %s: %w", c.Name(), err)
		}
	}
	return ready(ctx, fleet)
}

func ready(ctx context.Context, fleet clusters.Fleet) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for _, c := range fleet.Clusters() {
		if err := c.WaitReady(ctx); err != nil {
			return fmt.Errorf("waiting for cluster %s: %w", c.Name(), err)
		}
	}
	return nil
}
