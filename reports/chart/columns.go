package chart

import "math"

// Columns is the same stack of panels for several subjects beside each other, on the same axes: what stands higher in
// one column than in another is larger.
type Columns struct {
	ID      string  // unique in the page
	Title   string  // name for screen readers
	Desc    string  // what the picture shows, for screen readers
	End     float64 // length of each time axis, seconds
	Columns []Column
}

// Column is one subject.
type Column struct {
	Label  string
	Class  string // gives the colour of the label's sign
	Phases []Span
	Bands  []Span
	Panels []Panel // as many in each column, with the same axes
}

const columnGap = 18.0

// SVG draws the columns.
func (c Columns) SVG() string {
	n := float64(max(1, len(c.Columns)))
	wide := (width - marginLeft - marginRight - (n-1)*columnGap) / n
	axes := make([]scale, len(c.Columns))
	lanes := make([][]lane, len(c.Columns))
	laneCount, phases := 0, false
	var panels []Panel // of the column that has most
	var bands bool
	for i, col := range c.Columns {
		from := marginLeft + float64(i)*(wide+columnGap)
		axes[i] = scale{min: 0, max: math.Max(c.End, 1e-9), from: from, to: from + wide}
		var rows int
		lanes[i], rows = packLanes(col.Bands, axes[i])
		laneCount = max(laneCount, rows)
		phases = phases || len(col.Phases) > 0
		bands = bands || len(col.Bands) > 0
		if len(col.Panels) > len(panels) {
			panels = col.Panels
		}
	}
	keys := keysOf(plain(panels), bands)
	var probe svg
	legendHeight := legend(&probe, marginLeft, 0, width-marginLeft-marginRight, keys)

	const head = 24.0
	laneTop := head
	if phases {
		laneTop += laneHeight + 6
	}
	plotTop := laneTop + float64(laneCount)*laneHeight
	plotEnd := plotTop
	for _, p := range panels {
		plotEnd += panelTitle + p.Height
	}

	var s svg
	s.begin(c.ID, c.Title, c.Desc, width, plotEnd+36+legendHeight+4)
	for i, col := range c.Columns {
		x := axes[i]
		s.open("g", attrs{"class", col.Class})
		s.el("rect", attrs{"x", x.from, "y", 4.0, "width", 10.0, "height", 10.0, "class", "mark"})
		s.text(x.from+15, 13, "ptitle", "start", fit(col.Label, wide-15))
		s.close("g")
		drawBands(&s, lanes[i], x, laneTop, plotEnd)
		drawPhases(&s, col.Phases, x, head, plotTop+panelTitle-8, plotEnd)
		y := plotTop
		for _, p := range col.Panels {
			p.draw(&s, x, y+panelTitle, i == 0)
			y += panelTitle + p.Height
		}
		for _, v := range timeTicks(c.End, max(2, int(wide/50))) {
			s.line(x.at(v), plotEnd, x.at(v), plotEnd+4, "axis")
			anchor, label := "middle", Clock(v)
			if x.at(v)+textWidth(label)/2 > x.to+columnGap/4 {
				anchor = "end" // or it would touch the next column's first
			}
			s.text(x.at(v), plotEnd+17, "tick", anchor, label)
		}
	}
	s.text(width-marginRight, plotEnd+31, "tick", "end", "since the start of the load")
	legend(&s, marginLeft, plotEnd+34, width-marginLeft-marginRight, keys)
	s.close("svg")
	return s.b.String()
}

// plain is the panels without the colour of their column, for a legend that is everybody's.
func plain(panels []Panel) []Panel {
	out := make([]Panel, len(panels))
	for i, p := range panels {
		series := make([]Series, len(p.Series))
		for k, se := range p.Series {
			se.Class = "plain"
			series[k] = se
		}
		p.Series = series
		out[i] = p
	}
	return out
}
