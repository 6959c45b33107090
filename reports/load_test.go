package reports

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

func TestNothingOfALoadReachesItsPageUnescaped(t *testing.T) {
	h := evidence.NewHistogram()
	evidence.RecordMicros(h, 5)
	text, err := evidence.EncodeHistogram(h)
	if err != nil {
		t.Fatal(err)
	}
	const x = `<script>alert(1)</script>"'&`
	p := &evidence.Phase{
		Phase: x, Done: 1, Offered: 1, ForMicros: 1e6, Codes: map[string]int{x: 1}, Intended: text, Service: text, Lag: text,
		Outcomes: map[string]evidence.Outcome{x: {Done: 1, Intended: text, Service: text}}, Generators: []evidence.Generator{{CPUs: 1, Micros: 1}},
	}
	k := &evidence.Tick{Micros: 1e6, Offered: 1, Done: 1, Latency: text}
	l := BuildLoad(LoadRun{Version: x, URL: x, Method: x, Ticks: []*evidence.Tick{k}}, &verify.Alone{
		Verdict: verify.Verdict(x), Reason: x, Message: x, Phases: []*evidence.Phase{p}, Whole: p,
		Checks: []verify.Check{{ID: x, Verdict: verify.Verdict(x), Message: x, Observed: x, Limit: x}},
	})
	var page, doc bytes.Buffer
	if err := l.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script") || !strings.Contains(page.String(), "&lt;script&gt;") {
		t.Error("the page has a script of the record's")
	}
	if l.Heat == nil || len(l.Heat.Columns) != 1 {
		t.Errorf("heat: %+v", l.Heat)
	}
	if err := l.JSON(&doc); err != nil || !json.Valid(doc.Bytes()) {
		t.Errorf("%v", err)
	}
}

func TestAHeatMapCountsEveryRequestOnce(t *testing.T) {
	var ticks []*evidence.Tick
	want := int64(0)
	for i := range int64(1000) { // 250 seconds: several to a column
		h := evidence.NewHistogram()
		for j := range i % 7 {
			evidence.RecordMicros(h, 1+i*j*j*37)
			want++
		}
		k := &evidence.Tick{AtMicros: i * 250_000, Micros: 250_000}
		if err := evidence.SetLatency(k, h, h.Max()); err != nil {
			t.Fatal(err)
		}
		ticks = append(ticks, k)
	}
	m := heatOf(ticks)
	got := int64(0)
	for _, c := range m.Columns {
		if len(c.Counts) != len(m.EdgesMicros)-1 {
			t.Fatalf("%d counts, %d edges", len(c.Counts), len(m.EdgesMicros))
		}
		for _, n := range c.Counts {
			got += n
		}
	}
	if got != want || len(m.Columns) > maxHeat || len(m.Columns) < maxHeat/2 {
		t.Errorf("%d requests in %d columns, want %d", got, len(m.Columns), want)
	}
	if heatOf(nil) != nil {
		t.Error("nothing has a map")
	}
}
