package workload

import (
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/meshproof/meshproof/scenarios"
)

const (
	// Image runs a Config.
	Image = "meshproof/agent:dev"
	// Container is the name of the workload's container in its pod.
	Container = "workload"
	// LabelApp selects a workload's pods.
	LabelApp = "app"
)

const (
	labelPartOf = "app.kubernetes.io/part-of"
	partOf      = "meshproof"
	portName    = "http" // Istio reads the protocol from the name
)

func labels(w scenarios.Workload) map[string]string {
	return map[string]string{LabelApp: w.Name, labelPartOf: partOf}
}

func meta(w scenarios.Workload) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: w.Name, Namespace: w.Namespace, Labels: labels(w)}
}

// Namespace is the namespace of that name with labels of its own.
func Namespace(name string, extra map[string]string) *corev1.Namespace {
	l := map[string]string{labelPartOf: partOf}
	for k, v := range extra {
		l[k] = v
	}
	return &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: l},
	}
}

// ServiceAccount is the workload's identity.
func ServiceAccount(w scenarios.Workload) *corev1.ServiceAccount {
	m := meta(w)
	m.Name = w.ServiceAccount
	return &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: m}
}

// Service is the name by which the workload is called.
func Service(w scenarios.Workload) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta(w),
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{LabelApp: w.Name},
			Ports: []corev1.ServicePort{{
				Name: portName, Port: scenarios.ServicePort, TargetPort: intstr.FromInt32(scenarios.WorkloadPort),
			}},
		},
	}
}

// Deployment runs the workload in a cluster.
func Deployment(s *scenarios.Scenario, w scenarios.Workload, cluster string) (*appsv1.Deployment, error) {
	cfg, err := configOf(s, w, cluster)
	if err != nil {
		return nil, err
	}
	env, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("writing the configuration of %s: %w", w.Name, err)
	}
	replicas := int32(w.Replicas)
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: meta(w),
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{LabelApp: w.Name}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels(w)},
				Spec: corev1.PodSpec{
					ServiceAccountName: w.ServiceAccount,
					Containers: []corev1.Container{{
						Name:  Container,
						Image: Image,
						Env:   []corev1.EnvVar{{Name: Env, Value: string(env)}},
						Ports: []corev1.ContainerPort{{Name: portName, ContainerPort: scenarios.WorkloadPort}},
					}},
				},
			},
		},
	}, nil
}

// configOf says what the workload does in a cluster. Defaults of the scenario must be filled in.
func configOf(s *scenarios.Scenario, w scenarios.Workload, cluster string) (Config, error) {
	cfg := Config{Name: w.Name, Namespace: w.Namespace, Cluster: cluster, Role: RoleService}
	switch {
	case !slices.Contains(w.Clusters, cluster):
		return cfg, fmt.Errorf("workload %s does not run in cluster %s", w.Name, cluster)
	case w.Service != nil:
	case w.Name == scenarios.IngressName:
		cfg.Role = RoleIngress
		if is := s.Spec.Identity.Issuer; is != nil {
			cfg.Tokens = &TokenCheck{Issuer: scenarios.IssuerURL, Audience: is.Audience, Keys: scenarios.IssuerKeys}
		}
		return cfg, nil
	default:
		cfg.Role = RoleOutsider
		return cfg, nil
	}
	cfg.Latency, cfg.ErrorRate = w.Service.Latency, w.Service.ErrorRate
	for _, c := range w.Service.Calls {
		to, ok := s.Workload(c.To)
		if !ok {
			return cfg, fmt.Errorf("service %s calls %q, which is not in the scenario", w.Name, c.To)
		}
		call := Call{Host: to.Host(), Method: c.Method, Path: c.Path, Share: 1}
		if c.Share != nil {
			call.Share = *c.Share
		}
		cfg.Calls = append(cfg.Calls, call)
	}
	if err := cfg.validate(); err != nil {
		return cfg, fmt.Errorf("service %s: %w", w.Name, err)
	}
	return cfg, nil
}
