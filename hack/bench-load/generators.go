package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How each generator is told what to send, and how its report is read.

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
	var l latencies
	for k, q := range ranks {
		i := int(math.Ceil(q*float64(len(all)))) - 1
		l.Q[k] = time.Duration(all[min(max(i, 0), len(all)-1)] * 1e9)
	}
	return l, nil
}

// named are quantiles that a report has by name, in some unit.
func named(all map[string]float64, unit time.Duration, names ...string) (l latencies, err error) {
	for k, name := range names {
		v, ok := all[name]
		if !ok {
			return l, fmt.Errorf("the report has no %s", name)
		}
		l.Q[k] = time.Duration(v * float64(unit))
	}
	return l, nil
}

func fortioArgs(j job) []string {
	rate := strconv.FormatFloat(j.Rate, 'f', 0, 64)
	args := []string{"load", "-qps", rate, "-c", strconv.Itoa(j.Conns), "-t", j.seconds(), "-p", "50,90,99,99.9", "-r", "0.00001", "-json", j.Out, "-loglevel", "error"}
	if j.Rate > 0 {
		args = append(args, "-uniform", "-nocatchup=false")
	}
	if j.Proto == http2 {
		args = append(args, "-h2")
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
	all := map[string]float64{}
	for _, p := range got.DurationHistogram.Percentiles {
		all[strconv.FormatFloat(p.Percentile, 'f', -1, 64)] = p.Value
	}
	return named(all, time.Second, "50", "90", "99", "99.9")
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
	auth := ""
	if j.Proto == mtls {
		auth = fmt.Sprintf("tlsAuth: [{cert: open(%q), key: open(%q)}], ", j.Cert, j.Key)
	}
	script := fmt.Sprintf("import http from 'k6/http';\nexport const options = {discardResponseBodies: true, %ssummaryTrendStats: ['p(50)', 'p(90)', 'p(99)', 'p(99.9)'], scenarios: {s: {%s, duration: %q}}};\nexport default () => { http.get(%q); };\n",
		auth, how, j.seconds(), j.URL)
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
	if err := readJSON(j.Out, &got); err != nil {
		return latencies{}, err
	}
	return named(got.Metrics.Duration, time.Millisecond, "p(50)", "p(90)", "p(99)", "p(99.9)")
}

func ohaArgs(j job) []string {
	args := []string{"--no-tui", "--output-format", "json", "--insecure", "--ipv4", "-c", strconv.Itoa(j.Conns), "-z", j.seconds()}
	if j.Rate > 0 {
		args = append(args, "-q", strconv.FormatFloat(j.Rate, 'f', 0, 64), "--latency-correction")
	}
	if j.Proto == http2 {
		args = append(args, "--http2")
	}
	if j.Proto == mtls {
		args = append(args, "--cert", j.Cert, "--key", j.Key)
	}
	return append(args, j.URL)
}

func readOha(out []byte, _ job) (latencies, error) {
	var got struct{ LatencyPercentiles map[string]float64 }
	if err := json.Unmarshal(out, &got); err != nil {
		return latencies{}, fmt.Errorf("reading oha's report: %w", err)
	}
	return named(got.LatencyPercentiles, time.Second, "p50", "p90", "p99", "p99.9")
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
		for k, rank := range ranks {
			if q >= rank && l.Q[k] == 0 {
				l.Q[k] = time.Duration(value * 1e6)
			}
		}
	}
	if l.Q[len(ranks)-1] == 0 {
		return l, fmt.Errorf("vegeta's report has no p99.9")
	}
	return l, nil
}
