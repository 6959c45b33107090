package chart_test

import (
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/reports/chart"
)

func ExampleDots() {
	d := chart.Dots{
		ID: "latency", Title: "Latency", Desc: "Latency of one phase.", Axis: "latency", Marks: []string{"p50", "p99"}, Format: chart.Micros,
		Groups: []chart.Group{{Label: "spike", Rows: []chart.Row{{Label: "istio", Class: "s1", Values: []float64{4000, 124000}}}}},
	}
	fmt.Println(strings.HasPrefix(d.SVG(), "<svg "), strings.Contains(d.SVG(), "istio, p50 4 ms, p99 124 ms"))
	// Output: true true
}
