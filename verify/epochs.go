package verify

import (
	"cmp"
	"slices"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// epoch is what one process of one proxy counted over a stretch of time. One of a pod that was not there at its
// beginning counts from 0. Of one that ended before the stretch did, or that was first scraped in its midst, only what
// was scraped is known: the deltas are a lower bound.
type epoch struct {
	at     evidence.PodRef
	start  float64 // when the process started
	whole  bool    // counted from the beginning to the end of the stretch
	deltas []sample
	used   []evidence.Ref
}

// epochs sorts scrapes of a stretch of time by the process that served them, and counts each over it. Edges of the
// stretch are the scrapes with edge "start" and "end"; what lies between may be there or not. A scrape that cannot be
// read is left out: it can only lower a bound. stood are the pods that were there at the beginning.
func (x *trial) epochs(scrapes []*evidence.Scrape, stood []*evidence.Pod) []epoch {
	type key struct {
		uid   string
		start float64
	}
	pages := map[key][]*evidence.Scrape{}
	var keys []key
	for _, s := range scrapes {
		if p, err := x.page(s); err == nil && s.Error == "" {
			k := key{s.At.UID, p.start}
			if pages[k] == nil {
				keys = append(keys, k)
			}
			pages[k] = append(pages[k], s)
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.uid, b.uid), cmp.Compare(a.start, b.start)) })
	var out []epoch
	for _, k := range keys {
		list := pages[k]
		slices.SortStableFunc(list, func(a, b *evidence.Scrape) int { return a.T.Compare(b.T) })
		last := list[len(list)-1]
		first := list[0].Edge == "start"
		old := first || slices.ContainsFunc(stood, func(p *evidence.Pod) bool { return p.At.UID == k.uid })
		e := epoch{at: last.At, start: k.start, whole: last.Edge == "end" && (first || !old), used: refsOf(list...)}
		from := &page{start: k.start}
		if old {
			from, _ = x.page(list[0])
			list = list[1:]
		}
		total := map[string]sample{}
		for _, s := range list {
			to, _ := x.page(s)
			d, err := increase(from, to, true)
			if err != nil {
				continue // another process, which the key excludes
			}
			for _, i := range d {
				i.count += total[i.key()].count
				total[i.key()] = i
			}
			from = to
		}
		for _, name := range sortedKeys(total) {
			e.deltas = append(e.deltas, total[name])
		}
		out = append(out, e)
	}
	return out
}

// underLoad looks for what proxies counted under load and should not have: requests let in that came in plaintext, or
// from nobody of the mesh. It only disproves. That nothing was found proves nothing, because pods may come and go under
// load, and what the last of them counted goes with them.
func (x *trial) underLoad(t *tally, to scenarios.Workload) {
	var scrapes []*evidence.Scrape
	for _, s := range x.allScrapes {
		if s.At.Service == to.Name && (s.Window == windowLoad || s.Window == "") {
			scrapes = append(scrapes, s)
		}
	}
	for _, e := range x.epochs(scrapes, x.inventory[edgeWindow{windowLoad, "start", to.Name}]) {
		for _, c := range x.d.counts(e.deltas).requests {
			switch {
			case !c.allowed || c.n == 0:
			case !c.secured:
				t.fail("PlaintextAccepted", e.used, "the proxy of %s let in at least %d requests with %s under load", podName(e.at), c.n, c.security)
			case !x.known(c.client):
				t.fail("WrongIdentity", e.used, "the proxy of %s let in at least %d requests of %s under load", podName(e.at), c.n, c.client)
			}
		}
	}
}
