package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/meshproof/meshproof/evidence"
)

// recorder writes lines. Each is written whole before the request that it is about is answered.
type recorder struct {
	process string

	mu  sync.Mutex
	w   io.Writer
	n   uint64
	err error // of a line that may have been written in part: nothing can follow it
}

// newRecorder writes the first line, by which a follower knows the process.
func newRecorder(w io.Writer, process string) (*recorder, error) {
	r := &recorder{process: process, w: w}
	return r, r.write(Line{})
}

// record implements what workload.NewHandler asks for.
func (r *recorder) record(req *evidence.Request) error { return r.write(Line{Request: req}) }

func (r *recorder) end() error { return r.write(Line{End: true}) }

func (r *recorder) write(l Line) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	l.Process, l.N = r.process, r.n+1
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encoding a record: %w", err)
	}
	if _, err := r.w.Write(append(b, '\n')); err != nil {
		r.err = fmt.Errorf("writing a record: %w", err)
		return r.err
	}
	r.n++
	return nil
}

func (r *recorder) last() Last {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Last{Process: r.process, N: r.n}
}
