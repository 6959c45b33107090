package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// fieldManager owns every field that Meshproof applies.
const fieldManager = "meshproof"

// Apply implements clusters.Cluster, by server-side apply. Objects whose namespace is there are first applied as a dry
// run, all of them, so that one which the API server refuses leaves the others as they were.
func (c *cluster) Apply(ctx context.Context, objs ...clusters.Object) error {
	failed := func(err error) error { return fmt.Errorf("applying to cluster %s: %w", c.name, err) }
	if err := errors.Join(ctx.Err(), c.f.alive()); err != nil {
		return failed(err)
	}
	patches, err := c.patches(objs)
	if err != nil {
		return failed(err)
	}
	there, err := c.namespaces(ctx)
	if err != nil {
		return failed(err)
	}
	coming := map[string]bool{}
	for _, p := range patches {
		if p.kind == "Namespace" {
			coming[p.name] = true
			continue
		}
		switch {
		case there[p.namespace]:
			if _, err := c.patch(ctx, p, true); err != nil {
				return failed(err)
			}
		case !coming[p.namespace]:
			return failed(fmt.Errorf("%s: namespace %q does not exist: apply it first", p, p.namespace))
		}
	}
	for i, p := range patches {
		version, err := c.patch(ctx, p, false)
		if err != nil {
			return failed(err)
		}
		event := &evidence.Event{
			Header: c.f.header("cluster/" + c.name), Kind: evidence.EventApplied,
			Name: p.kind + "/" + p.namespace + "/" + p.name, At: evidence.PodRef{Cluster: c.name},
		}
		if err := c.f.append(event); err != nil {
			return err
		}
		if err := c.applied(ctx, objs[i], version); err != nil {
			return failed(err)
		}
	}
	return c.f.broken()
}

// patch is an object on its way to the API server.
type patch struct {
	kind, namespace, name string
	gvk                   schema.GroupVersionKind
	body                  []byte
}

func (p patch) String() string {
	if p.namespace == "" {
		return p.kind + " " + p.name
	}
	return p.kind + " " + p.namespace + "/" + p.name
}

// patches makes the objects ready for the API server, or says which are none of Meshproof's kinds.
func (c *cluster) patches(objs []clusters.Object) ([]patch, error) {
	if err := checkObjects(c.f.spec.Mesh, objs); err != nil {
		return nil, err
	}
	list := make([]patch, 0, len(objs))
	for _, obj := range objs {
		if d, ok := obj.(*appsv1.Deployment); ok {
			d, err := c.withAgent(d)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", clusters.KindName(obj), nameOf(obj), err)
			}
			obj = d
		}
		if c.f.mesh != nil {
			obj = c.onNetwork(c.f.mesh.object(c.f, obj))
		}
		u, err := fields(obj)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", clusters.KindName(obj), nameOf(obj), err)
		}
		outspoken(u)
		p, err := patchOf(u)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", clusters.KindName(obj), nameOf(obj), err)
		}
		list = append(list, p)
	}
	return list, nil
}

func patchOf(u *unstructured.Unstructured) (patch, error) {
	body, err := u.MarshalJSON()
	return patch{kind: u.GetKind(), namespace: u.GetNamespace(), name: u.GetName(), gvk: u.GroupVersionKind(), body: body}, err
}

// fields is the object as one would write it by hand: only what is said in it is applied.
func fields(obj clusters.Object) (*unstructured.Unstructured, error) {
	doc, err := clusters.Encode([]clusters.Object{obj})
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	return u, yaml.Unmarshal(doc, &u.Object)
}

// withAgent adds to the containers that run the agent what only the driver knows.
func (c *cluster) withAgent(d *appsv1.Deployment) (*appsv1.Deployment, error) {
	cfg, err := c.agentConfig()
	if err != nil {
		return nil, err
	}
	own := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	d = d.DeepCopy()
	if c.f.mesh != nil {
		c.f.mesh.template(c.f, &d.Spec.Template)
	}
	spec := &d.Spec.Template.Spec
	for i := range spec.Containers {
		ct := &spec.Containers[i]
		if ct.Image != workload.Image {
			continue
		}
		if _, err := configOf(ct); err != nil {
			return nil, err
		}
		ct.ImagePullPolicy = corev1.PullNever // it was brought onto the node
		ct.Env = append(ct.Env,
			corev1.EnvVar{Name: agent.Env, Value: cfg},
			corev1.EnvVar{Name: agent.EnvPod, ValueFrom: own("metadata.name")},
			corev1.EnvVar{Name: agent.EnvUID, ValueFrom: own("metadata.uid")})
		// Ready is a pod that listens, not one whose container runs.
		ct.StartupProbe = &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: agent.PathReady, Port: intstr.FromInt32(agent.ControlPort)}},
			PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 60,
		}
	}
	return d, nil
}

// configOf reads what a container that runs the agent does.
func configOf(ct *corev1.Container) (workload.Config, error) {
	text := ""
	for _, e := range ct.Env {
		if e.Name == workload.Env {
			text = e.Value
		}
	}
	return workload.ParseConfig(text)
}

// namespaces lists what is there.
func (c *cluster) namespaces(ctx context.Context) (map[string]bool, error) {
	list, err := c.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	there := map[string]bool{}
	for i := range list.Items {
		there[list.Items[i].Name] = true
	}
	return there, nil
}

// patch applies one object, or tries whether the API server would. It returns the version that the object has now.
func (c *cluster) patch(ctx context.Context, p patch, dry bool) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	mapping, err := c.mapper.RESTMapping(p.gvk.GroupKind(), p.gvk.Version)
	if meta.IsNoMatchError(err) { // definitions may have been installed since
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(p.gvk.GroupKind(), p.gvk.Version)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", p, err)
	}
	var to dynamic.ResourceInterface = c.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		to = c.dynamic.Resource(mapping.Resource).Namespace(p.namespace)
	}
	force := true
	opts := metav1.PatchOptions{FieldManager: fieldManager, Force: &force}
	if dry {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	var now *unstructured.Unstructured
	err = answered(ctx, func() error {
		now, err = to.Patch(ctx, p.name, types.ApplyPatchType, p.body, opts)
		return err
	})
	if err != nil {
		if why := apierrors.ReasonForError(err); why != metav1.StatusReasonUnknown {
			return "", fmt.Errorf("%s: the API server refuses it (%s): %w", p, why, err)
		}
		return "", fmt.Errorf("%s: %w", p, err)
	}
	return now.GetResourceVersion(), nil
}

// applied notes what the driver itself must know of an object.
func (c *cluster) applied(ctx context.Context, obj clusters.Object, version string) error {
	if c.f.mesh != nil && c.f.mesh.takes(obj) {
		c.f.mu.Lock()
		defer c.f.mu.Unlock()
		c.settings[clusters.Key(obj)] = setting{obj: obj, version: version}
		return nil
	}
	switch o := obj.(type) {
	case *corev1.Service:
		c.f.mu.Lock()
		defer c.f.mu.Unlock()
		c.services[nameOf(o)] = o.DeepCopy()
		c.f.notify()
	case *appsv1.Deployment:
		for i := range o.Spec.Template.Spec.Containers {
			if cfg, err := configOf(&o.Spec.Template.Spec.Containers[i]); err == nil && cfg.Role == workload.RoleIngress {
				return c.openIngress(ctx, o, outside(&o.Spec.Template.Spec, &o.Spec.Template.Spec.Containers[i]))
			}
		}
	}
	return nil
}

// ingressService is the Service by which the host reaches a cluster's ingress.
const ingressService = "meshproof-ingress"

// openIngress gives the ingress the node's port that Docker maps to the host.
func (c *cluster) openIngress(ctx context.Context, d *appsv1.Deployment, ct *corev1.Container) error {
	if len(ct.Ports) == 0 {
		return fmt.Errorf("%s %s: an ingress wants a port", clusters.KindName(d), nameOf(d))
	}
	svc := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: ingressService, Namespace: d.Namespace},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: d.Spec.Selector.MatchLabels,
			Ports: []corev1.ServicePort{{
				// Not the gateway's own number: to istiod that would be two listeners of one name in its proxy.
				Name: "http", Port: scenarios.ServicePort, TargetPort: intstr.FromInt32(ct.Ports[0].ContainerPort), NodePort: ingressNodePort,
			}},
		},
	}
	body, err := json.Marshal(svc)
	if err != nil {
		return err
	}
	p := patch{kind: "Service", namespace: svc.Namespace, name: svc.Name, gvk: svc.GroupVersionKind(), body: body}
	if _, err := c.patch(ctx, p, false); err != nil {
		return err
	}
	url, err := c.ingressURL(ctx)
	if err != nil {
		return err
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.ingress = url
	return nil
}
