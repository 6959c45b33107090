package verify

import (
	"testing"

	"github.com/meshproof/meshproof/evidence"
)

func TestWhyAnEnvoyReachedNobodyIsSaidInItsOwnWords(t *testing.T) {
	const before = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, "
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"a certificate of another root", 503, before + "transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end", "503 (its Envoy: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end)"},
		{"nobody listens", 503, before + "transport failure reason: delayed connect error: Connection refused", "503 (its Envoy: delayed connect error: Connection refused)"},
		{"Envoy says nothing of it", 503, "no healthy upstream", "503"},
		{"no answer of Envoy's own", 500, "transport failure reason: mine", "500"},
		{"no answer", 0, "", "nothing"},
	} {
		if got := seen(&evidence.Probe{Status: tt.status, Body: tt.body}); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
