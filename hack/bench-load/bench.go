package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// bench is what all measurements need.
type bench struct {
	rounds   int
	each     time.Duration
	conns    int
	long     bool
	deadline time.Time
	bin      string // folder of installed generators
	folder   string // this run's own files
	self     string
	nginx    map[string]string // addresses by protocol
	truth    string
	peers    []peer
	runs     int
	missed   []string     // what could not be measured, and why
	asked    atomic.Int64 // how often nginx was asked, which it counts too
	before   int64        // requests that it had when it was asked last
}

var errBudget = errors.New("the budget is used up")

func (b *bench) run(ctx context.Context, only string, offline bool) error {
	b.nginx = map[string]string{}
	if err := os.MkdirAll(b.bin, 0o755); err != nil {
		return fmt.Errorf("making the cache folder: %w", err)
	}
	fmt.Printf("%d processors, %s, %s, %d rounds of %s, load average before: %s\n\n", runtime.NumCPU(), runtime.GOARCH, runtime.Version(), b.rounds, b.each, loadAverage())
	for _, p := range peers(b.self) {
		if err := b.find(ctx, &p, offline); err != nil {
			fmt.Printf("* missing: %s: %v\n", p.name, err)
			continue
		}
		b.peers = append(b.peers, p)
	}
	endTruth, err := b.startTruth(ctx)
	if err != nil {
		return err
	}
	defer endTruth()
	endNginx, err := b.startNginx(ctx)
	if err != nil {
		return err
	}
	defer endNginx()
	parts := []struct {
		name string
		run  func(context.Context) error
	}{{"speed", b.speed}, {"accuracy", b.accuracy}, {"rate", b.rate}, {"freeze", b.freeze}, {"memory", b.memory}}
	for _, p := range parts {
		if only != "" && only != p.name {
			continue
		}
		err := p.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(b.missed) > 0 {
			fmt.Println("\nNot measured:")
			fmt.Println()
		}
		for _, m := range b.missed {
			fmt.Println("* " + m)
		}
		b.missed = nil
		if err != nil {
			fmt.Printf("\n%s is not whole: %v\n", p.name, err)
		}
	}
	fmt.Printf("\nload average after: %s\n", loadAverage())
	return nil
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// measured is what one run of a generator took.
type measured struct {
	requests float64
	wall     float64 // seconds
	cpu      float64 // seconds, user and system
	peak     float64 // MB
	truth    truth   // what the server saw
	latencies
}

// counter tells what a server saw since it was asked last.
type counter func(context.Context) (truth, error)

// one runs a generator once, and counts at the server what it did.
func (b *bench) one(ctx context.Context, p peer, j job, count counter) (m measured, err error) {
	if time.Now().Add(time.Duration((j.Seconds + j.Late) * 1e9)).After(b.deadline) {
		return m, errBudget
	}
	b.runs++
	j.Out = filepath.Join(b.folder, fmt.Sprintf("out-%d", b.runs))
	if strings.HasPrefix(j.URL, "https:") {
		j.CA, j.Cert, j.Key = filepath.Join(b.folder, "ca.pem"), filepath.Join(b.folder, "client.pem"), filepath.Join(b.folder, "client.key")
	}
	if _, err := count(ctx); err != nil {
		return m, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration((j.Seconds+j.Late)*1e9)+20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.binary, p.args(j)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if j.CA != "" {
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+j.CA) // for those who have no option for it
	}
	start := time.Now()
	err = cmd.Start()
	if err == nil {
		peak := watchPeak(cmd.Process.Pid)
		err = cmd.Wait()
		m.peak = peak()
	}
	if err != nil {
		return m, fmt.Errorf("%s: %w: %.300s", p.name, err, said.String())
	}
	m.wall = time.Since(start).Seconds()
	if m.truth, err = count(ctx); err != nil {
		return m, err
	}
	m.requests = float64(m.truth.Count)
	m.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if said := strings.TrimSpace(said.String()); said != "" && strings.Contains(said, "failed") {
		fmt.Fprintf(os.Stderr, "%s: %.300s\n", p.name, said)
	}
	if j.Rate > 0 && p.read != nil {
		if p.name == "vegeta" { // its report is another command's
			hdr := exec.CommandContext(ctx, p.binary, "report", "-type", "hdrplot", j.Out)
			text, err := hdr.Output()
			if err != nil {
				return m, fmt.Errorf("vegeta report: %w", err)
			}
			out.Reset()
			out.Write(text)
		}
		if m.latencies, err = p.read(out.Bytes(), j); err != nil {
			return m, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return m, nil
}

// every runs all generators that fit in turn, round by round, so that what else the machine does meets all of them.
func (b *bench) every(ctx context.Context, fits func(peer) bool, j job, count counter) (map[string][]measured, error) {
	all := map[string][]measured{}
	broken := map[string]bool{}
	for range b.rounds {
		for _, p := range b.peers {
			if !fits(p) || broken[p.name] {
				continue
			}
			m, err := b.one(ctx, p, j, count)
			switch {
			case errors.Is(err, errBudget), ctx.Err() != nil:
				return all, errors.Join(err, ctx.Err())
			case err != nil:
				b.miss(err)
				broken[p.name] = true
				delete(all, p.name)
				continue
			}
			all[p.name] = append(all[p.name], m)
		}
	}
	return all, nil
}

// miss notes what could not be measured. It is said at the end of the part.
func (b *bench) miss(err error) {
	b.missed = append(b.missed, strings.Join(strings.Fields(err.Error()), " "))
	fmt.Fprintln(os.Stderr, "bench-load: not measured:", err)
}

// median of one figure of several runs, with the smallest and the largest.
func median(ms []measured, of func(measured) float64) (mid, low, high float64) {
	var all []float64
	for _, m := range ms {
		all = append(all, of(m))
	}
	slices.Sort(all)
	return all[len(all)/2], all[0], all[len(all)-1]
}
