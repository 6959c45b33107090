package clusters

import (
	"context"
	"errors"

	"github.com/meshproof/meshproof/scenarios"
)

// Injector is implemented by fleets in which a tool, Chaos Mesh, carries faults out: those whose By names it.
type Injector interface {
	// Injector names the tool with its version. The error wraps ErrNotPossible where the fault is known to be impossible
	// here, as was found out by trying when the fleet was made.
	Injector(f scenarios.Fault) (string, error)
	// Inject carries a fault out, and returns when the tool says that it holds everywhere: in these pods, or, for a fault
	// between clusters, in all that there are. Calling revert again is possible; its error wraps ErrForced where the tool
	// did not take the fault back in time and was made to forget it, so that only a probe can tell whether it still holds.
	// So does the error of an injection that failed. A pod-kill is reverted once it is done, too, which brings nobody back.
	Inject(ctx context.Context, f scenarios.Fault, pods []Pod) (revert func(context.Context) error, err error)
	// Read reads once what a fault in pods changes about one of them, past every mesh, in the unit of
	// scenarios.Fault.Shows; for cpu-stress, the time of processors that its workload has used so far, in microseconds.
	Read(ctx context.Context, f scenarios.Fault, pod Pod) (int64, error)
}

// ErrForced is wrapped by errors about a fault that the tool which carried it out did not take back in time. Nothing of
// the tool's own is left of it.
var ErrForced = errors.New("the fault was not taken back in time, and the tool was made to forget it")
