package loadgen

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// BenchmarkHTTP2 sends requests as fast as they go to a server that answers each in a frame, and reports the CPU time and
// the allocations of both for each request.
func BenchmarkHTTP2(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var servers sync.WaitGroup
	servers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			servers.Go(func() { script{}.play(conn, func() int { return 0 }) })
		}
	})
	const hits = 20_000
	cpu := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		a := attack("http://"+l.Addr().String(), constant(hits*1e6, time.Microsecond))
		a.Protocol, a.Traffic.MaxInFlight = HTTP2, 64
		began := cpuTime()
		if err := Run(context.Background(), a, &weigher{}, nil); err != nil {
			b.Fatal(err)
		}
		cpu += cpuTime() - began
	}
	_ = l.Close()
	servers.Wait()
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/hits, "cpu-ns/request")
}
