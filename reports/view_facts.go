package reports

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// fact is one line of the provenance.
type fact struct {
	Name, Value string
	Code        bool
}

func (r *Report) facts() []fact {
	p := r.Provenance
	var out []fact
	add := func(name, value string, code bool) {
		if value != "" {
			out = append(out, fact{name, value, code})
		}
	}
	add("Run", r.RunID, true)
	add("Started", p.Started.Format("2006-01-02 15:04:05 UTC"), false)
	add("Command", strings.Join(p.Command, " "), true)
	add("Seed", fmt.Sprint(p.Seed), true)
	add("Driver", p.Driver, false)
	add("Meshproof", p.Version, false)
	add("Go", p.GoVersion, false)
	for _, name := range slices.Sorted(maps.Keys(p.Components)) {
		add(name, p.Components[name], false)
	}
	h := p.Host
	host := fmt.Sprintf("%s/%s, %s, %d MiB of memory", h.OS, h.Arch, count(h.CPUs, "CPU"), h.MemoryMiB)
	if h.Kernel != "" {
		host += ", kernel " + h.Kernel
	}
	add("Host", host, false)
	var blocks []string
	for i, b := range p.Order {
		s := strings.Join(b, ", then ")
		if len(p.Order) > 1 {
			s = fmt.Sprintf("block %d: %s", i+1, s)
		}
		blocks = append(blocks, s)
	}
	add("Order of meshes", strings.Join(blocks, "; "), false)
	add("Evidence", "evidence/ beside this page, layout "+orElse(p.EvidenceSchema, "unknown"), false)
	if p.Sealed {
		add("Seal", orElse(p.SealRoot, "present"), true)
	} else {
		add("Seal", "none: the run did not seal its record", false)
	}
	return out
}
