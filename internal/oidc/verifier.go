package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// skew is how far clocks may differ: jwt_authn's default of clock_skew_seconds.
const skew = time.Minute

// Status is why a token is refused, in the words of Envoy's jwt_verify_lib (getStatusString); empty where it is good.
type Status string

// The statuses that can come up here.
const (
	BadFormat          Status = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
	BadHeader          Status = "Jwt header is an invalid JSON"
	BadAlgorithm       Status = "Jwt header [alg] is not supported"
	BadPayload         Status = "Jwt payload is an invalid JSON"
	UnknownIssuer      Status = "Jwt issuer is not configured"
	NotYetValid        Status = "Jwt not yet valid"
	IsExpired          Status = "Jwt is expired"
	AudienceNotAllowed Status = "Audiences in Jwt are not allowed"
	FetchFailed        Status = "Jwks remote fetch is failed"
	NoSuchKey          Status = "Jwks doesn't have key to match kid or alg from Jwt"
	BadSignature       Status = "Jwt verification fails"
	Denied             Status = "RBAC: access denied" // no token, where AuthorizationPolicy asks for a principal
)

// Code is the HTTP status that Envoy answers: 403 for an audience that is not allowed, and for what policy denies, and
// 401 for everything else (jwt_authn/filter.cc, onComplete).
func (s Status) Code() int {
	if s == AudienceNotAllowed || s == Denied {
		return http.StatusForbidden
	}
	return http.StatusUnauthorized
}

// Details is Envoy's response code detail of a refusal by jwt_authn.
func (s Status) Details() string {
	return "jwt_authn_access_denied{" + strings.ReplaceAll(string(s), " ", "_") + "}"
}

// Rule is one issuer whose tokens are taken, as in a RequestAuthentication.
type Rule struct {
	Issuer    string
	Audiences []string // any of them; none: every audience
	Keys      *Keys
}

// Claims are the claims of a token that was found good.
type Claims map[string]any

// Principal is Istio's request principal: iss/sub. It is empty where the token lacks one of the two.
func (c Claims) Principal() string {
	iss, _ := c["iss"].(string)
	sub, _ := c["sub"].(string)
	if iss == "" || sub == "" {
		return ""
	}
	return iss + "/" + sub
}

// Texts lists the texts of a claim: the claim itself, or the members of a list. As in Istio, scope and permission are
// lists separated by spaces.
func (c Claims) Texts(name string) []string {
	switch v := c[name].(type) {
	case string:
		if name == "scope" || name == "permission" {
			return strings.Fields(v)
		}
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// Bearer finds the token of a request: what follows "Bearer " in its Authorization header.
func Bearer(h http.Header) (string, bool) {
	token, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	return token, ok
}

// algorithms are those that jwt_verify_lib takes with keys of these kinds.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}

// Verify checks a token in the order in which Envoy does: form, issuer, time, audience, and last the signature.
func Verify(ctx context.Context, rules []Rule, token string, now time.Time) (Claims, Status) {
	if strings.Count(token, ".") != 2 {
		return nil, BadFormat
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		var algorithm *jose.ErrUnexpectedSignatureAlgorithm
		if errors.As(err, &algorithm) {
			return nil, BadAlgorithm
		}
		return nil, BadHeader
	}
	var claims Claims
	var times jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims, &times); err != nil {
		return nil, BadPayload
	}
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Issuer == times.Issuer })
	switch {
	case i < 0:
		return nil, UnknownIssuer
	case times.NotBefore != nil && now.Before(times.NotBefore.Time().Add(-skew)):
		return nil, NotYetValid
	case times.Expiry != nil && now.After(times.Expiry.Time().Add(skew)):
		return nil, IsExpired
	case len(rules[i].Audiences) > 0 && !slices.ContainsFunc(rules[i].Audiences, times.Audience.Contains):
		return nil, AudienceNotAllowed
	}
	set, err := rules[i].Keys.get(ctx, now)
	if err != nil {
		return nil, FetchFailed
	}
	status := NoSuchKey
	head := parsed.Headers[0]
	for _, k := range set.Keys {
		if head.KeyID != "" && k.KeyID != head.KeyID || k.Algorithm != "" && k.Algorithm != head.Algorithm {
			continue
		}
		status = BadSignature
		var proved json.RawMessage
		if parsed.Claims(k, &proved) == nil {
			return claims, ""
		}
	}
	return nil, status
}
