package workers

import (
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

// How workers are told to send a load together, and say what became of it. Whoever orders it writes lines of JSON to a
// worker and reads lines of JSON from it; here these are the standard input and output of a process of the same binary, and
// they may be any connection.
//
//	→ an order: the attack, with the worker's Share of it
//	← {"ready":true}, when the worker could begin at once; or an end with an error
//	→ {"start":TIME}, the same for all workers, a little ahead: the zero of the schedule, as wall time
//	← ticks, phases and progress, as they happen: see loadgen.Run
//	← {"end":…}, how it ended, with the number of ticks and phases before it
//
// From its start on a worker speaks each loadgen.TickWidth at least.
//
// The end of what a worker reads tells it to stop sending: it then says what was sent until then, and ends. What it says
// without an end was cut off. Workers on other machines need clocks that agree: a start as wall time is as exact as they do.

// protocolVersion is the version of these lines; an order of another is refused.
const protocolVersion = 3

// maxLine bounds a line, in bytes: a phase has histograms of at most 512 KiB for each outcome.
const maxLine = 16 << 20

// order is what a worker is to send.
type order struct {
	Version int            `json:"version"`
	Attack  loadgen.Attack `json:"attack"`
	TLS     TLS            `json:"tls"`
	Tokens  []string       `json:"tokens,omitempty"` // of the attack's users: they go by this way alone, and are written nowhere
}

// begin says when.
type begin struct {
	Start time.Time `json:"start"`
}

// line is what a worker says: one of these.
type line struct {
	Ready    bool              `json:"ready,omitempty"`
	Tick     *evidence.Tick    `json:"tick,omitempty"`
	Phase    *evidence.Phase   `json:"phase,omitempty"`
	Progress *loadgen.Progress `json:"progress,omitempty"`
	Cut      bool              `json:"cut,omitempty"` // of a tick or phase: the load had been stopped, and it may not be whole
	End      *end              `json:"end,omitempty"`
}

// end is how a worker's part ended.
type end struct {
	Records int    `json:"records"`           // ticks and phases before it
	Stopped bool   `json:"stopped,omitempty"` // it was told to stop, by who ordered it or by a signal
	Error   string `json:"error,omitempty"`   // why it did not go all its way
}
