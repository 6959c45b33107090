package reports

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/reports/chart"
)

// quantity is a figure that can be compared with others of the same unit.
type quantity struct {
	value float64 // durations in microseconds, anything else as written
	unit  string  // "µs" for durations; otherwise what follows the number: "%", "% short"
}

const micros = "µs"

// quantityOf reads a figure as checks write it: a duration ("47.679ms") or a percentage, with or without words after it.
func quantityOf(s string) (quantity, bool) {
	if d, err := time.ParseDuration(strings.ReplaceAll(s, " ", "")); err == nil && strings.HasSuffix(s, "s") { // not "0", a count
		return quantity{float64(d) / float64(time.Microsecond), micros}, true
	}
	number, words, ok := strings.Cut(s, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || math.IsNaN(v) || math.IsInf(v, 0) || strings.ContainsAny(words, "0123456789") { // a range is no figure
		return quantity{}, false
	}
	return quantity{v, "%" + words}, true
}

// String writes the figure as checks write it.
func (q quantity) String() string {
	if q.unit == micros {
		return (time.Duration(math.Round(q.value)) * time.Microsecond).String()
	}
	return strconv.FormatFloat(evidence.Round(q.value), 'f', -1, 64) + q.unit
}

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
	if q, ok := quantityOf(s); ok && q.unit == micros {
		return chart.Micros(q.value)
	}
	return s
}

// arrows writes the edges in a check's subject as they are read.
func arrows(subject string) string { return strings.ReplaceAll(subject, "->", " → ") }
