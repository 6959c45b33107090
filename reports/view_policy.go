package reports

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meshproof/meshproof/verify"
)

// policyView is the policy matrix: callers down, callees across, and in each field what was asked.
type policyView struct {
	Callers []string
	Callees []string
	Rows    []policyRow
	Full    []policyLine // every question by itself
	Asked   int          // questions
	Differ  int          // of these: answered by some mesh other than expected, for which no gap is declared
	Gaps    int          // of these: let through by a mesh that declares the gap
	Between int          // of these: answered differently by the meshes
}

type policyRow struct {
	Caller string
	Fields []policyField // one for each callee
}

type policyField struct {
	Lines []policyLine
}

// policyLine is one request from caller to callee, over clusters, connections and blocks.
type policyLine struct {
	From, Cluster, To, Method, Path, Connection string
	Expected                                    string
	Answers                                     []policyAnswer
	AsExpected                                  bool // by every mesh that was asked
	Between                                     bool // meshes differ
}

// policyAnswer is what one mesh did with it.
type policyAnswer struct {
	Mesh, Class string
	Asked       bool
	Observed    string
	Status      string
	Verdict     verify.Verdict
	Message     string
}

func (r *Report) policyView() *policyView {
	if len(r.Cells) == 0 {
		return nil
	}
	v := &policyView{}
	for _, c := range r.Cells {
		if !slices.Contains(v.Callers, c.From) {
			v.Callers = append(v.Callers, c.From)
		}
		if !slices.Contains(v.Callees, c.To) {
			v.Callees = append(v.Callees, c.To)
		}
	}
	short := r.policyLines(func(c Cell) Cell { c.Cluster, c.Connection = "", ""; return c })
	for _, l := range short {
		v.Asked++
		if slices.ContainsFunc(l.Answers, func(a policyAnswer) bool { return a.Asked && a.Verdict == verify.Gap }) {
			v.Gaps++
		}
		if slices.ContainsFunc(l.Answers, func(a policyAnswer) bool {
			return a.Asked && a.Verdict != verify.Gap && (a.Verdict != verify.Pass || a.Observed != l.Expected)
		}) {
			v.Differ++
		}
		if l.Between {
			v.Between++
		}
	}
	for _, from := range v.Callers {
		row := policyRow{Caller: from}
		for _, to := range v.Callees {
			f := policyField{}
			for _, l := range short {
				if l.From == from && l.To == to {
					f.Lines = append(f.Lines, l)
				}
			}
			row.Fields = append(row.Fields, f)
		}
		v.Rows = append(v.Rows, row)
	}
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
		l := policyLine{From: k.from, Cluster: k.cluster, To: k.to, Method: k.method, Path: k.path, Connection: k.connection, AsExpected: true}
		first := ""
		for _, m := range r.Meshes {
			a := policyAnswer{Mesh: m, Class: r.class(m)}
			var statuses []string
			for _, c := range groups[k] {
				if c.Mesh != m {
					continue
				}
				l.Expected = merged(l.Expected, c.Expected)
				a.Observed = merged(a.Observed, c.Observed)
				if !a.Asked || rank(c.Verdict) > rank(a.Verdict) {
					a.Verdict, a.Message = c.Verdict, c.Message
				}
				if !slices.Contains(statuses, c.Status) && c.Status != "" {
					statuses = append(statuses, c.Status)
				}
				if c.Observed != c.Expected || c.Verdict != verify.Pass {
					l.AsExpected = false
				}
				a.Asked = true
			}
			a.Status = strings.Join(statuses, ", ")
			if a.Asked {
				if first == "" {
					first = a.Observed
				}
				l.Between = l.Between || a.Observed != first
			}
			l.Answers = append(l.Answers, a)
		}
		out = append(out, l)
	}
	return out
}

// merged is what several answers come to.
func merged(a, b string) string {
	if a == "" || a == b {
		return b
	}
	return "mixed"
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
		row := faultRow{Trial: r.trialName(f.Mesh, f.Block), Class: r.class(f.Mesh), Target: f.Target, Effect: f.Effect, Verdict: f.Verdict, When: "–"}
		if f.StartMicros >= 0 && f.Verdict != verify.Skipped {
			row.When = atSeconds(f.StartMicros)
			if f.EndMicros > f.StartMicros {
				row.When += " to " + atSeconds(f.EndMicros)
			}
		}
		switch {
		case f.Verdict == verify.Skipped:
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
