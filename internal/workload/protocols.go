package workload

import "net/http"

// Protocols are what a workload's server takes: HTTP/1.1, and HTTP/2 without TLS by prior knowledge (RFC 9113, 3.3).
func Protocols() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}
