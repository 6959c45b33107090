package linkerd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

func TestABodyIsSentAgainUpToThe64KiBThatAreKept(t *testing.T) {
	for size, asked := range map[int]int{0: 2, 64 << 10: 2, 64<<10 + 1: 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			m := newMesh(t, shopService("retry.linkerd.io/http: 5xx"))
			got := make(chan int64, 3)
			shop := m.pod("shop", func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				got <- n
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			cart := m.pod("cart", nil)
			tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", cart.Outbound())
			}}
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr}).Post("http://shop/", "text/plain", bytes.NewReader(make([]byte, size)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if n := len(shop.requests()); n != asked || resp.StatusCode != 503 {
				t.Errorf("asked %d times, want %d; status %d", n, asked, resp.StatusCode)
			}
			for range asked {
				if n := <-got; n != int64(size) {
					t.Errorf("the workload read %d bytes", n)
				}
			}
		})
	}
}
