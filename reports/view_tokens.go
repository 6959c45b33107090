package reports

import (
	"maps"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/verify"
)

// tokenLine is one kind of token at one door, over ingresses and blocks.
type tokenLine struct {
	Words, Claims    string
	To, Method, Path string
	Expected, Wanted string
	Answers          []answer
	Between          bool // meshes differ, declared gaps apart
	Class            string
}

func (r *Report) tokenLines() []tokenLine {
	type key struct{ to, method, path, kind, claims string }
	var keys []key
	groups := map[key][]TokenCell{}
	for _, c := range r.Tokens {
		k := key{c.To, c.Method, c.Path, c.Kind, claimWords(c.Claims)}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], c)
	}
	var out []tokenLine
	for _, k := range keys {
		l := tokenLine{Words: tokenWords(k.kind), Claims: k.claims, To: k.to, Method: k.method, Path: k.path}
		off, gap := false, false
		for _, m := range r.Meshes {
			a := answer{}
			for _, c := range groups[k] {
				if c.Mesh != m {
					continue
				}
				l.Expected, l.Wanted = merged(l.Expected, c.Expected), merged(l.Wanted, c.Wanted)
				a.add(c.Observed, c.Status, c.Cause, c.Message, c.Verdict)
				off = off || (c.Verdict != verify.Gap && (c.Verdict != verify.Pass || c.Observed != c.Expected))
				gap = gap || c.Verdict == verify.Gap
			}
			l.Answers = append(l.Answers, a)
		}
		l.Between = markAnswers(l.Expected, l.Answers)
		l.Class = lineClass(off || l.Between, gap)
		out = append(out, l)
	}
	return out
}

// once adds a text that is neither empty nor there.
func once(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func claimWords(claims map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		parts = append(parts, name+": "+claims[name])
	}
	return strings.Join(parts, ", ")
}

// tokenWords says what a kind of token is.
func tokenWords(kind string) string {
	switch kind {
	case verify.TokenGood:
		return "good"
	case verify.TokenExpired:
		return "expired"
	case verify.TokenWrongIssuer:
		return "of another issuer"
	case verify.TokenWrongAudience:
		return "for another audience"
	case verify.TokenMalformed:
		return "malformed"
	case verify.TokenNone:
		return "no token"
	case verify.TokenForeignKey:
		return "forged: signed by another key"
	case verify.TokenMissingClaim:
		return "good, but a claim is missing"
	case verify.TokenWrongClaim:
		return "good, but with another claim"
	}
	return kind
}
