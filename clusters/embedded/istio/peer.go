package istio

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
)

// peer is the other side of an inbound connection, as its TLS handshake proved it. Without mutual TLS it is empty.
type peer struct {
	uri     string // SPIFFE ID
	xfcc    string // this hop's element of X-Forwarded-Client-Cert
	serial  string // hex
	issuer  string // distinguished name (RFC 4514)
	version string // "TLSv1.3"
	cipher  string
	local   string // SPIFFE ID of the certificate that was served
	seen    string // metadata that was decoded last, and what it said
	party   party
}

func newPeer(s tls.ConnectionState, local string) *peer {
	leaf := s.PeerCertificates[0]
	sum := sha256.Sum256(leaf.Raw)
	p := &peer{
		uri:     leaf.URIs[0].String(),
		serial:  hex.EncodeToString(leaf.SerialNumber.Bytes()),
		issuer:  leaf.Issuer.String(),
		version: envoyVersion(s.Version),
		cipher:  tls.CipherSuiteName(s.CipherSuite),
		local:   local,
		party:   unknownParty,
	}
	p.party.Principal = p.uri
	p.xfcc = fmt.Sprintf("By=%s;Hash=%s;Subject=%q;URI=%s", local, hex.EncodeToString(sum[:]), leaf.Subject.String(), p.uri)
	return p
}

func envoyVersion(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	default:
		return tls.VersionName(v)
	}
}

// describe takes the metadata that sidecars tell each other out of a request's header. It names the caller in metrics,
// and counts only together with a certificate. A connection carries one request at a time, so that p needs no lock.
func (p *peer) describe(h http.Header) party {
	text := h.Get(headPeer)
	delete(h, headPeer)
	delete(h, headPeerID)
	if p == nil {
		return unknownParty
	}
	if text != "" && text != p.seen {
		var said party
		raw, err := base64.StdEncoding.DecodeString(text)
		if err == nil && json.Unmarshal(raw, &said) == nil {
			said.Principal = p.uri
			p.seen, p.party = text, said
		}
	}
	return p.party
}

// metadata is what a sidecar tells of itself.
func metadata(p party) string {
	raw, err := json.Marshal(p)
	if err != nil {
		return "" // strings alone: this cannot fail
	}
	return base64.StdEncoding.EncodeToString(raw)
}
