package kind

import (
	"bytes"
	"io"
	"log/slog"

	"k8s.io/klog/v2"
)

// takeKlog sends what Kubernetes' libraries say of themselves to the fleet's log, until leaveKlog. They know one output for
// the whole process, which main has told them to use instead of stderr: that is no matter of a package's.
func (f *fleet) takeKlog() { klog.SetOutput(saidBy{f.log.With("by", "klog")}) }

func leaveKlog() { klog.SetOutput(io.Discard) }

// saidBy writes lines to a log.
type saidBy struct{ log *slog.Logger }

func (s saidBy) Write(text []byte) (int, error) {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			s.log.Debug(string(line))
		}
	}
	return len(text), nil
}
