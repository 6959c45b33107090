package loadgen

import (
	"context"
	"net/http"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// vegetaEngine sends a job by one vegeta attack.
func vegetaEngine(j job) error {
	tr := newTransport(j.mix, j.gauge, j.attack, j.stop, j.abort)
	defer tr.inner.CloseIdleConnections()
	attacker := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: tr}),
		vegeta.MaxWorkers(uint64(j.attack.Traffic.MaxInFlight)),
		vegeta.MaxBody(0), // read to the end, keep nothing
	)
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: j.attack.Base})
	results := attacker.Attack(target, &pacer{schedule: j.schedule, share: j.attack.Share, now: j.now, stop: j.stop}, 0, "")
	stopped := j.stop.Done()
	for {
		select {
		case r, ok := <-results:
			if !ok {
				return nil
			}
			n := j.attack.Share.nth(int64(r.Seq))
			out := result{n: n, intended: j.schedule.At(n), sent: r.Timestamp.Sub(j.attack.Start), code: int(r.Code), class: tr.failure(r.Seq), bytes: int64(r.BytesIn)}
			out.done = out.sent + r.Latency
			if r.Code == 0 && out.class == "" {
				out.class = classOther
			}
			j.recorder.record(0, out)
		case <-stopped:
			stopped = nil
			attacker.Stop()
		}
	}
}

// pacer releases request n at At(n). It waits by itself rather than let vegeta sleep, so that it can be stopped.
type pacer struct {
	schedule *Schedule
	share    Share
	now      func() time.Duration
	stop     context.Context
	timer    *time.Timer
}

// Pace implements vegeta.Pacer. The clock is that of Attack.Start, not vegeta's own, which began a moment later; a hit's
// Timestamp, taken after its release, minus Start is therefore its send time on the schedule's own axis, never before
// At.
func (p *pacer) Pace(_ time.Duration, hits uint64) (time.Duration, bool) {
	n := p.share.nth(int64(hits))
	if n >= p.schedule.Total() || p.stop.Err() != nil {
		return 0, true
	}
	wait := p.schedule.At(n) - p.now()
	if wait <= 0 {
		return 0, false
	}
	if p.timer == nil {
		p.timer = time.NewTimer(wait)
	} else {
		p.timer.Reset(wait)
	}
	select {
	case <-p.timer.C:
		return 0, false
	case <-p.stop.Done():
		p.timer.Stop()
		return 0, true
	}
}

// Rate implements vegeta.Pacer.
func (p *pacer) Rate(elapsed time.Duration) float64 { return p.schedule.Rate(elapsed) }
