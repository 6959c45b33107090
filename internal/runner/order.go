package runner

import "math/rand/v2"

// order draws the order of the meshes in each block. The first block's order is drawn from the seed; every further
// block shifts it by one, and every len(meshes) blocks it is turned round: over 2·n blocks each mesh stands in each
// place twice and comes before each other mesh as often as after it (a cyclic Latin square and its reverse).
func order(meshes []string, blocks int, seed int64) [][]string {
	n := len(meshes)
	rng := rand.New(rand.NewPCG(uint64(seed), 0x6d65736870726f6f))
	first := make([]string, n)
	for i, j := range rng.Perm(n) {
		first[i] = meshes[j]
	}
	out := make([][]string, blocks)
	for b := range out {
		row := make([]string, n)
		for i := range row {
			row[i] = first[(i+b)%n]
			if (b/n)%2 == 1 {
				row[i] = first[(n-1-i+b)%n]
			}
		}
		out[b] = row
	}
	return out
}
