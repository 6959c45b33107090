package main

import (
	"path/filepath"

	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/internal/journal"
)

// newKind makes the driver of real clusters in Docker, with nodes from the bundle in a folder: the default where none is
// named, and meshes of these versions.
func newKind(dir string, versions map[string]string) (*kind.Provider, error) {
	state, err := kindState()
	if err != nil {
		return nil, err
	}
	if dir, err = bundleDir(dir); err != nil {
		return nil, err
	}
	return kind.New(kind.Config{NodeImage: kind.FromBundle(dir), Bundle: dir, State: state, Versions: versions}), nil
}

// kindState is where the kind driver keeps what must outlive a run that is killed, beside the journals.
func kindState() (string, error) {
	dir, err := journal.Dir()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(dir), kind.Driver), nil
}
