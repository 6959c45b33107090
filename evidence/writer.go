package evidence

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"
)

const (
	manifestFile = "manifest.json"
	sealFile     = "seal.json"

	// segmentBytes is where a stream's segment ends and the next begins.
	segmentBytes = 64 << 20
	// flushEvery bounds what a kill -9 can lose.
	flushEvery = 100 * time.Millisecond
)

// Writer writes a record. It is safe for concurrent use. After the first error of the file system every call returns
// that error: a record with holes would be worse than none.
type Writer struct {
	dir     string
	streams map[Stream]*segment
	stop    chan struct{}
	done    chan struct{}

	mu  sync.Mutex
	err error
}

// segment is the open segment of one stream, with the numbers of its producers.
type segment struct {
	mu    sync.Mutex
	dir   string
	name  Stream
	index int
	bytes int64
	file  *os.File
	buf   *bufio.Writer
	last  map[producer]uint64
}

type producer struct {
	trial Trial
	src   string
}

// Create makes dir and writes the manifest into it. It fails where dir already holds a record.
func Create(dir string, m Manifest) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the evidence folder: %w", err)
	}
	m.SchemaVersion = SchemaVersion
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the manifest: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, manifestFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("creating the manifest: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	w := &Writer{dir: dir, streams: map[Stream]*segment{}, stop: make(chan struct{}), done: make(chan struct{})}
	for _, s := range Streams {
		seg := &segment{dir: dir, name: s, last: map[producer]uint64{}}
		if err := seg.open(); err != nil {
			return nil, err
		}
		w.streams[s] = seg
	}
	go w.flushLoop()
	return w, nil
}

// Append implements Sink.
func (w *Writer) Append(item Item) error {
	if err := w.failed(); err != nil {
		return err
	}
	return w.fail(w.streams[item.StreamName()].append(item))
}

// EndTrial writes how many records every producer of the trial has made. Nothing may be appended to the trial after it.
func (w *Writer) EndTrial(t Trial) error {
	type end struct {
		src    string
		stream Stream
		n      uint64
	}
	var ends []end
	for _, s := range Streams {
		seg := w.streams[s]
		seg.mu.Lock()
		for p, n := range seg.last {
			if p.trial == t {
				ends = append(ends, end{p.src, s, n})
			}
		}
		seg.mu.Unlock()
	}
	sort.Slice(ends, func(i, j int) bool {
		if ends[i].src != ends[j].src {
			return ends[i].src < ends[j].src
		}
		return ends[i].stream < ends[j].stream
	})
	for _, e := range ends {
		ev := &Event{Header: Header{Trial: t, Src: writerSrc}, Kind: EventProducerEnd, Of: e.src, Stream: e.stream, Count: e.n}
		if err := w.Append(ev); err != nil {
			return err
		}
	}
	return nil
}

// writerSrc is the producer of the producer-end events.
const writerSrc = "writer"

// Seal ends the record with the hash over all its files. The Writer is closed afterwards.
func (w *Writer) Seal() error {
	if err := w.Close(); err != nil {
		return err
	}
	s := Seal{SchemaVersion: SchemaVersion, Sealed: time.Now().UTC()}
	names, err := recordFiles(w.dir)
	if err != nil {
		return fmt.Errorf("listing the evidence folder: %w", err)
	}
	for _, n := range names {
		h, size, err := hashFile(filepath.Join(w.dir, n))
		if err != nil {
			return fmt.Errorf("sealing %s: %w", n, err)
		}
		s.Files = append(s.Files, SealedFile{Name: n, Bytes: size, SHA256: h})
	}
	s.Root = s.root()
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the seal: %w", err)
	}
	tmp := filepath.Join(w.dir, sealFile+".tmp")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the seal: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(w.dir, sealFile)); err != nil {
		return fmt.Errorf("writing the seal: %w", err)
	}
	return nil
}

// Close writes what is buffered and closes all files, without a seal. It may be called more than once.
func (w *Writer) Close() error {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	<-w.done
	for _, s := range Streams {
		_ = w.fail(w.streams[s].close())
	}
	return w.failed()
}

func (w *Writer) flushLoop() {
	defer close(w.done)
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-t.C:
			for _, s := range Streams {
				_ = w.fail(w.streams[s].flush())
			}
		}
	}
}

func (w *Writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) fail(err error) error {
	if err == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = fmt.Errorf("writing evidence: %w", err)
	}
	return w.err
}

func segmentName(s Stream, index int) string { return fmt.Sprintf("%s-%04d.jsonl", s, index) }

func (s *segment) open() error {
	s.index++
	f, err := os.OpenFile(filepath.Join(s.dir, segmentName(s.name, s.index)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("creating a segment of evidence: %w", err)
	}
	s.file, s.bytes = f, 0
	s.buf = bufio.NewWriterSize(f, 64<<10)
	return nil
}

var errClosed = errors.New("the record is closed")

func (s *segment) append(item Item) error {
	h := item.head()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return errClosed
	}
	p := producer{h.Trial, h.Src}
	s.last[p]++
	h.N = s.last[p]
	if h.T.IsZero() {
		h.T = time.Now()
	}
	h.T = h.T.UTC()
	b, err := json.Marshal(item)
	if err != nil {
		return fmt.Errorf("encoding a record of %s: %w", s.name, err)
	}
	if s.bytes+int64(len(b)) >= segmentBytes {
		if err := s.closeFile(); err != nil {
			return err
		}
		if err := s.open(); err != nil {
			return err
		}
	}
	s.bytes += int64(len(b)) + 1
	if _, err := s.buf.Write(b); err != nil {
		return err
	}
	return s.buf.WriteByte('\n')
}

func (s *segment) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.buf.Flush()
}

func (s *segment) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.closeFile()
}

func (s *segment) closeFile() error {
	err := errors.Join(s.buf.Flush(), s.file.Close())
	s.file = nil
	return err
}

func hashFile(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}
