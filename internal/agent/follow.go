package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

// maxLine bounds a line of an attack's answer, in bytes: a phase has three histograms, and two for each outcome, of at most
// 512 KiB each.
const maxLine = 16 << 20

// Follow reads the answer to an AttackCommand to its end. Records go to sink as they come; progress may be nil. The error wraps clusters.ErrSenderLost where the answer was cut off, or the pod was told to
// end. An attack that a StopCommand ended is no error.
func Follow(r io.Reader, sink evidence.Sink, progress func(loadgen.Progress)) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	records := 0
	take := func(item evidence.Item) error {
		records++
		return sink.Append(item)
	}
	for in.Scan() {
		var l AttackLine
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			// The last line of an answer that was cut off has no end; any other says something that no agent says.
			return fmt.Errorf("%w: line %d of what it says cannot be read: %w", clusters.ErrSenderLost, records+1, err)
		}
		var err error
		switch {
		case l.Tick != nil:
			err = take(l.Tick)
		case l.Phase != nil:
			err = take(l.Phase)
		case l.Progress != nil && progress != nil:
			progress(*l.Progress)
		case l.End != nil:
			return l.End.outcome(records)
		}
		if err != nil {
			return fmt.Errorf("recording what the sender says: %w", err)
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("%w: %w", clusters.ErrSenderLost, err)
	}
	return fmt.Errorf("%w: its connection ended before it had said all", clusters.ErrSenderLost)
}

// outcome is the error of an attack that ended so, after that many records arrived.
func (e *AttackEnd) outcome(arrived int) error {
	switch {
	case e.Records != arrived:
		return fmt.Errorf("%w: it made %d records, and %d arrived", clusters.ErrSenderLost, e.Records, arrived)
	case e.Lost != nil:
		return &clusters.LostSender{Whole: e.Lost.Whole, Err: errors.New(strings.Join(e.Lost.Why, "; "))}
	case e.Ending:
		return fmt.Errorf("%w: %s", clusters.ErrSenderLost, e.Error)
	case e.Error != "" && !e.Stopped:
		return errors.New(e.Error)
	}
	return nil
}
