package loadgen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	// TickWidth is the width of an evidence.Tick, and how often progress is told.
	TickWidth = 250 * time.Millisecond
	// Grace is how long after a phase's end its requests may be sent and still count as achieved: the last ones are
	// meant for just before the end, and no scheduler wakes up to the nanosecond. What they lose by it counts in their
	// latency.
	Grace = 250 * time.Millisecond
	// Patience is the longest that a stopped load waits for answers to what is under way.
	Patience = 2 * time.Second
)

// Attack is one traffic of a scenario, aimed at an ingress, or from a pod at a service. As JSON it can be sent elsewhere,
// without what belongs to who sends it.
type Attack struct {
	Trial    evidence.Trial    `json:"trial"`
	Traffic  scenarios.Traffic `json:"traffic"`          // with its defaults filled in
	Base     string            `json:"base"`             // where to send: http://host:port, or https://host:port
	Host     string            `json:"host"`             // the service's DNS name, for the Host header
	Caller   string            `json:"caller,omitempty"` // who sends, "service@cluster"; empty where the ingress says so itself
	Seed     int64             `json:"seed"`             // draws the mix
	IDPrefix string            `json:"idPrefix"`         // request n has the ID <IDPrefix>-<traffic>-<n>
	// Start is the zero of the schedule. It may lie a little ahead. The zero time means now. One with a reading of the
	// monotonic clock is exact; one that came from elsewhere is wall time, and as exact as the two clocks agree: on one
	// host, they are the same.
	Start time.Time `json:"start,omitzero"`
	// Share is the part of the requests that is sent, where several workers send it together.
	Share Share `json:"share,omitzero"`
	// Workers is how many processes are to send it together, where it is sent elsewhere; 0 and 1: one. Run is one.
	Workers int `json:"workers,omitempty"`

	Protocol Protocol `json:"protocol,omitempty"` // none: HTTP1
	Engine   Engine   `json:"engine,omitempty"`   // none: the one that is made for the protocol

	// Header and Body are sent with every request, beside what is Meshproof's own.
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
	// Messages is how often a gRPC call sends its message, one after the other, before it ends its stream; 0 and 1: once.
	Messages int `json:"messages,omitempty"`

	// TLS is how https:// is spoken: roots, client certificate, ServerName (none: the host of Base). nil: as the system has it.
	TLS *tls.Config `json:"-"`
	// Tokens are those of users, one for each request, drawn by the seed, or one for each session. Without any, no request
	// carries one.
	Tokens []string `json:"-"`
	// Dial opens the connections; nil: by the host's own network.
	Dial func(ctx context.Context, address string) (net.Conn, error) `json:"-"`
}

// Progress is what a live view shows, over the time since the Progress before it.
type Progress struct {
	Traffic      string        `json:"traffic"`
	Phase        string        `json:"phase"`
	Elapsed      time.Duration `json:"elapsed"`      // ns after the start of the load
	OfferedRate  float64       `json:"offeredRate"`  // per second, as the schedule has it
	AchievedRate float64       `json:"achievedRate"` // per second, as sent
	P99          time.Duration `json:"p99"`          // ns, of what was completed, from the intended send time; 0 where nothing was
	ErrorRate    float64       `json:"errorRate"`    // share of what was completed, 0 to 1
	InFlight     int64         `json:"inFlight"`
}

// Run sends the load and puts a Tick for each slice of time and a Phase for each phase into sink. It returns when the
// schedule has ended and every request is answered or has failed. Memory does not grow with the number of requests.
//
// When ctx ends, sending stops at once; answers are awaited for at most Patience. Ticks and phases until then are still
// written: a request that was given up is missing from Done, one that was not sent from Sent and Achieved. The error is
// that of ctx. Progress may be nil; it is called from one goroutine.
func Run(ctx context.Context, a Attack, sink evidence.Sink, progress func(Progress)) error {
	return runBy(ctx, a, newAlarm, sink, progress)
}

// Check says why an attack cannot be sent, without sending it.
func (a Attack) Check() error {
	_, _, _, err := a.prepare(newAlarm)
	return err
}

// prepare lays out an attack.
func (a Attack) prepare(newAlarm func() alarm) (*Schedule, *mix, engine, error) {
	if err := a.check(); err != nil {
		return nil, nil, nil, err
	}
	s, err := NewSchedule(a.Traffic.Profile, a.seed())
	if err != nil {
		return nil, nil, nil, err
	}
	if err := errors.Join(checkLoop(a, s), checkSessions(a, s)); err != nil {
		return nil, nil, nil, err
	}
	m, err := newMix(a)
	if err != nil {
		return nil, nil, nil, err
	}
	send, err := engineFor(a, s, newAlarm)
	return s, m, send, err
}

// runBy is Run, paced by alarms of some kind.
func runBy(ctx context.Context, a Attack, newAlarm func() alarm, sink evidence.Sink, progress func(Progress)) error {
	s, m, send, err := a.prepare(newAlarm)
	if err != nil {
		return fmt.Errorf("load %q: %w", a.Traffic.Name, err)
	}
	now := time.Now()
	if a.Start.IsZero() {
		a.Start = now
	}
	if a.Start == a.Start.Round(0) { // without a reading of the monotonic clock
		a.Start = now.Add(a.Start.Sub(now))
	}
	if err := run(ctx, a, s, m, send, sink, progress); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return err
		}
		return fmt.Errorf("load %q: %w", a.Traffic.Name, err)
	}
	return nil
}

// seed is the seed of all that is drawn for this load.
func (a Attack) seed() uint64 { return scenarios.Seed(a.Seed, a.Traffic.Name) }

func (a Attack) check() error {
	switch {
	case a.Traffic.Timeout <= 0:
		return fmt.Errorf("timeout %s; want more than nothing", a.Traffic.Timeout)
	case a.Traffic.MaxInFlight < 1:
		return fmt.Errorf("maxInFlight %d; want 1 or more", a.Traffic.MaxInFlight)
	case a.Workers > 1:
		return fmt.Errorf("%d workers are to send it, and who is asked is one", a.Workers)
	case a.Messages < 0 || a.Messages > maxMessages || a.Messages > 1 && a.Protocol != GRPC:
		return fmt.Errorf("%d messages on each call; want 1 to %d, and more than one in %s alone", a.Messages, maxMessages, GRPC)
	case a.IDPrefix == "":
		return errors.New("the requests' IDs have no prefix")
	}
	return a.Share.check()
}

func run(ctx context.Context, a Attack, s *Schedule, m *mix, send engine, sink evidence.Sink, progress func(Progress)) error {
	// stop ends the sending, abort the waiting for answers.
	stop, stopSending := context.WithCancel(ctx)
	defer stopSending()
	abort, abortWaiting := context.WithCancel(context.WithoutCancel(ctx))
	defer abortWaiting()

	now := func() time.Duration { return time.Since(a.Start) }
	timeout := a.Traffic.Timeout.D()
	g := &gauge{grid: grid{s.End()}, now: now}
	users := newTurns(s, a.Share)
	c := newCollector(a, s, m.part, g, users, sink)
	ended := make(chan error, 1)
	go func() {
		ended <- send(job{attack: a, schedule: s, mix: m, gauge: g, turns: users, recorder: c, now: now, stop: stop, abort: abort})
	}()
	ticker := time.NewTicker(TickWidth)
	defer ticker.Stop()
	var failed error // of the sink
	var giveUp <-chan time.Time
	cut := time.Duration(-1) // when the load was stopped
	stopped := stop.Done()
	var broken error // of the engine
	for sending := true; sending; {
		select {
		case broken = <-ended:
			sending = false
		case <-ticker.C:
			if failed == nil && cut < 0 {
				if failed = c.emit(now()); failed != nil {
					stopSending()
				}
			}
			if progress != nil && now() >= 0 {
				progress(c.progress(now()))
			}
		case <-stopped:
			stopped, cut = nil, now()
			t := time.NewTimer(min(timeout, Patience))
			defer t.Stop()
			giveUp = t.C
		case <-giveUp:
			abortWaiting()
		}
	}
	// All is answered; the schedule may still end in silence.
	end := time.NewTimer(s.End() - now())
	defer end.Stop()
	for failed == nil && cut < 0 && now() < s.End() {
		select {
		case <-end.C:
		case <-ticker.C:
			if failed = c.emit(now()); failed == nil && progress != nil && now() >= 0 {
				progress(c.progress(now()))
			}
		case <-stopped:
			cut = now()
		}
	}
	if err := errors.Join(failed, broken); err != nil {
		return err
	}
	if cut < 0 && c.complete() {
		return c.emitRest(now())
	}
	if cut < 0 {
		cut = now() // the load was stopped, and its last result came in before the news of it
	}
	switch err := c.emitPartial(cut); {
	case err != nil:
		return errors.Join(ctx.Err(), err)
	case ctx.Err() == nil:
		return fmt.Errorf("the generator ended with %d of %d requests unanswered", c.total()-c.done(), c.total())
	}
	return ctx.Err()
}
