package reports

import (
	"regexp"
	"strings"
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

// clean removes secrets from a text and makes it valid UTF-8.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	for _, re := range secrets {
		s = re.ReplaceAllLiteralString(s, removed)
	}
	return s
}

func cleanAll(ss []string) []string {
	out := make([]string, 0, len(ss))
	for _, s := range ss {
		out = append(out, clean(s))
	}
	return out
}
