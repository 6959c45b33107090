package loadgen

import (
	"fmt"
	"math"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

// closedNumbers is how many numbers of requests each phase of a closed loop has for itself.
const closedNumbers = 1 << 40

// Closed is the closed loop of a phase: users who send, wait for the answer, think, and send again, from the phase's start
// to its end. Nothing is planned: what is sent, and when, depends on the answers.
type Closed struct {
	Users int

	first int64 // number of the phase's first request
	think scenarios.Think
	seed  uint64
}

// Number is the number of the turn-th request of a user, both from 0. A user has the same ones whatever becomes of the
// others.
func (c *Closed) Number(user int, turn int64) int64 {
	return c.first + turn*int64(c.Users) + int64(user)
}

// Think is how long a user thinks after the answer to request n, before the next one: the mean where it is fixed, 2·mean·u
// where it is uniform, -mean·ln(u) where it is exponential, with u drawn from the seed and n.
func (c *Closed) Think(n int64) time.Duration {
	mean := c.think.Mean.D()
	d := scenarios.NewDraw(c.seed, uint64(n))
	switch c.think.Distribution {
	case scenarios.Uniform:
		return time.Duration(math.Round(2 * float64(mean) * d.Float()))
	case scenarios.Exponential:
		return time.Duration(math.Round(float64(mean) * d.Exponential()))
	}
	return mean
}

func newClosed(st *scenarios.Stage, stage int, seed uint64) (*Closed, error) {
	if st.For <= 0 {
		return nil, fmt.Errorf("it lasts %s; want more than nothing", st.For)
	}
	c := &Closed{Users: st.Users, first: int64(stage) * closedNumbers, seed: scenarios.Splitmix64(seed ^ thinkSeed)}
	if st.Think != nil {
		c.think = *st.Think
	}
	if c.think.Mean < 0 {
		return nil, fmt.Errorf("its users think for %s; want 0 or more", c.think.Mean)
	}
	return c, nil
}

// thinkSeed keeps the draws of times to think apart from those of the mix.
const thinkSeed = 0x7468696e6b
