package kind

import (
	"fmt"
	"os"
	"path/filepath"
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
		// There is one of each: nobody else to agree with on who leads, nor to wait for.
		"kube-controller-manager+json.yaml": alone,
		"kube-scheduler+json.yaml":          alone,
		// Clusters need not survive the host's.
		"etcd+json.yaml": "- {op: add, path: /spec/containers/0/command/-, value: --unsafe-no-fsync=true}\n",
	}
}

const alone = "- {op: add, path: /spec/containers/0/command/-, value: --leader-elect=false}\n"

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
