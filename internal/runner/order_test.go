package runner

import (
	"fmt"
	"slices"
	"testing"
)

func TestTheSameSeedGivesTheSameOrderAndAnotherSeedAnother(t *testing.T) {
	meshes := []string{"none", "istio", "linkerd", "layered"}
	if a, b := fmt.Sprint(order(meshes, 6, 7)), fmt.Sprint(order(meshes, 6, 7)); a != b {
		t.Fatalf("%s, then %s", a, b)
	}
	first := map[string]bool{}
	for seed := range int64(50) {
		first[fmt.Sprint(order(meshes, 1, seed))] = true
	}
	if len(first) < 10 {
		t.Fatalf("50 seeds gave %d orders of 24", len(first))
	}
}

func TestBlocksAreBalancedInPlaceAndInPrecedence(t *testing.T) {
	for n := 1; n <= 4; n++ {
		meshes := []string{"none", "istio", "linkerd", "layered"}[:n]
		rows := order(meshes, 2*n, 3)
		places, before := map[string]int{}, map[string]int{}
		for _, row := range rows {
			if len(row) != n {
				t.Fatalf("row %v", row)
			}
			for i, m := range row {
				places[fmt.Sprint(m, i)]++
				for _, later := range row[i+1:] {
					before[m+"<"+later]++
				}
			}
		}
		for _, m := range meshes {
			for i := range n {
				if got := places[fmt.Sprint(m, i)]; got != 2 {
					t.Errorf("n=%d: %s stands %d times in place %d, want 2", n, m, got, i)
				}
			}
			for _, o := range meshes {
				if o != m && before[m+"<"+o] != n {
					t.Errorf("n=%d: %s comes %d times before %s, want %d", n, m, before[m+"<"+o], o, n)
				}
			}
		}
		if !slices.Equal(rows[0], order(meshes, 1, 3)[0]) {
			t.Error("the first block depends on how many there are")
		}
	}
}
