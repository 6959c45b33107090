package embedded

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
)

func TestAProxyThatDialsAClusterIPReachesADrawnReadyEndpoint(t *testing.T) {
	const host = "cart.app.svc.cluster.local"
	run := func(seed int64) (order []int) {
		spec := testSpec("none", &memory{})
		spec.Seed = seed
		f := create(t, New(nil), spec)
		for name, replicas := range map[string]int{"east": 2, "west": 1} {
			apply(t, f.Cluster(name), objects(t, name, replicas)...)
			waitReady(t, f.Cluster(name))
		}
		var addrs []string
		for _, ep := range f.cluster("east").snapshot.Load().Services[host].Endpoints {
			addrs = append(addrs, ep.Addr)
		}
		for range 60 {
			c, err := f.Dial(t.Context(), "east", "east", host+":80")
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, slices.Index(addrs, c.RemoteAddr().String()))
			_ = c.Close()
		}
		for i, addr := range addrs {
			if n := len(order) - len(slices.DeleteFunc(slices.Clone(order), func(j int) bool { return j == i })); n < 8 {
				t.Errorf("endpoint %d got %d of %d connections", i, n, len(order))
			}
			c, err := f.Dial(t.Context(), "east", []string{"east", "east", "west"}[i], addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		}
		return order
	}
	first, again, other := run(1), run(1), run(2)
	if !slices.Equal(first, again) || slices.Equal(first, other) {
		t.Errorf("seeds 1, 1, 2 gave\n%v\n%v\n%v", first, again, other)
	}
	if slices.Contains(first, -1) {
		t.Errorf("a connection went elsewhere: %v", first)
	}
}

func TestAClusterIPThatDoesNotAnswerSaysWhy(t *testing.T) {
	f := create(t, New(nil), testSpec("none", &memory{}))
	apply(t, f.Cluster("east"), objects(t, "east", 1)...)
	waitReady(t, f.Cluster("east"))
	isDNS := func(err error) bool {
		var dns *net.DNSError
		return errors.As(err, &dns) && dns.IsNotFound
	}
	isRefused := func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
	isSome := func(err error) bool { return err != nil }
	try := func(to, addr string, is func(error) bool) {
		t.Helper()
		c, err := f.Dial(t.Context(), "east", to, addr)
		if c != nil {
			_ = c.Close()
		}
		if !is(err) {
			t.Error(fmt.Errorf("dialling %s in %s: %w", addr, to, err))
		}
	}
	const host = "cart.app.svc.cluster.local"
	try("east", "nobody.app.svc.cluster.local:80", isDNS)
	try("west", host+":80", isDNS) // it was applied to east alone
	try("east", host+":81", isRefused)
	try("nowhere", host+":80", isSome)
	try("east", host, isSome)
	apply(t, f.Cluster("east"), objects(t, "east", 0)...)
	try("east", host+":80", isRefused)
}
