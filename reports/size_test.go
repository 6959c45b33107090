package reports

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

// TestThePageOfAHugeRunStaysUsable holds four meshes in six blocks, each with as much as the flagship has and a load
// of ten minutes, to a size that opens at once.
func TestThePageOfAHugeRunStaysUsable(t *testing.T) {
	const most = 6 << 20
	rec, res := &evidence.Record{Manifest: manifestOf(fourMeshes, 6), Sealed: true}, &verify.Result{Verdict: verify.Pass, Modelled: true}
	services := []string{"shop", "cart", "catalog", "checkout", "payment", "stock"}
	for b := 1; b <= 6; b++ {
		for mi, mesh := range fourMeshes {
			tr := evidence.Trial{Block: b, Mesh: mesh}
			res.Trials = append(res.Trials, verify.Trial{Trial: tr, Verdict: verify.Pass, Message: "everything that was expected was proved"})
			for i := range 60 {
				kind := kindOrder[i%len(kindOrder)]
				subject := fmt.Sprintf("buyers/phase-%d/p99", i)
				var used []evidence.Ref
				for line := range 200 {
					used = append(used, evidence.Ref{Stream: evidence.Requests, Line: line + 1})
				}
				res.Checks = append(res.Checks, verify.Check{
					ID: kind + "/" + subject, Kind: kind, Subject: subject, Trial: tr, Verdict: verify.Pass, Reason: "Proved", Observed: fmt.Sprintf("%d.%dms", 20+i+mi, b), Limit: "250ms",
					Message: "every request from shop to cart was under mutual TLS, 2400 of them, with the right identity on both sides", Used: used,
					Witnesses: []verify.Witness{{Name: "workload record", Verdict: verify.Pass, Message: "2400 requests with the right peer identity", Used: used}, {Name: "proxy metrics", Verdict: verify.Pass, Message: "2400 requests under mutual TLS", Used: used}},
				})
			}
			for _, from := range append([]string{"ingress", "outsider"}, services...) {
				for _, to := range services {
					for k := range 4 {
						for _, cluster := range []string{"east", "west"} {
							for _, conn := range []string{"fresh", "established"} {
								res.Cells = append(res.Cells, verify.Cell{
									ID: fmt.Sprint(from, to, k, cluster, conn), Trial: tr, From: from, Cluster: cluster, To: to, Method: "GET", Path: fmt.Sprintf("/items/%d", k),
									Connection: conn, Expected: "refused", Observed: "refused", Status: "403", Verdict: verify.Pass,
								})
							}
						}
					}
				}
			}
			for i := range int64(2400) {
				rec.Ticks = append(rec.Ticks, &evidence.Tick{
					Header: evidence.Header{Trial: tr}, Traffic: "buyers", Phase: "spike", AtMicros: i * 250000, Micros: 250000,
					Offered: 100 + i%37, Sent: 100 + i%37, Done: 100, Errors: i % 11, P50Micros: 5000 + i*7919%4001, P99Micros: 20000 + i*7907%90001,
				})
			}
		}
	}
	var page bytes.Buffer
	if err := HTML(&page, Build(rec, res)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB", float64(page.Len())/(1<<20))
	if page.Len() > most {
		t.Errorf("the page has %d bytes, want at most %d", page.Len(), most)
	}
}
