package scenarios

import "strings"

// Positions says where in its file each field of a scenario stands.
type Positions struct {
	File   string
	places map[string]place
}

type place struct{ line, column int }

// Position is the line and column, both from 1, of the field at path (spec.faults[2].target.service), or of the
// nearest field around it that the file has. Both are 0 where nothing is known.
func (p *Positions) Position(path string) (line, column int) {
	for {
		if at, ok := p.places[path]; ok {
			return at.line, at.column
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			at := p.places[""]
			return at.line, at.column
		}
		path = path[:cut]
	}
}

// has reports whether the file itself has the field, rather than a default.
func (p *Positions) has(path string) bool {
	_, ok := p.places[path]
	return ok
}
