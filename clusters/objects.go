package clusters

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	telemetryv1 "istio.io/client-go/pkg/apis/telemetry/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	sigsjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters/linkerdapi"
)

// kind is one kind of object that Meshproof works with.
type kind struct {
	group, version, name string
	older                []string // versions with the same fields, read as version
	clusterWide          bool
	rank                 int // order of application
	make                 func() Object
	is                   func(Object) bool
	spec                 func(Object) proto.Message // of kinds whose spec is a protocol buffer
}

func (k *kind) apiVersion(version string) string {
	if k.group == "" {
		return version
	}
	return k.group + "/" + version
}

func kindOf[T Object](group, version, name string, rank int, make func() T) kind {
	return kind{
		group: group, version: version, name: name, rank: rank,
		make: func() Object { return make() },
		is:   func(o Object) bool { _, ok := o.(T); return ok },
	}
}

// linkerdKind is a kind whose older versions have the same fields; the first version is the one that is written.
func linkerdKind[T Object](name string, make func() T, versions ...string) kind {
	k := kindOf(linkerdapi.Group, versions[0], name, 2, make)
	k.older = versions[1:]
	return k
}

func istioKind[T Object](group, name string, make func() T, spec func(T) proto.Message) kind {
	k := kindOf(group, "v1", name, 2, make)
	k.older = []string{"v1beta1"}
	k.spec = func(o Object) proto.Message { return spec(o.(T)) }
	return k
}

// kinds is every kind that Decode and Encode know, in the order in which objects are applied.
var kinds = func() []kind {
	namespace := kindOf("", "v1", "Namespace", 0, func() *corev1.Namespace { return new(corev1.Namespace) })
	namespace.clusterWide = true
	return []kind{
		namespace,
		kindOf("", "v1", "ServiceAccount", 1, func() *corev1.ServiceAccount { return new(corev1.ServiceAccount) }),
		istioKind("security.istio.io", "PeerAuthentication",
			func() *securityv1.PeerAuthentication { return new(securityv1.PeerAuthentication) },
			func(o *securityv1.PeerAuthentication) proto.Message { return &o.Spec }),
		istioKind("security.istio.io", "AuthorizationPolicy",
			func() *securityv1.AuthorizationPolicy { return new(securityv1.AuthorizationPolicy) },
			func(o *securityv1.AuthorizationPolicy) proto.Message { return &o.Spec }),
		istioKind("security.istio.io", "RequestAuthentication",
			func() *securityv1.RequestAuthentication { return new(securityv1.RequestAuthentication) },
			func(o *securityv1.RequestAuthentication) proto.Message { return &o.Spec }),
		istioKind("networking.istio.io", "VirtualService",
			func() *networkingv1.VirtualService { return new(networkingv1.VirtualService) },
			func(o *networkingv1.VirtualService) proto.Message { return &o.Spec }),
		istioKind("networking.istio.io", "DestinationRule",
			func() *networkingv1.DestinationRule { return new(networkingv1.DestinationRule) },
			func(o *networkingv1.DestinationRule) proto.Message { return &o.Spec }),
		istioKind("networking.istio.io", "ServiceEntry",
			func() *networkingv1.ServiceEntry { return new(networkingv1.ServiceEntry) },
			func(o *networkingv1.ServiceEntry) proto.Message { return &o.Spec }),
		istioKind("networking.istio.io", "Sidecar",
			func() *networkingv1.Sidecar { return new(networkingv1.Sidecar) },
			func(o *networkingv1.Sidecar) proto.Message { return &o.Spec }),
		istioKind("telemetry.istio.io", "Telemetry",
			func() *telemetryv1.Telemetry { return new(telemetryv1.Telemetry) },
			func(o *telemetryv1.Telemetry) proto.Message { return &o.Spec }),
		linkerdKind("Server", func() *linkerdapi.Server { return new(linkerdapi.Server) }, "v1beta3", "v1beta2", "v1beta1"),
		linkerdKind("HTTPRoute", func() *linkerdapi.HTTPRoute { return new(linkerdapi.HTTPRoute) }, "v1beta3", "v1beta2", "v1beta1"),
		linkerdKind("AuthorizationPolicy", func() *linkerdapi.AuthorizationPolicy { return new(linkerdapi.AuthorizationPolicy) }, "v1alpha1"),
		linkerdKind("MeshTLSAuthentication", func() *linkerdapi.MeshTLSAuthentication { return new(linkerdapi.MeshTLSAuthentication) }, "v1alpha1"),
		linkerdKind("NetworkAuthentication", func() *linkerdapi.NetworkAuthentication { return new(linkerdapi.NetworkAuthentication) }, "v1alpha1"),
		linkerdKind("HTTPLocalRateLimitPolicy", func() *linkerdapi.HTTPLocalRateLimitPolicy { return new(linkerdapi.HTTPLocalRateLimitPolicy) }, "v1alpha1"),
		kindOf(linkerdapi.LinkGroup, "v1alpha3", "Link", 2, func() *linkerdapi.Link { return new(linkerdapi.Link) }),
		kindOf("gateway.networking.k8s.io", "v1", "HTTPRoute", 2, func() *gatewayv1.HTTPRoute { return new(gatewayv1.HTTPRoute) }),
		kindOf("", "v1", "Service", 3, func() *corev1.Service { return new(corev1.Service) }),
		kindOf("apps", "v1", "Deployment", 4, func() *appsv1.Deployment { return new(appsv1.Deployment) }),
	}
}()

func lookup(obj Object) (*kind, error) {
	for i := range kinds {
		if kinds[i].is(obj) {
			return &kinds[i], nil
		}
	}
	return nil, fmt.Errorf("objects of type %T are not supported: supported are %s", obj, supported())
}

func supported() string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.apiVersion(k.version)+" "+k.name)
	}
	return strings.Join(names, ", ")
}

// Key names an object for good: group/kind/namespace/name, the version left out because it is no part of an object's
// identity. The group of Kubernetes' own first kinds, and the namespace of cluster-wide ones, are empty.
func Key(obj Object) string {
	gvk := obj.GetObjectKind().GroupVersionKind()
	group, name := gvk.Group, gvk.Kind
	if k, err := lookup(obj); err == nil {
		group, name = k.group, k.name
	}
	return strings.Join([]string{group, name, obj.GetNamespace(), obj.GetName()}, "/")
}

// KindName is the kind of an object, such as "Deployment".
func KindName(obj Object) string {
	if k, err := lookup(obj); err == nil {
		return k.name
	}
	return obj.GetObjectKind().GroupVersionKind().Kind
}

// Sort puts objects into the order of application: namespaces, service accounts, settings of a mesh, Services,
// Deployments. Those of a kind keep their order.
func Sort(objs []Object) {
	rank := func(o Object) int {
		if k, err := lookup(o); err == nil {
			return k.rank
		}
		return len(kinds)
	}
	slices.SortStableFunc(objs, func(a, b Object) int { return rank(a) - rank(b) })
}

// Decode makes a typed object of one that was read from YAML or JSON. It is strict: a field that the kind does not
// have is an error, and so is a kind that Meshproof does not work with. The error of an object with an apiVersion and
// a kind names both.
func Decode(m map[string]any) (Object, error) {
	apiVersion, _ := m["apiVersion"].(string)
	name, _ := m["kind"].(string)
	if apiVersion == "" || name == "" {
		return nil, errors.New("a Kubernetes object wants apiVersion and kind, as text")
	}
	k := findKind(apiVersion, name)
	if k == nil {
		return nil, fmt.Errorf("%s %s%s is not supported: supported are %s", apiVersion, name, called(m), supported())
	}
	obj, err := k.decode(m)
	if err != nil {
		return nil, fmt.Errorf("%s %s%s: %w", apiVersion, name, called(m), err)
	}
	return obj, nil
}

func findKind(apiVersion, name string) *kind {
	for i := range kinds {
		k := &kinds[i]
		if k.name != name {
			continue
		}
		for _, v := range append([]string{k.version}, k.older...) {
			if apiVersion == k.apiVersion(v) {
				return k
			}
		}
	}
	return nil
}

// called is " namespace/name" of an object that may be malformed.
func called(m map[string]any) string {
	meta, _ := m["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if ns, _ := meta["namespace"].(string); ns != "" {
		name = ns + "/" + name
	}
	if name == "" {
		return ""
	}
	return " " + name
}

func (k *kind) decode(m map[string]any) (Object, error) {
	obj := k.make()
	var err error
	if k.spec == nil {
		err = strict(m, obj)
	} else {
		err = k.decodeProto(m, obj)
	}
	if err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Group: k.group, Version: k.version, Kind: k.name})
	if err := k.checkMeta(obj); err != nil {
		return nil, err
	}
	return obj, nil
}

// decodeProto reads an object whose spec is a protocol buffer, which JSON decoders of Go structs read leniently.
func (k *kind) decodeProto(m map[string]any, obj Object) error {
	for field := range m {
		switch field {
		case "apiVersion", "kind", "metadata", "spec":
		case "status":
			return errors.New("status is written by the cluster: leave it out")
		default:
			return fmt.Errorf("unknown field %q", field)
		}
	}
	head := map[string]any{"metadata": m["metadata"]}
	if err := strict(head, obj); err != nil {
		return err
	}
	spec, ok := m["spec"]
	if !ok || spec == nil {
		return nil
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	if err := protojson.Unmarshal(data, k.spec(obj)); err != nil {
		// protojson writes a space or a no-break space, at random, to keep programs from reading its messages.
		return fmt.Errorf("spec: %s", strings.ReplaceAll(err.Error(), "\u00a0", " "))
	}
	return nil
}

func strict(m map[string]any, into any) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	unknown, err := sigsjson.UnmarshalStrict(data, into)
	if err != nil {
		return err
	}
	return errors.Join(unknown...)
}

func (k *kind) checkMeta(obj Object) error {
	if obj.GetName() == "" {
		return errors.New("metadata.name is missing")
	}
	if msgs := validation.IsDNS1123Subdomain(obj.GetName()); len(msgs) > 0 {
		return fmt.Errorf("metadata.name %q: %s", obj.GetName(), msgs[0])
	}
	switch ns := obj.GetNamespace(); {
	case k.clusterWide && ns != "":
		return fmt.Errorf("metadata.namespace is %q, but a %s stands in no namespace: leave it out", ns, k.name)
	case k.clusterWide:
	case ns == "":
		return errors.New("metadata.namespace is missing: say which namespace the object belongs into")
	default:
		if msgs := validation.IsDNS1123Label(ns); len(msgs) > 0 {
			return fmt.Errorf("metadata.namespace %q: %s", ns, msgs[0])
		}
	}
	return nil
}

// Encode writes objects as YAML documents, as one would write them by hand: without status, and without the empty
// fields that Go's types of Kubernetes objects leave behind.
func Encode(objs []Object) ([]byte, error) {
	var out bytes.Buffer
	for i, obj := range objs {
		k, err := lookup(obj)
		if err != nil {
			return nil, err
		}
		m, err := fields(obj)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", Key(obj), err)
		}
		m["apiVersion"], m["kind"] = k.apiVersion(k.version), k.name
		delete(m, "status")
		// An empty Istio spec (allow nothing) and an empty selector of Linkerd's (every pod) have meanings of their own;
		// Kubernetes' own empty fields have none.
		if k.spec == nil && k.group != linkerdapi.Group {
			prune(m)
		} else if meta, ok := m["metadata"].(map[string]any); ok {
			prune(meta)
		}
		doc, err := yaml.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", Key(obj), err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(doc)
	}
	return out.Bytes(), nil
}

func fields(obj Object) (map[string]any, error) {
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	err = json.Unmarshal(data, &m)
	return m, err
}

// prune removes nulls and empty maps, and says whether nothing is left.
func prune(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for key, child := range v {
			if prune(child) {
				delete(v, key)
			}
		}
		return len(v) == 0
	case []any:
		for _, child := range v {
			prune(child)
		}
	}
	return false
}
