package chart

import (
	"math"
	"strings"
)

// eighths are the lower parts of a character's cell, from none to all of it.
var eighths = []rune(" ▁▂▃▄▅▆▇█")

// Bars draws values from 0 to top as bars of a character each, in lines of text from the highest to the lowest. A value above 0
// is never drawn as none; what is not a number is.
func Bars(values []float64, top float64, rows int) []string {
	lines := make([]string, rows)
	for i := range lines {
		floor := (rows - 1 - i) * 8
		var b strings.Builder
		for _, v := range values {
			n := 0
			if v > 0 && top > 0 {
				n = max(1, int(math.Round(min(v/top, 1)*float64(rows*8))))
			}
			b.WriteRune(eighths[min(max(n-floor, 0), 8)])
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}
