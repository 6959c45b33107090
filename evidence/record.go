package evidence

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// maxLine bounds one record while reading: the longest true ones are metric pages of a few MiB.
const maxLine = 64 << 20

// ErrNoRecord is wrapped by Open where the folder holds no manifest.
var ErrNoRecord = errors.New("no record of a run here")

// Record is a record that was read, as far as it goes.
type Record struct {
	Manifest Manifest
	// Sealed says that the run came to its end and sealed its record.
	Sealed bool
	// Root is the seal's hash over all; empty where there is none.
	Root string
	// Problems says what makes the record less than whole, apart from a missing seal: changed files, lines that do not
	// read. Empty for a good record.
	Problems []string

	Requests   []*Request
	Probes     []*Probe
	Handshakes []*Handshake
	Accesses   []*Access
	Scrapes    []*Scrape
	Pods       []*Pod
	Faults     []*Fault
	Ticks      []*Tick
	Phases     []*Phase
	Usages     []*Usage
	Events     []*Event
}

// Open reads the record in dir. A record that a crash cut off reads up to the last whole line of each stream; one of a
// schema that this version does not know is refused by that schema's name.
func Open(dir string) (*Record, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w (there is no %s)", dir, ErrNoRecord, manifestFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	r := &Record{}
	var v struct {
		SchemaVersion string `json:"schemaVersion"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("%s is not readable: %w", filepath.Join(dir, manifestFile), err)
	}
	if v.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("the record has schema %q; this version reads %q: use the version of meshproof that made it", v.SchemaVersion, SchemaVersion)
	}
	if err := json.Unmarshal(b, &r.Manifest); err != nil {
		return nil, fmt.Errorf("%s is not readable: %w", filepath.Join(dir, manifestFile), err)
	}
	r.Sealed, r.Root, r.Problems = checkSeal(dir)
	for _, s := range Streams {
		if err := r.readStream(dir, s); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// readStream reads the segments of one stream in order.
func (r *Record) readStream(dir string, s Stream) error {
	names, err := filepath.Glob(filepath.Join(dir, string(s)+"-*.jsonl"))
	if err != nil {
		return fmt.Errorf("listing %s: %w", s, err)
	}
	sort.Strings(names)
	if len(names) == 0 && s != Usages {
		r.problem("%s: the stream is missing", s)
	}
	line := 0
	for i, name := range names {
		if want := segmentName(s, i+1); filepath.Base(name) != want {
			r.problem("%s: segment %s is missing", s, want)
		}
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("reading evidence: %w", err)
		}
		line, err = r.readSegment(f, s, line)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// readSegment reads whole lines; a last line without a newline is what a crash left of it and is dropped.
func (r *Record) readSegment(f io.Reader, s Stream, line int) (int, error) {
	br := bufio.NewReaderSize(f, 256<<10)
	var long []byte
	for {
		part, err := br.ReadSlice('\n')
		if len(long)+len(part) > maxLine {
			r.problem("%s:%d: longer than any record can be", s, line+1)
			return line, nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if errors.Is(err, io.EOF) {
			if len(long)+len(part) > 0 && r.Sealed {
				r.problem("%s:%d: cut off", s, line+1)
			}
			return line, nil
		}
		if err != nil {
			return line, err
		}
		b := part
		if len(long) > 0 {
			b = append(long, part...)
			long = nil
		}
		line++
		if len(bytes.TrimSpace(b)) == 0 {
			r.problem("%s:%d: empty line", s, line)
			continue
		}
		if err := r.add(s, line, b); err != nil {
			r.problem("%s:%d: not readable: %v", s, line, err)
		}
	}
}

func (r *Record) problem(format string, args ...any) {
	// A record of rubbish must not become a list of rubbish.
	if len(r.Problems) < 100 {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

func (r *Record) add(s Stream, line int, b []byte) error {
	switch s {
	case Requests:
		return read(&r.Requests, new(Request), s, line, b)
	case Probes:
		return read(&r.Probes, new(Probe), s, line, b)
	case Handshakes:
		return read(&r.Handshakes, new(Handshake), s, line, b)
	case Accesses:
		return read(&r.Accesses, new(Access), s, line, b)
	case Scrapes:
		return read(&r.Scrapes, new(Scrape), s, line, b)
	case Pods:
		return read(&r.Pods, new(Pod), s, line, b)
	case Faults:
		return read(&r.Faults, new(Fault), s, line, b)
	case Ticks:
		return read(&r.Ticks, new(Tick), s, line, b)
	case Phases:
		return read(&r.Phases, new(Phase), s, line, b)
	case Usages:
		return read(&r.Usages, new(Usage), s, line, b)
	case Events:
		return read(&r.Events, new(Event), s, line, b)
	}
	return fmt.Errorf("stream %q is not known", s)
}

func read[T Item](list *[]T, item T, s Stream, line int, b []byte) error {
	if err := json.Unmarshal(b, item); err != nil {
		return err
	}
	item.head().ref = Ref{Stream: s, Line: line}
	*list = append(*list, item)
	return nil
}

// items visits every item of the record, stream by stream.
func (r *Record) items(visit func(Stream, *Header)) {
	each(r.Requests, visit)
	each(r.Probes, visit)
	each(r.Handshakes, visit)
	each(r.Accesses, visit)
	each(r.Scrapes, visit)
	each(r.Pods, visit)
	each(r.Faults, visit)
	each(r.Ticks, visit)
	each(r.Phases, visit)
	each(r.Usages, visit)
	each(r.Events, visit)
}

func each[T Item](list []T, visit func(Stream, *Header)) {
	for _, i := range list {
		visit(i.StreamName(), i.head())
	}
}

// Gap is a loss of evidence: records that a producer made and that are not there, or a producer that never said how
// many it made.
type Gap struct {
	Trial   Trial
	Src     string
	Stream  Stream
	Message string
}

// Gaps holds the numbers of every producer's records against what it said at its end.
func (r *Record) Gaps() []Gap {
	type key struct {
		trial  Trial
		src    string
		stream Stream
	}
	type tally struct {
		numbers []uint64
		said    []uint64
	}
	tallies := map[key]*tally{}
	get := func(k key) *tally {
		if tallies[k] == nil {
			tallies[k] = &tally{}
		}
		return tallies[k]
	}
	r.items(func(s Stream, h *Header) {
		if h.Trial == (Trial{}) {
			return // of the run, not of a trial; the seal covers it
		}
		t := get(key{h.Trial, h.Src, s})
		t.numbers = append(t.numbers, h.N)
	})
	for _, e := range r.Events {
		if e.Kind == EventProducerEnd {
			t := get(key{e.Trial, e.Of, e.Stream})
			t.said = append(t.said, e.Count)
		}
	}
	var gaps []Gap
	for _, e := range r.Events {
		if e.Kind == EventLost {
			gaps = append(gaps, Gap{Trial: e.Trial, Src: e.Of, Stream: e.Stream, Message: fmt.Sprintf("records of %s by %s were lost on their way (%d): %s", e.Stream, e.Of, e.Count, e.Message)})
		}
	}
	for k, t := range tallies {
		g := Gap{Trial: k.trial, Src: k.src, Stream: k.stream}
		n, said := uint64(len(t.numbers)), uint64(0)
		if len(t.said) > 0 {
			said = t.said[0]
		}
		switch {
		case k.src == writerSrc:
			if !oneByOne(t.numbers) {
				g.Message = "ends of producers are missing, or stand there twice"
			}
		case len(t.said) == 0:
			g.Message = fmt.Sprintf("%s never said how many records of %s it made: the run was cut off", k.src, k.stream)
		case len(t.said) > 1:
			g.Message = fmt.Sprintf("%s said %d times how many records of %s it made, in different places of the record", k.src, len(t.said), k.stream)
		case n < said:
			g.Message = fmt.Sprintf("%d of %d records of %s by %s are missing", said-n, said, k.stream, k.src)
		case n != said || !oneByOne(t.numbers):
			g.Message = fmt.Sprintf("the records of %s by %s are not numbered as they were made", k.stream, k.src)
		}
		if g.Message != "" {
			gaps = append(gaps, g)
		}
	}
	sort.Slice(gaps, func(i, j int) bool {
		a, b := gaps[i], gaps[j]
		if a.Trial != b.Trial {
			return a.Trial.String() < b.Trial.String()
		}
		if a.Src != b.Src {
			return a.Src < b.Src
		}
		return strings.Compare(string(a.Stream), string(b.Stream)) < 0
	})
	return gaps
}

// oneByOne reports whether numbers are those from 1 on, each of them once, in whatever order.
func oneByOne(numbers []uint64) bool {
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != uint64(i)+1 {
			return false
		}
	}
	return true
}

// Round is the one rule by which derived floats are rounded before they are decided on or written: six significant
// decimal digits, so that two machines agree.
func Round(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	v, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 6, 64), 64)
	if err != nil {
		return x // cannot happen: FormatFloat writes what ParseFloat reads
	}
	return v
}
