package alone

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/internal/workers"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/reports"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// envWorker makes this test's binary a worker.
const envWorker = "MESHPROOF_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(envWorker) != "" {
		if err := workers.Work(context.Background(), os.Stdin, os.Stdout, nil); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func profile(t *testing.T, text string) scenarios.Profile {
	t.Helper()
	p, err := scenarios.ParseProfile(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func options(t *testing.T, url, text string) Options {
	return Options{URL: url, Profile: profile(t, text), MaxRate: 1000, Timeout: 10 * time.Second, Connections: 100, Seed: 1}
}

// send sends a load, and holds what holds of every report.
func send(ctx context.Context, t *testing.T, o Options) *reports.Load {
	t.Helper()
	l, err := Run(ctx, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := errors.Join(l.HTML(&page), l.JSON(&bytes.Buffer{})); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), string(l.Verdict)) || strings.Contains(page.String(), "ZgotmplZ") {
		t.Error("the page does not say the verdict, or holds what was not safe to show")
	}
	return l
}

func expect(t *testing.T, text string) []verify.Budget {
	t.Helper()
	b, err := ParseExpect(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestALoadIsSentToItsURLAsItWasAskedFor(t *testing.T) {
	var odd atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || r.URL.RequestURI() != "/a%20b?c=d" || r.Header.Get("X-Color") != "green" || r.Host != "shop.test" {
			odd.Add(1)
		}
	}))
	defer s.Close()
	o := options(t, s.URL+"/a%20b?c=d", "first=constant:100,500ms + second=constant:200,500ms")
	o.Method, o.Header, o.Body, o.Host = http.MethodPut, http.Header{"X-Color": {"green"}}, []byte("x"), "shop.test"
	o.Expect = expect(t, "p50<9s,errors<1%")
	l := send(context.Background(), t, o)
	if odd.Load() > 0 {
		t.Errorf("%d requests were not as they should be", odd.Load())
	}
	if l.Verdict != verify.Pass && l.Reason != "LoadLate" && l.Reason != "LoadShortfall" { // a machine may be too busy; the load is the same
		t.Errorf("%s %s: %s", l.Verdict, l.Reason, l.Message)
	}
	if w := l.Whole; w == nil || w.Done != 150 || w.Codes["200"] != 150 || w.Outcomes["ok"].Done != 150 || len(l.Phases) != 2 || l.Phases[1].Phase != "second" {
		t.Errorf("%+v", l.Whole)
	}
	if len(l.Curve) == 0 || l.Heat == nil || len(l.Slices) != 4 || l.Whole.Generators[0].Opened == 0 || l.Whole.Generators[0].CPUs == 0 {
		t.Errorf("curve %v, heat %v, %d slices, generators %+v", l.Curve, l.Heat, len(l.Slices), l.Whole.Generators)
	}
}

func TestABrokenBudgetFailsAndOneThatWasKeptDoesNot(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get(scenarios.HeaderID), "0") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	for text, want := range map[string]verify.Verdict{"errors<5%": verify.Fail, "errors<50%": verify.Pass, "errors<10%": verify.Fail, "errors<10.1%": verify.Pass} {
		o := options(t, s.URL, "constant:100,1s")
		o.Expect = expect(t, text)
		l := send(context.Background(), t, o)
		if l.Verdict != want && !strings.HasPrefix(l.Reason, "Load") {
			t.Errorf("%s: %s %s: %s", text, l.Verdict, l.Reason, l.Message)
		}
	}
}

func TestAGeneratorThatIsHeldBackCallsItsFiguresInvalid(t *testing.T) {
	// One request at a time, 20 ms each, makes 50 a second where 100 are asked for.
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }))
	defer s.Close()
	o := options(t, s.URL, "constant:100,1s")
	o.Connections = 1
	o.Expect = expect(t, "p99<100ms")
	l := send(context.Background(), t, o)
	if l.Verdict != verify.Invalid {
		t.Errorf("%s %s: %s", l.Verdict, l.Reason, l.Message)
	}
	found := false
	for _, c := range l.Checks {
		found = found || strings.Contains(c.Message, "1 requests were under way, the most that may be")
	}
	if !found && l.Reason != "LoadShortfall" {
		t.Errorf("nothing says why: %+v", l.Checks)
	}
}

func TestALoadOnNobodyIsInvalid(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	l := send(context.Background(), t, options(t, s.URL, "constant:50,500ms"))
	if l.Verdict != verify.Invalid || l.Whole.Codes["refused"] != 25 {
		t.Errorf("%s %s: %s; %v", l.Verdict, l.Reason, l.Message, l.Whole.Codes)
	}
}

func TestAStoppedLoadReportsWhatWasSentUntilThen(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 30 {
			cancel()
		}
	}))
	defer s.Close()
	l := send(ctx, t, options(t, s.URL, "constant:100,1m"))
	if !l.Interrupted || l.Verdict != verify.Invalid || l.Whole == nil || l.Whole.Done < 20 || l.Whole.Done > 6000 {
		t.Errorf("interrupted %v, %s %s, %+v", l.Interrupted, l.Verdict, l.Reason, l.Whole)
	}
}

func TestHTTPSIsCheckedByTheRootsThatWereGiven(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	roots := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tls workers.TLS
		ok  bool
	}{"the system's": {workers.TLS{}, false}, "its own": {workers.TLS{CA: roots}, true}, "none": {workers.TLS{Insecure: true}, true}} {
		o := options(t, s.URL, "constant:50,200ms")
		o.TLS = c.tls
		if l := send(context.Background(), t, o); (l.Whole.Codes["200"] == 10) != c.ok {
			t.Errorf("roots %s: %v", name, l.Whole.Codes)
		}
	}
}

func TestWhatCannotBeSentIsRefusedBeforeAnythingIs(t *testing.T) {
	const ok = "http://127.0.0.1:1/"
	bad := filepath.Join(t.TempDir(), "bad.pem")
	if err := os.WriteFile(bad, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no scheme":           {func(o *Options) { o.URL = "localhost:80" }, "is not of the form"},
		"another scheme":      {func(o *Options) { o.URL = "ftp://a/" }, "is not of the form"},
		"a user":              {func(o *Options) { o.URL = "http://a:secret@b/" }, "Authorization"},
		"too fast":            {func(o *Options) { o.Profile = profile(t, "spike:1^1001,1s") }, "--max-rate 1001"},
		"closed with latency": {func(o *Options) { o.Profile = profile(t, "users:2,1s"); o.Expect = expect(t, "p99<1s") }, "closed loop"},
		"no roots":            {func(o *Options) { o.TLS.CA = bad }, "no certificate"},
		"no such roots":       {func(o *Options) { o.TLS.CA = bad + "x" }, "the roots"},
		"no key":              {func(o *Options) { o.TLS.Cert = bad }, "--key together"},
		"no pair":             {func(o *Options) { o.TLS.Cert, o.TLS.Key = bad, bad }, "client certificate"},
	} {
		o := options(t, ok, "constant:1,1s")
		c.change(&o)
		_, err := Run(context.Background(), o, func(loadgen.Progress) { t.Errorf("%s: it was sent", name) })
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestBudgetsAreReadOrRefused(t *testing.T) {
	got := expect(t, "p99<50ms, p99.9 < 1.5s,max<2s,errors<0.5%")
	want := []verify.Budget{{Figure: "p99", Limit: 50 * time.Millisecond}, {Figure: "p999", Limit: 1500 * time.Millisecond}, {Figure: "max", Limit: 2 * time.Second}, {Figure: "errors", Share: 0.005}}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	for _, text := range []string{"", "p99", "p98<1s", "p99<1", "p99<-1s", "p99<1s,p99<2s", "errors<1", "errors<0%", "errors<101%", "errors<NaN%", "p99<1s,"} {
		if _, err := ParseExpect(text); err == nil {
			t.Errorf("%q is a budget", text)
		}
	}
}

func FuzzParseExpect(f *testing.F) {
	f.Add("p99<50ms,errors<1%")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseExpect(text)
		for _, b := range list {
			if err == nil && b.Limit <= 0 && !(b.Share > 0 && b.Share <= 1) {
				t.Errorf("%q is read as %+v", text, b)
			}
		}
	})
}
