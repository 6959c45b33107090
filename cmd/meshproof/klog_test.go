package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

func TestWhatKubernetesLibrariesSayIsNotOnTheTerminal(t *testing.T) {
	quietKlog()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	terminal := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = terminal }()
	var log bytes.Buffer
	klog.SetOutput(&log)
	defer klog.SetOutput(io.Discard)
	klog.Info("something")
	klog.Error("worse")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	shown, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(shown) > 0 {
		t.Errorf("on stderr: %s", shown)
	}
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "something") || !strings.Contains(got, "worse") {
		t.Errorf("the output has %q", got)
	}
}
