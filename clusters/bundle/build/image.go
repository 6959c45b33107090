package build

import (
	"fmt"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// assemble makes an image of layers.
func assemble(config v1.Config, layers ...*layer) (v1.Image, error) {
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux", Created: v1.Time{Time: epoch},
		Config: config, RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, fmt.Errorf("assembling an image: %w", err)
	}
	for _, l := range layers {
		img, err = mutate.Append(img, mutate.Addendum{
			Layer: l, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "meshproof bundle build"},
		})
		if err != nil {
			return nil, fmt.Errorf("assembling an image: %w", err)
		}
	}
	return img, nil
}

// searchPath is the PATH of images whose entry point is a name.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
