package workers

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS is how https is spoken. The fields are files in PEM.
type TLS struct {
	Insecure   bool   `json:"insecure,omitempty"` // the server's certificate is not checked
	CA         string `json:"ca,omitempty"`       // roots, in place of the system's
	Cert       string `json:"cert,omitempty"`     // client certificate, with its chain
	Key        string `json:"key,omitempty"`      // its key
	ServerName string `json:"serverName,omitempty"`
}

// Config reads the files. It is nil where nothing but the system's own is asked for.
func (t TLS) Config() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure, ServerName: t.ServerName} // the user asks for it
	if t.CA != "" {
		b, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("the roots: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("the roots: %s has no certificate in PEM", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("a client certificate needs its key, and a key its certificate: use --cert and --key together")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("the client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
