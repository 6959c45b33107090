package verify

import (
	"strings"
	"testing"
)

func TestAKeptBudgetSaysWhereFiguresMayBeTheGenerators(t *testing.T) {
	figures := Check{Kind: KindFigures, Verdict: Invalid, Reason: "GeneratorLag", Message: "sent late"}
	load := Check{Kind: KindLoad, Verdict: Pass}
	for name, c := range map[string]struct {
		checks  []Check
		budgets int
		want    Verdict
		says    string
	}{
		"a budget kept":                  {[]Check{load, {Kind: KindLatency, Verdict: Pass}}, 1, Pass, "every budget was kept"},
		"kept with the generator's lag":  {[]Check{load, figures, {Kind: KindLatency, Verdict: Pass}}, 1, Pass, "some may be the generator's own"},
		"broken beside a generator lag":  {[]Check{load, figures, {Kind: KindErrors, Verdict: Fail, Message: "too many"}}, 1, Fail, "too many"},
		"no budget, and figures of lag":  {[]Check{load, figures}, 0, Invalid, "sent late"},
		"no budget, and figures to have": {[]Check{load, {Kind: KindFigures, Verdict: Pass}}, 0, Pass, "can be believed"},
		"nothing but figures in doubt":   {[]Check{figures}, 1, Invalid, "nothing was sent"},
	} {
		a := &Alone{Checks: c.checks}
		a.verdict(c.budgets)
		if a.Verdict != c.want || !strings.Contains(a.Message, c.says) {
			t.Errorf("%s: %s, %q; want %s, %q", name, a.Verdict, a.Message, c.want, c.says)
		}
	}
}
