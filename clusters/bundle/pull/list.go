package pull

import (
	"maps"
	"slices"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// Item is one thing to pull: an image, or a chart of a repository.
type Item struct {
	Part string // the part's name; "" is the one that follows from the image or the chart
	// Ref is an image's reference with a tag and perhaps a digest, or a chart as oci://HOST/PATH/NAME:VERSION, or, with a
	// Repo, as NAME:VERSION.
	Ref  string
	Repo string // a chart repository's address
}

// Sources are where the projects publish what they make.
type Sources struct {
	Nodes         string // kind's images of nodes, as kind names its default one
	Istio         string // its images, and below charts/ its charts
	Linkerd       string // its images
	LinkerdCharts string // a chart repository
	Chaos         string // Chaos Mesh's images
	ChaosCharts   string // a chart repository
}

// Public are the projects' own.
func Public() Sources {
	return Sources{
		Nodes: "docker.io/" + defaults.Image,
		Istio: "registry.istio.io/release/", Linkerd: "cr.l5d.io/linkerd/", LinkerdCharts: "https://helm.linkerd.io/edge",
		Chaos: "ghcr.io/chaos-mesh/", ChaosCharts: "https://charts.chaos-mesh.org",
	}
}

// Everything is what the projects publish of all that real clusters can use, in these versions, by component; in the pinned
// one of those that are not named. Parts have the names that package build gives to its own.
func (s Sources) Everything(versions map[string]string) []Item {
	all := []Item{s.Node()}
	for _, of := range slices.Sorted(maps.Keys(bundle.Pinned())) {
		all = append(all, s.Of(of, versions[of])...)
	}
	return all
}

// Node is the image of nodes.
func (s Sources) Node() Item { return Item{Part: "node", Ref: s.Nodes} }

// Of is what a component has, in a version; "" is the pinned one.
func (s Sources) Of(component, version string) []Item {
	if version == "" {
		version = bundle.Pinned()[component]
	}
	v := bundle.Release(version)
	switch component {
	case bundle.Istio:
		return []Item{
			{Part: "pilot", Ref: s.Istio + "pilot:" + v},
			{Part: "proxyv2", Ref: s.Istio + "proxyv2:" + v},
			{Ref: "oci://" + s.Istio + "charts/base:" + v},
			{Ref: "oci://" + s.Istio + "charts/istiod:" + v},
			{Ref: "oci://" + s.Istio + "charts/gateway:" + v},
		}
	case bundle.Linkerd:
		return []Item{
			{Part: "linkerd-controller", Ref: s.Linkerd + "controller:edge-" + v},
			{Part: "linkerd-proxy", Ref: s.Linkerd + "proxy:edge-" + v},
			{Ref: "linkerd-crds:20" + v, Repo: s.LinkerdCharts},
			{Ref: "linkerd-control-plane:20" + v, Repo: s.LinkerdCharts},
			{Ref: "linkerd-multicluster:20" + v, Repo: s.LinkerdCharts},
		}
	case bundle.ChaosMesh:
		return []Item{
			{Part: "chaos-mesh", Ref: s.Chaos + "chaos-mesh:v" + v},
			{Part: "chaos-daemon", Ref: s.Chaos + "chaos-daemon:v" + v},
			{Ref: "chaos-mesh:" + v, Repo: s.ChaosCharts},
		}
	}
	return nil
}
