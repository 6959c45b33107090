package evidence

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// MaxShortfall is the share of a phase's planned requests that may be missing from those sent in time. A phase that
// falls further short was not the load that the scenario asks for, and proves nothing.
const MaxShortfall = 0.02

// Geometry of every latency histogram in a record: 1 µs to 5 min with 3 significant digits.
const (
	HistogramMinMicros = 1
	HistogramMaxMicros = 5 * 60 * 1_000_000
	HistogramDigits    = 3
)

// maxHistogramText bounds the text that DecodeHistogram takes. A histogram of this geometry has about 21,000 counts of
// at most 9 bytes each; base64 adds a third.
const maxHistogramText = 512 << 10

// NewHistogram makes an empty latency histogram for values in microseconds.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(HistogramMinMicros, HistogramMaxMicros, HistogramDigits)
}

// RecordMicros adds one latency to a histogram made by NewHistogram. What lies outside its range is counted at the
// range's edge, so that no request is ever missing from the count.
func RecordMicros(h *hdrhistogram.Histogram, micros int64) {
	v := min(max(micros, HistogramMinMicros), HistogramMaxMicros)
	// Cannot fail: v is within the range.
	_ = h.RecordValue(v)
}

// SetLatency puts a histogram of the latency of a slice's requests, the largest of which is max µs, into its record, with
// the quantiles that are read from it.
func SetLatency(t *Tick, h *hdrhistogram.Histogram, max int64) error {
	t.P50Micros, t.P99Micros, t.MaxMicros, t.Latency = 0, 0, 0, ""
	if h.TotalCount() == 0 {
		return nil
	}
	var err error
	t.Latency, err = EncodeHistogram(h)
	t.MaxMicros = max
	t.P50Micros, t.P99Micros = TickQuantiles(h, max)
	return err
}

// Quantile is the least value of a histogram (µs) that a share, 0 to 1 to eight decimals, of what it holds does not exceed:
// the value of rank ⌈share·n⌉ of n. A rank that is rounded (as ValueAtQuantile's is) would say of 158 fast requests of 160 that
// 99 % were fast. 0 where it holds nothing.
func Quantile(h *hdrhistogram.Histogram, share float64) int64 {
	const parts = 100_000_000
	n := h.TotalCount()
	if n <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), uint64(min(max(math.Round(share*parts), 0), parts)))
	rank, rest := bits.Div64(hi, lo, parts)
	if rest > 0 {
		rank++
	}
	return h.ValueAtQuantile(100 * float64(max(rank, 1)) / float64(n)) // whose rank is rounded to this one
}

// TickQuantiles reads the quantiles of a Tick from the histogram of its latency, the largest of which is max µs: a
// bucket's upper edge may lie above it.
func TickQuantiles(h *hdrhistogram.Histogram, max int64) (p50, p99 int64) {
	return min(Quantile(h, 0.5), max), min(Quantile(h, 0.99), max)
}

// SameBucket reports whether a histogram made by NewHistogram counts two values, in µs, as one: values are told apart by
// their first eleven binary digits, which are HistogramDigits decimal ones and more.
func SameBucket(a, b int64) bool {
	const steps = 1 << 11
	a, b = min(max(a, HistogramMinMicros), HistogramMaxMicros), min(max(b, HistogramMinMicros), HistogramMaxMicros)
	for a >= steps || b >= steps {
		a, b = a>>1, b>>1
	}
	return a == b
}

// EncodeHistogram writes a histogram as HdrHistogram's V2 compressed format in base64.
func EncodeHistogram(h *hdrhistogram.Histogram) (string, error) {
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("encoding a latency histogram: %w", err)
	}
	return string(b), nil
}

// DecodeHistogram reads what EncodeHistogram wrote. It refuses text of another geometry, because quantiles of
// histograms are compared.
func DecodeHistogram(s string) (*hdrhistogram.Histogram, error) {
	if s == "" {
		return nil, errors.New("decoding a latency histogram: it is empty")
	}
	if len(s) > maxHistogramText {
		return nil, fmt.Errorf("decoding a latency histogram: %d bytes of text, more than the %d that one can have", len(s), maxHistogramText)
	}
	h, err := hdrhistogram.Decode([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("decoding a latency histogram: %w", err)
	}
	if h.LowestTrackableValue() != HistogramMinMicros || h.HighestTrackableValue() != HistogramMaxMicros || h.SignificantFigures() != HistogramDigits {
		return nil, fmt.Errorf("decoding a latency histogram: it spans %d to %d with %d digits, want %d to %d (µs) with %d",
			h.LowestTrackableValue(), h.HighestTrackableValue(), h.SignificantFigures(),
			HistogramMinMicros, int64(HistogramMaxMicros), HistogramDigits)
	}
	return h, nil
}
