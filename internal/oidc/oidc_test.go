package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testURL = "http://issuer.test"

// issuer starts an issuer for the audience shop, and says where its host is.
func issuer(t *testing.T) (*Issuer, map[string]string) {
	t.Helper()
	i, err := Start(testURL, "shop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return i, map[string]string{"issuer.test": i.Addr()}
}

func mint(t *testing.T, i *Issuer, d Defect) string {
	t.Helper()
	token, err := i.Mint("anna", map[string]string{"role": "customer"}, time.Minute, d)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTheDiscoveryDocumentLeadsToKeysThatVerifyATokenOfTheIssuer(t *testing.T) {
	i, hosts := issuer(t)
	get := func(path string, into any) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Get("http://" + i.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %s %v", path, resp.Status, resp.Header)
		}
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	get("/.well-known/openid-configuration", &doc)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	get("/keys", &set)
	if doc.Issuer != testURL || doc.JWKSURI != testURL+"/keys" || len(set.Keys) != 1 {
		t.Fatalf("%+v %+v", doc, set)
	}
	if _, private := set.Keys[0]["d"]; private || set.Keys[0]["kid"] == "" || set.Keys[0]["alg"] != "ES256" {
		t.Errorf("key %v", set.Keys[0])
	}
	rules := []Rule{{Issuer: doc.Issuer, Audiences: []string{"shop"}, Keys: NewKeys(doc.JWKSURI, hosts)}}
	claims, status := Verify(t.Context(), rules, mint(t, i, Good), time.Now())
	if status != "" || claims.Principal() != testURL+"/anna" || claims.Texts("role")[0] != "customer" {
		t.Errorf("%q %v", status, claims)
	}
}

func TestEveryDefectOfATokenIsRefusedInEnvoysWords(t *testing.T) {
	i, hosts := issuer(t)
	rules := []Rule{{Issuer: testURL, Audiences: []string{"office", "shop"}, Keys: NewKeys(testURL+"/keys", hosts)}}
	good := mint(t, i, Good)
	parts := strings.Split(good, ".")
	enc := base64.RawURLEncoding.EncodeToString
	stranger, _ := issuer(t)
	for _, c := range []struct {
		name, token string
		want        Status
		code        int
	}{
		{"good", good, "", 0},
		{"expired", mint(t, i, Expired), "Jwt is expired", 401},
		{"wrong issuer", mint(t, i, WrongIssuer), "Jwt issuer is not configured", 401},
		{"wrong audience", mint(t, i, WrongAudience), "Audiences in Jwt are not allowed", 403},
		{"malformed", mint(t, i, Malformed), "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections", 401},
		{"foreign key", mint(t, i, ForeignKey), "Jwt verification fails", 401},
		{"another issuer's key of another name", mint(t, stranger, Good), "Jwks doesn't have key to match kid or alg from Jwt", 401},
		{"empty", "", BadFormat, 401},
		{"four parts", good + ".x", BadFormat, 401},
		{"no signature", parts[0] + "." + parts[1] + ".", BadSignature, 401},
		{"another payload", parts[0] + "." + enc([]byte(`{"iss":"`+testURL+`","sub":"eve","aud":"shop"}`)) + "." + parts[2], BadSignature, 401},
		{"payload that is no JSON", parts[0] + "." + enc([]byte("x")) + "." + parts[2], BadPayload, 401},
		{"header that is no JSON", enc([]byte("x")) + "." + parts[1] + "." + parts[2], BadHeader, 401},
		{"no algorithm at all", enc([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", BadAlgorithm, 401},
		{"the public key as a shared secret", enc([]byte(`{"alg":"HS256"}`)) + "." + parts[1] + "." + parts[2], BadAlgorithm, 401},
	} {
		claims, got := Verify(t.Context(), rules, c.token, time.Now())
		if got != c.want || (claims == nil) != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", c.name, got, claims, c.want)
		}
		if got != "" && got.Code() != c.code {
			t.Errorf("%s: %d, want %d", c.name, got.Code(), c.code)
		}
	}
	if got := IsExpired.Details(); got != "jwt_authn_access_denied{Jwt_is_expired}" {
		t.Error(got)
	}
}

func TestATokenIsValidWithinAMinutesDifferenceOfClocks(t *testing.T) {
	i, hosts := issuer(t)
	rules := []Rule{{Issuer: testURL, Keys: NewKeys(testURL+"/keys", hosts)}}
	token := mint(t, i, Good) // for a minute
	for after, want := range map[time.Duration]Status{30 * time.Second: "", 110 * time.Second: "", 130 * time.Second: IsExpired} {
		if _, got := Verify(t.Context(), rules, token, time.Now().Add(after)); got != want {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
	}
}

func TestKeysThatCannotBeFetchedRefuseEveryTokenAndAreTriedAgain(t *testing.T) {
	i, hosts := issuer(t)
	token := mint(t, i, Good)
	for name, keys := range map[string]*Keys{
		"a host that nobody knows": NewKeys("http://elsewhere.test/keys", hosts),
		"a path that is not there": NewKeys(testURL+"/nothing", hosts),
		"no address":               NewKeys("http://[::", hosts),
		"no hosts":                 NewKeys(testURL+"/keys", nil),
	} {
		if _, got := Verify(t.Context(), []Rule{{Issuer: testURL, Keys: keys}}, token, time.Now()); got != FetchFailed || got.Code() != 401 {
			t.Errorf("%s: %q", name, got)
		}
	}
	var fetched atomic.Int64
	var body atomic.Value
	body.Store("no JSON")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		_, _ = w.Write([]byte(body.Load().(string)))
	}))
	defer s.Close()
	rules := []Rule{{Issuer: testURL, Keys: NewKeys("http://flaky.test/keys", map[string]string{"flaky.test": s.Listener.Addr().String()})}}
	now := time.Now()
	ask := func(after time.Duration, want Status, n int64) {
		t.Helper()
		if _, got := Verify(t.Context(), rules, token, now.Add(after)); got != want || fetched.Load() != n {
			t.Errorf("after %s: %q after %d fetches, want %q after %d", after, got, fetched.Load(), want, n)
		}
	}
	ask(0, FetchFailed, 1)
	ask(keysRetry/2, FetchFailed, 1)
	body.Store(`{"keys":[]}`)
	ask(2*keysRetry, NoSuchKey, 2)
	ask(30*time.Second, NoSuchKey, 2)
}

func TestARequestThatGaveUpSaysNothingAboutTheKeys(t *testing.T) {
	i, hosts := issuer(t)
	rules := []Rule{{Issuer: testURL, Keys: NewKeys(testURL+"/keys", hosts)}}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	token := mint(t, i, Good)
	if _, got := Verify(gone, rules, token, time.Now()); got != FetchFailed {
		t.Errorf("%q", got)
	}
	if _, got := Verify(t.Context(), rules, token, time.Now()); got != "" {
		t.Errorf("after a request that gave up: %q", got)
	}
}

func TestABearerIsFoundAsEnvoyFindsIt(t *testing.T) {
	for value, want := range map[string]string{"Bearer abc": "abc", "Bearer ": "", "bearer abc": "none", "Basic abc": "none", "": "none"} {
		h := http.Header{}
		if value != "" {
			h.Set("Authorization", value)
		}
		token, ok := Bearer(h)
		if !ok {
			token = "none"
		}
		if token != want {
			t.Errorf("%q: %q, want %q", value, token, want)
		}
	}
}

func TestClaimsAreTextsOrListsOfThem(t *testing.T) {
	var c Claims
	if err := json.Unmarshal([]byte(`{"role":"a b","scope":"read write","groups":["x",7,"y"],"n":1,"sub":"anna"}`), &c); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"role": "a b", "scope": "read|write", "groups": "x|y", "n": "", "nothing": ""} {
		if got := strings.Join(c.Texts(name), "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if c.Principal() != "" || Claims(nil).Principal() != "" {
		t.Error("a principal without an issuer")
	}
}

func TestTwoTokensHaveDifferentSumsAndNoneHoldsTheToken(t *testing.T) {
	i, _ := issuer(t)
	a, b := mint(t, i, Good), mint(t, i, ForeignKey)
	if Sum(a) == Sum(b) || len(Sum(a)) != 64 || strings.Contains(a, Sum(a)) {
		t.Errorf("%s %s", Sum(a), Sum(b))
	}
	if _, err := i.Mint("anna", nil, time.Minute, "melted"); err == nil {
		t.Error("an unknown defect was minted")
	}
	token, err := i.Mint("anna", map[string]string{"iss": "eve", "exp": "never"}, time.Minute, Good)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || strings.Contains(string(payload), "eve") || strings.Contains(string(payload), "never") {
		t.Errorf("a claim replaced one of the issuer's: %s %v", payload, err)
	}
}

func TestAnIssuerThatWasClosedIsGone(t *testing.T) {
	i, err := Start(testURL, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", i.Addr()); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
}

func FuzzVerify(f *testing.F) {
	i, err := Start(testURL, "shop")
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = i.Close(context.Background()) }()
	token, err := i.Mint("anna", nil, time.Hour, Good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("a.b.c")
	f.Add("...")
	f.Add(strings.Replace(token, ".", ".e30", 1))
	rules := []Rule{{Issuer: testURL, Audiences: []string{"shop"}, Keys: NewKeys(testURL+"/keys", map[string]string{"issuer.test": i.Addr()})}}
	f.Fuzz(func(t *testing.T, s string) {
		claims, status := Verify(t.Context(), rules, s, time.Now())
		if status == "" && s != token {
			t.Errorf("%q is taken for a good token: %v", s, claims)
		}
	})
}
