package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Components whose version can be chosen.
const (
	Istio     = "istio"
	Linkerd   = "linkerd"
	ChaosMesh = "chaos-mesh"
)

// Pinned are the versions that are pulled, and of several that a bundle has the ones that are taken, where nobody asks for
// others, by component. What `bundle build` makes is of the versions that its build descriptions name.
func Pinned() map[string]string {
	return map[string]string{
		Istio:     "1.30.3",
		Linkerd:   "26.6.3", // of the edges; what Linkerd 2.20 is built from
		ChaosMesh: "2.8.4",
	}
}

// ofCentury is how Linkerd's charts write the year that its images write without a century.
var ofCentury = regexp.MustCompile(`^20([0-9]{2}\.)`)

// Release is a version without what projects put before it: "v2.8.4" is 2.8.4, and Linkerd's image edge-26.6.3 and its
// chart 2026.6.3 are both of 26.6.3.
func Release(version string) string {
	v := strings.TrimPrefix(strings.TrimPrefix(version, "edge-"), "v")
	return ofCentury.ReplaceAllString(v, "$1")
}

// ErrNoVersion is that a bundle does not have what was asked for in one version.
var ErrNoVersion = errors.New("no such version")

// Choose takes one part of each of these lists, in their order: all of the version that is asked for (in the sense of
// Release); where none is, of the pinned one, or else of the only one that they have. of is the component. Each list holds
// the versions of one part, and is not empty.
func Choose(of, version string, lists [][]Part) ([]Part, error) {
	if version != "" {
		return ofVersion(of, version, lists)
	}
	if chosen, err := ofVersion(of, Pinned()[of], lists); err == nil {
		return chosen, nil
	}
	only := make([]Part, len(lists))
	for i, parts := range lists {
		if len(parts) > 1 {
			return nil, fmt.Errorf("%w: the bundle has several versions of %s (%s): say which with --%s-version", ErrNoVersion, parts[0].Name, versionsOf(parts), of)
		}
		only[i] = parts[0]
	}
	return only, nil
}

func ofVersion(of, version string, lists [][]Part) ([]Part, error) {
	chosen := make([]Part, len(lists))
	for i, parts := range lists {
		at := slices.IndexFunc(parts, func(p Part) bool { return Release(p.Version) == Release(version) })
		if at < 0 {
			return nil, fmt.Errorf("%w: the bundle has %s in version %s, not in %s: `meshproof bundle pull --%s-version %s` fetches it, on a host with a network",
				ErrNoVersion, parts[0].Name, versionsOf(parts), version, of, version)
		}
		chosen[i] = parts[at]
	}
	return chosen, nil
}

func versionsOf(parts []Part) string {
	var list []string
	for _, p := range parts {
		list = append(list, p.Version)
	}
	return strings.Join(list, ", ")
}

// Named lists all versions of a part.
func (b *Bundle) Named(name string) ([]Part, error) {
	var list []Part
	for _, p := range b.m.Parts {
		if p.Name == name {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, b.lacks(name)
	}
	return list, nil
}

func (b *Bundle) lacks(name string) error {
	return fmt.Errorf("the bundle %s has no part %q: %s", b.dir, name, howToGet)
}

// inPlaceOf reports whether a part that is put takes the place of one that is there: of the same version; of what was built
// from other inputs, where it is built, too; of any other image of nodes.
func (p Part) inPlaceOf(old Part) bool {
	return p.Name == old.Name && (p.Version == old.Version || p.Kind == NodeImage || p.Inputs != "" && old.Inputs != "")
}

// unlike compares parts by name and then by version.
func (p Part) unlike(q Part) int {
	return cmp.Or(strings.Compare(p.Name, q.Name), strings.Compare(p.Version, q.Version))
}

// fileOf puts the version into a file's name: "charts/istiod.tgz" becomes "charts/istiod-1.30.3.tgz".
func fileOf(file, version string) string {
	safe := strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' {
			return '-'
		}
		return r
	}, version)
	at := strings.LastIndex(file, ".")
	return file[:at] + "-" + safe + file[at:]
}
