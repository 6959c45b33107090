package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
)

// load reads a scenario by path or library name and makes sure that the driver can do all that it asks for, with these
// of its meshes; with all of them where none is named. Errors name file, line and column.
func load(p clusters.Provider, arg string, meshes ...string) (*scenarios.Scenario, error) {
	s, at, err := scenarios.Resolve(arg)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, e := range s.Spec.Meshes {
		if len(meshes) > 0 && !slices.Contains(meshes, string(e.Name)) {
			continue
		}
		err := runner.Check(s, e, p)
		if len(meshes) == 0 && errors.Is(err, clusters.ErrNotPossible) {
			continue // a run skips it, and says so
		}
		if err != nil {
			errs = append(errs, place(at, fmt.Sprintf("spec.meshes[%d]", i), err))
		}
	}
	return s, errors.Join(errs...)
}

// ofObject finds the mesh entry's object that an error is about.
var ofObject = regexp.MustCompile(`\bobjects\[\d+\]`)

// place puts file, line, column and field path before each line of an error about a mesh entry.
func place(at *scenarios.Positions, path string, err error) error {
	var errs []error
	for line := range strings.SplitSeq(err.Error(), "\n") {
		full := path
		if o := ofObject.FindString(line); o != "" {
			full += "." + o
		}
		row, col := at.Position(full)
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s: %s", at.File, row, col, path, line))
	}
	return errors.Join(errs...)
}
