package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/faults"
	"github.com/meshproof/meshproof/internal/probe"
	"github.com/meshproof/meshproof/internal/workers"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// senderLead is how long before its start a load that a pod sends is ordered: the order takes a while to get there, and
// what is late from the start counts as slow.
const senderLead = time.Second

// workerLead is how much longer before it, for each worker that the pod has to start.
const workerLead = 250 * time.Millisecond

// attack is one traffic, and who sends it.
type attack struct {
	loadgen.Attack
	ingress bool // sent by this process, or by its workers
	from    clusters.Pod
	team    *workers.Team // those workers; nil where there are none
}

// load runs all traffic, all faults and the periodic scrapes side by side against one zero of time.
func (r *run) load(ctx context.Context, t evidence.Trial, fleet clusters.Fleet, env probe.Env, users *users) error {
	if err := probe.Edge(ctx, env, windowLoad, "start"); err != nil {
		return err
	}
	plan := faults.Plan(r.Scenario, r.Seed)
	lead := time.Duration(0)
	if len(plan) > 0 {
		lead = faults.Lead // the effect probes' baseline of a fault at 0 s
	}
	attacks := make([]attack, 0, len(r.Scenario.Spec.Traffic))
	defer func() {
		for _, a := range attacks {
			if a.team != nil {
				a.team.Close()
			}
		}
	}()
	for _, tr := range r.Scenario.Spec.Traffic {
		a, err := r.attack(ctx, t, fleet, tr, users)
		if err == nil {
			err = r.staff(ctx, &a)
		}
		if err != nil {
			return fmt.Errorf("traffic %s: %w", tr.Name, err)
		}
		attacks = append(attacks, a)
		switch {
		case a.team != nil:
			lead = max(lead, workers.Lead)
		case !a.ingress:
			lead = max(lead, senderLead+time.Duration(a.Workers)*workerLead)
		}
	}
	start := time.Now().Add(lead)
	if err := r.writer.Append(&evidence.Event{
		Header: evidence.Header{Trial: t, Src: "runner", T: start}, Kind: evidence.EventLoadStart,
	}); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	scraping, stopScraping := context.WithCancel(gctx)
	scraped := make(chan error, 1)
	go func() { scraped <- r.scrape(scraping, env) }()
	g.Go(func() error { return r.meter(gctx, t, fleet, start) })
	for _, a := range attacks {
		a.Start = start
		g.Go(func() error { return r.send(gctx, fleet, a) })
	}
	g.Go(func() error {
		err := faults.Run(gctx, faults.Env{
			Fleet: fleet, Sink: r.writer, Journal: r.journal, Trial: t, Mesh: r.meshFaults(t), OnChange: r.board.fault,
			ServerName: func(service string) string {
				w, _ := r.Scenario.Workload(service)
				return verify.ServerName(scenarios.MeshName(t.Mesh), w)
			},
		}, plan, start)
		if err != nil {
			return fmt.Errorf("injecting faults: %w", err)
		}
		return nil
	})
	err := g.Wait()
	stopScraping()
	err = errors.Join(err, <-scraped)
	if err != nil {
		return err
	}
	if err := r.event(t, evidence.EventLoadEnd, ""); err != nil {
		return err
	}
	return probe.Edge(ctx, env, windowLoad, "end")
}

// attack makes a traffic ready to be sent.
func (r *run) attack(ctx context.Context, t evidence.Trial, fleet clusters.Fleet, tr scenarios.Traffic, users *users) (attack, error) {
	to, _ := r.Scenario.Workload(tr.To)
	a := attack{ingress: !tr.Inside(), Attack: loadgen.Attack{
		Traffic: tr, Host: to.Host(), Trial: t, Seed: r.Seed, Protocol: loadgen.Protocol(tr.Protocol),
		IDPrefix: t.LoadID(),
	}}
	c := fleet.Cluster(tr.Cluster)
	var err error
	if a.ingress {
		if a.Base, err = c.Ingress(ctx); err != nil {
			return a, fmt.Errorf("the ingress of cluster %s: %w", tr.Cluster, err)
		}
		a.Tokens, err = users.tokensOf(tr)
		return a, err
	}
	a.Base = fmt.Sprintf("http://%s:%d", to.Host(), scenarios.ServicePort)
	a.Caller = tr.From + "@" + tr.Cluster
	a.from, err = sender(ctx, c, tr.From)
	return a, err
}

// sender is the pod that sends for a service: the first by name of those that are ready.
func sender(ctx context.Context, c clusters.Cluster, service string) (clusters.Pod, error) {
	pods, err := c.Pods(ctx)
	if err != nil {
		return clusters.Pod{}, fmt.Errorf("finding a pod of %s that sends: %w", service, err)
	}
	pods = slices.DeleteFunc(pods, func(p clusters.Pod) bool { return p.Service != service || !p.Ready })
	if len(pods) == 0 {
		return clusters.Pod{}, fmt.Errorf("no pod of %s in cluster %s is ready to send", service, c.Name())
	}
	return slices.MinFunc(pods, func(a, b clusters.Pod) int { return cmp.Compare(a.Pod, b.Pod) }), nil
}

// scrape observes every pod now and then until ctx ends.
func (r *run) scrape(ctx context.Context, env probe.Env) error {
	tick := time.NewTicker(scrapeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := probe.Observe(ctx, env, "", ""); err != nil && ctx.Err() == nil {
				return fmt.Errorf("scraping: %w", err)
			}
		}
	}
}

// meshFaults is what makes the faults that are the mesh's own.
func (r *run) meshFaults(t evidence.Trial) *faults.Mesh {
	return &faults.Mesh{Scenario: r.Scenario, Faulty: func(f scenarios.Fault) (with, without clusters.Object, err error) {
		entry := r.entry(t)
		objs, err := Objects(r.Scenario, entry, r.builds[string(entry.Name)], f.Target.Cluster)
		if err != nil {
			return nil, nil, err
		}
		return meshes.Faulty(entry.Name, r.Scenario, f, objs)
	}}
}
