package build

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of every file in every layer, so that equal files make equal layers.
var epoch = time.Unix(0, 0).UTC()

// layer is an image's layer in a file, gzipped. Digests are computed once, when it is written.
type layer struct {
	path string
	sums layerSums
}

type layerSums struct {
	Digest string `json:"digest"` // of the file
	DiffID string `json:"diffID"` // of the tar inside
	Size   int64  `json:"size"`   // of the file, in bytes
}

func (l *layer) Digest() (v1.Hash, error)            { return v1.NewHash(l.sums.Digest) }
func (l *layer) DiffID() (v1.Hash, error)            { return v1.NewHash(l.sums.DiffID) }
func (l *layer) Size() (int64, error)                { return l.sums.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return types.DockerLayer, nil }
func (l *layer) Compressed() (io.ReadCloser, error)  { return os.Open(l.path) }

func (l *layer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// writeLayer writes a layer to path and its digests beside it, for readLayer.
func writeLayer(path string, fill func(*layerWriter) error) (*layer, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("writing a layer: %w", err)
	}
	packed, plain := sha256.New(), sha256.New()
	size := &counter{}
	z, err := gzip.NewWriterLevel(io.MultiWriter(f, packed, size), gzip.BestSpeed)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t := tar.NewWriter(io.MultiWriter(z, plain))
	err = fill(&layerWriter{t})
	if err := errors.Join(err, t.Close(), z.Close(), f.Close()); err != nil {
		return nil, fmt.Errorf("writing the layer %s: %w", path, err)
	}
	l := &layer{path, layerSums{
		Digest: "sha256:" + hex.EncodeToString(packed.Sum(nil)),
		DiffID: "sha256:" + hex.EncodeToString(plain.Sum(nil)),
		Size:   size.n,
	}}
	b, err := json.Marshal(l.sums)
	if err != nil {
		return nil, err
	}
	return l, os.WriteFile(path+".json", b, 0o644)
}

// readLayer opens a layer that writeLayer wrote.
func readLayer(path string) (*layer, error) {
	b, err := os.ReadFile(path + ".json")
	if err != nil {
		return nil, fmt.Errorf("reading a layer: %w", err)
	}
	l := &layer{path: path}
	if err := json.Unmarshal(b, &l.sums); err != nil {
		return nil, fmt.Errorf("reading the layer %s: %w", path, err)
	}
	return l, nil
}

// counter counts bytes.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// layerWriter adds files to a layer. Paths are relative to the root, with slashes; the parents that a layer does not
// have are made by whoever unpacks it.
type layerWriter struct{ t *tar.Writer }

// folder adds a folder.
func (w *layerWriter) folder(path string, mode int64) error {
	return w.t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: mode, ModTime: epoch})
}

// text adds a file with a content.
func (w *layerWriter) text(path string, mode int64, content []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: int64(len(content)), ModTime: epoch}
	if err := w.t.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.t.Write(content)
	return err
}

// file adds a file of the host.
func (w *layerWriter) file(path string, mode int64, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return w.stream(path, mode, st.Size(), f)
}

// stream adds a file of size bytes.
func (w *layerWriter) stream(path string, mode, size int64, from io.Reader) error {
	if err := w.t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: size, ModTime: epoch}); err != nil {
		return err
	}
	_, err := io.Copy(w.t, from)
	return err
}

// link adds a symbolic link.
func (w *layerWriter) link(path, target string) error {
	return w.t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: path, Linkname: target, Mode: 0o777, ModTime: epoch})
}

// programs adds programs from a folder under the same names.
func (w *layerWriter) programs(to, from string, names ...string) error {
	for _, n := range names {
		if err := w.file(to+"/"+n, 0o755, filepath.Join(from, n)); err != nil {
			return err
		}
	}
	return nil
}
