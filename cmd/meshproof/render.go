package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
)

func newRender() *cobra.Command {
	var mesh, cluster, driver string
	var versions versionFlags
	cmd := &cobra.Command{
		Use:   "render FILE|NAME --mesh M",
		Short: "Print the Kubernetes objects that a mesh gets for a scenario, as YAML",
		Long: `Print the Kubernetes objects that a mesh gets for a scenario, as YAML. With --driver kind also
what the mesh's control plane, and Chaos Mesh where faults ask for it, are installed from: each
Helm chart's values, without those that name images.`,
		Example: "  meshproof render two-clusters --mesh istio --cluster east",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			if driver == "embedded" && len(versions.asked()) > 0 {
				return errors.New("--istio-version and --linkerd-version are about real clusters: use them with --driver kind")
			}
			s, _, err := scenarios.Resolve(given[0])
			if err != nil {
				return err
			}
			entry := scenarios.MeshEntry{Name: scenarios.MeshName(mesh)}
			for _, e := range s.Spec.Meshes {
				if string(e.Name) == mesh {
					entry = e
				}
			}
			p, err := provider(driver, "", versions.asked())
			if err != nil {
				return err
			}
			out, found := cmd.OutOrStdout(), false
			for _, c := range s.Spec.Topology.Clusters {
				if cluster != "" && cluster != c.Name {
					continue
				}
				found = true
				build := clusters.Build{}
				if len(p.Models()) == 0 {
					if build, err = p.Build(mesh); err != nil {
						return withCode(exitError, err)
					}
				}
				objs, err := runner.Objects(s, entry, build, c.Name)
				if err != nil {
					return fmt.Errorf("%s: %w", given[0], err)
				}
				if len(p.Models()) == 0 {
					if err := renderInstall(out, build, s, entry, c.Name); err != nil {
						return err
					}
				}
				text, err := clusters.Encode(objs)
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "# cluster %s, mesh %s\n---\n%s", c.Name, mesh, text)
			}
			if !found {
				return fmt.Errorf("--cluster %s: %s has no such cluster, only %v", cluster, given[0], names(s))
			}
			return nil
		},
		ValidArgsFunction: completeScenarios,
	}
	cmd.Flags().StringVar(&mesh, "mesh", "", "the mesh: none, istio, linkerd or layered")
	cmd.Flags().StringVar(&driver, "driver", "embedded", "also what this driver installs the mesh from: embedded (nothing), or kind")
	must(cmd.RegisterFlagCompletionFunc("driver", cobra.FixedCompletions(drivers, cobra.ShellCompDirectiveNoFileComp)))
	cmd.Flags().StringVar(&cluster, "cluster", "", "only this cluster (default: all)")
	versions.add(cmd.Flags())
	must(cmd.MarkFlagRequired("mesh"))
	return cmd
}

// renderInstall prints what a mesh's control plane, and what carries faults out, is installed from in one cluster.
func renderInstall(out io.Writer, b clusters.Build, s *scenarios.Scenario, e scenarios.MeshEntry, cluster string) error {
	in, err := runner.Install(s, e, b, cluster)
	if err != nil {
		return err
	}
	m := evidence.Manifest{Flavors: map[string]string{string(e.Name): b.Flavor}}
	name := m.MeshName(string(e.Name))
	for _, r := range append(in.Releases, runner.Tools(s)...) {
		text, err := yaml.Marshal(r.Values)
		if err != nil {
			return fmt.Errorf("values of chart %s: %w", r.Chart, err)
		}
		fmt.Fprintf(out, "# cluster %s, mesh %s: values of chart %s, installed as %s/%s\n---\n%s", cluster, name, r.Chart, r.Namespace, r.Name, text)
	}
	if len(in.Objects) == 0 {
		return nil
	}
	text, err := clusters.Encode(in.Objects)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "# cluster %s, mesh %s: beside the charts\n---\n%s", cluster, name, text)
	return nil
}

func names(s *scenarios.Scenario) []string {
	var ns []string
	for _, c := range s.Spec.Topology.Clusters {
		ns = append(ns, c.Name)
	}
	slices.Sort(ns)
	return ns
}
