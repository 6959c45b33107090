package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The protocols that are compared.
const (
	http1 = "HTTP/1.1"
	http2 = "HTTP/2 (TLS)"
	mtls  = "mutual TLS (HTTP/1.1)"
)

// job is one load.
type job struct {
	URL     string
	Proto   string
	Conns   int
	Seconds float64
	Rate    float64 // per second; 0: as fast as it goes
	Late    float64 // seconds that it may take longer, because not all can be sent in time
	CA      string  // files, for TLS
	Cert    string
	Key     string
	Out     string // file that a generator may write
}

func (j job) seconds() string { return strconv.FormatFloat(j.Seconds, 'f', -1, 64) + "s" }

// quantiles are p50, p90, p99 and p99.9.
type quantiles [len(ranks)]time.Duration

// ranks are the quantiles that are compared, as shares.
var ranks = [...]float64{0.5, 0.9, 0.99, 0.999}

// latencies are what a generator reports.
type latencies struct {
	Q quantiles
	// Sent are the same from the time that requests were sent, where those above count from the time that they were meant for,
	// and the generator tells both; else zero.
	Sent quantiles
	// Start is the zero of the schedule, where the generator's requests have IDs that the server records.
	Start time.Time
}

// peer is a load generator.
type peer struct {
	name    string
	binary  string
	install []string // none: by Debian's package manager
	protos  []string
	paced   bool // it can keep a rate
	args    func(j job) []string
	read    func(stdout []byte, j job) (latencies, error) // nil: it does not say
}

// tells reports whether a generator keeps a rate in a protocol, and reports latencies.
func (p peer) tells(proto string) bool {
	return p.paced && p.read != nil && slices.Contains(p.protos, proto)
}

// peers lists the generators, Meshproof's own first. self is this program.
func peers(self string) []peer {
	own := func(engine string) func(j job) []string {
		return func(j job) []string {
			text, _ := json.Marshal(j) // of numbers and texts
			return []string{"send", string(text), engine}
		}
	}
	readOwn := func(out []byte, _ job) (l latencies, err error) { return l, json.Unmarshal(out, &l) }
	return []peer{
		{name: "meshproof", binary: self, protos: []string{http1, http2, mtls}, paced: true, args: own(""), read: readOwn},
		{name: "meshproof, engine vegeta", binary: self, protos: []string{http1, http2, mtls}, paced: true, args: own("vegeta"), read: readOwn},
		{
			name: "vegeta", binary: "vegeta", install: []string{"go", "install", "github.com/tsenart/vegeta/v12@v12.13.0"},
			protos: []string{http1, http2, mtls}, paced: true, args: vegetaArgs, read: readVegeta,
		},
		{
			name: "hey", binary: "hey", install: []string{"go", "install", "github.com/rakyll/hey@v0.1.5"},
			protos: []string{http1, http2}, paced: true, args: heyArgs, read: readHey,
		},
		{
			name: "fortio", binary: "fortio", install: []string{"go", "install", "fortio.org/fortio@v1.68.0"},
			protos: []string{http1, http2, mtls}, paced: true, args: fortioArgs, read: readFortio,
		},
		{
			name: "k6", binary: "k6", install: []string{"go", "install", "go.k6.io/k6@v1.8.1"},
			protos: []string{http1, http2, mtls}, paced: true, args: k6Args, read: readK6,
		},
		{
			name: "oha", binary: "oha", install: []string{"cargo", "install", "-q", "--locked", "oha@1.16.0"},
			protos: []string{http1, http2, mtls}, paced: true, args: ohaArgs, read: readOha,
		},
		{name: "wrk", binary: "wrk", protos: []string{http1}, args: func(j job) []string {
			return []string{"-t1", "-c", strconv.Itoa(j.Conns), "-d", j.seconds(), j.URL}
		}},
		{name: "h2load", binary: "h2load", protos: []string{http1, http2}, paced: true, args: h2loadArgs, read: readH2load},
		{name: "h2load, on one connection", binary: "h2load", protos: []string{http2}, args: func(j job) []string {
			return []string{"-t1", "-c1", "-m", strconv.Itoa(j.Conns), "-D", j.seconds(), j.URL}
		}},
	}
}

// find finds a generator's program, and installs it where it can be.
func (b *bench) find(ctx context.Context, p *peer, offline bool) error {
	if filepath.IsAbs(p.binary) {
		return nil
	}
	cached := filepath.Join(b.bin, p.binary)
	if _, err := os.Stat(cached); err == nil {
		p.binary = cached
		return nil
	}
	if len(p.install) == 0 {
		found, err := exec.LookPath(p.binary)
		if err != nil {
			return fmt.Errorf("not installed; make bench-load does it on Debian, as root")
		}
		p.binary = found
		return nil
	}
	if offline {
		return fmt.Errorf("not in %s, and -offline", b.bin)
	}
	fmt.Fprintf(os.Stderr, "installing %s\n", p.name)
	ctx, cancel := context.WithDeadline(ctx, b.deadline)
	defer cancel()
	args := p.install
	if args[0] == "cargo" {
		args = append(slices.Clone(args), "--root", filepath.Dir(b.bin))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "GOBIN="+b.bin, "GOFLAGS=")
	cmd.Dir = b.folder
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, lines[len(lines)-1])
	}
	p.binary = cached
	return nil
}
