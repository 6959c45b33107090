package verify

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// Kinds of Sighting.
const (
	SightingMatrix   = "matrix"   // a cell of the policy matrix in one proof window
	SightingToken    = "token"    // a kind of token, from outside, in one proof window
	SightingIdentity = "identity" // who a service saw as the sender of an edge's requests in one proof window
)

// Sighting is one thing that was seen of a mesh in one proof window, in words that are the same on every driver.
// Verdicts take windows together; who compares two runs must not.
type Sighting struct {
	Trial   evidence.Trial
	Kind    string
	Subject string // with the window; the same in every run of one scenario
	Saw     string
	// Unproved is why the evidence does not say what there was to be seen; empty where it does.
	Unproved string
	// LeftOut is set where the mesh is known not to show it: Unproved says why.
	LeftOut bool
	Used    []evidence.Ref
}

// Sightings lists what a record says, window by window, of everything that verify's plan asked in the trials that were
// run. Like Evaluate it is a pure function of the record.
func Sightings(rec *evidence.Record) ([]Sighting, error) {
	s := &scenarios.Scenario{}
	if err := json.Unmarshal(rec.Manifest.Scenario, s); err != nil {
		return nil, fmt.Errorf("the record does not hold a readable scenario: %w", err)
	}
	ids := trialsOf(rec)
	all := index(rec, s, ids)
	var out []Sighting
	for _, id := range ids {
		x := all[id]
		if len(x.events[evidence.EventSkipped]) > 0 {
			continue
		}
		if s.Spec.Expect.Policy != nil {
			out = append(out, x.matrixSightings()...)
		}
		out = append(out, x.tokenSightings()...)
		if wantsMTLS(s) {
			for _, r := range x.rounds {
				out = append(out, x.identitySightings(r)...)
			}
		}
	}
	return out, nil
}

// trialsOf lists the trials that a run meant to make, in their order.
func trialsOf(rec *evidence.Record) []evidence.Trial {
	var ids []evidence.Trial
	for b, row := range rec.Manifest.Order {
		for _, mesh := range row {
			ids = append(ids, evidence.Trial{Block: b + 1, Mesh: mesh})
		}
	}
	return ids
}

func (x *trial) matrixSightings() []Sighting {
	var out []Sighting
	for _, w := range x.s.Workloads() {
		for _, asks := range x.cellsOf(w) {
			for _, ra := range asks {
				c, t := x.cell([]roundAsk{ra})
				out = append(out, x.cellSighting(SightingMatrix, ra, c, t, ""))
			}
		}
	}
	return out
}

func (x *trial) tokenSightings() []Sighting {
	var out []Sighting
	for _, to := range tokenSubjects(x.s) {
		for _, asks := range grouped(x.edge, to.Name) {
			for _, ra := range asks {
				c, t := x.tokenCell([]roundAsk{ra})
				out = append(out, x.cellSighting(SightingToken, ra, c, t, c.Cause))
			}
		}
	}
	return out
}

// cellSighting is what came of a cell in one window: who got through, with which status, and who refused it, where that
// is known.
func (x *trial) cellSighting(kind string, ra roundAsk, c Cell, t *tally, cause string) Sighting {
	out := Sighting{Trial: x.id, Kind: kind, Subject: ra.Name + " " + c.ID, Saw: c.Observed + ", " + c.Status, Used: c.Used}
	if cause != "" {
		out.Saw += ", by " + cause
	}
	switch {
	case len(t.lack) > 0:
		out.Unproved = t.lack[0].message
	case c.Verdict == Skipped:
		out.Unproved, out.LeftOut = c.Message, true
	case c.Observed == unknown:
		out.Unproved = "nothing was asked"
	}
	return out
}

// identitySightings lists who was seen in a window, by each protocol of proof that the mesh has: on each edge by the
// workloads' records with the certificate's cluster, and by the proxies' access log; of each service by the chain that
// it serves.
func (x *trial) identitySightings(r *round) []Sighting {
	var out []Sighting
	for _, e := range edgesOf(x.s) {
		if !slices.ContainsFunc(r.Asks, func(a Ask) bool { return a.From == e.from.Name && a.To == e.to.Name && a.Allowed }) {
			continue // the plan asks nothing there, on any driver
		}
		record, log := sight{subject: "by the workload's record"}, sight{subject: "by the proxy's access log"}
		for _, p := range x.edgeProbes(&record.tally, r, e) {
			if p.Status/100 != 2 {
				record.invalid("Unanswered", refsOf(p), "request %s was allowed, and its client saw %s", p.ID, status(p))
				continue
			}
			if rec := x.heard(&record.tally, p); rec != nil {
				record.see(x.sender(&record.tally, rec))
			}
			if x.d.traits().logs {
				log.use(p.Ref())
				if l := x.logged(&log.tally, p); l != nil {
					log.see(fmt.Sprintf("%s at %s, %s", named(l.peer), named(l.local), named(l.tls)))
				}
			}
		}
		edge := fmt.Sprintf("%s %s->%s", r.Name, e.from.Name, e.to.Name)
		if own, others := x.ownIn(r, e); own > 0 && others == 0 {
			record.hidden, log.hidden = onLoopback, onLoopback
		}
		out = append(out, record.sighting(x.id, edge))
		if x.d.traits().logs {
			out = append(out, log.sighting(x.id, edge))
		}
	}
	if !r.Handshakes || !x.d.proxied() {
		return out
	}
	for _, w := range x.s.Workloads() {
		if w.Service == nil {
			continue
		}
		served := sight{subject: "by the served chain"}
		for _, pod := range x.pods(&served.tally, r, w) {
			found := x.handshakes[podWindow{window: r.Name, uid: pod.At.UID}]
			if len(found) != 1 {
				served.invalid("NoHandshake", refsOf(found...), "%d handshakes were made with pod %s, want 1", len(found), podName(pod.At))
				continue
			}
			served.use(found[0].Ref())
			served.see(servedName(found[0]))
		}
		out = append(out, served.sighting(x.id, r.Name+" "+w.Name))
	}
	return out
}

// sender is who sent a request, to whom, as its record names them, with the cluster that its certificate belongs to.
func (x *trial) sender(t *tally, rec *evidence.Request) string {
	peer, self, err := x.d.peer(rec)
	if err != nil {
		t.invalid("BadIdentity", refsOf(rec), "request %s: %v", rec.ID, err)
	}
	saw := named(peer)
	if x.d.traits().namesReceiver {
		saw += " at " + named(self)
	}
	if at := x.originOf(t, rec); at != "" {
		saw += ", with the certificate of " + at
	}
	return saw
}

// servedName is the identity of a chain that was read with how it was served, or why none was.
func servedName(h *evidence.Handshake) string {
	if h.Error != "" || len(h.Chain) == 0 {
		word, _, _ := strings.Cut(h.Error, ":")
		return "no chain: " + word
	}
	leaf, err := x509.ParseCertificate(h.Chain[0])
	if err != nil {
		return "a certificate that cannot be read"
	}
	names := slices.Clone(leaf.DNSNames)
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	return fmt.Sprintf("%s, %s key, %d certificates, %s", named(strings.Join(names, " ")), leaf.PublicKeyAlgorithm, len(h.Chain), h.Version)
}

// sight gathers what was seen of one thing.
type sight struct {
	tally
	subject string
	saw     []string
	hidden  string // why the mesh shows nothing
}

func (s *sight) see(what string) { s.saw = append(s.saw, what) }

func (s *sight) sighting(id evidence.Trial, of string) Sighting {
	slices.Sort(s.saw)
	out := Sighting{
		Trial: id, Kind: SightingIdentity, Subject: of + ", " + s.subject,
		Saw: strings.Join(slices.Compact(s.saw), "; "), Used: refs(s.used),
	}
	switch {
	case len(s.lack) > 0:
		out.Unproved = s.lack[0].message
	case len(s.saw) == 0 && s.hidden != "":
		out.Unproved, out.LeftOut = s.hidden, true
	case len(s.saw) == 0:
		out.Unproved = "nothing was seen"
	}
	return out
}

func named(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

// Recovered is when, after the start of the load, the steady state was back after a fault; false where it did not come
// back, or where that cannot be told.
func (f Fault) Recovered() (time.Duration, bool) {
	if f.Verdict != Pass || f.RecoveryMicros < 0 {
		return 0, false
	}
	from := f.EndMicros
	if f.Kind == string(scenarios.PodKill) {
		from = f.StartMicros // a pod that dies begins to recover at once
	}
	return micro(from + f.RecoveryMicros), true
}
