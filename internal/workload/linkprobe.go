package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/meshproof/meshproof/clusters"
)

// Echo answers every byte with itself, until the connection ends. An outsider runs it: see LinkProbe.
func Echo(c net.Conn) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return
		}
		if _, err := c.Write(b[:]); err != nil {
			return
		}
	}
}

// LinkProbe measures a link from one end to an Echo at the other. It is not safe for concurrent use.
type LinkProbe struct {
	dial func(ctx context.Context) (net.Conn, error)
	kept net.Conn
	last byte // what was sent last on kept
}

var _ clusters.LinkProbe = (*LinkProbe)(nil)

// NewLinkProbe makes a probe whose connections dial opens, with its first one open.
func NewLinkProbe(ctx context.Context, dial func(ctx context.Context) (net.Conn, error)) (*LinkProbe, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	return &LinkProbe{dial: dial, kept: c}, nil
}

// Fresh implements clusters.LinkProbe. The time is that of the handshake, one round trip, and of the byte, another.
func (p *LinkProbe) Fresh(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	c, err := p.dial(ctx)
	if err != nil {
		return time.Since(began), err
	}
	defer c.Close()
	err = exchange(ctx, c, 1)
	return time.Since(began), err
}

// Established implements clusters.LinkProbe. The time is that of one round trip. Where the connection was broken, the
// next call opens another one before it begins to measure.
func (p *LinkProbe) Established(ctx context.Context) (time.Duration, error) {
	if p.kept == nil {
		c, err := p.dial(ctx)
		if err != nil {
			return 0, fmt.Errorf("opening the connection again: %w", err)
		}
		p.kept = c
	}
	began := time.Now()
	p.last++
	err := exchange(ctx, p.kept, p.last)
	took := time.Since(began)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		_ = p.kept.Close()
		p.kept = nil
	}
	return took, err
}

// Close implements clusters.LinkProbe.
func (p *LinkProbe) Close() error {
	if p.kept == nil {
		return nil
	}
	err := p.kept.Close()
	p.kept = nil
	return err
}

// exchange sends a byte and waits for it to come back. Other bytes are late answers to calls that were given up.
func exchange(ctx context.Context, c net.Conn, b byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.SetDeadline(time.Unix(1, 0))
		close(done)
	})
	defer func() {
		if !stop() {
			<-done // or it would set the deadline of the next call
		}
		_ = c.SetDeadline(time.Time{})
	}()
	failed := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	if _, err := c.Write([]byte{b}); err != nil {
		return failed(err)
	}
	var got [1]byte
	for {
		if _, err := io.ReadFull(c, got[:]); err != nil {
			return failed(err)
		}
		if got[0] == b {
			return nil
		}
	}
}
