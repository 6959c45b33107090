// Package journal keeps, outside of any run's own folder, what a run is about
// to change and how to undo it. An entry is on disk before the change is made,
// so that after a crash or kill -9 at any moment "meshproof clean" knows what
// may be left. Files are readable by their owner only.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Operations of an Entry.
const (
	opBegin  = "begin"  // the run began
	opIntend = "intend" // a change is about to be made
	opSettle = "settle" // it was undone
	opEnd    = "end"    // the run ended and left nothing
)

// Entry is one line of a journal.
type Entry struct {
	Seq    int               `json:"seq"`
	T      time.Time         `json:"t"`
	Op     string            `json:"op"`
	Of     int               `json:"of,omitempty"`     // settle: Seq of the intent
	What   string            `json:"what,omitempty"`   // begin: the run's ID
	Driver string            `json:"driver,omitempty"` // begin: who can undo it
	Undo   map[string]string `json:"undo,omitempty"`   // what it needs for that
}

// Dir is where journals live: $XDG_STATE_HOME/meshproof/journal, or ~/.local/state/meshproof/journal.
func Dir() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" || !filepath.IsAbs(state) { // the XDG specification says to ignore relative paths
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding a place for the journal: %w: set XDG_STATE_HOME", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "meshproof", "journal"), nil
}

// Journal is the open journal of one run. It is safe for concurrent use.
type Journal struct {
	path string

	mu   sync.Mutex
	file *os.File
	seq  int
	open map[int]bool
}

// Open begins the journal of a run with a driver in dir and locks it for as long as the process lives.
func Open(dir, run, driver string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the journal's folder: %w: make it writable or set XDG_STATE_HOME", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-%d.jsonl", run, os.Getpid()))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating the journal: %w: make its folder writable or set XDG_STATE_HOME", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the journal %s: %w", path, err), f.Close())
	}
	j := &Journal{path: path, file: f, open: map[int]bool{}}
	if _, err := j.write(Entry{Op: opBegin, What: run, Driver: driver}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// Intend writes down a change before it is made. settle is called when the change has been undone, or was not made.
func (j *Journal) Intend(what string, undo map[string]string) (settle func() error, err error) {
	seq, err := j.write(Entry{Op: opIntend, What: what, Undo: undo})
	if err != nil {
		return nil, err
	}
	return func() error {
		_, err := j.write(Entry{Op: opSettle, Of: seq, What: what})
		return err
	}, nil
}

// Close ends the journal. When every change was settled the file is removed; otherwise it stays for clean.
// copyTo, unless empty, gets a copy without what undoing needs.
func (j *Journal) Close(copyTo string) error {
	j.mu.Lock()
	left := len(j.open)
	j.mu.Unlock()
	var errs []error
	if left == 0 {
		if _, err := j.write(Entry{Op: opEnd}); err != nil {
			errs = append(errs, err)
		}
	}
	if copyTo != "" {
		errs = append(errs, j.redact(copyTo))
	}
	if left == 0 {
		errs = append(errs, os.Remove(j.path))
	}
	return errors.Join(append(errs, j.file.Close())...)
}

func (j *Journal) write(e Entry) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	e.Seq, e.T = j.seq, time.Now().UTC()
	b, err := json.Marshal(e)
	if err != nil {
		return 0, fmt.Errorf("encoding a journal entry: %w", err)
	}
	if _, err := j.file.Write(append(b, '\n')); err != nil {
		return 0, fmt.Errorf("writing the journal %s: %w", j.path, err)
	}
	if err := j.file.Sync(); err != nil {
		return 0, fmt.Errorf("writing the journal %s: %w", j.path, err)
	}
	switch e.Op {
	case opIntend:
		j.open[e.Seq] = true
	case opSettle:
		delete(j.open, e.Of)
	}
	return e.Seq, nil
}

func (j *Journal) redact(to string) error {
	es, err := read(j.path)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for _, e := range es {
		e.Undo = nil
		if err := enc.Encode(e); err != nil {
			return fmt.Errorf("copying the journal: %w", err)
		}
	}
	if err := os.WriteFile(to, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("copying the journal: %w", err)
	}
	return nil
}

// Leftover is the journal of a run that did not end by itself.
type Leftover struct {
	Path    string
	Run     string
	Driver  string  // who can undo it
	Running bool    // its process is alive: nothing of it may be touched
	Intents []Entry // changes that were not settled, newest first: the order in which to undo them
}

// Leftovers lists the journals in dir, oldest first.
func Leftovers(dir string) ([]Leftover, error) {
	es, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal's folder: %w: make it readable or set XDG_STATE_HOME", err)
	}
	var ls []Leftover
	for _, e := range es {
		if filepath.Ext(e.Name()) != ".jsonl" {
			continue
		}
		l, err := leftover(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // its run has just ended
		}
		if err != nil {
			return nil, err
		}
		ls = append(ls, l)
	}
	return ls, nil
}

func leftover(path string) (Leftover, error) {
	l := Leftover{Path: path, Run: filepath.Base(path)}
	f, err := os.Open(path)
	if err != nil {
		return l, fmt.Errorf("reading a journal: %w", err)
	}
	defer f.Close()
	// The lock goes with the process, however it ended.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		l.Running = true
	}
	entries, err := read(path)
	if err != nil {
		return l, err
	}
	open := map[int]Entry{}
	for _, e := range entries {
		switch e.Op {
		case opBegin:
			l.Run, l.Driver = e.What, e.Driver
		case opIntend:
			open[e.Seq] = e
		case opSettle:
			delete(open, e.Of)
		}
	}
	for _, e := range open {
		l.Intents = append(l.Intents, e)
	}
	sort.Slice(l.Intents, func(i, k int) bool { return l.Intents[i].Seq > l.Intents[k].Seq })
	return l, nil
}

// Remove forgets a leftover whose changes are undone.
func (l Leftover) Remove() error {
	if err := os.Remove(l.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a journal: %w", err)
	}
	return nil
}

// read reads a journal up to its last whole line.
func read(path string) ([]Entry, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a journal: %w", err)
	}
	var es []Entry
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var e Entry
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			break // cut off by a crash
		}
		es = append(es, e)
	}
	return es, nil
}
