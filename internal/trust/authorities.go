package trust

import (
	"fmt"
	"maps"
	"sync"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// Authorities are those of a trial: one root, and an intermediate for each mesh in each cluster. They are safe for
// concurrent use.
type Authorities struct {
	root *Root

	mu      sync.RWMutex
	issuers map[seat]*Issuer
}

// seat is whose certificates an issuer signs.
type seat struct {
	mesh    scenarios.MeshName
	cluster string
}

// NewAuthorities makes a root, and issuers for every control plane that a mesh has in these clusters.
func NewAuthorities(mesh scenarios.MeshName, clusters []string) (*Authorities, error) {
	root, err := NewRoot("Meshproof root")
	if err != nil {
		return nil, err
	}
	a := &Authorities{root: root, issuers: map[seat]*Issuer{}}
	for _, m := range mesh.ControlPlanes() {
		for _, c := range clusters {
			if a.issuers[seat{m, c}], err = root.Issuer(fmt.Sprintf("Meshproof intermediate of %s in %s", m, c)); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

// Issuer is who signs for the workloads of a mesh in a cluster now; nil where nobody does.
func (a *Authorities) Issuer(mesh scenarios.MeshName, cluster string) *Issuer {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.issuers[seat{mesh, cluster}]
}

// Certificates are those of the root and of every issuer, as evidence's trust event names them.
func (a *Authorities) Certificates() map[string]string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	data := map[string]string{evidence.TrustRoot: a.root.PEM()}
	for s, issuer := range a.issuers {
		data[evidence.TrustIssuer(string(s.mesh), s.cluster)] = issuer.Lineage()
	}
	return data
}

// Rotate lets successors take the place of a cluster's issuers, of every mesh there. Before anybody can sign with them,
// say is told the certificates that are trusted from then on; with its error nothing has changed.
func (a *Authorities) Rotate(cluster string, say func(certificates map[string]string) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, data := map[seat]*Issuer{}, map[string]string{}
	for s, issuer := range a.issuers {
		if s.cluster != cluster {
			continue
		}
		successor, err := issuer.Successor()
		if err != nil {
			return err
		}
		next[s] = successor
		data[evidence.TrustIssuer(string(s.mesh), s.cluster)] = successor.Lineage()
	}
	if err := say(data); err != nil {
		return err
	}
	maps.Copy(a.issuers, next)
	return nil
}
