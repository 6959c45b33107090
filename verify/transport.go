package verify

import (
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// failedTLS are Envoy's counts of handshakes with an upstream that failed: all that its TLS library ended (connection_error),
// and of those the ones in which it did not take the server's certificate.
var failedTLS = []string{
	"envoy_cluster_ssl_connection_error", "envoy_cluster_ssl_fail_verify_error", "envoy_cluster_ssl_fail_verify_san", "envoy_cluster_ssl_fail_verify_no_cert",
}

// seen is what a client saw, in a word; and, of a gateway's Envoy, how many of its handshakes with the service failed in
// that window, by its own statistics. That explains and decides nothing.
func (x *trial) seen(p *evidence.Probe) string {
	if p.Status/100 != 5 || p.From.Service != scenarios.IngressName {
		return status(p)
	}
	to, _ := x.s.Workload(p.To)
	counts := map[string]int64{}
	for _, s := range x.allScrapes {
		if s.Window != p.Window || s.At.Cluster != p.From.Cluster || s.Proxy != gatewayContainer || s.Edge != "start" && s.Edge != "end" {
			continue
		}
		at, err := parsePage(s.Body, failedTLS)
		if err != nil {
			continue // other checks say so
		}
		for _, c := range at.series {
			if name := c.labels["cluster_name"]; !strings.Contains(name, "|"+to.Host()) {
				continue
			}
			if s.Edge == "start" {
				c.count = -c.count
			}
			counts[c.name] += c.count
		}
	}
	var words []string
	for _, name := range failedTLS {
		if n := counts[name]; n > 0 {
			words = append(words, fmt.Sprintf("%d ssl.%s", n, strings.TrimPrefix(name, "envoy_cluster_ssl_")))
		}
	}
	if len(words) == 0 {
		return status(p)
	}
	return fmt.Sprintf("%s (its Envoy counted, of handshakes with %s in that window, %s)", status(p), p.To, strings.Join(words, ", "))
}
