package build

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// chart is a chart's folder of a module, and how it is changed so that it installs what the bundle holds.
type chart struct {
	name string
	dir  string
	edit map[string][]replacement // by path inside
	// instead takes the place of all files in a folder of the chart.
	instead map[string]string
}

// replacement is of a whole line's text after its indentation. A line that is not there is an error: the chart changed.
type replacement struct{ line, by string }

// put packages the chart and puts it into the bundle.
func (c chart) put(ctx context.Context, j job, source string) error {
	path := filepath.Join(j.out, c.name+".tgz")
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("packaging the chart %s: %w", c.name, err)
	}
	if err := errors.Join(c.write(f), f.Close()); err != nil {
		return fmt.Errorf("packaging the chart %s: %w", c.name, err)
	}
	_, err = bundle.PutChart(ctx, j.bundle, source, j.key, func() (io.ReadCloser, error) { return os.Open(path) })
	return err
}

// write packages the chart as Helm does: one folder with the chart's name, in a gzipped tar.
func (c chart) write(to io.Writer) error {
	z := gzip.NewWriter(to)
	w := &layerWriter{tar.NewWriter(z)}
	left := len(c.edit)
	add := func(from, in string) error {
		return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			inside := filepath.ToSlash(filepath.Join(in, rel))
			if d.IsDir() {
				if _, ok := c.instead[inside]; ok && in == "" {
					return fs.SkipDir
				}
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if edits, ok := c.edit[inside]; ok {
				left--
				if text, err = replace(text, edits); err != nil {
					return fmt.Errorf("%s: %w", inside, err)
				}
			}
			return w.text(c.name+"/"+inside, 0o644, text)
		})
	}
	if err := add(c.dir, ""); err != nil {
		return err
	}
	for _, in := range sorted(c.instead) {
		if err := add(c.instead[in], in); err != nil {
			return err
		}
	}
	if left != 0 {
		return errors.New("a file that must be changed is not in the chart: this version of it is not known to meshproof")
	}
	return errors.Join(w.t.Close(), z.Close())
}

// replace replaces lines.
func replace(text []byte, edits []replacement) ([]byte, error) {
	lines := strings.Split(string(text), "\n")
	for _, e := range edits {
		found := false
		for i, l := range lines {
			bare := strings.TrimLeft(l, " ")
			if bare == e.line {
				lines[i], found = l[:len(l)-len(bare)]+e.by, true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no line %q: this version of the chart is not known to meshproof", e.line)
		}
	}
	return []byte(strings.Join(lines, "\n")), nil
}
