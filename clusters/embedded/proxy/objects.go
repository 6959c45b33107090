package proxy

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
)

// Report collects what a model refuses of one object.
type Report struct {
	Object string // NameOf
	Errs   []error
}

// Refuse says of a field why it is refused.
func (r *Report) Refuse(field, format string, args ...any) {
	r.Errs = append(r.Errs, fmt.Errorf("%s: %s: %s: %w", r.Object, field, fmt.Sprintf(format, args...), clusters.ErrNotModelled))
}

// Metadata refuses the labels and annotations of a mesh's own domain, such as istio.io, that are not known.
func (r *Report) Metadata(path string, labels, annotations map[string]string, domain string, known map[string]bool, why string) {
	for _, m := range []struct {
		kind string
		keys map[string]string
	}{{"labels", labels}, {"annotations", annotations}} {
		for _, k := range slices.Sorted(maps.Keys(m.keys)) {
			d, _, _ := strings.Cut(k, "/")
			if (d == domain || strings.HasSuffix(d, "."+domain)) && !known[k] {
				r.Refuse(path+"."+m.kind+"["+k+"]", "%s", why)
			}
		}
	}
}

// IsNil reports whether an object is nil, also one that has a type.
func IsNil(o clusters.Object) bool {
	return o == nil || reflect.ValueOf(o).Kind() == reflect.Pointer && reflect.ValueOf(o).IsNil()
}

// NameOf is kind and place of an object: "AuthorizationPolicy app/to-web". The kind of an object without one is its type.
func NameOf(o clusters.Object) string {
	kind := o.GetObjectKind().GroupVersionKind().Kind
	if kind == "" {
		kind = reflect.TypeOf(o).Elem().Name()
	}
	if ns := o.GetNamespace(); ns != "" {
		return kind + " " + ns + "/" + o.GetName()
	}
	return kind + " " + o.GetName()
}

// OldestFirst orders objects by creation, then by name, then by namespace: where two conflict, controllers take the older.
func OldestFirst[T metav1.Object](a, b T) int {
	ta, tb := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(ta.Compare(tb.Time), cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetNamespace(), b.GetNamespace()))
}

// SelectsLabels reports whether every wanted label is there. No wanted label selects everything.
func SelectsLabels(want, have map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}
