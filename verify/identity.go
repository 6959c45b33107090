package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// Reasons for which a request from outside got where it must not.
const (
	reasonToken  = "TokenAccepted"
	reasonClaims = "ClaimsIgnored"
)

// identity judges what the edge makes of users' tokens for one service: whoever has a good one with the right claims is
// served, and nobody else reaches the service. The token itself is checked before every mesh; what a token's claims
// allow is the mesh's policy, and may be a declared gap.
func (x *trial) identity(to scenarios.Workload) (Check, []Cell) {
	c := Check{Kind: KindIdentity, Subject: to.Name}
	var all, tokens, claims tally
	var cells []Cell
	x.whole(&all, evidence.Requests, evidence.Probes, evidence.Accesses, evidence.Events)
	for _, r := range x.edge {
		all.add(&r.tally)
	}
	forbidden, got := 0, 0
	for _, asks := range grouped(x.edge, to.Name) {
		cell, t := x.tokenCell(asks)
		cells = append(cells, cell)
		if !onClaims(cell.Token) {
			tokens.add(t)
			continue
		}
		claims.add(t)
		forbidden++
		if len(t.disproof) > 0 {
			got++
		}
	}
	if len(cells) == 0 {
		tokens.invalid("NotAsked", nil, "the plan asks nothing of %s from outside", to.Name)
	}
	if what := unaskedEdge(x.entry); what != "" {
		tokens.invalid("NotAsked", nil, "%s, which no token of the plan meets: whether it opens %s to somebody cannot be told", what, to.Name)
	}
	c.Witnesses = append(c.Witnesses, tokens.witness("tokens", "good tokens are served, and all others refused at the edge"))
	if forbidden > 0 {
		c.Witnesses = append(c.Witnesses, claims.witness("claims", "good tokens without the claims that the policy asks for are refused at the edge"))
	}
	all.add(&tokens)
	gap := forbidden > 0 && (x.declares(scenarios.GapEdgeClaims) || x.declares(scenarios.GapPolicy))
	if !gap || len(all.disproof)+len(all.lack) > 0 {
		// What is wrong with tokens themselves is no gap, whatever becomes of claims.
		if !gap {
			all.add(&claims)
		}
		c.Verdict, c.Reason, c.Message, c.Used = all.judge(fmt.Sprintf("all %d kinds of token are treated as the policy says, as its client, the service and the edge record", len(cells)))
		return c, cells
	}
	all.add(&claims)
	switch {
	case len(claims.lack) > 0:
		c.Verdict, c.Reason, c.Message = Invalid, claims.lack[0].reason, "the declared gap cannot be shown: "+claims.lack[0].message
		c.Used = refs(claims.lack[0].used)
	case got == 0:
		c.Verdict, c.Reason = Invalid, "GapClosed"
		c.Message = "policy on claims is declared as a gap of this mesh, and every token without the right claims was refused: the declaration is stale, or the check is blind"
	default:
		c.Verdict, c.Reason = Gap, "DeclaredGap"
		c.Message = fmt.Sprintf("as declared: %d of %d kinds of token with the wrong claims got through; all others are treated as they should be", got, forbidden)
		for _, d := range claims.disproof {
			all.use(d.used...)
		}
		c.Used = refs(all.used)
		for i := range c.Witnesses {
			if c.Witnesses[i].Verdict == Fail {
				c.Witnesses[i].Verdict = Gap
			}
		}
		for i := range cells {
			if onClaims(cells[i].Token) && cells[i].Verdict == Fail {
				cells[i].Verdict = Gap
			}
		}
	}
	return c, cells
}

// onClaims reports whether a kind of token is about claims alone.
func onClaims(kind string) bool { return kind == TokenMissingClaim || kind == TokenWrongClaim }

// tokenCell judges one kind of token at one door over all its rounds.
func (x *trial) tokenCell(asks []roundAsk) (Cell, *tally) {
	a := asks[0].Ask
	c := Cell{
		ID: a.Cell, Trial: x.id, From: a.From, Cluster: a.Cluster, To: a.To, Method: a.Method, Path: a.Path,
		Connection: a.Connection, Expected: refused, Token: a.Token.Kind, Claims: a.Token.Claims, Wanted: itoa(a.Token.Status),
	}
	if a.Allowed {
		c.Expected = allowed
	}
	t := &tally{}
	through, turned := 0, 0
	statuses, causes := map[string]bool{}, map[string]bool{}
	for _, ra := range asks {
		for _, p := range x.answered(t, ra.round, ra.Ask) {
			statuses[status(p)] = true
			if !carried(p, ra.Token) {
				t.invalid("NotAsked", refsOf(p), "request %s did not carry the token that its cell %s says", p.ID, p.Cell)
			}
			edge, behind := x.arrivals(p)
			switch {
			case len(behind) > 0:
				through++
			case p.Status/100 != 2:
				turned++
			}
			if a.Allowed {
				x.servedUser(t, p, edge, behind)
			} else if cause := x.refusedUser(t, p, edge, behind, onClaims(a.Token.Kind)); cause != "" {
				causes[cause] = true
			}
		}
	}
	switch {
	case through > 0 && turned > 0:
		c.Observed = mixed
	case through > 0 && len(t.lack) == 0:
		c.Observed = allowed
	case turned > 0 && len(t.lack) == 0:
		c.Observed = refused
	default:
		c.Observed = unknown
	}
	c.Status, c.Cause = strings.Join(sortedKeys(statuses), ", "), strings.Join(sortedKeys(causes), "; ")
	c.Verdict, _, c.Message, c.Used = t.judge("")
	return c, t
}

// carried reports whether a request from outside carried the token that was asked for.
func carried(p *evidence.Probe, want *Token) bool {
	return p.Token != nil && p.Token.Kind == want.Kind && maps.Equal(p.Token.Claims, want.Claims) &&
		(p.Token.SHA256 == "") == (want.Kind == TokenNone)
}

// arrivals lists the records of a request by the ingress, and by anybody behind it.
func (x *trial) arrivals(p *evidence.Probe) (edge, behind []*evidence.Request) {
	for _, r := range x.requests[p.ID] {
		if r.At.Service == scenarios.IngressName {
			edge = append(edge, r)
		} else {
			behind = append(behind, r)
		}
	}
	return edge, behind
}

// servedUser wants a request with a good token to have been answered by the service, which recorded it once as coming
// from the ingress that was asked, and that ingress to have recorded it too.
func (x *trial) servedUser(t *tally, p *evidence.Probe, edge, behind []*evidence.Request) {
	used := append(append(refsOf(p), refsOf(edge...)...), refsOf(behind...)...)
	t.use(used...)
	switch {
	case p.Status/100 != 2 && len(behind) == 0 && (p.Status == 401 || p.Status == 403):
		t.fail(reasonBlock, used, "%s is allowed, and was refused: %s %s", p.Cell, status(p), p.Body)
		return
	case p.Status/100 != 2:
		t.invalid("Unanswered", used, "%s is allowed, and its client saw %s", p.Cell, x.seen(p))
		return
	}
	x.heardUser(t, p, edge, behind, used)
}

// heardUser checks the records of a request from outside that was answered.
func (x *trial) heardUser(t *tally, p *evidence.Probe, edge, behind []*evidence.Request, used []evidence.Ref) {
	switch {
	case len(x.probes[p.ID]) != 1:
		t.invalid("RecordedTwice", used, "there are %d proof requests with the ID %s", len(x.probes[p.ID]), p.ID)
		return
	case len(behind) == 0:
		t.invalid("NoRecord", used, "request %s was answered %s, and no workload recorded it", p.ID, status(p))
		return
	case len(behind) > 1 || len(edge) != 1:
		t.invalid("RecordedTwice", used, "request %s was recorded %d times by the ingress and %d times behind it, want once each", p.ID, len(edge), len(behind))
		return
	}
	door, rec := edge[0], behind[0]
	switch {
	case door.At.Cluster != p.From.Cluster || door.Status != p.Status:
		t.invalid("Altered", used, "request %s was recorded by the ingress of %s with status %d, and its client asked that of %s and saw %s", p.ID, door.At.Cluster, door.Status, p.From.Cluster, status(p))
	case rec.Attempt > 1:
		t.invalid("Retried", used, "request %s arrived at attempt %d: retries must be off for proofs", p.ID, rec.Attempt)
	case rec.At.Service != p.To:
		t.invalid("WrongWorkload", used, "request %s to %s arrived at %s", p.ID, p.To, rec.At.Service)
	case rec.Window != p.Window || rec.Method != p.Method || rec.Path != p.Path || rec.Caller != scenarios.IngressName+"@"+p.From.Cluster:
		t.invalid("Altered", used, "request %s arrived as %s %s of %s in window %s: not as it was sent", p.ID, rec.Method, rec.Path, rec.Caller, rec.Window)
	}
	if x.d.proxied() {
		ingress, _ := x.s.Workload(scenarios.IngressName)
		to, _ := x.s.Workload(p.To)
		x.identified(t, rec, ingress, to)
	}
}

// refusedUser wants a request to have reached nobody behind the edge, a twin with a good token to have been served at
// the same moment, and the edge to name the cause, which it returns.
func (x *trial) refusedUser(t *tally, p *evidence.Probe, edge, behind []*evidence.Request, claims bool) string {
	used := append(append(refsOf(p), refsOf(edge...)...), refsOf(behind...)...)
	if len(behind) > 0 {
		if p.Status/100 == 2 {
			x.heardUser(t, p, edge, behind, used)
		} else {
			t.invalid("Unanswered", used, "%s: request %s arrived, and its client saw %s", p.Cell, p.ID, x.seen(p))
		}
		reason := reasonToken
		if claims {
			reason = reasonClaims
		}
		t.fail(reason, used, "%s must be refused, and got through: request %s was recorded by %s and answered %s", p.Cell, p.ID, podName(behind[0].At), status(p))
		return ""
	}
	if p.Status/100 == 2 {
		t.invalid("NoRecord", used, "%s must be refused, and was answered %s without a record of any workload behind the edge", p.Cell, status(p))
		return ""
	}
	if len(x.probes[p.ID]) != 1 {
		t.invalid("RecordedTwice", used, "there are %d proof requests with the ID %s", len(x.probes[p.ID]), p.ID)
	}
	x.userTwin(t, p)
	if p.Status != 401 && p.Status != 403 {
		t.invalid("NoCause", used, "%s went unanswered (%s): that is not how an edge refuses", p.Cell, status(p))
		return ""
	}
	return x.edgeCause(t, p, edge)
}

// edgeCause finds who refused a request at the edge, and why: the ingress in its record, or else its proxy in its
// access log.
func (x *trial) edgeCause(t *tally, p *evidence.Probe, edge []*evidence.Request) string {
	used := append(refsOf(p), refsOf(edge...)...)
	if len(edge) > 0 {
		r := edge[0]
		if len(edge) > 1 || r.Refused == "" || r.Status != p.Status || r.At.Cluster != p.From.Cluster {
			t.invalid("NoCause", used, "%s was answered %s, and the ingress of %s recorded it %d times, as refused for %q with status %d", p.Cell, status(p), r.At.Cluster, len(edge), r.Refused, r.Status)
			return ""
		}
		if x.d.traits().guardsEdge {
			// The gateway checks tokens before every mesh. Behind a proxy that does so itself it must never have anything to
			// refuse: it would hide a hole of the mesh's own configuration.
			t.fail(reasonToken, used, "%s was let through by the ingress proxy, and only the harness's own gateway behind it refused it: %q", p.Cell, r.Refused)
			return "gateway: " + r.Refused
		}
		t.use(used...)
		return "gateway: " + r.Refused
	}
	var found []line
	for _, l := range x.lines[p.ID] {
		if l.At.Service == scenarios.IngressName {
			found = append(found, l)
			used = append(used, l.Ref())
		}
	}
	if len(found) != 1 || found[0].code != p.Status || found[0].At.Cluster != p.From.Cluster || !found[0].denied() && !found[0].unauthenticated() {
		t.invalid("NoCause", used, "%s was answered %s, and neither the ingress nor its proxy says once that it refused it, and why", p.Cell, status(p))
		return ""
	}
	t.use(used...)
	return "ingress proxy: " + found[0].details
}

// unauthenticated reports whether the line names the check of a token as the cause of the answer (Envoy's jwt_authn).
func (l accessLine) unauthenticated() bool {
	return (l.code == 401 || l.code == 403) && strings.HasPrefix(l.details, "jwt_authn_access_denied")
}

// userTwin checks the twin of a refused request from outside: one to the same service with a good token, at the same
// moment, through the same ingress, that was served.
func (x *trial) userTwin(t *tally, p *evidence.Probe) {
	found := x.probes[p.Twin]
	if p.Twin == "" || len(found) != 1 || found[0].Role != roleTwin {
		t.invalid("NoTwin", append(refsOf(p), refsOf(found...)...), "request %s was refused, and has no twin with a good token to show that %s was there", p.ID, p.To)
		return
	}
	w := found[0]
	used := refsOf(p, w)
	switch {
	case w.Token == nil || p.Token == nil || w.Token.Kind != TokenGood || w.Token.SHA256 == "" || w.Token.SHA256 == p.Token.SHA256,
		w.From != p.From, w.To != p.To, w.Window != p.Window,
		!x.s.Spec.Policy.Admits(w.To, w.Method, w.Path, w.Token.Claims):
		t.invalid("NoTwin", used, "the twin %s of request %s is not a request to the same service with a good token", w.ID, p.ID)
	case apart(p, w) > sameMoment:
		t.invalid("NoTwin", used, "the twin %s of request %s was sent %s apart from it, want at most %s", w.ID, p.ID, apart(p, w), sameMoment)
	case w.Status/100 != 2:
		t.invalid("TwinFailed", used, "the twin %s of request %s, with a good token, was answered %s: %s was not there for anybody", w.ID, p.ID, status(w), p.To)
	default:
		edge, behind := x.arrivals(w)
		used = append(append(used, refsOf(edge...)...), refsOf(behind...)...)
		t.use(used...)
		x.heardUser(t, w, edge, behind, used)
	}
}

// grouped takes asks of a service together by cell: before and after the load are one cell.
func grouped(rounds []*round, to string) [][]roundAsk {
	var out [][]roundAsk
	for _, r := range rounds {
		for _, a := range r.Asks {
			if a.To != to {
				continue
			}
			i := slices.IndexFunc(out, func(g []roundAsk) bool { return g[0].Cell == a.Cell })
			if i < 0 {
				i = len(out)
				out = append(out, nil)
			}
			out[i] = append(out[i], roundAsk{r, a})
		}
	}
	return out
}
