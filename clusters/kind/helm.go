package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/meshproof/meshproof/clusters"
)

// helmTimeout bounds what Helm itself waits for: jobs of charts' hooks. What the charts made is waited for elsewhere.
const helmTimeout = time.Minute

// installChart installs one release from a packaged chart, or upgrades it where it is there, and returns when its objects
// are made.
func (c *cluster) installChart(ctx context.Context, r clusters.Release, open func() (io.ReadCloser, error)) error {
	failed := func(err error) error {
		return fmt.Errorf("installing chart %s as %s/%s in cluster %s: %w", r.Chart, r.Namespace, r.Name, c.name, err)
	}
	ch, err := readChart(open)
	if err != nil {
		return failed(err)
	}
	cfg, err := c.helm(r.Namespace)
	if err != nil {
		return failed(err)
	}
	if _, err := action.NewHistory(cfg).Run(r.Name); err == nil {
		upgrade := action.NewUpgrade(cfg)
		upgrade.Namespace, upgrade.ResetValues, upgrade.MaxHistory = r.Namespace, true, 1
		upgrade.WaitStrategy, upgrade.Timeout = kube.HookOnlyStrategy, helmTimeout
		upgrade.ForceConflicts = true // control planes write into their own webhooks, which are the chart's
		if _, err := upgrade.RunWithContext(ctx, r.Name, ch, r.Values); err != nil {
			return failed(err)
		}
		return nil
	} else if !errors.Is(err, driver.ErrReleaseNotFound) {
		return failed(err)
	}
	// A namespace that is there is the driver's: Helm would put a label on it, under the same field manager (the program's
	// name), which the driver's next apply takes off again.
	there, err := c.namespaces(ctx)
	if err != nil {
		return failed(err)
	}
	install := action.NewInstall(cfg)
	install.ReleaseName, install.Namespace, install.CreateNamespace = r.Name, r.Namespace, !there[r.Namespace]
	install.WaitStrategy, install.Timeout = kube.HookOnlyStrategy, helmTimeout
	if _, err := install.RunWithContext(ctx, ch, r.Values); err != nil {
		return failed(err)
	}
	return nil
}

// uninstall removes a release, unless it is not there.
func (c *cluster) uninstall(r keptRelease) error {
	cfg, err := c.helm(r.Namespace)
	if err == nil {
		remove := action.NewUninstall(cfg)
		remove.IgnoreNotFound, remove.WaitStrategy, remove.Timeout = true, kube.HookOnlyStrategy, helmTimeout
		_, err = remove.Run(r.Name)
	}
	if err != nil {
		return fmt.Errorf("removing the Helm release %s/%s from cluster %s: %w", r.Namespace, r.Name, c.name, err)
	}
	return nil
}

// helm is Helm on the cluster, for releases in a namespace.
func (c *cluster) helm(namespace string) (*action.Configuration, error) {
	cfg := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	return cfg, cfg.Init(restGetter{c.own(), namespace}, namespace, "")
}

func readChart(open func() (io.ReadCloser, error)) (*chart.Chart, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	ch, err := loader.LoadArchive(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return ch, err
}

// opener opens a file, each time.
func opener(path string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return os.Open(path) }
}

// over lays values over others, map by map, without changing either.
func over(below, above map[string]any) map[string]any {
	out := maps.Clone(below)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range above {
		a, ok := v.(map[string]any)
		b, ok2 := out[k].(map[string]any)
		if ok && ok2 {
			v = over(b, a)
		}
		out[k] = v
	}
	return out
}

// own is a configuration for clients that make connections of their own: those of the cluster's transport, which end
// with the fleet.
func (c *cluster) own() *rest.Config {
	return &rest.Config{Host: c.rest.Host, Transport: c.transport, QPS: -1, UserAgent: fieldManager, WarningHandler: rest.NoWarnings{}}
}

// restGetter shows a cluster to Helm.
type restGetter struct {
	cfg       *rest.Config
	namespace string
}

func (g restGetter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.cfg), nil }

func (g restGetter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	d, err := discovery.NewDiscoveryClientForConfig(g.cfg)
	if err != nil {
		return nil, err
	}
	return memory.NewMemCacheClient(d), nil
}

func (g restGetter) ToRESTMapper() (meta.RESTMapper, error) {
	d, err := g.ToDiscoveryClient()
	if err != nil {
		return nil, err
	}
	return restmapper.NewDeferredDiscoveryRESTMapper(d), nil
}

// ToRawKubeConfigLoader names the namespace alone: everything else is in the REST configuration.
func (g restGetter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(clientcmdapi.Config{}, &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}})
}
