// Package reports turns a record and what it proves into what people and
// machines read: report.html, report.json, junit.xml and summary.md.
//
// Build makes the model from a record and the result of verify; it holds all
// that the four files say, so each of them is a rendering of it and can be made
// again from report.json alone. Nothing here decides a verdict. Where a result
// contradicts itself, say PASS over a check that is not, the report says
// INVALID: it must not hide what it shows further down.
package reports
