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
		{"4 let through", "0", "4 let through", "0"},
		{"500ms", "500ms", "500 ms", "500 ms"},
	} {
		if o, l := figures(c.observed, c.limit); o != c.wantObserved || l != c.wantLimit {
			t.Errorf("%q of %q reads %q of %q, want %q of %q", c.observed, c.limit, o, l, c.wantObserved, c.wantLimit)
		}
	}
}

func TestAQuantityIsReadWithItsUnitAndWrittenAsItWas(t *testing.T) {
	for _, c := range []struct {
		in    string
		value float64
		unit  string
		out   string
	}{
		{"47.679ms", 47679, micros, "47.679ms"},
		{"1m30s", 90e6, micros, "1m30s"},
		{"1.2 s", 1.2e6, micros, "1.2s"},
		{"0s", 0, micros, "0s"},
		{"0.71%", 0.71, "%", "0.71%"},
		{"0% short", 0, "% short", "0% short"},
		{"-0.1%", -0.1, "%", "-0.1%"},
	} {
		if q, ok := quantityOf(c.in); !ok || q.value != c.value || q.unit != c.unit || q.String() != c.out {
			t.Errorf("%q is %+v (%v), written %q", c.in, q, ok, q)
		}
	}
	for _, no := range []string{"", "0", "12", "24 of 24", "not judged", "NaN%", "Inf%", "%", "half a %", "-0.1% to 0.4%", "1ms to 3ms"} {
		if q, ok := quantityOf(no); ok {
			t.Errorf("%q is read as %+v", no, q)
		}
	}
}
