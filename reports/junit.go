package reports

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"

	"github.com/meshproof/meshproof/verify"
)

// The JUnit form that CI systems read: Jenkins' schema, with one suite a trial, and one a mesh for what is judged over all
// its blocks.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr,omitempty"`
	Properties *junitProps     `xml:"properties,omitempty"`
	Cases      []junitTestCase `xml:"testcase"`
}

type junitProps struct {
	Property []junitProp `xml:"property"`
}

type junitProp struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitTestCase struct {
	Name      string       `xml:"name,attr"`
	ClassName string       `xml:"classname,attr"`
	Time      string       `xml:"time,attr"`
	Failure   *junitDetail `xml:"failure,omitempty"`
	Error     *junitDetail `xml:"error,omitempty"`
	Skipped   *junitDetail `xml:"skipped,omitempty"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// junit writes the report as JUnit XML. Besides a suite for every trial there is one for the run as a whole, so that a
// run which is INVALID for a reason of its own (no checks, a mesh left out, evidence cut off) is never green.
func junit(r *Report) ([]byte, error) {
	doc := junitSuites{Name: "meshproof " + r.Scenario.Name}
	run := junitSuite{
		Name: r.Scenario.Name, Time: "0", Timestamp: r.Provenance.Started.Format("2006-01-02T15:04:05"),
		Properties: &junitProps{Property: []junitProp{
			{"runID", r.RunID},
			{"verdict", r.word(r.Verdict)},
			{"driver", r.Provenance.Driver},
			{"modelled", strconv.FormatBool(r.Modelled)},
			{"partial", strconv.FormatBool(r.Partial || r.Interrupted)},
			{"seed", strconv.FormatInt(r.Provenance.Seed, 10)},
		}},
	}
	run.add("meshproof."+r.Scenario.Name, "verdict of the run", r.Verdict, r.Reason, r.Message, strings.Join(r.Problems, "\n"))
	doc.add(run)
	told := make([]bool, len(r.Checks))
	tell := func(s *junitSuite, class string, belongs func(*Check) bool) {
		for i := range r.Checks {
			if c := &r.Checks[i]; !told[i] && belongs(c) {
				told[i] = true
				s.add(class, c.ID, c.Verdict, c.Reason, c.Message, c.details())
			}
		}
	}
	for _, t := range r.Trials {
		s := junitSuite{Name: r.suite(t.Mesh, t.Block), Time: strconv.FormatFloat(t.Seconds, 'f', 3, 64)}
		class := "meshproof." + r.Scenario.Name + "." + t.Mesh
		// A trial may be worse than its checks, or have none.
		s.add(class, "verdict of the trial", t.Verdict, t.Reason, t.Message, "")
		tell(&s, class, func(c *Check) bool { return c.Mesh == t.Mesh && c.Block == t.Block })
		doc.add(s)
	}
	// Checks over all blocks belong to no trial; nor may any other be left out.
	for i := range r.Checks {
		if first := r.Checks[i]; !told[i] {
			s := junitSuite{Name: r.suite(first.Mesh, first.Block), Time: "0"}
			tell(&s, "meshproof."+r.Scenario.Name+"."+first.Mesh, func(c *Check) bool { return c.Mesh == first.Mesh && c.Block == first.Block })
			doc.add(s)
		}
	}
	b, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding junit.xml: %w", err)
	}
	return append([]byte(xml.Header), append(b, '\n')...), nil
}

func (d *junitSuites) add(s junitSuite) {
	d.Tests += s.Tests
	d.Failures += s.Failures
	d.Errors += s.Errors
	d.Skipped += s.Skipped
	d.Suites = append(d.Suites, s)
}

func (s *junitSuite) add(class, name string, v verify.Verdict, reason, message, details string) {
	c := junitTestCase{Name: name, ClassName: class, Time: "0"}
	d := &junitDetail{Message: orElse(message, reason), Type: orElse(reason, string(v)), Text: details}
	switch v {
	case verify.Pass:
	case verify.Fail:
		c.Failure = d
		s.Failures++
	case verify.Skipped, verify.Gap:
		// <skipped> has no type in the schema, so the word goes into the message.
		c.Skipped = &junitDetail{Message: string(v) + ": " + d.Message}
		s.Skipped++
	case verify.Error:
		c.Error = d
		s.Errors++
	default:
		d.Type = string(verify.Invalid)
		d.Message = orElse(reason, "INVALID") + ": " + message
		c.Error = d
		s.Errors++
	}
	s.Tests++
	s.Cases = append(s.Cases, c)
}

func (r *Report) suite(mesh string, block int) string {
	switch {
	case block == overAllBlocks:
		return r.Scenario.Name + " / " + mesh + " / over all blocks"
	case r.Blocks > 1:
		return fmt.Sprintf("%s / %s / block %d", r.Scenario.Name, mesh, block)
	}
	return r.Scenario.Name + " / " + mesh
}

// details is what a check has seen, for a CI system's page.
func (c *Check) details() string {
	var b strings.Builder
	if c.Observed != "" {
		fmt.Fprintf(&b, "observed %s", c.Observed)
		if c.Limit != "" {
			fmt.Fprintf(&b, ", limit %s", c.Limit)
		}
		b.WriteString("\n")
	}
	for _, w := range c.Witnesses {
		fmt.Fprintf(&b, "%s: %s: %s\n", w.Verdict, w.Name, w.Message)
	}
	for _, e := range c.Evidence {
		fmt.Fprintf(&b, "evidence %s\n", e.Ref)
	}
	return b.String()
}
