package chart

import (
	"fmt"
	"math"
	"strconv"
)

// scale maps values to coordinates.
type scale struct {
	min, max float64 // of the values
	from, to float64 // of the coordinates
	log      bool
}

// at is the coordinate of v; what lies outside stands at the edge.
func (s scale) at(v float64) float64 {
	lo, hi := s.min, s.max
	if s.log {
		lo, hi, v = math.Log10(lo), math.Log10(hi), math.Log10(math.Max(v, s.min))
	}
	if hi <= lo {
		return s.from
	}
	f := math.Min(1, math.Max(0, (v-lo)/(hi-lo)))
	return s.from + f*(s.to-s.from)
}

// linearTicks gives about n round values from 0 on that reach max: multiples of 1, 2 or 5 times a power of ten.
// The last one is at least max.
func linearTicks(top float64, n int) []float64 {
	if !(top > 0) || math.IsInf(top, 0) || n < 1 {
		return []float64{0, 1}
	}
	raw := top / float64(n)
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * mag
	for _, m := range []float64{1, 2, 5} {
		if m*mag >= raw*(1-1e-9) {
			step = m * mag
			break
		}
	}
	count := int(math.Ceil(top/step - 1e-9))
	ticks := make([]float64, 0, count+1)
	for i := 0; i <= count; i++ {
		ticks = append(ticks, float64(i)*step)
	}
	return ticks
}

// logTicks gives 1-2-5 values that enclose lo and hi; those that deserve a label are the powers of ten where there are
// three decades or more, and all of them where there are fewer.
func logTicks(lo, hi float64) (ticks []float64, labelled func(float64) bool) {
	if !(lo > 0) || math.IsInf(lo, 0) {
		lo = 1
	}
	if !(hi > lo) || math.IsInf(hi, 0) {
		hi = lo * 10
	}
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		for _, m := range []float64{1, 2, 5} {
			ticks = append(ticks, m*math.Pow(10, e))
		}
	}
	first, last := 0, len(ticks)-1
	for first+1 < len(ticks) && ticks[first+1] <= lo*(1+1e-9) {
		first++
	}
	for last > first+1 && ticks[last-1] >= hi*(1-1e-9) {
		last--
	}
	ticks = ticks[first : last+1]
	wide := ticks[len(ticks)-1]/ticks[0] >= 1000*(1-1e-9)
	return ticks, func(v float64) bool {
		if !wide {
			return true
		}
		l := math.Log10(v)
		return math.Abs(l-math.Round(l)) < 1e-9
	}
}

// timeSteps are the distances in seconds that a time axis may have between its ticks.
var timeSteps = []float64{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400}

// timeTicks gives round times from 0 to end, at most n+1 of them.
func timeTicks(end float64, n int) []float64 {
	if !(end > 0) || math.IsInf(end, 0) || n < 1 {
		return []float64{0}
	}
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if end/s <= float64(n) {
			step = s
			break
		}
	}
	for end/step > float64(n) {
		step *= 2
	}
	var ticks []float64
	for i := 0; float64(i)*step <= end*(1+1e-9); i++ {
		ticks = append(ticks, float64(i)*step)
	}
	return ticks
}

// Clock writes a time since the start: "2.5 s", "1:30 min", "2:05 h".
func Clock(seconds float64) string {
	switch {
	case math.Abs(seconds) < 120:
		return strconv.FormatFloat(math.Round(seconds*100)/100, 'f', -1, 64) + " s"
	case math.Abs(seconds) < 7200:
		s := int(math.Round(seconds))
		return fmt.Sprintf("%d:%02d min", s/60, s%60)
	}
	m := int(math.Round(seconds / 60))
	return fmt.Sprintf("%d:%02d h", m/60, m%60)
}

// Micros writes a duration given in microseconds with three significant digits: "812 µs", "12.3 ms", "1.24 s".
func Micros(us float64) string {
	switch {
	case math.IsNaN(us) || math.IsInf(us, 0):
		return "–"
	case math.Abs(us) < 999.5:
		return strconv.FormatFloat(math.Round(us), 'f', -1, 64) + " µs"
	case math.Abs(us) < 999.5e3:
		return digits3(us/1e3) + " ms"
	}
	return digits3(us/1e6) + " s"
}

// Percent writes a share as a percentage with at most three significant digits.
func Percent(share float64) string {
	if math.IsNaN(share) || math.IsInf(share, 0) {
		return "–"
	}
	return digits3(share*100) + " %"
}

// Number writes a figure with three significant digits, or all its digits before the point.
func Number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	return digits3(v)
}

func digits3(v float64) string {
	if v == 0 {
		return "0"
	}
	d := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	d = max(0, min(d, 6))
	p := math.Pow(10, float64(d))
	return strconv.FormatFloat(math.Round(v*p)/p, 'f', -1, 64)
}
