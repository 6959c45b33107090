package reports

import (
	"strings"
	"time"

	"github.com/meshproof/meshproof/reports/chart"
)

// figures writes an observed figure and its limit for reading, with three significant digits: "47.7 ms" for "47.679ms".
// Where that would make a difference between the two vanish, both stay as they were judged. What is not a duration, a
// share for example, is returned as it is.
func figures(observed, limit string) (string, string) {
	o, l := readable(observed), readable(limit)
	if o == l && observed != limit {
		return observed, limit
	}
	return o, l
}

func readable(s string) string {
	d, err := time.ParseDuration(s)
	if err != nil {
		return s
	}
	return chart.Micros(float64(d) / float64(time.Microsecond))
}

// arrows writes the edges in a check's subject as they are read.
func arrows(subject string) string { return strings.ReplaceAll(subject, "->", " → ") }
