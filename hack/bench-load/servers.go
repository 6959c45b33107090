package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// delays of the server that knows the truth: of a thousand requests 980 take the first, 15 the second and 5 the third.
var delays = [3]time.Duration{2 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond}

// freezeEvery and freezeFor are how its other face freezes.
const (
	freezeEvery = 10 * time.Second
	freezeFor   = time.Second
)

// truth is what the server itself saw.
type truth struct {
	Count int64
	Q     quantiles // of the time from a request to its answer
	// Ended is when the server was done with each request of Meshproof's, by its number: ns of wall time.
	Ended map[int64]int64
	Twice int64 // requests whose number had come before
}

// serve is the server that knows the truth, in a process of its own. It prints its address. /delay takes a known time,
// /freeze stands still at times, /truth tells what happened since it was asked last.
func serve(ctx context.Context) error {
	var n atomic.Int64
	var mu sync.Mutex
	seen := evidence.NewHistogram()
	now := truth{Ended: map[int64]int64{}}
	var begin time.Time // of the first freeze, half its period before the first request: all generators meet it at the same times
	// answer ends a request. What the server notes of it comes after the answer is on its way: who waits for that would
	// count it, too.
	answer := func(w http.ResponseWriter, r *http.Request, from time.Time) {
		w.Header().Set("Content-Length", "2")
		_, _ = w.Write([]byte("ok"))
		end := time.Now()
		_ = http.NewResponseController(w).Flush() // a client that is gone misses it
		mu.Lock()
		defer mu.Unlock()
		evidence.RecordMicros(seen, end.Sub(from).Microseconds())
		number, err := strconv.ParseInt(strings.TrimPrefix(r.Header.Get(scenarios.HeaderID), idPrefix+"-"+trafficName+"-"), 10, 64)
		if err != nil {
			return // of another generator
		}
		if _, twice := now.Ended[number]; twice {
			now.Twice++
		}
		now.Ended[number] = end.UnixNano()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/delay", func(w http.ResponseWriter, r *http.Request) {
		from := time.Now()
		d := delays[0]
		switch k := n.Add(1) * 7919 % 1000; { // the slow ones stand far from each other
		case k >= 995:
			d = delays[2]
		case k >= 980:
			d = delays[1]
		}
		time.Sleep(d)
		answer(w, r, from)
	})
	mux.HandleFunc("/freeze", func(w http.ResponseWriter, r *http.Request) {
		from := time.Now()
		mu.Lock()
		if begin.IsZero() {
			begin = from.Add(-freezeEvery / 2)
		}
		into := from.Sub(begin) % freezeEvery
		mu.Unlock()
		if into < freezeFor {
			time.Sleep(freezeFor - into)
		}
		answer(w, r, from)
	})
	mux.HandleFunc("/truth", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		now.Count, now.Q = seen.TotalCount(), quantilesIn(seen)
		_ = json.NewEncoder(w).Encode(now)
		seen.Reset()
		now = truth{Ended: map[int64]int64{}}
		begin = time.Time{}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	fmt.Println(l.Addr())
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// quantilesIn are those of a histogram of µs.
func quantilesIn(h *hdrhistogram.Histogram) (q quantiles) {
	for k, rank := range ranks {
		q[k] = time.Duration(evidence.Quantile(h, rank)) * time.Microsecond
	}
	return q
}

// ask asks the server what it saw.
func (b *bench) ask(ctx context.Context) (t truth, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.truth+"/truth", nil)
	if err != nil {
		return t, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return t, fmt.Errorf("asking the server for the truth: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	return t, json.NewDecoder(resp.Body).Decode(&t)
}

// startTruth starts the server that knows the truth, and returns what ends it.
func (b *bench) startTruth(ctx context.Context) (func(), error) {
	cmd := exec.CommandContext(ctx, b.self, "serve")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	end := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	var address string
	if _, err := fmt.Fscanln(out, &address); err != nil {
		end()
		return nil, fmt.Errorf("the server did not say its address: %w", err)
	}
	b.truth = "http://" + address
	return end, nil
}

const nginxConf = `daemon off;
worker_processes 1;
pid FOLDER/pid;
error_log FOLDER/error.log;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/fastcgi;
	uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
	ssl_certificate FOLDER/server.pem;
	ssl_certificate_key FOLDER/server.key;
	ssl_client_certificate FOLDER/ca.pem;
	server { listen 127.0.0.1:PORT0; location / { return 200 "an answer of some thirty letters\n"; } location /count { stub_status; } }
	server { listen 127.0.0.1:PORT1 ssl http2; location / { return 200 "an answer of some thirty letters\n"; } }
	server { listen 127.0.0.1:PORT2 ssl; ssl_verify_client on; ssl_verify_depth 3; location / { return 200 "an answer of some thirty letters\n"; } }
}
`

// startNginx starts nginx for all protocols, and returns what ends it.
func (b *bench) startNginx(ctx context.Context) (func(), error) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, fmt.Errorf("nginx is not installed; make bench-load does it on Debian, as root")
		}
	}
	if err := b.certificates(); err != nil {
		return nil, err
	}
	conf := strings.ReplaceAll(nginxConf, "FOLDER", b.folder)
	for i, proto := range []string{http1, http2, mtls} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		_ = l.Close()
		conf = strings.ReplaceAll(conf, "PORT"+strconv.Itoa(i), port)
		if proto == http1 {
			b.nginx[proto] = "http://127.0.0.1:" + port + "/"
		} else {
			b.nginx[proto] = "https://localhost:" + port + "/"
		}
	}
	file := filepath.Join(b.folder, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, fmt.Errorf("writing nginx's configuration: %w", err)
	}
	if os.Getuid() == 0 { // its worker is somebody else
		if err := os.Chmod(b.folder, 0o755); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, bin, "-p", b.folder, "-c", file)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting nginx: %w", err)
	}
	end := func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() }
	for range 100 {
		if _, err := b.count(ctx); err == nil {
			return end, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	end()
	return nil, fmt.Errorf("nginx did not come up")
}

// count is how many requests nginx has had since it was asked last.
func (b *bench) count(ctx context.Context) (truth, error) {
	n, err := b.total(ctx)
	t := truth{Count: n - b.before}
	b.before = n
	return t, err
}

// total is how many requests nginx has had, without those that asked it so.
func (b *bench) total(ctx context.Context) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.nginx[http1]+"count", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking nginx how much it did: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	// Active connections: 1 \nserver accepts handled requests\n 1 1 1 \n
	var active, accepted, handled, requests int64
	_, err = fmt.Fscanf(resp.Body, "Active connections: %d \nserver accepts handled requests\n %d %d %d", &active, &accepted, &handled, &requests)
	return requests - b.asked.Add(1), err
}

// certificates makes those of the server and of a client, under one root.
func (b *bench) certificates() error {
	root, err := trust.NewRoot("bench-load")
	if err != nil {
		return err
	}
	issuer, err := root.Issuer("bench-load issuer")
	if err != nil {
		return err
	}
	files := map[string]string{"ca.pem": root.PEM()}
	for _, who := range []string{"server", "client"} {
		c, err := issuer.Issue(trust.Leaf{DNS: map[string]string{"server": "localhost", "client": "client"}[who], Backdate: time.Hour, Lifetime: 24 * time.Hour})
		if err != nil {
			return err
		}
		key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			return fmt.Errorf("writing a key: %w", err)
		}
		files[who+".key"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
		for _, der := range c.Certificate {
			files[who+".pem"] += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(b.folder, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing certificates: %w", err)
		}
	}
	return nil
}
