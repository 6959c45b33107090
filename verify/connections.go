package verify

import (
	"fmt"
	"slices"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// connectionsClaimed holds the handshakes that the callee's proxies made in a round against the kind of connection that
// the round is about.
func (x *trial) connectionsClaimed(t *tally, r *round, to scenarios.Workload) {
	p := x.pool(r, to)
	t.add(&p.tally)
	scrapes := refs(p.tally.used)
	asked := int64(0)
	for _, a := range x.asked[r.Name] {
		if from, _ := x.s.Workload(a.From.Service); a.To == to.Name && from.Meshed {
			asked++
		}
	}
	switch {
	case !p.handshook:
		t.invalid("NoMetrics", scrapes, "the proxies of %s do not export how many TLS handshakes they made, so fresh and established connections cannot be told apart", to.Name)
	case r.connection == connFresh && p.handshakes < asked:
		t.invalid("NotFresh", scrapes, "%d requests on fresh connections to %s made %d handshakes in proof window %s", asked, to.Name, p.handshakes, r.Name)
	case r.connection == connEstablished && p.handshakes != 0:
		t.invalid("NotEstablished", scrapes, "%d handshakes were made with %s in proof window %s: not all its requests were on established connections", p.handshakes, to.Name, r.Name)
	}
}

// connectionsKept holds the connections that clients opened to the callee's proxies against the kinds of connection that
// the rounds are about, where the mesh keeps one connection between two proxies (HTTP/2 between Linkerd's) for whatever
// their workloads ask. Then
//
//   - an established round proves itself by no new connection from any workload of the mesh;
//   - a fresh request of the outsider, which has no proxy, must have opened one of its own;
//   - a fresh request of a workload of the mesh is fresh up to its own proxy. Whether the proxies opened a connection for
//     it is nothing that it can ask for: claim says how many they opened at all, and nothing fails by that.
//
// A client that asked, or that a pod served, and has no series of connections proves nothing. Linkerd drops this family's series when they are
// idle, and not while a connection is open: those of an established round were in use by its warm-up.
func (x *trial) connectionsKept(t *tally, to scenarios.Workload) (claim string) {
	asked, opened := int64(0), int64(0) // by workloads of the mesh in fresh rounds
	for _, r := range x.rounds {
		p := x.pool(r, to)
		t.add(&p.tally)
		scrapes := refs(p.tally.used)
		by := map[string]client{}
		asks := map[client][]evidence.Ref{}
		for _, a := range x.asked[r.Name] {
			if c := x.clientOf(a); a.To == to.Name {
				by[c.String()] = c
				asks[c] = append(asks[c], a.Ref())
			}
		}
		for _, rec := range x.received[edgeWindow{window: r.Name, service: to.Name}] {
			w, _ := x.s.Workload(rec.caller)
			c, i := client{x.d.identity(w), true}, slices.IndexFunc(p.pods, func(c podCounts) bool { return c.UID == rec.At.UID })
			if i < 0 || !w.Meshed {
				continue // other witnesses say so
			}
			if _, ok := p.pods[i].opened[c]; !ok {
				t.invalid("NoMetrics", append(refs(scrapes), rec.Ref()), "pod %s served %s in proof window %s, and its proxy does not count connections of it", podName(rec.At), c, r.Name)
			}
		}
		for _, name := range sortedKeys(by) {
			c := by[name]
			used := append(refs(scrapes), asks[c]...)
			t.use(asks[c]...)
			n, ok := p.opened[c]
			want := int64(len(asks[c]))
			switch {
			case !ok:
				t.invalid("NoMetrics", used, "the proxies of %s do not say how many connections %s opened in proof window %s, so fresh and established ones cannot be told apart", to.Name, c, r.Name)
			case r.connection == connEstablished && c.secured && n != 0:
				t.invalid("NotEstablished", used, "%s opened %d connections to %s in proof window %s: not all its requests were on established ones", c, n, to.Name, r.Name)
			case r.connection == connFresh && !c.secured && n < want:
				t.invalid("NotFresh", used, "%d requests in plaintext on fresh connections to %s opened %d in proof window %s", want, to.Name, n, r.Name)
			case r.connection == connFresh && c.secured:
				asked += want
				opened += n
			}
		}
	}
	fresh := "nothing is claimed about fresh connections between them"
	if opened > 0 {
		fresh = fmt.Sprintf("fresh connections between them are claimed for at most %d of %d requests", min(opened, asked), asked)
	}
	return "established requests opened no connection, and the outsider's one each; proxies of this mesh keep a connection between two of them, which no request can ask to be a new one, so " + fresh
}
