package kind

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// FromBundle finds the image of nodes in a bundle, and brings it into Docker where it is not there; it is for
// Config.NodeImage.
func FromBundle(dir string) func(ctx context.Context) (ref string, err error) {
	return func(ctx context.Context) (string, error) {
		b, err := bundle.Open(dir)
		if err != nil {
			return "", err
		}
		for _, p := range b.Parts() {
			if p.Kind == bundle.NodeImage {
				return p.Refs[0], load(ctx, b, p)
			}
		}
		return "", errors.New("the bundle " + dir + " has no image of nodes: run `meshproof bundle build --only node`")
	}
}

// load brings an image into Docker, unless it is there: by its digest, not by its name, which an image of another bundle
// may have.
func load(ctx context.Context, b *bundle.Bundle, p bundle.Part) error {
	out, err := Docker(ctx, "image", "inspect", "--format", "{{.ID}}", p.Refs[0])
	if err == nil && strings.TrimSpace(out) == p.ImageID {
		return nil
	}
	if err := b.Check(ctx, p); err != nil {
		return err
	}
	if _, err := Docker(ctx, "load", "--quiet", "--input", b.Path(p)); err != nil {
		return fmt.Errorf("loading the image of nodes into Docker: %w", err)
	}
	return nil
}
