package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// lose takes a record out and renumbers the rest, as if its producer had never made it.
func lose(t *testing.T, rec *evidence.Record, id string) {
	t.Helper()
	recordOf(t, rec, id)
	rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.ID == id })
	renumber(rec)
}

func TestWhatLoadBringsIsHeldAgainstThoseWhoSawIt(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *evidence.Record)
		check  string
		want   Verdict
		reason string
	}{
		{"a request under load that nobody recorded and no number misses, by the proxy's count", func(t *testing.T, rec *evidence.Record) {
			lose(t, rec, "load-7")
		}, "mtls/ingress->shop", Invalid, "MetricsDisagree"},
		{"the same by the generator's count", func(t *testing.T, rec *evidence.Record) {
			lose(t, rec, "load-7")
		}, "load/visitors/calm", Invalid, "NoRecord"},
		{"good answers that no workload gave", func(_ *testing.T, rec *evidence.Record) {
			rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.Window == windowLoad })
			renumber(rec)
		}, "errors/visitors/calm", Invalid, "NoRecord"},
		{"plaintext under load in the metrics", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "shop", windowLoad, "end", requestSeries("unknown", "none", 200), 1)
		}, "mtls/ingress->shop", Fail, "PlaintextAccepted"},
		{"a stranger let in under load by the metrics", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "shop", windowLoad, "end", requestSeries("spiffe://elsewhere/ns/a/sa/b", "mutual_tls", 200), 1)
		}, "mtls/ingress->shop", Fail, "WrongIdentity"},
		{"no scrape at the end of the load", func(t *testing.T, rec *evidence.Record) {
			s := scrapeOf(t, rec, "shop", windowLoad, "end")
			s.Body, s.Error = "", "connection refused"
		}, "mtls/ingress->shop", Invalid, "NoScrape"},
		{"no inventory at the start of the load", func(_ *testing.T, rec *evidence.Record) {
			for _, p := range rec.Pods {
				if p.Window == windowLoad && p.Edge == "start" {
					p.Window, p.Edge = "", ""
				}
			}
		}, "mtls/shop->cart", Invalid, "NoInventory"},
		{"a forbidden request that got through under load", func(t *testing.T, rec *evidence.Record) {
			r := recordOf(t, rec, "load-3")
			r.At.Service, r.Path = "cart", "/secrets"
		}, "policy/cart", Fail, reasonHole},
		{"a request under load from outside of the mesh", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, "load-3").Caller = "outsider@east"
		}, "policy/shop", Fail, reasonHole},
		{"a request under load of nobody", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, "load-3").Caller = ""
		}, "mtls/ingress->shop", Invalid, "UnknownRequest"},
		{"a caller with a certificate of its other cluster", func(t *testing.T, rec *evidence.Record) {
			r := recordOf(t, rec, firstProbe(t, rec, "before/fresh", allowedTo("shop", "cart")).ID)
			r.XFCC = withLeafOf(t, rec, r.XFCC, "cart", "west")
		}, "mtls/shop->cart", Fail, "WrongOrigin"},
		{"a caller with a certificate that none of its pods serves", func(t *testing.T, rec *evidence.Record) {
			r := recordOf(t, rec, firstProbe(t, rec, "after/established", allowedTo("shop", "cart")).ID)
			i := strings.Index(r.XFCC, "Hash=") + len("Hash=")
			r.XFCC = r.XFCC[:i] + "0011" + r.XFCC[i+4:]
		}, "mtls/shop->cart", Invalid, "UnknownOrigin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := goodRecord(t, testScenario(scenarios.MeshIstio))
			c.change(t, rec)
			expectCheck(t, Evaluate(rec), c.check, c.want, c.reason)
		})
	}
}

// withLeafOf makes a header say that the request was made with the certificate that a pod of a service serves.
func withLeafOf(t *testing.T, rec *evidence.Record, header, service, cluster string) string {
	t.Helper()
	els, err := parseXFCC(header)
	must(t, err)
	for hash, at := range leavesOf(map[podWindow][]*evidence.Handshake{{}: rec.Handshakes}) {
		if at == service+"@"+cluster {
			return strings.Replace(header, els[len(els)-1].Hash, hash, 1)
		}
	}
	t.Fatalf("no leaf of %s in %s was read", service, cluster)
	return ""
}

func expectCheck(t *testing.T, res *Result, id string, want Verdict, reason string) {
	t.Helper()
	for _, c := range res.Checks {
		if c.ID == id {
			if c.Verdict != want || c.Reason != reason {
				t.Errorf("%s is %s %s (%s), want %s %s", id, c.Verdict, c.Reason, c.Message, want, reason)
			}
			if res.Verdict == Pass {
				t.Error("the run is PASS all the same")
			}
			return
		}
	}
	t.Errorf("there is no check %s", id)
}
