package scenarios

import (
	"strings"
	"testing"
)

func TestRequestsThatCannotBeSentAreRefused(t *testing.T) {
	const first, second = "spec.traffic[0].requests[1]", "spec.traffic[0].requests[2]"
	for _, c := range []struct{ name, old, new, want string }{
		{"header of HTTP's", "x-channel: web shop", "Content-Length: '7'", first + ".headers.Content-Length: is a header that HTTP, proxies or Meshproof go by (choose another)"},
		{"header of Meshproof's", "x-channel: web shop", "X-Meshproof-Window: before/fresh", first + ".headers.X-Meshproof-Window: is a header that"},
		{"header of Envoy's", "x-channel: web shop", "x-envoy-max-retries: '3'", first + ".headers.x-envoy-max-retries: is a header that"},
		{"token by hand", "x-channel: web shop", "Authorization: Bearer x", first + ".headers.Authorization: is a header that HTTP, proxies or Meshproof go by (users' tokens come with traffic[].token)"},
		{"type by hand", "x-channel: web shop", "content-type: text/html", first + ".headers.content-type: is a header that HTTP, proxies or Meshproof go by (write body: {type: …})"},
		{"header with a colon", "x-channel: web shop", "'x:y': z", first + `.headers["x:y"]: "x:y" is not a name for a header`},
		{"header with a line end", "x-channel: web shop", `x-channel: "a\r\nx-meshproof-id: 1"`, first + ".headers.x-channel: "},
		{"header twice", "x-channel: web shop", "Accept: x", first + ".headers.accept: is the same header as Accept"},
		{"body of a GET", "{method: GET, path: /, weight: 2}", "{method: GET, path: /, weight: 2, body: {bytes: 7}}", "spec.traffic[0].requests[0].body: a GET has no body that servers would read"},
		{"body without a size", "{bytes: 100, to: 2000, type: application/json}", "{type: application/json}", first + ".body: has no size"},
		{"body of two sizes", "{p50: 800, p99: 20000}", "{bytes: 7, p50: 800, p99: 20000}", second + ".body: has two sizes"},
		{"body from nowhere", "{p50: 800, p99: 20000}", "{p50: 800, p99: 20000, to: 7}", second + ".body.to: goes with bytes"},
		{"body to below", "to: 2000", "to: 20", first + ".body.to: 20 is below bytes (100)"},
		{"body without its tail", "{p50: 800, p99: 20000}", "{p50: 800}", second + ".body.p99: 0 is below p50 (800)"},
		{"body too large", "to: 2000", "to: 300000", first + ".body.to: 300000 is out of range"},
		{"type that is none", "application/json", "json", first + `.body.type: "json" is not a content type`},
		{"connections", "connections: each", "connections: all", `spec.traffic[0].connections: "all" is not known`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := strings.Count(mixed, c.old); n != 1 {
				t.Fatalf("%q is there %d times", c.old, n)
			}
			_, err := Parse("s.yaml", []byte(strings.Replace(shaped(), c.old, c.new, 1)))
			if err == nil {
				t.Fatal("was accepted")
			}
			expectProblems(t, err, []string{c.want})
		})
	}
}
