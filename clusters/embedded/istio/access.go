package istio

import (
	"encoding/json"
	"time"

	"github.com/meshproof/meshproof/evidence"
)

// accessLine is one line of the access log, with the keys that the recordings of real proxies have.
type accessLine struct {
	Cipher   *string `json:"cipher"`
	Code     int     `json:"code"`
	Details  string  `json:"details"`
	Flags    string  `json:"flags"`
	ID       *string `json:"id"`
	Issuer   *string `json:"issuer"`
	Local    *string `json:"local"`
	Method   *string `json:"method"`
	Path     *string `json:"path"`
	Peer     *string `json:"peer"`
	Serial   *string `json:"serial"`
	Start    string  `json:"start"`
	TLS      *string `json:"tls"`
	Upstream *string `json:"upstream"`
}

// logAccess writes one line. Flags are "-" where there are none.
func (p *sidecar) logAccess(line accessLine, from *peer, start time.Time) {
	if line.Flags == "" {
		line.Flags = "-"
	}
	line.Start = start.UTC().Format("2006-01-02T15:04:05.000Z")
	if from != nil {
		line.Cipher, line.Local, line.Peer, line.Serial, line.TLS = &from.cipher, &from.local, &from.uri, &from.serial, &from.version
		line.Issuer = &from.issuer
	}
	text, err := json.Marshal(line)
	if err != nil {
		return // strings and numbers alone: this cannot fail
	}
	// A sink that fails says so to its owner, who ends the run; a proxy goes on serving with a full disk.
	_ = p.world.Sink().Append(&evidence.Access{
		Header: evidence.Header{Trial: p.world.Trial(), Src: p.source},
		At:     p.pod.PodRef,
		Line:   text,
	})
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
