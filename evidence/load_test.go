package evidence

import (
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestAHistogramReadsBackAsItWasWritten(t *testing.T) {
	h := NewHistogram()
	for i := range int64(1000) {
		RecordMicros(h, i*i)
	}
	s, err := EncodeHistogram(h)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeHistogram(s)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equals(h) || got.TotalCount() != 1000 {
		t.Errorf("got %d values, p99 %d; want 1000, p99 %d", got.TotalCount(), got.ValueAtQuantile(99), h.ValueAtQuantile(99))
	}
}

func TestALatencyOutsideTheRangeIsCountedAtItsEdge(t *testing.T) {
	h := NewHistogram()
	for _, v := range []int64{-5, 0, 1 << 60} {
		RecordMicros(h, v)
	}
	if h.TotalCount() != 3 {
		t.Fatalf("%d of 3 values were counted", h.TotalCount())
	}
	if h.Min() != 1 {
		t.Errorf("min %d, want 1", h.Min())
	}
	if got := h.Max(); got < HistogramMaxMicros {
		t.Errorf("max %d, want at least %d", got, HistogramMaxMicros)
	}
}

func TestTextThatIsNoHistogramOfARecordIsRefused(t *testing.T) {
	other, err := EncodeHistogram(hdrhistogram.New(1, 1000, 2))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ in, want string }{
		"empty":            {"", "empty"},
		"not base64":       {"%%%%", "illegal base64"},
		"too short":        {"AAAA", "too short"},
		"another geometry": {other, "it spans 1 to 1000 with 2 digits"},
		"too long":         {strings.Repeat("A", maxHistogramText+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeHistogram(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

func FuzzDecodeHistogramNeverPanics(f *testing.F) {
	h := NewHistogram()
	RecordMicros(h, 1234)
	s, err := EncodeHistogram(h)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s)
	f.Add(s[:len(s)/2])
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := DecodeHistogram(s)
		if err == nil && h.TotalCount() < 0 {
			t.Errorf("a histogram with %d values", h.TotalCount())
		}
	})
}

func TestAQuantileIsNotExceededByItsShare(t *testing.T) {
	for _, tt := range []struct {
		fast, slow int64
		share      float64
		want       int64
	}{
		{158, 2, 0.99, 5000},   // 98.75 % were fast
		{159, 1, 0.99, 1},      // 99.375 %
		{99, 1, 0.99, 1},       // just so many
		{1598, 2, 0.999, 5000}, // 99.875 %
		{1999, 1, 0.999, 1},
		{1, 1, 0.5, 1},
		{1, 2, 0.5, 5000},
		{0, 1, 0, 5000},
		{1, 0, 1, 1},
		{9_999_999, 1, 1, 5000},
		{29, 71, 0.29, 1}, // 0.29 has no exact form in binary
		{57, 43, 0.57, 1},
	} {
		h := NewHistogram()
		must := func(v, n int64) {
			if n > 0 {
				if err := h.RecordValues(v, n); err != nil {
					t.Fatal(err)
				}
			}
		}
		must(1, tt.fast)
		must(5000, tt.slow)
		if got := Quantile(h, tt.share); !SameBucket(got, tt.want) {
			t.Errorf("%g of %d at 1 µs and %d at 5 ms: %d, want %d", tt.share, tt.fast, tt.slow, got, tt.want)
		}
	}
	if got := Quantile(NewHistogram(), 0.99); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}
