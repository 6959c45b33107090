package kind

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// patchesOnNode is where kubeadm finds patches of what it makes.
const patchesOnNode = "/kind/meshproof-patches"

// kubeadmInit is what kubeadm is told beside kind's own configuration. The phase that is left out restarts the kubelet
// with a certificate that it renews itself, which a cluster needs after a year; the restart comes when the first pods
// start. (Kind leaves out the preflight checks.)
const kubeadmInit = "kind: InitConfiguration\npatches: {directory: " + patchesOnNode + "}\nskipPhases: [preflight, kubelet-finalize]\n"

// kubeadmPatches let a cluster be ready sooner, by the file's name, which says to kubeadm what is patched.
func kubeadmPatches() map[string]string {
	return map[string]string{
		// A DNS server that starts before kube-proxy does cannot reach the API server by its Service, and waits for TCP to
		// try again; and a first probe that comes too early is repeated after ten seconds.
		"corednsdeployment+strategic.yaml": `spec:
  replicas: 1
  template:
    spec:
      nodeSelector: {node-role.kubernetes.io/control-plane: ""}
      containers:
      - name: coredns
        env:
        - {name: KUBERNETES_SERVICE_HOST, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
        - {name: KUBERNETES_SERVICE_PORT, value: "6443"}
        readinessProbe: {periodSeconds: 1}
`,
		// There is one of each: nobody to agree with on who leads. The controllers ask for a token each before they begin,
		// for which the twenty requests a second that they allow themselves take five seconds.
		"kube-controller-manager+json.yaml": flags("--leader-elect=false", "--kube-api-qps=300", "--kube-api-burst=600"),
		"kube-scheduler+json.yaml":          flags("--leader-elect=false"),
		// Clusters need not survive the host's.
		"etcd+json.yaml": flags("--unsafe-no-fsync=true"),
	}
}

// flags is the patch that adds flags to a command line, where the last of a name counts.
func flags(list ...string) string {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "- {op: add, path: /spec/containers/0/command/-, value: %s}\n", f)
	}
	return b.String()
}

// writeKubeadmPatches makes the folder of patches in a fleet's own.
func writeKubeadmPatches(dir string) (path string, err error) {
	path = filepath.Join(dir, "kubeadm")
	err = os.MkdirAll(path, 0o755)
	for name, text := range kubeadmPatches() {
		if err == nil {
			err = os.WriteFile(filepath.Join(path, name), []byte(text), 0o644)
		}
	}
	if err != nil {
		return "", fmt.Errorf("writing what kubeadm is to patch: %w", err)
	}
	return path, nil
}
