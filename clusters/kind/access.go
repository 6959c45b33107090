package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/meshproof/meshproof/evidence"
)

// accessLog takes the access log of one pod's Envoy from its container's log.
type accessLog struct {
	*containerLog

	mu    sync.Mutex
	first []byte // line of the log, by which one of another process is known
	at    int    // lines read of the log since it was opened
	seen  int    // lines read of it before
	lines uint64 // of the access log, of this process
	moved chan struct{}
}

func newAccessLog(c *cluster, ref evidence.PodRef, container string) *accessLog {
	a := &accessLog{containerLog: newContainerLog(c, ref, container), moved: make(chan struct{})}
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

// drain waits until every line is here that the proxy has written so far. Envoy counts them, and counts what it has not
// flushed yet.
func (a *accessLog) drain(ctx context.Context) {
	lost := func(n uint64, why string) { a.missing(a.source(), evidence.Accesses, n, why) }
	var w written
	for {
		page, err := a.c.page(ctx, a.ref.Namespace, a.ref.Pod)
		if err == nil {
			w, err = readWritten(page)
		}
		if err != nil {
			lost(0, fmt.Sprintf("how many lines the proxy has logged is not known: %v", err))
			return
		}
		if w.buffered == 0 {
			break
		}
		if sleep(ctx, flushAgain); ctx.Err() != nil {
			lost(0, fmt.Sprintf("the proxy has not flushed %d bytes of its access log", w.buffered))
			return
		}
	}
	for {
		a.mu.Lock()
		n, moved := a.lines, a.moved
		a.mu.Unlock()
		if n >= w.lines {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			lost(w.lines-n, fmt.Sprintf("the proxy has logged %d requests, and its log has %d", w.lines, n))
			return
		}
	}
}

// flushAgain is how soon a proxy is asked again that has not flushed its log. Envoy does it each second.
const flushAgain = 200 * time.Millisecond

// written is how far an Envoy is with its access log.
type written struct {
	lines    uint64 // written by requests
	buffered uint64 // bytes of them that are not in the file yet
}

var (
	writtenLines    = regexp.MustCompile(`(?m)^envoy_filesystem_write_buffered(?:\{\})? (\d+)$`)
	writtenBuffered = regexp.MustCompile(`(?m)^envoy_filesystem_write_total_buffered(?:\{\})? (\d+)$`)
)

// readWritten reads it from a metric page.
func readWritten(page []byte) (written, error) {
	var w written
	for _, v := range []struct {
		at *regexp.Regexp
		to *uint64
	}{{writtenLines, &w.lines}, {writtenBuffered, &w.buffered}} {
		m := v.at.FindSubmatch(page)
		if m == nil {
			return w, fmt.Errorf("its metrics have no %s", v.at)
		}
		n, err := strconv.ParseUint(string(m[1]), 10, 64)
		if err != nil {
			return w, fmt.Errorf("its metrics: %w", err)
		}
		*v.to = n
	}
	return w, nil
}
