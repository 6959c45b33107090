package kind

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/evidence"
)

const (
	// strayKept is how much of what is no record is kept, in bytes: the end of a panic.
	strayKept = 2 << 10
	// followAgain is the pause before a log is opened again that ended before its pod.
	followAgain = 100 * time.Millisecond
)

// taker is what somebody makes of a container's log.
type taker interface {
	// begin says that the log is read from its first line on, perhaps again.
	begin()
	// take takes one line, with its end.
	take(line []byte) error
	// over reports whether nothing more will come, though the pod may go on.
	over() bool
}

// containerLog follows the log of one container of a pod, from the first line on.
type containerLog struct {
	taker     taker
	c         *cluster
	ref       evidence.PodRef
	container string
	ended     chan struct{} // closed when nothing more will come
	podGone   chan struct{} // closed when the pod has ended
	once      sync.Once

	strayMu sync.Mutex
	rest    []byte // the end of what was no record
}

func newContainerLog(c *cluster, ref evidence.PodRef, container string) *containerLog {
	return &containerLog{c: c, ref: ref, container: container, ended: make(chan struct{}), podGone: make(chan struct{})}
}

// gone says that the pod has ended: what its log still has is read, and that is all.
func (l *containerLog) gone() { l.once.Do(func() { close(l.podGone) }) }

// run follows until the pod or ctx has ended.
func (l *containerLog) run(ctx context.Context) {
	defer close(l.ended)
	for ctx.Err() == nil {
		err := l.read(ctx)
		select {
		case <-l.podGone:
			return
		default:
		}
		if l.taker.over() {
			return
		}
		if err != nil {
			l.note([]byte(err.Error() + "\n"))
		}
		sleep(ctx, followAgain)
	}
}

// read reads the log once from its beginning to where it ends now.
func (l *containerLog) read(ctx context.Context) error {
	opts := &corev1.PodLogOptions{Container: l.container, Follow: true}
	log, err := l.c.client.CoreV1().Pods(l.ref.Namespace).GetLogs(l.ref.Pod, opts).Stream(ctx)
	if err != nil {
		return fmt.Errorf("following the log of pod %s in cluster %s: %w", l.ref.Pod, l.c.name, err)
	}
	defer func() { _ = log.Close() }()
	l.taker.begin()
	r := bufio.NewReaderSize(log, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if err == nil {
			if err := l.taker.take(line); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil // half a line is read again, or was never finished
		}
		return err
	}
}

// missing records that a producer's records are missing.
func (l *containerLog) missing(src string, stream evidence.Stream, n uint64, why string) {
	_ = l.c.f.append(&evidence.Event{
		Header: l.c.f.header("cluster/" + l.c.name), Kind: evidence.EventLost, At: l.ref,
		Of: src, Stream: stream, Count: n, Message: why,
	})
}

// note keeps the end of what is no record, for people.
func (l *containerLog) note(text []byte) {
	l.strayMu.Lock()
	defer l.strayMu.Unlock()
	l.rest = append(l.rest, text...)
	l.rest = l.rest[max(0, len(l.rest)-strayKept):]
}

func (l *containerLog) stray() []byte {
	l.strayMu.Lock()
	defer l.strayMu.Unlock()
	return bytes.Clone(l.rest)
}

// wait waits until nothing more will come.
func (l *containerLog) wait(ctx context.Context) {
	select {
	case <-l.ended:
	case <-ctx.Done():
	}
}
