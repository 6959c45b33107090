package istio

import (
	"errors"
	"fmt"
	"strings"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// check refuses every object, and every field of one, that the model would have to pass over, and what istiod itself
// would refuse. All refusals come at once.
func check(objs []clusters.Object) error {
	var all []error
	set := settingsOf(objs)
	entries := map[string]bool{}
	for _, e := range set.serviceEntries {
		for _, h := range e.Spec.GetHosts() {
			entries[h] = true
		}
	}
	for _, o := range objs {
		all = append(all, checkObject(o, entries)...)
	}
	return errors.Join(append(all, checkTogether(set)...)...)
}

// report collects what is refused of one object.
type report struct {
	proxy.Report
	entries map[string]bool // hosts of the ServiceEntries that come along
}

func newReport(o clusters.Object) *report {
	return &report{Report: proxy.Report{Object: proxy.NameOf(o)}}
}

const useReal = "the embedded driver's Istio does not interpret it; leave it out, or run on a driver with real proxies"

func checkObject(o clusters.Object, entries map[string]bool) []error {
	if proxy.IsNil(o) {
		return []error{fmt.Errorf("an object is nil: %w", clusters.ErrNotModelled)}
	}
	r := newReport(o)
	r.entries = entries
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
	case *networking.ServiceEntry:
		r.walk(&o.Spec, serviceEntryFields)
		r.serviceEntry(o)
	case *appsv1.Deployment:
		r.deployment(o)
	case *corev1.Service:
		r.service(o)
	case *corev1.Namespace, *corev1.ServiceAccount:
	default:
		r.Refuse("kind", "%s", useReal)
	}
	return r.Errs
}

// known are the labels and annotations of Istio's own that the model reads.
var known = map[string]bool{injectKey: true, configKey: true}

// metadata refuses Istio's labels and annotations that the model does not read: a dry run, a revision, a port that is
// taken out of the mesh would all change what a policy means.
func (r *report) metadata(path string, labels, annotations map[string]string) {
	r.Metadata(path, labels, annotations, "istio.io", known, useReal)
}

func (r *report) deployment(d *appsv1.Deployment) {
	const path = "spec.template"
	t := d.Spec.Template
	r.metadata(path+".metadata", t.Labels, t.Annotations)
	if _, err := leafOf(t.Annotations, "", trust.ECDSAP256); err != nil {
		r.Refuse(path+".metadata.annotations["+configKey+"]", "%v", err)
	}
	if t.Spec.HostNetwork {
		r.Refuse(path+".spec.hostNetwork", "such a pod gets no sidecar; %s", useReal)
	}
}

// service refuses ports that are not known to speak HTTP: istiod reads the protocol from appProtocol or from the name.
func (r *report) service(s *corev1.Service) {
	for i, p := range s.Spec.Ports {
		path := fmt.Sprintf("spec.ports[%d]", i)
		if p.AppProtocol != nil && *p.AppProtocol != "http" {
			r.Refuse(path+".appProtocol", "%q is not http, and HTTP/1.1 alone is modelled", *p.AppProtocol)
		}
		protocol, _, _ := strings.Cut(p.Name, "-")
		if p.AppProtocol == nil && protocol != "http" {
			r.Refuse(path+".name", "%q does not say http or http-…, and HTTP/1.1 alone is modelled", p.Name)
		}
	}
}

// checkTogether refuses what only several objects together make ambiguous.
func checkTogether(set objects) []error {
	var errs []error
	first := map[string]string{}
	for _, d := range set.destinationRules {
		key := d.Namespace + " " + fqdn(d.Spec.GetHost(), d.Namespace)
		if s := d.Spec.GetWorkloadSelector(); s != nil {
			key += " for " + fmt.Sprint(s.GetMatchLabels())
		}
		if other, ok := first[key]; ok {
			r := newReport(d)
			r.Refuse("spec.host", "DestinationRule %s in the same namespace has this host for the same clients already, and how istiod merges the two is not modelled", other)
			errs = append(errs, r.Errs...)
			continue
		}
		first[key] = d.Name
	}
	owner := map[string]string{}
	for _, e := range set.serviceEntries {
		for i, h := range e.Spec.GetHosts() {
			if other, ok := owner[h]; ok {
				r := newReport(e)
				r.Refuse(fmt.Sprintf("spec.hosts[%d]", i), "%s has %q already, and how istiod merges the two is not modelled", other, h)
				errs = append(errs, r.Errs...)
				continue
			}
			owner[h] = proxy.NameOf(e)
		}
	}
	return errs
}

// serviceHost refuses a host that is neither a Service in the cluster nor the host of a ServiceEntry that comes along.
func (r *report) serviceHost(path, host, namespace string) {
	name := fqdn(host, namespace)
	switch {
	case r.entries[name]:
	case host == "":
		r.Refuse(path, "it is empty")
	case strings.Contains(name, "*"):
		r.Refuse(path, "%q is a wildcard, which is not modelled: name one Service", host)
	case !strings.HasSuffix(name, ".svc."+scenarios.TrustDomain):
		r.Refuse(path, "%q is no Service of the cluster: write <name>.<namespace>.svc.%s, or <name> alone for one in namespace %s, "+
			"or apply the ServiceEntry that has this host together with this object", host, scenarios.TrustDomain, namespace)
	}
}

// exported refuses settings that are not visible everywhere.
func (r *report) exported(to []string) {
	for i, v := range to {
		if v != "*" {
			r.Refuse(fmt.Sprintf("spec.exportTo[%d]", i), "%q is not \"*\"; %s", v, useReal)
		}
	}
}
