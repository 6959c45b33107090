package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The files of a report.
const (
	HTMLFile    = "report.html"
	JSONFile    = "report.json"
	JUnitFile   = "junit.xml"
	SummaryFile = "summary.md"
)

// Write writes the four files of a report into dir, which must exist. All of them are rendered before the first is
// written, and each replaces an older one as a whole: a reader never sees half a file.
func Write(dir string, r *Report) error {
	var page bytes.Buffer
	if err := HTML(&page, r); err != nil {
		return err
	}
	doc, err := encode(r)
	if err != nil {
		return err
	}
	tests, err := junit(r)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{JSONFile, doc}, {JUnitFile, tests}, {SummaryFile, summary(r)}, {HTMLFile, page.Bytes()}} {
		if err := replace(filepath.Join(dir, f.name), f.data); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Join(dir, f.name), causeOf(err))
		}
	}
	return nil
}

// encode writes report.json, with < and > as they are: it is a document of its own, never part of a page.
func encode(r *Report) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("encoding report.json: %w", err)
	}
	return b.Bytes(), nil
}

// replace writes a file under another name, and renames it when it is whole.
func replace(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(f.Name())))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// causeOf is the cause without the name of the file under way, which nobody knows.
func causeOf(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
