package build

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// kubernetesVersion is the version of Kubernetes that descriptions/kubernetes builds; a test holds the two together.
const kubernetesVersion = "v1.35.4"

// kubernetesBuild builds Kubernetes' programs, which must know their version: without a build from its own repository
// they would say v0.0.0.
func kubernetesBuild() goBuild {
	b := goBuild{}
	for _, p := range []string{
		"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubeadm", "kubectl", "kubelet",
	} {
		b.programs = append(b.programs, program{"k8s.io/kubernetes/cmd/" + p, p})
	}
	v := strings.Split(strings.TrimPrefix(kubernetesVersion, "v"), ".")
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		b.vars = append(b.vars, pkg+".gitVersion="+kubernetesVersion, pkg+".gitMajor="+v[0], pkg+".gitMinor="+v[1],
			pkg+".gitTreeState=clean")
	}
	return b
}

// controlPlane assembles the images that kubeadm wants, under the names by which it wants them.
func controlPlane(ctx context.Context, j job) ([]tagged, error) {
	text, err := command{log: j.log}.output(ctx, filepath.Join(j.from["kubernetes"], "kubeadm"),
		"config", "images", "list", "--kubernetes-version", kubernetesVersion)
	if err != nil {
		return nil, err
	}
	network, err := readLayer(filepath.Join(j.from["debian-network"], layerFile))
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{"etcd": "etcd", "coredns": "coredns", "pause": "pause"} // the step of a program; else kubernetes
	var images []tagged
	for _, ref := range strings.Fields(string(text)) {
		repo, _, _ := strings.Cut(ref, ":")
		program := repo[strings.LastIndex(repo, "/")+1:]
		step := dirs[program]
		if step == "" {
			step = "kubernetes"
		}
		own, err := writeLayer(filepath.Join(j.out, program), func(w *layerWriter) error {
			return w.programs("usr/local/bin", j.from[step], program)
		})
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", ref, err)
		}
		layers := []*layer{own}
		if program == "kube-proxy" { // uses iptables and conntrack
			layers = []*layer{network, own}
		}
		img, err := assemble(v1.Config{Env: []string{searchPath}, Entrypoint: []string{"/usr/local/bin/" + program}}, layers...)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", ref, err)
		}
		images = append(images, tagged{ref, img})
	}
	return images, nil
}
