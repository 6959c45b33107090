package scenarios

// Traffic is load on one service: from outside, through an ingress, or from another service, pod to pod.
type Traffic struct {
	// Name of the traffic: a DNS label.
	Name string `json:"name"`
	// Who sends. ingress: users, from outside of the clusters, through the ingress. A service: the first of its pods by
	// name, with its own identity and through its own sidecar, to the other service's DNS name. Default ingress.
	From string `json:"from,omitempty"`
	// The service that the load is for.
	To string `json:"to"`
	// The cluster whose ingress is used, or whose pod of the service sends. Default: the first cluster that to runs in, or
	// from where that is a service.
	Cluster string `json:"cluster,omitempty"`
	// How much is sent when.
	Profile Profile `json:"profile"`
	// The token that each request carries, of one of a few users drawn from the seed. Needed where there is an issuer, from
	// the ingress alone: services have no users.
	Token *Token `json:"token,omitempty"`
	// What is sent, drawn by weight from the seed. Default: GET /.
	Requests []RequestKind `json:"requests,omitempty"`
	// What it is sent in. http1: HTTP/1.1. http2: HTTP/2 without TLS, by prior knowledge, many requests at a time on each
	// connection; from the ingress on, or from the sender's sidecar, requests go on as the mesh and the ingress do it. What a
	// driver's way in cannot take is refused before the run. Default http1.
	Protocol Protocol `json:"protocol,omitempty" jsonschema:"enum=http1,enum=http2"`
	// reuse: a request takes a connection that is free, and opens one where none is. each: every request has a connection of its
	// own, with all that opening it costs; at thousands a second a host's ports run out. Default reuse.
	Connections Connections `json:"connections,omitempty" jsonschema:"enum=reuse,enum=each"`
	// How many sessions the requests are dealt to, 1 to 10000: each is a user with a token of its own, with connections that no
	// other session uses (one, and more only while several of its requests are under way; with connections each, one for each
	// request), and with the cookies that it was given (RFC 6265), up to 50. Of each N requests in a row each of N sessions has
	// one, in an order drawn from the seed: request n is of session (a·i + b) mod N, with i = n mod N, and a and b drawn for
	// ⌊n/N⌋, a without a common divisor with N. So balancing that sticks to a session can be tested. In http1 alone; a closed
	// loop has users instead. Default none: every request is from somebody else, and takes any connection that is free.
	Sessions int `json:"sessions,omitempty" jsonschema:"minimum=1,maximum=10000"`
	// Time after which a request has failed. Default 5s.
	Timeout Duration `json:"timeout,omitempty"`
	// Most requests under way at once, 1 to 1000000. What the profile asks for beyond it waits, and counts as slow from the moment
	// when it should have been sent. Default 10000.
	MaxInFlight int `json:"maxInFlight,omitempty" jsonschema:"minimum=1,maximum=1000000"`
}

// Protocol is what a traffic is sent in.
type Protocol string

// The protocols.
const (
	ProtocolHTTP1 Protocol = "http1"
	ProtocolHTTP2 Protocol = "http2"
)

// Arrivals is how the requests of a profile lie in time.
type Arrivals string

// The ways.
const (
	ArrivalsEven    Arrivals = "even"    // as evenly as the rate lets them
	ArrivalsPoisson Arrivals = "poisson" // by chance, as those of many users who know nothing of each other
)

// Profile is a rate over time: stages one after the other.
type Profile struct {
	// The stages. Either all of them have a rate, or all have users.
	Stages []Stage `json:"stages"`
	// How requests lie in time. even: with H(t) the requests that the rates ask for until t, request n (from 0) is meant for the
	// time t with H(t) = n + 1/2. poisson: an inhomogeneous Poisson process with the profile's rate, drawn from the seed; the
	// profile's numbers of requests are then its means. Default even.
	Arrivals Arrivals `json:"arrivals,omitempty" jsonschema:"enum=even,enum=poisson"`
}

// Stage is one phase of a profile. It has one shape. With t seconds since it began and T its whole time, rate alone is
// constant; "to" is a ramp, rate + (to - rate)·t/T; "peak" is a spike, which rises in a straight line from rate to peak at
// T/2 and falls back; "steps" is rate + by·⌊t/every⌋; "sine" is rate + amplitude·sin(2π·t/period); "bursts" is rate in the
// first part of every period and another one in the rest; "replay" follows a recorded series. "users" is a closed loop: no
// rate, but users who each wait for their answer.
type Stage struct {
	// Name of the phase, for expectations and the report. Default stage-1, stage-2, …
	Name string `json:"name,omitempty"`
	// Requests per second at the start, 0 to 1000000: of a sine its mean, of bursts that within them. Replays and users have none.
	Rate float64 `json:"rate,omitempty" jsonschema:"minimum=0,maximum=1000000"`
	// Requests per second at the end of a ramp.
	To *float64 `json:"to,omitempty" jsonschema:"minimum=0,maximum=1000000"`
	// Requests per second in the middle of a spike.
	Peak *float64 `json:"peak,omitempty" jsonschema:"minimum=0,maximum=1000000"`
	// The rate goes up, or down, in steps.
	Steps *Steps `json:"steps,omitempty"`
	// The rate swings around its mean.
	Sine *Sine `json:"sine,omitempty"`
	// The rate comes in bursts.
	Bursts *Bursts `json:"bursts,omitempty"`
	// The rate is a recorded one.
	Replay *Replay `json:"replay,omitempty"`
	// Closed loop: so many users, 1 to 1000000, who send, wait for the answer, think, and send again. When the service is slow
	// they ask less, so what they measure hides how long others would have waited (coordinated omission): a closed loop has no
	// latency budget, and is for comparison with other generators.
	Users int `json:"users,omitempty" jsonschema:"minimum=1,maximum=1000000"`
	// How long users think between an answer and their next request. Default not at all.
	Think *Think `json:"think,omitempty"`
	// How long. A replay takes by default as long as its series; with it the series is stretched or pressed together, and its
	// rates stay what they are.
	For Duration `json:"for,omitempty"`
}

// Steps is a rate that changes all at once, every so often.
type Steps struct {
	// By how many requests per second each step goes up; down where it is below 0.
	By float64 `json:"by" jsonschema:"minimum=-1000000,maximum=1000000"`
	// How long each step takes, 10ms or more.
	Every Duration `json:"every"`
}

// Sine is a rate that swings.
type Sine struct {
	// How far it goes above and below the stage's rate, in requests per second, above 0; at most the rate.
	Amplitude float64 `json:"amplitude" jsonschema:"exclusiveMinimum=0,maximum=1000000"`
	// How long one swing takes, 10ms or more. It begins at the mean, upwards.
	Period Duration `json:"period"`
}

// Bursts is a rate that is on and off.
type Bursts struct {
	// How long from the start of a burst to that of the next, 10ms or more. The stage begins with one.
	Every Duration `json:"every"`
	// How long each burst lasts, with the stage's rate: less than every.
	For Duration `json:"for"`
	// Requests per second between bursts. Default none.
	Between float64 `json:"between,omitempty" jsonschema:"minimum=0,maximum=1000000"`
}

// Replay is a recorded series of rates. Between two of its points the rate goes in a straight line.
type Replay struct {
	// The file with the series, seen from the folder of the scenario: CSV with the header time,rate (time in seconds, or as RFC
	// 3339; rate per second), or what Prometheus answers to a range query, with one series. It is read once, when the scenario is loaded.
	File string `json:"file,omitempty"`
	// What each recorded rate is multiplied by, above 0. Default 1.
	Scale float64 `json:"scale,omitempty" jsonschema:"exclusiveMinimum=0,maximum=1000000"`
	// Times of the points in seconds, from 0, rising: 2 to 2000. Filled in from the file, which is not read where they are given.
	Seconds []float64 `json:"seconds,omitempty" jsonschema:"minimum=0,maximum=1000000000"`
	// Rates of the points, per second, as many as there are seconds.
	Rates []float64 `json:"rates,omitempty" jsonschema:"minimum=0,maximum=1000000000"`
}

// Distribution names how times or sizes are spread.
type Distribution string

// The distributions.
const (
	Fixed       Distribution = "fixed"
	Uniform     Distribution = "uniform"
	Exponential Distribution = "exponential"
)

// Think is how long a user thinks.
type Think struct {
	// The mean.
	Mean Duration `json:"mean"`
	// fixed: always the mean. uniform: anything from 0 to twice the mean. exponential: -mean·ln(u), with u drawn from 0 to 1.
	// Default fixed.
	Distribution Distribution `json:"distribution,omitempty" jsonschema:"enum=fixed,enum=uniform,enum=exponential"`
}

// Connections is how requests share connections.
type Connections string

// The ways.
const (
	ConnectionsReuse Connections = "reuse" // a request takes a connection that is free
	ConnectionsEach  Connections = "each"  // each request opens its own, which ends with its answer
)

// RequestKind is one kind of request of a mix.
type RequestKind struct {
	// HTTP method. Default GET.
	Method string `json:"method,omitempty"`
	// Path. Default /.
	Path string `json:"path,omitempty"`
	// Weight in the mix, 1 or more. Default 1.
	Weight int `json:"weight,omitempty" jsonschema:"minimum=1,maximum=1000000"`
	// Header fields beside those that Meshproof sends itself: name and text. Names that HTTP, proxies or Meshproof go by
	// are refused.
	Headers map[string]string `json:"headers,omitempty"`
	// The body. Default none.
	Body *Body `json:"body,omitempty"`
}

// Body is the body of requests: letters and digits, drawn from the seed as its size is. Either bytes, alone or with to, or p50
// and p99 say how large.
type Body struct {
	// Size in bytes, 1 to 262144.
	Bytes int `json:"bytes,omitempty" jsonschema:"minimum=1,maximum=262144"`
	// Largest size in bytes: every size from bytes to this one is as likely as the others.
	To int `json:"to,omitempty" jsonschema:"minimum=1,maximum=262144"`
	// Median size in bytes of a log-normal distribution; sizes are cut off at 262144.
	P50 int `json:"p50,omitempty" jsonschema:"minimum=1,maximum=262144"`
	// 99th percentile of that distribution.
	P99 int `json:"p99,omitempty" jsonschema:"minimum=1,maximum=262144"`
	// Content-Type. Default text/plain.
	Type string `json:"type,omitempty"`
}
