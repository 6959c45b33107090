package kind

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	securityapi "istio.io/api/security/v1beta1"
	typeapi "istio.io/api/type/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

// xdsTypes are the kinds of configuration that make what a sidecar does, by the end of their names in istiod's answers:
// clusters, listeners, routes, endpoints.
var xdsTypes = []string{"Cluster", "Listener", "RouteConfiguration", "ClusterLoadAssignment"}

// lacking asks istiod whether all that was applied has reached every sidecar. istiod collects changes for a while before
// it sends them, and what its proxies have confirmed may be older than what it knows. So it is asked in four steps, each
// of which waits for the one before:
//
//  1. it knows every object and every endpoint (debug/configz, debug/endpointShardz);
//  2. a policy that holds for nobody, applied after that, is in what it sends (debug/authorizationz is of the state
//     that it sends): so is then everything that was known before;
//  3. that state is sent to all proxies anew (debug/adsz?push=true), and
//  4. each has confirmed something newer than before (debug/syncz).
func (i istio) lacking(ctx context.Context, c *cluster) ([]string, error) {
	pod, err := c.istiod(ctx)
	if err != nil {
		return nil, err
	}
	container := cmp.Or(i.envoy, istioSidecar)
	if len(c.sidecars(container)) == 0 {
		return nil, nil
	}
	gateways, err := c.eastWestGateways(ctx)
	if err != nil {
		return nil, err
	}
	if lacking, err := i.unknown(ctx, c, pod); err != nil || len(lacking) > 0 {
		return lacking, err
	}
	mark := uuid.NewString()
	if err := c.applyOwn(ctx, barrier(mark)); err != nil {
		return nil, err
	}
	err = c.until(ctx, func(ctx context.Context) ([]string, error) {
		state, err := c.askIstiod(ctx, pod, "authorizationz")
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(state, []byte(mark)) {
			return []string{fmt.Sprintf("istiod of cluster %s does not send its newest state", c.name)}, nil
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	before, err := c.syncs(ctx, pod)
	if err != nil {
		return nil, err
	}
	if _, err := c.askIstiod(ctx, pod, "adsz?push=true"); err != nil {
		return nil, err
	}
	return nil, c.until(ctx, func(ctx context.Context) ([]string, error) {
		now, err := c.syncs(ctx, pod)
		if err != nil {
			return nil, err
		}
		return behind(c.name, append(c.sidecars(container), gateways...), before, now), nil
	})
}

// sidecars names the cluster's ready proxies, by their container, as istiod does: pod.namespace.
func (c *cluster) sidecars(container string) []string {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	var ids []string
	for _, p := range c.pods {
		if p.ready && has(p.public(), container) {
			ids = append(ids, p.ref.Pod+"."+p.ref.Namespace)
		}
	}
	slices.Sort(ids)
	return ids
}

// barrier is a policy that selects nothing, and has a word in it to be known by.
func barrier(mark string) *security.AuthorizationPolicy {
	p := &security.AuthorizationPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "security.istio.io/v1", Kind: "AuthorizationPolicy"},
		ObjectMeta: metav1.ObjectMeta{Namespace: istioNamespace, Name: "meshproof-barrier"},
	}
	p.Spec.Selector = &typeapi.WorkloadSelector{MatchLabels: map[string]string{"meshproof.io/barrier": "selects-nothing"}}
	p.Spec.Rules = []*securityapi.Rule{{To: []*securityapi.Rule_To{{Operation: &securityapi.Operation{Paths: []string{"/" + mark}}}}}}
	return p
}

// unknown says what istiod has not heard of yet: objects of the mesh that were applied to its cluster, and pods behind
// Services in any.
func (i istio) unknown(ctx context.Context, c *cluster, pod string) ([]string, error) {
	c.f.mu.Lock()
	objects := c.versions(i)
	want := map[string][]string{}
	for key := range c.services {
		for _, o := range c.f.list {
			want[key] = append(want[key], o.inside(key).addresses...)
		}
	}
	c.f.mu.Unlock()
	raw, err := c.askIstiod(ctx, pod, "configz")
	if err != nil {
		return nil, err
	}
	known, err := knownObjects(raw)
	if err != nil {
		return nil, err
	}
	var lacking []string
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		if olderVersion(known[key], objects[key]) { // newer where istiod itself wrote to it: addresses of a ServiceEntry
			lacking = append(lacking, fmt.Sprintf("istiod of cluster %s does not know %s as it was applied", c.name, key))
		}
	}
	if raw, err = c.askIstiod(ctx, pod, "endpointShardz"); err != nil {
		return nil, err
	}
	have, err := knownEndpoints(raw)
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		ns, name, _ := strings.Cut(key, "/")
		got := have[name+"."+ns]
		slices.Sort(want[key])
		if !slices.Equal(got, want[key]) {
			lacking = append(lacking, fmt.Sprintf("istiod of cluster %s knows %s at %q, want %q", c.name, key, got, want[key]))
		}
	}
	return lacking, nil
}

// knownObjects reads debug/configz: the resource version of each object, by group/kind/namespace/name.
func knownObjects(raw []byte) (map[string]string, error) {
	var list []struct {
		metav1.TypeMeta
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("reading what istiod says of its configuration: %w", err)
	}
	out := map[string]string{}
	for _, o := range list {
		out[o.GroupVersionKind().Group+"/"+o.Kind+"/"+o.Metadata.Namespace+"/"+o.Metadata.Name] = o.Metadata.ResourceVersion
	}
	return out, nil
}

// healthy is how istiod writes that an endpoint is ready.
const healthy = 1

// knownEndpoints reads debug/endpointShardz: the ready addresses behind each Service, by name.namespace, sorted and once
// each.
func knownEndpoints(raw []byte) (map[string][]string, error) {
	var services map[string]map[string]struct {
		Shards map[string][]struct {
			Addresses    []string
			HealthStatus int
		}
	}
	if err := json.Unmarshal(raw, &services); err != nil {
		return nil, fmt.Errorf("reading what istiod says of endpoints: %w", err)
	}
	out := map[string][]string{}
	for host, namespaces := range services {
		name, rest, _ := strings.Cut(host, ".")
		ns, _, ok := strings.Cut(rest, ".svc.")
		if !ok {
			continue
		}
		var all []string
		for _, s := range namespaces {
			for _, shard := range s.Shards {
				for _, ep := range shard {
					if ep.HealthStatus == healthy {
						all = append(all, ep.Addresses...)
					}
				}
			}
		}
		slices.Sort(all)
		out[name+"."+ns] = slices.Compact(all)
	}
	return out, nil
}

// syncStatus is what istiod knows of one proxy: what was sent to it last, and what it confirmed, by kind.
type syncStatus struct {
	Proxy     string `json:"proxy"`
	Cluster   string `json:"cluster_id"`
	Resources map[string]struct {
		Sent  string `json:"sent"`
		Acked string `json:"acked"`
	} `json:"resources"`
}

// syncs reads debug/syncz, by proxy.
func (c *cluster) syncs(ctx context.Context, pod string) (map[string]syncStatus, error) {
	raw, err := c.askIstiod(ctx, pod, "syncz")
	if err != nil {
		return nil, err
	}
	return readSyncs(raw)
}

func readSyncs(raw []byte) (map[string]syncStatus, error) {
	var list []syncStatus
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("reading what istiod says of its proxies: %w", err)
	}
	out := map[string]syncStatus{}
	for _, s := range list {
		out[s.Proxy] = s
	}
	return out, nil
}

// behind names the proxies that have not confirmed anything newer than before.
func behind(cluster string, proxies []string, before, now map[string]syncStatus) []string {
	var lacking []string
	for _, id := range proxies {
		s, ok := now[id]
		if !ok {
			lacking = append(lacking, fmt.Sprintf("istiod of cluster %s has no connection of the proxy %s", cluster, id))
			continue
		}
		for _, t := range xdsTypes {
			for name, r := range s.Resources {
				if !strings.HasSuffix(name, "."+t) {
					continue
				}
				switch was := before[id].Resources[name]; {
				case r.Sent == was.Sent:
					lacking = append(lacking, fmt.Sprintf("istiod of cluster %s has not sent its newest %s to the proxy %s", cluster, t, id))
				case r.Sent != r.Acked:
					lacking = append(lacking, fmt.Sprintf("the proxy %s in cluster %s has not confirmed its newest %s", id, cluster, t))
				}
			}
		}
	}
	return lacking
}

// askIstiod reads one of istiod's pages of diagnosis, which it shows to nobody but its own pod.
func (c *cluster) askIstiod(ctx context.Context, pod, page string) ([]byte, error) {
	failed := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("asking istiod of cluster %s (%s): %w", c.name, page, err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	url := c.client.CoreV1().RESTClient().Post().Namespace(istioNamespace).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: "discovery", Command: []string{"pilot-discovery", "request", "GET", "debug/" + page}, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec).URL()
	exec, err := remotecommand.NewWebSocketExecutor(c.rest, "GET", url.String())
	if err != nil {
		return failed(err)
	}
	var out, errs bytes.Buffer
	if err := exec.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &errs}); err != nil {
		return failed(fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String())))
	}
	return out.Bytes(), nil
}
