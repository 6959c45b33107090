package chart

import (
	"math"
	"strings"
)

// Timeline is a stack of panels over one time axis, with phases above and bands (faults) through all panels.
type Timeline struct {
	ID     string  // unique in the page
	Title  string  // name for screen readers
	Desc   string  // what the picture shows, for screen readers
	End    float64 // length of the time axis, seconds
	Phases []Span
	Bands  []Span
	Panels []Panel
}

// Span is a named stretch of time, in seconds. One without length is an instant.
type Span struct {
	Start, End float64
	Label      string
}

// Panel is one plot of a Timeline.
type Panel struct {
	Title  string
	Log    bool                 // logarithmic value axis
	Min    float64              // logarithmic axis: its lower end
	Max    float64              // upper end of the value axis
	Format func(float64) string // writes a value of the axis
	Height float64              // of the plot, px
	Series []Series
}

// Style is how a series is drawn.
type Style int

// Styles of a series.
const (
	Step   Style = iota // the value holds over the slice
	Area                // Step, filled down to the axis
	Dashed              // Step, dashed: what was intended, beside what came
	Thin                // Step, thin: a figure of less weight beside another of the same colour
)

// Series is one figure over time.
type Series struct {
	Name  string
	Class string // gives the colour
	Style Style
	// Points are slices of time in order; a NaN leaves a gap.
	Points []Point
}

// Point is the value of one slice of time, in seconds.
type Point struct {
	Start, End float64
	Value      float64
}

const (
	width       = 960.0
	marginLeft  = 64.0
	marginRight = 16.0
	laneHeight  = 17.0
	panelTitle  = 32.0
)

// SVG draws the timeline.
func (t Timeline) SVG() string {
	x := scale{min: 0, max: math.Max(t.End, 1e-9), from: marginLeft, to: width - marginRight}
	lanes, laneCount := packLanes(t.Bands, x)
	keys := keysOf(t.Panels, len(t.Bands) > 0)
	var probe svg
	legendHeight := legend(&probe, marginLeft, 0, width-marginLeft-marginRight, keys)

	top := 4.0
	phaseTop := top
	if len(t.Phases) > 0 {
		top += laneHeight + 6
	}
	laneTop := top
	top += float64(laneCount) * laneHeight
	plotTop := top
	for _, p := range t.Panels {
		top += panelTitle + p.Height
	}
	plotEnd := top
	height := plotEnd + 36 + legendHeight + 4

	var s svg
	s.begin(t.ID, t.Title, t.Desc, width, height)
	drawBands(&s, lanes, x, laneTop, plotEnd)
	drawPhases(&s, t.Phases, x, phaseTop, plotTop+panelTitle-8, plotEnd)
	y := plotTop
	for _, p := range t.Panels {
		p.draw(&s, x, y+panelTitle, true)
		y += panelTitle + p.Height
	}
	for _, v := range timeTicks(t.End, 12) {
		s.line(x.at(v), plotEnd, x.at(v), plotEnd+4, "axis")
		s.text(x.at(v), plotEnd+17, "tick", "middle", Clock(v))
	}
	s.text(width-marginRight, plotEnd+31, "tick", "end", "since the start of the load")
	legend(&s, marginLeft, plotEnd+34, width-marginLeft-marginRight, keys)
	s.close("svg")
	return s.b.String()
}

// keysOf lists each named series once, of panels that have several.
func keysOf(panels []Panel, bands bool) []key {
	var keys []key
	seen := map[string]bool{}
	for _, p := range panels {
		if len(p.Series) == 1 {
			continue // the panel's title names it
		}
		for _, se := range p.Series {
			if id := se.Name + "\x00" + se.Class; !seen[id] {
				seen[id] = true
				keys = append(keys, key{class: se.Class, label: se.Name, draw: func(s *svg, x, y float64) {
					if se.Style == Area {
						s.el("rect", attrs{"x", x, "y", y - 4, "width", 20.0, "height", 8.0, "class", "area"})
					}
					s.line(x, y, x+20, y, lineClass(se.Style))
				}})
			}
		}
	}
	if bands {
		keys = append(keys, key{class: "band", label: "fault", draw: func(s *svg, x, y float64) {
			s.el("rect", attrs{"x", x, "y", y - 6, "width", 20.0, "height", 12.0, "class", "shade"})
			s.el("rect", attrs{"x", x, "y", y - 6, "width", 20.0, "height", 3.0, "class", "cap"})
		}})
	}
	return keys
}

// drawBands shades each band from its row below top down to bottom.
func drawBands(s *svg, lanes []lane, x scale, top, bottom float64) {
	for _, b := range lanes {
		s.titled("band", b.span.Label+": "+Clock(b.span.Start)+" to "+Clock(b.span.End))
		x1, x2 := x.at(b.span.Start), x.at(b.span.End)
		y := top + float64(b.lane)*laneHeight
		s.el("rect", attrs{"x", x1, "y", y + laneHeight - 3, "width", math.Max(x2-x1, 2), "height", bottom - y - laneHeight + 3, "class", "shade"})
		s.el("rect", attrs{"x", x1, "y", y + laneHeight - 3, "width", math.Max(x2-x1, 2), "height", 3.0, "class", "cap"})
		s.text(b.textX, y+laneHeight-6, "lbl", b.anchor, b.label)
		s.close("g")
	}
}

// drawPhases names each phase at top, and draws a line where one ends and the next begins.
func drawPhases(s *svg, phases []Span, x scale, top, plotTop, plotEnd float64) {
	for i, p := range phases {
		x1, x2 := x.at(p.Start), x.at(p.End)
		s.titled("phase", "phase "+p.Label+": "+Clock(p.Start)+" to "+Clock(p.End))
		s.el("rect", attrs{"x", x1 + 0.5, "y", top, "width", math.Max(x2-x1-1, 1), "height", laneHeight, "class", "strip"})
		s.text((x1+x2)/2, top+12.5, "lbl", "middle", fit(p.Label, x2-x1-8))
		s.close("g")
		if i > 0 {
			s.line(x1, plotTop, x1, plotEnd, "cut")
		}
	}
}

// draw draws the plot; named adds its title and the figures of its axis, which plots beside each other share.
func (p Panel) draw(s *svg, x scale, top float64, named bool) {
	bottom := top + p.Height
	y := scale{min: 0, max: p.Max, from: bottom, to: top}
	var ticks []float64
	labelled := func(float64) bool { return true }
	if p.Log {
		ticks, labelled = logTicks(p.Min, p.Max)
		y.log, y.min, y.max = true, ticks[0], ticks[len(ticks)-1]
	} else {
		ticks = linearTicks(p.Max, max(2, int(p.Height/32)))
		y.max = ticks[len(ticks)-1]
	}
	if named {
		s.text(x.from, top-8, "ptitle", "start", p.Title)
	}
	for i, v := range ticks {
		class := "grid"
		if i == 0 {
			class = "axis"
		}
		s.line(x.from, y.at(v), x.to, y.at(v), class)
		if named && labelled(v) {
			s.text(x.from-8, y.at(v)+4, "tick", "end", p.Format(v))
		}
	}
	for _, se := range p.Series {
		s.titled(se.Class, se.Name)
		for _, run := range runs(se.Points) {
			if se.Style == Area {
				s.el("path", attrs{"d", areaPath(run, x, y), "class", "area"})
			}
			s.el("path", attrs{"d", stepPath(run, x, y), "class", lineClass(se.Style)})
		}
		s.close("g")
	}
}

func lineClass(st Style) string {
	switch st {
	case Dashed:
		return "line dashed"
	case Thin:
		return "line thin"
	}
	return "line"
}

// runs cuts points at those without a value.
func runs(ps []Point) [][]Point {
	var out [][]Point
	start := -1
	for i, p := range ps {
		bad := math.IsNaN(p.Value) || math.IsInf(p.Value, 0)
		if bad && start >= 0 {
			out = append(out, ps[start:i])
			start = -1
		}
		if !bad && start < 0 {
			start = i
		}
	}
	if start >= 0 {
		out = append(out, ps[start:])
	}
	return out
}

func stepPath(ps []Point, x, y scale) string {
	var b strings.Builder
	for i, p := range ps {
		c := "L"
		if i == 0 {
			c = "M"
		}
		v := num(y.at(p.Value))
		b.WriteString(c + num(x.at(p.Start)) + " " + v + "H" + num(x.at(p.End)))
	}
	return b.String()
}

func areaPath(ps []Point, x, y scale) string {
	first, last := ps[0], ps[len(ps)-1]
	return "M" + num(x.at(first.Start)) + " " + num(y.from) + "L" + strings.TrimPrefix(stepPath(ps, x, y), "M") +
		"L" + num(x.at(last.End)) + " " + num(y.from) + "Z"
}

type lane struct {
	span   Span
	lane   int
	label  string
	textX  float64
	anchor string
}

// packLanes puts the labels of bands into as few rows as they need not to touch each other, and says how many.
func packLanes(bands []Span, x scale) (out []lane, rows int) {
	var ends []float64 // of each row, where its last label ends
	for _, b := range bands {
		if b.End < b.Start {
			b.End = b.Start
		}
		l := lane{span: b, label: fit(b.Label, x.to-x.from), textX: x.at(b.Start), anchor: "start"}
		left, right := l.textX, l.textX+textWidth(l.label)
		if right > x.to {
			l.anchor, l.textX = "end", math.Max(x.at(b.End), l.textX+2)
			left, right = l.textX-textWidth(l.label), l.textX
		}
		if left < x.from {
			l.anchor, l.textX = "start", x.from
			left, right = x.from, x.from+textWidth(l.label)
		}
		right = math.Max(right, x.at(b.End))
		l.lane = len(ends)
		for i, e := range ends {
			if e+8 <= left {
				l.lane = i
				break
			}
		}
		if l.lane == len(ends) {
			ends = append(ends, 0)
		}
		ends[l.lane] = right
		out = append(out, l)
	}
	return out, len(ends)
}
