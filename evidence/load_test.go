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
