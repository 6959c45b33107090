package kind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

// taken is a kept fleet that this process holds.
type taken struct {
	keptFile
	lock *os.File
}

var _ clusters.Keeper = (*Provider)(nil)

// Reusable implements clusters.Keeper.
func (p *Provider) Reusable(ctx context.Context, spec clusters.Spec) (string, error) {
	all, err := Kept(p.cfg.State)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", fmt.Errorf("%w: none were kept", clusters.ErrNoneFits)
	}
	ref, err := p.cfg.NodeImage(ctx)
	if err != nil {
		return "", err
	}
	image, err := idOf(ctx, ref) // of the nodes that would be made now
	if err != nil {
		return "", err
	}
	var why []string
	for _, k := range all {
		dir := filepath.Join(p.cfg.State, k.ID)
		l, err := lock(dir)
		if err != nil {
			why = append(why, fmt.Sprintf("fleet %s: %v", k.ID, err))
			continue
		}
		kept, err := readKept(dir) // only now nobody changes it
		misfit := ""
		if err == nil {
			misfit = kept.misfit(spec, image)
		} else {
			misfit = err.Error()
		}
		if misfit != "" {
			why = append(why, fmt.Sprintf("fleet %s: %s", k.ID, misfit))
			_ = l.Close()
			continue
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.taken == nil {
			p.taken = map[string]*taken{}
		}
		p.taken[k.ID] = &taken{*kept, l}
		return k.ID, nil
	}
	return "", fmt.Errorf("%w: %s", clusters.ErrNoneFits, strings.Join(why, "; "))
}

// misfit is why a spec cannot have these clusters, or "".
func (k *keptFile) misfit(spec clusters.Spec, image string) string {
	switch {
	case k.Version != keptVersion:
		return fmt.Sprintf("another version of meshproof made it (%d, this one makes %d)", k.Version, keptVersion)
	case !slices.Equal(k.names(), spec.Clusters):
		return fmt.Sprintf("it has clusters %q, want %q", k.names(), spec.Clusters)
	case k.Separate != spec.Separate:
		return fmt.Sprintf("the network between its clusters is of the other kind (separate: %t)", k.Separate)
	case k.Image != image:
		return fmt.Sprintf("its nodes are of image %s, and now they would be of %s", k.Image, image)
	}
	for _, c := range k.Clusters {
		if want := max(spec.Nodes[c.Name], 1); c.Nodes != want {
			return fmt.Sprintf("its cluster %s has %d nodes, want %d", c.Name, c.Nodes, want)
		}
	}
	return ""
}

// take hands over a fleet that Reusable has found; nil where it has not.
func (p *Provider) take(id string) *taken {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.taken[id]
	delete(p.taken, id)
	return t
}

// readyWithin bounds how long the parts of kept clusters may take to be ready.
const readyWithin = 30 * time.Second

// reuse makes a fleet of kept clusters. While they are only looked at, an error leaves them as they are; later ones
// remove them.
func (p *Provider) reuse(ctx context.Context, spec clusters.Spec, t *taken) (clusters.Fleet, error) {
	spec.Clusters = slices.Clone(spec.Clusters)
	f := newFleet(spec, p.cfg.State)
	f.lock, f.made, f.bare, f.base, f.reused = t.lock, t.keptFile, t.State, t.State, true
	if t.Mesh != meshNone {
		f.bare = t.Bare
	}
	if err := f.same(ctx); err != nil {
		f.end(ctx)
		return nil, errors.Join(err, f.unlock())
	}
	err := os.Remove(filepath.Join(f.folder, keptName)) // what follows changes them
	if err == nil {
		err = f.begin(ctx, p, t)
	}
	if err != nil {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
		defer cancel()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, errors.Join(fmt.Errorf("reusing kept clusters: %w", explain(err)), f.Close(down))
	}
	return f, nil
}

// same makes the clients of a kept fleet, and makes sure that nothing of it has drifted.
func (f *fleet) same(ctx context.Context) error {
	agent, err := Agent()
	if err != nil {
		return err
	}
	drifted, err := f.drifted(ctx, agent)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("examining the kept clusters of fleet %s: %w: `meshproof clean --kept` removes them", f.spec.ID, err)
	case len(drifted) > 0:
		return fmt.Errorf("the kept clusters of fleet %s have drifted since %s: %s: run `meshproof clean --kept` to remove them; --reuse then makes new ones",
			f.spec.ID, f.made.Since.Local().Format("2006-01-02 15:04:05"), shownDrift(drifted))
	}
	return nil
}

// drifted says what of the fleet is not as it was when it was kept.
func (f *fleet) drifted(ctx context.Context, agent string) ([]string, error) {
	is, running, err := f.nodeState(ctx)
	if err != nil {
		return nil, err
	}
	nodes := maps.Clone(f.base)
	maps.DeleteFunc(nodes, func(what, _ string) bool { return !strings.HasPrefix(what, "node ") || strings.Contains(what, ": ") })
	if all := drift(nodes, is); len(all) > 0 || !running {
		return all, nil // what is on nodes that do not run cannot be looked at
	}
	all, err := f.otherAgent(agent)
	if err != nil {
		return nil, err
	}
	whole, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for _, k := range f.made.Clusters {
		c, err := newCluster(whole, f, k.Name, k.plan(f.folder, f.spec.ID))
		if c != nil {
			f.list = append(f.list, c)
		}
		if err != nil {
			return append(all, inTime(err)), nil // it does not answer, or its nodes are not there
		}
	}
	var g errgroup.Group
	lacking := make([]string, len(f.list))
	for i, c := range f.list {
		g.Go(func() error {
			if err := c.systemReady(whole); err != nil {
				lacking[i] = inTime(err)
			}
			return nil
		})
	}
	_ = g.Wait()
	state, err := f.state(ctx)
	lacking = slices.DeleteFunc(lacking, func(s string) bool { return s == "" })
	if err != nil {
		if len(lacking) > 0 {
			return append(all, lacking...), nil // an API server that does not answer
		}
		return nil, err
	}
	return slices.Concat(all, drift(f.base, state), lacking), nil
}

// inTime is why something was not ready in time.
func inTime(err error) string {
	return strings.TrimSuffix(err.Error(), ": "+context.DeadlineExceeded.Error())
}

// otherAgent says whether the nodes have another agent than the one that this process would bring.
func (f *fleet) otherAgent(agent string) ([]string, error) {
	sum, err := fileSum(agent)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", agent, err)
	}
	for what, was := range f.base {
		if strings.HasSuffix(what, ": file "+agentOnNode) && was != digestLine+sum {
			return []string{fmt.Sprintf("their agent is another build than %s", agent)}, nil
		}
	}
	return nil, nil
}

// begin makes of the clusters what Create makes of new ones: all that belongs to one trial.
func (f *fleet) begin(ctx context.Context, p *Provider, t *taken) error {
	if err := f.append(&evidence.Event{
		Header: f.header("fleet"), Kind: evidence.EventReused, Name: f.spec.ID,
		Message: fmt.Sprintf("the clusters were made earlier, kept since %s%s, and had not drifted", t.Since.Format(time.RFC3339), becoming(t.Mesh, f.spec.Mesh)),
	}); err != nil {
		return err
	}
	if err := f.trust(); err != nil {
		return err
	}
	if err := f.relayHosts(ctx, gateway(t.Network)); err != nil {
		return err
	}
	if err := f.connect(ctx); err != nil {
		return err
	}
	f.watch()
	if t.Mesh != meshNone && t.Mesh != f.spec.Mesh {
		if err := f.timed("remove mesh "+t.Mesh, func() error { return f.removeMesh(ctx) }); err != nil {
			return fmt.Errorf("removing mesh %s: %w", t.Mesh, err)
		}
	}
	return f.furnish(ctx, p)
}

// becoming says what becomes of the mesh that kept clusters have.
func becoming(was, want string) string {
	switch {
	case was == meshNone:
		return ""
	case was == want:
		return " with mesh " + was + ", which is installed anew over itself"
	}
	return " with mesh " + was + ", which is removed"
}
