package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// nodeEntrypoint is the entry point of every node image of kind, by which one is known.
var nodeEntrypoint = []string{"/usr/local/bin/entrypoint", "/sbin/init"}

// Describe makes a part of an image that somebody else published under a reference with a tag: its name is the
// repository's path, its version the tag. A node image of kind is named "node".
func Describe(ref, source string, img v1.Image) (Part, error) {
	fail := func(err error) (Part, error) { return Part{}, fmt.Errorf("image %s: %w", ref, err) }
	tag, err := tagOf(ref)
	if err != nil {
		return fail(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return fail(fmt.Errorf("reading its configuration: %w", err))
	}
	if config.OS != "linux" || config.Architecture != runtime.GOARCH {
		return fail(fmt.Errorf("it is for %s/%s, this machine's clusters need linux/%s", config.OS, config.Architecture, runtime.GOARCH))
	}
	p := Part{
		Name: strings.NewReplacer("/", "-", "_", "-").Replace(tag.RepositoryStr()), Kind: Image, Version: tag.TagStr(),
		Source: source, Refs: []string{canonical(tag)},
	}
	if slices.Equal(config.Config.Entrypoint, nodeEntrypoint) {
		p.Name, p.Kind = "node", NodeImage
	}
	return p, nil
}

// tagOf reads a reference with a tag; a digest after the tag is left out.
func tagOf(ref string) (name.Tag, error) {
	ref, _, _ = strings.Cut(ref, "@")
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return name.Tag{}, fmt.Errorf("nodes know images by names with a tag (REPOSITORY:TAG): %w", err)
	}
	return tag, nil
}

// canonical is a reference as container runtimes write it, with registry and tag.
func canonical(tag name.Tag) string {
	if tag.RegistryStr() == name.DefaultRegistry {
		return "docker.io/" + tag.RepositoryStr() + ":" + tag.TagStr()
	}
	return tag.Name()
}

// PutImage writes an image into the bundle in dir as images/NAME.tar, in the format of "docker save". Name, Kind,
// Version, Source and Refs of p are the caller's.
func PutImage(ctx context.Context, dir string, p Part, img v1.Image) (Part, error) {
	id, err := img.ConfigName()
	if err != nil {
		return Part{}, fmt.Errorf("part %q: reading the image's configuration: %w", p.Name, err)
	}
	images := map[name.Reference]v1.Image{}
	for _, r := range p.Refs {
		ref, err := name.NewTag(r)
		if err != nil {
			return Part{}, fmt.Errorf("part %q: an image is loaded under names with a tag: %w", p.Name, err)
		}
		images[ref] = img
	}
	p.ImageID, p.File = id.String(), "images/"+p.Name+".tar"
	return Put(ctx, dir, p, func(w io.Writer) error {
		return errors.Join(tarball.MultiRefWrite(images, writer{ctx, w}), ctx.Err())
	})
}

// writer ends with its context.
type writer struct {
	ctx context.Context
	w   io.Writer
}

func (w writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}
