package kind

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ruleset = `# Warning: table ip nat is managed by iptables-nft, do not touch!
table ip nat {
	chain KUBE-SERVICES {
		ip daddr 10.97.0.1 tcp dport 443 counter jump KUBE-SVC-ABCDEFGHIJKLMNOP
	}
}
table inet somebodys {
	set blocked {
		type ipv4_addr
		elements = { 192.0.2.1 }
	}

	chain input {
		type filter hook input priority filter; policy accept;
		ip saddr @blocked drop
	}
}
table ip6 mangle {
	chain OUTPUT {
	}
}
`

func TestOfANodesTablesThoseThatIptablesDoesNotShowAreTaken(t *testing.T) {
	is := fingerprint{}
	readTables(is, "node n: ", ruleset)
	want := fingerprint{
		"node n: nftables inet somebodys": "set blocked {\ntype ipv4_addr\nelements = { 192.0.2.1 }\n}\nchain input {\n" +
			"type filter hook input priority filter; policy accept;\nip saddr @blocked drop\n}",
	}
	if d := cmp.Diff(want, is); d != "" {
		t.Error(d)
	}
}

func TestOfANodesSettingsThoseThatStayAreTaken(t *testing.T) {
	is := fingerprint{}
	readSysctls(is, "node n: ", "net.ipv4.ip_forward = 1\nnet.ipv4.tcp_rmem = 4096\t131072\t6291456\nnet.ipv4.conf.veth1a2b.rp_filter = 2\n"+
		"net.ipv4.conf.all.rp_filter = 0\nnet.netfilter.nf_conntrack_count = 77\nnet.netfilter.nf_conntrack_max = 131072\n")
	want := fingerprint{
		"node n: settings": "net.ipv4.conf.all.rp_filter=0\nnet.ipv4.ip_forward=1\nnet.ipv4.tcp_rmem=4096 131072 6291456\nnet.netfilter.nf_conntrack_max=131072",
	}
	if d := cmp.Diff(want, is); d != "" {
		t.Error(d)
	}
}

func FuzzReadKernel(f *testing.F) {
	f.Add(ruleset)
	f.Add("table \n}\n=")
	f.Fuzz(func(_ *testing.T, text string) {
		readTables(fingerprint{}, "", text)
		readSysctls(fingerprint{}, "", text)
	})
}
