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
	var pages []clusters.Page
	for _, px := range c.proxies(p) {
		body, err := c.page(ctx, p.Namespace, p.Pod, px)
		pages = append(pages, clusters.Page{Container: px.container, Body: string(body), Err: err})
	}
	if len(pages) == 0 {
		return nil, clusters.ErrNoProxy
	}
	return pages, ctx.Err()
}

// page reads the metric page of a proxy in a pod.
func (c *cluster) page(ctx context.Context, namespace, pod string, px proxy) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := c.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").
		Name(pod + ":" + strconv.Itoa(px.port)).SubResource("proxy").Suffix(px.path).Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("reading the metrics of %s in pod %s in cluster %s: %w", px.container, pod, c.name, err)
	}
	return body, nil
}

// proxies are those of the mesh's proxies that a pod has.
func (c *cluster) proxies(p clusters.Pod) []proxy {
	if c.f.mesh == nil {
		return nil
	}
	return slices.DeleteFunc(c.f.mesh.proxies(), func(px proxy) bool { return !has(p, px.container) })
}

// has reports whether a pod has a container, be it a native sidecar.
func has(p clusters.Pod, container string) bool {
	return slices.Contains(p.Containers, container) || slices.Contains(p.InitContainers, container)
}
