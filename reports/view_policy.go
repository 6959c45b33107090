package reports

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// policyView is the policy matrix: caller by callee by request down, meshes across.
type policyView struct {
	Callers []policyCaller
	Full    []policyLine // every question by itself
	Asked   int          // questions
	Differ  int          // of these: answered by some mesh other than expected, for which no gap is declared
	Gaps    int          // of these: let through by a mesh that declares the gap
	Between int          // of these: answered differently by the meshes, declared gaps apart
	Unknown int          // of these: not judged for some mesh
	Filter  filter
}

type policyCaller struct {
	Caller string
	Lines  []policyLine
}

// policyLine is one request from caller to callee, over clusters, connections and blocks; or several to which each mesh
// gave the same answer, as expected.
type policyLine struct {
	From, Cluster, To, Connection string
	Requests                      []string // method and path
	Expected                      string
	Answers                       []answer
	Off                           bool // some mesh answered other than expected, without a declared gap
	Gap                           bool // some mesh let it through as it declares
	Between                       bool // meshes differ, declared gaps apart
	Class                         string
}

func (r *Report) policyView() *policyView {
	if len(r.Cells) == 0 {
		return nil
	}
	v := &policyView{}
	var classes []string
	for _, l := range r.policyLines(func(c Cell) Cell { c.Cluster, c.Connection = "", ""; return c }) {
		v.Asked++
		v.Gaps += oneIf(l.Gap)
		v.Differ += oneIf(l.Off)
		v.Between += oneIf(l.Between)
		v.Unknown += oneIf(slices.ContainsFunc(l.Answers, func(a answer) bool { return a.Verdict == verify.Skipped }))
		classes = append(classes, l.Class)
		i := slices.IndexFunc(v.Callers, func(c policyCaller) bool { return c.Caller == l.From })
		if i < 0 {
			i = len(v.Callers)
			v.Callers = append(v.Callers, policyCaller{Caller: l.From})
		}
		from := &v.Callers[i]
		if alike := slices.IndexFunc(from.Lines, l.alike); alike >= 0 {
			from.Lines[alike].join(l)
			continue
		}
		from.Lines = append(from.Lines, l)
	}
	v.Filter = newFilter("policy", classes)
	v.Full = r.policyLines(func(c Cell) Cell { return c })
	return v
}

// policyLines takes cells together that are the same after fold, in the order in which they first appear.
func (r *Report) policyLines(fold func(Cell) Cell) []policyLine {
	type key struct{ from, cluster, to, method, path, connection string }
	var keys []key
	groups := map[key][]Cell{}
	for _, c := range r.Cells {
		c = fold(c)
		k := key{c.From, c.Cluster, c.To, c.Method, c.Path, c.Connection}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], c)
	}
	var out []policyLine
	for _, k := range keys {
		l := policyLine{From: k.from, Cluster: k.cluster, To: k.to, Connection: k.connection, Requests: []string{k.method + " " + k.path}}
		for _, m := range r.Meshes {
			a := answer{}
			for _, c := range groups[k] {
				if c.Mesh != m {
					continue
				}
				l.Expected = merged(l.Expected, c.Expected)
				a.add(c.Observed, c.Status, "", c.Message, c.Verdict)
				switch {
				case c.Verdict == verify.Gap:
					l.Gap = true
				case c.Verdict == verify.Skipped:
				case c.Verdict != verify.Pass || c.Observed != c.Expected:
					l.Off = true
				}
			}
			l.Answers = append(l.Answers, a)
		}
		l.Between = markAnswers(l.Expected, l.Answers)
		l.Class = lineClass(l.Off || l.Between, l.Gap)
		out = append(out, l)
	}
	return out
}

// alike says that both lines say the same of two requests. What is wrong or differs stands for itself.
func (l *policyLine) alike(o policyLine) bool {
	return l.To == o.To && l.Expected == o.Expected && l.Class != "off" && l.Class == o.Class &&
		slices.EqualFunc(l.Answers, o.Answers, func(a, b answer) bool {
			return a.Asked == b.Asked && a.Observed == b.Observed && a.Verdict == b.Verdict
		})
}

// join takes a line that is alike in.
func (l *policyLine) join(o policyLine) {
	l.Requests = append(l.Requests, o.Requests...)
	for i := range l.Answers {
		for _, s := range o.Answers[i].statuses {
			l.Answers[i].statuses = once(l.Answers[i].statuses, s)
		}
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// faultView is one fault in all trials.
type faultView struct {
	Name, Kind string
	Rows       []faultRow
}

type faultRow struct {
	Trial, Class string
	Target       string
	When         string
	Effect       string
	Verdict      verify.Verdict
	Recovery     string
}

func (r *Report) faultViews() []faultView {
	var out []faultView
	for _, f := range r.Faults {
		i := slices.IndexFunc(out, func(v faultView) bool { return v.Name == f.Name })
		if i < 0 {
			i = len(out)
			out = append(out, faultView{Name: f.Name, Kind: f.Kind})
		}
		if v := &out[i]; f.By != "" && !strings.Contains(v.Kind, " by ") { // in the first trial that knows
			v.Kind += " by " + f.By
		}
		row := faultRow{Trial: r.trialName(f.Mesh, f.Block), Class: r.class(f.Mesh), Target: strings.ReplaceAll(f.Target, "|", " ↔ "), Effect: f.Effect, Verdict: f.Verdict, When: "–"}
		if f.StartMicros >= 0 && f.Verdict != verify.Skipped {
			row.When = atSeconds(f.StartMicros)
			if f.EndMicros > f.StartMicros {
				row.When += " to " + atSeconds(f.EndMicros)
			}
		}
		switch {
		case f.Verdict == verify.Skipped, (&scenarios.Fault{Kind: scenarios.FaultKind(f.Kind)}).Rotates():
			row.Recovery = "–"
		case f.RecoveryMicros < 0:
			row.Recovery = "not seen"
		default:
			row.Recovery = atSeconds(f.RecoveryMicros)
		}
		out[i].Rows = append(out[i].Rows, row)
	}
	return out
}

// atSeconds writes a time of a fault with two decimals: probes are not finer.
func atSeconds(us int64) string {
	return strconv.FormatFloat(float64(us)/1e6, 'f', 2, 64) + " s"
}
