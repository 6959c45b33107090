package evidence

import (
	"encoding/json"
	"fmt"
	"time"
)

// SchemaVersion names the layout of a record. Readers refuse what they do not know by this name. Since v2 the load is
// recorded with the latencies of every slice of time and of every outcome, and with what its generator saw of itself.
const SchemaVersion = "meshproof.evidence/v2"

// Stream names one kind of record; its segments are <stream>-NNNN.jsonl.
type Stream string

// The streams of a record.
const (
	Requests   Stream = "requests"
	Probes     Stream = "probes"
	Handshakes Stream = "handshakes"
	Accesses   Stream = "access"
	Scrapes    Stream = "scrapes"
	Pods       Stream = "pods"
	Faults     Stream = "faults"
	Ticks      Stream = "ticks"
	Phases     Stream = "phases"
	Events     Stream = "events"
)

// Streams lists every stream in the order in which a record is read.
var Streams = []Stream{Requests, Probes, Handshakes, Accesses, Scrapes, Pods, Faults, Ticks, Phases, Usages, Events}

// Trial is one mesh in one block: the unit that starts with fresh clusters and is judged by itself.
type Trial struct {
	Block int    `json:"block"` // counted from 1
	Mesh  string `json:"mesh"`
}

// String writes a trial as "block/mesh".
func (t Trial) String() string { return fmt.Sprintf("%d/%s", t.Block, t.Mesh) }

// LoadID is what the IDs of the trial's load begin with: request n of a traffic is <LoadID>-<traffic>-<n>.
func (t Trial) LoadID() string { return fmt.Sprintf("load-%d-%s", t.Block, t.Mesh) }

// Ref is the place of one record: its stream and its line, counted from 1 over all segments.
type Ref struct {
	Stream Stream `json:"stream"`
	Line   int    `json:"line"`
}

// Header is what every record starts with.
type Header struct {
	Trial Trial     `json:"trial"`
	Src   string    `json:"src"` // who produced it: "pod/east/shop-0", "proxy/east/shop-0", "probe", "loadgen", "faults", "runner"
	N     uint64    `json:"n"`   // number of this record among those of Src in this trial and stream, from 1, no gaps
	T     time.Time `json:"t"`   // when it happened, UTC

	ref Ref
}

// Ref says where the record stands in a record that was read; zero for one that was not.
func (h *Header) Ref() Ref { return h.ref }

func (h *Header) head() *Header { return h }

// Item is one record of any stream; only this package's types are Items.
type Item interface {
	// StreamName is the stream that the item belongs to.
	StreamName() Stream
	head() *Header
}

// Sink takes records as they happen. Append assigns N, and T where it is zero, and is safe for concurrent use.
type Sink interface {
	Append(item Item) error
}

// PodRef names one pod for good: a name may come back, a UID never does.
type PodRef struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Service   string `json:"service"` // the scenario's service, "ingress" or "outsider"
	Pod       string `json:"pod"`
	UID       string `json:"uid"`
}

// Request is a request as the workload that received it saw it: the first witness of every proof.
type Request struct {
	Header
	ID          string `json:"id"`                    // x-meshproof-id; a call made on behalf of ID has ID + ".k"
	Attempt     int    `json:"attempt"`               // x-envoy-attempt-count or its like; 0 where no proxy said it
	Window      string `json:"window"`                // x-meshproof-window: the window's name, or "load"
	Caller      string `json:"caller"`                // x-meshproof-caller, "service@cluster": a claim, to join by, never proof of identity
	At          PodRef `json:"at"`                    // who received it
	Method      string `json:"method"`                //
	Path        string `json:"path"`                  //
	XFCC        string `json:"xfcc,omitempty"`        // X-Forwarded-Client-Cert as received (Istio)
	L5dClientID string `json:"l5dClientID,omitempty"` // l5d-client-id as received (Linkerd)
	Remote      string `json:"remote"`                // remote address of the connection
	Proto       string `json:"proto,omitempty"`       // "HTTP/2.0" and the like; empty: HTTP/1
	Status      int    `json:"status"`                // what the workload answered
	Refused     string `json:"refused,omitempty"`     // of an ingress: why it turned the request away itself
}

// StreamName implements Item.
func (*Request) StreamName() Stream { return Requests }

// Probe is one proof request as its client saw it.
type Probe struct {
	Header
	ID         string `json:"id"`
	Window     string `json:"window"`         // name of the window that it was sent in
	Cell       string `json:"cell"`           // the plan's cell that asked for it
	Role       string `json:"role"`           // "ask", "twin" (authorised, sent at the same moment) or "warmup"
	Twin       string `json:"twin,omitempty"` // of an ask: the ID of its twin
	From       PodRef `json:"from"`
	To         string `json:"to"` // service
	Method     string `json:"method"`
	Path       string `json:"path"`
	Connection string `json:"connection"`      // "fresh" or "established"; "" for what is read from a pod
	Status     int    `json:"status"`          // 0: no response
	Error      string `json:"error,omitempty"` // "closed", "refused", "timeout" or "other: …" where there was no response
	Server     string `json:"server,omitempty"`
	Body       string `json:"body,omitempty"` // first 256 bytes of a response that is not 2xx
	Micros     int64  `json:"micros"`         // from sending to the whole response
	Token      *Token `json:"user,omitempty"` // of a request from outside, where there is an issuer
}

// Token is what is written down of a user's token; the token itself never is.
type Token struct {
	Kind   string            `json:"kind"`             // "good", "expired", …, "none"
	SHA256 string            `json:"sha256,omitempty"` // of the token, in hexadecimal; empty for "none"
	Claims map[string]string `json:"claims,omitempty"` // those beside what every token has
}

// StreamName implements Item.
func (*Probe) StreamName() Stream { return Probes }

// Handshake is a TLS handshake with a pod's application port, made without a client certificate to read what is served.
type Handshake struct {
	Header
	Window     string   `json:"window"`
	At         PodRef   `json:"at"`
	ServerName string   `json:"serverName"`
	Version    string   `json:"version,omitempty"` // "TLS 1.3"
	Cipher     string   `json:"cipher,omitempty"`
	Chain      [][]byte `json:"chain,omitempty"` // DER, leaf first
	Resumed    bool     `json:"resumed"`
	Error      string   `json:"error,omitempty"` // why no chain was read: "not TLS", "closed", "timeout", …
}

// StreamName implements Item.
func (*Handshake) StreamName() Stream { return Handshakes }

// Access is one access log line of a proxy, as the proxy wrote it.
type Access struct {
	Header
	At   PodRef          `json:"at"`
	Line json.RawMessage `json:"line"`
}

// StreamName implements Item.
func (*Access) StreamName() Stream { return Accesses }

// Scrape is one metric page of one pod's proxy.
type Scrape struct {
	Header
	At     PodRef `json:"at"`
	Window string `json:"window"` // window at whose edge it was taken; "" for a periodic one
	Edge   string `json:"edge"`   // "start", "end" or ""
	// Proxy is the container whose page it is, in a pod that has more than one proxy, or one with a name of its own:
	// "gateway". Empty: the mesh's sidecar.
	Proxy string `json:"proxy,omitempty"`
	Body  string `json:"body,omitempty"`
	Error string `json:"error,omitempty"`
}

// StreamName implements Item.
func (*Scrape) StreamName() Stream { return Scrapes }

// Pod is one line of an inventory: which pods stood there, with which containers.
type Pod struct {
	Header
	Window         string   `json:"window"`
	Edge           string   `json:"edge"`
	At             PodRef   `json:"at"`
	ServiceAccount string   `json:"serviceAccount"`
	Containers     []string `json:"containers"`
	InitContainers []string `json:"initContainers,omitempty"`
	// Images are those of all containers, by their names, as the pod asks for them; none where pods are models.
	Images map[string]string `json:"images,omitempty"`
	Ready  bool              `json:"ready"`
}

// StreamName implements Item.
func (*Pod) StreamName() Stream { return Pods }

// Actions of a Fault record.
const (
	FaultInject   = "inject"   // about to be injected
	FaultInjected = "injected" // the injector says that it is
	FaultRevert   = "revert"   // about to be reverted
	FaultReverted = "reverted" // the injector says that it is (pod-kill: the replacement is ready)
	FaultProbe    = "probe"    // a sample of the effect probe
	FaultFailed   = "failed"   // the injector or the revert said no; Message says why
	FaultSkipped  = "skipped"  // known to be impossible here; Message says why
)

// Fault is one step of one fault.
type Fault struct {
	Header
	Name    string       `json:"name"`
	Kind    string       `json:"kind"`
	By      string       `json:"by,omitempty"` // who carries it out: "meshproof", or "chaos-mesh" with its version
	Action  string       `json:"action"`
	Target  string       `json:"target,omitempty"` // pod name, or "east|west"
	UID     string       `json:"uid,omitempty"`
	Message string       `json:"message,omitempty"`
	Probe   *FaultSample `json:"probe,omitempty"`
}

// StreamName implements Item.
func (*Fault) StreamName() Stream { return Faults }

// FaultSample is what an effect probe saw once.
type FaultSample struct {
	Stage      string `json:"stage"`           // "before", "during" or "after"
	Connection string `json:"connection"`      // "fresh" or "established"; "" for what is read from a pod
	OK         bool   `json:"ok"`              // an answer came (pod-kill: the pod with the target's UID answers)
	Micros     int64  `json:"micros"`          // round trip, or time until it was given up
	Error      string `json:"error,omitempty"` // why no answer
	UID        string `json:"uid,omitempty"`   // pod-kill: UID of the pod that stands there; of the pod that was read
	Value      int64  `json:"value,omitempty"` // what was read from a pod, in the unit of scenarios.Fault.Shows
}

// Kinds of Event.
const (
	EventTrialStart  = "trial-start"
	EventTrialEnd    = "trial-end"    // the trial went all its way; absent after an interruption
	EventWindowStart = "window-start" // Name is the window
	EventWindowEnd   = "window-end"
	EventLoadStart   = "load-start" // T is the zero of every AtMicros and of the fault schedule
	EventLoadEnd     = "load-end"
	// EventSenderLost is a pod, or a process of the harness, that was lost while it sent a load: Name is the traffic, At the
	// pod, Message why. Data[SenderWhole] is when, after the start of the load, the last phase ended of which all senders had
	// told; without it nothing of the load is whole.
	EventSenderLost = "sender-lost"
	// EventTrust is about the certificates that are trusted from then on, in PEM: Data[TrustRoot], Data[TrustIssuer(…)]. Of
	// issuers that took each other's place all are there, the newest first.
	EventTrust      = "trust"
	EventPodCreated = "pod-created" // At
	EventPodReady   = "pod-ready"
	EventPodEnded   = "pod-ended" // Message: journalled reason, such as "pod-kill cart-pod-dies"
	// EventInjectionSkipped is a pod that asked for a sidecar and did not get one: At, Message is the injector's reason.
	EventInjectionSkipped = "injection-skipped"
	// EventLost is about records that their producer made and nobody has: Of, Stream, Count, At.
	EventLost        = "lost"
	EventApplied     = "applied" // Name: kind/namespace/name, At.Cluster
	EventProducerEnd = "producer-end"
	EventError       = "error"       // the environment failed: Message
	EventInterrupted = "interrupted" // the user stopped the run
	EventRunEnd      = "run-end"
	EventSkipped     = "skipped" // a mesh that cannot run here: Message
	// EventAmbient is a sign that Istio's ambient mode is at work in a cluster: Name is what shows it (kind/namespace/name),
	// At.Cluster where, Message what it is.
	EventAmbient = "ambient-found"
	// EventReused is that the trial had clusters of an earlier one and not fresh ones: Name is their fleet, Message whose.
	EventReused = "clusters-reused"
)

// SenderWhole is the name of a time, in µs, in the Data of an EventSenderLost.
const SenderWhole = "wholeMicros"

// TrustRoot is the name of the root in the Data of an EventTrust.
const TrustRoot = "root"

// TrustIssuer is the name, in the Data of an EventTrust, of the intermediate under which a mesh's control plane issues
// certificates in a cluster.
func TrustIssuer(mesh, cluster string) string { return "intermediate/" + mesh + "/" + cluster }

// Event is anything else that a verdict needs to know.
type Event struct {
	Header
	Kind    string            `json:"kind"`
	Name    string            `json:"name,omitempty"`
	At      PodRef            `json:"at,omitzero"`
	Message string            `json:"message,omitempty"`
	Data    map[string]string `json:"data,omitempty"`
	Of      string            `json:"of,omitempty"`     // producer-end, lost: the producer
	Stream  Stream            `json:"stream,omitempty"` // producer-end, lost: its stream
	Count   uint64            `json:"count,omitempty"`  // producer-end: how many it produced; lost: how many are
}

// StreamName implements Item.
func (*Event) StreamName() Stream { return Events }

// Manifest is written before anything is started.
type Manifest struct {
	SchemaVersion string            `json:"schemaVersion"`
	RunID         string            `json:"runID"` // <scenario>-<UTC time>
	Version       string            `json:"version"`
	GoVersion     string            `json:"goVersion"`
	Started       time.Time         `json:"started"`
	Seed          int64             `json:"seed"`
	Driver        string            `json:"driver"`
	Modelled      bool              `json:"modelled"`             // the data planes are models
	Models        []string          `json:"models,omitempty"`     // what is modelled, one sentence each
	Components    map[string]string `json:"components,omitempty"` // name: version
	// Flavors are the builds of meshes that are not what their projects publish, by mesh: whatever is said of the cost of
	// such a mesh is said of this build.
	Flavors map[string]string `json:"flavors,omitempty"`
	// Proxies are the images that the containers of a mesh's proxies have in this run, by mesh and container; none for models.
	Proxies map[string]map[string]string `json:"proxies,omitempty"`
	Host    Host                         `json:"host"`
	// MaySkip says that no mesh was asked for by name: one that cannot run here is skipped, and spoils no verdict.
	MaySkip  bool            `json:"maySkip,omitempty"`
	Order    [][]string      `json:"order"`    // meshes of each block in the order in which they ran
	Scenario json.RawMessage `json:"scenario"` // as run, defaults filled in
	Command  []string        `json:"command,omitempty"`
}

// MeshName is what a mesh is called wherever something is said of it: with the build that ran, unless that is what the
// mesh's project publishes.
func (m *Manifest) MeshName(mesh string) string {
	if f := m.Flavors[mesh]; f != "" {
		return mesh + " (" + f + ")"
	}
	return mesh
}

// Host is where a run was made.
type Host struct {
	OS        string `json:"os"`
	Arch      string `json:"arch"`
	CPUs      int    `json:"cpus"`
	MemoryMiB int64  `json:"memoryMiB"`
	Kernel    string `json:"kernel,omitempty"`
}
