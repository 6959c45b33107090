package bundle

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxChartFile bounds what is read of one file of a chart, in bytes; Helm has a bound of the same size.
const maxChartFile = 5 << 20

// ChartInfo is what a bundle needs to know of a chart.
type ChartInfo struct {
	APIVersion string `json:"apiVersion"`
	Name       string `json:"name"`
	Version    string `json:"version"`
}

// ReadChart reads name and version of a packaged chart, and thereby whether it is one.
func ReadChart(r io.Reader) (ChartInfo, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return ChartInfo{}, fmt.Errorf("not a packaged chart: %w", err)
	}
	var info ChartInfo
	found := false
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return ChartInfo{}, fmt.Errorf("not a packaged chart: %w", err)
		}
		if folder, file := path.Split(path.Clean(h.Name)); file != "Chart.yaml" || strings.Count(folder, "/") != 1 {
			continue // a chart that it depends on lies deeper
		}
		text, err := io.ReadAll(io.LimitReader(t, maxChartFile))
		if err != nil {
			return ChartInfo{}, fmt.Errorf("reading %s: %w", h.Name, err)
		}
		if err := yaml.Unmarshal(text, &info); err != nil {
			return ChartInfo{}, fmt.Errorf("reading %s: %w", h.Name, err)
		}
		found = true
	}
	switch {
	case !found:
		return ChartInfo{}, errors.New("not a packaged chart: there is no Chart.yaml in its first folder")
	case info.Name == "" || info.Version == "" || info.APIVersion == "":
		return ChartInfo{}, errors.New("not a packaged chart: its Chart.yaml lacks apiVersion, name or version")
	case !partName.MatchString(info.Name):
		return ChartInfo{}, fmt.Errorf("the chart's name %q: want lower-case letters, digits, dots and dashes", info.Name)
	}
	return info, nil
}

// PutChart writes a packaged chart into the bundle in dir, as the part "chart-" and its name. open gives its content
// from the beginning, each time. inputs is as Part.Inputs.
func PutChart(ctx context.Context, dir, source, inputs string, open func() (io.ReadCloser, error)) (Part, error) {
	r, err := open()
	if err != nil {
		return Part{}, fmt.Errorf("reading the chart %s: %w", source, err)
	}
	info, err := ReadChart(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return Part{}, fmt.Errorf("reading the chart %s: %w", source, err)
	}
	p := Part{
		Name: "chart-" + info.Name, Kind: Chart, Version: info.Version, Source: source, Inputs: inputs,
		File: "charts/" + info.Name + ".tgz",
	}
	return Put(ctx, dir, p, func(w io.Writer) error {
		r, err := open()
		if err != nil {
			return err
		}
		_, err = io.Copy(w, r)
		return errors.Join(err, r.Close())
	})
}
