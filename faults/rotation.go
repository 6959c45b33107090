package faults

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	// rotationPause lies between two looks at the certificates that are still the old ones.
	rotationPause = 200 * time.Millisecond
	// handshakesAtOnce bounds the handshakes that are under way at once.
	handshakesAtOnce = 4
)

// rotationWatch looks at what every pod of a rotation's target serves, by new handshakes.
type rotationWatch struct {
	fault   *fault
	cluster clusters.Cluster
	pods    []*servingPod
}

// servingPod is a pod with the certificate that it served before the rotation.
type servingPod struct {
	clusters.Pod
	was     string // what tells the old certificate; empty where none was read
	changed bool
	plain   bool // it does not speak TLS
}

// rotation gives a cluster another issuer, or waits for the certificates to be renewed, which breaks nothing. Its effect:
// each pod of the target serves another certificate in a new handshake, or one of another issuer. It is over when all do,
// or when they have been watched for as long as the plan says.
func (f *fault) rotation(ctx context.Context) error {
	if !sleepUntil(ctx, f.at.Add(-Lead)) {
		return nil
	}
	w := &rotationWatch{fault: f, cluster: f.env.Fleet.Cluster(f.plan.Target.Cluster)}
	if w.cluster == nil {
		return f.failed(fmt.Errorf("there is no cluster %q", f.plan.Target.Cluster))
	}
	if ok, err := w.before(ctx); !ok || err != nil || ctx.Err() != nil {
		return err
	}
	switch {
	case len(w.pods) == 0:
		return f.failed(fmt.Errorf("there is no pod of %s whose certificate could change", f.plan.target()))
	case !slices.ContainsFunc(w.pods, func(p *servingPod) bool { return !p.plain }):
		return f.skipped(fmt.Errorf("no pod of %s speaks TLS: there is no certificate that could change", f.plan.target()))
	}
	if !sleepUntil(ctx, f.at) {
		return nil
	}
	began := time.Now()
	if f.plan.Kind == scenarios.IssuerRotation {
		if ok, err := w.newIssuer(ctx); !ok || err != nil {
			return err
		}
	} else if err := f.step(evidence.FaultInject); err != nil {
		return err
	}
	f.changed(true)
	defer f.changed(false)
	if err := f.step(evidence.FaultInjected); err != nil {
		return err
	}
	if err := w.until(ctx, began.Add(f.plan.Within)); err != nil || ctx.Err() != nil {
		return err
	}
	return f.step(evidence.FaultReverted)
}

// newIssuer hands the control plane its new issuer. It is never taken back: a control plane does not go back to one.
func (w *rotationWatch) newIssuer(ctx context.Context) (bool, error) {
	f := w.fault
	settle, err := f.intend("another issuer for cluster "+f.plan.Target.Cluster, map[string]string{"cluster": f.plan.Target.Cluster})
	if err != nil {
		return false, err
	}
	if err := f.step(evidence.FaultInject); err != nil {
		return false, errors.Join(err, settle()) // nothing was changed
	}
	err = w.cluster.RotateIssuer(ctx)
	switch {
	case errors.Is(err, clusters.ErrNotPossible):
		return false, errors.Join(f.skipped(err), settle())
	case err != nil && ctx.Err() != nil:
		return false, settle() // the clusters go with whatever issuer they have
	case err != nil:
		return false, errors.Join(f.failed(fmt.Errorf("rotating the issuer: %w", err)), settle())
	}
	return true, settle()
}

// before reads the certificate of every pod, once and, where that fails, again until the rotation is due. It reports false
// where it could not, which it has recorded.
func (w *rotationWatch) before(ctx context.Context) (bool, error) {
	pods, err := w.cluster.Pods(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, w.fault.failed(fmt.Errorf("listing the pods of cluster %s: %w", w.fault.plan.Target.Cluster, err))
	}
	for _, p := range pods {
		if slices.Contains(w.fault.plan.Services, p.Service) {
			w.pods = append(w.pods, &servingPod{Pod: p})
		}
	}
	unknown := w.pods
	for {
		if err := w.look(ctx, unknown, func(p *servingPod, tells string, plain bool) { p.was, p.plain = tells, plain }); err != nil || ctx.Err() != nil {
			return false, err
		}
		unknown = slices.DeleteFunc(slices.Clone(w.pods), func(p *servingPod) bool { return p.was != "" || p.plain })
		if len(unknown) == 0 || !time.Now().Add(rotationPause).Before(w.fault.at) {
			return true, nil
		}
		sleep(ctx, rotationPause)
	}
}

// until looks at the pods that still serve the old certificate until none does, or until a moment at which each was seen
// to; and then at all of them once more.
func (w *rotationWatch) until(ctx context.Context, deadline time.Time) error {
	for ctx.Err() == nil {
		began := time.Now()
		old := slices.DeleteFunc(slices.Clone(w.pods), func(p *servingPod) bool { return p.changed })
		if err := w.look(ctx, old, func(p *servingPod, tells string, _ bool) { p.changed = tells != "" && p.was != "" && tells != p.was }); err != nil {
			return err
		}
		done := !slices.ContainsFunc(w.pods, func(p *servingPod) bool { return !p.changed })
		if done || !began.Before(deadline) {
			break
		}
		sleep(ctx, min(rotationPause, max(0, time.Until(deadline))))
	}
	return w.look(ctx, w.pods, func(*servingPod, string, bool) {})
}

// look makes a new handshake with each of the pods, and records it. note is told what tells the certificate that was
// served, empty where none was read, and whether the pod does not speak TLS at all; never twice at once for one pod.
func (w *rotationWatch) look(ctx context.Context, pods []*servingPod, note func(p *servingPod, tells string, plain bool)) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(handshakesAtOnce)
	for _, p := range pods {
		g.Go(func() error {
			name, start := w.fault.env.ServerName(p.Service), time.Now()
			res := w.cluster.Handshake(gctx, p.Pod, name)
			if gctx.Err() != nil {
				return nil // what was cut off shows nothing
			}
			note(p, w.tells(res), res.Error == "not TLS")
			err := w.fault.env.Sink.Append(&evidence.Handshake{
				Header: evidence.Header{Trial: w.fault.env.Trial, Src: src, T: start.UTC()},
				Window: scenarios.RotationWindow(w.fault.plan.Name), At: p.PodRef, ServerName: name, Version: res.Version,
				Cipher: res.Cipher, Chain: res.Chain, Resumed: res.Resumed, Error: res.Error,
			})
			if err != nil {
				return fmt.Errorf("recording a handshake: %w", err)
			}
			return nil
		})
	}
	return g.Wait()
}

// tells is what tells a certificate from the one of before: its serial number, or who issued it.
func (w *rotationWatch) tells(res clusters.HandshakeResult) string {
	if len(res.Chain) == 0 {
		return ""
	}
	leaf, err := x509.ParseCertificate(res.Chain[0])
	switch {
	case err != nil:
		return ""
	case w.fault.plan.Kind == scenarios.IssuerRotation:
		return leaf.Issuer.String() + " " + string(leaf.AuthorityKeyId)
	}
	return leaf.SerialNumber.String()
}
