package runner

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

const (
	// keepWithin bounds how long clusters may take to be again as they were made.
	keepWithin = 2 * time.Minute
	// keepStopped is the same for a user who waits for a stopped run.
	keepStopped = 25 * time.Second
)

// fleetID is the ID of kept clusters that fit, where these are asked for, or a new one.
func (r *run) fleetID(ctx context.Context, spec clusters.Spec) (string, error) {
	keeper, ok := r.Provider.(clusters.Keeper)
	if !r.Reuse || !ok {
		return newFleetID()
	}
	id, err := keeper.Reusable(ctx, spec)
	switch {
	case errors.Is(err, clusters.ErrNoneFits):
		r.note("made new clusters: %v", err)
		return newFleetID()
	case err != nil:
		return "", fmt.Errorf("looking for kept clusters: %w", err)
	}
	r.kept = nil // they are in use
	r.log.Info("reusing kept clusters", "fleet", id)
	return id, nil
}

// newFleetID draws a name for a fleet that no other on the host has.
func newFleetID() (string, error) {
	b := make([]byte, 5)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("drawing a name for the clusters: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// keep leaves the clusters of a trial standing where that was asked for, and reports whether they do.
func (r *run) keep(ctx context.Context, t evidence.Trial, fleet clusters.Fleet, last bool) bool {
	f, ok := fleet.(clusters.Keepable)
	stopped := ctx.Err() != nil
	if !ok || !r.Keep || !r.Reuse && !stopped && (!last || r.More) {
		return false
	}
	r.step(t, "resetting clusters, to keep them")
	within := keepWithin
	if stopped {
		within = keepStopped
	}
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	kept, err := f.Keep(down)
	if err != nil {
		r.note("the clusters of %s were removed and not kept: %v", t.Mesh, err)
		return false
	}
	r.kept = kept
	r.log.Info("clusters kept", "trial", t, "fleet", kept.ID)
	return true
}

// note tells the user something, once.
func (r *run) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.log.Warn(text)
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}
