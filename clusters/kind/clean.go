package kind

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/meshproof/meshproof/clusters"
)

// labelFleet marks the Docker network of a fleet with its ID.
const labelFleet = "io.meshproof.fleet"

// labelCluster is the label by which kind marks the nodes of a cluster with its name.
const labelCluster = "io.x-k8s.kind.cluster"

// fleetID is what an ID must look like: it becomes part of names of containers and hosts.
var fleetID = regexp.MustCompile(`^[a-z0-9]{6,20}$`)

// prefix is what the names of everything of a fleet begin with.
func prefix(id string) string { return "meshproof-" + id }

// Clean removes whatever there is of a fleet: containers, their Docker network, kubeconfigs. It finds them by the
// fleet's ID, on them as label or name, and touches nothing else. What is not there needs no removing: Clean may be
// called at any moment and more than once.
func Clean(ctx context.Context, state, id string) error {
	if !fleetID.MatchString(id) {
		return fmt.Errorf("%q is no ID of a fleet", id)
	}
	if err := removeNodes(ctx, id); err != nil {
		return err
	}
	networks, err := Docker(ctx, "network", "ls", "--quiet", "--filter", "label="+labelFleet+"="+id)
	if err != nil {
		return fmt.Errorf("looking for the network of fleet %s: %w", id, err)
	}
	if n := strings.Fields(networks); len(n) > 0 {
		if _, err := Docker(ctx, append([]string{"network", "rm"}, n...)...); err != nil && !strings.Contains(err.Error(), "not found") {
			return fmt.Errorf("removing the network of fleet %s: %w", id, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(state, id)); err != nil {
		return fmt.Errorf("removing the kubeconfigs of fleet %s: %w", id, err)
	}
	return nil
}

// removeNodes removes the containers of a fleet. Where another removal is under way, as after a run that was left at
// once, it waits for the end of that one.
func removeNodes(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, removeWithin)
	defer cancel()
	for {
		nodes, err := nodesOf(ctx, id)
		if err != nil {
			return fmt.Errorf("looking for the nodes of fleet %s: %w", id, err)
		}
		if len(nodes) == 0 {
			return nil
		}
		_, err = Docker(ctx, append([]string{"rm", "--force", "--volumes"}, nodes...)...)
		if err != nil && !strings.Contains(err.Error(), "already in progress") && !strings.Contains(err.Error(), "No such container") {
			return fmt.Errorf("removing the nodes of fleet %s: %w", id, err)
		}
		if err != nil {
			sleep(ctx, removeEvery)
		}
	}
}

const (
	// killedSweeps is how often what a killed run left is looked for.
	killedSweeps = 3
	// killedPause lies between two of them.
	killedPause = 2 * time.Second
)

// CleanKilled is Clean after a run that was killed: docker commands that it had started go on without it, and may make a
// container when others are gone already. A fleet that the run had kept by then, and that another run has taken since, is
// no longer its own: nothing of it is touched.
func CleanKilled(ctx context.Context, state, id string) error {
	l, err := lock(filepath.Join(state, id))
	switch {
	case errors.Is(err, errInUse):
		return nil
	case err == nil:
		defer func() { _ = l.Close() }()
	case !errors.Is(err, fs.ErrNotExist): // else the run was killed before it made the folder
		return err
	}
	for range killedSweeps {
		if err := Clean(ctx, state, id); err != nil {
			return err
		}
		sleep(ctx, killedPause)
	}
	return Clean(ctx, state, id)
}

// nodesOf lists the containers of a fleet: those with kind's label and one of the fleet's names in it.
func nodesOf(ctx context.Context, id string) ([]string, error) {
	out, err := Docker(ctx, "ps", "--all", "--filter", "label="+labelCluster, "--format", `{{.ID}} {{.Label "`+labelCluster+`"}}`)
	if err != nil {
		return nil, err
	}
	var nodes []string
	for line := range strings.Lines(out) {
		if container, cluster, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(cluster, prefix(id)+"-") {
			nodes = append(nodes, container)
		}
	}
	return nodes, nil
}

// errLeft is why something of a fleet may be left.
func errLeft(id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w (fleet %s): run `meshproof clean`: %w", clusters.ErrLeft, id, err)
}
