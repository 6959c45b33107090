package istio

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// BenchmarkTwoSidecars compares a request through two sidecars, with mutual TLS, policy, metrics and access log, with
// one straight to the workload. The ratio is what matters; absolute times depend on the machine.
func BenchmarkTwoSidecars(b *testing.B) {
	m := newMesh(b, onlyCartReads)
	shop := m.pod("shop", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	cart := m.pod("cart", nil)
	run := func(addr string, n int) time.Duration {
		c := client(b, addr)
		begin := time.Now()
		for range n {
			resp, err := c.Get("http://shop.app/items/1")
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Fatal(resp.Status)
			}
		}
		return time.Since(begin)
	}
	run(cart.Outbound(), 10)
	direct := run(shop.AppAddr, 500) / 500
	b.ReportAllocs()
	b.ResetTimer()
	meshed := run(cart.Outbound(), b.N) / time.Duration(b.N)
	b.ReportMetric(float64(meshed)/float64(direct), "times-direct")
	b.ReportMetric(float64(time.Second)/float64(meshed), "requests/s")
}
