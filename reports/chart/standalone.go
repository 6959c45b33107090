package chart

import (
	_ "embed"
	"strings"
)

//go:embed standalone.css
var standaloneCSS string

// Standalone makes a picture a file of its own: with the rules of CSS and colours for light and dark surroundings. Its series
// have class s0.
func Standalone(picture string) string {
	// Style sheets are text to an XML parser: what is markup there must not look like it here.
	style := "<style>" + esc(standaloneCSS) + esc(CSS) + "</style>\n"
	return strings.Replace(picture, ">\n", ">\n"+style, 1)
}
