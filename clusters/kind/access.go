package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"sync"

	"github.com/meshproof/meshproof/evidence"
)

// accessLog takes the access log of one pod's Envoy from its container's log.
type accessLog struct {
	*containerLog
	proxy proxy

	mu    sync.Mutex
	first []byte // line of the log, by which one of another process is known
	at    int    // lines read of the log since it was opened
	seen  int    // lines read of it before
	lines uint64 // of the access log, of this process
	moved chan struct{}
}

func newAccessLog(c *cluster, ref evidence.PodRef, px proxy) *accessLog {
	a := &accessLog{containerLog: newContainerLog(c, ref, px.container), proxy: px, moved: make(chan struct{})}
	a.taker = a
	return a
}

// source names a proxy as a producer of evidence.
func (a *accessLog) source() string { return "proxy/" + a.ref.Cluster + "/" + a.ref.Pod }

// begin implements taker.
func (a *accessLog) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = 0
}

// over implements taker: a proxy ends with its pod.
func (a *accessLog) over() bool { return false }

// take implements taker. Lines that are no JSON objects are those of the agent and of Envoy itself.
func (a *accessLog) take(text []byte) error {
	a.mu.Lock()
	a.at++
	restarted := a.at == 1 && a.first != nil && !bytes.Equal(a.first, text)
	if a.at == 1 && (restarted || a.first == nil) {
		a.first, a.seen, a.lines = bytes.Clone(text), 0, 0
	}
	again := a.at <= a.seen
	a.seen = max(a.seen, a.at)
	line := bytes.TrimSpace(text)
	isLine := bytes.HasPrefix(line, []byte("{")) && json.Valid(line)
	if isLine && !again {
		a.lines++
		close(a.moved)
		a.moved = make(chan struct{})
	}
	a.mu.Unlock()
	if restarted {
		a.c.f.failed("the proxy of pod %s in cluster %s was restarted, and the run did not do it: %s", a.ref.Pod, a.c.name, a.stray())
	}
	switch {
	case again:
		return nil
	case !isLine:
		a.note(text)
		return nil
	}
	return a.c.f.append(&evidence.Access{Header: a.c.f.header(a.source()), At: a.ref, Line: bytes.Clone(line)})
}

// drain waits until every line is here that the proxy has written so far. Envoy counts them, before it flushes them.
func (a *accessLog) drain(ctx context.Context) {
	lost := func(n uint64, why string) { a.missing(a.source(), evidence.Accesses, n, why) }
	page, err := a.c.page(ctx, a.ref.Namespace, a.ref.Pod, a.proxy)
	want := uint64(0)
	if err == nil {
		want, err = writtenLines(page)
	}
	if err != nil {
		lost(0, fmt.Sprintf("how many requests the proxy has logged is not known: %v", err))
		return
	}
	for {
		a.mu.Lock()
		n, moved := a.lines, a.moved
		a.mu.Unlock()
		if n >= want {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			lost(want-n, fmt.Sprintf("the proxy has logged %d requests, and its log has %d of them", want, n))
			return
		}
	}
}

var (
	filesLines = regexp.MustCompile(`(?m)^envoy_filesystem_write_buffered(?:\{\})? (\d+)$`)
	adminLines = regexp.MustCompile(`(?m)^envoy_http_admin_downstream_rq_completed(?:\{\})? (\d+)$`)
)

// writtenLines reads from an Envoy's metric page how many lines it has written into its access log. It counts lines of
// all files together; the only other one is that of the administrative interface, which is asked for metrics and has a
// line for each answer.
func writtenLines(page []byte) (uint64, error) {
	var n [2]uint64
	for i, re := range []*regexp.Regexp{filesLines, adminLines} {
		m := re.FindSubmatch(page)
		if m == nil {
			return 0, fmt.Errorf("its metrics do not tell: none is like %s", re)
		}
		var err error
		if n[i], err = strconv.ParseUint(string(m[1]), 10, 64); err != nil {
			return 0, fmt.Errorf("reading its metrics: %w", err)
		}
	}
	if n[0] < n[1] {
		return 0, fmt.Errorf("its metrics count %d lines in all files, and %d in one of them", n[0], n[1])
	}
	return n[0] - n[1], nil
}
