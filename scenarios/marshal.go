package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// Marshal writes the scenario as YAML that Parse reads back as an equal one. Fields come in the order of the types.
//
// It goes by way of encoding/json, so that which fields are written, and how, is decided in one place.
func Marshal(s *Scenario) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return nil, fmt.Errorf("encode scenario %s: %w", s.Metadata.Name, err)
	}
	dec := json.NewDecoder(&buf)
	dec.UseNumber()
	var w yamlWriter
	if err := w.value(dec, 0, ""); err != nil {
		return nil, fmt.Errorf("write scenario %s: %w", s.Metadata.Name, err)
	}
	return w.out.Bytes(), nil
}

// yamlWriter turns a stream of JSON tokens into block-style YAML, in their order.
type yamlWriter struct {
	out bytes.Buffer
}

// value writes the next value at a depth of indentation. lead is what is still to be written before it on its line:
// "key:", "-", or nothing.
func (w *yamlWriter) value(dec *json.Decoder, indent int, lead string) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		if lead != "" {
			lead += " "
		}
		w.out.WriteString(lead + scalar(tok) + "\n")
		return nil
	}
	if !dec.More() {
		empty := map[json.Delim]string{'{': "{}", '[': "[]"}[delim]
		w.out.WriteString(strings.TrimSpace(lead+" "+empty) + "\n")
		_, err := dec.Token()
		return err
	}
	// The first entry of a collection in a list goes on the line of its dash, everything else on a line of its own.
	newLine := true
	switch lead {
	case "":
		newLine = false
	case "-":
		w.out.WriteString("- ")
		newLine = false
	default:
		w.out.WriteString(lead + "\n")
	}
	for ; dec.More(); newLine = true {
		if newLine {
			w.out.WriteString(strings.Repeat(" ", indent))
		}
		if delim == '[' {
			err = w.value(dec, indent+2, "-")
		} else if tok, err = dec.Token(); err == nil {
			err = w.value(dec, indent+2, scalar(tok)+":")
		}
		if err != nil {
			return err
		}
	}
	_, err = dec.Token()
	if err == io.EOF {
		return nil
	}
	return err
}

// bare is a text that every YAML reader takes for a text when it has no quotes, unless it is a word of YAML's.
var bare = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./*-]*( [A-Za-z0-9_./()*;-]+)*[.,;]?$`)

// bareDuration is a duration, which nobody takes for a number because of its unit.
var bareDuration = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`)

// yamlWords are the words that some YAML reader takes for something else.
var yamlWords = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

func scalar(tok json.Token) string {
	switch v := tok.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprint(v)
	case json.Number:
		return v.String()
	case string:
		if bareDuration.MatchString(v) || bare.MatchString(v) && !slices.Contains(yamlWords, strings.ToLower(v)) && !token.IsNeedQuoted(v) {
			return v
		}
		return doubleQuoted(v)
	}
	return fmt.Sprint(tok)
}

// doubleQuoted is a JSON text, which is a double-quoted YAML one too.
func doubleQuoted(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return fmt.Sprintf("%q", s) // encoding/json has no error for a text
	}
	// The one control character that JSON does not escape, and a file may not have.
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007f`)
}
