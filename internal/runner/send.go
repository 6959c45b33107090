package runner

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workers"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/scenarios"
)

// checkWorkers finds out whether so many processes can send the scenario's traffic in a mesh.
func checkWorkers(o Options, e scenarios.MeshEntry) error {
	if o.Workers <= 1 {
		return nil
	}
	for _, tr := range o.Scenario.Spec.Traffic {
		if err := workers.Check(o.Workers, loadgen.Attack{Traffic: tr}); err != nil {
			return fmt.Errorf("traffic %s: %w", tr.Name, err)
		}
	}
	return checkLoads(o.Scenario, e, o.Provider, o.Workers)
}

// staff gets the workers of an attack ready, where it has several: here, or in the pod that sends it, which does so when
// it is ordered.
func (r *run) staff(ctx context.Context, a *attack) error {
	switch {
	case r.Workers <= 1:
		return nil
	case !a.ingress:
		a.Workers = r.Workers
		return nil
	}
	var err error
	a.team, err = workers.Ready(ctx, r.Workers, r.Worker, a.Attack, workers.TLS{})
	return err
}

// send sends a traffic. A sender that is lost is evidence: of what it sent last nothing can be proved, of all else it can.
func (r *run) send(ctx context.Context, fleet clusters.Fleet, a attack) error {
	progress := func(p loadgen.Progress) { r.board.load(a.Traffic.Name, p) }
	var (
		err  error
		loss *workers.Loss
	)
	switch {
	case a.team != nil:
		loss, err = a.team.Send(ctx, a.Start, r.sink(), progress)
	case a.ingress:
		err = loadgen.Run(ctx, a.Attack, r.sink(), progress)
	default:
		err = fleet.Cluster(a.Traffic.Cluster).Attack(ctx, a.from, a.Attack, progress)
	}
	lost := &evidence.Event{
		Header: evidence.Header{Trial: a.Trial, Src: "runner"}, Kind: evidence.EventSenderLost, Name: a.Traffic.Name, At: a.from.PodRef,
	}
	var sender *clusters.LostSender
	switch {
	case loss != nil && err == nil:
		lost.Message = strings.Join(loss.Why, "; ")
		lost.Data = map[string]string{evidence.SenderWhole: strconv.FormatInt(loss.Whole.Microseconds(), 10)}
	case errors.As(err, &sender):
		lost.Message = err.Error()
		lost.Data = map[string]string{evidence.SenderWhole: strconv.FormatInt(sender.Whole.Microseconds(), 10)}
	case errors.Is(err, clusters.ErrSenderLost):
		lost.Message = err.Error()
	case err != nil:
		return fmt.Errorf("traffic %s: %w", a.Traffic.Name, err)
	default:
		return nil
	}
	r.log.Error("sender lost", "trial", a.Trial, "traffic", a.Traffic.Name, "error", lost.Message)
	return r.writer.Append(lost)
}

// sink takes evidence, and shows it to who watches.
func (r *run) sink() evidence.Sink {
	if r.watch == nil {
		return r.writer
	}
	return watched{r.writer, r.watch}
}

// watched is a sink whose loads somebody watches.
type watched struct {
	evidence.Sink
	by evidence.Sink
}

// Append implements evidence.Sink.
func (w watched) Append(item evidence.Item) error {
	if err := w.Sink.Append(item); err != nil {
		return err
	}
	switch item.(type) {
	case *evidence.Tick, *evidence.Phase:
		return w.by.Append(item)
	}
	return nil
}
