package verify

import (
	"slices"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// run judges whether the trial went all its way, undisturbed by anything that it did not do itself, and whether its
// record is whole. It is the only check that can be ERROR.
func (x *trial) run(rec *evidence.Record) Check {
	c := Check{Kind: KindRun, Subject: "whole"}
	if e := x.events[evidence.EventSkipped]; len(e) > 0 {
		c.Verdict, c.Reason, c.Message, c.Used = Skipped, "NotPossibleHere", e[0].Message, refsOf(e...)
		return c
	}
	t := &tally{}
	if e := x.events[evidence.EventInterrupted]; len(e) > 0 {
		t.invalid("Interrupted", refsOf(e...), "the user stopped the run")
	}
	for _, k := range []struct{ kind, reason, what string }{
		{evidence.EventTrialStart, "NotRun", "the trial was not started"},
		{evidence.EventTrialEnd, "NotFinished", "the trial did not come to its end"},
	} {
		found := x.events[k.kind]
		switch {
		case len(found) == 0:
			t.invalid(k.reason, nil, "%s", k.what)
		case len(found) > 1:
			t.invalid(k.reason, refsOf(found...), "the trial has %d records of its %s, want 1", len(found), k.kind)
		}
		t.use(refsOf(found...)...)
	}
	for _, e := range x.events[evidence.EventAmbient] {
		t.invalid(reasonAmbient, refsOf(e), "%s", ambient(e))
	}
	for _, p := range rec.Problems {
		t.invalid("RecordNotWhole", nil, "the record is not whole: %s", p)
	}
	x.whole(t, evidence.Streams...)
	if _, err := dialectOf(x.entry); err != nil {
		t.invalid("UnknownMesh", nil, "%v", err)
	}
	// A UID never comes back: pods of another trial in this one's inventory mean that its evidence was made there.
	home := map[string]evidence.Trial{}
	for _, p := range rec.Pods {
		was, known := home[p.At.UID]
		if known && was != p.Trial && (was == x.id || p.Trial == x.id) {
			t.invalid("ForeignEvidence", refsOf(p), "pod %s with UID %s is in the inventories of trials %s and %s", podName(p.At), p.At.UID, was, p.Trial)
			break
		}
		home[p.At.UID] = p.Trial
	}
	x.restarts(t)
	x.ends(t)
	c.Verdict, c.Reason, c.Message, c.Used = t.judge("the trial went all its way, and its record is whole")
	if e := x.events[evidence.EventError]; len(e) > 0 {
		c.Verdict, c.Reason, c.Message, c.Used = Error, "EnvironmentFailed", e[0].Message, refsOf(e...)
	}
	return c
}

// restarts looks for proxies whose process was restarted without their pod: nobody here does that.
func (x *trial) restarts(t *tally) {
	type process struct{ uid, proxy string }
	first := map[process]*evidence.Scrape{}
	for _, s := range x.allScrapes {
		if s.Error != "" {
			continue
		}
		p, err := x.page(s)
		if err != nil {
			t.invalid("BadScrape", refsOf(s), "a metric page of pod %s: %v", podName(s.At), err)
			continue
		}
		k := process{s.At.UID, s.Proxy}
		was := first[k]
		if was == nil {
			first[k] = s
			continue
		}
		if q, _ := x.page(was); q.start != p.start {
			t.invalid("Restarted", refsOf(was, s), "the proxy of pod %s was restarted, and the run did not do it", podName(s.At))
			first[k] = s
		}
	}
}

// ends looks for pods that ended while the trial was at work, or that are missing from a later inventory, without a
// fault that killed them.
func (x *trial) ends(t *tally) {
	killed := map[string]bool{}
	for i := range x.s.Spec.Faults {
		f := &x.s.Spec.Faults[i]
		for _, r := range x.faults[f.Name] {
			if f.Kind == scenarios.PodKill && r.Action == evidence.FaultInject && r.UID != "" {
				killed[r.UID] = true
			}
		}
	}
	last := map[string]*evidence.Pod{}
	for _, p := range x.allPods {
		last[p.At.UID] = p
	}
	ends := x.events[evidence.EventWindowEnd]
	for _, e := range x.events[evidence.EventPodEnded] {
		// After the last window the trial takes its clusters down.
		if len(ends) > 0 && e.T.Before(ends[len(ends)-1].T) && !killed[e.At.UID] {
			t.invalid("PodEnded", refsOf(e), "pod %s ended, and the run did not do it: %s", podName(e.At), e.Message)
		}
	}
	rounds := append(slices.Clone(x.edge), x.rounds...) // of which the last is the last of all: the edge is asked first
	if len(rounds) == 0 {
		return
	}
	final := rounds[len(rounds)-1].Name
	for _, uid := range sortedKeys(last) {
		if p := last[uid]; !killed[uid] && p.Window != final {
			t.invalid("PodEnded", refsOf(p), "pod %s was there in window %q and is missing at the end, and the run did not do it", podName(p.At), p.Window)
		}
	}
}
