// Package probe executes verify's plan: it asks what the plan says from the
// pods that the plan names, and writes down what the clients saw. It judges
// nothing.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// parallel is how many requests of a window are under way at once.
const parallel = 8

// timeout bounds one proof request.
const timeout = 5 * time.Second

// Env is where a plan is executed.
type Env struct {
	Fleet    clusters.Fleet
	Scenario *scenarios.Scenario
	Sink     evidence.Sink
	Trial    evidence.Trial
	// Mint makes the token of a request from outside: "" for none. It may be nil where no ask has one.
	Mint func(verify.Token) (string, error)
}

// Run executes the rounds of a plan, one after the other.
func Run(ctx context.Context, env Env, plan verify.Plan) error {
	for _, r := range plan.Rounds {
		if err := runRound(ctx, env, r); err != nil {
			return fmt.Errorf("proof window %s: %w", r.Name, err)
		}
	}
	return nil
}

func runRound(ctx context.Context, env Env, r verify.Round) error {
	a := asker{env: env, window: r.Name, pods: map[string][]clusters.Pod{}, busy: map[string]*sync.Mutex{}}
	for _, c := range env.Fleet.Clusters() {
		pods, err := c.Pods(ctx)
		if err != nil {
			return fmt.Errorf("listing the pods of cluster %s: %w", c.Name(), err)
		}
		for _, p := range pods {
			key := p.Service + "@" + c.Name()
			a.pods[key] = append(a.pods[key], p)
			a.busy[p.UID] = &sync.Mutex{}
		}
	}
	// Warm-up and handshakes come before the first scrape: they are not part of what the window counts.
	if err := a.ask(ctx, r.Warmup, true, parallel); err != nil {
		return err
	}
	if r.Handshakes {
		if err := a.handshakes(ctx); err != nil {
			return err
		}
	}
	start := newPages(env)
	if err := Edge(ctx, start.env(), r.Name, "start"); err != nil {
		return err
	}
	if err := a.ask(ctx, r.Asks, false, parallel); err != nil {
		return err
	}
	if r.Cover {
		if err := a.cover(ctx, r.Name, r.Asks, start); err != nil {
			return err
		}
	}
	return Edge(ctx, env, r.Name, "end")
}

// Edge records one edge of a window, at "start" or "end": the inventory of pods, a scrape of every proxy, and the event,
// which stands outside of what the window encloses.
func Edge(ctx context.Context, env Env, window, edge string) error {
	if edge == "end" {
		if err := Observe(ctx, env, window, edge); err != nil {
			return err
		}
		return env.Sink.Append(&evidence.Event{Header: head(env.Trial, "runner"), Kind: evidence.EventWindowEnd, Name: window})
	}
	if err := env.Sink.Append(&evidence.Event{Header: head(env.Trial, "runner"), Kind: evidence.EventWindowStart, Name: window}); err != nil {
		return err
	}
	return Observe(ctx, env, window, edge)
}

// Observe records the inventory of pods and a scrape of every proxy. A scrape that fails is recorded as such.
func Observe(ctx context.Context, env Env, window, edge string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, c := range env.Fleet.Clusters() {
		pods, err := c.Pods(ctx)
		if err != nil {
			return errors.Join(fmt.Errorf("listing the pods of cluster %s: %w", c.Name(), err), g.Wait())
		}
		for _, p := range pods {
			g.Go(func() error {
				if err := env.Sink.Append(&evidence.Pod{
					Header: head(env.Trial, "probe"), Window: window, Edge: edge, At: p.PodRef,
					ServiceAccount: p.ServiceAccount, Containers: p.Containers, InitContainers: p.InitContainers,
					Images: p.Images, Ready: p.Ready,
				}); err != nil {
					return err
				}
				return scrape(ctx, env, c, p, window, edge)
			})
		}
	}
	return g.Wait()
}

// scrape records every metric page of a pod.
func scrape(ctx context.Context, env Env, c clusters.Cluster, p clusters.Pod, window, edge string) error {
	pages, err := c.Scrape(ctx, p)
	switch {
	case errors.Is(err, clusters.ErrNoProxy):
		return nil
	case err != nil:
		pages = []clusters.Page{{Err: err}}
	}
	for _, page := range pages {
		s := &evidence.Scrape{
			Header: head(env.Trial, "probe"), At: p.PodRef, Window: window, Edge: edge, Proxy: page.Proxy(), Body: page.Body,
		}
		if page.Err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.Error = page.Err.Error()
		}
		if err := env.Sink.Append(s); err != nil {
			return err
		}
	}
	return nil
}

// asker sends the requests of one window.
type asker struct {
	env    Env
	window string
	pods   map[string][]clusters.Pod // by workload@cluster
	busy   map[string]*sync.Mutex    // by UID: an established round has one request under way a pod

	n int // requests numbered so far
}

// ask sends every ask as often as it says, with its twin at the same moment, so many of them at once.
func (a *asker) ask(ctx context.Context, asks []verify.Ask, warmup bool, atOnce int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, k := range interleave(asks) {
		a.n++
		id := fmt.Sprintf("proof-%d-%s-%s-%d", a.env.Trial.Block, a.env.Trial.Mesh, a.window, a.n)
		g.Go(func() error { return a.askOnce(ctx, id, k.ask, k.turn, warmup) })
	}
	return g.Wait()
}

type turn struct {
	ask  verify.Ask
	turn int
}

// interleave puts first turns before second ones, so that the requests under way at once come from different pods.
func interleave(asks []verify.Ask) []turn {
	var ts []turn
	for n := 0; ; n++ {
		was := len(ts)
		for _, a := range asks {
			if n < a.Times {
				ts = append(ts, turn{a, n})
			}
		}
		if len(ts) == was {
			return ts
		}
	}
}

func (a *asker) askOnce(ctx context.Context, id string, k verify.Ask, n int, warmup bool) error {
	p := &evidence.Probe{ID: id, Role: "ask"}
	if warmup {
		p.Role = "warmup"
	}
	if k.Twin == nil {
		return a.send(ctx, k, n, p)
	}
	p.Twin = id + "t"
	twin := &evidence.Probe{ID: p.Twin, Role: "twin"}
	if k.Connection == "established" {
		// Both may come from one pod, whose proxy would open a second connection for the second of two at once.
		return errors.Join(a.send(ctx, k, n, p), a.send(ctx, *k.Twin, n, twin))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.send(ctx, k, n, p) })
	g.Go(func() error { return a.send(ctx, *k.Twin, n, twin) })
	return g.Wait()
}

// send makes one request and records what its client saw. p brings ID, role and twin.
func (a *asker) send(ctx context.Context, k verify.Ask, n int, p *evidence.Probe) error {
	if k.Token != nil {
		return a.enter(ctx, k, p)
	}
	cluster := a.env.Fleet.Cluster(k.Cluster)
	pods := a.pods[k.From+"@"+k.Cluster]
	to, ok := a.env.Scenario.Workload(k.To)
	if cluster == nil || len(pods) == 0 || !ok {
		return fmt.Errorf("%s: there is no pod of %s in cluster %s to ask from", k.Cell, k.From, k.Cluster)
	}
	established := k.Connection == "established"
	from := pods[n%len(pods)]
	if established {
		// One pod asks all, the one whose connections the warm-up opened, and one request at a time.
		from = pods[0]
		mu := a.busy[from.UID]
		mu.Lock()
		defer mu.Unlock()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	window := a.window
	if p.Role == "warmup" {
		window += "/warmup"
	}
	h := http.Header{}
	h.Set(scenarios.HeaderID, p.ID)
	h.Set("X-Request-Id", p.ID) // the proxies' access logs are joined by it
	h.Set(scenarios.HeaderWindow, window)
	h.Set(scenarios.HeaderCaller, k.From+"@"+k.Cluster)
	h.Set(scenarios.HeaderProof, "1")
	if !established {
		h.Set(scenarios.HeaderConnection, "fresh")
	}
	start := time.Now()
	res := cluster.Send(ctx, from, clusters.Request{
		Host: to.Host(), Method: k.Method, Path: k.Path, Header: h, Fresh: !established, Timeout: timeout,
	})
	if ctx.Err() != nil {
		return ctx.Err() // what was under way when the user stopped the run proves nothing
	}
	p.Header = head(a.env.Trial, "probe")
	p.T = start
	p.Window, p.Cell, p.From, p.To = window, k.Cell, from.PodRef, k.To
	p.Method, p.Path, p.Connection = k.Method, k.Path, k.Connection
	p.Status, p.Error, p.Micros = res.Status, res.Error, res.Took.Microseconds()
	p.Server = res.Header.Get("Server")
	if res.Status/100 != 2 {
		p.Body = res.Body
	}
	return a.env.Sink.Append(p)
}

// handshakes reads the chain that every pod serves that belongs into the mesh.
func (a *asker) handshakes(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, w := range a.env.Scenario.Workloads() {
		if w.Service == nil {
			continue
		}
		for _, cluster := range w.Clusters {
			c := a.env.Fleet.Cluster(cluster)
			for _, p := range a.pods[w.Name+"@"+cluster] {
				g.Go(func() error {
					start := time.Now()
					name := verify.ServerName(scenarios.MeshName(a.env.Trial.Mesh), w)
					res := c.Handshake(ctx, p, name)
					if ctx.Err() != nil {
						return ctx.Err()
					}
					h := head(a.env.Trial, "probe")
					h.T = start
					return a.env.Sink.Append(&evidence.Handshake{
						Header: h, Window: a.window, At: p.PodRef, ServerName: name, Version: res.Version,
						Cipher: res.Cipher, Chain: res.Chain, Resumed: res.Resumed, Error: res.Error,
					})
				})
			}
		}
	}
	return g.Wait()
}

func head(t evidence.Trial, src string) evidence.Header { return evidence.Header{Trial: t, Src: src} }
