package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/doctor"
	"github.com/meshproof/meshproof/internal/journal"
	"github.com/meshproof/meshproof/scenarios"
)

// doctorScenario is examined for where no scenario is named: the one that people run first.
const doctorScenario = "checkout-spike"

func newDoctor() *cobra.Command {
	var output, dir string
	cmd := &cobra.Command{
		Use:   "doctor [FILE|NAME…]",
		Short: "Examine whether this host can run scenarios on real clusters, and what to do where not",
		Long: `Examine what the kind driver needs of this host: Docker and its privileged containers, the bundle,
memory, disk, limits, control groups, what the kernel can do of the scenarios' faults, and what
earlier runs left. Scenarios say how much of each (default: ` + doctorScenario + `).

Nothing is changed: what the kernel can do is tried in a container that is thrown away.
Exit code 4 where something keeps a run from beginning.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("--output %q is not known: text or json", output)
			}
			if len(names) == 0 {
				names = []string{doctorScenario}
			}
			var needs doctor.Needs
			var errs []error
			for _, name := range names {
				s, _, err := scenarios.Resolve(name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				needs = needs.Most(doctor.NeedsOf(s))
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context(), cmd.ErrOrStderr(), stopping{"stopping", "left at once"})
			defer stop()
			findings, err := examine(ctx, needs, dir, nil, true)
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := printFindings(cmd.OutOrStdout(), output, findings); err != nil {
				return err
			}
			if doctor.Worst(findings) == doctor.Problem {
				return withCode(exitError, errors.New("this host cannot run real clusters yet: see what is marked problem"))
			}
			return nil
		},
		ValidArgsFunction: completeScenarios,
	}
	cmd.Flags().StringVar(&output, "output", "text", "text, or json: a list of findings on stdout and nothing else")
	bundleFlag(cmd.Flags(), "bundle", &dir)
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// examine looks at this host. Every part of the bundle is read where whole is asked for; else only what a run needs of it.
func examine(ctx context.Context, needs doctor.Needs, dir string, versions map[string]string, whole bool) ([]doctor.Finding, error) {
	dir, err := bundleDir(dir)
	if err != nil {
		return nil, err
	}
	journals, err := journal.Dir()
	if err != nil {
		return nil, withCode(exitError, err)
	}
	state, err := kindState()
	if err != nil {
		return nil, withCode(exitError, err)
	}
	h := &doctor.Host{
		Docker:   kind.Docker,
		Proc:     "/proc",
		Free:     freeBytes,
		Journals: journals,
		Bundle: func(ctx context.Context) (string, error) {
			b, err := bundle.Open(dir)
			if errors.Is(err, bundle.ErrNoBundle) {
				return "", fmt.Errorf("%w in %s", doctor.ErrNoBundle, dir)
			}
			if err != nil || !whole {
				return dir, err
			}
			if err := b.Verify(ctx); err != nil {
				return "", err
			}
			return fmt.Sprintf("%s: %d parts, every one as its digest says", dir, len(b.Parts())), nil
		},
		Mesh: func(mesh string) (string, error) {
			b, err := kind.New(kind.Config{Bundle: dir, Versions: versions}).Build(mesh)
			if err != nil {
				return "", err
			}
			m := evidence.Manifest{Flavors: map[string]string{mesh: b.Flavor}}
			return fmt.Sprintf("%s: %d parts are there", m.MeshName(mesh), len(b.Components)), nil
		},
		NodeImage: kind.FromBundle(dir),
		Agent: func() error {
			_, err := kind.Agent()
			return err
		},
		Addresses: kind.Addresses,
		Kept: func() ([]string, error) {
			kept, err := kind.Kept(state)
			var list []string
			for _, k := range kept {
				list = append(list, k.String())
			}
			return list, err
		},
	}
	return h.Examine(ctx, needs), nil
}

// canRun examines whether real clusters for these scenarios can be made here. Its error has a line of cause and a line of
// remedy for each problem.
func canRun(ctx context.Context, list []*scenarios.Scenario, f runFlags) error {
	var needs doctor.Needs
	for i, s := range list {
		n := doctor.NeedsOf(s)
		if f.reuse {
			var err error
			if n.Standing, err = standing(s); err != nil {
				return err
			}
		}
		if i == 0 {
			needs = n
		} else {
			needs = needs.Most(n)
		}
	}
	findings, err := examine(ctx, needs, f.bundle, f.versions.asked(), false)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var lines []string
	for _, found := range findings {
		if found.Status == doctor.Problem {
			lines = append(lines, fmt.Sprintf("%s: %s\n  do: %s", found.Check, found.Found, found.Remedy))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return withCode(exitError, errors.New(strings.Join(lines, "\n")))
}

// standing reports whether a scenario that reuses kept clusters finds any of its clusters' names. Whether they fit in all
// else is found out later.
func standing(s *scenarios.Scenario) (bool, error) {
	state, err := kindState()
	if err != nil {
		return false, withCode(exitError, err)
	}
	kept, err := kind.Kept(state)
	if err != nil {
		return false, withCode(exitError, err)
	}
	var names []string
	for _, c := range s.Spec.Topology.Clusters {
		names = append(names, c.Name)
	}
	return slices.ContainsFunc(kept, func(k kind.KeptFleet) bool { return !k.InUse && slices.Equal(k.Clusters, names) }), nil
}

// freeBytes is the room that is left below a folder for whoever is not root.
func freeBytes(folder string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, fmt.Errorf("%s: %w", folder, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

func printFindings(w io.Writer, output string, fs []doctor.Finding) error {
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(fs)
	}
	for _, f := range fs {
		fmt.Fprintf(w, "%-8s %-24s %s\n", f.Status, f.Check, f.Found)
		if f.Remedy != "" {
			fmt.Fprintf(w, "%-8s %-24s do: %s\n", "", "", f.Remedy)
		}
	}
	return nil
}
