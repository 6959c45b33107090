package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meshproof/meshproof/loadgen"
)

const (
	// accuracyConns is how many connections a generator may have where its accuracy is measured: more than the load needs,
	// so that nothing waits for one.
	accuracyConns = 256
	// A figure is right if it is off by at most this share of the truth, or this time.
	tolerance     = 0.01
	toleranceTime = 200 * time.Microsecond
)

// Marks of rows of a generator that tells more than one figure.
const (
	sentTime = ", from the sent time"
	byID     = ", beside the same requests by ID"
)

// accuracy is how far the reported quantiles are from what the server saw, at shares of the capacity: of what generator and
// server get done together on this machine, as fast as Meshproof sends.
func (b *bench) accuracy(ctx context.Context) error {
	j := job{URL: b.truth + "/delay", Proto: http1, Conns: accuracyConns, Seconds: b.each.Seconds()}
	m, err := b.one(ctx, b.peers[0], j, b.ask)
	if err != nil {
		return fmt.Errorf("finding the capacity: %w", err)
	}
	capacity := m.requests / j.Seconds
	fmt.Printf("\n### Error of what is reported, beside the server's own record\n\n")
	fmt.Printf("The server takes 2 ms, for 1.5 %% of the requests 20 ms, for 0.5 %% of them 50 ms. Together with Meshproof it gets %.0f requests/s done on this machine: the capacity.\n", capacity)
	for _, share := range []float64{0.1, 0.5, 0.8} {
		j.Rate = float64(int(share * capacity))
		if err := b.accuracyAt(ctx, share, j); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) accuracyAt(ctx context.Context, share float64, j job) error {
	fmt.Printf("\n#### At %.0f %% of the capacity, %.0f requests/s\n\n", 100*share, j.Rate)
	fmt.Println("| generator | achieved | p50 | p90 | p99 | p99.9 | p99.9, worst round | all four within 1 % or 0.2 ms |\n|---|---|---|---|---|---|---|---|")
	all, err := b.every(ctx, func(p peer) bool { return p.tells(http1) }, j, b.ask)
	for _, p := range b.peers {
		var reported, sent, joined []offBy
		for _, m := range all[p.name] {
			o := offBy{share: m.requests / (j.Rate * j.Seconds)}
			reported = append(reported, o.from(m.Q, m.truth.Q))
			if m.Sent != (quantiles{}) {
				sent = append(sent, o.from(m.Sent, m.truth.Q))
			}
			truth, err := join(m, j)
			if err != nil {
				b.miss(fmt.Errorf("%s by ID: %w", p.name, err))
			} else if truth != (quantiles{}) {
				joined = append(joined, o.from(m.Q, truth))
			}
		}
		row(p.name, reported)
		row(p.name+sentTime, sent)
		row(p.name+byID, joined)
	}
	return err
}

// join is the true latency of requests from the time that each was meant for until the server was done with it, by the IDs
// that both have; none where the generator's requests have none.
func join(m measured, j job) (quantiles, error) {
	if m.Start.IsZero() {
		return quantiles{}, nil
	}
	s, err := loadgen.NewSchedule(profile(j.Rate, j.Seconds), 0)
	if err != nil {
		return quantiles{}, err
	}
	if got := int64(len(m.truth.Ended)); got != s.Total() || m.truth.Twice > 0 {
		return quantiles{}, fmt.Errorf("the server saw %d of %d requests, and %d twice", got, s.Total(), m.truth.Twice)
	}
	var all []float64
	for n, ended := range m.truth.Ended {
		all = append(all, time.Unix(0, ended).Sub(m.Start.Add(s.At(n))).Seconds())
	}
	l, err := quantilesOf(all)
	return l.Q, err
}

// offBy is how far off a generator's figures were in one round.
type offBy struct {
	share float64 // achieved of the offered rate
	by    quantiles
	right bool // all of them are
}

// from compares figures with the truth.
func (o offBy) from(got, truth quantiles) offBy {
	o.right = true
	for k := range got {
		o.by[k] = got[k] - truth[k]
		if o.by[k].Abs() > max(toleranceTime, time.Duration(tolerance*float64(truth[k]))) {
			o.right = false
		}
	}
	return o
}

// row prints the medians of some rounds, by what they are off, whichever way.
func row(name string, rounds []offBy) {
	if len(rounds) == 0 {
		return
	}
	var shares []float64
	right := 0
	for _, o := range rounds {
		if shares = append(shares, o.share); o.right {
			right++
		}
	}
	slices.Sort(shares)
	fmt.Printf("| %s | %.1f %% |", name, 100*shares[len(shares)/2])
	for k := range ranks {
		fmt.Printf(" %s |", ms(sorted(rounds, k)[len(rounds)/2]))
	}
	worst := sorted(rounds, len(ranks)-1)
	fmt.Printf(" %s | %d of %d |\n", ms(worst[len(worst)-1]), right, len(rounds))
}

// sorted are the errors of a quantile by their size.
func sorted(rounds []offBy, k int) (all []time.Duration) {
	for _, o := range rounds {
		all = append(all, o.by[k])
	}
	slices.SortFunc(all, func(a, b time.Duration) int { return int(a.Abs() - b.Abs()) })
	return all
}

func ms(d time.Duration) string { return fmt.Sprintf("%+.2f ms", float64(d)/1e6) }

// rate is the highest rate that a generator keeps up within 1 % of what was offered.
func (b *bench) rate(ctx context.Context) error {
	fmt.Printf("\n### Highest rate sustained within 1 %% of what was offered: HTTP/1.1, %d connections, nginx\n\n", b.conns)
	fmt.Println("| generator | requests/s | requests per CPU second there |\n|---|---|---|")
	for _, p := range b.peers {
		if !p.paced || !slices.Contains(p.protos, http1) {
			continue
		}
		best, perCPU, err := b.highest(ctx, p)
		switch {
		case errors.Is(err, errBudget), ctx.Err() != nil:
			return err
		case err != nil:
			b.miss(err)
			continue
		case best == 0:
			fmt.Printf("| %s | less than %d | |\n", p.name, lowest)
			continue
		}
		fmt.Printf("| %s | %.0f | %.0f |\n", p.name, best, perCPU)
	}
	return nil
}

// lowest is the rate that the search begins with.
const lowest = 4000

// highest seeks the highest rate: in steps of a half until two in a row are missed, and then twice in the middle of what is
// left.
func (b *bench) highest(ctx context.Context, p peer) (best, perCPU float64, err error) {
	try := func(rate float64) (bool, error) {
		j := job{URL: b.nginx[http1], Proto: http1, Conns: b.conns, Seconds: b.each.Seconds(), Rate: float64(int(rate))}
		for range 2 { // a single miss may be somebody else's
			kept, cpu, err := b.sustained(ctx, p, j)
			if err != nil {
				return false, err
			}
			if kept >= 1-tolerance {
				best, perCPU = j.Rate, cpu
				return true, nil
			}
		}
		return false, nil
	}
	var low float64
	for rate, misses := float64(lowest), 0; misses < 2; rate *= 1.5 { // some miss a low rate by how they round it
		kept, err := try(rate)
		if err != nil {
			return best, perCPU, err
		}
		if misses++; kept {
			low, misses = rate, 0
		}
	}
	high := 1.5 * low
	for range 2 {
		if best == 0 {
			break
		}
		middle := (low + high) / 2
		kept, err := try(middle)
		if err != nil {
			return best, perCPU, err
		}
		if kept {
			low = middle
		} else {
			high = middle
		}
	}
	return best, perCPU, nil
}

// sustained is the share of an offered rate that nginx saw while the generator was at it: between a quarter and 85 % of its
// time, so that neither its start counts, nor what it sends afterwards to catch up.
func (b *bench) sustained(ctx context.Context, p peer, j job) (share, perCPU float64, err error) {
	type sample struct {
		at time.Time
		n  int64
	}
	var samples []sample
	watch, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for watch.Err() == nil {
			if n, err := b.total(watch); err == nil {
				samples = append(samples, sample{time.Now(), n})
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-watch.Done():
			}
		}
	}()
	m, err := b.one(ctx, p, j, b.count)
	stop()
	<-done
	if err != nil {
		return 0, 0, err
	}
	var began time.Time
	var first, last sample
	for _, s := range samples[min(1, len(samples)):] {
		if began.IsZero() && s.n > samples[0].n+int64(j.Rate/50) {
			began = s.at
		}
		if began.IsZero() {
			continue
		}
		switch into := s.at.Sub(began).Seconds() / j.Seconds; {
		case into >= 0.25 && first.at.IsZero():
			first = s
		case into <= 0.85:
			last = s
		}
	}
	if first.at.IsZero() || !last.at.After(first.at) {
		return 0, 0, nil // it was not at work for long enough
	}
	return float64(last.n-first.n) / last.at.Sub(first.at).Seconds() / j.Rate, m.requests / m.cpu, nil
}
