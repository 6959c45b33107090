package reports

import (
	"strings"
	"testing"

	"github.com/meshproof/meshproof/verify"
)

func TestARowSaysHowItsMeshesDiffer(t *testing.T) {
	p, f, g, s := verify.Pass, verify.Fail, verify.Gap, verify.Skipped
	cell := func(v verify.Verdict, observed string) RowCell {
		return RowCell{Verdict: v, Observed: observed, Limit: "100ms"}
	}
	blocks := func(median, lowest, highest string) RowCell {
		return RowCell{Verdict: p, Observed: lowest, Limit: "100ms", Median: median, Lowest: lowest, Highest: highest}
	}
	none := RowCell{Check: -1}
	for _, c := range []struct {
		name  string
		cells []RowCell
		want  string
		marks string
	}{
		{"one gap", []RowCell{cell(g, ""), cell(p, ""), cell(p, ""), cell(p, "")}, differVerdicts, "other,,,"},
		{"two of two: the better is most", []RowCell{cell(f, ""), cell(p, "")}, differVerdicts, "other,"},
		{"most fail", []RowCell{cell(f, ""), cell(p, ""), cell(f, "")}, differVerdicts, ",other,"},
		{"verdicts go before figures", []RowCell{cell(p, "1ms"), cell(f, "101ms"), cell(p, "90ms")}, differVerdicts, ",other,"},
		{"all the same", []RowCell{cell(p, "40ms"), cell(p, "40ms")}, "", ","},
		{"less than a tenth of the limit apart", []RowCell{cell(p, "1ms"), cell(p, "10.9ms")}, "", ","},
		{"a tenth of the limit apart", []RowCell{cell(p, "1ms"), cell(p, "11ms"), cell(p, "5ms")}, differFigures, "lowest,highest,"},
		{"all fail, some worse", []RowCell{cell(f, "110ms"), cell(f, "900ms")}, differFigures, "lowest,highest"},
		{"no such check is no difference", []RowCell{none, cell(s, ""), cell(s, "")}, "", ",,"},
		{"one mesh alone", []RowCell{cell(p, "40ms")}, "", ""},
		{"no figure", []RowCell{cell(p, "24 of 24"), cell(p, "3 of 24")}, "", ","},
		{"another unit", []RowCell{cell(p, "1ms"), cell(p, "90%")}, "", ","},
		{"another limit", []RowCell{cell(p, "1ms"), {Verdict: p, Observed: "90ms", Limit: "1s"}}, "", ","},
		{"blocks that overlap are noise", []RowCell{blocks("10ms", "5ms", "60ms"), blocks("50ms", "30ms", "70ms")}, "", ","},
		{"blocks apart", []RowCell{blocks("10ms", "5ms", "20ms"), blocks("50ms", "30ms", "70ms")}, differFigures, "lowest,highest"},
		{"nothing", nil, "", ""},
	} {
		row := Row{Cells: c.cells}
		row.compare()
		var marks []string
		for _, x := range row.Cells {
			marks = append(marks, x.Mark)
		}
		if got := strings.Join(marks, ","); row.Differ != c.want || got != c.marks {
			t.Errorf("%s: differ %q, marks %q; want %q, %q", c.name, row.Differ, got, c.want, c.marks)
		}
	}
}

func TestAnswersThatAreNotAsMostAreAreMarkedAndOfEqualsThoseNotExpected(t *testing.T) {
	a := func(observed string, v verify.Verdict) answer {
		return answer{Asked: true, Observed: observed, Verdict: v}
	}
	for _, c := range []struct {
		name    string
		answers []answer
		differ  bool
		marks   string
	}{
		{"one of four", []answer{a("refused", verify.Pass), a("allowed", verify.Fail), a("refused", verify.Pass), a("refused", verify.Pass)}, true, " x  "},
		{"two of four", []answer{a("allowed", verify.Fail), a("allowed", verify.Fail), a("refused", verify.Pass), a("refused", verify.Pass)}, true, "xx  "},
		{"most are wrong", []answer{a("allowed", verify.Fail), a("allowed", verify.Fail), a("refused", verify.Pass)}, true, "  x"},
		{"a declared gap", []answer{a("allowed", verify.Gap), a("refused", verify.Pass)}, false, "  "},
		{"not asked", []answer{{}, a("refused", verify.Pass)}, false, "  "},
	} {
		if got := markAnswers("refused", c.answers); got != c.differ {
			t.Errorf("%s: differ is %v", c.name, got)
		}
		marks := ""
		for _, x := range c.answers {
			if x.Marked == "" {
				marks += " "
			} else {
				marks += "x"
			}
		}
		if marks != c.marks {
			t.Errorf("%s: marked %q, want %q", c.name, marks, c.marks)
		}
	}
}

func TestASummaryOfSixBlocksSaysMediansAndWhatCouldNotBeJudgedInFull(t *testing.T) {
	for _, c := range []struct {
		file   string
		blocks int
	}{{"summary-four.md", 1}, {"summary-six-blocks.md", 6}} {
		golden(t, c.file, summary(Build(recordOf(t, fourMeshes, c.blocks), resultOf(fourMeshes, c.blocks))))
	}
}
