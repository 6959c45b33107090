package loadgen

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/meshproof/meshproof/scenarios"
)

// own are the header fields that say which request is which, how long it is, or whom it is for: they are this package's.
var own = []string{
	scenarios.HeaderID, scenarios.HeaderWindow, scenarios.HeaderCaller, headerRequestID, headerSeq,
	"Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Te", "Trailer", "Expect", "Keep-Alive", "Proxy-Connection",
}

// extraFields are the fields of a header that every request is to have, in the order of their names. It refuses those that
// are not the user's to set, and what is no header field.
func extraFields(h http.Header) ([]field, error) {
	var out []field
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if slices.ContainsFunc(own, func(o string) bool { return strings.EqualFold(o, name) }) {
			return nil, fmt.Errorf("header %s is set by Meshproof itself", name)
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, fmt.Errorf("%q is not the name of a header field", name)
		}
		for _, v := range h[name] {
			if !httpguts.ValidHeaderFieldValue(v) {
				return nil, fmt.Errorf("header %s: %q has characters that can't be in a header", name, v)
			}
			out = append(out, field{name, []byte(v)})
		}
	}
	return out, nil
}
