package verify

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
)

func TestXFCCIsReadAsEnvoyWritesIt(t *testing.T) {
	for _, c := range []struct {
		name, header, from, to, err string
	}{
		{"nothing", "", "", "", ""},
		{"one element", `By=spiffe://td/b;Hash=ab;Subject="";URI=spiffe://td/a`, "spiffe://td/a", "spiffe://td/b", ""},
		{"the last of several", `By=spiffe://td/x;URI=spiffe://td/evil,By=spiffe://td/b;URI=spiffe://td/a`, "spiffe://td/a", "spiffe://td/b", ""},
		{"separators in quotes", `By=spiffe://td/b;Subject="CN=a,O=\"b;c\"";URI=spiffe://td/a`, "spiffe://td/a", "spiffe://td/b", ""},
		{"an element in quotes is no element", `By=spiffe://td/b;Subject=",URI=spiffe://td/evil";URI=spiffe://td/a`, "spiffe://td/a", "spiffe://td/b", ""},
		{"keys of any case", `BY=spiffe://td/b;uri=spiffe://td/a`, "spiffe://td/a", "spiffe://td/b", ""},
		{"a quoted URI", `By=spiffe://td/b;URI="spiffe://td/a"`, "spiffe://td/a", "spiffe://td/b", ""},
		{"no URI", `By=spiffe://td/b;Hash=ab`, "", "spiffe://td/b", ""},
		{"a last element without identity hides none before it", `By=spiffe://td/b;URI=spiffe://td/a,Hash=ab`, "", "", ""},
		{"two URIs", `By=spiffe://td/b;URI=spiffe://td/a;URI=spiffe://td/c`, "", "", "more than one identity"},
		{"an open quote", `By="spiffe`, "", "", "a quote is not closed"},
		{"not pairs", `hello`, "", "", "not a pair"},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to, err := xfccPeer(c.header)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || from != c.from || to != c.to {
				t.Errorf("%q %q %v, want %q %q", from, to, err, c.from, c.to)
			}
		})
	}
}

const startLine = "istio_agent_process_start_time_seconds 10\n"

func TestMetricPagesThatCannotBeCountedOnAreRefused(t *testing.T) {
	for _, c := range []struct{ name, body, err string }{
		{"no page", "<html>", "not a metric page"},
		{"no process start", "envoy_http_rbac 1\n", "when its process started"},
		{"a process start of zero", "istio_agent_process_start_time_seconds 0\n", "when its process started"},
		{"a negative count", startLine + "envoy_http_rbac -1\n", "not a count"},
		{"a fraction", startLine + "envoy_http_rbac 1.5\n", "not a count"},
		{"not a number", startLine + "envoy_http_rbac NaN\n", "not a count"},
		{"beyond what is exact", startLine + "envoy_http_rbac 1e17\n", "not a count"},
		{"a series twice", startLine + "envoy_http_rbac{a=\"b\"} 1\nenvoy_http_rbac{a=\"b\"} 2\n", "twice"},
		{"a histogram for a counter", startLine + "# TYPE envoy_http_rbac histogram\nenvoy_http_rbac_count 1\n", "not a count"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parsePage(c.body, istioDialect{}.families()); err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestIncreaseCountsResetsAndBirths(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		drops          bool // series that are idle
		want           []int64
		err            string
	}{
		{"grown", "envoy_http_rbac 2\n", "envoy_http_rbac 5\n", false, []int64{3}, ""},
		{"unchanged", "envoy_http_rbac 2\n", "envoy_http_rbac 2\n", false, []int64{0}, ""},
		{"born in between", "", "envoy_http_rbac 4\n", false, []int64{4}, ""},
		{"reset", "envoy_http_rbac 7\n", "envoy_http_rbac 2\n", false, []int64{2}, ""},
		{"vanished", "envoy_http_rbac 7\n", "", false, nil, "vanished"},
		{"dropped for idleness", "envoy_http_rbac 7\n", "", true, nil, ""},
		{"dropped for idleness, and used again", "envoy_http_rbac 7\n", "envoy_http_rbac 3\n", true, []int64{3}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, err := parsePage(startLine+c.from, istioDialect{}.families())
			must(t, err)
			to, err := parsePage(startLine+c.to, istioDialect{}.families())
			must(t, err)
			got, err := increase(from, to, c.drops)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			var counts []int64
			for _, s := range got {
				counts = append(counts, s.count)
			}
			if err != nil || !slices.Equal(counts, c.want) {
				t.Errorf("%v %v, want %v", counts, err, c.want)
			}
		})
	}
	a, err := parsePage(startLine, nil)
	must(t, err)
	b, err := parsePage("process_start_time_seconds 11\n", nil)
	must(t, err)
	if _, err := increase(a, b, false); err == nil || !strings.Contains(err.Error(), "restarted") {
		t.Errorf("two epochs are taken for one: %v", err)
	}
}

func TestSidecarSetsOfIstio(t *testing.T) {
	for _, c := range []struct {
		name             string
		containers, init []string
		wrong            string
	}{
		{"classic", []string{"workload", "istio-proxy"}, []string{"istio-init"}, ""},
		{"native", []string{"workload"}, []string{"istio-init", "istio-proxy"}, ""},
		{"with the CNI plug-in", []string{"workload"}, []string{"istio-validation", "istio-proxy"}, ""},
		{"none", []string{"workload"}, nil, "no istio-proxy"},
		{"twice", []string{"workload", "istio-proxy"}, []string{"istio-init", "istio-proxy"}, "2 istio-proxy"},
		{"not captured", []string{"workload", "istio-proxy"}, nil, "may not be captured"},
		{"both meshes", []string{"workload", "istio-proxy", "linkerd-proxy"}, []string{"istio-init"}, "linkerd-proxy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := istioDialect{}.sidecars(&evidence.Pod{Containers: c.containers, InitContainers: c.init})
			if c.wrong == "" && got != "" || c.wrong != "" && !strings.Contains(got, c.wrong) {
				t.Errorf("%q, want %q", got, c.wrong)
			}
		})
	}
}

func FuzzXFCC(f *testing.F) {
	f.Add(`By=spiffe://td/b;Hash=ab;Subject="CN=a,O=\"b;c\"";URI=spiffe://td/a,By=x;URI=y`)
	f.Add(`"`)
	f.Add(`a="\`)
	f.Fuzz(func(t *testing.T, header string) {
		els, err := parseXFCC(header)
		if err != nil || strings.TrimSpace(header) == "" {
			return
		}
		from, to, err := xfccPeer(header)
		if err != nil {
			return
		}
		for _, id := range []string{from, to} {
			if id != "" && len(els) == 0 {
				t.Errorf("identity %q from no element", id)
			}
		}
		// What the receiver's proxy appends decides, whatever the sender put before it.
		if from, to, err := xfccPeer(header + ",By=spiffe://td/b;URI=spiffe://td/a"); err != nil || from != "spiffe://td/a" || to != "spiffe://td/b" {
			t.Errorf("after %q the last element is read as %q, %q, %v", header, from, to, err)
		}
	})
}

func FuzzPage(f *testing.F) {
	f.Add(startLine + "envoy_http_rbac{authz_enforce_result=\"denied\",http_conn_manager_prefix=\"inbound_0.0.0.0_8080\"} 12\n")
	f.Add("# TYPE a histogram\na_bucket{le=\"1\"} 2\n")
	f.Add("a{\x00} 1")
	f.Fuzz(func(t *testing.T, body string) {
		p, err := parsePage(body, istioDialect{}.families())
		if err != nil {
			return
		}
		deltas, err := increase(p, p, false)
		if err != nil {
			t.Fatalf("a page against itself: %v", err)
		}
		for _, d := range deltas {
			if d.count != 0 {
				t.Errorf("%s grew by %d on the same page", d.key(), d.count)
			}
		}
		istioDialect{}.counts(deltas)
	})
}

func FuzzAccessLine(f *testing.F) {
	f.Add([]byte(`{"cipher":"TLS_AES_128_GCM_SHA256","code":403,"details":"rbac_access_denied_matched_policy[none]","id":"x","peer":"spiffe://a","tls":"TLSv1.3","upstream":null}`))
	f.Add([]byte(`{"code":0,"peer":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := istioDialect{}.access(json.RawMessage(line))
		if err != nil {
			return
		}
		again, err := istioDialect{}.access(accessJSON(a.id, a.peer, a.local, a.tls, a.code, a.details))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(a, again, cmp.AllowUnexported(accessLine{})); d != "" {
			t.Errorf("what was read does not read again:\n%s", d)
		}
	})
}
