package evidence

import "time"

// Tick is one slice of time of one traffic. Offered and Sent count by intended and by actual send time;
// the rest counts requests by their intended time, so a slow answer shows where it was asked for.
type Tick struct {
	Header
	Traffic    string         `json:"traffic"`
	Phase      string         `json:"phase"`             // phase at the slice's start
	Index      int            `json:"index"`             // from 0, no gaps
	AtMicros   int64          `json:"atMicros"`          // start of the slice after the start of the load
	Micros     int64          `json:"micros"`            // width of the slice
	Offered    int64          `json:"offered"`           // requests intended in the slice
	Sent       int64          `json:"sent"`              // requests actually sent in the slice
	Done       int64          `json:"done"`              // of Offered: answered or failed (all of them, in the end)
	Errors     int64          `json:"errors"`            // of Done: no response, or a status >= 400
	Codes      map[string]int `json:"codes"`             // of Done: by status code; "closed", "timeout", … where there was no response
	P50Micros  int64          `json:"p50Micros"`         // latency from the intended send time
	P99Micros  int64          `json:"p99Micros"`         //
	MaxMicros  int64          `json:"maxMicros"`         //
	Latency    string         `json:"latency,omitempty"` // HDR histogram of Done's latency from the intended send time, as in Phase; empty where nothing is done
	InFlight   int64          `json:"inFlight"`          // most requests under way at once; of several workers, the sum of what each had
	LagMicros  int64          `json:"lagMicros"`         // largest send lag: actual minus intended send time
	Start      time.Time      `json:"start"`             // of the slice
	Concurrent int64          `json:"concurrent"`        // connections open at the slice's end
}

// StreamName implements Item.
func (*Tick) StreamName() Stream { return Ticks }

// Phase is the whole of one phase of one traffic, written when its last answer has come. Its histograms are HDR histograms
// of microseconds (hdrhistogram V2 compressed, base64; see NewHistogram).
type Phase struct {
	Header
	Traffic    string             `json:"traffic"`
	Phase      string             `json:"phase"`
	AtMicros   int64              `json:"atMicros"`  // start after the start of the load
	ForMicros  int64              `json:"forMicros"` // length
	Offered    int64              `json:"offered"`   // requests that the profile planned for the phase
	Achieved   int64              `json:"achieved"`  // of Offered: sent before the phase's end plus loadgen's grace
	Done       int64              `json:"done"`      // of Offered: answered or failed
	Errors     int64              `json:"errors"`
	Codes      map[string]int     `json:"codes"`
	Intended   string             `json:"intended"`           // histogram of latency from the intended send time
	Service    string             `json:"service"`            // the same from the actual send time, which hides what waited in the generator
	Outcomes   map[string]Outcome `json:"outcomes"`           // the two by OutcomeOf: together they are Intended and Service, count by count
	Lag        string             `json:"lag"`                // histogram of send lag, actual minus intended send time, of Done
	LagMicros  int64              `json:"lagMicros"`          // the largest
	Generators []Generator        `json:"generators"`         // the processes that sent it, by Worker, without gaps
	Sessions   []int64            `json:"sessions,omitempty"` // of Done: by session, where the scenario has sessions
	Protocol   string             `json:"protocol,omitempty"` // what it was sent in, in loadgen's words; empty: http1
}

// StreamName implements Item.
func (*Phase) StreamName() Stream { return Phases }

// AddSessions adds counts of requests by session to a sum, and returns it. Either may be nil.
func AddSessions(sum, more []int64) []int64 {
	if len(sum) < len(more) {
		sum = append(sum, make([]int64, len(more)-len(sum))...)
	}
	for i, n := range more {
		sum[i] += n
	}
	return sum
}

// Outcome is the latency of the requests of one phase that ended alike.
type Outcome struct {
	Done     int64  `json:"done"`
	Intended string `json:"intended"` // histogram
	Service  string `json:"service"`  // histogram
}

// OutcomeOK is the outcome of a request that was answered with a status below 400.
const OutcomeOK = "ok"

// OutcomeOf is the outcome that a code of Phase.Codes belongs to: OutcomeOK, "4xx", "5xx", or the class of what had no
// response, such as "timeout".
func OutcomeOf(code string) string {
	if len(code) != 3 || code[0] < '1' || code[0] > '9' || code[1] < '0' || code[1] > '9' || code[2] < '0' || code[2] > '9' {
		return code
	}
	switch {
	case code < "400":
		return OutcomeOK
	case code < "500":
		return "4xx"
	}
	return "5xx"
}

// Generator is what a process that sends load saw of itself in one phase. In a process that does more than that, such as
// one that has modelled clusters in it, all that it did is in here.
type Generator struct {
	Worker        int   `json:"worker"`          // of several that share a load, from 0
	Of            int   `json:"of,omitempty"`    // how many share it; 0: a record from before this was said
	Done          int64 `json:"done"`            // of the phase's requests that it sent
	Micros        int64 `json:"micros"`          // how long it was watched, wall time
	CPUMicros     int64 `json:"cpuMicros"`       // CPU time that it used meanwhile, user and system
	CPUs          int   `json:"cpus"`            // processors that it may use at once
	Collections   int64 `json:"collections"`     // garbage collections
	PauseMicros   int64 `json:"pauseMicros"`     // time that these stopped it for, in all
	LongestMicros int64 `json:"longestMicros"`   // the longest of these pauses
	MaxInFlight   int64 `json:"maxInFlight"`     // requests that it may have under way
	InFlight      int64 `json:"inFlight"`        // most that it had
	Opened        int64 `json:"opened"`          // connections opened: each has a local port of its own
	Open          int64 `json:"open"`            // most open at once
	Ports         int64 `json:"ports,omitempty"` // local ports that the host has for connections; 0: not known
}
