package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/bundle/pull"
	"github.com/meshproof/meshproof/scenarios"
)

// versionFlags say in which version a mesh is wanted.
type versionFlags struct{ istio, linkerd string }

func (v *versionFlags) add(fl interface {
	StringVar(p *string, name, value, usage string)
},
) {
	usage := func(mesh string) string {
		return fmt.Sprintf("`version` of %s (default: %s, or the only one that the bundle has)", mesh, bundle.Pinned()[mesh])
	}
	fl.StringVar(&v.istio, "istio-version", "", usage(bundle.Istio))
	fl.StringVar(&v.linkerd, "linkerd-version", "", usage(bundle.Linkerd))
}

// asked are the versions by project, without those that nobody asked for.
func (v versionFlags) asked() map[string]string {
	asked := map[string]string{}
	for of, version := range map[string]string{bundle.Istio: v.istio, bundle.Linkerd: v.linkerd} {
		if version != "" {
			asked[of] = version
		}
	}
	return asked
}

// projects are those that a mesh is installed from.
func projects(mesh scenarios.MeshName) []string {
	switch mesh {
	case scenarios.MeshIstio:
		return []string{bundle.Istio}
	case scenarios.MeshLinkerd:
		return []string{bundle.Linkerd}
	case scenarios.MeshLayered:
		return []string{bundle.Istio, bundle.Linkerd}
	}
	return nil
}

// missing lists what has to be pulled for clusters of these meshes: nothing of what the bundle in dir has.
func missing(p clusters.Provider, dir string, meshes []scenarios.MeshName, versions map[string]string, from pull.Sources) []pull.Item {
	var items []pull.Item
	b, err := bundle.Open(dir)
	if err != nil || !slices.ContainsFunc(b.Parts(), func(p bundle.Part) bool { return p.Kind == bundle.NodeImage }) {
		items = append(items, from.Node())
	}
	pulled := map[string]bool{}
	for _, m := range meshes {
		if _, err := p.Build(string(m)); err == nil {
			continue
		}
		for _, of := range projects(m) {
			if !pulled[of] {
				items = append(items, from.Of(of, versions[of])...)
			}
			pulled[of] = true
		}
	}
	return items
}

// fill pulls items into the bundle in dir, and says what it does.
func fill(ctx context.Context, dir string, items []pull.Item, say io.Writer) error {
	var errs []error
	for _, it := range items {
		fmt.Fprintf(say, "%s: pulling\n", it.Ref)
		p, fresh, err := pull.Pull(ctx, dir, it)
		if ctx.Err() != nil {
			return failed(ctx.Err())
		}
		if err != nil { // the others may be had all the same
			errs = append(errs, err)
			fmt.Fprintf(say, "%s: failed\n", it.Ref)
			continue
		}
		how := "there already"
		if fresh {
			how = "pulled"
		}
		fmt.Fprintf(say, "%s: %s %s %s\n", p.Name, p.Kind, p.Version, how)
	}
	return failed(filling(errors.Join(errs...)))
}

// pullFor pulls what the bundle lacks of the meshes that runs of these scenarios have. A scenario that cannot be read is
// left to whoever reads it next.
func pullFor(ctx context.Context, p clusters.Provider, args []string, f runFlags, say io.Writer) error {
	dir, err := bundleDir(f.bundle)
	if err != nil {
		return err
	}
	var meshes []scenarios.MeshName
	for _, a := range args {
		s, _, err := scenarios.Resolve(a)
		if err != nil {
			continue
		}
		for _, m := range s.Spec.Meshes {
			if len(f.meshes) == 0 || slices.Contains(f.meshes, string(m.Name)) {
				meshes = append(meshes, m.Name)
			}
		}
	}
	return fill(ctx, dir, missing(p, dir, meshes, f.versions.asked(), pull.Public()), say)
}
