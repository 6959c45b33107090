package embedded

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
)

func TestCheckNamesEveryFieldThatTheModelDoesNotInterpret(t *testing.T) {
	deployment := func(change func(*appsv1.Deployment)) clusters.Object {
		d := objects(t, "east", 1)[3].(*appsv1.Deployment)
		change(d)
		return d
	}
	service := func(change func(*corev1.Service)) clusters.Object {
		s := objects(t, "east", 1)[2].(*corev1.Service)
		change(s)
		return s
	}
	for _, tt := range []struct {
		name     string
		obj      clusters.Object
		want     string
		modelled bool // the error is about a value that no cluster would take either
	}{
		{name: "volumes", obj: deployment(func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "v"}}
		}), want: "Deployment app/cart: not modelled: spec.template.spec.volumes[].name"},
		{name: "probes and resources, both", obj: deployment(func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Command = []string{"sh"}
			d.Spec.Template.Spec.HostNetwork = true
		}), want: "spec.template.spec.containers[].command[], spec.template.spec.hostNetwork"},
		{name: "a second container", obj: deployment(func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{Name: "x"})
		}), want: `container "x" with image ""`},
		{name: "another image", obj: deployment(func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Image = "nginx"
		}), want: `image "nginx"`},
		{name: "no configuration", obj: deployment(func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Env = nil
		}), want: workload.Env + " is not set", modelled: true},
		{name: "configuration of another namespace", obj: deployment(func(d *appsv1.Deployment) { d.Namespace = "b" }), want: `is of namespace "app"`, modelled: true},
		{name: "negative replicas", obj: deployment(func(d *appsv1.Deployment) { n := int32(-1); d.Spec.Replicas = &n }), want: "spec.replicas is -1", modelled: true},
		{name: "very many replicas", obj: deployment(func(d *appsv1.Deployment) { n := int32(101); d.Spec.Replicas = &n }), want: "spec.replicas is 101", modelled: true},
		{name: "no selector", obj: deployment(func(d *appsv1.Deployment) { d.Spec.Selector = nil }), want: "matchLabels is missing", modelled: true},
		{name: "finalizers", obj: deployment(func(d *appsv1.Deployment) { d.Finalizers = []string{"x/y"} }), want: "metadata.finalizers[]"},
		{name: "a headless Service", obj: service(func(s *corev1.Service) { s.Spec.ClusterIP = "None" }), want: "Service app/cart: not modelled: spec.clusterIP"},
		{name: "a node port", obj: service(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort }), want: "spec.type NodePort"},
		{name: "two ports", obj: service(func(s *corev1.Service) { s.Spec.Ports = append(s.Spec.Ports, s.Spec.Ports[0]) }), want: "2 ports"},
		{name: "another port", obj: service(func(s *corev1.Service) { s.Spec.Ports[0].Port = 81 }), want: "spec.ports[0].port 81"},
		{name: "another target", obj: service(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(1) }), want: "targetPort 1"},
		{name: "no target", obj: service(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.IntOrString{} }), want: "targetPort 0"},
		{name: "UDP", obj: service(func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }), want: "protocol UDP"},
		{name: "no selector of a Service", obj: service(func(s *corev1.Service) { s.Spec.Selector = nil }), want: "without spec.selector"},
		{name: "a kind of nobody's", obj: new(corev1.Secret), want: "nothing interprets this kind under mesh none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := New(nil).Check("none", []clusters.Object{tt.obj})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v does not say %q", err, tt.want)
			}
			if errors.Is(err, clusters.ErrNotModelled) == tt.modelled {
				t.Errorf("ErrNotModelled in %v: want %v", err, !tt.modelled)
			}
		})
	}
	if err := New(nil).Check("none", objects(t, "east", 1)); err != nil {
		t.Errorf("good objects: %v", err)
	}
	if err := New(nil).Check("consul", nil); err == nil || !strings.Contains(err.Error(), `mesh "consul": it knows none`) {
		t.Errorf("an unknown mesh: %v", err)
	}
}

func TestAListenerThatDoesNotOpenSaysWhatToDo(t *testing.T) {
	for err, want := range map[error]string{
		syscall.EMFILE: "ulimit -n", syscall.EADDRINUSE: "no port is free", syscall.EACCES: "outside the sandbox", os.ErrInvalid: "",
	} {
		if got := remedy(err); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("remedy(%v) = %q", err, got)
		}
	}
}
