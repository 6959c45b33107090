package embedded

import (
	"hash/fnv"
	"strconv"
)

// draw gives 64 bits that depend on the seed and the parts alone.
func draw(seed int64, parts ...string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(strconv.AppendInt(nil, seed, 10))
	for _, p := range parts {
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(p))
	}
	return mix(h.Sum64())
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// alphanums is what Kubernetes draws its suffixes from: no vowels, so that no words come out, and nothing that is
// mistaken for something else.
const alphanums = "bcdfghjklmnpqrstvwxz2456789"

// suffix writes n characters of x.
func suffix(x uint64, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphanums[x%uint64(len(alphanums))]
		x /= uint64(len(alphanums))
	}
	return string(b)
}
