package bundle

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tag(t *testing.T, ref string) *name.Tag {
	t.Helper()
	got, err := name.NewTag(ref)
	must(t, err)
	return &got
}
