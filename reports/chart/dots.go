package chart

import (
	"math"
)

// Dots shows a few quantiles a row, on a logarithmic scale, in groups of rows: one shape a quantile, one colour a row.
type Dots struct {
	ID     string // unique in the page
	Title  string // name for screen readers
	Desc   string // what the picture shows, for screen readers
	Axis   string // title of the value axis
	Marks  []string
	Format func(float64) string
	Groups []Group
}

// Group is a set of rows to compare.
type Group struct {
	Label  string
	Limits []Limit
	Rows   []Row
}

// Limit is a value that rows of a group are held against.
type Limit struct {
	Value float64
	Label string
}

// Row is one line of a Group.
type Row struct {
	Label  string
	Class  string    // gives the colour
	Values []float64 // one for each of Marks; NaN where there is none
	Note   string    // said at the end of the row, such as why it cannot be trusted
}

const (
	dotRow    = 24.0
	dotLabels = 168.0
	dotRight  = 96.0
)

// SVG draws the dots.
func (d Dots) SVG() string {
	lo, hi := d.domain()
	ticks, labelled := logTicks(lo, hi)
	x := scale{min: ticks[0], max: ticks[len(ticks)-1], from: dotLabels, to: width - dotRight, log: true}
	keys := d.keys()
	var probe svg
	legendHeight := legend(&probe, 0, 0, width, keys)

	top := legendHeight + 10
	end := top
	for _, g := range d.Groups {
		end += groupHeight(g)
	}
	height := end + 40

	var s svg
	s.begin(d.ID, d.Title, d.Desc, width, height)
	legend(&s, 0, 2, width, keys)
	for _, v := range ticks {
		class := "grid"
		if labelled(v) {
			class = "axis"
			s.text(x.at(v), end+17, "tick", "middle", d.Format(v))
		}
		s.line(x.at(v), top, x.at(v), end+4, class)
	}
	s.text(x.to, end+34, "tick", "end", d.Axis)
	y := top
	for _, g := range d.Groups {
		d.drawGroup(&s, g, x, y)
		y += groupHeight(g)
	}
	s.close("svg")
	return s.b.String()
}

func groupHeight(g Group) float64 { return 26 + float64(len(g.Rows))*dotRow + 10 }

func (d Dots) drawGroup(s *svg, g Group, x scale, y float64) {
	s.line(0, y, width, y, "rule")
	s.text(0, y+18, "ptitle", "start", fit(g.Label, dotLabels+200))
	rows := y + 26
	bottom := rows + float64(len(g.Rows))*dotRow
	for i, l := range g.Limits {
		px := x.at(l.Value)
		s.titled("budget", "budget "+l.Label)
		s.line(px, y+20, px, bottom, "limitline")
		// Labels of several limits alternate sides, so that close ones stay readable.
		if i%2 == 0 && px-textWidth(l.Label) > dotLabels {
			s.text(px-4, y+18, "lbl", "end", l.Label)
		} else {
			s.text(px+4, y+18, "lbl", "start", l.Label)
		}
		s.close("g")
	}
	for i, r := range g.Rows {
		d.drawRow(s, r, x, rows+float64(i)*dotRow+dotRow/2)
	}
}

func (d Dots) drawRow(s *svg, r Row, x scale, y float64) {
	title := r.Label
	lo, hi := math.Inf(1), math.Inf(-1)
	for i, v := range r.Values {
		if i < len(d.Marks) && !math.IsNaN(v) {
			title += ", " + d.Marks[i] + " " + d.Format(v)
			lo, hi = math.Min(lo, x.at(v)), math.Max(hi, x.at(v))
		}
	}
	if r.Note != "" {
		title += ", " + r.Note
	}
	s.titled("row "+r.Class, title)
	s.text(dotLabels-14, y+4, "lbl", "end", fit(r.Label, dotLabels-16))
	if hi < lo {
		s.text(dotLabels+8, y+4, "tick", "start", orElse(r.Note, "no data"))
		s.close("g")
		return
	}
	s.line(lo, y, hi, y, "span")
	var last float64
	for i, v := range r.Values {
		if i >= len(d.Marks) || math.IsNaN(v) {
			continue
		}
		shape(s, i, x.at(v), y)
		last = v
	}
	s.text(hi+11, y+4, "val", "start", d.Format(last))
	if r.Note != "" {
		s.text(hi+22+1.2*textWidth(d.Format(last)), y+4, "tick", "start", r.Note)
	}
	s.close("g")
}

// shape draws the mark of the i-th quantile: a hollow circle, a hollow diamond, then filled squares.
func shape(s *svg, i int, x, y float64) {
	switch i {
	case 0:
		s.el("circle", attrs{"cx", x, "cy", y, "r", 4.5, "class", "mark hollow"})
	case 1:
		s.el("path", attrs{"d", "M" + num(x-5.5) + " " + num(y) + "L" + num(x) + " " + num(y-5.5) + "L" + num(x+5.5) + " " + num(y) + "L" + num(x) + " " + num(y+5.5) + "Z", "class", "mark hollow"})
	default:
		s.el("rect", attrs{"x", x - 4.5, "y", y - 4.5, "width", 9.0, "height", 9.0, "class", "mark"})
	}
}

func (d Dots) keys() []key {
	var keys []key
	for i, m := range d.Marks {
		keys = append(keys, key{class: "row plain", label: m, draw: func(s *svg, x, y float64) { shape(s, i, x+10, y) }})
	}
	seen := map[string]bool{}
	for _, g := range d.Groups {
		for _, r := range g.Rows {
			if !seen[r.Label] {
				seen[r.Label] = true
				keys = append(keys, key{class: "row " + r.Class, label: r.Label, draw: func(s *svg, x, y float64) {
					s.line(x, y, x+20, y, "span")
				}})
			}
		}
	}
	for _, g := range d.Groups {
		if len(g.Limits) > 0 {
			return append(keys, key{class: "budget", label: "budget", draw: func(s *svg, x, y float64) {
				s.line(x+10, y-8, x+10, y+8, "limitline")
			}})
		}
	}
	return keys
}

// domain is the smallest and largest positive value, limits among them.
func (d Dots) domain() (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	see := func(v float64) {
		if v > 0 && !math.IsInf(v, 0) {
			lo, hi = math.Min(lo, v), math.Max(hi, v)
		}
	}
	for _, g := range d.Groups {
		for _, l := range g.Limits {
			see(l.Value)
		}
		for _, r := range g.Rows {
			for _, v := range r.Values {
				see(v)
			}
		}
	}
	if hi < lo {
		return 1, 10
	}
	return lo, hi
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
