package reports

import (
	"encoding/json"
	"fmt"
	"sort"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

// maxExcerpts bounds the records that one check shows.
const maxExcerpts = 10

func checks(rec *evidence.Record, res *verify.Result) []Check {
	out := []Check{}
	for _, c := range res.Checks {
		x := Check{
			ID: clean(c.ID), Kind: clean(c.Kind), Subject: clean(c.Subject), Block: c.Trial.Block, Mesh: clean(c.Trial.Mesh),
			Verdict: known(c.Verdict), Reason: clean(c.Reason), Message: clean(c.Message),
			Observed: clean(c.Observed), Limit: clean(c.Limit),
			Witnesses: []Witness{}, Evidence: []Excerpt{},
		}
		for _, w := range c.Witnesses {
			x.Witnesses = append(x.Witnesses, Witness{Name: clean(w.Name), Verdict: known(w.Verdict), Message: clean(w.Message), EvidenceCount: len(w.Used)})
		}
		refs, total := choose(c)
		x.EvidenceCount = total
		for _, ref := range refs {
			e := Excerpt{Ref: clean(fmt.Sprintf("%s:%d", ref.Stream, ref.Line))}
			if x.Verdict != verify.Pass {
				e.Record = excerpt(rec, ref)
			}
			x.Evidence = append(x.Evidence, e)
		}
		out = append(out, x)
	}
	return out
}

// choose takes records in turn from the witnesses that disagree with a PASS, then from the check, then from the other
// witnesses, and says how many there are in all.
func choose(c verify.Check) (refs []evidence.Ref, total int) {
	var dissent, agree [][]evidence.Ref
	for _, w := range c.Witnesses {
		if w.Verdict == verify.Pass {
			agree = append(agree, w.Used)
		} else {
			dissent = append(dissent, w.Used)
		}
	}
	seen := map[evidence.Ref]bool{}
	take := func(lists [][]evidence.Ref) {
		for i, more := 0, true; more; i++ {
			more = false
			for _, l := range lists {
				if i >= len(l) {
					continue
				}
				more = true
				if !seen[l[i]] {
					seen[l[i]] = true
					if len(refs) < maxExcerpts {
						refs = append(refs, l[i])
					}
				}
			}
		}
	}
	take(dissent)
	take([][]evidence.Ref{c.Used})
	take(agree)
	return refs, len(seen)
}

// excerpt is the record at ref as JSON; nil where it is not there.
func excerpt(rec *evidence.Record, ref evidence.Ref) json.RawMessage {
	var item evidence.Item
	switch ref.Stream {
	case evidence.Requests:
		item = find(rec.Requests, ref)
	case evidence.Probes:
		item = find(rec.Probes, ref)
	case evidence.Handshakes:
		item = find(rec.Handshakes, ref)
	case evidence.Accesses:
		item = find(rec.Accesses, ref)
	case evidence.Scrapes:
		item = find(rec.Scrapes, ref)
	case evidence.Pods:
		item = find(rec.Pods, ref)
	case evidence.Faults:
		item = find(rec.Faults, ref)
	case evidence.Ticks:
		item = find(rec.Ticks, ref)
	case evidence.Phases:
		item = find(rec.Phases, ref)
	case evidence.Usages:
		item = find(rec.Usages, ref)
	case evidence.Events:
		item = find(rec.Events, ref)
	}
	if item == nil {
		return nil
	}
	b, err := json.Marshal(item)
	if err != nil {
		return nil // an access line that is not JSON; its ref is named all the same
	}
	return shorten(b)
}

// find looks a record up by its line. The lists are in the order of their lines.
func find[T interface {
	evidence.Item
	Ref() evidence.Ref
}](list []T, ref evidence.Ref) evidence.Item {
	i := sort.Search(len(list), func(i int) bool { return list[i].Ref().Line >= ref.Line })
	if i == len(list) || list[i].Ref() != ref {
		return nil
	}
	return list[i]
}
