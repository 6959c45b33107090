package istio

import (
	"strings"
	"testing"
)

// The lines are as in recordings of real proxies: counters of security are there, with 0, before anything happened, so
// that their first increase is seen.
func TestCountersStandOnTheMetricPageBeforeTheyCount(t *testing.T) {
	m := newMesh(t, proofRoutes)
	m.pod("shop", nil)
	cart := m.pod("cart", nil)
	page := ask(t, client(t, cart.Metrics()), "GET", "http://cart/metrics")
	if !strings.HasPrefix(page.header.Get("Content-Type"), "text/plain") {
		t.Errorf("content type %q", page.header.Get("Content-Type"))
	}
	for _, line := range []string{
		`envoy_listener_ssl_handshake{listener_address="0.0.0.0_15006"} 0`,
		`envoy_listener_ssl_connection_error{listener_address="0.0.0.0_15006"} 0`,
		`envoy_listener_ssl_fail_verify_error{listener_address="0.0.0.0_15006"} 0`,
		`envoy_listener_ssl_fail_verify_no_cert{listener_address="0.0.0.0_15006"} 0`,
		`envoy_listener_ssl_fail_verify_san{listener_address="0.0.0.0_15006"} 0`,
		`envoy_listener_no_filter_chain_match{listener_address="0.0.0.0_15006"} 0`,
		`envoy_http_rbac{authz_enforce_result="allowed",http_conn_manager_prefix="inbound_0.0.0.0_8080"} 0`,
		`envoy_http_rbac{authz_enforce_result="denied",http_conn_manager_prefix="inbound_0.0.0.0_8080"} 0`,
		`envoy_cluster_ssl_handshake{cluster_name="outbound|80||shop.app.svc.cluster.local"} 0`,
		`envoy_cluster_ssl_handshake{cluster_name="outbound|80|fresh|shop.app.svc.cluster.local"} 0`,
		`envoy_cluster_upstream_rq_retry{cluster_name="outbound|80||shop.app.svc.cluster.local"} 0`,
	} {
		if !strings.Contains(page.body, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if got := cart.scrape(t, "istio_agent_cert_expiry_seconds", "resource_name", "default"); got < 23*3600 || got > 24*3600 {
		t.Errorf("certificate expires in %v s", got)
	}
	if got := cart.scrape(t, "istio_agent_process_start_time_seconds"); got < 1e9 {
		t.Errorf("start time %v", got)
	}
	if strings.Contains(page.body, "istio_requests_total{") {
		t.Error("requests are counted before there are any")
	}
}

func TestSeriesHaveAllStandardLabels(t *testing.T) {
	s := requestSeries{reporter: "destination", source: unknownParty, dest: partyOf("shop", "app", "east", map[string]string{"app": "shop"}), service: unknownService}
	v := s.values()
	if len(v) != len(requestLabels) {
		t.Fatalf("%d values for %d labels", len(v), len(requestLabels))
	}
	got := map[string]string{}
	for i, l := range requestLabels {
		got[l] = v[i]
	}
	for label, want := range map[string]string{
		"destination_workload": "shop", "destination_workload_namespace": "app", "destination_app": "shop", "destination_version": "unknown",
		"destination_cluster": "east", "destination_canonical_service": "shop", "destination_canonical_revision": "latest",
		"source_workload": "unknown", "source_canonical_revision": "unknown", "request_protocol": "http",
	} {
		if got[label] != want {
			t.Errorf("%s = %q, want %q", label, got[label], want)
		}
	}
}
