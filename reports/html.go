package reports

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/meshproof/meshproof/reports/chart"
	"github.com/meshproof/meshproof/verify"
)

//go:embed page/*.tmpl page/style.css
var pageFiles embed.FS

// HTML writes the report as one page that needs nothing else: no script, no font, no picture from anywhere. A content
// security policy forbids all of these, and allows the page's one style sheet by its hash.
func HTML(w io.Writer, r *Report) error {
	p := newPage(r)
	var err error
	if p.CSS, p.CSP, err = styled(); err != nil {
		return err
	}
	return writePage(w, "report.tmpl", p)
}

// styled is a page's style sheet, and the content security policy that allows it and nothing else.
func styled() (css template.CSS, csp string, err error) {
	style, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		return "", "", fmt.Errorf("reading the page's style sheet: %w", err)
	}
	css = template.CSS(string(style) + chart.CSS) // constant, from this repository
	sum := sha256.Sum256([]byte(css))
	return css, "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'none'", nil
}

// writePage writes the page of a template.
func writePage(w io.Writer, name string, page any) error {
	t, err := template.New(name).Funcs(template.FuncMap{
		"lower":  func(v any) string { return strings.ToLower(fmt.Sprint(v)) },
		"count":  count,
		"spaced": spaced,
		"addOne": func(n int) int { return n + 1 },
		"differ": differWords,
	}).ParseFS(pageFiles, "page/*.tmpl")
	if err != nil {
		return fmt.Errorf("reading the page's templates: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return fmt.Errorf("rendering %s: %w", strings.TrimSuffix(name, ".tmpl"), err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// page is what the templates see.
type page struct {
	R           *Report
	CSS         template.CSS
	CSP         string
	Word        string
	Meaning     string
	Tally       string
	Partial     string
	Reused      string
	Started     string
	Overview    *overview
	Matrix      []matrixGroup
	Differ      int // rows of the matrix in which meshes differ
	Latency     []latencyView
	Time        []timeGroup
	Cost        *costView
	Policy      *policyView
	Tokens      []tokenLine
	TokenFilter filter
	Faults      []faultView
	Findings    []findingGroup
	Passed      []passedGroup
	NumPass     int
	Blocks      bool // there is more than one block to tell apart
	Facts       []fact
}

func newPage(r *Report) *page {
	p := &page{
		R: r, Word: r.word(r.Verdict), Meaning: meaning(r.Verdict), Tally: r.tally(),
		Started:  r.Provenance.Started.Format("2 January 2006, 15:04:05 UTC"),
		Overview: r.overview(), Matrix: r.matrixGroups(), Differ: differing(r.Matrix), Latency: r.latencyViews(), Time: r.timeGroups(), Cost: r.costView(),
		Policy: r.policyView(), Tokens: r.tokenLines(), Faults: r.faultViews(), Findings: r.findingGroups(), Passed: r.passedGroups(),
		NumPass: r.Counts[verify.Pass], Blocks: r.Blocks > 1, Facts: r.facts(),
	}
	var classes []string
	for _, l := range p.Tokens {
		classes = append(classes, l.Class)
	}
	p.TokenFilter = newFilter("tokens", classes)
	if r.Partial || r.Interrupted {
		p.Partial = partialWords(r)
	}
	p.Reused = reusedWords(r)
	return p
}

// safeSVG marks a chart as markup: package chart escapes every text that goes into one.
func safeSVG(s string) template.HTML {
	return template.HTML(s) // tested by TestNothingFromARecordReachesThePageUnescaped
}

// class is the class that gives a mesh its colour, the same in every chart and table.
func (r *Report) class(mesh string) string {
	for i, m := range r.Meshes {
		if m == mesh {
			return fmt.Sprintf("s%d", i%6)
		}
	}
	return "s5"
}

// trialName names a trial: its mesh, and its block where there are several.
func (r *Report) trialName(mesh string, block int) string {
	switch {
	case block == overAllBlocks:
		return mesh + ", over all blocks"
	case r.Blocks > 1:
		return fmt.Sprintf("%s, block %d", mesh, block)
	}
	return mesh
}
