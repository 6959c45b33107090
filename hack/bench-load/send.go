package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/scenarios"
)

// What the IDs of requests begin with.
const (
	idPrefix    = "bench"
	trafficName = "load"
)

// profile is a constant rate (1/s) for some seconds.
func profile(rate, seconds float64) scenarios.Profile {
	return scenarios.Profile{Stages: []scenarios.Stage{{Rate: rate, For: scenarios.Duration(seconds * 1e9)}}}
}

// flatOut is the rate (per second) of a schedule that is never caught up with.
const flatOut = 1e6

// send is Meshproof's generator in a process of its own. It prints its latencies.
func send(ctx context.Context, j job, engine []string) error {
	u, err := url.Parse(j.URL)
	if err != nil {
		return err
	}
	rate := j.Rate
	if rate == 0 {
		rate = flatOut
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(j.Seconds*1e9))
		defer cancel()
	}
	a := loadgen.Attack{
		Base: u.Scheme + "://" + u.Host, Host: u.Host, Seed: 1, IDPrefix: idPrefix, Start: time.Now(),
		Traffic: scenarios.Traffic{
			Name: trafficName, Timeout: scenarios.Duration(20 * time.Second), MaxInFlight: j.Conns, Requests: []scenarios.RequestKind{{Path: u.Path}},
			Profile: profile(rate, j.Seconds),
		},
	}
	if len(engine) > 0 {
		a.Engine = loadgen.Engine(engine[0])
	}
	if j.Proto == http2 {
		a.Protocol = loadgen.HTTP2
	}
	if j.CA != "" {
		if a.TLS, err = clientTLS(j); err != nil {
			return err
		}
	}
	var r report
	r.Start = a.Start
	if err := loadgen.Run(ctx, a, &r, nil); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r.latencies)
}

func clientTLS(j job) (*tls.Config, error) {
	ca, err := os.ReadFile(j.CA)
	if err != nil {
		return nil, fmt.Errorf("reading the root: %w", err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	c.RootCAs.AppendCertsFromPEM(ca)
	if j.Proto == mtls {
		cert, err := tls.LoadX509KeyPair(j.Cert, j.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the client's certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// report keeps the latencies of a load's phase.
type report struct{ latencies }

// Append implements evidence.Sink.
func (r *report) Append(item evidence.Item) error {
	p, ok := item.(*evidence.Phase)
	if !ok {
		return nil
	}
	h, err := evidence.DecodeHistogram(p.Intended)
	if err != nil {
		return err
	}
	sent, err := evidence.DecodeHistogram(p.Service)
	if err != nil {
		return err
	}
	r.Q, r.Sent = quantilesIn(h), quantilesIn(sent)
	if p.Errors > 0 {
		fmt.Fprintf(os.Stderr, "%d of %d failed: %v\n", p.Errors, p.Done, p.Codes)
	}
	return nil
}
