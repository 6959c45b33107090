package kind

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	// outsiderService is the Service of outsiders, as services are known by.
	outsiderService = scenarios.OutsiderNamespace + "/" + scenarios.OutsiderName
	// echoPort names the port of its gateway by which links are probed.
	echoPort = "echo"
)

// gatewayOf is the Service by which other clusters reach the pods of a Service where networks are separate: a port of every
// node, which the API server chooses. It selects the pods of its own cluster alone, so nothing goes on from there to a
// third cluster, or back.
func gatewayOf(svc *corev1.Service) *corev1.Service {
	g := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: gatewayName(svc.Name), Namespace: svc.Namespace},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: svc.Spec.Selector},
	}
	for _, p := range svc.Spec.Ports {
		g.Spec.Ports = append(g.Spec.Ports, corev1.ServicePort{
			Name: p.Name, Port: p.Port, TargetPort: intstr.FromInt32(targetPort(p)), Protocol: p.Protocol, AppProtocol: p.AppProtocol,
		})
	}
	if nameOf(svc) == outsiderService {
		g.Spec.Ports = append(g.Spec.Ports, corev1.ServicePort{Name: echoPort, Port: agent.EchoPort, TargetPort: intstr.FromInt32(agent.EchoPort)})
	}
	return g
}

// gatewayName is the name of a Service's gateway: a long one is cut, and told apart by a hash.
func gatewayName(service string) string {
	const first = "meshproof-gateway-"
	name := first + service
	if len(name) <= validation.DNS1035LabelMaxLength {
		return name
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(service)) // never fails
	hash := "-" + hex.EncodeToString(h.Sum(nil))
	return name[:validation.DNS1035LabelMaxLength-len(hash)] + hash
}

// opened reads which ports of the nodes a gateway got.
func (c *cluster) opened(ctx context.Context, key string, g *corev1.Service) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	got, err := c.client.CoreV1().Services(g.Namespace).Get(ctx, g.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ports := map[string]int32{}
	for _, p := range got.Spec.Ports {
		if p.NodePort == 0 {
			return fmt.Errorf("the API server gave port %s of Service %s no port of the nodes", p.Name, nameOf(got))
		}
		ports[p.Name] = p.NodePort
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.gateways[key] = ports
	c.f.notify()
	return nil
}

// echo is where the other clusters' outsiders reach that of this cluster.
func (c *cluster) echo(outsider *pod) (address string, err error) {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	host, port := outsider.ip, int32(agent.EchoPort)
	if c.f.spec.Separate {
		host, port = c.control().address.String(), c.gateways[outsiderService][echoPort]
		if port == 0 {
			return "", errors.New("cluster " + c.name + " has no gateway for its outsider yet: apply its Service, and wait until the clusters are ready")
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}
