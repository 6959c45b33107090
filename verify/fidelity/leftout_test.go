package fidelity

import (
	"bytes"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/verify"
)

func TestWhatAMeshIsKnownNotToShowIsLeftOutAndCounted(t *testing.T) {
	const why = "nobody sees it there"
	a, b := twoRuns(t)
	ra, rb, reason := read(a, b)
	if reason != "" {
		t.Fatal(reason)
	}
	before := compareMesh("istio", ra, rb)
	changed := 0
	for i := range rb.sightings {
		if s := &rb.sightings[i]; s.Trial.Mesh == "istio" && s.Kind == verify.SightingMatrix && changed < 3 {
			s.Saw, s.Unproved, s.LeftOut = "unknown", why, true
			changed++
		}
	}
	m := compareMesh("istio", ra, rb)
	if len(m.Differ)+len(m.Unknown) > 0 || m.Agreed[verify.SightingMatrix] != before.Agreed[verify.SightingMatrix]-3 {
		t.Errorf("%d differ, %d unknown, %d cells agree", len(m.Differ), len(m.Unknown), m.Agreed[verify.SightingMatrix])
	}
	var text bytes.Buffer
	m.write(&text)
	if !strings.Contains(text.String(), "left out 3 of what was asked: on one side at least "+why) {
		t.Error(text.String())
	}
	// Without that reason the same is unknown.
	for i := range rb.sightings {
		rb.sightings[i].LeftOut = false
	}
	if m := compareMesh("istio", ra, rb); len(m.Unknown) != 3 {
		t.Errorf("%d unknown, want 3", len(m.Unknown))
	}
}
