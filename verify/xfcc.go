package verify

import (
	"errors"
	"fmt"
	"strings"
)

// xfccElement is one element of an X-Forwarded-Client-Cert header, reduced to what names a workload.
type xfccElement struct {
	By  []string // URI SANs of the certificate of the proxy that wrote the element
	URI []string // URI SANs of the certificate of the client

	Hash string // SHA-256 of the certificate of the client, in hex
}

// parseXFCC reads an X-Forwarded-Client-Cert header as Envoy writes it: elements separated by commas, pairs of key and
// value separated by semicolons, values with commas, semicolons or equals signs in double quotes, with \" for a quote.
// Keys are not case-sensitive.
func parseXFCC(header string) ([]xfccElement, error) {
	if strings.TrimSpace(header) == "" {
		return nil, nil
	}
	var out []xfccElement
	elements, err := splitQuoted(header, ',')
	if err != nil {
		return nil, err
	}
	for _, e := range elements {
		pairs, err := splitQuoted(e, ';')
		if err != nil {
			return nil, err
		}
		var el xfccElement
		for _, p := range pairs {
			key, value, ok := strings.Cut(strings.TrimSpace(p), "=")
			if !ok {
				return nil, fmt.Errorf("x-forwarded-client-cert: %.80q is not a pair of key and value", p)
			}
			if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
				value = strings.ReplaceAll(value[1:n-1], `\"`, `"`)
			}
			switch strings.ToLower(key) {
			case "by":
				el.By = append(el.By, value)
			case "uri":
				el.URI = append(el.URI, value)
			case "hash":
				el.Hash = value
			}
		}
		out = append(out, el)
	}
	return out, nil
}

// xfccLeaf is the hash of the certificate of who sent a request, by the last element of the header.
func xfccLeaf(header string) string {
	els, err := parseXFCC(header)
	if err != nil || len(els) == 0 {
		return ""
	}
	return els[len(els)-1].Hash
}

// splitQuoted splits at sep outside double quotes.
func splitQuoted(s string, sep byte) ([]string, error) {
	var out []string
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	if quoted {
		return nil, errors.New("x-forwarded-client-cert: a quote is not closed")
	}
	return append(out, s[start:]), nil
}

// xfccPeer is who sent a request and who received it, by the last element of the header: that is the one that the
// receiver's own proxy appended, what stands before it is hearsay.
func xfccPeer(header string) (from, to string, err error) {
	els, err := parseXFCC(header)
	if err != nil || len(els) == 0 {
		return "", "", err
	}
	last := els[len(els)-1]
	if len(last.URI) > 1 || len(last.By) > 1 {
		return "", "", fmt.Errorf("x-forwarded-client-cert names more than one identity: URI %q, By %q", last.URI, last.By)
	}
	if len(last.URI) == 1 {
		from = last.URI[0]
	}
	if len(last.By) == 1 {
		to = last.By[0]
	}
	return from, to, nil
}
