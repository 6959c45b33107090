package main

import (
	"flag"
	"io"

	"k8s.io/klog/v2"
)

// quietKlog takes what Kubernetes' libraries say of themselves off the terminal: it belongs into the log of a run, where
// the driver of real clusters sends it.
func quietKlog() {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	for name, v := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL", "one_output": "true"} {
		must(flags.Set(name, v))
	}
	klog.SetOutput(io.Discard)
}
