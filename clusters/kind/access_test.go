package kind

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

func testAccessLog(t *testing.T) (*accessLog, *sink) {
	t.Helper()
	s := &sink{}
	f := newFleet(clusters.Spec{Trial: evidence.Trial{Block: 1, Mesh: "istio"}, Sink: s, Mesh: "istio"}, t.TempDir())
	return newAccessLog(&cluster{f: f, name: "east"}, evidence.PodRef{Cluster: "east", Pod: "shop-1", UID: "u"}, istio{}.proxies()[0]), s
}

func TestAnAccessLogIsTakenOnceAmongWhatElseTheProxySays(t *testing.T) {
	const (
		agent  = "2026-11-23T13:10:55.1Z\tinfo\tFLAG: --domain=\"app.svc.cluster.local\"\n"
		agent2 = "2026-11-23T13:12:55.1Z\tinfo\tFLAG: --domain=\"app.svc.cluster.local\"\n"
		a      = `{"code":200,"id":"a"}` + "\n"
		b      = `{"code":403,"id":"b"}` + "\n"
	)
	for _, tt := range []struct {
		name  string
		reads [][]string // each from the log's beginning
		want  []string
		lines uint64
		stray string
	}{
		{"once", [][]string{{agent, a, b}}, []string{a, b}, 2, agent},
		{"read again", [][]string{{agent, a}, {agent, a, b}}, []string{a, b}, 2, agent},
		{"a line that is cut off", [][]string{{agent, `{"code":2` + "\n", b}}, []string{b}, 1, agent + `{"code":2` + "\n"},
		{"the same request twice", [][]string{{agent, a, a}}, []string{a, a}, 2, agent},
		{"another process", [][]string{{agent, a}, {agent2, b}}, []string{a, "restarted", b}, 1, agent + agent2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, s := testAccessLog(t)
			for _, lines := range tt.reads {
				l.begin()
				for _, text := range lines {
					if err := l.take([]byte(text)); err != nil {
						t.Fatal(err)
					}
				}
			}
			var got []string
			for _, i := range s.items {
				switch i := i.(type) {
				case *evidence.Access:
					if i.Src != "proxy/east/shop-1" || i.At.UID != "u" {
						t.Errorf("recorded as of %s, %+v", i.Src, i.At)
					}
					got = append(got, string(i.Line)+"\n")
				case *evidence.Event:
					got = append(got, "restarted")
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if l.lines != tt.lines || string(l.stray()) != tt.stray {
				t.Errorf("%d lines, stray %q", l.lines, l.stray())
			}
		})
	}
}

func TestHowManyRequestsAProxyLoggedIsToldByItsMetrics(t *testing.T) {
	// Of a real sidecar.
	page := "# TYPE envoy_filesystem_write_buffered counter\nenvoy_filesystem_write_buffered{} 857\n" +
		"# TYPE envoy_http_admin_downstream_rq_completed counter\nenvoy_http_admin_downstream_rq_completed{} 17\n"
	if n, err := writtenLines([]byte(page)); err != nil || n != 840 {
		t.Errorf("%d lines, %v", n, err)
	}
	for name, change := range map[string][2]string{
		"no count of lines":          {"envoy_filesystem_write_buffered{} 857\n", ""},
		"no count of its own":        {"envoy_http_admin_downstream_rq_completed{} 17\n", ""},
		"more of its own than lines": {" 857", " 16"},
		"no count":                   {" 857", " 99999999999999999999"},
	} {
		if n, err := writtenLines([]byte(strings.Replace(page, change[0], change[1], 1))); err == nil {
			t.Errorf("%s: %d lines", name, n)
		}
	}
}

func FuzzTakeAccess(f *testing.F) {
	f.Add([]byte(`{"code":200}`))
	f.Add([]byte("2026 info\n"))
	l := newAccessLog(&cluster{f: newFleet(clusters.Spec{Sink: &sink{}}, f.TempDir())}, evidence.PodRef{}, istio{}.proxies()[0])
	f.Fuzz(func(_ *testing.T, text []byte) {
		l.begin()
		_ = l.take(text)
		_, _ = writtenLines(text)
	})
}
