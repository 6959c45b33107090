package chart

import (
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBarsStandInLinesFromTheHighestToTheLowest(t *testing.T) {
	got := Bars([]float64{0, 0.001, 4, 8, 12, 16, 20, math.NaN(), -1}, 16, 2)
	want := []string{
		"    ▄██",
		" ▁▄████",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{""}, Bars([]float64{0, 0}, 0, 1)); d != "" {
		t.Error(d)
	}
}

func TestAPictureThatStandsAloneIsXMLWithColoursForLightAndDark(t *testing.T) {
	tl := Timeline{
		ID: "x", Title: "<&\"'>\x01", Desc: "]]>", End: 2, Phases: []Span{{0, 2, "a</style>&"}},
		Panels: []Panel{{Title: "<b>", Max: 1, Format: Number, Height: 50, Series: []Series{{Name: "&", Class: "s0", Style: Area, Points: []Point{{0, 1, 1}, {1, 2, 0}}}}}},
	}
	text := Standalone(tl.SVG())
	styles, names := 0, map[string]bool{}
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if el, ok := tok.(xml.StartElement); ok {
			names[el.Name.Local] = true
			if el.Name.Local == "style" {
				styles++
				if css, err := d.Token(); err != nil || !strings.Contains(string(css.(xml.CharData)), "(prefers-color-scheme:dark)") || !strings.Contains(string(css.(xml.CharData)), `"Segoe UI"`) {
					t.Errorf("%v in %s", err, css)
				}
			}
		}
	}
	if styles != 1 || names["b"] || names["script"] {
		t.Errorf("%d style sheets, elements %v", styles, names)
	}
}
