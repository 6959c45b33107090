package chart

import (
	"math"
	"strings"
)

// Quantiles shows values by the share of requests beyond them: the further right, the rarer, on a scale that gives each
// nine (90 %, 99 %, 99.9 %) the same room.
type Quantiles struct {
	ID     string // unique in the page
	Title  string // name for screen readers
	Desc   string // what the picture shows, for screen readers
	Axis   string // title of the value axis
	Format func(float64) string
	Curves []QuantileCurve
}

// QuantileCurve is one line.
type QuantileCurve struct {
	Name  string
	Class string // gives the colour
	Style Style
	At    []float64 // shares, 0 to less than 1, rising
	Value []float64 // one for each
}

// SVG draws the curves.
func (q Quantiles) SVG() string {
	const height = 200.0
	lo, hi, nines := math.Inf(1), 0.0, 1.0
	for _, c := range q.Curves {
		for i, v := range c.Value {
			if v > 0 {
				lo, hi = math.Min(lo, v), math.Max(hi, v)
			}
			nines = math.Max(nines, -math.Log10(1-c.At[i]))
		}
	}
	ticks, labelled := logTicks(lo, hi)
	top := 28.0
	x := scale{min: 0, max: nines, from: marginLeft, to: width - marginRight}
	y := scale{min: ticks[0], max: ticks[len(ticks)-1], from: top + height, to: top, log: true}
	var s svg
	s.begin(q.ID, q.Title, q.Desc, width, top+height+58)
	s.text(marginLeft, 14, "ptitle", "start", q.Axis)
	for _, v := range ticks {
		if labelled(v) {
			s.line(marginLeft, y.at(v), width-marginRight, y.at(v), "grid")
			s.text(marginLeft-6, y.at(v)+4, "tick", "end", q.Format(v))
		}
	}
	for n, label := range []string{"0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"} {
		if float64(n) <= nines+1e-9 {
			s.line(x.at(float64(n)), top, x.at(float64(n)), top+height+4, "grid")
			anchor := "middle"
			if n > 0 && x.at(float64(n)) > width-marginRight-20 {
				anchor = "end" // or half of it would be cut off
			}
			s.text(x.at(float64(n)), top+height+17, "tick", anchor, label)
		}
	}
	var keys []key
	for _, c := range q.Curves {
		var d strings.Builder
		for i, v := range c.Value {
			d.WriteString(map[bool]string{true: "M", false: "L"}[i == 0] + num(x.at(-math.Log10(1-c.At[i]))) + " " + num(y.at(math.Max(v, ticks[0]))))
		}
		s.open("g", attrs{"class", c.Class})
		s.el("path", attrs{"d", d.String(), "class", lineClass(c.Style)})
		s.close("g")
		keys = append(keys, key{class: c.Class, label: c.Name, draw: func(s *svg, x, y float64) { s.line(x, y, x+20, y, lineClass(c.Style)) }})
	}
	legend(&s, marginLeft, top+height+30, width-marginLeft-marginRight, keys)
	s.close("svg")
	return s.b.String()
}
