package alone

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/meshproof/meshproof/loadgen"
)

func TestALoadSpeaksHTTP2AndGRPC(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && r.Header.Get("Content-Type") == "application/grpc" {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", map[bool]string{true: "0", false: "12"}[r.URL.Path == "/shop.Cart/Get" && r.Method == http.MethodPost])
			return
		}
		w.WriteHeader(200 + r.ProtoMajor)
	}))
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	for _, c := range []struct {
		protocol loadgen.Protocol
		path     string
		code     string
	}{{"", "/", "201"}, {loadgen.HTTP2, "/", "202"}, {loadgen.GRPC, "/shop.Cart/Get", "200"}, {loadgen.GRPC, "/shop.Cart/Put", "grpc-12"}} {
		o := options(t, s.URL+c.path, "constant:50,200ms")
		o.Protocol = c.protocol
		if l := send(context.Background(), t, o); l.Whole.Codes[c.code] != 10 {
			t.Errorf("%s %s: %v, want 10 of %s", c.protocol, c.path, l.Whole.Codes, c.code)
		}
	}
}

func TestALoadOverTCPSendsLines(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = c.Close() }()
				for in := bufio.NewScanner(c); in.Scan(); {
					if !strings.HasSuffix(in.Text(), " ping") {
						return
					}
					_, _ = c.Write([]byte("pong\n"))
				}
			})
		}
	})
	defer func() { _ = l.Close(); running.Wait() }()
	o := options(t, "tcp://"+l.Addr().String(), "constant:50,200ms")
	o.Body = []byte("ping")
	if r := send(context.Background(), t, o); r.Whole.Codes["200"] != 10 || r.Method != "lines" {
		t.Errorf("%s: %v", r.Method, r.Whole.Codes)
	}
}

func TestAProtocolThatCannotBeSentIsRefused(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"more than one in grpc":  func(o *Options) { o.Messages = 2 },
		"want 1 to 10000":        func(o *Options) { o.Protocol, o.Messages = loadgen.GRPC, 10_001 },
		"unknown protocol":       func(o *Options) { o.Protocol = "spdy" },
		"a gRPC call is a POST":  func(o *Options) { o.Protocol, o.Method = loadgen.GRPC, http.MethodGet },
		"not of the form tcp://": func(o *Options) { o.Protocol = loadgen.TCP },
		"not of the form http:":  func(o *Options) { o.URL, o.Protocol = "tcp://127.0.0.1:1", loadgen.HTTP2 },
		"has no place":           func(o *Options) { o.URL, o.Method = "tcp://127.0.0.1:1", http.MethodPut },
		"a path or headers":      func(o *Options) { o.URL = "tcp://127.0.0.1:1/x" },
		"which is sent in http1": func(o *Options) { o.Profile, o.Protocol = profile(t, "users:2,1s"), loadgen.HTTP2 },
	} {
		o := options(t, "http://127.0.0.1:1/", "constant:1,1s")
		change(&o)
		if _, err := Run(context.Background(), o, nil); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
