package main

import (
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/rogpeppe/go-internal/testscript"
)

// layoutOf is the script command "layout DIR REF": an OCI image layout with an image under a reference.
func layoutOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: layout DIR REF")
	}
	img, err := random.Image(1024, 1)
	ts.Check(err)
	img, err = mutate.ConfigFile(img, config(ts, img))
	ts.Check(err)
	path, err := layout.Write(ts.MkAbs(args[0]), empty.Index)
	ts.Check(err)
	ts.Check(path.AppendImage(img, layout.WithAnnotations(map[string]string{"io.containerd.image.name": args[1]})))
}

// config is an image's configuration, for this machine.
func config(ts *testscript.TestScript, img v1.Image) *v1.ConfigFile {
	c, err := img.ConfigFile()
	ts.Check(err)
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", runtime.GOARCH
	return c
}
