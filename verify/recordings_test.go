package verify

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func recording(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "recordings", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func accessLines(t testing.TB, name string) (out []accessLine) {
	t.Helper()
	for _, l := range bytes.Split(bytes.TrimSpace(recording(t, name)), []byte("\n")) {
		a, err := istioDialect{}.access(json.RawMessage(l))
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, l)
		}
		out = append(out, a)
	}
	return out
}

// The true counts are in testdata/recordings/README.md.
func TestRecordingsOfRealSidecarsGiveTheTrueCounts(t *testing.T) {
	d := istioDialect{}
	var deltas []sample
	for _, pod := range []string{"0", "1"} {
		var pages []*page
		for _, edge := range []string{"before", "after"} {
			body := string(recording(t, "istio-web-"+pod+"-"+edge+".prom"))
			if d.countsRequests(body) {
				t.Error("upstream Envoy is taken to count requests by identity")
			}
			p, err := parsePage(body, d.families())
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, p)
		}
		inc, err := increase(pages[0], pages[1], false)
		if err != nil {
			t.Fatal(err)
		}
		deltas = append(deltas, inc...)
	}
	c := d.counts(deltas)
	if !c.judged || c.allowed != 100 || c.denied != 20 {
		t.Errorf("allowed %d, denied %d (%v), want 100 and 20", c.allowed, c.denied, c.judged)
	}
	if !c.handshook || c.handshakes != 2 {
		t.Errorf("%d handshakes (%v), want 2: keep-alive", c.handshakes, c.handshook)
	}
	if c.countsTurns {
		t.Error("a metric that is not there was read")
	}
	if len(c.requests) != 0 {
		t.Errorf("requests by identity: %v", c.requests)
	}
}

func TestAccessLogsOfRealSidecarsGiveTheTrueCounts(t *testing.T) {
	const cli, web = "spiffe://cluster.local/ns/app/sa/cli", "spiffe://cluster.local/ns/app/sa/web"
	ok, denied, closed := 0, 0, 0
	ids := map[string]bool{}
	for _, pod := range []string{"0", "1"} {
		for _, l := range accessLines(t, "istio-web-"+pod+"-access.jsonl") {
			switch {
			case l.denied() && l.secured() && l.peer == cli && l.local == web:
				denied++
				ids[l.id] = true
			case l.code == 200 && l.secured() && l.peer == cli && l.local == web:
				ok++
				ids[l.id] = true
			case l.code == 0 && l.tls == "" && l.details == "filter_chain_not_found":
				closed++
			default:
				t.Errorf("unexpected: %+v", l)
			}
		}
	}
	if ok != 100 || denied != 20 || closed != 3 || len(ids) != 120 {
		t.Errorf("%d allowed, %d denied, %d closed, %d IDs; want 100, 20, 3, 120", ok, denied, closed, len(ids))
	}
}

func TestPlaintextUnderPermissiveIsSeenInAccessLogs(t *testing.T) {
	plain := 0
	for _, name := range []string{"permissive-access-web-5776669974-mht78.jsonl", "permissive-access-web-5776669974-pwfmq.jsonl"} {
		for _, l := range accessLines(t, name) {
			if l.code == 200 && !l.secured() {
				if l.peer != "" {
					t.Errorf("plaintext with an identity: %+v", l)
				}
				plain++
			}
		}
	}
	if plain != 8 {
		t.Errorf("%d requests in plaintext, want 8", plain)
	}
}
