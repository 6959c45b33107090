// Package chart draws the pictures of a report as SVG: stacked panels over
// time with fault bands (Timeline), quantiles by group on a logarithmic scale
// (Dots), latency by time (Heat), and quantiles as curves (Quantiles).
//
// A chart carries no colours of its own. Every mark has a class, and CSS holds
// the rules that give classes their colours from custom properties, so one
// picture serves a light page, a dark page and paper. There is no inline style
// either: the pictures work under a content security policy that forbids it.
//
// The same chart value always gives the same bytes.
package chart
