package verify

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func TestAnEpochIsCountedAsFarAsItWasScraped(t *testing.T) {
	type scrape struct {
		uid, edge string
		start, n  int // n < 0: the scrape failed
	}
	type want struct {
		uid   string
		n     int64
		whole bool
	}
	for _, c := range []struct {
		name    string
		stood   []string
		scrapes []scrape
		want    []want
	}{
		{"from edge to edge", []string{"a"}, []scrape{{"a", "start", 1, 5}, {"a", "", 1, 6}, {"a", "end", 1, 9}}, []want{{"a", 4, true}}},
		{"a pod that ended", []string{"a"}, []scrape{{"a", "start", 1, 5}, {"a", "", 1, 7}}, []want{{"a", 2, false}}},
		{"a pod that ended unseen", []string{"a"}, []scrape{{"a", "start", 1, 5}}, []want{{"a", 0, false}}},
		{"a pod that came", nil, []scrape{{"b", "", 2, 3}, {"b", "end", 2, 4}}, []want{{"b", 4, true}}},
		{"a pod that came and went", nil, []scrape{{"b", "", 2, 3}}, []want{{"b", 3, false}}},
		{"a process that was restarted in its pod", []string{"a"}, []scrape{{"a", "start", 1, 5}, {"a", "", 2, 1}, {"a", "end", 2, 3}}, []want{{"a", 0, false}, {"a", 2, false}}},
		{"a pod whose first scrape failed counts no older requests", []string{"a"}, []scrape{{"a", "start", 1, -1}, {"a", "", 1, 7}, {"a", "end", 1, 9}}, []want{{"a", 2, false}}},
		{"a counter that was dropped and came back", []string{"a"}, []scrape{{"a", "start", 1, 5}, {"a", "", 1, 2}, {"a", "end", 1, 3}}, []want{{"a", 3, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &trial{d: linkerdDialect{}, s: testScenario(scenarios.MeshLinkerd), pages: map[*evidence.Scrape]*parsed{}}
			var stood []*evidence.Pod
			for _, uid := range c.stood {
				stood = append(stood, &evidence.Pod{At: evidence.PodRef{UID: uid}})
			}
			var scrapes []*evidence.Scrape
			for i, s := range c.scrapes {
				sc := &evidence.Scrape{
					Header: evidence.Header{T: testEpoch.Add(time.Duration(i) * time.Second)}, At: evidence.PodRef{UID: s.uid}, Edge: s.edge,
					Body: fmt.Sprintf("process_start_time_seconds %d\n%s %d\n", s.start, l5dAllowed(l5dShop), s.n),
				}
				if s.n < 0 {
					sc.Body, sc.Error = "", "connection refused"
				}
				scrapes = append(scrapes, sc)
			}
			var got []want
			for _, e := range x.epochs(scrapes, stood) {
				w := want{uid: e.at.UID, whole: e.whole}
				for _, r := range x.d.counts(e.deltas).requests {
					w.n += r.n
				}
				got = append(got, w)
			}
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(want{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
