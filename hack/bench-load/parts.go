package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// freeze is what is made of a server that stands still for 1 s every 10 s.
func (b *bench) freeze(ctx context.Context) error {
	fmt.Println("\n### A server that freezes for 1 s every 10 s, 200 requests/s on 16 connections, 20 s")
	fmt.Println("\nFor users who ask at their own times p99 is 900 ms, and p99.9 is 990 ms.")
	fmt.Println("\n| generator | p99 | p99.9 |\n|---|---|---|")
	j := job{URL: b.truth + "/freeze", Proto: http1, Conns: 16, Seconds: 2 * freezeEvery.Seconds(), Rate: 200}
	for _, p := range b.peers {
		if !p.tells(http1) {
			continue
		}
		m, err := b.one(ctx, p, j, b.ask)
		if errors.Is(err, errBudget) || ctx.Err() != nil {
			return err
		} else if err != nil {
			b.miss(err)
			continue
		}
		row := func(name string, q quantiles) {
			fmt.Printf("| %s | %.0f ms | %.0f ms |\n", name, float64(q[2])/1e6, float64(q[3])/1e6)
		}
		row(p.name, m.Q)
		if m.Sent != (quantiles{}) {
			row(p.name+sentTime, m.Sent)
		}
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
		fmt.Printf("| %.0f | %.1f MB |\n", m.requests, m.peak)
	}
	return nil
}
