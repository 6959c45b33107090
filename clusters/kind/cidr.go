package kind

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// ranges are a cluster's addresses.
type ranges struct {
	pods, services netip.Prefix
}

// pickRanges finds ranges for n clusters, and one for the network of their nodes, that overlap with none of those in
// use: pods and services in /16s of 10.0.0.0/8, beginning far from where home and office networks do; the nodes'
// network, which the host itself has a route to, in a /24 of the last of them.
func pickRanges(n int, used []netip.Prefix) (list []ranges, nodes netip.Prefix, err error) {
	var free []netip.Prefix
	for second := 96; second < 250 && len(free) < 2*n+1; second++ {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second), 0, 0}), 16)
		if !overlaps(p, used) {
			free = append(free, p)
		}
	}
	if len(free) < 2*n+1 {
		return nil, netip.Prefix{}, fmt.Errorf("%d clusters want %d free ranges of addresses 10.N.0.0/16, N from 96 to 249, and the host has routes or Docker networks in all others but %d: remove some (ip route, docker network ls)",
			n, 2*n+1, len(free))
	}
	for i := range n {
		list = append(list, ranges{pods: free[2*i], services: free[2*i+1]})
	}
	return list, netip.PrefixFrom(free[2*n].Addr(), 24), nil
}

// gateway is the host's own address in a Docker network.
func gateway(network netip.Prefix) netip.Addr { return network.Masked().Addr().Next() }

func overlaps(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if u.Bits() > 0 && p.Overlaps(u) { // a default route overlaps with everything and is in nobody's way
			return true
		}
	}
	return false
}

// labelRanges marks the Docker network of a fleet with the ranges of its clusters, which nothing else on the host shows.
const labelRanges = "io.meshproof.ranges"

// networkTries bounds how often a fleet looks for ranges that nobody else takes at the same moment.
const networkTries = 10

// makeNetwork makes the Docker network of the fleet's nodes. Where another took the range since it was picked, others are
// picked.
func (f *fleet) makeNetwork(ctx context.Context, h *host) error {
	var refused []netip.Prefix
	for try := 1; ; try++ {
		var all []string
		for _, r := range h.addresses {
			all = append(all, r.pods.String(), r.services.String())
		}
		_, err := Docker(ctx, "network", "create", "--label", labelFleet+"="+f.spec.ID, "--label", labelRanges+"="+strings.Join(all, " "),
			"--subnet", h.network.String(), "--gateway", gateway(h.network).String(), prefix(f.spec.ID))
		if err == nil {
			return nil
		}
		if try == networkTries || !strings.Contains(err.Error(), "overlaps") && !strings.Contains(err.Error(), "conflicts with") {
			return fmt.Errorf("creating the network of the nodes: %w", err)
		}
		refused = append(refused, h.network)
		used, err := usedRanges(ctx)
		if err != nil {
			return err
		}
		if h.addresses, h.network, err = pickRanges(len(f.spec.Clusters), append(used, refused...)); err != nil {
			return err
		}
	}
}

// usedRanges are those of the host's IPv4 routes, of Docker's networks, those of other clusters' nodes among them, and of
// the clusters of other fleets.
func usedRanges(ctx context.Context) ([]netip.Prefix, error) {
	b, err := os.ReadFile("/proc/net/route")
	if err != nil && !os.IsNotExist(err) { // not Linux: Docker's machine is another one, with routes of its own
		return nil, fmt.Errorf("reading the host's routes: %w", err)
	}
	used, err := parseRoutes(string(b))
	if err != nil {
		return nil, fmt.Errorf("reading the host's routes: %w", err)
	}
	ids, err := Docker(ctx, "network", "ls", "--quiet")
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(ids)
	if len(fields) == 0 {
		return used, nil
	}
	// A network may go between the two commands; what Docker printed of the others holds.
	out, err := Docker(ctx, append([]string{
		"network", "inspect", "--format", `{{range .IPAM.Config}}{{.Subnet}} {{end}}{{index .Labels "` + labelRanges + `"}}`,
	}, fields...)...)
	if err != nil && strings.TrimSpace(out) == "" {
		return nil, err
	}
	for _, f := range strings.Fields(out) {
		if p, err := netip.ParsePrefix(f); err == nil && p.Addr().Is4() {
			used = append(used, p.Masked())
		}
	}
	return used, nil
}

// parseRoutes reads the destinations of the kernel's table of IPv4 routes (/proc/net/route): addresses are hexadecimal,
// in the byte order of the machine, which is little-endian wherever Docker runs but on s390x.
func parseRoutes(text string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	sc := bufio.NewScanner(strings.NewReader(text))
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 8 || f[0] == "Iface" {
			continue
		}
		addr, err := hexAddr(f[1])
		if err != nil {
			return nil, err
		}
		mask, err := hexAddr(f[7])
		if err != nil {
			return nil, err
		}
		bits := 0
		for m := binary.BigEndian.Uint32(mask.AsSlice()); m&(1<<31) != 0; m <<= 1 {
			bits++
		}
		list = append(list, netip.PrefixFrom(addr, bits).Masked())
	}
	return list, sc.Err()
}

func hexAddr(text string) (netip.Addr, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 4 {
		return netip.Addr{}, fmt.Errorf("%q is no address", text)
	}
	return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}), nil
}
