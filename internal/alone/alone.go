// Package alone sends a load by itself, to any URL: what "meshproof load" does.
// It records what a run records of its traffic, and has it judged by the same
// rules.
package alone

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workers"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/reports"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// Traffic is the name of the load in its record.
const Traffic = "load"

// ErrUsage is what errors about what was asked for are: nothing was sent.
var ErrUsage = errors.New("not possible")

type usageError struct{ error }

func (usageError) Is(target error) bool { return target == ErrUsage }

// Options are what to send, and what is expected of it.
type Options struct {
	URL         string
	Method      string // none: GET
	Header      http.Header
	Body        []byte
	Messages    int    // of a gRPC call: how often it sends the body; 0 and 1: once
	Host        string // of the Host header; none: that of the URL
	Profile     scenarios.Profile
	MaxRate     float64          // requests per second that the profile may ask for at most
	Timeout     time.Duration    // of a request
	Connections int              // requests under way at most
	Protocol    loadgen.Protocol // none: HTTP/1.1, or what the URL says
	TLS         workers.TLS
	Sessions    int // see scenarios.Traffic; 0: none
	Seed        int64
	Expect      []verify.Budget
	Version     string
	Workers     int              // processes that send it together; 0 and 1: this one
	Worker      func() *exec.Cmd // a process that calls workers.Work with its standard input and output
	// Taps see what is recorded, as it is.
	Taps []evidence.Sink
}

// lead is how long after it was ordered a load begins: by then its connections' goroutines stand ready.
const lead = 100 * time.Millisecond

// Run sends the load and has it judged. When ctx ends the load is stopped, and the report is of what was sent until then.
// Progress may be nil. An error is ErrUsage where nothing was sent for what was asked.
func Run(ctx context.Context, o Options, progress func(loadgen.Progress)) (*reports.Load, error) {
	a, err := o.attack()
	if err != nil {
		return nil, usageError{err}
	}
	if err := a.Check(); err != nil {
		return nil, usageError{err}
	}
	rec := &record{taps: o.Taps, workers: o.Workers}
	if o.Workers > 1 {
		a.Start, err = o.share(ctx, a, rec, progress)
	} else {
		a.Start = time.Now().Add(lead)
		err = loadgen.Run(ctx, a, rec, progress)
	}
	interrupted := err != nil && ctx.Err() != nil
	if err != nil && !interrupted {
		return nil, err
	}
	return o.report(a, rec, interrupted), nil
}

// share sends a load by several processes, and says when it began.
func (o Options) share(ctx context.Context, a loadgen.Attack, rec *record, progress func(loadgen.Progress)) (time.Time, error) {
	team, err := workers.Ready(ctx, o.Workers, o.Worker, a, o.TLS)
	if err != nil {
		return time.Time{}, err
	}
	defer team.Close()
	start := time.Now().Add(workers.Lead)
	loss, err := team.Send(ctx, start, rec, progress)
	if loss != nil {
		for _, why := range loss.Why {
			rec.lost = append(rec.lost, verify.Loss{Why: why, Whole: loss.Whole})
		}
	}
	return start, err
}

// report judges what was recorded.
func (o Options) report(a loadgen.Attack, rec *record, interrupted bool) *reports.Load {
	var lost []verify.Loss
	if interrupted {
		lost = append(lost, verify.Loss{Why: "the load was stopped before it was over"})
	}
	alone := verify.JudgeAlone(&a.Traffic, o.Seed, rec.ticks, rec.phases, append(lost, rec.lost...), o.Expect)
	return reports.BuildLoad(reports.LoadRun{
		Version: o.Version, URL: o.shown(), Method: verb(a), Started: a.Start, Seed: o.Seed, Workers: max(rec.workers, 1),
		Interrupted: interrupted, Profile: a.Traffic.Profile, Ticks: rec.ticks,
	}, alone)
}

// verb says what is done to the URL.
func verb(a loadgen.Attack) string {
	if a.Protocol == loadgen.TCP {
		return "lines"
	}
	return a.Traffic.Requests[0].Method
}

// shown is the URL without what a report should not have: who asks, and how.
func (o Options) shown() string {
	u, err := url.Parse(o.URL)
	if err != nil {
		return o.URL
	}
	return u.Redacted()
}

// attack makes what is asked for ready to be sent.
func (o Options) attack() (loadgen.Attack, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return loadgen.Attack{}, fmt.Errorf("the URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "tcp" || u.Host == "" {
		return loadgen.Attack{}, fmt.Errorf("%q is not of the form http://host:port/path, https://host:port/path or tcp://host:port", o.URL)
	}
	if u.User != nil {
		return loadgen.Attack{}, errors.New(`the URL has a user in it: use --header "Authorization: Basic …"`)
	}
	if peak := highest(o.Profile); peak > o.MaxRate {
		return loadgen.Attack{}, fmt.Errorf("the profile asks for up to %.0f requests a second, and at most %.0f are sent unless you say so: use --max-rate %.0f where the service at %s is yours to load", peak, o.MaxRate, peak, u.Host)
	}
	if o.Profile.Closed() && slices.ContainsFunc(o.Expect, func(b verify.Budget) bool { return b.Figure != "errors" }) {
		return loadgen.Attack{}, errors.New("a closed loop hides how long others would have waited, so its latency proves no budget: take a profile with a rate, or expect errors alone")
	}
	conf, err := o.TLS.Config()
	if err != nil {
		return loadgen.Attack{}, err
	}
	a := loadgen.Attack{
		Trial: evidence.Trial{Block: 1, Mesh: "none"}, Base: u.Scheme + "://" + u.Host, Host: o.Host, Seed: o.Seed,
		Header: o.Header, Body: o.Body, Messages: o.Messages, TLS: conf,
		Traffic: scenarios.Traffic{
			Name: Traffic, Profile: o.Profile, Timeout: scenarios.Duration(o.Timeout), MaxInFlight: o.Connections, Sessions: o.Sessions,
			Requests: []scenarios.RequestKind{{Method: o.Method, Path: u.RequestURI()}},
		},
	}
	if a.Protocol = o.Protocol; u.Scheme == "tcp" && a.Protocol == "" {
		a.Protocol = loadgen.TCP
	}
	a.Traffic.Protocol = scenarios.Protocol(a.Protocol)
	r := &a.Traffic.Requests[0]
	switch {
	case a.Protocol == loadgen.TCP && u.Path == "" && u.RawQuery == "":
		r.Path = "" // which RequestURI makes a slash of
	case a.Protocol == loadgen.GRPC && r.Method == "":
		r.Method = http.MethodPost
	case a.Protocol == loadgen.GRPC && r.Method != http.MethodPost:
		return loadgen.Attack{}, fmt.Errorf("method %s: a gRPC call is a POST; leave --method out", r.Method)
	case a.Protocol != loadgen.TCP && r.Method == "":
		r.Method = http.MethodGet
	}
	if a.Host == "" {
		a.Host = u.Host
	}
	if a.IDPrefix, err = prefix(); err != nil {
		return loadgen.Attack{}, err
	}
	if o.Workers != 0 {
		err = workers.Check(o.Workers, a)
	}
	return a, err
}

// highest is the highest rate of a profile, per second.
func highest(p scenarios.Profile) float64 {
	out := 0.0
	for i := range p.Stages {
		_, high := p.Stages[i].Range()
		out = max(out, high)
	}
	return out
}

// prefix is what the IDs of a load's requests begin with: another one each time, so that who receives several can tell
// them apart.
func prefix() (string, error) {
	b := make([]byte, 4)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("drawing the prefix of requests' IDs: %w", err)
	}
	return "load-" + hex.EncodeToString(b), nil
}

// record keeps what is recorded, and shows it to others.
type record struct {
	taps    []evidence.Sink
	workers int

	mu     sync.Mutex
	ticks  []*evidence.Tick
	phases []*evidence.Phase
	lost   []verify.Loss
}

// Append implements evidence.Sink.
func (r *record) Append(item evidence.Item) error {
	r.mu.Lock()
	switch v := item.(type) {
	case *evidence.Tick:
		r.ticks = append(r.ticks, v)
	case *evidence.Phase:
		r.phases = append(r.phases, v)
	}
	r.mu.Unlock()
	for _, t := range r.taps {
		if err := t.Append(item); err != nil {
			return err
		}
	}
	return nil
}
