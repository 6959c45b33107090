package istio

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The fields that the model reads, by their JSON names from spec on; a name stands for every element of a list or map.
var (
	peerAuthenticationFields = fieldSet("selector.matchLabels", "mtls.mode", "portLevelMtls.mode")

	authorizationPolicyFields = fieldSet(
		"selector.matchLabels", "action",
		"rules.from.source.requestPrincipals", "rules.from.source.notRequestPrincipals",
		"rules.from.source.principals", "rules.from.source.notPrincipals",
		"rules.from.source.namespaces", "rules.from.source.notNamespaces",
		"rules.from.source.serviceAccounts", "rules.from.source.notServiceAccounts",
		"rules.to.operation.hosts", "rules.to.operation.notHosts",
		"rules.to.operation.ports", "rules.to.operation.notPorts",
		"rules.to.operation.methods", "rules.to.operation.notMethods",
		"rules.to.operation.paths", "rules.to.operation.notPaths",
		"rules.when.key", "rules.when.values", "rules.when.notValues",
	)

	requestAuthenticationFields = fieldSet(
		"selector.matchLabels", "jwtRules.issuer", "jwtRules.audiences", "jwtRules.jwksUri", "jwtRules.forwardOriginalToken",
	)

	virtualServiceFields = fieldSet(
		"hosts", "gateways", "exportTo",
		"http.name", "http.timeout",
		"http.match.name",
		"http.match.uri.exact", "http.match.uri.prefix",
		"http.match.method.exact", "http.match.method.prefix",
		"http.match.headers.exact", "http.match.headers.prefix",
		"http.route.destination.host", "http.route.destination.subset", "http.route.weight",
		"http.retries.attempts", "http.retries.perTryTimeout", "http.retries.retryOn",
		"http.fault.abort.httpStatus", "http.fault.abort.percentage.value", "http.fault.delay.fixedDelay", "http.fault.delay.percentage.value",
	)

	destinationRuleFields = fieldSet(
		"host", "exportTo", "workloadSelector.matchLabels",
		"trafficPolicy.tls.mode", "trafficPolicy.tls.sni", "trafficPolicy.tls.subjectAltNames", "trafficPolicy.loadBalancer.simple", "trafficPolicy.connectionPool.http.maxRequestsPerConnection",
		"subsets.name", "subsets.labels",
		"subsets.trafficPolicy.tls.mode", "subsets.trafficPolicy.tls.sni", "subsets.trafficPolicy.tls.subjectAltNames",
		"subsets.trafficPolicy.loadBalancer.simple",
		"subsets.trafficPolicy.connectionPool.http.maxRequestsPerConnection",
	)

	serviceEntryFields = fieldSet(
		"hosts", "exportTo", "location", "resolution",
		"ports.number", "ports.name", "ports.protocol", "ports.targetPort",
		"endpoints.address", "endpoints.ports",
	)
)

// fieldSet holds the fields and, with false, the messages on the way to them.
func fieldSet(paths ...string) map[string]bool {
	set := map[string]bool{}
	for _, p := range paths {
		for i, c := range p {
			if c == '.' {
				set[p[:i]] = false
			}
		}
		set[p] = true
	}
	return set
}

// walk refuses each populated field of a spec that is not in fields, and what the spec's types do not know at all.
func (r *report) walk(spec proto.Message, fields map[string]bool) {
	r.walkMessage("spec", "", spec.ProtoReflect(), fields)
}

// walkMessage descends into messages on the way to a known field. path is for people, with indexes; pattern is without.
func (r *report) walkMessage(path, pattern string, m protoreflect.Message, fields map[string]bool) {
	if len(m.GetUnknown()) > 0 {
		r.Refuse(path, "it has fields that this version of Istio's API does not know")
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		p, at := strings.TrimPrefix(pattern+"."+f.JSONName(), "."), path+"."+f.JSONName()
		leaf, ok := fields[p]
		switch {
		case !ok:
			r.Refuse(at, "%s", useReal)
		case leaf:
		case f.IsMap():
			for _, k := range mapKeys(v.Map()) {
				r.walkMessage(fmt.Sprintf("%s[%s]", at, k.String()), p, v.Map().Get(k).Message(), fields)
			}
		case f.IsList():
			for i := range v.List().Len() {
				r.walkMessage(fmt.Sprintf("%s[%d]", at, i), p, v.List().Get(i).Message(), fields)
			}
		default:
			r.walkMessage(at, p, v.Message(), fields)
		}
		return true
	})
}

func mapKeys(m protoreflect.Map) []protoreflect.MapKey {
	var keys []protoreflect.MapKey
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
