package loadgen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

// spoken is a server that says in its status what it was asked in: 200 for HTTP/1.1, 202 for HTTP/2; 1 more with a client
// certificate. It counts requests by ID.
type spoken struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string]int
}

func speak(t *testing.T, secure bool, protocols func(*http.Protocols), config func(*tls.Config)) *spoken {
	s := &spoken{seen: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen[r.Header.Get(scenarios.HeaderID)]++
		s.mu.Unlock()
		status := map[int]int{1: 200, 2: 202}[r.ProtoMajor]
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			status++
		}
		w.WriteHeader(status)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	s.Config.Protocols = &http.Protocols{}
	protocols(s.Config.Protocols)
	if secure {
		s.TLS = &tls.Config{}
		for _, p := range []string{"h2", "http/1.1"} {
			if p == "h2" && s.Config.Protocols.HTTP2() || p != "h2" && s.Config.Protocols.HTTP1() {
				s.TLS.NextProtos = append(s.TLS.NextProtos, p)
			}
		}
		if config != nil {
			config(s.TLS)
		}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func TestALoadSpeaksTheProtocolThatItIsAskedFor(t *testing.T) {
	both := func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true); p.SetUnencryptedHTTP2(true) }
	only1 := func(p *http.Protocols) { p.SetHTTP1(true) }
	asks := func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }
	for name, tc := range map[string]struct {
		secure    bool
		protocols func(*http.Protocols)
		server    func(*tls.Config)
		change    func(a *Attack, s *spoken)
		code      string // none: it fails, by an answer that is no HTTP/2 or by a connection that is closed upon it
	}{
		"HTTP/1.1":               {protocols: both, code: "200"},
		"HTTP/1.1 by vegeta":     {protocols: both, change: func(a *Attack, _ *spoken) { a.Engine = Vegeta }, code: "200"},
		"h2c":                    {protocols: both, change: func(a *Attack, _ *spoken) { a.Protocol = HTTP2 }, code: "202"},
		"h2c, and none there":    {protocols: only1, change: func(a *Attack, _ *spoken) { a.Protocol = HTTP2 }},
		"TLS":                    {secure: true, protocols: both, code: "200"},
		"TLS by vegeta":          {secure: true, protocols: both, change: func(a *Attack, _ *spoken) { a.Engine = Vegeta }, code: "200"},
		"HTTP/2":                 {secure: true, protocols: both, change: func(a *Attack, _ *spoken) { a.Protocol = HTTP2 }, code: "202"},
		"HTTP/2, and none there": {secure: true, protocols: only1, change: func(a *Attack, _ *spoken) { a.Protocol = HTTP2 }, code: "tls"},
		"mutual TLS": {secure: true, protocols: both, server: asks, change: func(a *Attack, s *spoken) {
			a.TLS.Certificates = s.TLS.Certificates
		}, code: "201"},
		"mutual HTTP/2": {secure: true, protocols: both, server: asks, change: func(a *Attack, s *spoken) {
			a.TLS.Certificates, a.Protocol = s.TLS.Certificates, HTTP2
		}, code: "203"},
		"an unknown authority": {secure: true, protocols: both, change: func(a *Attack, _ *spoken) { a.TLS = nil }, code: "tls"},
		"another name":         {secure: true, protocols: both, change: func(a *Attack, _ *spoken) { a.TLS.ServerName = "bank.example" }, code: "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := speak(t, tc.secure, tc.protocols, tc.server)
			a := attack(s.URL, constant(100, 300*time.Millisecond))
			roots := x509.NewCertPool()
			if tc.secure {
				roots.AddCert(s.Certificate())
			}
			a.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
			if tc.change != nil {
				tc.change(&a, s)
			}
			out := &memory{}
			if err := Run(context.Background(), a, out, nil); err != nil {
				t.Fatal(err)
			}
			if tc.code == "" {
				if p := out.phases[0]; p.Errors != 30 {
					t.Errorf("%d errors of 30", p.Errors)
				}
				return
			}
			if want := map[string]int{tc.code: 30}; !cmp.Equal(out.phases[0].Codes, want) {
				t.Fatalf("codes %v, want %v", out.phases[0].Codes, want)
			}
			if tc.code[0] != '2' {
				return
			}
			for n := range 30 {
				if got := s.seen[fmt.Sprintf("r1-buyers-%d", n)]; got != 1 {
					t.Errorf("request %d arrived %d times", n, got)
				}
			}
		})
	}
}

func TestAnIdleConnectionOutlivesTheTimeOut(t *testing.T) {
	both := func(p *http.Protocols) { p.SetHTTP1(true) }
	s := speak(t, true, both, nil)
	opened := 0
	a := attack(s.URL, constant(2, 2*time.Second)) // a request every 500 ms
	a.Traffic.Timeout = scenarios.Duration(200 * time.Millisecond)
	a.Traffic.MaxInFlight = 1
	a.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
	a.TLS.RootCAs.AddCert(s.Certificate())
	a.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		opened++
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	out := &memory{}
	if err := Run(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	// A busy machine may take longer for one; a connection that is broken by its own deadline fails each.
	if n := out.phases[0].Codes["200"]; n < 3 || opened > 1+4-n {
		t.Errorf("%d of 4 answered, on %d connections", n, opened)
	}
}
