// Package evidence is the record of a run: what was sent, seen, injected and
// scraped, as versioned types with a writer, a reader and a seal.
//
// A record is a folder of append-only JSON Lines, one stream a kind of record,
// cut into segments, beside a manifest that is written first and a seal that
// is written last:
//
//	manifest.json           what was run: scenario, seed, versions, host
//	requests-0001.jsonl     each request as the workload that received it saw it
//	probes-0001.jsonl       each proof request as its client saw it
//	handshakes-0001.jsonl   certificate chains read from the wire
//	access-0001.jsonl       access log lines of the proxies
//	scrapes-0001.jsonl      raw metric pages with the time of the scrape
//	pods-0001.jsonl         pod inventories with their container lists
//	faults-0001.jsonl       injections, reverts and effect probes
//	ticks-0001.jsonl        offered and achieved load, one record a slice of time
//	phases-0001.jsonl       latency histograms, one record a phase of traffic
//	usage-0001.jsonl        what containers used, as kubelets say
//	events-0001.jsonl       windows, trust material, starts and ends
//	seal.json               sha256 of every file above
//
// Whoever produces records numbers them without gaps (Header.Src, Header.N),
// and says at the end how many there were (Event kind "producer-end"), so a
// lost record is seen as a loss and never as silence. Reading stops at the
// last whole line of a segment, so a record cut off by a crash still reads.
//
// Verdicts are a pure function of what this package reads: package verify takes
// a Record and nothing else.
package evidence
