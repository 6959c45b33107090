package reports

import (
	"regexp"
	"strings"
	"unicode"
)

// removed stands where a secret was. Records hold none by design; this is the second lock on that door.
const removed = "[removed by meshproof: secret]"

var secrets = []*regexp.Regexp{
	// PEM private keys (RFC 7468), whole or cut off.
	regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`),
	// JSON Web Tokens (RFC 7519): base64url of {" at the start of two parts. The signature may be cut off.
	regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}(\.[A-Za-z0-9_-]*)?`),
	// Credentials of an Authorization header (RFC 6750, RFC 7617).
	regexp.MustCompile(`(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{16,}`),
	regexp.MustCompile(`(?i)authorization["']?\s*[:=]\s*["']?(basic|bearer|digest)\s+[^"'\s,]+`),
}

// secretKey reports whether a JSON key or header names a credential.
func secretKey(k string) bool {
	switch strings.ToLower(k) {
	case "authorization", "proxy-authorization", "cookie", "set-cookie", "token", "access_token", "id_token",
		"refresh_token", "password", "secret", "client_secret", "private_key", "privatekey":
		return true
	}
	return false
}

// clean removes secrets from a text, and what would make a page or a terminal show something else than the text:
// invalid UTF-8, control characters, and marks that turn the direction of writing.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	for _, re := range secrets {
		s = re.ReplaceAllLiteralString(s, removed)
	}
	return s
}

// cleanKeys cleans the keys of a map; a null becomes an empty map.
func cleanKeys[V any](m map[string]V) map[string]V {
	out := make(map[string]V, len(m))
	for k, v := range m {
		out[clean(k)] = v
	}
	return out
}

func cleanAll(ss []string) []string {
	out := make([]string, 0, len(ss))
	for _, s := range ss {
		out = append(out, clean(s))
	}
	return out
}
