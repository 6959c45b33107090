package evidence

import (
	"strings"
	"testing"
)

func TestRecordsThatAreNotNumberedOneByOneAreAGap(t *testing.T) {
	trial := Trial{Block: 1, Mesh: "none"}
	for name, c := range map[string]struct {
		numbers []uint64
		ends    []uint64
		want    string // of the gap; "" for none
	}{
		"one by one":                            {[]uint64{1, 2, 3, 4}, []uint64{4}, ""},
		"written in another order":              {[]uint64{3, 1, 4, 2}, []uint64{4}, ""},
		"some twice in place of others":         {[]uint64{2, 2, 2, 4}, []uint64{4}, "not numbered"},
		"the first and the last of them twice":  {[]uint64{1, 1, 4, 4}, []uint64{4}, "not numbered"},
		"one too many":                          {[]uint64{1, 2, 3, 3}, []uint64{3}, "not numbered"},
		"one of them lost":                      {[]uint64{1, 2, 4}, []uint64{4}, "1 of 4"},
		"a producer that says two things":       {[]uint64{1, 2}, []uint64{4, 2}, "different"},
		"a producer that says one thing twice":  {[]uint64{1, 2}, []uint64{2, 2}, "different"},
		"a producer that never said how many":   {[]uint64{1, 2}, nil, "never said"},
		"a number that no producer begins with": {[]uint64{0, 1, 2}, []uint64{3}, "not numbered"},
	} {
		r := &Record{}
		for _, n := range c.numbers {
			r.Ticks = append(r.Ticks, &Tick{Header: Header{Trial: trial, Src: "loadgen", N: n}})
		}
		for i, n := range c.ends {
			r.Events = append(r.Events, &Event{Header: Header{Trial: trial, Src: writerSrc, N: uint64(i + 1)}, Kind: EventProducerEnd, Of: "loadgen", Stream: Ticks, Count: n})
		}
		got := ""
		for _, g := range r.Gaps() {
			got += g.Message
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
	}
}

func TestEndsOfProducersThatStandThereTwiceHideNoneThatIsMissing(t *testing.T) {
	trial := Trial{Block: 1, Mesh: "none"}
	r := &Record{}
	for _, n := range []uint64{1, 3, 3} {
		r.Events = append(r.Events, &Event{Header: Header{Trial: trial, Src: writerSrc, N: n}, Kind: "other"})
	}
	if len(r.Gaps()) == 0 {
		t.Error("an end of a producer was lost, and there is no gap")
	}
}

func TestACodeThatIsNoStatusIsAnOutcomeOfItsOwn(t *testing.T) {
	for code, want := range map[string]string{
		"200": OutcomeOK, "302": OutcomeOK, "100": OutcomeOK, "404": "4xx", "599": "5xx", "999": "5xx",
		"0": "0", "099": "099", "000": "000", "-50": "-50", "1x9": "1x9", "20": "20", "2000": "2000", "closed": "closed", "": "",
	} {
		if got := OutcomeOf(code); got != want {
			t.Errorf("%q is %q, want %q", code, got, want)
		}
	}
}
