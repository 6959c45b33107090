package kind

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// choose finds a mesh's charts and images in the bundle, all of one version for each project: those that were asked for, or
// the pinned ones (bundle.Choose). The error names all that is missing.
func (mat *material) choose(charts, images []string, versions map[string]string) error {
	var errs []error
	wanted := map[string][]string{} // by project
	lists := map[string][][]bundle.Part{}
	take := func(want string, parts []bundle.Part, err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		of := projectOf(want)
		wanted[of] = append(wanted[of], want)
		lists[of] = append(lists[of], parts)
	}
	for _, want := range charts {
		parts, err := mat.bundle.Named(chartPart(want))
		take(want, parts, err)
	}
	for _, want := range images {
		parts, err := imagesNamed(mat.bundle, want)
		take(want, parts, err)
	}
	for _, of := range []string{bundle.Istio, bundle.Linkerd} {
		chosen, err := bundle.Choose(of, versions[of], lists[of])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for i, want := range wanted[of] {
			if slices.Contains(images, want) {
				mat.images[want] = imageOf(chosen[i], want)
			} else {
				mat.charts[want] = chosen[i]
			}
		}
	}
	return errors.Join(errs...)
}

// projectOf says whose a chart or an image is: Linkerd's have its name in theirs.
func projectOf(name string) string {
	if strings.Contains(name, bundle.Linkerd) {
		return bundle.Linkerd
	}
	return bundle.Istio
}

// imagesNamed lists the parts that are images whose names end so, a version each.
func imagesNamed(b *bundle.Bundle, name string) ([]bundle.Part, error) {
	var list []bundle.Part
	for _, p := range b.Parts() {
		if p.Kind == bundle.Image && imageOf(p, name).ref != "" {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("the bundle %s has no image %s: run `meshproof bundle build`, or `meshproof bundle pull` on a host with a network", b.Dir(), name)
	}
	return list, nil
}

// imageOf is a part under that of its references whose name ends so; without any where there is none.
func imageOf(p bundle.Part, name string) image {
	for _, ref := range p.Refs {
		if i := strings.LastIndex(ref, ":"); i > 0 && strings.HasSuffix("/"+ref[:i], "/"+name) {
			return image{p, ref, path.Dir(ref[:i]), ref[i+1:]}
		}
	}
	return image{}
}
