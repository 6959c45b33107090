package chart

import (
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// CSS is the style sheet that the charts need. Series take their colour from --c, which the page sets for the classes
// that it gives to its series; the rest uses --ink, --ink-2, --grid, --surface and --band.
//
//go:embed chart.css
var CSS string

// svg writes the elements of one picture. Everything that goes in passes esc.
type svg struct {
	b strings.Builder
}

// attrs are names and values in turn; values are strings, ints or float64s (written with one decimal).
type attrs []any

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// esc makes text safe inside an element or a quoted attribute, and drops what XML cannot hold (XML 1.0 section 2.2).
func esc(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r < 0x20 || r == 0xFFFE || r == 0xFFFF || (r >= 0x7F && r < 0xA0):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return escaper.Replace(s)
}

// num writes a coordinate with at most one decimal: finer than a pixel is noise, and would differ between machines.
func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	s := strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
	if s == "-0" {
		return "0"
	}
	return s
}

func (s *svg) open(name string, a attrs) {
	s.b.WriteString("<" + name)
	for i := 0; i+1 < len(a); i += 2 {
		var v string
		switch x := a[i+1].(type) {
		case float64:
			v = num(x)
		default:
			v = fmt.Sprint(x)
		}
		if v == "" {
			continue
		}
		fmt.Fprintf(&s.b, ` %s="%s"`, a[i], esc(v))
	}
	s.b.WriteString(">")
}

func (s *svg) close(name string) { s.b.WriteString("</" + name + ">\n") }

func (s *svg) el(name string, a attrs) {
	s.open(name, a)
	s.b.WriteString("</" + name + ">\n")
}

// text writes a line of text; anchor is "start", "middle" or "end".
func (s *svg) text(x, y float64, class, anchor, content string) {
	s.open("text", attrs{"x", x, "y", y, "class", class, "text-anchor", anchor})
	s.b.WriteString(esc(content))
	s.close("text")
}

func (s *svg) line(x1, y1, x2, y2 float64, class string) {
	s.el("line", attrs{"x1", x1, "y1", y1, "x2", x2, "y2", y2, "class", class})
}

// titled opens a group with a tooltip, which screen readers read too.
func (s *svg) titled(class, title string) {
	s.open("g", attrs{"class", class})
	s.open("title", nil)
	s.b.WriteString(esc(title))
	s.close("title")
}

// begin opens the picture with its name and description for screen readers.
func (s *svg) begin(id, title, desc string, w, h float64) {
	s.open("svg", attrs{
		"xmlns", "http://www.w3.org/2000/svg", "class", "chart", "role", "img",
		"aria-labelledby", id + "-t", "aria-describedby", id + "-d", "width", w, "height", h, "viewBox", "0 0 " + num(w) + " " + num(h),
	})
	s.b.WriteString("\n")
	s.open("title", attrs{"id", id + "-t"})
	s.b.WriteString(esc(title))
	s.close("title")
	s.open("desc", attrs{"id", id + "-d"})
	s.b.WriteString(esc(desc))
	s.close("desc")
}

// charWidth is the mean width of a character of the 11 px chart text, in px; generous, so that what fits really fits.
const charWidth = 6.3

func textWidth(s string) float64 { return float64(len([]rune(s))) * charWidth }

// fit shortens text to a width, with an ellipsis; empty where not even three characters fit.
func fit(s string, width float64) string {
	if textWidth(s) <= width {
		return s
	}
	n := int(width/charWidth) - 1
	if n < 3 {
		return ""
	}
	return strings.TrimRight(string([]rune(s)[:n]), "-_ ") + "…"
}
