package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
)

// handshakeTimeout bounds a handshake whose caller did not.
const handshakeTimeout = 5 * time.Second

// Handshake implements clusters.Cluster. It is made from the cluster's own network.
func (c *cluster) Handshake(ctx context.Context, to clusters.Pod, serverName string) clusters.HandshakeResult {
	p, err := c.running(to)
	if err != nil {
		return clusters.HandshakeResult{Error: workload.ErrorClass(err)}
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := c.f.net.dial(ctx, c.name, c.name, p.addr())
	if err != nil {
		return clusters.HandshakeResult{Error: workload.ErrorClass(err)}
	}
	defer func() { _ = conn.Close() }()
	return handshake(ctx, conn, serverName)
}

// handshake reads the served chain. Nobody is trusted or believed here: that is for the verification to judge.
func handshake(ctx context.Context, conn net.Conn, serverName string) clusters.HandshakeResult {
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
		return workload.ErrorClass(ctx.Err())
	}
	return workload.ErrorClass(err)
}
