package fidelity

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// Outcome is what a comparison comes to.
type Outcome string

// The outcomes. A disagreement outweighs what could not be compared.
const (
	Agree        Outcome = "AGREE"        // everything that was asked was seen on both sides, and is the same
	Disagree     Outcome = "DISAGREE"     // something was seen on both sides, and differs
	Incomparable Outcome = "INCOMPARABLE" // something cannot be compared, or nothing was
)

// Comparison is what two runs of one scenario make of it.
type Comparison struct {
	Scenario string  `json:"scenario"`
	A        Side    `json:"a"`
	B        Side    `json:"b"`
	Outcome  Outcome `json:"outcome"`
	// Reason is why the two records as wholes cannot be compared; empty where they can.
	Reason string `json:"reason,omitempty"`
	Meshes []Mesh `json:"meshes"`
}

// Side is one of the two runs.
type Side struct {
	RunID    string `json:"runID"`
	Driver   string `json:"driver"`
	Modelled bool   `json:"modelled"`
	Version  string `json:"version"`
	Seed     int64  `json:"seed"`
}

// Mesh is the comparison of one mesh.
type Mesh struct {
	Name string `json:"name"`
	// NameA and NameB are what the mesh is called on either side: with its build.
	NameA string `json:"nameA"`
	NameB string `json:"nameB"`
	// Skipped is why the mesh was not compared: a side did not run it. Empty where it was.
	Skipped string         `json:"skipped,omitempty"`
	Agreed  map[string]int `json:"agreed"` // how much agrees, by kind
	// Differ lists what differs, Unknown what cannot be compared.
	Differ  []Difference `json:"differ"`
	Unknown []Difference `json:"unknown"`
	// Notes say what was left out because a side was known not to do it.
	Notes []string `json:"notes,omitempty"`
}

// Kinds of Difference beside those of verify.Sighting.
const (
	KindVerdict  = "verdict"  // a check: mutual TLS of an edge, policy of a service, …, and whether it is a declared gap
	KindRecovery = "recovery" // which of two faults was recovered from first
)

// Difference is one thing that is not the same on both sides, or not known on one.
type Difference struct {
	Kind    string         `json:"kind"`
	Subject string         `json:"subject"`
	A       string         `json:"a"`
	B       string         `json:"b"`
	UsedA   []evidence.Ref `json:"usedA,omitempty"` // where the records say so
	UsedB   []evidence.Ref `json:"usedB,omitempty"`
}

// Compare holds two records against each other. It is a pure function of the two.
func Compare(a, b *evidence.Record) *Comparison {
	c := &Comparison{A: sideOf(a), B: sideOf(b), Outcome: Incomparable, Meshes: []Mesh{}}
	ra, rb, why := read(a, b)
	if why != "" {
		c.Reason = why
		return c
	}
	c.Scenario = ra.scenario.Metadata.Name
	compared := false
	for _, name := range meshesOf(ra, rb) {
		m := compareMesh(name, ra, rb)
		compared = compared || len(m.Agreed) > 0
		c.Meshes = append(c.Meshes, m)
	}
	c.Outcome = Agree
	if !compared {
		c.Outcome, c.Reason = Incomparable, "no mesh was run on both sides"
	}
	for _, m := range c.Meshes {
		if len(m.Unknown) > 0 && c.Outcome == Agree {
			c.Outcome = Incomparable
		}
		if len(m.Differ) > 0 {
			c.Outcome, c.Reason = Disagree, ""
		}
	}
	return c
}

func sideOf(r *evidence.Record) Side {
	m := &r.Manifest
	return Side{RunID: m.RunID, Driver: m.Driver, Modelled: modelled(r), Version: m.Version, Seed: m.Seed}
}

// modelled reports whether any of a record is a model's.
func modelled(r *evidence.Record) bool { return r.Manifest.Modelled || len(r.Manifest.Models) > 0 }

// compareMesh compares one mesh of the scenario, over all its blocks.
func compareMesh(name string, a, b *run) Mesh {
	m := Mesh{
		Name: name, NameA: a.record.Manifest.MeshName(name), NameB: b.record.Manifest.MeshName(name),
		Agreed: map[string]int{}, Differ: []Difference{}, Unknown: []Difference{},
	}
	for _, s := range []struct {
		side string
		run  *run
	}{{"A", a}, {"B", b}} {
		if why := s.run.skipped(name); why != "" {
			m.Skipped = strings.TrimPrefix(m.Skipped+"; "+s.side+" "+why, "; ")
		}
	}
	if m.Skipped != "" {
		return m
	}
	if x, y := document(a.entry(name)), document(b.entry(name)); !bytes.Equal(x, y) {
		m.Unknown = append(m.Unknown, Difference{Kind: KindVerdict, Subject: "the mesh's entry in the scenario", A: string(x), B: string(y)})
		return m
	}
	fa, fb := a.facts(name), b.facts(name)
	leftOut := map[string]int{} // of what was seen, by why
	for _, k := range keysOf(fa, fb) {
		x, there := fa[k]
		y, here := fb[k]
		d := Difference{Kind: k.kind, Subject: k.subject, A: x.words(there), B: y.words(here), UsedA: x.used, UsedB: y.used}
		switch {
		case k.kind != KindVerdict && (x.skipped || y.skipped):
			leftOut[cmp.Or(x.unproved, y.unproved)]++
		case x.skipped || y.skipped:
			m.Notes = append(m.Notes, fmt.Sprintf("%s: A %s; B %s", k.subject, d.A, d.B))
		case !there || !here || x.unproved != "" || y.unproved != "":
			m.Unknown = append(m.Unknown, d)
		case d.A != d.B:
			m.Differ = append(m.Differ, d)
		default:
			m.Agreed[k.kind]++
		}
	}
	for _, why := range slices.Sorted(maps.Keys(leftOut)) {
		m.Notes = append(m.Notes, fmt.Sprintf("%d of what was asked: on one side at least %s", leftOut[why], why))
	}
	m.recoveries(name, a, b)
	return m
}

// fact is what one side saw of one thing over all blocks.
type fact struct {
	saw      []string // sorted, each once
	unproved string
	skipped  bool
	used     []evidence.Ref
}

type key struct{ kind, subject string }

func (f fact) words(there bool) string {
	switch {
	case !there:
		return "not asked"
	case f.unproved != "":
		return "not proved: " + f.unproved
	}
	return strings.Join(f.saw, " | ")
}

// facts gathers what a run says of a mesh.
func (r *run) facts(mesh string) map[key]fact {
	out := map[key]fact{}
	add := func(k key, saw, unproved string, skipped bool, used []evidence.Ref) {
		f := out[k]
		if i, found := slices.BinarySearch(f.saw, saw); !found {
			f.saw = slices.Insert(f.saw, i, saw)
		}
		if f.unproved == "" {
			f.unproved = unproved
		}
		f.skipped = f.skipped || skipped
		f.used = append(f.used, used...)
		out[k] = f
	}
	for _, s := range r.sightings {
		if s.Trial.Mesh == mesh {
			add(key{s.Kind, s.Subject}, s.Saw, s.Unproved, s.LeftOut, s.Used)
		}
	}
	for _, c := range r.result.Checks {
		if c.Trial.Mesh != mesh || c.Trial.Block == 0 || !slices.Contains(judged, c.Kind) {
			continue
		}
		saw, unproved := string(c.Verdict), ""
		switch c.Verdict {
		case verify.Invalid, verify.Error:
			unproved = fmt.Sprintf("%s, %s: %s", c.Verdict, c.Reason, c.Message)
		case verify.Fail:
			saw += ", " + c.Reason
		case verify.Skipped:
			saw += ", " + c.Message
		}
		add(key{KindVerdict, c.ID}, saw, unproved, c.Verdict == verify.Skipped, c.Used)
	}
	return out
}

// judged are the kinds of check whose verdicts must be the same on both sides. Those about times and rates are not
// among them.
var judged = []string{verify.KindRun, verify.KindMTLS, verify.KindPolicy, verify.KindIdentity, verify.KindBalancing, verify.KindFault}

// keysOf lists the keys of both sides in a stable order.
func keysOf(a, b map[key]fact) []key {
	var out []key
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, both := a[k]; !both {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(x, y key) int {
		return strings.Compare(x.kind+"\x00"+x.subject, y.kind+"\x00"+y.subject)
	})
	return out
}

// meshesOf lists the meshes that either side's scenario names, in A's order.
func meshesOf(a, b *run) []string {
	var out []string
	for _, s := range []*scenarios.Scenario{a.scenario, b.scenario} {
		for _, m := range s.Spec.Meshes {
			if !slices.Contains(out, string(m.Name)) {
				out = append(out, string(m.Name))
			}
		}
	}
	return out
}
