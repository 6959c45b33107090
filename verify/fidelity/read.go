package fidelity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// run is one side with what is known of it.
type run struct {
	record    *evidence.Record
	scenario  *scenarios.Scenario
	result    *verify.Result
	sightings []verify.Sighting
}

// read judges both records. why says what keeps them from being compared at all.
func read(a, b *evidence.Record) (ra, rb *run, why string) {
	runs := [2]*run{}
	for i, rec := range []*evidence.Record{a, b} {
		name := string("AB"[i])
		r := &run{record: rec, scenario: &scenarios.Scenario{}}
		if err := json.Unmarshal(rec.Manifest.Scenario, r.scenario); err != nil {
			return nil, nil, fmt.Sprintf("%s does not hold a readable scenario: %v", name, err)
		}
		switch {
		case !rec.Sealed:
			return nil, nil, name + " has no seal: the run did not come to its end"
		case len(rec.Problems) > 0:
			return nil, nil, name + " is not whole: " + rec.Problems[0]
		}
		r.result = verify.Evaluate(rec)
		var err error
		if r.sightings, err = verify.Sightings(rec); err != nil {
			return nil, nil, fmt.Sprintf("%s: %v", name, err)
		}
		runs[i] = r
	}
	if where := differs(common(runs[0].scenario), common(runs[1].scenario)); where != "" {
		return nil, nil, "the two are not runs of one scenario: they differ at " + where
	}
	return runs[0], runs[1], ""
}

// common is the part of a scenario that two runs must share: all but which meshes were asked for, how often, and how the
// scenario describes itself.
func common(s *scenarios.Scenario) *scenarios.Scenario {
	out := *s
	out.Metadata = scenarios.Metadata{Name: s.Metadata.Name}
	out.Spec.Meshes, out.Spec.Blocks = nil, 0
	return &out
}

// differs names the first field in which two values differ, by its path in JSON; "" where there is none.
func differs(a, b any) string {
	x, y := document(a), document(b)
	if len(x) > 0 && bytes.Equal(x, y) {
		return ""
	}
	var v, w any
	if json.Unmarshal(x, &v) != nil || json.Unmarshal(y, &w) != nil {
		return "a field that cannot be read"
	}
	if where := path(v, w); where != "" {
		return where
	}
	return "their whole"
}

func document(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

func path(v, w any) string {
	switch v := v.(type) {
	case map[string]any:
		w, ok := w.(map[string]any)
		if !ok {
			break
		}
		keys := slices.Concat(slices.Collect(maps.Keys(v)), slices.Collect(maps.Keys(w)))
		slices.Sort(keys)
		for _, k := range slices.Compact(keys) {
			if !bytes.Equal(document(v[k]), document(w[k])) {
				return join(k, path(v[k], w[k]))
			}
		}
	case []any:
		w, ok := w.([]any)
		if !ok || len(v) != len(w) {
			break
		}
		for i := range v {
			if !bytes.Equal(document(v[i]), document(w[i])) {
				return join(fmt.Sprintf("[%d]", i), path(v[i], w[i]))
			}
		}
	}
	return ""
}

func join(a, b string) string {
	switch {
	case b == "":
		return a
	case b[0] == '[':
		return a + b
	}
	return a + "." + b
}

// entry is the mesh's entry in a run's scenario.
func (r *run) entry(mesh string) scenarios.MeshEntry {
	for _, m := range r.scenario.Spec.Meshes {
		if string(m.Name) == mesh {
			return m
		}
	}
	return scenarios.MeshEntry{}
}

// skipped says why a run has nothing of a mesh; "" where it has something.
func (r *run) skipped(mesh string) string {
	why := "was not asked to run it"
	for _, t := range r.result.Trials {
		if t.Mesh != mesh {
			continue
		}
		if t.Verdict != verify.Skipped {
			return ""
		}
		why = "skipped it: " + t.Message
	}
	return why
}
