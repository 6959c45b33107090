package chart

import (
	"math"
	"strconv"
	"strings"
)

// Heat is a map of how many of something there were by time and by value: time from left to right, values upwards on a
// logarithmic scale, the more the darker.
type Heat struct {
	ID     string  // unique in the page
	Title  string  // name for screen readers
	Desc   string  // what the picture shows, for screen readers
	End    float64 // length of the time axis, seconds
	Class  string  // gives the colour
	Axis   string  // title of the value axis
	Format func(float64) string
	Edges  []float64 // edges of the values' classes, rising: one more than there are classes
	Cells  []HeatColumn
}

// HeatColumn is one stretch of time.
type HeatColumn struct {
	Start, End float64 // seconds
	Counts     []int64 // one for each class of values, from the lowest
}

// heatSteps is how many shades there are.
const heatSteps = 8

// SVG draws the map. A cell's shade goes by the logarithm of its share of its column: a few slow requests among many fast
// ones are what a reader looks for.
func (h Heat) SVG() string {
	const height = 180.0
	var s svg
	s.begin(h.ID, h.Title, h.Desc, width, height+48)
	x := scale{min: 0, max: math.Max(h.End, 1e-9), from: marginLeft, to: width - marginRight}
	top := 12.0
	if len(h.Edges) >= 2 {
		y := scale{min: h.Edges[0], max: h.Edges[len(h.Edges)-1], from: top + height - 20, to: top, log: true}
		ticks, labelled := logTicks(h.Edges[0], h.Edges[len(h.Edges)-1])
		for _, v := range ticks {
			if labelled(v) && v >= h.Edges[0] && v <= h.Edges[len(h.Edges)-1] {
				s.line(marginLeft, y.at(v), width-marginRight, y.at(v), "grid")
				s.text(marginLeft-6, y.at(v)+4, "tick", "end", h.Format(v))
			}
		}
		shades := make([]strings.Builder, heatSteps+1)
		for _, c := range h.Cells {
			h.column(shades, c, x, y)
		}
		s.open("g", attrs{"class", "heat " + h.Class})
		for i := range shades {
			if shades[i].Len() > 0 {
				s.el("path", attrs{"class", "h" + strconv.Itoa(i), "d", shades[i].String()})
			}
		}
		s.close("g")
	}
	bottom := top + height - 20
	s.line(marginLeft, bottom, width-marginRight, bottom, "axis")
	for _, v := range timeTicks(h.End, 12) {
		s.line(x.at(v), bottom, x.at(v), bottom+4, "axis")
		s.text(x.at(v), bottom+17, "tick", "middle", Clock(v))
	}
	s.text(width-marginRight, bottom+31, "tick", "end", "since the start of the load")
	s.text(marginLeft, bottom+31, "tick", "start", h.Axis)
	s.close("svg")
	return s.b.String()
}

// column adds the cells of a stretch of time to the paths of their shades: an element for each would make a long load's
// picture larger than all the rest of its page.
func (h Heat) column(shades []strings.Builder, c HeatColumn, x, y scale) {
	total := int64(0)
	for _, n := range c.Counts {
		total += n
	}
	for i, n := range c.Counts {
		if n <= 0 || i+1 >= len(h.Edges) {
			continue
		}
		// From one request in ten thousand, or less, to all of them.
		shade := heatSteps - int(math.Min(heatSteps-1, math.Floor(-math.Log10(float64(n)/float64(total))*2)))
		low, high := y.at(h.Edges[i]), y.at(h.Edges[i+1])
		wide := math.Max(x.at(c.End)-x.at(c.Start), 0.5)
		shades[shade].WriteString("M" + num(x.at(c.Start)) + " " + num(high) + "h" + num(wide) + "v" + num(low-high) + "h" + num(-wide) + "z")
	}
}
