package kind

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// routes is what a Linux host with a default route, a home network and Docker's bridge has.
const routes = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	0	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
vpn0	0000600A	00000000	0001	0	0	0	0000FEFF	0	0	0
`

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func TestTheKernelsRoutesAreRead(t *testing.T) {
	got, err := parseRoutes(routes)
	want := prefixes("0.0.0.0/0", "192.168.1.0/24", "172.17.0.0/16", "10.96.0.0/15")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("parseRoutes = %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"eth0 0001A8 0 1 0 0 0 00FFFFFF 0 0 0", "eth0 0001A8C0 0 1 0 0 0 zz 0 0 0"} {
		if got, err := parseRoutes(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func FuzzParseRoutes(f *testing.F) {
	f.Add(routes)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseRoutes(text)
		for _, p := range list {
			if err == nil && !p.IsValid() {
				t.Errorf("%v", p)
			}
		}
	})
}

func TestClustersGetRangesThatNobodyUses(t *testing.T) {
	used := prefixes("0.0.0.0/0", "10.96.0.0/15", "10.99.7.0/24", "172.17.0.0/16")
	list, nodes, err := pickRanges(2, used)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		got = append(got, r.pods.String(), r.services.String())
	}
	got = append(got, nodes.String())
	if d := cmp.Diff([]string{"10.98.0.0/16", "10.100.0.0/16", "10.101.0.0/16", "10.102.0.0/16", "10.103.0.0/24"}, got); d != "" {
		t.Error(d)
	}
}

func TestWhereTheHostUsesEveryRangeTheErrorSaysSo(t *testing.T) {
	if _, _, err := pickRanges(2, prefixes("10.0.0.0/8")); err == nil || !strings.Contains(err.Error(), "ip route") {
		t.Errorf("pickRanges: %v", err)
	}
}
