package probe

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

// aside is a balancer that sends nothing to the second pod of cart until more than busy requests are under way.
func aside(busy int) (Env, *cluster, *sink) {
	env, c, k := setUp()
	env.Trial.Mesh = "linkerd"
	c.pods = append(c.pods, clusters.Pod{PodRef: evidence.PodRef{Cluster: "east", Service: "cart", Pod: "cart-1", UID: "uid-cart-1"}, Containers: []string{"workload", "linkerd-proxy"}})
	refused := map[string]*atomic.Int64{"uid-cart-0": new(atomic.Int64), "uid-cart-1": new(atomic.Int64)}
	c.onSend = func(_ clusters.Pod, r clusters.Request) {
		if r.Method != "POST" {
			return // a twin
		}
		c.mu.Lock()
		n := 0
		for _, u := range c.underWay {
			n += u
		}
		c.mu.Unlock()
		if n > busy {
			refused["uid-cart-1"].Add(1)
		} else {
			refused["uid-cart-0"].Add(1)
		}
	}
	var scraped atomic.Int64
	c.body = func(p clusters.Pod) string {
		n := int64(0)
		if r := refused[p.UID]; r != nil {
			n = r.Load()
		}
		// What plaintext was refused says nothing about workloads of the mesh.
		return fmt.Sprintf("# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1\n# TYPE inbound_http_authz_deny_total counter\n"+
			"inbound_http_authz_deny_total{srv_port=\"8080\",tls=\"true\",client_id=\"a\"} %d\ninbound_http_authz_deny_total{srv_port=\"8080\",tls=\"no_identity\"} %d\n", n, scraped.Add(1))
	}
	return env, c, k
}

func covered(t *testing.T, env Env, k *sink, cover bool) (asks int) {
	t.Helper()
	if err := Run(t.Context(), env, verify.Plan{Rounds: []verify.Round{{Name: "before/fresh", Asks: []verify.Ask{ask("fresh", 5)}, Cover: cover}}}); err != nil {
		t.Fatal(err)
	}
	ids, twins := map[string]bool{}, 0
	for _, p := range of[*evidence.Probe](k) {
		if ids[p.ID] {
			t.Errorf("request %s is there twice", p.ID)
		}
		ids[p.ID] = true
		if p.Role == "ask" {
			asks++
		} else {
			twins++
		}
		if p.Window != "before/fresh" {
			t.Errorf("request %s is of window %s", p.ID, p.Window)
		}
	}
	for _, s := range of[*evidence.Scrape](k) {
		if s.Window != "before/fresh" { // without a window it would be taken for one of the load's
			t.Errorf("a page has the window %q and the edge %q", s.Window, s.Edge)
		}
	}
	if asks != twins {
		t.Errorf("%d asks and %d twins", asks, twins)
	}
	return asks
}

func TestForbiddenAsksAreRepeatedManyAtOnceUntilEachPodMetOne(t *testing.T) {
	env, _, k := aside(20)
	if n := covered(t, env, k, true); n != 5+16 && n != 5+16+32 {
		t.Errorf("%d asks, want 5 and bursts until a pod was met that is left aside up to 20 at once", n)
	}
	events := of[*evidence.Event](k)
	last := slices.IndexFunc(k.items, func(i evidence.Item) bool { return i == evidence.Item(events[len(events)-1]) })
	for i, item := range k.items {
		if _, ok := item.(*evidence.Probe); ok && i > last {
			t.Error("a request was made after the window")
		}
	}
}

func TestAPodThatIsNeverMetBoundsTheAsking(t *testing.T) {
	env, _, k := aside(1 << 20)
	if n, want := covered(t, env, k, true), 5+16+32+64+128; n != want {
		t.Errorf("%d asks, want %d", n, want)
	}
}

func TestNothingIsRepeatedWhereEachPodWasMetOrTheRoundDoesNotCover(t *testing.T) {
	env, c, k := aside(1 << 20)
	c.pods = c.pods[:len(c.pods)-1] // the one that is left aside
	if n := covered(t, env, k, true); n != 5 {
		t.Errorf("%d asks, want 5: each pod was met", n)
	}
	env, _, k = aside(1 << 20)
	if n := covered(t, env, k, false); n != 5 {
		t.Errorf("%d asks, want 5: the round does not cover", n)
	}
}
