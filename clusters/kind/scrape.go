package kind

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/meshproof/meshproof/clusters"
)

// Scrape implements clusters.Cluster. Pages are read through the API server, from ports that proxies don't capture.
func (c *cluster) Scrape(ctx context.Context, p clusters.Pod) ([]clusters.Page, error) {
	if _, err := c.running(p); err != nil {
		return nil, err
	}
	if !c.proxied(p) {
		return nil, clusters.ErrNoProxy
	}
	body, err := c.page(ctx, p.Namespace, p.Pod)
	return []clusters.Page{{Container: c.f.mesh.proxy().container, Body: string(body), Err: err}}, ctx.Err()
}

// page reads the metric page of the proxy in a pod.
func (c *cluster) page(ctx context.Context, namespace, pod string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	px := c.f.mesh.proxy()
	body, err := c.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").
		Name(pod + ":" + strconv.Itoa(px.port)).SubResource("proxy").Suffix(px.path).Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("reading the metrics of pod %s in cluster %s: %w", pod, c.name, err)
	}
	return body, nil
}

// proxied reports whether a pod has the mesh's proxy.
func (c *cluster) proxied(p clusters.Pod) bool {
	return c.f.mesh != nil && has(p, c.f.mesh.proxy().container)
}

// has reports whether a pod has a container, be it a native sidecar.
func has(p clusters.Pod, container string) bool {
	return slices.Contains(p.Containers, container) || slices.Contains(p.InitContainers, container)
}
