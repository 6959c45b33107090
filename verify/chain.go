package verify

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// issuersAt finds the intermediates under which the certificates that workloads of a cluster serve were issued until a
// moment: those of the mesh that issues them, and of no other mesh there.
func (x *trial) issuersAt(cluster string, at time.Time) ([]*x509.Certificate, *evidence.Event, error) {
	return x.trustAt(evidence.TrustIssuer(string(x.d.traits().issues), cluster), at)
}

// trustAt finds the certificates that were trusted at a moment under a name.
func (x *trial) trustAt(name string, at time.Time) ([]*x509.Certificate, *evidence.Event, error) {
	var from *evidence.Event
	for _, e := range x.events[evidence.EventTrust] {
		if e.Data[name] != "" && !e.T.After(at) {
			from = e
		}
	}
	if from == nil {
		return nil, nil, fmt.Errorf("no trust material named %s was recorded by then", name)
	}
	var out []*x509.Certificate
	for rest := []byte(from.Data[name]); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, from, fmt.Errorf("trust material %s: %w", name, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, from, fmt.Errorf("trust material %s holds no certificate", name)
	}
	return out, from, nil
}

// servedChain looks at the chain that every pod of the callee served in every round that reads them.
func (x *trial) servedChain(t *tally, to scenarios.Workload) {
	rounds := 0
	for _, r := range x.rounds {
		if !r.Handshakes {
			continue
		}
		rounds++
		t.add(&r.tally)
		for _, pod := range x.pods(t, r, to) {
			found := x.handshakes[podWindow{window: r.Name, uid: pod.At.UID}]
			if len(found) != 1 {
				t.invalid("NoHandshake", refsOf(found...), "%d handshakes were made with pod %s for proof window %s, want 1", len(found), podName(pod.At), r.Name)
				continue
			}
			t.use(found[0].Ref())
			x.chain(t, found[0], to)
		}
	}
	if rounds == 0 {
		t.invalid("NoHandshake", nil, "no served chain was read")
	}
}

// chain judges one handshake. The chain must stand by itself: a peer knows the root alone, and has the intermediate
// from the chain.
func (x *trial) chain(t *tally, h *evidence.Handshake, to scenarios.Workload) {
	pod, used := podName(h.At), refsOf(h)
	name := x.d.serverName(to)
	switch {
	case h.ServerName != name:
		t.invalid("WrongServerName", used, "the handshake with pod %s asked for the name %q, and its proxy answers under %q", pod, h.ServerName, name)
		return
	case h.Error == "not TLS":
		t.fail("NotTLS", used, "pod %s does not speak TLS", pod)
		return
	case h.Error != "" || len(h.Chain) == 0:
		t.invalid("NoHandshake", used, "no chain was read from pod %s: %s", pod, h.Error)
		return
	case h.Resumed:
		t.invalid("Resumed", used, "the handshake with pod %s resumed an earlier session, and shows no chain of now", pod)
		return
	case !slices.Contains(x.d.traits().tls, h.Version):
		t.fail("OldTLS", used, "pod %s speaks %q, want %s", pod, h.Version, strings.Join(x.d.traits().tls, " or "))
		return
	}
	var certs []*x509.Certificate
	for _, der := range h.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.invalid("BadChain", used, "the chain of pod %s is not readable: %v", pod, err)
			return
		}
		certs = append(certs, c)
	}
	roots, e1, err := x.trustAt(evidence.TrustRoot, h.T)
	if err != nil {
		t.invalid("NoTrust", used, "the chain of pod %s cannot be judged: %v", pod, err)
		return
	}
	through, e2, err := x.issuersAt(h.At.Cluster, h.T)
	if err != nil {
		t.invalid("NoTrust", used, "the chain of pod %s cannot be judged: %v", pod, err)
		return
	}
	t.use(e1.Ref(), e2.Ref())
	used = append(used, e1.Ref(), e2.Ref())
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: h.T}
	for _, c := range roots {
		opts.Roots.AddCert(c)
	}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	chains, err := certs[0].Verify(opts)
	if err != nil {
		t.fail("ForeignChain", used, "the chain of pod %s does not lead to the root: %v", pod, err)
		return
	}
	if !passes(chains, through) {
		t.fail("ForeignChain", used, "the chain of pod %s does not pass the intermediate of %s in cluster %s", pod, x.d.traits().issues, h.At.Cluster)
		return
	}
	if reason, wrong := x.d.certificate(certs[0], x.d.identity(to)); reason != "" {
		t.fail(reason, used, "pod %s serves a certificate %s", pod, wrong)
	}
}

// passes reports whether one of the chains has one of the certificates between leaf and root.
func passes(chains [][]*x509.Certificate, through []*x509.Certificate) bool {
	for _, chain := range chains {
		for _, c := range chain[1:] {
			for _, i := range through {
				if c.Equal(i) {
					return true
				}
			}
		}
	}
	return false
}
