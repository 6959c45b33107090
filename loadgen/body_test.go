package loadgen

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

func mixOf(t *testing.T, seed int64, each scenarios.Connections, kinds ...scenarios.RequestKind) *mix {
	t.Helper()
	m, err := newMix(Attack{Base: "http://127.0.0.1:1", Host: "shop", IDPrefix: "r", Seed: seed, Traffic: scenarios.Traffic{Name: "users", Requests: kinds, Connections: each}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBodiesHaveTheSizesOfTheirDistribution(t *testing.T) {
	const n = 20_000
	sizes := func(b scenarios.Body) []int {
		m := mixOf(t, 1, "", scenarios.RequestKind{Method: "POST", Body: &b})
		var out []int
		for i := range uint64(n) {
			out = append(out, len(m.body(i, &m.kinds[0])))
		}
		slices.Sort(out)
		return out
	}
	fixed := sizes(scenarios.Body{Bytes: 700})
	if fixed[0] != 700 || fixed[n-1] != 700 {
		t.Errorf("fixed: from %d to %d", fixed[0], fixed[n-1])
	}
	even := sizes(scenarios.Body{Bytes: 100, To: 299})
	if even[0] != 100 || even[n-1] != 299 || math.Abs(float64(even[n/2])-200) > 3 {
		t.Errorf("uniform: from %d by %d to %d", even[0], even[n/2], even[n-1])
	}
	var sample []float64
	for i, x := range even {
		sample = append(sample, (float64(x-100)+float64(i%97)/97)/200) // whole numbers, spread over their steps
	}
	if d := kolmogorov(sample, func(x float64) float64 { return x }); d > kolmogorovLimit {
		t.Errorf("uniform: %v, at most %v by chance", d, kolmogorovLimit)
	}
	sample = nil
	skewed := sizes(scenarios.Body{P50: 1000, P99: 8000})
	sigma := math.Log(8) / normal99
	for _, x := range skewed {
		sample = append(sample, float64(x))
	}
	law := func(x float64) float64 { return 0.5 * math.Erfc(-math.Log(x/1000)/sigma/math.Sqrt2) }
	if d := kolmogorov(sample, law); d > kolmogorovLimit+0.1 { // whole bytes
		t.Errorf("log-normal: %v, at most %v by chance", d, kolmogorovLimit)
	}
	if cut := sizes(scenarios.Body{P50: 200_000, P99: maxBody}); cut[n-1] != maxBody || cut[0] < 1 {
		t.Errorf("cut off: from %d to %d", cut[0], cut[n-1])
	}
}

func TestWhatIsDrawnDependsOnTheSeedAndTheRequestAndTakesNoMemory(t *testing.T) {
	kinds := []scenarios.RequestKind{{Method: "POST", Body: &scenarios.Body{Bytes: 10, To: 50_000}}}
	sums := func(seed int64) (out []string) {
		m := mixOf(t, seed, "", kinds...)
		for i := range uint64(50) {
			out = append(out, fmt.Sprintf("%x", sha256.Sum256(m.body(i, &m.kinds[0]))))
		}
		return out
	}
	a := sums(1)
	if !slices.Equal(a, sums(1)) || slices.Equal(a, sums(2)) {
		t.Error("the seed does not decide")
	}
	slices.Sort(a)
	if len(slices.Compact(a)) != 50 {
		t.Error("bodies are the same")
	}
	m := mixOf(t, 1, "", kinds...)
	var s scratch
	buf := m.appendHTTP1(make([]byte, 0, 64<<10), 0, &s, "")
	if per := testing.AllocsPerRun(1000, func() { buf = m.appendHTTP1(buf[:0], 7, &s, "") }); per > 0 {
		t.Errorf("%v allocations a request", per)
	}
}

func TestARequestGoesOverTheWireWithItsHeadersAndItsBody(t *testing.T) {
	for _, size := range []int{1, 3000, 100_000} {
		m := mixOf(t, 1, scenarios.ConnectionsEach, scenarios.RequestKind{
			Method: "POST", Path: "/orders", Headers: map[string]string{"x-channel": "web shop"}, Body: &scenarios.Body{Bytes: size, Type: "application/json"},
		})
		var s scratch
		wire := append(m.appendHTTP1(nil, 3, &s, ""), s.body...)
		in := bufio.NewReader(bytes.NewReader(wire))
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) != size || !bytes.Equal(body, m.body(3, &m.kinds[0])) || in.Buffered() > 0 {
			t.Errorf("%d bytes of %d (%v), and %d too many", len(body), size, err, in.Buffered())
		}
		if r.Header.Get("X-Channel") != "web shop" || r.Header.Get("Content-Type") != "application/json" || !r.Close || r.Header.Get(scenarios.HeaderID) != "r-users-3" {
			t.Errorf("%+v", r.Header)
		}
	}
}

func TestNoHeaderOfAMixTakesThePlaceOfMeshproofs(t *testing.T) {
	for _, name := range []string{scenarios.HeaderID, scenarios.HeaderWindow, scenarios.HeaderCaller, scenarios.HeaderProof, "x-request-ID", "AUTHORIZATION", "content-length", "Transfer-Encoding", "Host", "x-bad\r\nx", "x y"} {
		_, err := newMix(Attack{Base: "http://127.0.0.1:1", Host: "shop", IDPrefix: "r", Traffic: scenarios.Traffic{Name: "users", Requests: []scenarios.RequestKind{{Headers: map[string]string{name: "x"}}}}})
		if err == nil {
			t.Errorf("header %q is sent", name)
		}
	}
	_, err := newMix(Attack{Base: "http://127.0.0.1:1", Host: "shop", IDPrefix: "r", Traffic: scenarios.Traffic{Name: "users", Requests: []scenarios.RequestKind{{Headers: map[string]string{"x": "a\r\nx-meshproof-id: 1"}}}}})
	if err == nil {
		t.Error("a header with a line end is sent")
	}
}

func TestEveryEngineSendsBodiesAndOpensConnectionsAsItIsTold(t *testing.T) {
	for _, engine := range []Engine{Own, Vegeta} {
		for _, how := range []scenarios.Connections{scenarios.ConnectionsReuse, scenarios.ConnectionsEach} {
			t.Run(string(engine)+" "+string(how), func(t *testing.T) {
				var mu sync.Mutex
				conns, requests, wrong := map[string]bool{}, 0, []string{}
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					sum := sha256.New()
					size, _ := io.Copy(sum, r.Body)
					mu.Lock()
					defer mu.Unlock()
					conns[r.RemoteAddr] = true
					requests++
					if size != r.ContentLength || size < 2000 || size > 30_000 || r.Header.Get("X-Channel") != "web" || r.Header.Get("Content-Type") != "text/csv" {
						wrong = append(wrong, fmt.Sprint(size, r.Header))
					}
				}))
				defer server.Close()
				a := attack(server.URL, constant(100, 500*time.Millisecond))
				a.Engine = engine
				a.Traffic.Connections = how
				a.Traffic.Requests = []scenarios.RequestKind{{Method: "POST", Headers: map[string]string{"X-Channel": "web"}, Body: &scenarios.Body{Bytes: 2000, To: 30_000, Type: "text/csv"}}}
				s := &memory{}
				if err := Run(t.Context(), a, s, nil); err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if requests != 50 || len(wrong) > 0 {
					t.Errorf("%d requests, of them not as told: %s", requests, strings.Join(wrong, "; "))
				}
				if each := len(conns) == requests; each != (how == scenarios.ConnectionsEach) {
					t.Errorf("%d connections for %d requests", len(conns), requests)
				}
			})
		}
	}
}
