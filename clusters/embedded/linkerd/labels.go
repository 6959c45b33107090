package linkerd

import (
	"fmt"
	"strconv"

	"github.com/meshproof/meshproof/scenarios"
)

// podIP is the address of every pod here.
const podIP = "127.0.0.1"

// target is where a connection or a request goes.
func target(ip string, port int) labels {
	p := strconv.Itoa(port)
	return labels("").with("target_addr", ip+":"+p, "target_ip", ip, "target_port", p)
}

var (
	appTarget     = target(podIP, scenarios.WorkloadPort)
	adminTarget   = target("0.0.0.0", adminPort)
	serviceTarget = target(podIP, scenarios.ServicePort)
)

// tlsState is what a proxy knows of a connection that it accepted.
type tlsState struct {
	established bool
	client      clientID
	sni         string // of TLS that is not for this proxy
	skipped     bool   // nobody looked
}

func (t tlsState) labels() labels {
	switch {
	case t.established:
		return labels("").with("tls", "true", "client_id", t.client.name)
	case t.sni != "":
		return labels("").with("tls", "opaque", "sni", t.sni)
	case t.skipped:
		return labels("").with("tls", "no_identity", "no_tls_reason", "port_skipped")
	default:
		return labels("").with("tls", "no_identity", "no_tls_reason", "no_tls_from_remote")
	}
}

func (m meta) labels(prefix string) labels {
	return labels("").with(prefix+"_group", m.group, prefix+"_kind", m.kind, prefix+"_name", m.name)
}

// labels of the server that a port belongs to.
func (p *portPolicy) labels() labels { return p.server.labels("srv").with("srv_port", p.port) }

// loopback is a connection within the pod.
var loopback = labels("").with("tls", "no_identity", "no_tls_reason", "loopback")

// endpointLabels say of an endpoint where it is, who it is, and what the destination controller knows of it. Of a pod that
// is called by its own address that is less, and of an address that is nobody's nothing.
func (s *service) endpointLabels(d destination) labels {
	l := appTarget
	if s.fallback == "" {
		l = labels("").with("authority", s.Host).and(appTarget)
	}
	if d.identity != "" {
		l = l.with("tls", "true", "server_id", d.identity, "dst_control_plane_ns", controlPlane)
	} else if d.own {
		l = l.and(loopback)
	} else {
		l = l.with("tls", "no_identity", "no_tls_reason", "not_provided_by_service_discovery")
	}
	if s.fallback == toNobody {
		return l
	}
	l = l.with("dst_deployment", d.Workload, "dst_namespace", d.Namespace, "dst_pod", d.Pod,
		"dst_pod_template_hash", d.Labels["pod-template-hash"])
	if s.fallback == toPod {
		return l.with("dst_serviceaccount", d.ServiceAccount, "dst_zone", "")
	}
	return l.with("dst_service", d.Service, "dst_serviceaccount", d.ServiceAccount, "dst_zone", "", "dst_zone_locality", "unknown")
}

// routeLabels are those of the default route.
func (s *service) routeLabels() labels {
	name := "http"
	if s.fallback != "" {
		name = s.fallback
	}
	return s.resource("parent").with("route_group", "", "route_kind", "default", "route_namespace", "", "route_name", name)
}

func (s *service) backendLabels() labels { return s.resource("backend") }

func (s *service) resource(role string) labels {
	if s.fallback != "" {
		name := s.fallback
		if role == "backend" {
			name = "unknown"
		}
		return labels("").with(role+"_group", "", role+"_kind", "default", role+"_namespace", "",
			role+"_name", name, role+"_port", "", role+"_section_name", "")
	}
	return labels("").with(role+"_group", "core", role+"_kind", "Service", role+"_namespace", s.Namespace,
		role+"_name", s.Name, role+"_port", strconv.Itoa(s.Port), role+"_section_name", "")
}

// statusLabels end the labels of completed responses.
func statusLabels(code int, err string) labels {
	status := ""
	if code > 0 {
		status = strconv.Itoa(code)
	}
	return labels("").with("http_status", status, "error", err)
}

// classified are the labels of a response: whatever is below 500 is a success, refusals among it.
func classified(code int, broken bool) labels {
	class, err := "success", ""
	if code >= 500 {
		class = "failure"
	}
	if broken {
		class, err = "failure", "unknown"
	}
	return labels("").with("status_code", strconv.Itoa(code), "classification", class, "grpc_status", "", "error", err)
}

// path is how errors name what a request was sent to.
func (s *service) path() string {
	if s.fallback != "" {
		return fmt.Sprintf("%s %s:%d", s.fallback, podIP, scenarios.WorkloadPort)
	}
	return fmt.Sprintf("logical service %s:%d: route default.http: backend Service.%s.%s:%d", s.Host, s.Port, s.Namespace, s.Name, s.Port)
}
