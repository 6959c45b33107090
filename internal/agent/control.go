package agent

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
)

const (
	// maxCommand bounds the body of a command, in bytes.
	maxCommand = 1 << 20
	// maxProbes bounds the probes of links that are open at once.
	maxProbes = 256
	// maxWait bounds a handshake or a measurement whose command does not.
	maxWait = time.Minute
)

// control serves the driver's commands.
type control struct {
	token   string
	uid     string
	client  *workload.Client
	records *recorder
	ready   atomic.Bool

	mu     sync.Mutex
	probes map[string]*linkProbe

	attacks attacks
	worker  func() *exec.Cmd // a process that calls Work with its standard input and output
}

// linkProbe is a probe that one command at a time may use.
type linkProbe struct {
	turn chan struct{} // holds one token while nobody uses the probe
	*workload.LinkProbe
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PathReady, func(w http.ResponseWriter, _ *http.Request) {
		if !c.ready.Load() {
			http.Error(w, "starting", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST "+PathSend, command(c, c.send))
	mux.HandleFunc("POST "+PathHandshake, command(c, handshake))
	mux.HandleFunc("POST "+PathProbe, command(c, c.probe))
	mux.HandleFunc("POST "+PathSelf, command(c, self))
	mux.HandleFunc("POST "+PathAttack, c.attack)
	mux.HandleFunc("POST "+PathStop, command(c, func(_ context.Context, cmd StopCommand) Stopped { return Stopped{c.attacks.stop(cmd.Traffic)} }))
	mux.HandleFunc("POST "+PathLast, command(c, func(context.Context, struct{}) Last { return c.records.last() }))
	return mux
}

// command makes a handler of a function.
func command[A, R any](c *control, do func(context.Context, A) R) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		arg, ok := argument[A](c, w, r)
		if !ok {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(do(r.Context(), arg)) // a driver that is gone needs no answer
	}
}

// argument reads the argument of a command of the run's own driver; of others it says what is wrong.
func argument[A any](c *control, w http.ResponseWriter, r *http.Request) (arg A, ok bool) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get(HeaderToken)), []byte(c.token)) != 1 {
		http.Error(w, "this port is for the run's own driver", http.StatusForbidden)
		return arg, false
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCommand)).Decode(&arg); err != nil {
		http.Error(w, "the command cannot be read: "+err.Error(), http.StatusBadRequest)
		return arg, false
	}
	return arg, true
}

func (c *control) send(ctx context.Context, cmd SendCommand) SendResult {
	if err := c.meant(cmd.UID); err != nil {
		return SendResult{Refusal: err.Error()}
	}
	return SendResult{Response: c.client.Send(ctx, cmd.Request)}
}

// meant refuses a command for another pod, which had this one's name before or has it now.
func (c *control) meant(uid string) error {
	if uid != c.uid {
		return fmt.Errorf("this is the pod with UID %s, not %s", c.uid, uid)
	}
	return nil
}

func handshake(ctx context.Context, cmd HandshakeCommand) clusters.HandshakeResult {
	ctx, cancel := bounded(ctx, cmd.Timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", cmd.Address)
	if err != nil {
		return clusters.HandshakeResult{Error: workload.ErrorClass(err)}
	}
	defer func() { _ = conn.Close() }()
	return workload.Handshake(ctx, conn, cmd.ServerName)
}

func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 || d > maxWait {
		d = maxWait
	}
	return context.WithTimeout(ctx, d)
}

func (c *control) probe(ctx context.Context, cmd ProbeCommand) ProbeResult {
	ctx, cancel := bounded(ctx, cmd.Timeout)
	defer cancel()
	took, err := c.measure(ctx, cmd)
	res := ProbeResult{Took: took}
	if err != nil {
		res.Error = workload.ErrorClass(err)
	}
	return res
}

func (c *control) measure(ctx context.Context, cmd ProbeCommand) (time.Duration, error) {
	if cmd.Connection == "open" {
		return 0, c.open(ctx, cmd)
	}
	c.mu.Lock()
	p := c.probes[cmd.ID]
	if cmd.Connection == "close" {
		delete(c.probes, cmd.ID)
	}
	c.mu.Unlock()
	if p == nil {
		return 0, fmt.Errorf("no probe %q is open: the pod may have been replaced", cmd.ID)
	}
	// A command that its driver gave up may still be under way.
	select {
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	switch cmd.Connection {
	case "fresh":
		return p.Fresh(ctx)
	case "established":
		return p.Established(ctx)
	case "close":
		return 0, p.Close()
	}
	return 0, fmt.Errorf("a probe has no command %q", cmd.Connection)
}

func (c *control) open(ctx context.Context, cmd ProbeCommand) error {
	p, err := workload.NewLinkProbe(ctx, func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", cmd.Address)
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.probes[cmd.ID] != nil:
		err = fmt.Errorf("probe %q is open already", cmd.ID)
	case len(c.probes) >= maxProbes:
		err = fmt.Errorf("%d probes are open already", maxProbes)
	}
	if err != nil {
		_ = p.Close()
		return err
	}
	lp := &linkProbe{turn: make(chan struct{}, 1), LinkProbe: p}
	lp.turn <- struct{}{}
	c.probes[cmd.ID] = lp
	return nil
}

// close ends the attacks and the probes that the driver left open.
func (c *control) close() {
	c.attacks.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, p := range c.probes {
		select {
		case <-p.turn:
			_ = p.Close()
		default: // in use by a command, which ends with its connection
		}
		delete(c.probes, id)
	}
}
