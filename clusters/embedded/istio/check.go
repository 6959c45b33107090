package istio

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// check refuses every object, and every field of one, that the model would have to pass over, and what istiod itself
// would refuse. All refusals come at once.
func check(objs []clusters.Object) error {
	var all []error
	for _, o := range objs {
		all = append(all, checkObject(o)...)
	}
	return errors.Join(append(all, checkTogether(settingsOf(objs))...)...)
}

// report collects what is refused of one object.
type report struct {
	object string
	errs   []error
}

// refuse says of a field why it is refused.
func (r *report) refuse(field, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s: %s: %w", r.object, field, fmt.Sprintf(format, args...), clusters.ErrNotModelled))
}

const useReal = "the embedded driver's Istio does not interpret it; leave it out, or run on a driver with real proxies"

func checkObject(o clusters.Object) []error {
	if o == nil || reflect.ValueOf(o).Kind() == reflect.Pointer && reflect.ValueOf(o).IsNil() {
		return []error{fmt.Errorf("an object is nil: %w", clusters.ErrNotModelled)}
	}
	r := &report{object: nameOf(o)}
	r.metadata("metadata", o.GetLabels(), o.GetAnnotations())
	switch o := o.(type) {
	case *security.PeerAuthentication:
		r.walk(&o.Spec, peerAuthenticationFields)
		r.peerAuthentication(o)
	case *security.AuthorizationPolicy:
		r.walk(&o.Spec, authorizationPolicyFields)
		r.authorizationPolicy(o)
	case *security.RequestAuthentication:
		r.walk(&o.Spec, requestAuthenticationFields)
		r.requestAuthentication(o)
	case *networking.VirtualService:
		r.walk(&o.Spec, virtualServiceFields)
		r.virtualService(o)
	case *networking.DestinationRule:
		r.walk(&o.Spec, destinationRuleFields)
		r.destinationRule(o)
	case *appsv1.Deployment:
		r.deployment(o)
	case *corev1.Service:
		r.service(o)
	case *corev1.Namespace, *corev1.ServiceAccount:
	default:
		r.refuse("kind", "%s", useReal)
	}
	return r.errs
}

// nameOf is kind and place of an object: "AuthorizationPolicy app/to-web". The kind of an object without one is its type.
func nameOf(o clusters.Object) string {
	kind := o.GetObjectKind().GroupVersionKind().Kind
	if kind == "" {
		kind = reflect.TypeOf(o).Elem().Name()
	}
	if ns := o.GetNamespace(); ns != "" {
		return kind + " " + ns + "/" + o.GetName()
	}
	return kind + " " + o.GetName()
}

// known are the labels and annotations of Istio's own that the model reads.
var known = map[string]bool{injectKey: true, configKey: true}

// metadata refuses Istio's labels and annotations that the model does not read: a dry run, a revision, a port that is
// taken out of the mesh would all change what a policy means.
func (r *report) metadata(path string, labels, annotations map[string]string) {
	for _, m := range []struct {
		kind string
		keys map[string]string
	}{{"labels", labels}, {"annotations", annotations}} {
		for _, k := range sortedKeys(m.keys) {
			domain, _, _ := strings.Cut(k, "/")
			if (domain == "istio.io" || strings.HasSuffix(domain, ".istio.io")) && !known[k] {
				r.refuse(path+"."+m.kind+"["+k+"]", "%s", useReal)
			}
		}
	}
}

func (r *report) deployment(d *appsv1.Deployment) {
	const path = "spec.template"
	t := d.Spec.Template
	r.metadata(path+".metadata", t.Labels, t.Annotations)
	if _, err := leafOf(t.Annotations, ""); err != nil {
		r.refuse(path+".metadata.annotations["+configKey+"]", "%v", err)
	}
	if t.Spec.HostNetwork {
		r.refuse(path+".spec.hostNetwork", "such a pod gets no sidecar; %s", useReal)
	}
}

// service refuses ports that are not known to speak HTTP: istiod reads the protocol from appProtocol or from the name.
func (r *report) service(s *corev1.Service) {
	for i, p := range s.Spec.Ports {
		path := fmt.Sprintf("spec.ports[%d]", i)
		if p.AppProtocol != nil && *p.AppProtocol != "http" {
			r.refuse(path+".appProtocol", "%q is not http, and HTTP/1.1 alone is modelled", *p.AppProtocol)
		}
		protocol, _, _ := strings.Cut(p.Name, "-")
		if p.AppProtocol == nil && protocol != "http" {
			r.refuse(path+".name", "%q does not say http or http-…, and HTTP/1.1 alone is modelled", p.Name)
		}
	}
}

// checkTogether refuses what only several objects together make ambiguous.
func checkTogether(set objects) []error {
	var errs []error
	first := map[string]string{}
	for _, d := range set.destinationRules {
		key := d.Namespace + " " + fqdn(d.Spec.GetHost(), d.Namespace)
		if other, ok := first[key]; ok {
			r := report{object: nameOf(d)}
			r.refuse("spec.host", "DestinationRule %s in the same namespace has this host already, and how istiod merges the two is not modelled", other)
			errs = append(errs, r.errs...)
			continue
		}
		first[key] = d.Name
	}
	return errs
}

// serviceHost refuses a host that is not a Service in the cluster.
func (r *report) serviceHost(path, host, namespace string) {
	name := fqdn(host, namespace)
	switch {
	case host == "":
		r.refuse(path, "it is empty")
	case strings.Contains(name, "*"):
		r.refuse(path, "%q is a wildcard, which is not modelled: name one Service", host)
	case !strings.HasSuffix(name, ".svc."+scenarios.TrustDomain):
		r.refuse(path, "%q is no Service of the cluster: write <name>.<namespace>.svc.%s, or <name> alone for one in namespace %s",
			host, scenarios.TrustDomain, namespace)
	}
}

// exported refuses settings that are not visible everywhere.
func (r *report) exported(to []string) {
	for i, v := range to {
		if v != "*" {
			r.refuse(fmt.Sprintf("spec.exportTo[%d]", i), "%q is not \"*\"; %s", v, useReal)
		}
	}
}
