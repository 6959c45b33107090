// Package charttest makes small Helm charts for tests.
package charttest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"testing"
)

// Packaged is a packaged chart with a name and a version, and one template.
func Packaged(t testing.TB, name, version string) []byte {
	t.Helper()
	return Archive(t, map[string]string{
		name + "/Chart.yaml":         "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n",
		name + "/templates/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: gate}\n",
	})
}

// Archive is a gzipped tar of files by path.
func Archive(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for path, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
