package bundle

import (
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

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
		return tarball.MultiRefWrite(images, w)
	})
}
