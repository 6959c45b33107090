package loadgen

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAnAttackIsTheSameWhereItIsSent(t *testing.T) {
	a := attack("http://cart.app.svc.cluster.local:80", constant(100, 200*time.Millisecond))
	a.Host, a.Caller, a.Start, a.Tokens = "cart.app.svc.cluster.local", "shop@east", time.Now().Add(300*time.Millisecond), []string{"secret-token"}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret-token") {
		t.Errorf("a token is written down: %s", text)
	}
	var there Attack
	if err := json.Unmarshal(text, &there); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, there, cmpopts.IgnoreFields(Attack{}, "Dial", "Tokens")); d != "" {
		t.Errorf("(-sent +arrived):\n%s", d)
	}

	s := serve(t, ok)
	var mu sync.Mutex
	var asked []string
	there.Traffic.MaxInFlight = 1
	there.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		mu.Lock()
		asked = append(asked, address)
		mu.Unlock()
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
	out := &memory{}
	if err := Run(context.Background(), there, out, nil); err != nil {
		t.Fatal(err)
	}
	if len(asked) == 0 || asked[0] != "cart.app.svc.cluster.local:80" {
		t.Errorf("connections were opened to %q", asked)
	}
	if len(s.requests()) != 20 {
		t.Errorf("%d requests arrived, want 20", len(s.requests()))
	}
	for id, rs := range s.requests() {
		if rs[0].caller != "shop@east" || rs[0].host != a.Host || rs[0].window != WindowLoad {
			t.Errorf("request %s arrived as %+v", id, rs[0])
		}
	}
	// The zero is that of the sender's clock to the nanosecond, though it came as wall time.
	if got := out.ticks[0].Start; got.Sub(a.Start.Round(0)).Abs() > time.Millisecond {
		t.Errorf("the first slice starts at %s, want %s", got, a.Start)
	}
	if p := out.phases[0]; p.Done != 20 || p.Errors != 0 {
		t.Errorf("%+v", p)
	}
}
