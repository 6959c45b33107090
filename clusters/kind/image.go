package kind

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"

	"github.com/meshproof/meshproof/internal/workload"
)

// agentInImage is where the agent is in its image, which holds nothing else.
const agentInImage = "meshproof-agent"

// agentImage makes the archive of the image that workloads run: the same bytes for the same binary.
func agentImage(binary string) ([]byte, error) {
	failed := func(err error) ([]byte, error) { return nil, fmt.Errorf("making the image of %s: %w", binary, err) }
	b, err := os.ReadFile(binary)
	if err != nil {
		return failed(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: agentInImage, Mode: 0o755, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
		return failed(err)
	}
	if _, err := w.Write(b); err != nil {
		return failed(err)
	}
	if err := w.Close(); err != nil {
		return failed(err)
	}
	// Not compressed: it goes from this host to a container on it.
	l := static.NewLayer(layer.Bytes(), types.DockerUncompressedLayer)
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return failed(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return failed(err)
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = runtime.GOARCH, "linux"
	file.Config = v1.Config{Entrypoint: []string{"/" + agentInImage}, User: "65532:65532"}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return failed(err)
	}
	tag, err := name.NewTag(workload.Image)
	if err != nil {
		return failed(err)
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, img, &archive); err != nil {
		return failed(err)
	}
	return archive.Bytes(), nil
}

// loadImage brings an archive of an image onto the nodes of a cluster.
func loadImage(ctx context.Context, cluster, ref string, open func() (io.ReadCloser, error)) error {
	list, err := kindcluster.NewProvider(kindcluster.ProviderWithDocker()).ListInternalNodes(cluster)
	if err != nil {
		return fmt.Errorf("listing the nodes of %s: %w", cluster, err)
	}
	return all(list, func(n nodes.Node) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		archive, err := open()
		if err != nil {
			return fmt.Errorf("loading the image %s onto node %s: %w", ref, n, err)
		}
		if err := errors.Join(nodeutils.LoadImageArchive(n, archive), archive.Close()); err != nil {
			return fmt.Errorf("loading the image %s onto node %s: %w%s", ref, n, err, outputOf(err))
		}
		return nil
	})
}
