package kind

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// clockSlack is how far a node's clock may be from the one of this process.
const clockSlack = 2 * time.Second

// nodeState is what the containers of nodes are: image, addresses, and that they run since then.
func nodeState(ctx context.Context, nodes []string) (fingerprint, bool, error) {
	out, err := Docker(ctx, append([]string{
		"inspect", "--format",
		"{{.Name}}\t{{.State.Status}}\tstarted {{.State.StartedAt}}\timage {{.Image}}\taddress{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}",
	}, nodes...)...)
	if err != nil {
		return nil, false, fmt.Errorf("looking at the nodes: %w", err)
	}
	is, running := fingerprint{}, true
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		is["node "+strings.TrimPrefix(f[0], "/")] = strings.Join(f[1:], "\n")
		running = running && len(f) > 1 && f[1] == "running"
	}
	return is, running, nil
}

// looks are the commands that show what is on a node, and how what they print is read.
var looks = []struct {
	args []string
	read func(is fingerprint, what, out string)
}{
	{[]string{"iptables-save"}, readRules("iptables")},
	{[]string{"ip6tables-save"}, readRules("ip6tables")},
	{[]string{"nft", "--stateless", "list", "ruleset"}, readTables},
	{[]string{"sysctl", "--all", "--ignore", "--pattern", `^net\.`}, readSysctls},
	{[]string{"ip", "-4", "route", "show", "table", "all"}, readLines("routes")},
	{[]string{"ip", "-4", "rule", "show"}, readLines("routing rules")},
	{[]string{"tc", "qdisc", "show"}, readLines("queueing disciplines")},
	{[]string{"find", agentOnNode, "/etc/cni/net.d", "-type", "f", "-exec", "sha256sum", "{}", "+"}, readSums},
	{[]string{"ctr", "--namespace", "k8s.io", "images", "list"}, readImages},
}

// looksAtOnce bounds how many of them are under way on a node.
const looksAtOnce = 4

// insideNode is what is on a node, beside its Kubernetes objects.
func insideNode(ctx context.Context, node string) (fingerprint, error) {
	said := make([]string, len(looks))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(looksAtOnce)
	for i, l := range looks {
		g.Go(func() (err error) {
			said[i], err = onNode(gctx, node, l.args...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	is := fingerprint{}
	for i, l := range looks {
		l.read(is, "node "+node+": ", said[i])
	}
	before := time.Now()
	out, err := onNode(ctx, node, "date", "+%s%N")
	if err != nil {
		return nil, err
	}
	clock, err := wrongClock(out, before, time.Now())
	if err != nil {
		return nil, fmt.Errorf("reading the clock of node %s: %w", node, err)
	}
	if clock != "" {
		is["node "+node+": clock"] = clock
	}
	return is, nil
}

// wrongClock compares what a node's clock said (nanoseconds) with when it was asked. It is "" where they agree.
func wrongClock(said string, before, after time.Time) (string, error) {
	ns, err := strconv.ParseInt(strings.TrimSpace(said), 10, 64)
	if err != nil {
		return "", err
	}
	t := time.Unix(0, ns)
	switch {
	case t.Before(before.Add(-clockSlack)):
		return fmt.Sprintf("%s behind this host's", before.Sub(t).Round(time.Second)), nil
	case t.After(after.Add(clockSlack)):
		return fmt.Sprintf("%s ahead of this host's", t.Sub(after).Round(time.Second)), nil
	}
	return "", nil
}

// ofPods finds what belongs to the interface of a single pod: these come and go with pods.
var ofPods = regexp.MustCompile(`\bdev veth\S+`)

// readLines takes lines in any order.
func readLines(name string) func(fingerprint, string, string) {
	return func(is fingerprint, what, out string) {
		var list []string
		for line := range strings.Lines(out) {
			if line = strings.Join(strings.Fields(line), " "); line != "" && !ofPods.MatchString(line) {
				list = append(list, line)
			}
		}
		slices.Sort(list)
		is[what+name] = strings.Join(list, "\n")
	}
}

// ofServices are the chains that kube-proxy keeps for each port and endpoint of a Service, and CNI's portmap for each
// pod: they come and go with pods. Rules that lead to them do not.
var ofServices = regexp.MustCompile(`^(KUBE-(SVC|SEP|EXT|FW|XLB|SVL)-[A-Z0-9]{16}|CNI-[0-9a-f]+|CNI-(DN|SN)-[0-9a-f]+)$`)

// readRules takes what iptables-save or ip6tables-save, named by tool, prints: the rules of each chain, in their order, and
// the policies of chains that let not everything pass. A chain without rules is nothing.
func readRules(tool string) func(fingerprint, string, string) {
	return func(is fingerprint, what, out string) {
		table := ""
		chains := map[string][]string{}
		for line := range strings.Lines(out) {
			line = strings.TrimSpace(line)
			f := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, "*"):
				table = line[1:]
			case strings.HasPrefix(line, ":") && len(f) > 1 && f[1] != "-" && f[1] != "ACCEPT":
				chain := table + " " + f[0][1:]
				chains[chain] = append(chains[chain], "policy "+f[1])
			case len(f) > 1 && f[0] == "-A" && !ofServices.MatchString(f[1]):
				chain := table + " " + f[1]
				chains[chain] = append(chains[chain], line)
			}
		}
		for chain, rules := range chains {
			if strings.Contains(chain, " KUBE-") { // kube-proxy writes a chain's rules in any order
				slices.Sort(rules)
			}
			is[what+tool+" "+chain] = strings.Join(rules, "\n")
		}
	}
}

// readSums takes what sha256sum says of files.
func readSums(is fingerprint, what, out string) {
	for line := range strings.Lines(out) {
		if sum, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			is[what+"file "+strings.TrimSpace(file)] = digestLine + sum
		}
	}
}

// readImages takes the images that a node has, by their names; their digests stand as names, too.
func readImages(is fingerprint, what, out string) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] == "REF" || strings.HasPrefix(f[0], "sha256:") || strings.HasPrefix(f[0], "import-") {
			continue
		}
		is[what+"image "+f[0]] = f[2]
	}
}

// insideNodes looks into several nodes at once.
func insideNodes(ctx context.Context, nodes []string) (fingerprint, error) {
	parts := make([]fingerprint, len(nodes))
	g, gctx := errgroup.WithContext(ctx)
	for i, n := range nodes {
		g.Go(func() (err error) {
			parts[i], err = insideNode(gctx, n)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	is := fingerprint{}
	for _, p := range parts {
		maps.Copy(is, p)
	}
	return is, nil
}

// fileSum is the SHA-256 of a file, in hex.
func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
