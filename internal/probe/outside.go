package probe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/oidc"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// enter makes one request from outside of the clusters, through the ingress of one, and records what its client saw. Of
// the token it writes down what it says and its hash alone.
func (a *asker) enter(ctx context.Context, k verify.Ask, p *evidence.Probe) error {
	cluster := a.env.Fleet.Cluster(k.Cluster)
	to, ok := a.env.Scenario.Workload(k.To)
	if cluster == nil || !ok {
		return fmt.Errorf("%s: there is no such cluster, or no such service", k.Cell)
	}
	base, err := cluster.Ingress(ctx)
	if err != nil {
		return fmt.Errorf("%s: the ingress of cluster %s: %w", k.Cell, k.Cluster, err)
	}
	u, err := url.Parse(base)
	if err != nil {
		return fmt.Errorf("%s: the address of the ingress of cluster %s: %w", k.Cell, k.Cluster, err)
	}
	if a.env.Mint == nil {
		return fmt.Errorf("%s: nobody issues tokens", k.Cell)
	}
	token, err := a.env.Mint(*k.Token)
	if err != nil {
		return fmt.Errorf("%s: %w", k.Cell, err)
	}
	h := http.Header{}
	h.Set(scenarios.HeaderID, p.ID)
	h.Set("X-Request-Id", p.ID)
	h.Set(scenarios.HeaderWindow, a.window)
	h.Set(scenarios.HeaderProof, "1")
	h.Set(scenarios.HeaderConnection, "fresh")
	p.Token = &evidence.Token{Kind: k.Token.Kind, Claims: k.Token.Claims}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
		p.Token.SHA256 = oidc.Sum(token)
	}
	client := workload.NewClient(func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", u.Host)
	})
	defer client.Close()
	start := time.Now()
	res := client.Send(ctx, clusters.Request{Host: to.Host(), Method: k.Method, Path: k.Path, Header: h, Fresh: true, Timeout: timeout})
	if ctx.Err() != nil {
		return ctx.Err() // what was under way when the user stopped the run proves nothing
	}
	p.Header = head(a.env.Trial, "probe")
	p.T = start
	p.Window, p.Cell, p.To = a.window, k.Cell, k.To
	p.From = evidence.PodRef{Cluster: k.Cluster, Service: scenarios.OutsideName}
	p.Method, p.Path, p.Connection = k.Method, k.Path, k.Connection
	p.Status, p.Error, p.Micros = res.Status, res.Error, res.Took.Microseconds()
	p.Server = res.Header.Get("Server")
	if res.Status/100 != 2 {
		p.Body = res.Body
	}
	return a.env.Sink.Append(p)
}
