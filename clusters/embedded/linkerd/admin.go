package linkerd

import (
	"bufio"
	"net/http"
	"strings"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// kubeletPeriod is that of the probes that the injector writes.
const kubeletPeriod = 10 * time.Second

// serveAdmin is port 4191, which is inbound traffic like any other: policy holds for it, and whoever reads the metrics is
// counted in them.
func (p *linkerdProxy) serveAdmin(w http.ResponseWriter, r *http.Request) {
	in := p.newInbound(w, r, p.config.Load().admin, adminTarget, tlsState{})
	if c, ok := relay.ConnOf(r.Context()).(*relay.Conn); ok {
		c.First.Do(func() {
			p.opened(c, labels("").with("direction", "inbound", "peer", "src").and(adminTarget).and(in.tls.labels()).and(in.policy.labels()))
		})
	}
	if !in.authorize() {
		return
	}
	var page strings.Builder
	code := http.StatusOK
	switch r.URL.Path {
	case "/metrics":
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		if err := p.metrics.write(&page); err != nil {
			code = http.StatusInternalServerError
		}
	case "/live":
		page.WriteString("live\n")
	case "/ready":
		page.WriteString("ready\n")
	default:
		code = http.StatusNotFound
	}
	in.finish(code, false)
	w.WriteHeader(code)
	_, _ = w.Write([]byte(page.String())) // a reader that left is no matter
}

// kubelet asks as the kubelet does: the startup probe once, then the liveness probe.
func (p *linkerdProxy) kubelet() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	path := "/ready"
	for {
		select {
		case <-p.Context().Done():
			return
		case <-timer.C:
		}
		p.probe(path)
		path = "/live"
		timer.Reset(kubeletPeriod)
	}
}

func (p *linkerdProxy) probe(path string) {
	c, err := p.DialTCP(p.Context(), p.Metrics())
	if err != nil {
		return // the process ends
	}
	defer c.Close()
	req, err := http.NewRequestWithContext(p.Context(), http.MethodGet, "http://"+p.Metrics()+path, http.NoBody)
	if err != nil {
		return
	}
	req.Close = true
	if req.Write(c) != nil {
		return
	}
	if resp, err := http.ReadResponse(bufio.NewReader(c), req); err == nil {
		resp.Body.Close()
	}
}
