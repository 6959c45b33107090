package agent

import (
	"net"
	"testing"
)

func TestWithAProxyEverythingThatTheWorkloadSendsGoesToIt(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, address := range []string{"shop.app.svc.cluster.local:80", "elsewhere.test:80"} {
		conn, err := dialer(ln.Addr().String())(t.Context(), address)
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		if got := conn.RemoteAddr().String(); got != ln.Addr().String() {
			t.Errorf("%s went to %s", address, got)
		}
		_ = conn.Close()
	}
	conn, err := dialer("")(t.Context(), ln.Addr().String())
	if err != nil {
		t.Fatalf("without one: %v", err)
	}
	_ = conn.Close()
}
