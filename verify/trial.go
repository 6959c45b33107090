package verify

import (
	"cmp"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// windowLoad is the window of everything that is sent under load.
const windowLoad = "load"

// roleWarmup marks a probe that opens connections and proves nothing.
const (
	roleAsk    = "ask"
	roleTwin   = "twin"
	roleWarmup = "warmup"
)

// trial is the evidence of one trial, by what it is looked up by. Every list is in the order of time.
type trial struct {
	id    evidence.Trial
	s     *scenarios.Scenario
	seed  int64 // of the run
	entry scenarios.MeshEntry
	d     dialect
	// proxies are the images that the mesh's proxies have in this run, by container; nil where nothing is known of them.
	proxies map[string]string
	gaps    map[evidence.Stream][]evidence.Gap
	rounds  []*round // between workloads
	edge    []*round // from outside, where there is an issuer

	requests   map[string][]*evidence.Request   // by ID
	received   map[edgeWindow][]evidenceRequest // by window and who received it
	probes     map[string][]*evidence.Probe     // by ID
	asks       map[cellWindow][]*evidence.Probe // role ask, by window and cell
	asked      map[string][]*evidence.Probe     // asks and twins, by window
	handshakes map[podWindow][]*evidence.Handshake
	lines      map[string][]line // access log by x-request-id
	plain      map[string][]line // access log lines of answered requests without TLS, by service
	unread     map[string][]line // access log lines that could not be read, by service
	scrapes    map[podWindow][]*evidence.Scrape
	leaves     map[string]string // workload@cluster that serves it, by the leaf's hash
	counted    bool              // some page has the mesh's own count of requests
	inventory  map[edgeWindow][]*evidence.Pod
	faults     map[string][]*evidence.Fault
	ticks      map[string][]*evidence.Tick
	phases     map[string][]*evidence.Phase
	usages     []*evidence.Usage
	events     map[string][]*evidence.Event // by kind
	allScrapes []*evidence.Scrape
	allPods    []*evidence.Pod

	pages map[*evidence.Scrape]*parsed
	pools map[edgeWindow]*pool
	clean map[string]*loadState
}

type (
	edgeWindow struct{ window, edge, service string }
	podWindow  struct{ window, edge, uid string }
	cellWindow struct{ window, cell string }
)

// evidenceRequest is a request with its caller's claim split up.
type evidenceRequest struct {
	*evidence.Request
	caller string // workload
}

// line is one access log line that was read, or err where it could not be.
type line struct {
	*evidence.Access
	accessLine
	err error
}

type parsed struct {
	page *page
	err  error
}

// index sorts a record's items into its trials.
func index(rec *evidence.Record, s *scenarios.Scenario, ids []evidence.Trial) map[evidence.Trial]*trial {
	all := map[evidence.Trial]*trial{}
	for _, id := range ids {
		x := &trial{
			id: id, s: s, seed: rec.Manifest.Seed, d: noneDialect{}, entry: scenarios.MeshEntry{Name: scenarios.MeshName(id.Mesh)},
			proxies:  rec.Manifest.Proxies[id.Mesh],
			gaps:     map[evidence.Stream][]evidence.Gap{},
			requests: map[string][]*evidence.Request{}, received: map[edgeWindow][]evidenceRequest{},
			probes: map[string][]*evidence.Probe{}, asks: map[cellWindow][]*evidence.Probe{}, asked: map[string][]*evidence.Probe{},
			handshakes: map[podWindow][]*evidence.Handshake{},
			lines:      map[string][]line{}, plain: map[string][]line{}, unread: map[string][]line{},
			scrapes: map[podWindow][]*evidence.Scrape{}, inventory: map[edgeWindow][]*evidence.Pod{},
			faults: map[string][]*evidence.Fault{}, ticks: map[string][]*evidence.Tick{},
			phases: map[string][]*evidence.Phase{}, events: map[string][]*evidence.Event{},
			pages: map[*evidence.Scrape]*parsed{}, pools: map[edgeWindow]*pool{}, clean: map[string]*loadState{},
		}
		for _, m := range s.Spec.Meshes {
			if string(m.Name) == id.Mesh {
				x.entry = m
			}
		}
		if d, err := dialectOf(x.entry); err == nil {
			x.d = d
		}
		x.counted = x.d.countsRequests("")
		all[id] = x
	}
	for _, g := range rec.Gaps() {
		if x := all[g.Trial]; x != nil {
			x.gaps[g.Stream] = append(x.gaps[g.Stream], g)
		}
	}
	ordered(rec.Requests, func(i *evidence.Request) *evidence.Header { return &i.Header }, all, (*trial).addRequest)
	ordered(rec.Probes, func(i *evidence.Probe) *evidence.Header { return &i.Header }, all, (*trial).addProbe)
	ordered(rec.Handshakes, func(i *evidence.Handshake) *evidence.Header { return &i.Header }, all, func(x *trial, i *evidence.Handshake) {
		k := podWindow{window: i.Window, uid: i.At.UID}
		x.handshakes[k] = append(x.handshakes[k], i)
	})
	ordered(rec.Accesses, func(i *evidence.Access) *evidence.Header { return &i.Header }, all, (*trial).addAccess)
	ordered(rec.Scrapes, func(i *evidence.Scrape) *evidence.Header { return &i.Header }, all, (*trial).addScrape)
	ordered(rec.Pods, func(i *evidence.Pod) *evidence.Header { return &i.Header }, all, func(x *trial, i *evidence.Pod) {
		k := edgeWindow{i.Window, i.Edge, i.At.Service}
		x.inventory[k] = append(x.inventory[k], i)
		x.allPods = append(x.allPods, i)
	})
	ordered(rec.Faults, func(i *evidence.Fault) *evidence.Header { return &i.Header }, all, func(x *trial, i *evidence.Fault) {
		x.faults[i.Name] = append(x.faults[i.Name], i)
	})
	ordered(rec.Ticks, func(i *evidence.Tick) *evidence.Header { return &i.Header }, all, func(x *trial, i *evidence.Tick) {
		x.ticks[i.Traffic] = append(x.ticks[i.Traffic], i)
	})
	ordered(rec.Phases, func(i *evidence.Phase) *evidence.Header { return &i.Header }, all, func(x *trial, i *evidence.Phase) {
		x.phases[i.Traffic] = append(x.phases[i.Traffic], i)
	})
	ordered(rec.Usages, func(i *evidence.Usage) *evidence.Header { return &i.Header }, all, func(x *trial, i *evidence.Usage) {
		x.usages = append(x.usages, i)
	})
	ordered(rec.Events, func(i *evidence.Event) *evidence.Header { return &i.Header }, all, func(x *trial, i *evidence.Event) {
		x.events[i.Kind] = append(x.events[i.Kind], i)
	})
	for _, x := range all {
		x.leaveOutOwn()
		x.rounds, x.edge = roundsOf(x)
		x.leaves = leavesOf(x.handshakes)
	}
	return all
}

// ordered hands every item to its trial in the order of time, then of producer and number, whatever the order in the
// record: producers write side by side.
func ordered[T any](items []T, head func(T) *evidence.Header, all map[evidence.Trial]*trial, add func(*trial, T)) {
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(i, j T) int {
		a, b := head(i), head(j)
		return cmp.Or(a.T.Compare(b.T), cmp.Compare(a.Src, b.Src), cmp.Compare(a.N, b.N))
	})
	for _, i := range items {
		if x := all[head(i).Trial]; x != nil {
			add(x, i)
		}
	}
}

func (x *trial) addRequest(i *evidence.Request) {
	x.requests[i.ID] = append(x.requests[i.ID], i)
	caller, _, _ := strings.Cut(i.Caller, "@")
	k := edgeWindow{window: i.Window, service: i.At.Service}
	x.received[k] = append(x.received[k], evidenceRequest{i, caller})
}

func (x *trial) addProbe(i *evidence.Probe) {
	x.probes[i.ID] = append(x.probes[i.ID], i)
	if i.Role != roleWarmup {
		x.asked[i.Window] = append(x.asked[i.Window], i)
	}
	if i.Role == roleAsk {
		k := cellWindow{i.Window, i.Cell}
		x.asks[k] = append(x.asks[k], i)
	}
}

func (x *trial) addAccess(i *evidence.Access) {
	if tr := x.d.traits(); !tr.logs && (!tr.guardsEdge || i.At.Service != scenarios.IngressName) {
		return
	}
	l := line{Access: i}
	l.accessLine, l.err = x.d.access(i.Line)
	svc := i.At.Service
	if l.err != nil {
		x.unread[svc] = append(x.unread[svc], l)
		return
	}
	if l.id != "" {
		x.lines[l.id] = append(x.lines[l.id], l)
	}
	// Without TLS and without a code is a connection that was closed: what STRICT does to plaintext.
	if l.tls == "" && l.code != 0 {
		x.plain[svc] = append(x.plain[svc], l)
	}
}

// addScrape takes every page into account for restarts. What counts is the page of the mesh's sidecar.
func (x *trial) addScrape(i *evidence.Scrape) {
	x.allScrapes = append(x.allScrapes, i)
	if i.Proxy != "" {
		return
	}
	k := podWindow{i.Window, i.Edge, i.At.UID}
	x.scrapes[k] = append(x.scrapes[k], i)
	x.counted = x.counted || x.d.countsRequests(i.Body)
}

// page parses a scrape once.
func (x *trial) page(i *evidence.Scrape) (*page, error) {
	p := x.pages[i]
	if p == nil {
		p = &parsed{}
		p.page, p.err = parsePage(i.Body, x.d.families())
		x.pages[i] = p
	}
	return p.page, p.err
}

// declares reports whether the trial's mesh is said not to do something.
func (x *trial) declares(g scenarios.Gap) bool { return slices.Contains(x.entry.Gaps, g) }

// whole notes, for the streams that a claim rests on, what was lost of them.
func (x *trial) whole(t *tally, streams ...evidence.Stream) {
	for _, s := range streams {
		for _, g := range x.gaps[s] {
			t.invalid("EvidenceLost", nil, "%s", g.Message)
		}
	}
}
