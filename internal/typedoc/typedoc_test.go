package typedoc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTypesAndFieldsAreReadWithTheirComments(t *testing.T) {
	got, err := Comments(`package p

// A is one
// thing.
type A struct {
	// B of A.
	B, C int
	D int
}

// E is text.
type E string

func f() {}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "A is one thing.", "A.B": "B of A.", "A.C": "B of A.", "A.D": "", "E": "E is text."}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSourceThatDoesNotParseIsAnError(t *testing.T) {
	if _, err := Comments("type"); err == nil {
		t.Error("no error")
	}
}
