package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

const manifestFile = "manifest.json"

// ErrNoBundle is that a folder holds no bundle.
var ErrNoBundle = errors.New("there is no bundle")

// howToGet is the remedy of most errors.
const howToGet = "run `meshproof bundle build`, or `meshproof bundle pull` on a host with a network"

// Bundle is an open bundle. What it knows is the manifest at the time of Open.
type Bundle struct {
	dir string
	m   manifest
}

// DefaultDir is where commands look for a bundle: $XDG_DATA_HOME/meshproof/bundle, or ~/.local/share/meshproof/bundle.
func DefaultDir() (string, error) {
	data := os.Getenv("XDG_DATA_HOME")
	if data == "" || !filepath.IsAbs(data) { // the XDG specification says to ignore relative paths
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding a place for the bundle: %w: set XDG_DATA_HOME, or name a folder with --dir", err)
		}
		data = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(data, "meshproof", "bundle"), nil
}

// Open reads the manifest of the bundle in dir. It reads no part; see Check and Verify. The error is ErrNoBundle where
// dir or its manifest does not exist.
func Open(dir string) (*Bundle, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s: %s", ErrNoBundle, dir, howToGet)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bundle: %w", err)
	}
	m, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("opening the bundle %s: %w", filepath.Join(dir, manifestFile), err)
	}
	return &Bundle{dir: dir, m: m}, nil
}

// Dir is the bundle's folder.
func (b *Bundle) Dir() string { return b.dir }

// Parts are all parts, by name and version.
func (b *Bundle) Parts() []Part { return slices.Clone(b.m.Parts) }

// Part finds a part by its name; of several versions the one that was built, or else the first.
func (b *Bundle) Part(name string) (Part, error) {
	all, err := b.Named(name)
	if err != nil {
		return Part{}, err
	}
	return all[max(0, slices.IndexFunc(all, func(p Part) bool { return p.Inputs != "" }))], nil
}

// Image finds the part that is loaded under a reference, which may leave out what container runtimes complete: the
// registry docker.io and the tag latest.
func (b *Bundle) Image(ref string) (Part, error) {
	tag, err := name.NewTag(ref)
	if err != nil {
		return Part{}, fmt.Errorf("finding image %q in the bundle %s: %w", ref, b.dir, err)
	}
	for _, p := range b.m.Parts {
		if slices.Contains(p.Refs, canonical(tag)) {
			return p, nil
		}
	}
	return Part{}, fmt.Errorf("the bundle %s has no image %q: %s", b.dir, ref, howToGet)
}

// Path is where a part's file is.
func (b *Bundle) Path(p Part) string { return filepath.Join(b.dir, filepath.FromSlash(p.File)) }

// Check reads a part's file and compares size and digest with the manifest.
func (b *Bundle) Check(ctx context.Context, p Part) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("part %q (%s): %w", p.Name, b.Path(p), fmt.Errorf(format, args...))
	}
	f, err := os.Open(b.Path(p))
	if errors.Is(err, fs.ErrNotExist) {
		return fail("the file is missing: get the part anew")
	}
	if err != nil {
		return fail("%w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fail("%w", err)
	}
	switch {
	case !st.Mode().IsRegular():
		return fail("not a regular file: get the part anew")
	case st.Size() < p.Size:
		return fail("truncated: %d of %d bytes are there: get the part anew", st.Size(), p.Size)
	case st.Size() > p.Size:
		return fail("wrong size: %d bytes, the manifest says %d: get the part anew", st.Size(), p.Size)
	}
	sum, _, err := digest(ctx, f)
	if err != nil {
		return fail("%w", err)
	}
	if sum != p.SHA256 {
		return fail("wrong digest: SHA-256 is %s, the manifest says %s: get the part anew", sum, p.SHA256)
	}
	return nil
}

// Verify checks every part, and that there is no file that the manifest does not know. It returns all errors.
func (b *Bundle) Verify(ctx context.Context) error {
	known := map[string]bool{manifestFile: true, lockFile: true}
	var errs []error
	for _, p := range b.m.Parts {
		known[p.File] = true
		errs = append(errs, b.Check(ctx, p))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	// Not filepath.WalkDir, which takes a folder that is a symbolic link for a file.
	err := fs.WalkDir(os.DirFS(b.dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !known[path] && !strings.Contains(d.Name(), partial) {
			errs = append(errs, fmt.Errorf("%s: the manifest does not know this file: remove it, or put it in with `meshproof bundle add`",
				filepath.Join(b.dir, filepath.FromSlash(path))))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// digest hashes what r gives, until ctx ends.
func digest(ctx context.Context, r io.Reader) (sum string, size int64, err error) {
	h := sha256.New()
	n, err := io.Copy(h, reader{ctx, r})
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
