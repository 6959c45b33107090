package relay

import (
	"math/rand/v2"
	"sync"
)

// Dice is a source of randomness that goroutines share.
type Dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

// NewDice makes dice whose draws the seed decides.
func NewDice(seed int64) *Dice {
	return &Dice{rng: rand.New(rand.NewPCG(uint64(seed), 0x6d65736870726f6f))}
}

// Draw returns a number in [0, n).
func (d *Dice) Draw(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}
