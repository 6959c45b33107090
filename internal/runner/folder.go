package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Names inside a run's folder.
const (
	EvidenceDir  = "evidence"
	ScenarioFile = "scenario.yaml"
	LogFile      = "meshproof.log"
	JournalFile  = "journal.jsonl"
	latestLink   = "latest"
)

// newFolder makes <out>/<scenario>-<UTC time>.
func newFolder(out, scenario string, now time.Time) (dir, id string, err error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", "", fmt.Errorf("creating the output folder %q: %w: choose another with --out", out, pathCause(err))
	}
	base := scenario + "-" + now.UTC().Format("20060102T150405Z")
	for i := 1; ; i++ {
		id = base
		if i > 1 { // a second run within the same second
			id = fmt.Sprintf("%s-%d", base, i)
		}
		dir = filepath.Join(out, id)
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) && i < 1000 {
			continue
		}
		if err != nil {
			return "", "", fmt.Errorf("creating the run's folder in %s: %w: choose another with --out", out, pathCause(err))
		}
		return dir, id, nil
	}
}

// pointLatest replaces out/latest in one step. Whatever else stands there under that name is left alone.
func pointLatest(out, id string) error {
	link := filepath.Join(out, latestLink)
	if st, err := os.Lstat(link); err == nil && st.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	tmp := filepath.Join(out, "."+latestLink+"-"+id)
	if err := os.Symlink(id, tmp); err != nil {
		return fmt.Errorf("pointing %s at the run: %w", link, pathCause(err))
	}
	if err := os.Rename(tmp, link); err != nil {
		return errors.Join(fmt.Errorf("pointing %s at the run: %w", link, pathCause(err)), os.Remove(tmp))
	}
	return nil
}

// pathCause is the cause without the path, which the message around it already names.
func pathCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}
