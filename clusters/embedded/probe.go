package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/meshproof/meshproof/clusters"
)

// echo answers every byte with itself.
func echo(c *net.TCPConn) {
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

// probe measures a link, from the outsider of one cluster to the echo of the other's.
type probe struct {
	f        *fleet
	from, to *cluster
	kept     net.Conn
	last     byte // what was sent last on kept
}

// Probe implements clusters.Link.
func (l fleetLink) Probe(ctx context.Context) (clusters.LinkProbe, error) {
	p := &probe{f: l.f, from: l.a, to: l.b}
	c, err := p.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the probe of the link %s|%s: %w", l.a.name, l.b.name, err)
	}
	p.kept = c
	return p, nil
}

func (p *probe) dial(ctx context.Context) (net.Conn, error) {
	if p.from.outsider() == nil {
		return nil, fmt.Errorf("cluster %s has no outsider that is ready", p.from.name)
	}
	to := p.to.outsider()
	if to == nil {
		return nil, fmt.Errorf("cluster %s has no outsider that is ready", p.to.name)
	}
	return p.f.net.dial(ctx, p.from.name, p.to.name, to.echo.addr())
}

// Fresh implements clusters.LinkProbe. The time is that of the handshake, one round trip, and of the byte, another.
func (p *probe) Fresh(ctx context.Context) (time.Duration, error) {
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
func (p *probe) Established(ctx context.Context) (time.Duration, error) {
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
func (p *probe) Close() error {
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
