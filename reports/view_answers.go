package reports

import (
	"strings"

	"github.com/meshproof/meshproof/verify"
)

// answer is what one mesh made of one question, over clusters, connections and blocks.
type answer struct {
	Asked    bool
	Observed string
	Message  string
	Verdict  verify.Verdict
	Marked   string // how it differs from the other meshes, in words
	statuses []string
	causes   []string
}

// unjudged is what is observed where an answer says nothing of the mesh.
const unjudged = "not judged"

// add takes one more answer to the question in. The message is that of the worst. An answer that cannot be judged says
// nothing beside one that can.
func (a *answer) add(observed, status, cause, message string, v verify.Verdict) {
	switch {
	case v == verify.Skipped && a.Asked:
		return
	case v == verify.Skipped:
		observed, status = unjudged, ""
	case a.Verdict == verify.Skipped:
		*a = answer{}
	}
	a.Observed = merged(a.Observed, observed)
	if !a.Asked || rank(v) > rank(a.Verdict) {
		a.Verdict, a.Message = v, message
	}
	a.statuses, a.causes, a.Asked = once(a.statuses, status), once(a.causes, cause), true
}

// Status is what clients saw: status codes, or how connections ended.
func (a answer) Status() string { return strings.Join(a.statuses, ", ") }

// Cause is who refused it, and why.
func (a answer) Cause() string { return strings.Join(a.causes, "; ") }

// Trouble says why the answer proves nothing good; a declared gap is no trouble.
func (a answer) Trouble() string {
	if a.Verdict == verify.Pass || a.Verdict == verify.Gap {
		return ""
	}
	return a.Message
}

// merged is what several answers come to.
func merged(a, b string) string {
	if a == "" || a == b {
		return b
	}
	return "mixed"
}

// markAnswers says whether meshes answered a question differently, and marks those that are not as most are; of equals,
// those that are not as expected. What a mesh is declared not to do is no difference to find.
func markAnswers(expected string, answers []answer) (differ bool) {
	counts := map[string]int{}
	for _, a := range answers {
		if a.Asked && a.Verdict != verify.Gap && a.Verdict != verify.Skipped {
			counts[a.Observed]++
		}
	}
	if len(counts) < 2 {
		return false
	}
	most := expected
	for observed, n := range counts {
		if n > counts[most] || (n == counts[most] && most != expected && observed < most) {
			most = observed
		}
	}
	for i := range answers {
		if a := &answers[i]; a.Asked && a.Verdict != verify.Gap && a.Verdict != verify.Skipped && a.Observed != most {
			a.Marked = markWords(markOther)
		}
	}
	return true
}

// lineClass is what the filter of a table of questions goes by.
func lineClass(marked, gap bool) string {
	switch {
	case marked:
		return "off"
	case gap:
		return "gapped"
	}
	return "same"
}

// filter is the choice above a table of questions, and how many questions each choice shows.
type filter struct {
	Name             string // unique in the page
	All, Gapped, Off int
}

func newFilter(name string, classes []string) filter {
	f := filter{Name: name, All: len(classes)}
	for _, c := range classes {
		f.Gapped += oneIf(c != "same")
		f.Off += oneIf(c == "off")
	}
	return f
}
