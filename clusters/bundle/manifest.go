package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// SchemaVersion is the version of manifest.json that this package writes. It reads no other.
const SchemaVersion = 1

// Kind says what a part is.
type Kind string

// The kinds of parts.
const (
	NodeImage Kind = "node-image" // a Kubernetes node for kind, with its control plane's images inside
	Image     Kind = "image"      // a container image to load into nodes
	Chart     Kind = "chart"      // a Helm chart
)

// Part is one file of a bundle.
type Part struct {
	Name    string `json:"name"` // with Version unique in the bundle
	Kind    Kind   `json:"kind"`
	Version string `json:"version"`
	Source  string `json:"source"` // where it came from: a module and its version, a registry's address, a file
	// Refs are the references under which an image is loaded; a chart has none.
	Refs []string `json:"refs,omitempty"`
	// ImageID is the digest of an image's configuration, "sha256:…": what a Docker engine shows as the image's ID.
	ImageID string `json:"imageID,omitempty"`
	// Inputs is a digest of all that a part was built from; a part that was pulled or added has none.
	Inputs string `json:"inputs,omitempty"`
	File   string `json:"file"`   // relative to the bundle's folder, with slashes
	SHA256 string `json:"sha256"` // of the file, in hex
	Size   int64  `json:"size"`   // of the file, in bytes
}

// manifest is manifest.json.
type manifest struct {
	SchemaVersion int    `json:"schemaVersion"`
	Parts         []Part `json:"parts"`
}

var (
	partName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	hexSum   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// parse reads a manifest strictly and checks every field.
func parse(b []byte) (manifest, error) {
	var version struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return manifest{}, fmt.Errorf("not a manifest: %w", err)
	}
	if version.SchemaVersion != SchemaVersion {
		return manifest{}, fmt.Errorf("schemaVersion is %d, this version of meshproof reads %d: build or pull the bundle anew",
			version.SchemaVersion, SchemaVersion)
	}
	var m manifest
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return manifest{}, fmt.Errorf("not a manifest: %w", err)
	}
	var errs []error
	seen := map[[2]string]bool{}
	for i, p := range m.Parts {
		if err := p.validate(); err != nil {
			errs = append(errs, fmt.Errorf("parts[%d] %q: %w", i, p.Name, err))
		}
		if seen[[2]string{p.Name, p.Version}] {
			errs = append(errs, fmt.Errorf("parts[%d]: a second part is named %q and of version %q", i, p.Name, p.Version))
		}
		seen[[2]string{p.Name, p.Version}] = true
	}
	return m, errors.Join(errs...)
}

// validate checks a part's fields, not its file.
func (p Part) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !partName.MatchString(p.Name) {
		bad("name: want lower-case letters, digits, dots and dashes")
	}
	switch p.Kind {
	case NodeImage, Image:
		if len(p.Refs) == 0 {
			bad("refs: an image needs at least one reference")
		}
		if sum, ok := strings.CutPrefix(p.ImageID, "sha256:"); !ok || !hexSum.MatchString(sum) {
			bad("imageID: %q is no digest", p.ImageID)
		}
	case Chart:
		if len(p.Refs) > 0 || p.ImageID != "" {
			bad("refs, imageID: a chart has none")
		}
	default:
		bad("kind: %q is not known: want %s, %s or %s", p.Kind, NodeImage, Image, Chart)
	}
	for _, r := range p.Refs {
		if tag, err := name.NewTag(r); err != nil {
			bad("refs: %w", err)
		} else if canonical(tag) != r {
			bad("refs: %q: want it with registry and tag: %q", r, canonical(tag))
		}
	}
	if p.Version == "" {
		bad("version is missing")
	}
	if p.Source == "" {
		bad("source is missing")
	}
	if !filepath.IsLocal(filepath.FromSlash(p.File)) || strings.Contains(p.File, `\`) || p.File == manifestFile {
		bad("file: %q is no path inside the bundle", p.File)
	}
	if !hexSum.MatchString(p.SHA256) {
		bad("sha256: %q is no SHA-256 in hex", p.SHA256)
	}
	if p.Size <= 0 {
		bad("size: %d bytes can't be", p.Size)
	}
	return errors.Join(errs...)
}

// with is the manifest with a part added, in the place of those that it replaces.
func (m manifest) with(p Part) manifest {
	parts := append(slices.DeleteFunc(slices.Clone(m.Parts), p.inPlaceOf), p)
	slices.SortFunc(parts, Part.unlike)
	return manifest{SchemaVersion: SchemaVersion, Parts: parts}
}
