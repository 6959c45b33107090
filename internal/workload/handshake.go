package workload

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/meshproof/meshproof/clusters"
)

// Handshake makes a TLS handshake on a new connection, without a client certificate and without resumption, and reads
// the served chain. Nobody is trusted or believed here: that is for the verification to judge.
func Handshake(ctx context.Context, conn net.Conn, serverName string) clusters.HandshakeResult {
	var seen *tls.ConnectionState
	client := tls.Client(conn, &tls.Config{
		ServerName:             serverName,
		InsecureSkipVerify:     true, // the chain is read, not trusted
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
		// Called when the server's certificate has been read, before a TLS 1.2 server refuses a client without one.
		VerifyConnection: func(s tls.ConnectionState) error {
			seen = &s
			return nil
		},
	})
	err := client.HandshakeContext(ctx)
	if seen == nil {
		return clusters.HandshakeResult{Error: handshakeError(ctx, err)}
	}
	res := clusters.HandshakeResult{
		Version: tls.VersionName(seen.Version), Cipher: tls.CipherSuiteName(seen.CipherSuite), Resumed: seen.DidResume,
	}
	for _, cert := range seen.PeerCertificates {
		res.Chain = append(res.Chain, cert.Raw)
	}
	return res
}

func handshakeError(ctx context.Context, err error) string {
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return "not TLS"
	case ctx.Err() != nil:
		return ErrorClass(ctx.Err())
	}
	return ErrorClass(err)
}
