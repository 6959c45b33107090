package chart

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files again")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with: go test ./reports/... -update)", err)
	}
	if got != string(want) {
		t.Errorf("%s is not as it was; see the difference with: go test ./reports/... -update && git diff\ngot:\n%.2000s", name, got)
	}
}

// wellFormed reads a picture as XML and counts its elements by class.
func wellFormed(t *testing.T, svg string) map[string]int {
	t.Helper()
	classes := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return classes
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if el, ok := tok.(xml.StartElement); ok {
			for _, a := range el.Attr {
				if a.Name.Local == "class" {
					for _, c := range strings.Fields(a.Value) {
						classes[c]++
					}
				}
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("<%s> has %s=%q", el.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
}

func timeline() Timeline {
	nan := math.NaN()
	slices := func(vs ...float64) (ps []Point) {
		for i, v := range vs {
			ps = append(ps, Point{float64(i), float64(i + 1), v})
		}
		return ps
	}
	return Timeline{
		ID: "t", Title: "Traffic buyers", Desc: "A spike.", End: 6,
		Phases: []Span{{0, 2, "warm"}, {2, 4, "spike"}, {4, 6, "cool"}},
		Bands:  []Span{{2.5, 3.5, "pod-dies"}, {3, 4, "slow-network"}, {5.9, 5.9, "at-the-very-end"}},
		Panels: []Panel{
			{Title: "Requests per second", Max: 400, Height: 100, Format: Number, Series: []Series{
				{Name: "achieved", Class: "s1", Style: Area, Points: slices(50, 50, 400, 380, 50, 50)},
				{Name: "offered", Class: "plain", Style: Dashed, Points: slices(50, 50, 400, 400, 50, 50)},
			}},
			{Title: "p99", Log: true, Min: 900, Max: 90000, Height: 100, Format: Micros, Series: []Series{
				{Name: "p99", Class: "s1", Style: Step, Points: slices(900, 950, nan, 88000, 1000, 1000)},
			}},
		},
	}
}

func dots() Dots {
	return Dots{
		ID: "d", Title: "Latency", Desc: "istio is slower.", Axis: "latency", Marks: []string{"p50", "p90", "p99"}, Format: Micros,
		Groups: []Group{
			{Label: "warm", Limits: []Limit{{20000, "p50 ≤ 20 ms"}, {100000, "p99 ≤ 100 ms"}}, Rows: []Row{
				{Label: "none", Class: "s0", Values: []float64{4000, 6000, 21000}},
				{Label: "istio", Class: "s1", Values: []float64{5000, 9000, 34000}, Note: "INVALID"},
			}},
			{Label: "spike", Rows: []Row{{Label: "none", Class: "s0", Values: []float64{math.NaN(), math.NaN(), math.NaN()}}}},
		},
	}
}

func TestATimelineShowsItsSeriesPhasesAndBands(t *testing.T) {
	got := timeline().SVG()
	golden(t, "timeline.svg", got)
	c := wellFormed(t, got)
	// The p99 line has a gap, so it is two paths.
	for class, want := range map[string]int{"phase": 3, "band": 3 + 1, "area": 1 + 1, "dashed": 1 + 1, "cut": 2} {
		if c[class] != want {
			t.Errorf("%d of class %s, want %d (one of them may be in the legend)", c[class], class, want)
		}
	}
	if c["line"] != 1+1+2+2 {
		t.Errorf("%d lines", c["line"])
	}
}

// columns is the timeline's content beside itself, and beside a column of fewer faults.
func columns() Columns {
	one := timeline()
	return Columns{
		ID: "c", Title: "Traffic buyers, side by side", Desc: "Two meshes.", End: one.End,
		Columns: []Column{
			{Label: "none", Class: "s0", Phases: one.Phases, Panels: one.Panels},
			{Label: "istio", Class: "s1", Phases: one.Phases, Bands: one.Bands, Panels: one.Panels},
		},
	}
}

func TestColumnsShareTheirAxesAndNameThemOnce(t *testing.T) {
	got := columns().SVG()
	golden(t, "columns.svg", got)
	c := wellFormed(t, got)
	for class, want := range map[string]int{"phase": 2 * 3, "band": 3 + 1, "area": 2*1 + 1, "cut": 2 * 2, "s0": 1, "s1": 1 + 2*2} {
		if c[class] != want {
			t.Errorf("%d of class %s, want %d", c[class], class, want)
		}
	}
	for _, once := range []string{">Requests per second<", ">400<", ">none<", ">istio<"} {
		if n := strings.Count(got, once); n != 1 {
			t.Errorf("%q is there %d times", once, n)
		}
	}
}

func TestDotsShowEachQuantileAndSayWhereThereIsNone(t *testing.T) {
	got := dots().SVG()
	golden(t, "dots.svg", got)
	c := wellFormed(t, got)
	if want := 2*3 + 3; c["mark"] != want { // and three in the legend
		t.Errorf("%d marks, want %d", c["mark"], want)
	}
	if c["limitline"] != 2+1 {
		t.Errorf("%d limits", c["limitline"])
	}
	if !strings.Contains(got, "no data") || !strings.Contains(got, "INVALID") {
		t.Error("a row without data or its note is not said")
	}
}

func TestOddValuesStillGiveAPicture(t *testing.T) {
	inf := math.Inf(1)
	for name, svg := range map[string]string{
		"empty timeline": Timeline{}.SVG(),
		"empty columns":  Columns{}.SVG(),
		"odd columns":    Columns{ID: "<", End: inf, Columns: []Column{{Label: "</svg><script>"}, {Bands: []Span{{0, inf, "<img>"}}, Panels: timeline().Panels}, {Panels: timeline().Panels[:1]}}}.SVG(),
		"empty dots":     Dots{Format: Micros}.SVG(),
		"infinite": Timeline{End: inf, Bands: []Span{{-5, inf, "x"}, {7, 3, "y"}}, Panels: []Panel{
			{Max: inf, Format: Number, Height: 50, Series: []Series{{Points: []Point{{0, 1, inf}, {1, 2, -inf}, {2, 3, -4}}}}},
			{Log: true, Min: -1, Max: 0, Format: Micros, Height: 50, Series: []Series{{Points: []Point{{0, 1, 0}}}}},
		}}.SVG(),
		"zero dots": Dots{Format: Micros, Marks: []string{"p50"}, Groups: []Group{{Rows: []Row{{Values: []float64{0, 1, 2}}, {}}}}}.SVG(),
		"hostile":   Timeline{ID: `"><script>`, Title: "]]><script>\x00\x1b\xff&", End: 1, Bands: []Span{{0, 1, "</svg><img onerror=x>"}}, Phases: []Span{{0, 1, "<b>&amp;"}}}.SVG(),
	} {
		t.Run(name, func(t *testing.T) {
			wellFormed(t, svg)
			if strings.Contains(svg, "<script") || strings.Contains(svg, "<img") || strings.ContainsAny(svg, "\x00\x1b") {
				t.Errorf("unescaped text in %s", svg)
			}
		})
	}
}

func TestTicksAreRoundAndEncloseTheValues(t *testing.T) {
	for _, c := range []struct {
		top  float64
		n    int
		want []float64
	}{
		{400, 4, []float64{0, 100, 200, 300, 400}},
		{370, 4, []float64{0, 100, 200, 300, 400}},
		{7, 3, []float64{0, 5, 10}},
		{0.01, 2, []float64{0, 0.005, 0.01}},
		{0, 4, []float64{0, 1}},
		{math.NaN(), 4, []float64{0, 1}},
	} {
		if got := linearTicks(c.top, c.n); !close2(got, c.want) {
			t.Errorf("linearTicks(%v, %d) = %v, want %v", c.top, c.n, got, c.want)
		}
	}
	for _, c := range []struct {
		lo, hi float64
		want   []float64
		labels int
	}{
		{6000, 124000, []float64{5000, 10000, 20000, 50000, 100000, 200000}, 6},
		{1, 1000, []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}, 4},
		{100, 100, []float64{100, 200, 500, 1000}, 4},
		{0, 0, []float64{1, 2, 5, 10}, 4},
	} {
		got, labelled := logTicks(c.lo, c.hi)
		n := 0
		for _, v := range got {
			if labelled(v) {
				n++
			}
		}
		if !close2(got, c.want) || n != c.labels {
			t.Errorf("logTicks(%v, %v) = %v with %d labels, want %v with %d", c.lo, c.hi, got, n, c.want, c.labels)
		}
	}
	for _, end := range []float64{0.3, 1, 12, 14, 59, 61, 3600, 86400, 1e9} {
		ticks := timeTicks(end, 12)
		if len(ticks) < 2 || len(ticks) > 13 || ticks[0] != 0 || ticks[len(ticks)-1] > end*(1+1e-9) {
			t.Errorf("timeTicks(%v) = %v", end, ticks)
		}
	}
}

func close2(a, b []float64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Abs(a[i]-b[i]) > 1e-9*math.Max(1, math.Abs(b[i])) {
			return false
		}
	}
	return true
}

func TestFiguresAreWrittenWithThreeDigitsAndTheirUnit(t *testing.T) {
	got := []string{
		Micros(0), Micros(812), Micros(999.4), Micros(999.6), Micros(12345), Micros(999499), Micros(999600), Micros(1.24e6), Micros(math.NaN()),
		Percent(0), Percent(0.00712), Percent(1), Percent(math.Inf(1)), Number(1234.5), Number(0.5),
		Clock(2.5), Clock(119.999), Clock(125), Clock(7260),
	}
	want := []string{
		"0 µs", "812 µs", "999 µs", "1 ms", "12.3 ms", "999 ms", "1 s", "1.24 s", "–",
		"0 %", "0.712 %", "100 %", "–", "1235", "0.5",
		"2.5 s", "120 s", "2:05 min", "2:01 h",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLabelsOfBandsDoNotTouchEachOther(t *testing.T) {
	x := scale{min: 0, max: 10, from: marginLeft, to: width - marginRight}
	lanes, _ := packLanes([]Span{{1, 2, "first"}, {1.5, 3, "second, which is long"}, {4.9, 5, "third"}, {9.9, 10, "at the end of the axis"}}, x)
	type box struct{ l, r float64 }
	rows := map[int][]box{}
	for _, l := range lanes {
		b := box{l.textX, l.textX + textWidth(l.label)}
		if l.anchor == "end" {
			b = box{l.textX - textWidth(l.label), l.textX}
		}
		if b.l < x.from-1 || b.r > x.to+1 {
			t.Errorf("%q stands outside the plot: %v", l.label, b)
		}
		for _, o := range rows[l.lane] {
			if b.l < o.r && o.l < b.r {
				t.Errorf("%q touches another label", l.label)
			}
		}
		rows[l.lane] = append(rows[l.lane], b)
	}
	if lanes[0].lane == lanes[1].lane {
		t.Error("overlapping bands share a row")
	}
}

func TestAHeatMapHasAPathForEachShadeAndDrawsWhatIsThere(t *testing.T) {
	h := Heat{
		ID: "h", Title: "<b>", Desc: "d", End: 3, Class: "s1", Axis: "a", Format: Micros, Edges: []float64{100, 1000, 10_000},
		Cells: []HeatColumn{{0, 1, []int64{99, 1}}, {1, 2, []int64{0, 5}}, {2, 3, []int64{0, 0}}},
	}
	classes := wellFormed(t, h.SVG())
	if classes["h8"] != 1 || classes["h4"] != 1 {
		t.Errorf("shades: %v", classes)
	}
	golden(t, "heat.svg", h.SVG())
	for _, empty := range []Heat{{Format: Micros}, {Format: Micros, Edges: []float64{1}}, {Format: Micros, End: math.NaN(), Edges: []float64{1, 2}, Cells: []HeatColumn{{0, 0, []int64{1, 2, 3}}}}} {
		wellFormed(t, empty.SVG())
	}
}

func TestCurvesOfQuantilesGiveEachNineTheSameRoom(t *testing.T) {
	q := Quantiles{ID: "q", Title: "t", Desc: "d", Axis: "a", Format: Micros, Curves: []QuantileCurve{
		{Name: "one", Class: "s1", At: []float64{0, 0.9, 0.99, 0.999}, Value: []float64{100, 200, 1000, 50_000}},
		{Name: "two", Class: "plain", Style: Dashed, At: []float64{0, 0.9}, Value: []float64{0, 90}},
	}}
	svg := q.SVG()
	wellFormed(t, svg)
	for _, want := range []string{"99.9 %", "M64 ", " ", "L944 "} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture lacks %q:\n%s", want, svg)
		}
	}
	golden(t, "quantiles.svg", svg)
	wellFormed(t, Quantiles{Format: Micros}.SVG())
}
