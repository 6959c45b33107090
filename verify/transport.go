package verify

import (
	"net/http"
	"strings"

	"github.com/meshproof/meshproof/evidence"
)

// transportReason stands in the answer that an Envoy makes itself where it reached nobody, before what its transport
// socket says (%UPSTREAM_TRANSPORT_FAILURE_REASON% of access logs): "upstream connect error or disconnect/reset before
// headers. reset reason: remote connection failure, transport failure reason: TLS_error:|…:CERTIFICATE_VERIFY_FAILED".
const transportReason = "transport failure reason: "

// seen is what a client saw, in a word, and why its Envoy got no further, where that says so. It explains and decides
// nothing: anybody could answer so.
func seen(p *evidence.Probe) string {
	_, why, ok := strings.Cut(p.Body, transportReason)
	if !ok || p.Status != http.StatusServiceUnavailable {
		return status(p)
	}
	why, _, _ = strings.Cut(strings.TrimSpace(why), "\n")
	return status(p) + " (its Envoy: " + strings.TrimRight(why, ". ") + ")"
}
