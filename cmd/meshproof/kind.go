package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/internal/journal"
)

// newKind makes the driver of real clusters in Docker, with nodes from the bundle.
func newKind() (*kind.Provider, error) {
	state, err := kindState()
	if err != nil {
		return nil, err
	}
	return kind.New(kind.Config{NodeImage: nodeImage, State: state}), nil
}

// kindState is where the kind driver keeps what must outlive a run that is killed, beside the journals.
func kindState() (string, error) {
	dir, err := journal.Dir()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(dir), kind.Driver), nil
}

// nodeImage finds the image of nodes in the bundle, and brings it into Docker where it is not there.
func nodeImage(ctx context.Context) (string, error) {
	dir, err := bundle.DefaultDir()
	if err != nil {
		return "", err
	}
	b, err := bundle.Open(dir)
	if err != nil {
		return "", err
	}
	for _, p := range b.Parts() {
		if p.Kind != bundle.NodeImage {
			continue
		}
		// By its digest, not by its name, which another version of the bundle may have had.
		if out, err := kind.Docker(ctx, "image", "inspect", "--format", "{{.ID}}", p.Refs[0]); err == nil && strings.TrimSpace(out) == p.ImageID {
			return p.Refs[0], nil
		}
		if err := b.Check(ctx, p); err != nil {
			return "", err
		}
		if _, err := kind.Docker(ctx, "load", "--quiet", "--input", b.Path(p)); err != nil {
			return "", fmt.Errorf("loading the image of nodes into Docker: %w", err)
		}
		return p.Refs[0], nil
	}
	return "", errors.New("the bundle " + dir + " has no image of nodes: run `meshproof bundle build --only node`")
}
