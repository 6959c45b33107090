package workload

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/oidc"
	"github.com/meshproof/meshproof/scenarios"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a few servers by host name, and what a workload recorded.
type world struct {
	t     *testing.T
	addrs map[string]string
	dials map[string]int
	mu    sync.Mutex
	recs  []*evidence.Request
	fail  error // of recording
}

func newWorld(t *testing.T) *world {
	return &world{t: t, addrs: map[string]string{}, dials: map[string]int{}}
}

func (w *world) dial(ctx context.Context, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.dials[addr]++
	to, ok := w.addrs[host]
	w.mu.Unlock()
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", to)
}

func (w *world) record(r *evidence.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	w.recs = append(w.recs, r)
	return nil
}

func (w *world) client() *Client {
	c := NewClient(w.dial)
	w.t.Cleanup(c.Close)
	return c
}

// serve runs a server under a host name.
func (w *world) serve(host string, h http.Handler) *httptest.Server {
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addrs[host] = s.Listener.Addr().String()
	return s
}

var at = evidence.PodRef{Cluster: "east", Namespace: "app", Service: "shop", Pod: "shop-1", UID: "u"}

func (w *world) workload(cfg Config) *Handler {
	w.t.Helper()
	if cfg.Name == "" {
		cfg.Name = "shop"
	}
	cfg.Namespace, cfg.Cluster = "app", "east"
	if cfg.Role == "" {
		cfg.Role = RoleService
	}
	h, err := NewHandler(cfg, at, w.record, w.client())
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func ask(h http.Handler, id string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://shop.app.svc.cluster.local/items/1?q=1", http.NoBody)
	r.Header.Set(scenarios.HeaderID, id)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func TestARequestIsRecordedWithEverythingThatTheMeshSaidOfIt(t *testing.T) {
	w := newWorld(t)
	ask(w.workload(Config{}), "r1", "X-Envoy-Attempt-Count", "2", "X-Forwarded-Client-Cert", "By=a;URI=b", "L5d-Client-Id", "c",
		scenarios.HeaderWindow, "load", scenarios.HeaderCaller, "ingress@east")
	if len(w.recs) != 1 {
		t.Fatalf("%d records", len(w.recs))
	}
	got := *w.recs[0]
	if got.T.IsZero() || got.Remote == "" {
		t.Error("time or remote address is missing")
	}
	got.Header, got.Remote = evidence.Header{Src: got.Src}, ""
	want := evidence.Request{
		Header: evidence.Header{Src: "pod/east/shop-1"}, ID: "r1", Attempt: 2, Window: "load", Caller: "ingress@east", At: at,
		Method: "GET", Path: "/items/1", XFCC: "By=a;URI=b", L5dClientID: "c", Status: 200,
	}
	if got != want {
		t.Errorf("recorded %+v\nwant     %+v", got, want)
	}
}

func TestCallsAreMadeInOrderWithIDsOfTheirOwnAndTheTagsOfTheRequest(t *testing.T) {
	w := newWorld(t)
	var seen []string
	log := func(name string, status int) {
		w.serve(name, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.mu.Lock()
			defer w.mu.Unlock()
			seen = append(seen, strings.Join([]string{
				name, r.Method, r.URL.Path, r.Host, r.Header.Get(scenarios.HeaderID), r.Header.Get(scenarios.HeaderCaller),
				r.Header.Get(scenarios.HeaderWindow), r.Header.Get(scenarios.HeaderConnection),
			}, " "))
			rw.WriteHeader(status)
		}))
	}
	log("cart", 204)
	log("stock", 404)
	log("never", 200)
	h := w.workload(Config{Calls: []Call{
		{Host: "cart", Method: "GET", Path: "/a", Share: 1}, {Host: "stock", Method: "POST", Path: "/b", Share: 1}, {Host: "never", Method: "GET", Path: "/", Share: 1},
	}})
	resp := ask(h, "r1", scenarios.HeaderWindow, "load", scenarios.HeaderConnection, "fresh")
	w.mu.Lock()
	want := []string{"cart GET /a cart r1.1 shop@east load fresh", "stock POST /b stock r1.2 shop@east load fresh"}
	if !slices.Equal(seen, want) {
		t.Errorf("calls %q\nwant  %q", seen, want)
	}
	if resp.Code != 502 || !strings.Contains(resp.Body.String(), "call to stock /b: status 404") || w.recs[0].Status != 502 {
		t.Errorf("status %d (recorded %d), body %q", resp.Code, w.recs[0].Status, resp.Body)
	}
	w.mu.Unlock()
	resp = ask(w.workload(Config{Calls: []Call{{Host: "gone", Method: "GET", Path: "/", Share: 1}}}), "r2")
	if resp.Code != 502 || !strings.Contains(resp.Body.String(), "call to gone /: other: ") {
		t.Errorf("status %d, body %q", resp.Code, resp.Body)
	}
}

func TestAProofRequestNeitherWaitsNorFailsNorCallsAnybody(t *testing.T) {
	w := newWorld(t)
	h := w.workload(Config{
		Calls: []Call{{Host: "gone", Method: "GET", Path: "/", Share: 1}}, ErrorRate: 1, Latency: scenarios.Latency{P50: scenarios.Duration(time.Hour)},
	})
	if resp := ask(h, "p1", scenarios.HeaderProof, "1"); resp.Code != 200 {
		t.Errorf("status %d", resp.Code)
	}
	if len(w.recs) != 1 || w.recs[0].Status != 200 || len(w.dials) != 0 {
		t.Errorf("%d records, dials %v", len(w.recs), w.dials)
	}
}

func TestARequestThatCannotBeRecordedIsNotAnsweredAsIfNothingHadHappened(t *testing.T) {
	w := newWorld(t)
	w.fail = errors.New("disk full")
	w.serve("shop.app.svc.cluster.local", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, role := range []Role{RoleService, RoleIngress} {
		resp := ask(w.workload(Config{Role: role}), "r", scenarios.HeaderProof, "1")
		if resp.Code != 500 || !strings.Contains(resp.Body.String(), "disk full") {
			t.Errorf("%s: status %d, body %q", role, resp.Code, resp.Body)
		}
	}
}

func TestTheSameSeedGivesTheSameFateToEachRequestInAnyOrder(t *testing.T) {
	fates := func(seed int64, ids []string) map[string]int {
		w := newWorld(t)
		h := w.workload(Config{ErrorRate: 0.5, Seed: seed})
		got := map[string]int{}
		for _, id := range ids {
			got[id] = ask(h, id).Code
		}
		return got
	}
	ids := make([]string, 200)
	for i := range ids {
		ids[i] = "r" + strconv.Itoa(i)
	}
	a := fates(1, ids)
	slices.Reverse(ids)
	b, c := fates(1, ids), fates(2, ids)
	same := 0
	for _, id := range ids {
		if a[id] != b[id] {
			t.Fatalf("%s was answered %d, then %d", id, a[id], b[id])
		}
		if a[id] == c[id] {
			same++
		}
	}
	if same < 60 || same > 140 {
		t.Errorf("another seed changed %d of 200 fates, want about half", 200-same)
	}
}

func TestErrorsAndSharesComeAsOftenAsConfigured(t *testing.T) {
	const n = 20_000
	for _, p := range []float64{0.001, 0.1, 0.5, 0.9} {
		cfg := Config{Name: "shop", Seed: 3}
		got := 0
		for i := range n {
			if cfg.draw("buyers-"+strconv.Itoa(i), drawError, 0) < p {
				got++
			}
		}
		// Five standard deviations of a binomial distribution.
		if d := math.Abs(float64(got) - n*p); d > 5*math.Sqrt(n*p*(1-p))+1 {
			t.Errorf("%d of %d draws below %v", got, n, p)
		}
	}
}

func TestTheLatencyHasTheQuantilesThatWereGiven(t *testing.T) {
	l := scenarios.Latency{P50: scenarios.Duration(2 * time.Millisecond), P99: scenarios.Duration(9 * time.Millisecond)}
	for _, tt := range []struct {
		l    scenarios.Latency
		u    float64
		want time.Duration
	}{
		{l, 0.5, 2 * time.Millisecond},
		{l, 0.99, 9 * time.Millisecond},
		{l, 0, 0},
		{scenarios.Latency{}, 0.7, 0},
		{scenarios.Latency{P50: l.P50}, 0.99, 2 * time.Millisecond},
		{scenarios.Latency{P50: l.P50, P99: l.P50}, 0.1, 2 * time.Millisecond},
	} {
		if got := latencyAt(tt.l, tt.u); (got - tt.want).Abs() > time.Microsecond {
			t.Errorf("quantile %v of %v is %s, want %s", tt.u, tt.l, got, tt.want)
		}
	}
	cfg := Config{Name: "cart", Seed: 5}
	slow := 0
	for i := range 20_000 {
		if latencyAt(l, cfg.draw("r"+strconv.Itoa(i), drawLatency, 0)) > l.P99.D() {
			slow++
		}
	}
	if slow < 130 || slow > 270 {
		t.Errorf("%d of 20000 are above the 99th percentile, want about 200", slow)
	}
}

func TestAnImpossibleConfigurationIsRefusedWithEverythingThatIsWrong(t *testing.T) {
	_, err := ParseConfig(`{"role":"king","errorRate":2,"latency":{"p50":"9ms","p99":"2ms"},"calls":[{"host":"a","method":"GET","path":"/","share":0},{"share":1}]}`)
	for _, want := range []string{Env, "name is missing", `role "king"`, "errorRate 2", "p50 9ms, p99 2ms", "calls[0].share 0", "calls[1] wants host"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
	for _, text := range []string{"", "{", `{"name":"a","role":"service","errorRate":"x"}`} {
		if _, err := ParseConfig(text); err == nil || !strings.Contains(err.Error(), Env) {
			t.Errorf("ParseConfig(%q) = %v", text, err)
		}
	}
}

func TestTheIngressForwardsByHostAndDropsWhatOnlyAMeshMaySay(t *testing.T) {
	w := newWorld(t)
	var got *http.Request
	var body string
	w.serve("shop.app.svc.cluster.local", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		got, body = r, string(b)
		w.mu.Unlock()
		rw.Header().Set("X-Answer", "yes")
		rw.WriteHeader(418)
		_, _ = rw.Write([]byte("short and stout"))
	}))
	h := w.workload(Config{Name: "ingress", Role: RoleIngress})
	r := httptest.NewRequest(http.MethodPut, "http://shop.app.svc.cluster.local/pot/1?q=2", strings.NewReader("tea"))
	for _, name := range []string{"x-forwarded-client-cert", "x-envoy-attempt-count", "x-envoy-internal", "l5d-client-id", "l5d-dst-override"} {
		r.Header.Set(name, "forged")
	}
	r.Header.Set(scenarios.HeaderID, "r1")
	r.Header.Set(scenarios.HeaderCaller, "forged")
	r.Header.Set("X-Request-Id", "kept")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != 418 || rec.Body.String() != "short and stout" || rec.Header().Get("X-Answer") != "yes" {
		t.Errorf("answer %d %q %v", rec.Code, rec.Body, rec.Header())
	}
	w.mu.Lock()
	if got.Method != "PUT" || got.URL.RequestURI() != "/pot/1?q=2" || got.Host != "shop.app.svc.cluster.local" || body != "tea" {
		t.Errorf("forwarded %s %s %s %q", got.Method, got.Host, got.URL, body)
	}
	for name, values := range got.Header {
		if slices.Contains(values, "forged") {
			t.Errorf("%s: %s reached the service", name, values)
		}
	}
	if got.Header.Get(scenarios.HeaderID) != "r1" || got.Header.Get(scenarios.HeaderCaller) != "ingress@east" || got.Header.Get("X-Request-Id") != "kept" {
		t.Errorf("headers %v", got.Header)
	}
	w.mu.Unlock()
	if len(w.recs) != 1 || w.recs[0].Status != 418 || w.recs[0].ID != "r1" {
		t.Errorf("recorded %+v", w.recs)
	}
	if w.dials["shop.app.svc.cluster.local:80"] != 1 {
		t.Errorf("dialled %v", w.dials)
	}

	r = httptest.NewRequest(http.MethodGet, "http://nobody/", http.NoBody)
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != 502 || !strings.Contains(rec.Body.String(), "nobody") || !strings.Contains(rec.Body.String(), "no such host") {
		t.Errorf("an unknown host: %d %q", rec.Code, rec.Body)
	}
	if len(w.recs) != 2 || w.recs[1].Status != 502 {
		t.Errorf("recorded %+v", w.recs)
	}
}

func TestAWorkloadWhoseClientLeavesStopsWaiting(t *testing.T) {
	w := newWorld(t)
	h := w.workload(Config{Latency: scenarios.Latency{P50: scenarios.Duration(time.Hour)}})
	w.serve("shop", h)
	resp := w.client().Send(t.Context(), clusters.Request{Host: "shop", Timeout: 100 * time.Millisecond})
	if resp.Error != "timeout" {
		t.Errorf("%+v", resp)
	}
	for range 100 {
		w.mu.Lock()
		n := len(w.recs)
		w.mu.Unlock()
		if n == 1 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the workload still waits")
}

func TestTheIngressTakesGoodTokensAloneAndKeepsThemToItself(t *testing.T) {
	issuer, err := oidc.Start("http://issuer.test", "shop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := issuer.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t)
	var reached []string // Authorization of what reached the service
	w.serve("shop.app.svc.cluster.local", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		reached = append(reached, r.Header.Get("Authorization"))
		w.mu.Unlock()
		_, _ = rw.Write([]byte("welcome"))
	}))
	h := w.workload(Config{Name: "ingress", Role: RoleIngress, Tokens: &TokenCheck{
		Issuer: "http://issuer.test", Audience: "shop", Keys: "http://issuer.test/keys", Hosts: map[string]string{"issuer.test": issuer.Addr()},
	}})
	for _, c := range []struct {
		defect oidc.Defect
		none   bool
		status int
		body   string
	}{
		{oidc.Good, false, 200, "welcome"},
		{oidc.Good, true, 403, "RBAC: access denied"},
		{oidc.Expired, false, 401, "Jwt is expired"},
		{oidc.WrongIssuer, false, 401, "Jwt issuer is not configured"},
		{oidc.WrongAudience, false, 403, "Audiences in Jwt are not allowed"},
		{oidc.Malformed, false, 401, "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"},
		{oidc.ForeignKey, false, 401, "Jwt verification fails"},
	} {
		w.recs, reached = nil, nil
		r := httptest.NewRequest(http.MethodGet, "http://shop.app.svc.cluster.local/", nil)
		if !c.none {
			token, err := issuer.Mint("anna", nil, time.Minute, c.defect)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != c.status || strings.TrimSpace(rec.Body.String()) != c.body {
			t.Errorf("%s: %d %q", c.defect, rec.Code, rec.Body)
		}
		refused := c.body
		if c.status == 200 {
			refused = ""
			if len(reached) != 1 || reached[0] != "" {
				t.Errorf("%s: the service saw %q", c.defect, reached)
			}
		} else if len(reached) != 0 {
			t.Errorf("%s reached the service", c.defect)
		}
		if len(w.recs) != 1 || w.recs[0].Status != c.status || w.recs[0].Refused != refused {
			t.Errorf("%s: records %+v", c.defect, w.recs)
		}
	}
	w.fail = errors.New("disk full")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://shop.app.svc.cluster.local/", nil))
	if rec.Code != 500 {
		t.Errorf("a refusal that could not be recorded was answered %d", rec.Code)
	}
}

func TestOnlyAnIngressChecksTokensAndItNeedsToKnowWhose(t *testing.T) {
	for _, text := range []string{
		`{"name":"shop","role":"service","tokens":{"issuer":"a","audience":"b","keys":"c"}}`,
		`{"name":"ingress","role":"ingress","tokens":{"issuer":"a","audience":"b"}}`,
		`{"name":"ingress","role":"ingress","tokens":{}}`,
	} {
		if _, err := ParseConfig(text); err == nil || !strings.Contains(err.Error(), "tokens wants") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
