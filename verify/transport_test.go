package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// failing adds to the pages of a gateway's Envoy what it counted of handshakes with a service that failed, by edge.
func failing(rec *evidence.Record, window, name, host string, counts map[string]int) {
	for _, s := range rec.Scrapes {
		if s.Window == window && s.Proxy == gatewayContainer {
			s.Body += fmt.Sprintf("# TYPE envoy_cluster_ssl_%[1]s counter\nenvoy_cluster_ssl_%[1]s{cluster_name=\"outbound|80||%[2]s\"} %[3]d\n", name, host, counts[s.Edge])
		}
	}
}

func TestWhyAGatewaysHandshakesFailedIsSaidInItsOwnCounts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(rec *evidence.Record, shop, cart string)
		want   string
	}{
		{"a certificate of another root", func(rec *evidence.Record, shop, _ string) {
			failing(rec, "before/fresh", "connection_error", shop, map[string]int{"start": 2, "end": 8})
			failing(rec, "before/fresh", "fail_verify_error", shop, map[string]int{"start": 2, "end": 8})
		}, "503 (its Envoy counted, of handshakes with shop in that window, 6 ssl.connection_error, 6 ssl.fail_verify_error)"},
		{"a certificate that the server does not take", func(rec *evidence.Record, shop, _ string) {
			failing(rec, "before/fresh", "connection_error", shop, map[string]int{"end": 3})
		}, "503 (its Envoy counted, of handshakes with shop in that window, 3 ssl.connection_error)"},
		{"handshakes with another service", func(rec *evidence.Record, _, cart string) {
			failing(rec, "before/fresh", "connection_error", cart, map[string]int{"end": 3})
		}, "503"},
		{"handshakes that failed before", func(rec *evidence.Record, shop, _ string) {
			failing(rec, "before/fresh", "connection_error", shop, map[string]int{"start": 3, "end": 3})
		}, "503"},
		{"nothing that was counted", func(*evidence.Record, string, string) {}, "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := testScenario(scenarios.MeshLayered)
			s.Spec.Meshes[0].Layered = &scenarios.Layered{Gateway: scenarios.GatewayDirect}
			rec := goodRecord(t, s)
			host := func(name string) string { w, _ := s.Workload(name); return w.Host() }
			tt.change(rec, host("shop"), host("cart"))
			p := firstProbe(t, rec, "before/fresh", allowedTo("ingress", "shop"))
			lose(t, rec, p.ID)
			p.Status = 503
			cells := Evaluate(rec).Cells
			c := cells[slices.IndexFunc(cells, func(c Cell) bool { return strings.HasPrefix(p.Cell, c.ID) })]
			if want := "its client saw " + tt.want; c.Message != want && !strings.HasSuffix(c.Message, want) {
				t.Errorf("%s: %s", c.ID, c.Message)
			}
		})
	}
}
