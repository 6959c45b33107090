package telemetry

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// edges are the upper edges of the classic histogram's buckets, in seconds.
var edges = []float64{
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
}

// schema is the native histogram's: the edges of its buckets are the powers of 2^(2^-schema), 9 % apart.
const schema = 3

// histogram is a latency histogram as Prometheus has it, with classic and native buckets at once.
type histogram struct {
	desc  *prometheus.Desc
	value *dto.Histogram
	label []*dto.LabelPair
}

// newHistogram turns a histogram of µs into one of seconds. A latency is counted at the upper end of its HDR bucket, which
// is at most 0.1 % above it.
func newHistogram(desc *prometheus.Desc, labels, values []string, h *hdrhistogram.Histogram) *histogram {
	out := &dto.Histogram{Schema: proto.Int32(schema), ZeroThreshold: proto.Float64(0), ZeroCount: proto.Uint64(0)}
	classic := make([]uint64, len(edges))
	native := map[int]int64{}
	count, sum := uint64(0), 0.0
	for _, b := range h.Distribution() {
		if b.Count == 0 {
			continue
		}
		v := float64(b.To) / 1e6
		count += uint64(b.Count)
		sum += v * float64(b.Count)
		// The bucket of index i reaches from 2^((i-1)/8), not included, to 2^(i/8).
		native[int(math.Ceil(math.Log2(v)*(1<<schema)))] += b.Count
		for i, e := range edges {
			if v <= e {
				classic[i] += uint64(b.Count)
			}
		}
	}
	out.SampleCount, out.SampleSum = proto.Uint64(count), proto.Float64(sum)
	for i, e := range edges {
		out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: proto.Float64(e), CumulativeCount: proto.Uint64(classic[i])})
	}
	last, was := 0, int64(0)
	for n, i := range slices.Sorted(maps.Keys(native)) {
		if n == 0 || i != last+1 {
			gap := i
			if n > 0 {
				gap = i - last - 1
			}
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: proto.Int32(int32(gap)), Length: proto.Uint32(0)})
		}
		s := out.PositiveSpan[len(out.PositiveSpan)-1]
		*s.Length++
		out.PositiveDelta = append(out.PositiveDelta, native[i]-was)
		last, was = i, native[i]
	}
	if len(out.PositiveSpan) == 0 { // or else it would not be known as a native one
		out.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}
	}
	pairs := make([]*dto.LabelPair, len(labels))
	for i, name := range labels {
		pairs[i] = &dto.LabelPair{Name: proto.String(name), Value: proto.String(values[i])}
	}
	slices.SortFunc(pairs, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return &histogram{desc: desc, value: out, label: pairs}
}

// Desc implements prometheus.Metric.
func (h *histogram) Desc() *prometheus.Desc { return h.desc }

// Write implements prometheus.Metric.
func (h *histogram) Write(out *dto.Metric) error {
	out.Histogram, out.Label = h.value, h.label
	return nil
}
