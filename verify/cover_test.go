package verify

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// refusedLines are the counters of refused requests of workloads of the mesh on a page of Linkerd's.
func refusedLines(t *testing.T, body string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for line := range strings.Lines(body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.Contains(series, `tls="true"`) || !strings.HasPrefix(series, linkerdDeny) && !strings.HasPrefix(series, linkerdNoRoute) {
			continue
		}
		var n int64
		_, err := fmt.Sscan(value, &n)
		must(t, err)
		out[series] = n
	}
	return out
}

func TestAPodThatRefusedPlaintextAloneIsNotProvedForWorkloadsOfTheMesh(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshLinkerd))
	pages := map[string]map[string]*evidence.Scrape{"start": {}, "end": {}}
	var uids []string
	for _, s := range rec.Scrapes {
		if s.At.Service == "cart" && s.Window == "before/fresh" {
			pages[s.Edge][s.At.UID] = s
			if s.Edge == "start" {
				uids = append(uids, s.At.UID)
			}
		}
	}
	from, to := pages["end"][uids[0]], pages["end"][uids[1]]
	was, there := refusedLines(t, pages["start"][uids[0]].Body), refusedLines(t, to.Body)
	moved := int64(0)
	for series, n := range refusedLines(t, from.Body) {
		d := n - was[series]
		if _, ok := there[series]; !ok || d == 0 {
			continue
		}
		from.Body = strings.Replace(from.Body, fmt.Sprintf("%s %d\n", series, n), fmt.Sprintf("%s %d\n", series, was[series]), 1)
		to.Body = strings.Replace(to.Body, fmt.Sprintf("%s %d\n", series, there[series]), fmt.Sprintf("%s %d\n", series, there[series]+d), 1)
		moved += d
	}
	if moved == 0 {
		t.Fatal("nothing was refused there")
	}
	for _, c := range Evaluate(rec).Checks {
		if c.ID == "policy/cart" && (c.Verdict != Invalid || c.Reason != "NotCovered" || !strings.Contains(c.Message, "of workloads of the mesh to cart in proof window before/fresh")) {
			t.Errorf("%s %s: %s", c.Verdict, c.Reason, c.Message)
		}
	}
}

func TestARoundThatCoversMayRepeatAsksAndEachOfThemIsEvidence(t *testing.T) {
	for _, mesh := range []scenarios.MeshName{scenarios.MeshIstio, scenarios.MeshLinkerd} {
		repeat := func(window string) *evidence.Record {
			return goodRecord(t, testScenario(mesh), func(b *builder) {
				b.again = func(r Round) []Ask {
					if r.Name != window {
						return nil
					}
					for _, a := range r.Asks {
						if a.To == "cart" && !a.Allowed && a.From != scenarios.OutsiderName {
							a.Times = 4
							return []Ask{a}
						}
					}
					return nil
				}
			})
		}
		rec := repeat("after/fresh")
		expectPass(t, Evaluate(rec), "policy/cart")
		last := map[string]*evidence.Probe{}
		for _, p := range rec.Probes {
			if p.Window == "after/fresh" && p.To == "cart" {
				last[p.Role] = p // the last that was made is one of those repeated
			}
		}
		for role, p := range last {
			if v := verdicts(Evaluate(without(rec, p.Ref())))["policy/cart"]; !strings.HasPrefix(v, "INVALID") {
				t.Errorf("%s: without a repeated %s the policy is %s", mesh, role, v)
			}
		}
		expectCheck(t, Evaluate(repeat("after/established")), "policy/cart", Invalid, "NotAsked")
	}
}

func TestRefusalsAreCountedOfWorkloadsOfTheMeshAlone(t *testing.T) {
	const start = "process_start_time_seconds 1\n"
	deny := func(tls string, n int) string {
		return fmt.Sprintf("inbound_http_authz_deny_total{srv_port=\"8080\",%s} %d\n", tls, n)
	}
	for _, c := range []struct {
		name string
		mesh scenarios.MeshName
		body string
		want int64
	}{
		{"none yet", scenarios.MeshLinkerd, start, 0},
		{"plaintext", scenarios.MeshLinkerd, start + deny(`tls="no_identity"`, 7), 0},
		{"a workload", scenarios.MeshLinkerd, start + deny(`tls="true",client_id="a"`, 7), 7},
		{"layered", scenarios.MeshLayered, start + deny(`tls="true",client_id="a"`, 7), 7},
		{"no path for it", scenarios.MeshLinkerd, start + strings.Replace(deny(`tls="true",client_id="a"`, 3), "authz_deny", "route_not_found", 1), 3},
		{"istio", scenarios.MeshIstio, start + requestSeries("spiffe://a", "mutual_tls", 403) + " 5\n" + requestSeries("spiffe://a", "mutual_tls", 200) + " 9\n", 5},
		{"upstream Envoy", scenarios.MeshIstio, start + rbac("denied") + " 4\n", 4},
	} {
		if n, err := Refusals(c.mesh, c.body); err != nil || n != c.want {
			t.Errorf("%s: %d, %v; want %d", c.name, n, err, c.want)
		}
	}
	for _, body := range []string{"", "m 1\n", "process_start_time_seconds 1"} {
		if _, err := Refusals(scenarios.MeshLinkerd, body); err == nil {
			t.Errorf("%q is read as a page", body)
		}
	}
	if _, err := Refusals("consul", start); err == nil {
		t.Error("an unknown mesh has refusals")
	}
}
