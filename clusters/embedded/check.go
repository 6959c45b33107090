package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// maxReplicas bounds a Deployment: every pod is a few sockets and goroutines of this process.
const maxReplicas = 100

// Fields that are interpreted, by kind, beside the metadata of every object. A path stands for all that is under it.
var (
	metaFields       = []string{"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations"}
	serviceFields    = []string{"spec.selector", "spec.type", "spec.ports[].name", "spec.ports[].port", "spec.ports[].targetPort", "spec.ports[].protocol", "spec.ports[].appProtocol"}
	deploymentFields = []string{
		"spec.replicas", "spec.selector.matchLabels", "spec.template.metadata.labels", "spec.template.metadata.annotations",
		"spec.template.spec.serviceAccountName", "spec.template.spec.containers[].name", "spec.template.spec.containers[].image",
		"spec.template.spec.containers[].imagePullPolicy", "spec.template.spec.containers[].env[].name",
		"spec.template.spec.containers[].env[].value", "spec.template.spec.containers[].ports",
	}
)

// check says what of the objects is not interpreted, all of it at once. factory is nil without a mesh.
func check(mesh string, factory *proxy.Factory, objs []clusters.Object) error {
	var errs []error
	for _, obj := range objs {
		if err := checkObject(mesh, factory, obj); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", clusters.KindName(obj), nameOf(obj), err))
		}
	}
	if factory != nil && factory.Check != nil {
		errs = append(errs, factory.Check(objs))
	}
	return errors.Join(errs...)
}

func nameOf(obj clusters.Object) string {
	if obj.GetNamespace() == "" {
		return obj.GetName()
	}
	return obj.GetNamespace() + "/" + obj.GetName()
}

func checkObject(mesh string, factory *proxy.Factory, obj clusters.Object) error {
	switch o := obj.(type) {
	case *corev1.Namespace, *corev1.ServiceAccount:
		return interpreted(obj, nil)
	case *corev1.Service:
		return errors.Join(interpreted(obj, serviceFields), checkService(o))
	case *appsv1.Deployment:
		return errors.Join(interpreted(obj, deploymentFields), checkDeployment(factory, o))
	default:
		if factory == nil {
			return fmt.Errorf("%w: nothing interprets this kind under mesh %s", clusters.ErrNotModelled, mesh)
		}
		return nil // the mesh's own Check decides
	}
}

// interpreted names the fields of an object that are set and not in the list.
func interpreted(obj clusters.Object, fields []string) error {
	data, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	var others []string
	walk("", m, slices.Concat(metaFields, fields), &others)
	if len(others) == 0 {
		return nil
	}
	slices.Sort(others)
	return fmt.Errorf("%w: %s", clusters.ErrNotModelled, strings.Join(slices.Compact(others), ", "))
}

func walk(path string, v any, allowed []string, others *[]string) {
	if slices.Contains(allowed, path) {
		return
	}
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			walk(strings.TrimPrefix(path+"."+key, "."), v[key], allowed, others)
		}
	case []any:
		for _, child := range v {
			walk(path+"[]", child, allowed, others)
		}
	default:
		*others = append(*others, path)
	}
}

func checkService(s *corev1.Service) error {
	switch {
	case len(s.Spec.Selector) == 0:
		return fmt.Errorf("%w: a Service without spec.selector", clusters.ErrNotModelled)
	case s.Spec.Type != "" && s.Spec.Type != corev1.ServiceTypeClusterIP:
		return fmt.Errorf("%w: spec.type %s; ClusterIP is", clusters.ErrNotModelled, s.Spec.Type)
	case len(s.Spec.Ports) != 1:
		return fmt.Errorf("%w: %d ports in spec.ports; one is", clusters.ErrNotModelled, len(s.Spec.Ports))
	}
	p := s.Spec.Ports[0]
	target := p.TargetPort.IntValue()
	if p.TargetPort.String() == "0" {
		target = int(p.Port)
	}
	switch {
	case p.Protocol != "" && p.Protocol != corev1.ProtocolTCP:
		return fmt.Errorf("%w: spec.ports[0].protocol %s; TCP is", clusters.ErrNotModelled, p.Protocol)
	case p.Port != scenarios.ServicePort:
		return fmt.Errorf("%w: spec.ports[0].port %d; %d is", clusters.ErrNotModelled, p.Port, scenarios.ServicePort)
	case target != scenarios.WorkloadPort:
		return fmt.Errorf("%w: spec.ports[0].targetPort %s; %d is", clusters.ErrNotModelled, p.TargetPort.String(), scenarios.WorkloadPort)
	}
	return nil
}

func checkDeployment(factory *proxy.Factory, d *appsv1.Deployment) error {
	if _, err := configOf(d, factory); err != nil {
		return err
	}
	if n := replicas(d); n < 0 || n > maxReplicas {
		return fmt.Errorf("spec.replicas is %d: the embedded driver runs 0 to %d", n, maxReplicas)
	}
	if d.Spec.Selector == nil || len(d.Spec.Selector.MatchLabels) == 0 {
		return errors.New("spec.selector.matchLabels is missing")
	}
	if !selects(d.Spec.Selector.MatchLabels, d.Spec.Template.Labels) {
		return errors.New("spec.selector does not match spec.template.metadata.labels")
	}
	return nil
}

// configOf reads what a Deployment's pods do: they have one container of the workload and, where the mesh's model runs
// one, a gateway beside it.
func configOf(d *appsv1.Deployment, factory *proxy.Factory) (workload.Config, error) {
	var own *corev1.Container
	gateways := 0
	cs := d.Spec.Template.Spec.Containers
	for i := range cs {
		switch {
		case isGateway(factory, cs[i]):
			gateways++
		case cs[i].Image != workload.Image:
			return workload.Config{}, fmt.Errorf("%w: container %q with image %q; %s is", clusters.ErrNotModelled, cs[i].Name, cs[i].Image, workload.Image)
		case own != nil:
			return workload.Config{}, fmt.Errorf("%w: container %q beside the workload's, %q", clusters.ErrNotModelled, cs[i].Name, own.Name)
		default:
			own = &cs[i]
		}
	}
	switch {
	case own == nil:
		return workload.Config{}, fmt.Errorf("%w: a pod without a container of image %s", clusters.ErrNotModelled, workload.Image)
	case gateways > 1:
		return workload.Config{}, fmt.Errorf("%w: %d gateways in one pod; one is", clusters.ErrNotModelled, gateways)
	}
	text := ""
	for _, e := range own.Env {
		if e.Name == workload.Env {
			text = e.Value
		}
	}
	cfg, err := workload.ParseConfig(text)
	if err == nil && cfg.Namespace != d.Namespace {
		err = fmt.Errorf("environment variable %s is of namespace %q", workload.Env, cfg.Namespace)
	}
	return cfg, err
}

func isGateway(factory *proxy.Factory, c corev1.Container) bool {
	return factory != nil && factory.Gateway != nil && factory.Gateway(c)
}

func replicas(d *appsv1.Deployment) int {
	if d.Spec.Replicas == nil {
		return 1
	}
	return int(*d.Spec.Replicas)
}

// selects reports whether labels have all that the selector asks for.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}
