package istio

import (
	"sync/atomic"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// connectTimeout is Istio's default for TCP and TLS together.
const connectTimeout = 10 * time.Second

// host is one endpoint of one upstream with its connections.
type host struct {
	relay.Pool
	ep     proxy.Endpoint
	secure bool
	active atomic.Int64 // requests under way
}
