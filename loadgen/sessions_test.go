package loadgen

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

// visitors is what a server knows of who asks it.
type visitors struct {
	mu      sync.Mutex
	tokens  map[int]map[string]bool    // by session of the request's number
	conns   map[string]map[string]bool // tokens, by connection
	asked   map[int]int                // by session
	without map[int]int                // requests without the session's cookie, but for those that could not have it yet
	first   map[int]time.Time          // when the first answer went out, by session
}

func newVisitors() *visitors {
	return &visitors{tokens: map[int]map[string]bool{}, conns: map[string]map[string]bool{}, asked: map[int]int{}, without: map[int]int{}, first: map[int]time.Time{}}
}

// answer notes who asks, and gives each session a cookie once.
func (v *visitors) answer(deal scenarios.Deal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(scenarios.HeaderID)
		n, _ := strconv.ParseInt(id[strings.LastIndex(id, "-")+1:], 10, 64)
		s := deal.Of(n)
		cookie, err := r.Cookie("session")
		v.mu.Lock()
		defer v.mu.Unlock()
		note := func(m map[string]bool, k string) map[string]bool {
			if m == nil {
				m = map[string]bool{}
			}
			m[k] = true
			return m
		}
		token := r.Header.Get("Authorization")
		v.tokens[s] = note(v.tokens[s], token)
		v.conns[r.RemoteAddr] = note(v.conns[r.RemoteAddr], token)
		v.asked[s]++
		switch {
		case err == nil && cookie.Value != strconv.Itoa(s):
			v.without[s] += 1000 // somebody else's
		case v.first[s].IsZero():
			v.first[s] = time.Now()
			http.SetCookie(w, &http.Cookie{Name: "session", Value: strconv.Itoa(s), Path: "/"})
		case err != nil && time.Since(v.first[s]) > time.Second:
			v.without[s]++
		}
	}
}

// inSessions is an attack of so many sessions, with a token for each.
func inSessions(base string, sessions int, stages ...scenarios.Stage) Attack {
	a := attack(base, stages...)
	a.Traffic.Sessions = sessions
	for i := range sessions {
		a.Tokens = append(a.Tokens, fmt.Sprintf("user-%d", i))
	}
	return a
}

func TestASessionHasAUserConnectionsAndCookiesOfItsOwn(t *testing.T) {
	const sessions, total = 7, 210
	v := newVisitors()
	a := inSessions("", sessions, constant(60, 3*time.Second), constant(60, 500*time.Millisecond))
	deal := *dealOf(a)
	s := serve(t, v.answer(deal))
	a.Base = s.URL
	out := &memory{}
	if err := Run(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	for s, n := range deal.Shares(0, total) {
		if v.asked[s] != int(n) || len(v.tokens[s]) != 1 || !v.tokens[s][fmt.Sprintf("Bearer user-%d", s)] {
			t.Errorf("session %d asked %d times (want %d) with tokens %v", s, v.asked[s], n, v.tokens[s])
		}
		if v.without[s] > 0 {
			t.Errorf("session %d asked %d times without its cookie", s, v.without[s])
		}
	}
	for c, tokens := range v.conns {
		if len(tokens) != 1 {
			t.Errorf("connection %s is shared by %v", c, tokens)
		}
	}
	if n := len(v.conns); n < sessions || n > total/2 {
		t.Errorf("%d connections of %d sessions", n, sessions)
	}
	if d := cmp.Diff([][]int64{deal.Shares(0, 180), deal.Shares(180, 210)}, [][]int64{out.phases[0].Sessions, out.phases[1].Sessions}); d != "" {
		t.Errorf("recorded (-want +got):\n%s", d)
	}
}

func TestWorkersHaveWholeSessions(t *testing.T) {
	const sessions, workers = 5, 2
	v := newVisitors()
	a := inSessions("", sessions, constant(100, 600*time.Millisecond))
	s := serve(t, v.answer(*dealOf(a)))
	a.Base = s.URL
	sum := int64(0)
	for k := range workers {
		part, out := a, &memory{}
		part.Share = Share{Worker: k, Workers: workers}
		if err := Run(context.Background(), part, out, nil); err != nil {
			t.Fatal(err)
		}
		p := out.phases[0]
		sum += p.Offered
		if p.Done != p.Offered {
			t.Errorf("worker %d: %d of %d requests have an outcome", k, p.Done, p.Offered)
		}
		for s, n := range p.Sessions {
			if (n > 0) != (s%workers == k) {
				t.Errorf("worker %d sent %d requests of session %d", k, n, s)
			}
		}
		offered, _, done, _ := sums(t, out.ticks)
		if offered != p.Offered || done != p.Done {
			t.Errorf("worker %d: %d offered and %d done in slices, %d and %d in the phase", k, offered, done, p.Offered, p.Done)
		}
	}
	if n := len(s.requests()); n != 60 || sum != 60 {
		t.Errorf("%d different requests arrived, %d were offered, want 60", n, sum)
	}
}

func TestSessionsThatAskMoreThanTheyMayHaveConnectionsAllGetThrough(t *testing.T) {
	// Three connections at most: whose session has none free waits for one of another to be closed in its favour.
	s := serve(t, func(http.ResponseWriter, *http.Request) { time.Sleep(15 * time.Millisecond) })
	a := inSessions(s.URL, 3, constant(150, time.Second))
	a.Traffic.MaxInFlight = 3
	out := &memory{}
	if err := Run(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	if p := out.phases[0]; p.Done != 150 || p.Codes["200"] != 150 {
		t.Errorf("%d done, %v", p.Done, p.Codes)
	}
	for _, k := range out.ticks {
		if k.InFlight > 3 {
			t.Errorf("%d requests were under way at once", k.InFlight)
		}
	}
}

func TestAJarKeepsWhatItWasGivenAndNoMore(t *testing.T) {
	u := func(text string) *url.URL {
		out, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	shop := u("http://shop.app.svc/items/7")
	for name, c := range map[string]struct {
		given []string
		to    *url.URL
		want  string
	}{
		"nothing":                 {nil, shop, ""},
		"one":                     {[]string{"a=1"}, shop, "a=1"},
		"a newer one":             {[]string{"a=1; Path=/", "a=2; Path=/"}, shop, "a=2"},
		"one that is taken back":  {[]string{"a=1; Path=/", "b=2; Path=/", "a=; Path=/; Max-Age=0"}, shop, "b=2"},
		"of another path":         {[]string{"a=1; Path=/cart"}, shop, ""},
		"of this path":            {[]string{"a=1; Path=/items"}, shop, "a=1"},
		"of another name":         {[]string{"a=1; Domain=cart.app.svc"}, shop, ""},
		"for TLS alone":           {[]string{"a=1; Secure"}, shop, ""},
		"no cookie":               {[]string{"", "=", "\x00=1", ";;;"}, shop, ""},
		"what is not to be asked": {[]string{"a=1; Path=/; HttpOnly; SameSite=Strict"}, u("http://shop.app.svc/"), "a=1"},
	} {
		j := &jar{}
		for _, text := range c.given {
			j.take(shop, text)
		}
		if got := j.header(c.to); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	j := &jar{}
	for i := range 1000 {
		j.take(shop, fmt.Sprintf("c%d=x; Path=/", i))
	}
	j.take(shop, "c0=y; Path=/")
	if got := j.header(shop); strings.Count(got, "=") != maxCookies || !strings.Contains(got, "c0=y") {
		t.Errorf("of 1000 cookies it keeps %s", got)
	}
}

func TestSessionsThatWouldNotBeSuchAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Attack){
		"users are sessions already": func(a *Attack) {
			a.Traffic.Profile = scenarios.Profile{Stages: []scenarios.Stage{{Users: 3, For: scenarios.Duration(time.Second)}}}
		},
		"sent in http1":                   func(a *Attack) { a.Protocol = HTTP2 },
		"by engine own alone":             func(a *Attack) { a.Engine = Vegeta },
		"its header has cookies":          func(a *Attack) { a.Header = http.Header{"Cookie": {"a=1"}} },
		"more connections than maxInFlig": func(a *Attack) { a.Traffic.MaxInFlight = 2 },
		"want 1 to 10000":                 func(a *Attack) { a.Traffic.Sessions = 10_001 },
	} {
		a := inSessions("http://127.0.0.1:1", 3, constant(10, time.Second))
		change(&a)
		if err := a.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestRequestsOfSessionsTakeLittleMemory(t *testing.T) {
	a := inSessions("http://127.0.0.1:1", 100, constant(100_000, 100*time.Second))
	m, err := newMix(a)
	if err != nil {
		t.Fatal(err)
	}
	s := &shard{}
	deal := dealOf(a)
	record := func(n int64) {
		s.record(result{n: n, code: 200, done: time.Millisecond}, grid{time.Second}, 0, 1, time.Second, deal)
	}
	record(0)
	var sc scratch
	buf := m.appendHTTP1(make([]byte, 0, 4<<10), 0, &sc, "")
	n := int64(0)
	if per := testing.AllocsPerRun(10_000, func() {
		n++
		record(n)
		buf = m.appendHTTP1(buf[:0], uint64(n), &sc, m.cookies(deal.Of(n), uint64(n)))
	}); per > 1 { // the text of the status is one
		t.Errorf("%v allocations for each request without a cookie", per)
	}
}
