package embedded

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workload"
)

// timing is what takes time in a cluster, as modelled. Real ones take longer, and differ.
type timing struct {
	propagate time.Duration // from the death of a pod until its address leaves the endpoints of Services
	restart   time.Duration // from the death of a pod until its replacement begins to start
	retry     time.Duration // from a failed start to the next attempt
	settle    time.Duration // from a pod's leaving the endpoints to its SIGTERM (a preStop sleep)
	grace     time.Duration // from SIGTERM to SIGKILL
}

func defaultTiming() timing {
	return timing{
		propagate: 50 * time.Millisecond, restart: 300 * time.Millisecond, retry: time.Second,
		settle: 100 * time.Millisecond, grace: 2 * time.Second,
	}
}

// deployment is what the controllers know of a Deployment. It is guarded by the fleet's lock.
type deployment struct {
	cluster         *cluster
	namespace, name string

	obj     *appsv1.Deployment
	cfg     workload.Config
	hash    string
	pods    []*pod // that live, in order of creation
	created int
	names   map[string]bool // that were ever given
	coming  int             // pods whose replacement is due later
	failure error           // why the last pod did not start
}

// template takes a Deployment, new or changed.
func (d *deployment) template(obj *appsv1.Deployment) error {
	cfg, err := configOf(obj, d.cluster.f.factory)
	if err != nil {
		return err
	}
	cfg.Cluster = d.cluster.name
	if cfg.Tokens != nil {
		cfg.Tokens.Hosts = d.cluster.f.spec.Hosts
	}
	// The same draws for every mesh and block: what a service does by itself must not tell meshes apart.
	cfg.Seed = int64(draw(d.cluster.f.spec.Seed, "workload"))
	data, err := json.Marshal(obj.Spec.Template)
	if err != nil {
		return fmt.Errorf("hashing the pod template: %w", err)
	}
	d.obj, d.cfg = obj, cfg
	d.failure = nil // of pods that it had by its old template
	d.hash = suffix(draw(0, string(data)), 9)
	return nil
}

// reconcile brings the pods closer to what the Deployment asks for. The fleet's lock must be held.
func (d *deployment) reconcile() {
	f := d.cluster.f
	if f.closed {
		return
	}
	want, current, old, up := replicas(d.obj), 0, []*pod(nil), 0
	for _, p := range d.pods {
		switch {
		case p.hash != d.hash:
			old = append(old, p)
		case p.phase == ready:
			up++
			fallthrough
		default:
			current++
		}
	}
	account := d.account()
	if _, ok := d.cluster.objects[clusters.Key(account)]; !ok && current < want {
		d.failure = fmt.Errorf("service account %s does not exist: apply it", nameOf(account))
		return
	}
	for range want - current - d.coming {
		d.spawn()
	}
	for ; current > want; current-- {
		last := slices.IndexFunc(d.pods, func(p *pod) bool { return p.hash == d.hash })
		for i, p := range d.pods {
			if p.hash == d.hash {
				last = i
			}
		}
		f.retire(d.pods[last], "scaled down")
	}
	if up >= want {
		for _, p := range old {
			f.retire(p, "its template was replaced")
		}
	}
}

func (d *deployment) account() *corev1.ServiceAccount {
	a := new(corev1.ServiceAccount)
	a.Namespace, a.Name = d.namespace, d.obj.Spec.Template.Spec.ServiceAccountName
	if a.Name == "" {
		a.Name = "default"
	}
	return a
}

// spawn makes a pod and lets it start.
func (d *deployment) spawn() {
	c, f := d.cluster, d.cluster.f
	tmpl := &d.obj.Spec.Template
	p := &pod{
		of: d, ordinal: d.created, hash: d.hash, cfg: d.cfg,
		labels: maps.Clone(tmpl.Labels), annotations: maps.Clone(tmpl.Annotations), account: d.account().Name,
	}
	for _, ctr := range tmpl.Spec.Containers {
		p.containers = append(p.containers, ctr.Name)
	}
	if p.labels == nil {
		p.labels = map[string]string{}
	}
	p.labels[appsv1.DefaultDeploymentUniqueLabelKey] = d.hash
	name := ""
	for try := 0; name == "" || d.names[name]; try++ {
		name = d.name + "-" + d.hash + "-" + suffix(draw(f.spec.Seed, "pod", c.name, d.namespace, d.name, strconv.Itoa(d.created), strconv.Itoa(try)), 5)
	}
	d.names[name] = true
	d.created++
	p.ref = evidence.PodRef{Cluster: c.name, Namespace: d.namespace, Service: d.cfg.Name, Pod: name, UID: uuid.NewString()}
	skipped := p.inject(&tmpl.Spec)
	d.pods = append(d.pods, p)
	f.podEvent(p, evidence.EventPodCreated, "")
	if skipped != "" {
		f.podEvent(p, evidence.EventInjectionSkipped, skipped)
	}
	f.tasks.Go(func() { f.run(p) })
}

// inject does what the mesh's injector does with a new pod, and finds the gateway in its template. It returns why a pod
// was skipped that asked for a sidecar.
func (p *pod) inject(spec *corev1.PodSpec) (skipped string) {
	c, factory := p.of.cluster, p.of.cluster.f.factory
	if factory == nil {
		return ""
	}
	for i := range spec.Containers {
		if isGateway(factory, spec.Containers[i]) {
			p.gateway = spec.Containers[i].DeepCopy()
		}
	}
	in := factory.Inject(c.namespaceMeta(p.of.namespace), proxy.Meta{Labels: p.labels, Annotations: p.annotations}, *spec)
	if p.annotations == nil {
		p.annotations = map[string]string{}
	}
	maps.Copy(p.annotations, in.Annotations)
	p.mesh, p.initContainers = in.Mesh, in.InitContainers
	return in.Skipped
}

// status says what a Deployment lacks; "" where it is whole. The fleet's lock must be held.
func (d *deployment) status() string {
	want, up, old := replicas(d.obj), 0, 0
	for _, p := range d.pods {
		if p.hash != d.hash {
			old++
		} else if p.phase == ready {
			up++
		}
	}
	if up == want && old == 0 && len(d.pods) == want {
		return ""
	}
	s := fmt.Sprintf("Deployment %s/%s in cluster %s: %d of %d replicas ready", d.namespace, d.name, d.cluster.name, up, want)
	if old > 0 {
		s += fmt.Sprintf(", %d of an older template still there", old)
	}
	if d.failure != nil {
		s += ": " + d.failure.Error()
	}
	return s
}
