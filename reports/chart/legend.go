package chart

// key is one entry of a legend.
type key struct {
	class string
	label string
	draw  func(s *svg, x, y float64) // draws the sample, 20 px wide, centred on y
}

// legend writes entries in rows from (x, y), breaking before width is full, and returns the height used.
func legend(s *svg, x, y, width float64, keys []key) float64 {
	const row, sample, gap = 18.0, 26.0, 20.0
	if len(keys) == 0 {
		return 0
	}
	cx, cy := x, y
	for _, k := range keys {
		w := sample + textWidth(k.label) + gap
		if cx > x && cx+w > x+width {
			cx, cy = x, cy+row
		}
		s.open("g", attrs{"class", k.class})
		k.draw(s, cx, cy+row/2)
		s.text(cx+sample, cy+row/2+4, "lbl", "start", k.label)
		s.close("g")
		cx += w
	}
	return cy + row - y
}
