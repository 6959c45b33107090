package verify

import (
	"slices"

	"github.com/meshproof/meshproof/evidence"
)

// ownPod finds the record of a request that the pod which sent it answered itself, nil for every other. Where a mesh has
// no proxy on that way (traits.loopback), the request shows neither how the mesh refuses nor under which identity it lets in:
// nothing is proved by it, and nothing is disproved.
func (x *trial) ownPod(p *evidence.Probe) *evidence.Request {
	recs := x.requests[p.ID]
	if !x.d.traits().loopback || p.Status/100 != 2 || p.From.UID == "" || p.From.Service != p.To || len(recs) != 1 {
		return nil
	}
	if at := recs[0].At; at.UID != p.From.UID || at.Service != p.To {
		return nil
	}
	if peer, _, err := x.d.peer(recs[0]); peer != "" || err != nil {
		return nil // a proxy let it in after all
	}
	return recs[0]
}

// leaveOutOwn takes the requests that pods answered to themselves out of what witnesses count. They stay in asks and
// requests: that they were made is part of the plan.
func (x *trial) leaveOutOwn() {
	for window, asked := range x.asked {
		for _, p := range asked {
			rec := x.ownPod(p)
			if rec == nil {
				continue
			}
			k := edgeWindow{window: rec.Window, service: rec.At.Service}
			x.received[k] = slices.DeleteFunc(x.received[k], func(r evidenceRequest) bool { return r.Request == rec })
		}
		x.asked[window] = slices.DeleteFunc(asked, func(p *evidence.Probe) bool { return x.ownPod(p) != nil })
	}
}

// own splits off those requests that pods answered to themselves; each must have arrived as it was sent.
func (x *trial) own(t *tally, probes []*evidence.Probe) (others, own []*evidence.Probe) {
	for _, p := range probes {
		if x.ownPod(p) == nil {
			others = append(others, p)
			continue
		}
		x.heard(t, p)
		own = append(own, p)
	}
	return others, own
}

// ownOf counts the answered requests of an edge that pods answered to themselves, and the others.
func (x *trial) ownOf(e edge) (own, others int) {
	for _, r := range x.rounds {
		a, b := x.ownIn(r, e)
		own, others = own+a, others+b
	}
	return own, others
}

// ownIn is ownOf for one round.
func (x *trial) ownIn(r *round, e edge) (own, others int) {
	if e.from.Name != e.to.Name {
		return 0, 0
	}
	for _, a := range r.Asks {
		if a.From == e.from.Name && a.To == e.to.Name && a.Allowed {
			for _, p := range x.asks[cellWindow{r.Name, a.Cell}] {
				if x.ownPod(p) != nil {
					own++
				} else {
					others++
				}
			}
		}
	}
	return own, others
}

const (
	// reasonLoopback is why nothing can be told of a service that asks itself.
	reasonLoopback = "Loopback"
	onLoopback     = "answered by the very pod that asked: what a pod of this mesh sends to its own address meets no proxy"
)
