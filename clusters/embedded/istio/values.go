package istio

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	networkingapi "istio.io/api/networking/v1alpha3"
	securityapi "istio.io/api/security/v1beta1"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
)

// byIstiod ends a refusal of what istiod's own validation refuses.
const byIstiod = "istiod refuses it"

func (r *report) peerAuthentication(p *security.PeerAuthentication) {
	selector := p.Spec.GetSelector().GetMatchLabels()
	r.selector("spec.selector", selector)
	if len(selector) == 0 && len(p.Spec.GetPortLevelMtls()) > 0 {
		r.Refuse("spec.portLevelMtls", "it needs a selector; %s", byIstiod)
	}
	if len(selector) > 0 && p.Namespace == rootNamespace {
		r.Refuse("spec.selector", "istiod ignores a selector in namespace %s, so this object would have no effect", rootNamespace)
	}
	r.mode("spec.mtls.mode", p.Spec.GetMtls())
	for port, m := range p.Spec.GetPortLevelMtls() {
		r.mode(fmt.Sprintf("spec.portLevelMtls[%d].mode", port), m)
	}
}

func (r *report) mode(path string, m *securityapi.PeerAuthentication_MutualTLS) {
	if _, ok := securityapi.PeerAuthentication_MutualTLS_Mode_name[int32(m.GetMode())]; !ok {
		r.Refuse(path, "%d is no mode", m.GetMode())
	}
}

func (r *report) selector(path string, labels map[string]string) {
	for _, k := range sortedKeys(labels) {
		if k == "" || strings.Contains(k+labels[k], "*") {
			r.Refuse(path+".matchLabels", "%q: %q is no label; %s", k, labels[k], byIstiod)
		}
	}
}

func (r *report) authorizationPolicy(p *security.AuthorizationPolicy) {
	r.selector("spec.selector", p.Spec.GetSelector().GetMatchLabels())
	switch p.Spec.GetAction() {
	case securityapi.AuthorizationPolicy_ALLOW, securityapi.AuthorizationPolicy_AUDIT:
	case securityapi.AuthorizationPolicy_DENY:
		if len(p.Spec.GetRules()) == 0 {
			r.Refuse("spec.rules", "a DENY policy without rules has no effect; %s", byIstiod)
		}
	default:
		r.Refuse("spec.action", "%v: %s", p.Spec.GetAction(), useReal)
	}
	for i, rule := range p.Spec.GetRules() {
		path := fmt.Sprintf("spec.rules[%d]", i)
		if rule == nil {
			r.Refuse(path, "it is null; %s", byIstiod)
		}
		for j, f := range rule.GetFrom() {
			r.source(fmt.Sprintf("%s.from[%d].source", path, j), f.GetSource())
		}
		for j, t := range rule.GetTo() {
			r.operation(fmt.Sprintf("%s.to[%d].operation", path, j), t.GetOperation())
		}
		for j, c := range rule.GetWhen() {
			r.condition(fmt.Sprintf("%s.when[%d]", path, j), c)
		}
	}
}

// list is one field of a rule with its values.
type list struct {
	name   string
	values []string
}

// lists refuses empty values, and a message without any.
func (r *report) lists(path string, lists ...list) {
	n := 0
	for _, l := range lists {
		n += len(l.values)
		for i, v := range l.values {
			if v == "" {
				r.Refuse(fmt.Sprintf("%s.%s[%d]", path, l.name, i), "it is empty; %s", byIstiod)
			}
		}
	}
	if n == 0 {
		r.Refuse(path, "it says nothing that the model reads: leave the whole from or to out to match everything; %s", byIstiod)
	}
}

func (r *report) source(path string, s *securityapi.Source) {
	r.lists(path,
		list{"principals", s.GetPrincipals()}, list{"notPrincipals", s.GetNotPrincipals()},
		list{"requestPrincipals", s.GetRequestPrincipals()}, list{"notRequestPrincipals", s.GetNotRequestPrincipals()},
		list{"namespaces", s.GetNamespaces()}, list{"notNamespaces", s.GetNotNamespaces()},
		list{"serviceAccounts", s.GetServiceAccounts()}, list{"notServiceAccounts", s.GetNotServiceAccounts()})
	accounts := append(append([]string(nil), s.GetServiceAccounts()...), s.GetNotServiceAccounts()...)
	if len(accounts) > 0 && len(s.GetPrincipals())+len(s.GetNotPrincipals())+len(s.GetNamespaces())+len(s.GetNotNamespaces()) > 0 {
		r.Refuse(path+".serviceAccounts", "it cannot be combined with principals or namespaces; %s", byIstiod)
	}
	for _, a := range accounts {
		if strings.Contains(a, "*") || strings.Count(a, "/") > 1 {
			r.Refuse(path+".serviceAccounts", "%q is not <namespace>/<name>; %s", a, byIstiod)
		}
	}
}

func (r *report) operation(path string, o *securityapi.Operation) {
	r.lists(path,
		list{"hosts", o.GetHosts()}, list{"notHosts", o.GetNotHosts()},
		list{"ports", o.GetPorts()}, list{"notPorts", o.GetNotPorts()},
		list{"methods", o.GetMethods()}, list{"notMethods", o.GetNotMethods()},
		list{"paths", o.GetPaths()}, list{"notPaths", o.GetNotPaths()})
	for _, l := range []list{{"paths", o.GetPaths()}, {"notPaths", o.GetNotPaths()}} {
		for i, p := range l.values {
			if strings.ContainsAny(p, "{}") {
				r.Refuse(fmt.Sprintf("%s.%s[%d]", path, l.name, i), "%q is a path template; %s", p, useReal)
			}
		}
	}
	for _, l := range []list{{"ports", o.GetPorts()}, {"notPorts", o.GetNotPorts()}} {
		for i, p := range l.values {
			if n, err := strconv.ParseUint(p, 10, 16); err != nil || strconv.FormatUint(n, 10) != p {
				r.Refuse(fmt.Sprintf("%s.%s[%d]", path, l.name, i), "%q is no port; %s", p, byIstiod)
			}
		}
	}
}

func (r *report) condition(path string, c *securityapi.Condition) {
	key := c.GetKey()
	header, isHeader := strings.CutPrefix(key, whenHeader)
	header, closed := strings.CutSuffix(header, "]")
	_, isClaim := claimKey(key)
	switch {
	case key == whenPrincipal, key == whenNamespace, key == whenRequestPrincipal:
	case isClaim:
	case isHeader && closed && header != "":
	default:
		r.Refuse(path+".key", "%q: the model knows %s, %s, %s, %sname] and %sname]; leave it out, or run on a driver with real proxies",
			key, whenPrincipal, whenNamespace, whenRequestPrincipal, whenHeader, whenClaim)
	}
	r.lists(path, list{"values", c.GetValues()}, list{"notValues", c.GetNotValues()})
}

func (r *report) virtualService(v *networking.VirtualService) {
	r.exported(v.Spec.GetExportTo())
	for i, g := range v.Spec.GetGateways() {
		if g != "mesh" {
			r.Refuse(fmt.Sprintf("spec.gateways[%d]", i), "%q is not mesh; %s", g, useReal)
		}
	}
	if len(v.Spec.GetHosts()) == 0 {
		r.Refuse("spec.hosts", "there is none: such a VirtualService is a delegate; %s", useReal)
	}
	for i, h := range v.Spec.GetHosts() {
		r.serviceHost(fmt.Sprintf("spec.hosts[%d]", i), h, v.Namespace)
	}
	if len(v.Spec.GetHttp()) == 0 {
		r.Refuse("spec.http", "there is none; %s", byIstiod)
	}
	for i, h := range v.Spec.GetHttp() {
		r.httpRoute(fmt.Sprintf("spec.http[%d]", i), h, v.Namespace)
	}
}

func (r *report) httpRoute(path string, h *networkingapi.HTTPRoute, namespace string) {
	for i, m := range h.GetMatch() {
		r.httpMatch(fmt.Sprintf("%s.match[%d]", path, i), m)
	}
	if len(h.GetRoute()) == 0 {
		r.Refuse(path+".route", "there is none; %s", byIstiod)
	}
	sum := int32(0)
	for i, d := range h.GetRoute() {
		at := fmt.Sprintf("%s.route[%d]", path, i)
		r.serviceHost(at+".destination.host", d.GetDestination().GetHost(), namespace)
		if d.GetWeight() < 0 {
			r.Refuse(at+".weight", "it is negative; %s", byIstiod)
		}
		sum += d.GetWeight()
	}
	if len(h.GetRoute()) > 1 && sum <= 0 {
		r.Refuse(path+".route", "the weights of several destinations add up to %d; %s", sum, byIstiod)
	}
	r.duration(path+".timeout", h.GetTimeout())
	r.fault(path+".fault", h.GetFault())
	if rt := h.GetRetries(); rt != nil {
		if rt.GetAttempts() < 0 {
			r.Refuse(path+".retries.attempts", "it is negative; %s", byIstiod)
		}
		r.duration(path+".retries.perTryTimeout", rt.GetPerTryTimeout())
		if rt.GetRetryOn() != "" {
			r.retryOn(path+".retries.retryOn", rt.GetRetryOn())
		}
	}
}

func (r *report) httpMatch(path string, m *networkingapi.HTTPMatchRequest) {
	for _, f := range []struct {
		name string
		m    *networkingapi.StringMatch
	}{{".uri", m.GetUri()}, {".method", m.GetMethod()}} {
		if f.m != nil && f.m.GetExact() == "" && f.m.GetPrefix() == "" {
			r.Refuse(path+f.name, "it has no value to compare with; %s", byIstiod)
		}
	}
	for _, name := range sortedKeys(m.GetHeaders()) {
		v := m.GetHeaders()[name]
		at := path + ".headers[" + name + "]"
		if name == "" || name != strings.ToLower(name) || strings.HasPrefix(name, ":") {
			r.Refuse(at, "write the header's name in lower case; %s", useReal)
		}
		if v.GetMatchType() != nil && v.GetExact() == "" && v.GetPrefix() == "" {
			r.Refuse(at, "it has no value to compare with; write {} to ask for presence")
		}
	}
}

// duration refuses what istiod refuses: it takes whole milliseconds, at least one. 0 turns a limit off.
func (r *report) duration(path string, d *durationpb.Duration) {
	if d == nil {
		return
	}
	v := d.AsDuration()
	if d.CheckValid() != nil || v < 0 || v%1e6 != 0 {
		r.Refuse(path, "%v is no duration in milliseconds; %s", v, byIstiod)
	}
}

func (r *report) retryOn(path, text string) {
	for _, token := range strings.Split(text, ",") {
		token = strings.TrimSpace(token)
		if _, ok := retryTokens[token]; ok {
			continue
		}
		if code, err := strconv.Atoi(token); err != nil || http.StatusText(code) == "" {
			r.Refuse(path, "%q: the model knows %s, and status codes", token, strings.Join(sortedKeys(retryTokens), ", "))
		}
	}
}

func (r *report) destinationRule(d *networking.DestinationRule) {
	r.exported(d.Spec.GetExportTo())
	r.serviceHost("spec.host", d.Spec.GetHost(), d.Namespace)
	r.selector("spec.workloadSelector", d.Spec.GetWorkloadSelector().GetMatchLabels())
	r.trafficPolicy("spec.trafficPolicy", d.Spec.GetTrafficPolicy())
	seen := map[string]bool{}
	for i, s := range d.Spec.GetSubsets() {
		path := fmt.Sprintf("spec.subsets[%d]", i)
		if s.GetName() == "" || seen[s.GetName()] {
			r.Refuse(path+".name", "%q is empty or used twice; %s", s.GetName(), byIstiod)
		}
		seen[s.GetName()] = true
		r.trafficPolicy(path+".trafficPolicy", s.GetTrafficPolicy())
	}
}

func (r *report) trafficPolicy(path string, t *networkingapi.TrafficPolicy) {
	if m := t.GetTls(); m != nil && m.GetMode() != networkingapi.ClientTLSSettings_DISABLE && m.GetMode() != networkingapi.ClientTLSSettings_ISTIO_MUTUAL {
		r.Refuse(path+".tls.mode", "%v is neither DISABLE nor ISTIO_MUTUAL; %s", m.GetMode(), useReal)
	}
	for i, n := range t.GetTls().GetSubjectAltNames() {
		if n == "" || strings.Contains(n, "*") {
			r.Refuse(fmt.Sprintf("%s.tls.subjectAltNames[%d]", path, i), "%q is no name: Envoy compares whole names", n)
		}
	}
	switch lb := t.GetLoadBalancer().GetSimple(); lb {
	case networkingapi.LoadBalancerSettings_UNSPECIFIED, networkingapi.LoadBalancerSettings_LEAST_REQUEST,
		networkingapi.LoadBalancerSettings_ROUND_ROBIN, networkingapi.LoadBalancerSettings_RANDOM:
	default:
		r.Refuse(path+".loadBalancer.simple", "%v: the model knows LEAST_REQUEST, ROUND_ROBIN and RANDOM; %s", lb, useReal)
	}
	if n := t.GetConnectionPool().GetHttp().GetMaxRequestsPerConnection(); n < 0 {
		r.Refuse(path+".connectionPool.http.maxRequestsPerConnection", "%d is negative; %s", n, byIstiod)
	}
}
