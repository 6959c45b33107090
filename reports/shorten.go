package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

const (
	// maxValue bounds one text of an excerpt, in characters. Certificates and metric pages are longer.
	maxValue = 300
	// maxItems bounds one list of an excerpt.
	maxItems = 40
)

// shorten writes a JSON document again in its own order, with long texts and lists cut and secrets removed. Numbers
// stay as they were written. What is not JSON gives nil.
func shorten(doc []byte) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var b bytes.Buffer
	if err := shortenValue(&b, d); err != nil {
		return nil
	}
	return b.Bytes()
}

// shortenValue copies the next value of d to b.
func shortenValue(b *bytes.Buffer, d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch x := t.(type) {
	case json.Delim:
		if x == '{' {
			return shortenObject(b, d)
		}
		return shortenList(b, d)
	case string:
		x = clean(x)
		if r := []rune(x); len(r) > maxValue {
			x = fmt.Sprintf("%s… (%d characters in all)", string(r[:maxValue]), len(r))
		}
		return write(b, x)
	}
	return write(b, t)
}

func shortenObject(b *bytes.Buffer, d *json.Decoder) error {
	b.WriteByte('{')
	for i := 0; d.More(); i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if err := write(b, clean(key)); err != nil {
			return err
		}
		b.WriteByte(':')
		if !secretKey(key) {
			if err := shortenValue(b, d); err != nil {
				return err
			}
			continue
		}
		var gone json.RawMessage
		if err := d.Decode(&gone); err != nil {
			return err
		}
		if err := write(b, removed); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	_, err := d.Token()
	return err
}

func shortenList(b *bytes.Buffer, d *json.Decoder) error {
	b.WriteByte('[')
	cut := 0
	for i := 0; d.More(); i++ {
		if i >= maxItems {
			cut++
			var gone json.RawMessage
			if err := d.Decode(&gone); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			b.WriteByte(',')
		}
		if err := shortenValue(b, d); err != nil {
			return err
		}
	}
	if cut > 0 {
		b.WriteByte(',')
		if err := write(b, fmt.Sprintf("… and %d more", cut)); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	_, err := d.Token()
	return err
}

// write appends a value as JSON, with < and > as they are.
func write(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the newline of Encode
	return nil
}

// spaced puts a space after each comma and colon between values, so that a long line breaks there.
func spaced(doc json.RawMessage) string {
	var b strings.Builder
	inText, escaped := false, false
	for _, r := range string(doc) {
		b.WriteRune(r)
		switch {
		case escaped:
			escaped = false
		case inText && r == '\\':
			escaped = true
		case r == '"':
			inText = !inText
		case !inText && (r == ',' || r == ':'):
			b.WriteByte(' ')
		}
	}
	return b.String()
}
