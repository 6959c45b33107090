package workers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

// Dial opens a connection to host:port.
type Dial = func(ctx context.Context, address string) (net.Conn, error)

// Work is a worker: it sends the part of a load that it is told to by in, and says by out what became of it. It stops when
// in or ctx ends. Connections are opened by dial; nil: by the host's own network. The error is about what it was told and
// whom it told; that of the load itself is said.
func Work(ctx context.Context, in io.Reader, out io.Writer, dial Dial) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dec := json.NewDecoder(bufio.NewReader(in))
	say := &says{enc: json.NewEncoder(out), stopped: ctx.Err}
	var o order
	if err := dec.Decode(&o); err != nil {
		return fmt.Errorf("reading what to send: %w", err)
	}
	err := o.ready()
	if err != nil {
		return say.write(line{End: &end{Error: err.Error()}})
	}
	if err := say.write(line{Ready: true}); err != nil {
		return err
	}
	var b begin
	if err := dec.Decode(&b); errors.Is(err, io.EOF) {
		return nil // the load was given up before it began
	} else if err != nil {
		return fmt.Errorf("reading when to begin: %w", err)
	}
	o.Attack.Start, o.Attack.Dial = b.Start, dial
	go func() { // ends with in, at the latest with the process: a read cannot be given up
		var nothing json.RawMessage
		_ = dec.Decode(&nothing)
		cancel()
	}()
	err = loadgen.Run(ctx, o.Attack, say, func(p loadgen.Progress) { _ = say.write(line{Progress: &p}) }) // Append says so
	last := &end{Records: say.records, Stopped: ctx.Err() != nil}
	if err != nil {
		last.Error = err.Error()
	}
	return say.write(line{End: last})
}

// ready makes an order ready to be sent.
func (o *order) ready() error {
	if o.Version != protocolVersion {
		return fmt.Errorf("the order has version %d of the workers' protocol, and this worker speaks %d: use the same build of meshproof for all", o.Version, protocolVersion)
	}
	conf, err := o.TLS.Config()
	if err != nil {
		return err
	}
	o.Attack.TLS, o.Attack.Tokens = conf, o.Tokens
	return o.Attack.Check()
}

// says writes lines. The load's own goroutine does.
type says struct {
	enc     *json.Encoder
	stopped func() error // not nil: the load was
	records int
	err     error
}

// Append implements evidence.Sink.
func (s *says) Append(item evidence.Item) error {
	l := line{Cut: s.stopped() != nil}
	switch v := item.(type) {
	case *evidence.Tick:
		l.Tick = v
	case *evidence.Phase:
		l.Phase = v
	default:
		return fmt.Errorf("a load has no records of stream %s", item.StreamName())
	}
	s.records++
	return s.write(l)
}

// write writes a line. After one that failed nothing can follow: it may have been written in part.
func (s *says) write(l line) error {
	if s.err == nil {
		s.err = s.enc.Encode(l)
	}
	return s.err
}
