package istio

import (
	"context"
	"time"

	networkingapi "istio.io/api/networking/v1alpha3"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// fault is what a route does to a share of its requests before anything is sent, as Envoy's fault filter does. Shares are
// millionths, as in Envoy.
type fault struct {
	delay                  time.Duration
	delayShare, abortShare int
	status                 int
}

const million = 1_000_000

func newFault(in *networkingapi.HTTPFaultInjection) fault {
	var f fault
	if d := in.GetDelay(); d != nil {
		f.delay, f.delayShare = d.GetFixedDelay().AsDuration(), millionths(d.GetPercentage())
	}
	if a := in.GetAbort(); a != nil {
		f.status, f.abortShare = int(a.GetHttpStatus()), millionths(a.GetPercentage())
	}
	return f
}

// millionths reads a percentage; without one a fault hits every request.
func millionths(p *networkingapi.Percent) int {
	if p == nil {
		return million
	}
	return int(p.GetValue() * million / 100)
}

// suffer holds a request back, and answers it, as a route's fault has it. It reports false where nothing is to be sent.
func (o *outboundRequest) suffer(ctx context.Context, f fault) bool {
	if f.delayShare > 0 && o.dice.Draw(million) < f.delayShare && !relay.Sleep(ctx, f.delay) {
		o.gone()
	}
	if f.abortShare > 0 && o.dice.Draw(million) < f.abortShare {
		o.fail(f.status, "FI", "fault filter abort")
		return false
	}
	return true
}

func (r *report) fault(path string, f *networkingapi.HTTPFaultInjection) {
	percentage := func(at string, p *networkingapi.Percent) {
		if v := p.GetValue(); v < 0 || v > 100 {
			r.Refuse(at+".percentage.value", "%g is no percentage; %s", v, byIstiod)
		}
	}
	if a := f.GetAbort(); a != nil {
		percentage(path+".abort", a.GetPercentage())
		if h, ok := a.GetErrorType().(*networkingapi.HTTPFaultInjection_Abort_HttpStatus); ok && (h.HttpStatus < 200 || h.HttpStatus > 599) {
			r.Refuse(path+".abort.httpStatus", "%d is no status; %s", h.HttpStatus, byIstiod)
		}
	}
	if d := f.GetDelay(); d != nil {
		percentage(path+".delay", d.GetPercentage())
		if h, ok := d.GetHttpDelayType().(*networkingapi.HTTPFaultInjection_Delay_FixedDelay); ok && h.FixedDelay.AsDuration() < time.Millisecond {
			r.Refuse(path+".delay.fixedDelay", "it is less than 1ms; %s", byIstiod)
		}
	}
}
