package evidence

import "time"

// Usages is the stream of what containers used. Records made before there was one lack it, which is no harm: what was
// not recorded has no figure.
const Usages Stream = "usage"

// Roles of a container whose use of the machine is recorded.
const (
	RoleWorkload     = "workloads"     // the service under test, the ingress, the outsider
	RoleSidecar      = "sidecars"      // any other container of their pods: a mesh's proxy
	RoleControlPlane = "control plane" // any container of a mesh's own namespaces
)

// Roles lists the roles in the order in which they are shown.
var Roles = []string{RoleWorkload, RoleSidecar, RoleControlPlane}

// Usage is what all containers of one node used by one moment, as its kubelet says. T is when it was asked.
type Usage struct {
	Header
	Cluster    string           `json:"cluster"`
	Node       string           `json:"node"`
	Sample     int              `json:"sample"` // number of the sample, from 1: one Usage for each node of each cluster
	Containers []ContainerUsage `json:"containers,omitempty"`
	Error      string           `json:"error,omitempty"` // why nothing was read
}

// StreamName implements Item.
func (*Usage) StreamName() Stream { return Usages }

// ContainerUsage is what one container used by one moment.
type ContainerUsage struct {
	Role       string    `json:"role"`
	Namespace  string    `json:"namespace"`
	Pod        string    `json:"pod"`
	Container  string    `json:"container"`
	Started    time.Time `json:"started"`    // when the container was; another start is another count
	Taken      time.Time `json:"taken"`      // when the figures were
	CPUSeconds float64   `json:"cpuSeconds"` // core-seconds since the start
	// MemoryBytes is the working set: what the kernel could not take back without swapping.
	MemoryBytes int64 `json:"memoryBytes"`
}
