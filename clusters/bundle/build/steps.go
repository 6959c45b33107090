package build

import (
	"context"
)

// networkPackages are what kube-proxy and the sidecars' redirection use.
var networkPackages = []string{"iptables", "nftables", "conntrack", "iproute2", "ipset", "kmod", "ca-certificates"}

// recipe changes when steps make something else of the same inputs.
const recipe = "1"

// catalogue is all that can be built, in an order in which it can be. goVersion is the compiler's.
func catalogue(goVersion string) ([]step, error) {
	var out []step
	var failed error
	// programs is a step that compiles a description.
	programs := func(name, about string, b goBuild) {
		d, err := describe(name)
		if err != nil {
			failed = err
			return
		}
		out = append(out, step{
			name: name, about: about, compiles: true, inputs: append(d.inputs(goVersion), b.inputs()...),
			make: func(ctx context.Context, j job) error { return d.build(ctx, b, j.out, j.log) },
		})
	}
	root := func(name, about string, r rootFS) {
		out = append(out, step{name: name, about: about, inputs: append(r.inputs(), recipe), make: r.make})
	}
	root("debian-node", "Debian for nodes", nodeRootFS())
	root("debian-network", "Debian for images with iptables", rootFS{packages: networkPackages})
	programs("kubernetes", "compiling Kubernetes (long)", kubernetesBuild())
	programs("etcd", "compiling etcd", goBuild{programs: []program{{"go.etcd.io/etcd/server/v3", "etcd"}}})
	programs("coredns", "compiling CoreDNS", goBuild{programs: []program{{".", "coredns"}}})
	programs("pause", "compiling pause", goBuild{programs: []program{{".", "pause"}}})
	kind, err := describe("kind")
	if err != nil {
		return nil, err
	}
	out = append(out, step{
		name: "node", about: "assembling the node image", parts: []string{"node"}, make: makeNode,
		inputs: append(kind.inputs(""), recipe, conflist, storage),
		needs:  []string{"debian-node", "debian-network", "kubernetes", "etcd", "coredns", "pause"},
	})
	return out, failed
}
