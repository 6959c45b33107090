package alone

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/meshproof/meshproof/verify"
)

// figures are those that a budget may be about, with their names in evidence.
var figures = map[string]string{"p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p999", "max": "max", "errors": "errors"}

// ParseExpect reads budgets: "p99<50ms,errors<1%".
func ParseExpect(text string) ([]verify.Budget, error) {
	var out []verify.Budget
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		name, limit, found := strings.Cut(part, "<")
		figure, known := figures[strings.TrimSpace(name)]
		limit = strings.TrimSpace(limit)
		switch {
		case !found:
			return nil, fmt.Errorf("%q is no budget: write p99<50ms or errors<1%%, several with commas", part)
		case !known:
			return nil, fmt.Errorf("%q: there is no figure %q: p50, p90, p99, p99.9, max or errors", part, strings.TrimSpace(name))
		case seen[figure]:
			return nil, fmt.Errorf("%q: there are two budgets for %s", part, strings.TrimSpace(name))
		}
		seen[figure] = true
		b := verify.Budget{Figure: figure}
		if figure == "errors" {
			share, ok := strings.CutSuffix(limit, "%")
			v, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
			if err != nil || math.IsNaN(v) || !ok || v <= 0 || v > 100 {
				return nil, fmt.Errorf("%q: %q is no share of errors: write errors<1%%, more than 0%% and at most 100%%", part, limit)
			}
			b.Share = v / 100
		} else {
			d, err := time.ParseDuration(limit)
			if err != nil || d < time.Microsecond {
				return nil, fmt.Errorf("%q: %q is no latency: write it as 50ms or 1.5s, 1µs or more", part, limit)
			}
			b.Limit = d
		}
		out = append(out, b)
	}
	return out, nil
}
