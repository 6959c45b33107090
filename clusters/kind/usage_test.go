package kind

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
)

// kubeletPage is what a kubelet says, with its own words; the figures are made up.
const kubeletPage = `# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="discovery",namespace="istio-system",pod="istiod-1"} 1.5 1763914800500
container_cpu_usage_seconds_total{container="istio-proxy",namespace="app",pod="shop-1"} 0.25 1763914800250
container_cpu_usage_seconds_total{container="workload",namespace="app",pod="shop-1"} 0.125 1763914800000
container_cpu_usage_seconds_total{container="workload",namespace="app",pod="half"} 0.125 1763914800000
container_cpu_usage_seconds_total{container="etcd",namespace="kube-system",pod="etcd"} 9 1763914800000
# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="discovery",namespace="istio-system",pod="istiod-1"} 1.048576e+08 1763914800500
container_memory_working_set_bytes{container="istio-proxy",namespace="app",pod="shop-1"} 6.291456e+07 1763914800250
container_memory_working_set_bytes{container="workload",namespace="app",pod="shop-1"} 2.097152e+07 1763914800000
container_memory_working_set_bytes{container="etcd",namespace="kube-system",pod="etcd"} 1 1763914800000
# HELP container_start_time_seconds [STABLE] Start time of the container since unix epoch in seconds
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="discovery",namespace="istio-system",pod="istiod-1"} 1.7639147e+09
container_start_time_seconds{container="istio-proxy",namespace="app",pod="shop-1"} 1.7639147005e+09
container_start_time_seconds{container="workload",namespace="app",pod="shop-1"} 1.763914701e+09
container_start_time_seconds{container="etcd",namespace="kube-system",pod="etcd"} 1.7639146e+09
`

func roleForTest(namespace, pod, container string) string {
	switch {
	case namespace == "istio-system":
		return evidence.RoleControlPlane
	case namespace == "app" && container == "workload":
		return evidence.RoleWorkload
	case namespace == "app":
		return evidence.RoleSidecar
	}
	return ""
}

func TestTheKubeletsPageIsReadByRole(t *testing.T) {
	got, err := usageOf(kubeletPage, roleForTest)
	if err != nil {
		t.Fatal(err)
	}
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	want := []evidence.ContainerUsage{
		{Role: "control plane", Namespace: "istio-system", Pod: "istiod-1", Container: "discovery", Started: at(1763914700000), Taken: at(1763914800500), CPUSeconds: 1.5, MemoryBytes: 100 << 20},
		{Role: "sidecars", Namespace: "app", Pod: "shop-1", Container: "istio-proxy", Started: at(1763914700500), Taken: at(1763914800250), CPUSeconds: 0.25, MemoryBytes: 60 << 20},
		{Role: "workloads", Namespace: "app", Pod: "shop-1", Container: "workload", Started: at(1763914701000), Taken: at(1763914800000), CPUSeconds: 0.125, MemoryBytes: 20 << 20},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAPageThatLacksAFigureIsNoUsageOfZero(t *testing.T) {
	for _, tc := range []struct{ name, page, why string }{
		{"no page", "", "lacks one of"},
		{"no memory", strings.ReplaceAll(kubeletPage, "container_memory_working_set_bytes", "another"), "lacks one of"},
		{"not a page", "<html>\n", "not one of metrics"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := usageOf(tc.page, roleForTest)
			if err == nil || !strings.Contains(err.Error(), tc.why) || len(got) > 0 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func FuzzUsageOf(f *testing.F) {
	f.Add(kubeletPage)
	f.Add("container_cpu_usage_seconds_total{container=\"workload\",namespace=\"app\",pod=\"p\"} NaN 1\n")
	f.Fuzz(func(t *testing.T, page string) {
		got, err := usageOf(page, roleForTest)
		if err != nil {
			return
		}
		for _, c := range got {
			if !(c.CPUSeconds >= 0) || c.MemoryBytes <= 0 || c.Role == "" {
				t.Errorf("%+v", c)
			}
		}
	})
}
