package kind

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// cluster is one cluster of a fleet.
type cluster struct {
	f      *fleet
	name   string
	nodes  []*node // the control plane's first
	ranges ranges
	ownCNI bool // the driver configures the nodes' network

	rest      *rest.Config // with the keys of an administrator
	transport *http.Transport
	client    *kubernetes.Clientset
	dynamic   dynamic.Interface
	mapper    *restmapper.DeferredDiscoveryRESTMapper

	// Guarded by the fleet's lock.
	pods     map[types.UID]*pod // that live
	ended    map[types.UID]bool
	past     []*containerLog             // of pods that have ended
	created  int                         // pods seen so far
	outages  map[string]string           // why no pod of a service, by namespace/name, may live
	services map[string]*corev1.Service  // applied, by namespace/name
	settings map[string]setting          // of the mesh, applied, by group/kind/namespace/name
	enforced map[string]string           // the versions of those settings that every proxy of Linkerd's was seen to have
	unjoined map[absent]time.Time        // members that federated Services lack, by when that was seen or told again
	gateways map[string]map[string]int32 // of Services, by namespace/name: the nodes' port for each of its ports
	ambient  []string                    // what showed Istio's ambient mode, by kind/namespace/name
	ingress  string                      // URL; "" where none was applied
	mirrored error                       // of the last attempt to mirror Services
}

var _ clusters.Cluster = (*cluster)(nil)

// requestTimeout bounds one exchange with an API server that is not a watch, a log or a command.
const requestTimeout = 10 * time.Second

func newToken() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}

// newCluster makes the clients of a cluster that is up.
func newCluster(ctx context.Context, f *fleet, name string, p plan) (*cluster, error) {
	c := &cluster{
		f: f, name: name, ranges: p.ranges, ownCNI: p.ownCNI(),
		pods: map[types.UID]*pod{}, ended: map[types.UID]bool{}, outages: map[string]string{}, services: map[string]*corev1.Service{}, gateways: map[string]map[string]int32{},
		settings: map[string]setting{},
	}
	failed := func(err error) (*cluster, error) {
		return nil, fmt.Errorf("reaching the API server of cluster %s: %w", name, err)
	}
	kubeconfig, err := os.ReadFile(p.kubeconfig)
	if err != nil {
		return failed(err)
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return failed(err)
	}
	cfg.QPS = -1 // proof requests set the pace
	cfg.UserAgent = fieldManager
	cfg.WarningHandler = rest.NoWarnings{}
	// A transport of its own, whose connections end with the fleet; client-go's are kept for good.
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return failed(err)
	}
	c.transport = &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true, DialContext: (&net.Dialer{Timeout: requestTimeout}).DialContext}
	c.rest = cfg
	client := &http.Client{Transport: c.transport}
	if c.client, err = kubernetes.NewForConfigAndClient(cfg, client); err != nil {
		return failed(err)
	}
	if c.dynamic, err = dynamic.NewForConfigAndClient(cfg, client); err != nil {
		return failed(err)
	}
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(cfg, client)
	if err != nil {
		return failed(err)
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	return c, c.findNodes(ctx, len(p.networks))
}

// Name implements clusters.Cluster.
func (c *cluster) Name() string { return c.name }

// agentConfig is what every agent of the cluster is told.
func (c *cluster) agentConfig() (string, error) {
	b, err := json.Marshal(agent.Config{Cluster: c.name, Token: c.f.token, Seed: c.f.spec.Seed, Hosts: c.f.hosts})
	return string(b), err
}

// slack is how much longer than what it asks for a command may take on its way.
const slack = 10 * time.Second

// command has an agent do something. within is how long that may take.
func command[R any](ctx context.Context, c *cluster, namespace, pod, path string, within time.Duration, arg any) (R, error) {
	var res R
	failed := func(err error) (R, error) {
		return res, fmt.Errorf("asking the agent of pod %s in cluster %s: %w", pod, c.name, err)
	}
	body, err := json.Marshal(arg)
	if err != nil {
		return failed(err)
	}
	whole, cancel := context.WithTimeout(ctx, within+slack)
	defer cancel()
	raw, err := c.request(namespace, pod, path, body).Do(whole).Raw()
	switch {
	case ctx.Err() != nil:
		return res, ctx.Err()
	case err != nil:
		return failed(err)
	}
	if err := json.Unmarshal(raw, &res); err != nil {
		return failed(err)
	}
	return res, nil
}

// request is a command on its way to an agent, by the API server's proxy.
func (c *cluster) request(namespace, pod, path string, body []byte) *rest.Request {
	return c.client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").
		Name(pod+":"+strconv.Itoa(agent.ControlPort)).SubResource("proxy").Suffix(path).
		SetHeader(agent.HeaderToken, c.f.token).SetHeader("Content-Type", "application/json").
		Body(body)
}

// running finds a pod that is ready. What cannot be asked is "other" in the words of evidence.
func (c *cluster) running(p clusters.Pod) (*pod, error) {
	if err := c.f.alive(); err != nil {
		return nil, fmt.Errorf("pod %s in cluster %s: %w", p.Pod, c.name, err)
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	t := c.pods[types.UID(p.UID)]
	switch {
	case t == nil:
		return nil, fmt.Errorf("pod %s does not run in cluster %s", p.Pod, c.name)
	case !t.ready:
		return nil, fmt.Errorf("pod %s in cluster %s is not ready", p.Pod, c.name)
	}
	return t, nil
}

// Send implements clusters.Cluster.
func (c *cluster) Send(ctx context.Context, from clusters.Pod, req clusters.Request) clusters.Response {
	failed := func(err error) clusters.Response { return clusters.Response{Error: workload.ErrorClass(err)} }
	p, err := c.running(from)
	if err != nil {
		return failed(err)
	}
	within := req.Timeout
	if within <= 0 {
		within = requestTimeout
	}
	res, err := command[agent.SendResult](ctx, c, p.ref.Namespace, p.ref.Pod, agent.PathSend, within, agent.SendCommand{UID: p.ref.UID, Request: req})
	switch {
	case ctx.Err() != nil:
		return failed(ctx.Err())
	case err != nil:
		return clusters.Response{Error: "other: " + err.Error()} // whatever it was, the mesh did not answer so
	case res.Refusal != "":
		return failed(errors.New(res.Refusal))
	}
	return res.Response
}

// handshakeTimeout bounds a handshake.
const handshakeTimeout = 5 * time.Second

// Handshake implements clusters.Cluster. It is made by the cluster's outsider.
func (c *cluster) Handshake(ctx context.Context, to clusters.Pod, serverName string) clusters.HandshakeResult {
	failed := func(err error) clusters.HandshakeResult {
		return clusters.HandshakeResult{Error: workload.ErrorClass(err)}
	}
	p, err := c.running(to)
	if err != nil {
		return failed(err)
	}
	from, err := c.outsider()
	if err != nil {
		return failed(err)
	}
	res, err := command[clusters.HandshakeResult](ctx, c, from.ref.Namespace, from.ref.Pod, agent.PathHandshake, handshakeTimeout, agent.HandshakeCommand{
		Address: net.JoinHostPort(p.ip, strconv.Itoa(scenarios.WorkloadPort)), ServerName: serverName, Timeout: handshakeTimeout,
	})
	switch {
	case ctx.Err() != nil:
		return failed(ctx.Err())
	case err != nil:
		return clusters.HandshakeResult{Error: "other: " + err.Error()}
	}
	return res
}

// Ingress implements clusters.Cluster. The URL is that of a port of a node, which Docker maps to this host's loopback
// and kube-proxy to the ingress pod, on whatever node that is: it outlives the pod.
func (c *cluster) Ingress(ctx context.Context) (string, error) {
	if err := errors.Join(ctx.Err(), c.f.alive()); err != nil {
		return "", err
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if c.ingress == "" {
		return "", fmt.Errorf("cluster %s has no ingress: apply the Deployment of one first", c.name)
	}
	return c.ingress, nil
}

// ingressURL asks Docker for the port of this host.
func (c *cluster) ingressURL(ctx context.Context) (string, error) {
	out, err := Docker(ctx, "port", c.control().name, strconv.Itoa(ingressNodePort)+"/tcp")
	if err != nil {
		return "", fmt.Errorf("the port of cluster %s's ingress: %w", c.name, err)
	}
	addr, err := netip.ParseAddrPort(strings.TrimSpace(out))
	if err != nil {
		return "", fmt.Errorf("the port of cluster %s's ingress: %w", c.name, err)
	}
	return "http://" + addr.String(), nil
}

// outsider is the cluster's outsider, where it is ready.
func (c *cluster) outsider() (*pod, error) {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	for _, p := range c.pods {
		if p.ready && p.cfg.Role == workload.RoleOutsider {
			return p, nil
		}
	}
	return nil, fmt.Errorf("cluster %s has no outsider that is ready", c.name)
}
