package bundle

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
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// found is an image that a file holds, with a name that it has there.
type found struct {
	ref   string
	image v1.Image
}

// Add puts what a file holds into the bundle in dir: a packaged chart, the images of an archive of "docker save", or of
// an OCI image layout as folder or tar. Archives may be gzipped. Every layer is read and its digest compared before anything is put.
func Add(ctx context.Context, dir, path string) ([]Part, error) {
	source := "file " + filepath.Base(path)
	parts, err := add(ctx, dir, path, source)
	if err != nil {
		return nil, fmt.Errorf("adding %s: %w", path, err)
	}
	return parts, nil
}

func add(ctx context.Context, dir, path, source string) ([]Part, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		images, err := fromLayout(path)
		if err != nil {
			return nil, err
		}
		return addImages(ctx, dir, source, images)
	}
	tmp, err := os.MkdirTemp("", "meshproof-add-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	zipped, err := startsWith(path, "\x1f\x8b") // gzip's magic number
	if err != nil {
		return nil, err
	}
	if !zipped {
		return addArchive(ctx, dir, path, filepath.Join(tmp, "layout"), source)
	}
	plain := filepath.Join(tmp, "plain.tar")
	if err := gunzip(ctx, path, plain); err != nil {
		return nil, err
	}
	parts, err := addArchive(ctx, dir, plain, filepath.Join(tmp, "layout"), source)
	if !errors.Is(err, errNoImages) {
		return parts, err
	}
	p, err := PutChart(ctx, dir, source, "", func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		return nil, fmt.Errorf("%w, and no archive of images either", err)
	}
	return []Part{p}, nil
}

// errNoImages is that a file is no archive of images.
var errNoImages = errors.New("neither a chart, an archive of `docker save`, nor an OCI image layout")

// addArchive adds the images of an archive. tmp is a folder that is not there yet, for unpacking.
func addArchive(ctx context.Context, dir, path, tmp, source string) ([]Part, error) {
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	if manifest, err := tarball.LoadManifest(open); err == nil {
		images, err := fromDocker(open, manifest)
		if err != nil {
			return nil, err
		}
		return addImages(ctx, dir, source, images)
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return nil, err
	}
	err := untar(ctx, path, tmp)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	unpacked, readErr := os.ReadDir(tmp)
	if readErr != nil {
		return nil, readErr
	}
	if err != nil && len(unpacked) > 0 {
		return nil, fmt.Errorf("unpacking it: %w", err)
	}
	if !slices.ContainsFunc(unpacked, func(e fs.DirEntry) bool { return e.Name() == "index.json" }) {
		return nil, errNoImages
	}
	images, err := fromLayout(tmp)
	if err != nil {
		return nil, err
	}
	return addImages(ctx, dir, source, images)
}

// gunzip unpacks one file.
func gunzip(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(reader{ctx, in})
	if err != nil {
		return fmt.Errorf("truncated or damaged: %w", err)
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, z)
	var file *fs.PathError
	if err != nil && !errors.As(err, &file) && ctx.Err() == nil { // neither file's fault, but the content's
		err = fmt.Errorf("truncated or damaged: %w", err)
	}
	return errors.Join(err, out.Close())
}

// addImages validates all images, and then puts them.
func addImages(ctx context.Context, dir, source string, images []found) ([]Part, error) {
	if len(images) == 0 {
		return nil, errors.New("there is no image with a name in it: save it by name, as in `docker save -o FILE REPOSITORY:TAG`")
	}
	parts := map[string]Part{}
	var order []found // one for each part
	for _, f := range images {
		p, err := Describe(f.ref, source, f.image)
		if err != nil {
			return nil, err
		}
		if old, ok := parts[p.Name]; ok {
			if same, err := equal(f.image, order, old.Name); err != nil || !same {
				return nil, errors.Join(err, fmt.Errorf("two images in it would both be the part %q: %s and %s", p.Name, old.Refs[0], f.ref))
			}
			old.Refs = append(old.Refs, p.Refs...)
			parts[p.Name] = old
			continue
		}
		if err := validate.Image(f.image); err != nil {
			return nil, fmt.Errorf("image %s is damaged: %w", f.ref, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		parts[p.Name] = p
		order = append(order, found{p.Name, f.image})
	}
	var out []Part
	for _, f := range order {
		p, err := PutImage(ctx, dir, parts[f.ref], f.image)
		if err != nil {
			return out, err
		}
		out = append(out, p)
	}
	return out, nil
}

// equal says whether an image is the one that was found for a part.
func equal(img v1.Image, images []found, part string) (bool, error) {
	for _, f := range images {
		if f.ref == part {
			a, err1 := img.ConfigName()
			b, err2 := f.image.ConfigName()
			return a == b, errors.Join(err1, err2)
		}
	}
	return false, nil
}

// fromDocker finds the images of an archive of "docker save".
func fromDocker(open tarball.Opener, m tarball.Manifest) ([]found, error) {
	var out []found
	for _, d := range m {
		for _, ref := range d.RepoTags {
			tag, err := name.NewTag(ref)
			if err != nil {
				return nil, fmt.Errorf("image %q: %w", ref, err)
			}
			img, err := tarball.Image(open, &tag)
			if err != nil {
				return nil, fmt.Errorf("image %s: %w", ref, err)
			}
			out = append(out, found{tag.Name(), img})
		}
	}
	return out, nil
}

// Annotations by which tools name the images of a layout: containerd and Docker the first; the second is OCI's, and
// often holds a tag alone.
var nameAnnotations = []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"}

// fromLayout finds the named images of an OCI image layout, for this machine's architecture where there are several.
func fromLayout(dir string) ([]found, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("not an OCI image layout: %w", err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("not an OCI image layout: %w", err)
	}
	var out []found
	for _, d := range m.Manifests {
		ref := ""
		for _, a := range nameAnnotations {
			if v := d.Annotations[a]; ref == "" && strings.ContainsAny(v, "/:") {
				ref = v
			}
		}
		if ref == "" {
			continue
		}
		img, err := pick(index, d)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", ref, err)
		}
		out = append(out, found{ref, img})
	}
	return out, nil
}

// pick opens an image, or that of an index which is for this machine.
func pick(in v1.ImageIndex, d v1.Descriptor) (v1.Image, error) {
	if d.MediaType.IsImage() {
		return in.Image(d.Digest)
	}
	index, err := in.ImageIndex(d.Digest)
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range m.Manifests {
		if d.Platform != nil && d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH {
			return pick(index, d)
		}
	}
	return nil, fmt.Errorf("there is none for linux/%s", runtime.GOARCH)
}

// startsWith says whether a file begins so.
func startsWith(path, prefix string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := make([]byte, len(prefix))
	if _, err := io.ReadFull(f, b); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return string(b) == prefix, nil
}

// untar unpacks the folders and files of an archive into a folder, which os.Root keeps it in.
func untar(ctx context.Context, path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for t := tar.NewReader(reader{ctx, f}); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		to := filepath.FromSlash(h.Name)
		if err := root.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		out, err := root.Create(to)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, t)
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}
