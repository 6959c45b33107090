package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	lockFile = ".lock"    // held while the manifest is changed
	partial  = ".partial" // in the name of a file that is being written
)

// Put writes a part into the bundle in dir, which is made when it is not there; a part of the same name and version is
// replaced, and of what is built, and of images of nodes, there is one version alone.
// write gives the file's content; SHA256 and Size of p are filled in from it. The part is in the manifest only when its
// file is whole; several processes may put at once.
func Put(ctx context.Context, dir string, p Part, write func(io.Writer) error) (Part, error) {
	fail := func(err error) (Part, error) {
		return Part{}, fmt.Errorf("putting part %q into the bundle %s: %w", p.Name, dir, err)
	}
	path := filepath.Join(dir, filepath.FromSlash(p.File))
	if !filepath.IsLocal(filepath.FromSlash(p.File)) {
		return fail(fmt.Errorf("file: %q is no path inside the bundle", p.File))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+partial)
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	err = func() error {
		if err := errors.Join(write(f), f.Chmod(0o644), f.Sync()); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		p.SHA256, p.Size, err = digest(ctx, f)
		return err
	}()
	if err := errors.Join(err, f.Close()); err != nil {
		return fail(err)
	}
	if err := p.validate(); err != nil {
		return fail(err)
	}
	err = locked(dir, func() error {
		m := manifest{}
		switch b, err := Open(dir); {
		case err == nil:
			m = b.m
		case !errors.Is(err, ErrNoBundle):
			return err
		}
		for _, q := range m.Parts { // another version of it has the file of that name
			if q.Name == p.Name && q.File == p.File && !p.inPlaceOf(q) {
				p.File = fileOf(p.File, p.Version)
				path = filepath.Join(dir, filepath.FromSlash(p.File))
				break
			}
		}
		var old []string
		for _, q := range m.Parts {
			switch {
			case p.inPlaceOf(q) && q.File != p.File:
				old = append(old, filepath.Join(dir, filepath.FromSlash(q.File)))
			case !p.inPlaceOf(q) && q.File == p.File:
				return fmt.Errorf("file: %q is part %q's", p.File, q.Name)
			}
		}
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
		if err := save(dir, m.with(p)); err != nil {
			return err
		}
		for _, file := range old {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	return p, nil
}

// locked runs do while no other process changes the manifest.
func locked(dir string, do func() error) error {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return errors.Join(fmt.Errorf("locking %s: %w", f.Name(), err), f.Close())
	}
	return errors.Join(do(), f.Close())
}

// save replaces the manifest in one step.
func save(dir string, m manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, manifestFile+partial)
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, manifestFile))
}
