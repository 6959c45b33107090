package scenarios

import (
	"hash/fnv"
	"math"
)

// Seed mixes the seed of a run with the name of what draws, so that two traffics of one run draw different things.
func Seed(run int64, name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return Splitmix64(uint64(run)) ^ h.Sum64()
}

// Splitmix64 is the finalizer of Steele, Lea and Flood's SplitMix64 generator: a bijection that spreads neighbouring
// numbers over all 64 bits.
func Splitmix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Draw draws numbers that depend on nothing but what it was made from: SplitMix64 (Steele, Lea, Flood, 2014), on every
// machine the same. The load that a verdict is about is drawn by it, and drawn again where the verdict is checked.
type Draw struct{ state uint64 }

// NewDraw returns the draws of a seed and of what the numbers say they are for.
func NewDraw(seed uint64, what ...uint64) Draw {
	for _, f := range what {
		seed = Splitmix64(seed ^ Splitmix64(f))
	}
	return Draw{seed}
}

// Seed is a seed for further draws, of what this one was made from.
func (d Draw) Seed() uint64 { return d.state }

// Bits draws 64 bits.
func (d *Draw) Bits() uint64 {
	x := Splitmix64(d.state)
	d.state += 0x9e3779b97f4a7c15
	return x
}

// Float draws a number above 0 and below 1, in steps of 2^-53.
func (d *Draw) Float() float64 { return (float64(d.Bits()>>11) + 0.5) / (1 << 53) }

// Exponential draws from the exponential distribution of mean 1: -ln(u).
func (d *Draw) Exponential() float64 { return -math.Log(d.Float()) }

// Normal draws from the normal distribution of mean 0 and variance 1 (Box and Muller, 1958).
func (d *Draw) Normal() float64 {
	r := math.Sqrt(2 * d.Exponential())
	return r * math.Cos(2*math.Pi*d.Float())
}

// Poisson draws from the Poisson distribution: small means by counting exponential times (Knuth, TAOCP 2, 3.4.1), others by
// transformed rejection (Hörmann, The transformed rejection method for generating Poisson random variables, 1993, PTRS).
func (d *Draw) Poisson(mean float64) int64 {
	const small = 10
	if !(mean > 0) {
		return 0
	}
	if mean < small {
		n := int64(0)
		for t := d.Exponential(); t < mean; t += d.Exponential() {
			n++
		}
		return n
	}
	b := 0.931 + 2.53*math.Sqrt(mean)
	a := -0.059 + 0.02483*b
	invAlpha := 1.1239 + 1.1328/(b-3.4)
	vr := 0.9277 - 3.6224/(b-2)
	for {
		u, v := d.Float()-0.5, d.Float()
		us := 0.5 - math.Abs(u)
		// The conversion keeps machines that would multiply and add in one step from rounding otherwise than others.
		k := math.Floor(float64((2*a/us+b)*u) + mean + 0.43)
		if us >= 0.07 && v <= vr {
			return int64(k)
		}
		if k < 0 || us < 0.013 && v > us {
			continue
		}
		lg, _ := math.Lgamma(k + 1)
		if math.Log(v)+math.Log(invAlpha)-math.Log(a/(us*us)+b) <= float64(k*math.Log(mean))-mean-lg {
			return int64(k)
		}
	}
}
