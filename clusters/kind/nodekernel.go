package kind

import (
	"regexp"
	"slices"
	"strings"
)

// ofIptables are the tables in which iptables keeps its rules, which it shows itself.
var ofIptables = regexp.MustCompile(`^ip6? (filter|nat|mangle|raw|security)$`)

// readTables takes the tables of nftables that somebody made by its own means, as `nft --stateless list ruleset` shows them.
func readTables(is fingerprint, what, out string) {
	name := ""
	var text []string
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, " \n")
		switch begins, ok := strings.CutPrefix(line, "table "); {
		case ok:
			name, text = strings.TrimSuffix(begins, " {"), nil
		case name == "": // between tables
		case line == "}":
			if !ofIptables.MatchString(name) {
				is[what+"nftables "+name] = strings.Join(text, "\n")
			}
			name = ""
		case strings.TrimSpace(line) != "":
			text = append(text, strings.TrimSpace(line))
		}
	}
}

// bySystem are the settings of the network that a node changes by itself, that its pods' interfaces bring and take, and
// that are secrets.
var bySystem = regexp.MustCompile(`^net\.(netfilter\.nf_conntrack_count|.*\.veth[^.]*\..*|ipv4\.tcp_fastopen_key|core\.netdev_rss_key|.*\.stable_secret)$`)

// readSysctls takes the settings of a node's network.
func readSysctls(is fingerprint, what, out string) {
	var list []string
	for line := range strings.Lines(out) {
		key, value, ok := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); ok && !bySystem.MatchString(key) {
			list = append(list, key+"="+strings.Join(strings.Fields(value), " "))
		}
	}
	slices.Sort(list)
	is[what+"settings"] = strings.Join(list, "\n")
}
