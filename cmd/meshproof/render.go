package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
)

func newRender() *cobra.Command {
	var mesh, cluster string
	cmd := &cobra.Command{
		Use:     "render FILE|NAME --mesh M",
		Short:   "Print the Kubernetes objects that a mesh gets for a scenario, as YAML",
		Example: "  meshproof render two-clusters --mesh istio --cluster east",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
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
			out, found := cmd.OutOrStdout(), false
			for _, c := range s.Spec.Topology.Clusters {
				if cluster != "" && cluster != c.Name {
					continue
				}
				found = true
				objs, err := runner.Objects(s, entry, c.Name)
				if err != nil {
					return fmt.Errorf("%s: %w", given[0], err)
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
	cmd.Flags().StringVar(&cluster, "cluster", "", "only this cluster (default: all)")
	must(cmd.MarkFlagRequired("mesh"))
	return cmd
}

func names(s *scenarios.Scenario) []string {
	var ns []string
	for _, c := range s.Spec.Topology.Clusters {
		ns = append(ns, c.Name)
	}
	slices.Sort(ns)
	return ns
}
