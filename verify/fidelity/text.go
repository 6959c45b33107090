package fidelity

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// maxShown bounds how many lines of one kind are written for a mesh; the JSON has them all.
const maxShown = 20

// WriteText writes the comparison for people.
func (c *Comparison) WriteText(w io.Writer) {
	fmt.Fprintf(w, "%s  %s\n", c.Outcome, c.summary())
	fmt.Fprintf(w, "  A  %s\n  B  %s\n", c.A, c.B)
	for _, m := range c.Meshes {
		m.write(w)
	}
}

// String names a side in a line.
func (s Side) String() string {
	driver := s.Driver
	if s.Modelled {
		driver += " (model)"
	}
	return fmt.Sprintf("%s on %s, version %s, seed %d", s.RunID, driver, s.Version, s.Seed)
}

func (c *Comparison) summary() string {
	if c.Reason != "" {
		return c.Reason
	}
	differ, unknown, agreed := 0, 0, 0
	for _, m := range c.Meshes {
		differ, unknown = differ+len(m.Differ), unknown+len(m.Unknown)
		for _, n := range m.Agreed {
			agreed += n
		}
	}
	return fmt.Sprintf("%s: %d agree, %d differ, %d cannot be compared", c.Scenario, agreed, differ, unknown)
}

func (m *Mesh) write(w io.Writer) {
	name := m.NameA
	if m.NameB != m.NameA {
		name += " / " + m.NameB
	}
	if m.Skipped != "" {
		fmt.Fprintf(w, "  %s: not compared: %s\n", name, m.Skipped)
		return
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(m.Agreed)) {
		parts = append(parts, fmt.Sprintf("%d %s", m.Agreed[kind], kind))
	}
	if len(parts) == 0 {
		parts = []string{"nothing"}
	}
	fmt.Fprintf(w, "  %s: the same: %s\n", name, strings.Join(parts, ", "))
	writeDifferences(w, "DIFFERS", m.Differ)
	writeDifferences(w, "UNKNOWN", m.Unknown)
	for _, n := range m.Notes {
		fmt.Fprintf(w, "    left out %s\n", n)
	}
}

func writeDifferences(w io.Writer, word string, list []Difference) {
	for i, d := range list {
		if i == maxShown {
			fmt.Fprintf(w, "    … and %d more %s, see --json\n", len(list)-maxShown, word)
			return
		}
		fmt.Fprintf(w, "    %s %s %s\n      A  %s\n      B  %s\n", word, d.Kind, d.Subject, d.A, d.B)
	}
}
