package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/bundle/pull"
)

func newBundleAdd(where func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "add FILE…",
		Short: "Add image archives and charts that you bring, for example Linkerd's",
		Long: `Add files to the bundle: archives of "docker save", OCI image layouts (a folder, or a tar),
and Helm charts (.tgz). Archives may be gzipped. Every layer is read and its digest compared before
anything is added. A part of the same name is replaced.`,
		Example: "  docker save -o proxy.tar cr.l5d.io/linkerd/proxy:edge-26.6.3\n  meshproof bundle add proxy.tar linkerd-crds-2026.6.3.tgz",
		Args:    takes(1, -1),
		RunE: func(cmd *cobra.Command, files []string) error {
			dir, err := where()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context(), cmd.ErrOrStderr(), stopBuild)
			defer stop()
			for _, f := range files {
				parts, err := bundle.Add(ctx, dir, f)
				if err != nil {
					return failed(filling(err))
				}
				for _, p := range parts {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s %s added\n", p.Name, p.Kind, p.Version)
				}
			}
			return nil
		},
	}
}

// filling is the error of putting something into a bundle, with the remedy where the disk is full or a registry was not
// reached.
func filling(err error) error {
	var unreached *net.OpError
	if errors.As(err, &unreached) {
		return fmt.Errorf("%w\nwhere package registries are in reach but this is not, `meshproof bundle build` makes the parts, and `meshproof bundle add` takes files from elsewhere", err)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w\nthe disk is full: free some, or name other folders (--dir for the bundle, TMPDIR for what is unpacked on the way)", err)
	}
	return err
}

func newBundlePull(where func() (string, error)) *cobra.Command {
	var repo string
	var versions versionFlags
	cmd := &cobra.Command{
		Use:   "pull [REF…]",
		Short: "Pull the parts from image registries and chart repositories, on a host with a network",
		Long: `Pull what the projects publish of all that real clusters can use: kind's node image, Istio,
Linkerd and Chaos Mesh with their charts. With arguments only these: images (REPOSITORY:TAG),
charts of registries (oci://HOST/PATH/CHART:VERSION), or, with --repo, charts of a chart
repository (CHART:VERSION). Images that are there already are not fetched again. A bundle may have a mesh in
several versions.`,
		Example: "  meshproof bundle pull\n  meshproof bundle pull docker.io/kindest/node:v1.35.1\n" +
			"  meshproof bundle pull --repo https://helm.linkerd.io/edge linkerd-crds:2026.6.3",
		Args: takes(0, -1),
		RunE: func(cmd *cobra.Command, refs []string) error {
			if len(refs) > 0 && len(versions.asked()) > 0 {
				return errors.New("--istio-version and --linkerd-version are about what is pulled without arguments: put the version behind the argument's colon")
			}
			if repo != "" && len(refs) == 0 {
				return errors.New("--repo: which chart? Name it as CHART:VERSION")
			}
			dir, err := where()
			if err != nil {
				return err
			}
			items := pull.Public().Everything(versions.asked())
			if len(refs) > 0 {
				items = nil
			}
			for _, r := range refs {
				items = append(items, pull.Item{Ref: r, Repo: repo})
			}
			ctx, stop := interruptible(cmd.Context(), cmd.ErrOrStderr(), stopBuild)
			defer stop()
			return fill(ctx, dir, items, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&repo, "repo", "", "`address` of the chart repository that the arguments are charts of")
	versions.add(cmd.Flags())
	return cmd
}
