// Package runner is the way of a run: it takes a scenario and a driver,
// brings up clusters for each mesh in turn, proves, loads, breaks and proves
// again, and leaves a folder with evidence, verdicts and reports.
//
//	scenario -> clusters -> mesh's objects -> proof windows "before"
//	         -> load ∥ faults ∥ scraping -> proof windows "after" -> clusters gone
//	         -> seal -> verify.Evaluate -> reports.Write
package runner
