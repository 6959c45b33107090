package scenarios

import (
	"testing"
	"time"
)

func TestAReadingShowsAnEffectOrThatThereIsNoneOrNeither(t *testing.T) {
	const mib = 1 << 20
	narrow := Fault{Kind: NetworkBandwidth, BitsPerSecond: 1_000_000}
	busy := Fault{Kind: CPUStress, Workers: 2}
	full := Fault{Kind: MemoryStress, MemoryMiB: 100}
	early := Fault{Kind: ClockSkew, Ahead: Duration(10 * time.Second)}
	aborts := Fault{Kind: MeshAbort, Status: 503, Share: 1}
	holds := Fault{Kind: MeshDelay, Delay: Duration(100 * time.Millisecond), Share: 1}
	nameless := Fault{Kind: DNSError}
	for name, c := range map[string]struct {
		f               Fault
		before, reading int64
		shows, gone     bool
	}{
		"a limited line":                  {narrow, 90_000_000, 980_000, true, false},
		"a line a little above its limit": {narrow, 90_000_000, 1_200_000, true, false},
		"a line that may be limited":      {narrow, 90_000_000, 1_400_000, false, false},
		"a free line":                     {narrow, 90_000_000, 2_000_000, false, true},
		"a line that was slow before":     {narrow, 800_000, 800_000, true, false},
		"a busy processor":                {busy, 40, 1040, true, false},
		"a somewhat busy processor":       {busy, 40, 400, false, false},
		"an idle processor":               {busy, 40, 60, false, true},
		"memory taken":                    {full, 20 * mib, 118 * mib, true, false},
		"half of it":                      {full, 20 * mib, 70 * mib, false, false},
		"none of it":                      {full, 20 * mib, 22 * mib, false, true},
		"a clock ahead":                   {early, 300, 10_000_200, true, false},
		"a clock too far ahead":           {early, 300, 13_000_000, false, false},
		"a clock that is right":           {early, 300, 900, false, true},
		"a clock behind":                  {early, 300, -10_000_000, false, false},
		"a name that resolves":            {nameless, 1, 1, false, true},
		"a name that doesn't":             {nameless, 1, 0, true, false},
		"an answer of the fault":          {aborts, 200, 503, true, false},
		"another error":                   {aborts, 200, 500, false, false},
		"a good answer":                   {aborts, 200, 200, false, true},
		"a late answer":                   {holds, 2000, 83_000, true, false},
		"a somewhat late answer":          {holds, 2000, 60_000, false, false},
		"an answer in time":               {holds, 2000, 9_000, false, true},
		"a fault with other probes":       {Fault{Kind: Partition}, 1, 0, false, false},
	} {
		if shows, gone := c.f.Shows(c.before, c.reading); shows != c.shows || gone != c.gone {
			t.Errorf("%s: shows %v, gone %v, want %v and %v", name, shows, gone, c.shows, c.gone)
		}
	}
}

func TestTheSmallerAShareTheMoreRequestsMustShowNothing(t *testing.T) {
	for share, want := range map[float64]int{1: 3, 0.5: 6, 0.01: 300, 0: 1} {
		if got := (&Fault{Share: share}).Unhit(); got != want {
			t.Errorf("share %g: %d requests, want %d", share, got, want)
		}
	}
}
