package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

// Env is the environment variable of the workload's container that holds its Config as JSON.
const Env = "MESHPROOF_WORKLOAD"

// Role is what a workload is.
type Role string

// The roles.
const (
	RoleService  Role = "service"  // answers, after its own latency and its calls
	RoleIngress  Role = "ingress"  // forwards by Host header
	RoleOutsider Role = "outsider" // is sent from; answers as a service without calls does
)

// Config tells one workload what to do.
type Config struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Cluster   string            `json:"cluster"`
	Role      Role              `json:"role"`
	Calls     []Call            `json:"calls,omitempty"`
	Latency   scenarios.Latency `json:"latency,omitzero"`
	ErrorRate float64           `json:"errorRate,omitempty"` // share of requests answered with 500, 0 to 1
	Tokens    *TokenCheck       `json:"tokens,omitempty"`    // of an ingress: every request needs a good one
	Seed      int64             `json:"seed,omitempty"`      // a driver sets it from its own
}

// Call is one call that the workload makes for each request.
type Call struct {
	Host   string  `json:"host"`
	Method string  `json:"method"`
	Path   string  `json:"path"`
	Share  float64 `json:"share"` // of requests that make it, above 0, at most 1
}

// TokenCheck is what an ingress wants of the tokens of requests from outside.
type TokenCheck struct {
	Issuer   string `json:"issuer"`   // iss
	Audience string `json:"audience"` // one of aud
	Keys     string `json:"keys"`     // address of the issuer's JSON Web Key Set
	// Hosts is where the hosts of such addresses really are. A driver sets it; without it no keys are found.
	Hosts map[string]string `json:"-"`
}

// ParseConfig reads what Env holds.
func ParseConfig(text string) (Config, error) {
	var c Config
	if text == "" {
		return c, fmt.Errorf("environment variable %s is not set", Env)
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return c, fmt.Errorf("environment variable %s: %w", Env, err)
	}
	if err := c.validate(); err != nil {
		return c, fmt.Errorf("environment variable %s: %w", Env, err)
	}
	return c, nil
}

func (c *Config) validate() error {
	var errs []error
	if c.Name == "" {
		errs = append(errs, errors.New("name is missing"))
	}
	switch c.Role {
	case RoleService, RoleIngress, RoleOutsider:
	default:
		errs = append(errs, fmt.Errorf("role %q is none of service, ingress, outsider", c.Role))
	}
	if !(c.ErrorRate >= 0 && c.ErrorRate <= 1) {
		errs = append(errs, fmt.Errorf("errorRate %v is not between 0 and 1", c.ErrorRate))
	}
	if c.Latency.P50 < 0 || c.Latency.P99 < 0 || (c.Latency.P99 != 0 && c.Latency.P99 < c.Latency.P50) {
		errs = append(errs, fmt.Errorf("latency p50 %s, p99 %s: want 0 <= p50 <= p99", c.Latency.P50, c.Latency.P99))
	}
	if t := c.Tokens; t != nil && (c.Role != RoleIngress || t.Issuer == "" || t.Audience == "" || t.Keys == "") {
		errs = append(errs, errors.New("tokens wants role ingress, issuer, audience and keys"))
	}
	for i, call := range c.Calls {
		if call.Host == "" || call.Method == "" || call.Path == "" {
			errs = append(errs, fmt.Errorf("calls[%d] wants host, method and path", i))
		}
		if !(call.Share > 0 && call.Share <= 1) {
			errs = append(errs, fmt.Errorf("calls[%d].share %v is not above 0 and at most 1", i, call.Share))
		}
	}
	return errors.Join(errs...)
}

// What a draw is for. Each has its own stream of numbers, so that changing one setting leaves the others' draws alone.
const (
	drawLatency = "latency"
	drawError   = "error"
	drawShare   = "share"
)

// draw gives a number in [0, 1) that depends on the seed, the workload, the request's ID and what it is for, and on
// nothing else: the same request meets the same fate in whatever order and on whatever pod it arrives.
func (c *Config) draw(id, what string, k int) float64 {
	h := fnv.New64a()
	var b [16]byte
	for i := range 8 {
		b[i] = byte(c.Seed >> (8 * i))
		b[8+i] = byte(int64(k) >> (8 * i))
	}
	_, _ = h.Write(b[:])
	for _, s := range [...]string{c.Name, id, what} {
		_, _ = h.Write([]byte(s))
		_, _ = h.Write([]byte{0})
	}
	return float64(mix(h.Sum64())>>11) / (1 << 53)
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): FNV alone leaves the high bits of short keys alike.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

// latencyAt is the quantile u of the log-normal distribution given by two of its quantiles:
// mu = ln p50, sigma = ln(p99/p50)/z99, and the quantile is exp(mu + sigma*z(u)).
func latencyAt(l scenarios.Latency, u float64) time.Duration {
	if l.P50 <= 0 {
		return 0
	}
	if l.P99 <= l.P50 {
		return l.P50.D()
	}
	sigma := math.Log(float64(l.P99)/float64(l.P50)) / z99
	z := math.Sqrt2 * math.Erfinv(2*u-1)
	// u may be 0, whose quantile is 0; the other end cannot exceed what a draw below 1 gives: z(1-2^-53) is about 8.2.
	return time.Duration(float64(l.P50) * math.Exp(sigma*z))
}
