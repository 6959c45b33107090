package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
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

// latencies are what a generator reports.
type latencies struct {
	P99, P999 time.Duration
	// The same from the time that requests were sent, where what is above counts from the time that they were meant for, and
	// the generator tells both.
	Sent99, Sent999 time.Duration
}

// peer is a load generator.
type peer struct {
	name    string
	binary  string
	install []string // none: by Debian's package manager
	protos  []string
	paced   bool // it can keep a rate
	open    bool // latency counts from the time that a request was meant for
	args    func(j job) []string
	read    func(stdout []byte, j job) (latencies, error) // nil: it does not say
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
		{name: "meshproof", binary: self, protos: []string{http1, http2, mtls}, paced: true, open: true, args: own(""), read: readOwn},
		{name: "meshproof, engine vegeta", binary: self, protos: []string{http1, mtls}, paced: true, open: true, args: own("vegeta"), read: readOwn},
		{
			name: "vegeta", binary: "vegeta", install: []string{"go", "install", "github.com/tsenart/vegeta/v12@v12.13.0"},
			protos: []string{http1, http2, mtls}, paced: true, args: vegetaArgs, read: readVegeta,
		},
		{
			name: "hey", binary: "hey", install: []string{"go", "install", "github.com/rakyll/hey@v0.1.5"},
			protos: []string{http1, http2}, paced: true, args: heyArgs, read: readHey,
		},
		{
			name: "fortio", binary: "fortio", install: []string{"go", "install", "fortio.org/fortio@v1.75.3"},
			protos: []string{http1, mtls}, paced: true, args: fortioArgs, read: readFortio,
		},
		{
			name: "k6", binary: "k6", install: []string{"go", "install", "go.k6.io/k6@v1.8.1"},
			protos: []string{http1}, paced: true, args: k6Args, read: readK6,
		},
		{
			name: "oha", binary: "oha", install: []string{"cargo", "install", "-q", "--locked", "oha"},
			protos: []string{http1, http2}, paced: true, open: true, args: ohaArgs, read: readOha,
		},
		{name: "wrk", binary: "wrk", protos: []string{http1}, args: func(j job) []string {
			return []string{"-t1", "-c", strconv.Itoa(j.Conns), "-d", j.seconds(), j.URL}
		}},
		{name: "h2load", binary: "h2load", protos: []string{http1, http2}, paced: true, args: h2loadArgs, read: readH2load},
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

func vegetaArgs(j job) []string {
	if err := os.WriteFile(j.Out+".targets", []byte("GET "+j.URL+"\n"), 0o600); err != nil {
		panic(err) // our own folder, made a moment ago
	}
	args := []string{
		"attack", "-targets", j.Out + ".targets", "-output", j.Out, "-duration", j.seconds(), "-max-body", "0",
		"-rate", strconv.FormatFloat(j.Rate, 'f', 0, 64), "-workers", strconv.Itoa(min(j.Conns, 16)), "-max-workers", strconv.Itoa(j.Conns),
		"-http2=" + strconv.FormatBool(j.Proto == http2),
	}
	if j.CA != "" {
		args = append(args, "-root-certs", j.CA)
	}
	if j.Proto == mtls {
		args = append(args, "-cert", j.Cert, "-key", j.Key)
	}
	return args
}

func heyArgs(j job) []string {
	args := []string{"-z", j.seconds(), "-c", strconv.Itoa(j.Conns)}
	if j.Rate > 0 {
		args = append(args, "-q", strconv.FormatFloat(j.Rate/float64(j.Conns), 'f', 3, 64), "-o", "csv")
	}
	if j.Proto == http2 {
		args = append(args, "-h2")
	}
	return append(args, j.URL)
}

// readHey reads the response time of each request from a table.
func readHey(out []byte, _ job) (latencies, error) {
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil {
		return latencies{}, fmt.Errorf("reading hey's table: %w", err)
	}
	var all []float64
	for _, row := range rows[min(1, len(rows)):] {
		s, err := strconv.ParseFloat(row[0], 64)
		if err != nil {
			return latencies{}, fmt.Errorf("reading hey's table: %w", err)
		}
		all = append(all, s)
	}
	return quantilesOf(all)
}

// quantilesOf are those of times in seconds: of n, the ⌈q·n⌉-th smallest.
func quantilesOf(all []float64) (latencies, error) {
	if len(all) == 0 {
		return latencies{}, fmt.Errorf("no request was reported")
	}
	slices.Sort(all)
	at := func(q float64) time.Duration {
		i := int(math.Ceil(q*float64(len(all)))) - 1
		return time.Duration(all[min(max(i, 0), len(all)-1)] * 1e9)
	}
	return latencies{P99: at(0.99), P999: at(0.999)}, nil
}

func fortioArgs(j job) []string {
	rate := strconv.FormatFloat(j.Rate, 'f', 0, 64)
	args := []string{"load", "-qps", rate, "-c", strconv.Itoa(j.Conns), "-t", j.seconds(), "-p", "99,99.9", "-r", "0.00001", "-json", j.Out, "-loglevel", "error"}
	if j.Rate > 0 {
		args = append(args, "-uniform", "-nocatchup=false")
	}
	if j.CA != "" {
		args = append(args, "-cacert", j.CA)
	}
	if j.Proto == mtls {
		args = append(args, "-cert", j.Cert, "-key", j.Key)
	}
	return append(args, j.URL)
}

func readFortio(_ []byte, j job) (l latencies, err error) {
	var got struct {
		DurationHistogram struct {
			Percentiles []struct{ Percentile, Value float64 }
		}
	}
	if err := readJSON(j.Out, &got); err != nil {
		return l, err
	}
	for _, p := range got.DurationHistogram.Percentiles {
		switch p.Percentile {
		case 99:
			l.P99 = time.Duration(p.Value * 1e9)
		case 99.9:
			l.P999 = time.Duration(p.Value * 1e9)
		}
	}
	return l, nil
}

func readJSON(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading a generator's report: %w", err)
	}
	return json.Unmarshal(text, into)
}

func k6Args(j job) []string {
	how := fmt.Sprintf(`executor: "constant-vus", vus: %d`, j.Conns)
	if j.Rate > 0 {
		how = fmt.Sprintf(`executor: "constant-arrival-rate", rate: %.0f, timeUnit: "1s", preAllocatedVUs: %d`, j.Rate, j.Conns)
	}
	script := fmt.Sprintf("import http from 'k6/http';\nexport const options = {discardResponseBodies: true, summaryTrendStats: ['p(99)', 'p(99.9)'], scenarios: {s: {%s, duration: %q}}};\nexport default () => { http.get(%q); };\n",
		how, j.seconds(), j.URL)
	if err := os.WriteFile(j.Out+".js", []byte(script), 0o600); err != nil {
		panic(err) // our own folder
	}
	return []string{"run", "--quiet", "--no-usage-report", "--summary-export", j.Out, j.Out + ".js"}
}

func readK6(_ []byte, j job) (latencies, error) {
	var got struct {
		Metrics struct {
			Duration map[string]float64 `json:"http_req_duration"` // ms
		}
	}
	err := readJSON(j.Out, &got)
	ms := func(name string) time.Duration { return time.Duration(got.Metrics.Duration[name] * 1e6) }
	return latencies{P99: ms("p(99)"), P999: ms("p(99.9)")}, err
}

func ohaArgs(j job) []string {
	args := []string{"--no-tui", "--output-format", "json", "--insecure", "-c", strconv.Itoa(j.Conns), "-z", j.seconds()}
	if j.Rate > 0 {
		args = append(args, "-q", strconv.FormatFloat(j.Rate, 'f', 0, 64), "--latency-correction")
	}
	if j.Proto == http2 {
		args = append(args, "--http2")
	}
	return append(args, j.URL)
}

func readOha(out []byte, _ job) (latencies, error) {
	var got struct{ LatencyPercentiles map[string]float64 }
	err := json.Unmarshal(out, &got)
	s := func(name string) time.Duration { return time.Duration(got.LatencyPercentiles[name] * 1e9) }
	return latencies{P99: s("p99"), P999: s("p99.9")}, err
}

func h2loadArgs(j job) []string {
	args := []string{"-t1", "-c", strconv.Itoa(j.Conns), "-D", j.seconds()}
	if j.Rate > 0 {
		args = append(args, "--rps", strconv.FormatFloat(j.Rate/float64(j.Conns), 'f', 3, 64), "--log-file", j.Out)
	}
	if j.Proto == http1 {
		args = append(args, "--h1")
	}
	return append(args, j.URL)
}

// readH2load reads a line for each request: when, status, µs.
func readH2load(_ []byte, j job) (latencies, error) {
	f, err := os.Open(j.Out)
	if err != nil {
		return latencies{}, fmt.Errorf("reading h2load's log: %w", err)
	}
	defer func() { _ = f.Close() }()
	var all []float64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if part := strings.Split(lines.Text(), "\t"); len(part) == 3 {
			if us, err := strconv.ParseFloat(part[2], 64); err == nil {
				all = append(all, us/1e6)
			}
		}
	}
	return quantilesOf(all)
}

// readVegeta reads the table that "vegeta report -type hdrplot" makes: value (ms), percentile (0 to 1), …
func readVegeta(out []byte, _ job) (l latencies, err error) {
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		part := strings.Fields(lines.Text())
		if len(part) < 2 {
			continue
		}
		value, err1 := strconv.ParseFloat(part[0], 64)
		q, err2 := strconv.ParseFloat(part[1], 64)
		if err1 != nil || err2 != nil {
			continue
		}
		if d := time.Duration(value * 1e6); q >= 0.99 && l.P99 == 0 {
			l.P99 = d
		} else if q >= 0.999 && l.P999 == 0 {
			l.P999 = d
		}
	}
	if l.P999 == 0 {
		return l, fmt.Errorf("vegeta's report has no p99.9")
	}
	return l, nil
}
