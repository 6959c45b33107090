package pull

import "sigs.k8s.io/kind/pkg/apis/config/defaults"

// Item is one thing to pull: an image, or a chart of a repository.
type Item struct {
	Part string // the part's name; "" is the one that follows from the image or the chart
	// Ref is an image's reference with a tag and perhaps a digest, or a chart as oci://HOST/PATH/NAME:VERSION, or, with a
	// Repo, as NAME:VERSION.
	Ref  string
	Repo string // a chart repository's address
}

// Everything is what the projects publish of all that real clusters can use. Parts have the names that package build
// gives to its own.
func Everything() []Item {
	const (
		istio   = "registry.istio.io/release/"
		istioV  = ":1.30.3"
		chaos   = "ghcr.io/chaos-mesh/"
		chaosV  = "2.8.4"
		linkerd = "cr.l5d.io/linkerd/"
		edge    = "26.6.3" // what Linkerd 2.20 is built from
	)
	return []Item{
		{Part: "node", Ref: "docker.io/" + defaults.Image},
		{Part: "pilot", Ref: istio + "pilot" + istioV},
		{Part: "proxyv2", Ref: istio + "proxyv2" + istioV},
		{Ref: "oci://" + istio + "charts/base" + istioV},
		{Ref: "oci://" + istio + "charts/istiod" + istioV},
		{Ref: "oci://" + istio + "charts/gateway" + istioV},
		{Part: "linkerd-controller", Ref: linkerd + "controller:edge-" + edge},
		{Part: "linkerd-proxy", Ref: linkerd + "proxy:edge-" + edge},
		{Ref: "linkerd-crds:20" + edge, Repo: "https://helm.linkerd.io/edge"},
		{Ref: "linkerd-control-plane:20" + edge, Repo: "https://helm.linkerd.io/edge"},
		{Part: "chaos-mesh", Ref: chaos + "chaos-mesh:v" + chaosV},
		{Part: "chaos-daemon", Ref: chaos + "chaos-daemon:v" + chaosV},
		{Ref: "chaos-mesh:" + chaosV, Repo: "https://charts.chaos-mesh.org"},
	}
}
