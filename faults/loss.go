package faults

import "fmt"

// networkLoss loses a share of the packets between two clusters, in each direction. Its effect: TCP sends what is lost
// again, after 200 ms or more (RFC 6298), so a share of the round trips has no answer by then.
func networkLoss(p Planned) linkKind {
	// What was lost is not waited for: an attempt must only be longer than one that loses nothing.
	attempt := max(minAttempt, 12*p.Latency)
	return linkKind{what: fmt.Sprintf("%g of all packets are lost", p.Share), sample: attempt, attempt: attempt}
}
