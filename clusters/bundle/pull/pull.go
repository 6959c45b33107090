package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"helm.sh/helm/v4/pkg/getter"
	"helm.sh/helm/v4/pkg/registry"
	repo "helm.sh/helm/v4/pkg/repo/v1"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// Pull puts one item into the bundle in dir. An image that is there already is not fetched again: fresh is false.
// Registries are spoken to with the credentials of "docker login"; loopback addresses without TLS.
func Pull(ctx context.Context, dir string, it Item) (p bundle.Part, fresh bool, err error) {
	if it.Repo != "" || registry.IsOCI(it.Ref) {
		p, err = pullChart(ctx, dir, it)
		fresh = true
	} else {
		p, fresh, err = pullImage(ctx, dir, it)
	}
	if err != nil {
		return bundle.Part{}, false, fmt.Errorf("pulling %s: %w", it.Ref, err)
	}
	return p, fresh, nil
}

func pullImage(ctx context.Context, dir string, it Item) (bundle.Part, bool, error) {
	ref, err := name.ParseReference(it.Ref)
	if err != nil {
		return bundle.Part{}, false, err
	}
	img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		return bundle.Part{}, false, err
	}
	p, err := bundle.Describe(it.Ref, "registry "+ref.Context().Name(), img)
	if err != nil {
		return bundle.Part{}, false, err
	}
	if it.Part != "" {
		p.Name = it.Part
	}
	id, err := img.ConfigName()
	if err != nil {
		return bundle.Part{}, false, err
	}
	if b, err := bundle.Open(dir); err == nil {
		all, _ := b.Named(p.Name) // none, then it is fetched
		for _, old := range all {
			if old.ImageID == id.String() && old.Refs[0] == p.Refs[0] && b.Check(ctx, old) == nil {
				return old, false, nil
			}
		}
	}
	p, err = bundle.PutImage(ctx, dir, p, img)
	return p, true, err
}

func pullChart(ctx context.Context, dir string, it Item) (bundle.Part, error) {
	address, sum, err := find(it)
	if err != nil {
		return bundle.Part{}, err
	}
	if err := ctx.Err(); err != nil { // Helm's libraries take no context
		return bundle.Part{}, err
	}
	text, err := get(address)
	if err != nil {
		return bundle.Part{}, err
	}
	if err := ctx.Err(); err != nil {
		return bundle.Part{}, err
	}
	if got := sha256.Sum256(text); sum != "" && hex.EncodeToString(got[:]) != sum {
		return bundle.Part{}, fmt.Errorf("%s: SHA-256 is %x, the repository's index says %s", address, got, sum)
	}
	return bundle.PutChart(ctx, dir, "chart repository "+address, "", func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text)), nil
	})
}

// find is where a chart is, and its SHA-256 in hex where the repository says it.
func find(it Item) (address, sum string, err error) {
	if it.Repo == "" {
		return it.Ref, "", nil // the registry's manifest has the digest, which Helm checks
	}
	chart, version, ok := strings.Cut(it.Ref, ":")
	if !ok || chart == "" || version == "" {
		return "", "", errors.New("a chart of a repository is named NAME:VERSION")
	}
	tmp, err := os.MkdirTemp("", "meshproof-charts-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(tmp)
	r, err := repo.NewChartRepository(&repo.Entry{Name: "pull", URL: it.Repo}, getter.Getters())
	if err != nil {
		return "", "", err
	}
	r.CachePath = tmp
	path, err := r.DownloadIndexFile()
	if err != nil {
		return "", "", fmt.Errorf("reading the chart repository %s: %w", it.Repo, err)
	}
	index, err := repo.LoadIndexFile(path)
	if err != nil {
		return "", "", fmt.Errorf("reading the chart repository %s: %w", it.Repo, err)
	}
	found, err := index.Get(chart, version)
	if err != nil || len(found.URLs) == 0 {
		return "", "", fmt.Errorf("the chart repository %s has no chart %s of version %s", it.Repo, chart, version)
	}
	address, err = repo.ResolveReferenceURL(it.Repo, found.URLs[0])
	return address, strings.TrimPrefix(found.Digest, "sha256:"), err
}

// get fetches a chart.
func get(address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	g, err := getter.Getters(getter.WithPlainHTTP(loopback(u.Hostname()))).ByScheme(u.Scheme)
	if err != nil {
		return nil, err
	}
	b, err := g.Get(address, getter.WithURL(address))
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", address, err)
	}
	return b.Bytes(), nil
}

// loopback says whether a host is this one, which needs no TLS.
func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
