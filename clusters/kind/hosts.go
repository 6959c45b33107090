package kind

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// relayHosts makes the names outside of the clusters reachable for pods: at the gateway of the nodes' network, which is
// an address of this host, each has a port that leads to where this process reaches it.
func (f *fleet) relayHosts(ctx context.Context, gateway netip.Addr) error {
	for name, target := range f.spec.Hosts {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(gateway.String(), "0"))
		if err != nil {
			return fmt.Errorf("making %s reachable from pods: %w: Docker must run on this machine itself", name, err)
		}
		f.hosts[name] = ln.Addr().String()
		f.run(func(ctx context.Context) { relay(ctx, ln, target) })
	}
	return nil
}

// relay forwards connections until ctx ends.
func relay(ctx context.Context, ln net.Listener, target string) {
	var running sync.WaitGroup
	defer running.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		in, err := ln.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer func() { _ = in.Close() }()
			d := net.Dialer{Timeout: 5 * time.Second}
			out, err := d.DialContext(ctx, "tcp", target)
			if err != nil {
				return
			}
			defer func() { _ = out.Close() }()
			stop := context.AfterFunc(ctx, func() { _, _ = in.Close(), out.Close() })
			defer stop()
			var back sync.WaitGroup
			back.Go(func() {
				_, _ = io.Copy(in, out)
				_ = in.(*net.TCPConn).CloseWrite()
			})
			_, _ = io.Copy(out, in)
			_ = out.(*net.TCPConn).CloseWrite()
			back.Wait()
		})
	}
}
