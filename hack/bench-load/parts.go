package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// speed is how many requests a second of the processor's time is good for, as fast as it goes.
func (b *bench) speed(ctx context.Context) error {
	for _, proto := range []string{http1, http2, mtls} {
		fmt.Printf("\n### As fast as it goes: %s, %d connections, nginx\n\n", proto, b.conns)
		fmt.Println("| generator | requests per CPU second | min … max | requests/s | peak memory |\n|---|---|---|---|---|")
		j := job{URL: b.nginx[proto], Proto: proto, Conns: b.conns, Seconds: b.each.Seconds()}
		all, err := b.every(ctx, func(p peer) bool { return slices.Contains(p.protos, proto) }, j, b.count)
		for _, p := range b.peers {
			if ms := all[p.name]; len(ms) > 0 {
				mid, low, high := median(ms, func(m measured) float64 { return m.requests / m.cpu })
				rate, _, _ := median(ms, func(m measured) float64 { return m.requests / m.wall })
				mem, _, _ := median(ms, func(m measured) float64 { return m.peak })
				fmt.Printf("| %s | %.0f | %.0f … %.0f | %.0f | %.0f MB |\n", p.name, mid, low, high, rate, mem)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// truths are what the server saw in each run, beside the generators' own counts.
func (b *bench) truths(got *[]truth) func(context.Context) (int64, error) {
	var sum int64
	return func(ctx context.Context) (int64, error) {
		t, err := b.ask(ctx)
		*got = append(*got, t)
		sum += t.Count
		return sum, err
	}
}

// accuracy is how far the reported p99 and p99.9 are from what the server saw.
func (b *bench) accuracy(ctx context.Context) error {
	for _, rate := range []float64{200, 1000, 4000} {
		fmt.Printf("\n### Error of p99 and p99.9 at %.0f requests/s (2 ms, 1.5 %% of them 20 ms, 0.5 %% of them 50 ms)\n\n", rate)
		fmt.Println("| generator | achieved | error of p99 | largest | error of p99.9 | largest |\n|---|---|---|---|---|---|")
		j := job{URL: b.truth + "/delay", Proto: http1, Conns: 64, Seconds: max(b.each.Seconds(), 2000/rate), Rate: rate}
		rows := map[string]*off{}
		var names []string
		note := func(name string, share float64, p99, p999 time.Duration) {
			if rows[name] == nil {
				rows[name] = &off{}
				names = append(names, name)
			}
			r := rows[name]
			r.share, r.p99, r.p999 = append(r.share, share), append(r.p99, p99), append(r.p999, p999)
		}
		for range b.rounds {
			for _, p := range b.peers {
				if !p.paced || p.read == nil || !slices.Contains(p.protos, http1) {
					continue
				}
				var seen []truth
				m, err := b.one(ctx, p, j, b.truths(&seen))
				if err != nil {
					return err
				}
				t, share := seen[1], m.requests/(rate*j.Seconds)
				note(p.name, share, m.P99-t.P99, m.P999-t.P999)
				if m.Sent99 > 0 {
					note(p.name+sentTime, share, m.Sent99-t.P99, m.Sent999-t.P999)
				}
			}
		}
		for _, name := range names {
			r := rows[name]
			slices.Sort(r.share)
			fmt.Printf("| %s | %.1f %% | %s | %s |\n", name, 100*r.share[len(r.share)/2], spread(r.p99), spread(r.p999))
		}
	}
	return nil
}

// sentTime marks latencies of a generator that tells both.
const sentTime = ", from the sent time"

// off is how far off the figures were in a generator's rounds.
type off struct {
	share     []float64 // achieved of the offered rate
	p99, p999 []time.Duration
}

// spread is the median and the largest of errors, by what they are off, whichever way.
func spread(e []time.Duration) string {
	slices.SortFunc(e, func(a, b time.Duration) int { return int(a.Abs() - b.Abs()) })
	return ms(e[len(e)/2]) + " | " + ms(e[len(e)-1])
}

func ms(d time.Duration) string { return fmt.Sprintf("%+.2f ms", float64(d)/1e6) }

// freeze is what is made of a server that stands still for 1 s every 10 s.
func (b *bench) freeze(ctx context.Context) error {
	fmt.Println("\n### A server that freezes for 1 s every 10 s, 200 requests/s on 16 connections, 20 s")
	fmt.Println("\nFor users who ask at their own times p99 is 900 ms, and p99.9 is 990 ms.")
	fmt.Println("\n| generator | p99 | p99.9 |\n|---|---|---|")
	j := job{URL: b.truth + "/freeze", Proto: http1, Conns: 16, Seconds: 2 * freezeEvery.Seconds(), Rate: 200}
	for _, p := range b.peers {
		if !p.paced || p.read == nil || !slices.Contains(p.protos, http1) {
			continue
		}
		var seen []truth
		m, err := b.one(ctx, p, j, b.truths(&seen))
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f ms | %.0f ms |\n", p.name, float64(m.P99)/1e6, float64(m.P999)/1e6)
		if m.Sent99 > 0 {
			fmt.Printf("| %s | %.0f ms | %.0f ms |\n", p.name+sentTime, float64(m.Sent99)/1e6, float64(m.Sent999)/1e6)
		}
	}
	return nil
}

// rate is the highest rate, in steps of an eighth, at which 99 % of what was offered was sent.
func (b *bench) rate(ctx context.Context) error {
	fmt.Printf("\n### Highest rate sustained within 1 %% of what was offered: HTTP/1.1, %d connections, nginx\n\n", b.conns)
	fmt.Println("| generator | requests/s | requests per CPU second there |\n|---|---|---|")
	for _, p := range b.peers {
		if !p.paced || !slices.Contains(p.protos, http1) {
			continue
		}
		best, perCPU := 0.0, 0.0
		for rate := 4000.0; ; rate *= 1.25 {
			j := job{URL: b.nginx[http1], Proto: http1, Conns: b.conns, Seconds: b.each.Seconds(), Rate: float64(int(rate))}
			kept := false
			for range 2 { // a single miss may be somebody else's
				m, err := b.one(ctx, p, j, b.count)
				if err != nil {
					return err
				}
				if m.requests >= 0.99*j.Rate*j.Seconds && m.wall < 1.05*j.Seconds+0.5 {
					kept, best, perCPU = true, j.Rate, m.requests/m.cpu
					break
				}
			}
			if !kept {
				break
			}
		}
		fmt.Printf("| %s | %.0f | %.0f |\n", p.name, best, perCPU)
	}
	return nil
}

// memory is what Meshproof's own generator holds at its peak, by the number of requests.
func (b *bench) memory(ctx context.Context) error {
	fmt.Print("\n### Peak memory of Meshproof's generator by the number of requests\n\n| requests | peak memory |\n|---|---|\n")
	totals := []float64{1e4, 1e5}
	if b.long {
		totals = append(totals, 1e6, 1e7)
	}
	for _, n := range totals {
		// More than can be sent in the time: all of them are sent, late.
		j := job{URL: b.nginx[http1], Proto: http1, Conns: b.conns, Seconds: n / flatOut, Rate: flatOut, Late: n / 10_000}
		m, err := b.one(ctx, b.peers[0], j, b.count)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.1f MB |\n", strings.TrimSuffix(fmt.Sprintf("%.0f", m.requests), ".0"), m.peak)
	}
	return nil
}
