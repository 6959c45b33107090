package agent

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workers"
	"github.com/meshproof/meshproof/loadgen"
)

// Ports of the agent beside the workload's own. Neither is among those that Istio or Linkerd use.
const (
	ControlPort = 8079 // the driver's commands
	EchoPort    = 8077 // of an outsider: the far end of a link's probe
)

// Environment variables of the agent's container, beside workload.Env.
const (
	Env    = "MESHPROOF_AGENT"   // a Config, as JSON
	EnvPod = "MESHPROOF_POD"     // the pod's name (the downward API's metadata.name)
	EnvUID = "MESHPROOF_POD_UID" // the pod's UID (metadata.uid)
	// EnvVia is host:port of an HTTP proxy by which everything goes that the workload sends; empty where there is none.
	EnvVia = "MESHPROOF_VIA"
)

// HeaderToken carries the run's token with every command. It isn't Authorization, which API servers keep for themselves.
const HeaderToken = "X-Meshproof-Token"

// Config is what the driver tells every agent of a cluster.
type Config struct {
	Cluster string `json:"cluster"`
	Token   string `json:"token"` // that commands must have
	Seed    int64  `json:"seed"`  // of what workloads draw
	// Hosts are names outside of the clusters, each with its host:port as a pod reaches it.
	Hosts map[string]string `json:"hosts,omitempty"`
}

// parseConfig reads what Env holds.
func parseConfig(text string) (Config, error) {
	var c Config
	if text == "" {
		return c, fmt.Errorf("environment variable %s is not set: the agent is started by Meshproof's drivers", Env)
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return c, fmt.Errorf("environment variable %s: %w", Env, err)
	}
	if c.Cluster == "" || c.Token == "" {
		return c, fmt.Errorf("environment variable %s wants cluster and token", Env)
	}
	return c, nil
}

// Paths of commands. Each is a POST of its argument and answers with its result, both JSON; PathAttack answers with many.
const (
	PathReady     = "/ready"     // GET, without a token: whether the workload is listening
	PathSend      = "/send"      // SendCommand → SendResult
	PathHandshake = "/handshake" // HandshakeCommand → clusters.HandshakeResult
	PathProbe     = "/probe"     // ProbeCommand → ProbeResult
	PathSelf      = "/self"      // SelfCommand → Self
	PathLast      = "/last"      // nothing → Last
	PathAttack    = "/attack"    // AttackCommand → one AttackLine after the other
	PathStop      = "/stop"      // StopCommand → Stopped
)

// SendCommand lets the workload's own client send a request.
type SendCommand struct {
	UID     string           `json:"uid"` // of the pod that is meant
	Request clusters.Request `json:"request"`
}

// SendResult is what it got. Refusal says why nothing was sent.
type SendResult struct {
	Response clusters.Response `json:"response"`
	Refusal  string            `json:"refusal,omitempty"`
}

// HandshakeCommand asks for a TLS handshake from the agent's pod.
type HandshakeCommand struct {
	Address    string        `json:"address"` // host:port
	ServerName string        `json:"serverName"`
	Timeout    time.Duration `json:"timeout"` // ns
}

// ProbeCommand measures a link, from the agent's pod to the echo at Address. Probes are told apart by ID and begin with
// their first command.
type ProbeCommand struct {
	ID         string        `json:"id"`
	Address    string        `json:"address"`
	Connection string        `json:"connection"` // "open", "fresh", "established" or "close"
	Timeout    time.Duration `json:"timeout"`    // ns
}

// ProbeResult is what a probe measured in the pod: what the command took on its way there is no part of it.
type ProbeResult struct {
	Took  time.Duration `json:"took"`            // ns
	Error string        `json:"error,omitempty"` // "timeout", "refused", "closed" or "other: …"
}

// AttackCommand lets the pod send a load, until it is over or the command's connection ends.
type AttackCommand struct {
	UID     string         `json:"uid"`     // of the pod that is meant
	Ordered time.Time      `json:"ordered"` // when it was sent, by the clock that Attack.Start is of
	Attack  loadgen.Attack `json:"attack"`
}

// AttackLine is one line of the answer to an AttackCommand: one of these.
type AttackLine struct {
	Tick     *evidence.Tick    `json:"tick,omitempty"`
	Phase    *evidence.Phase   `json:"phase,omitempty"`
	Progress *loadgen.Progress `json:"progress,omitempty"`
	End      *AttackEnd        `json:"end,omitempty"` // the last line; without it the answer was cut off
}

// AttackEnd is how an attack ended.
type AttackEnd struct {
	Records int    `json:"records"`           // ticks and phases before this line
	Stopped bool   `json:"stopped,omitempty"` // by a StopCommand
	Error   string `json:"error,omitempty"`   // why it did not go all its way, or did not begin
	Ending  bool   `json:"ending,omitempty"`  // it did not, because the pod was told to end
	// Lost is what was lost of it with one of the processes that sent it.
	Lost *workers.Loss `json:"lost,omitempty"`
}

// StopCommand stops the attack of a traffic. What it has to say still comes by the attack's own connection.
type StopCommand struct {
	Traffic string `json:"traffic"`
}

// Stopped says whether there was one.
type Stopped struct {
	Found bool `json:"found"`
}

// Last is the last line that the agent wrote: whoever has followed its log up to there has all that happened before.
type Last struct {
	Process string `json:"process"`
	N       uint64 `json:"n"`
}

// Line is one line of the agent's stdout.
type Line struct {
	Process string            `json:"process"` // this process, among those of the same pod
	N       uint64            `json:"n"`       // counted from 1, no gaps: what is missing was lost
	Request *evidence.Request `json:"request,omitempty"`
	// End marks the last line of a process that ended as it was told to. One that was killed has none.
	End bool `json:"end,omitempty"`
}
