package reports

import "testing"

func TestFiguresAreShortUnlessThatHidesWhatWasJudged(t *testing.T) {
	for _, c := range []struct{ observed, limit, wantObserved, wantLimit string }{
		{"47.679ms", "250ms", "47.7 ms", "250 ms"},
		{"1.100799s", "1.5s", "1.1 s", "1.5 s"},
		{"304ms", "3s", "304 ms", "3 s"},
		{"2m0s", "1m30s", "120 s", "90 s"},
		{"0%", "2% short", "0%", "2% short"},
		{"not judged", "", "not judged", ""},
		{"", "2s", "", "2 s"},
		{"500.3ms", "500ms", "500.3ms", "500ms"}, // a FAIL by 0.3 ms must not read as 500 of 500
		{"500ms", "500ms", "500 ms", "500 ms"},
	} {
		if o, l := figures(c.observed, c.limit); o != c.wantObserved || l != c.wantLimit {
			t.Errorf("%q of %q reads %q of %q, want %q of %q", c.observed, c.limit, o, l, c.wantObserved, c.wantLimit)
		}
	}
}
