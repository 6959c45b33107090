package clusters

import "github.com/meshproof/meshproof/scenarios"

// Try is something that a kernel must be able to do for a fault, to be found out in a network namespace that is thrown
// away.
type Try struct {
	Command []string // fails where the kernel cannot
	Means   string   // what works, where it does
	Lacks   string   // what does not, where it fails
	Remedy  string
}

// Tries are what real clusters' nodes must be able to do for a fault, whoever carries it out. Each is tried by itself:
// what it made ends with its namespace.
func Tries(f scenarios.Fault) []Try {
	const loopback = "lo" // every namespace has it
	qdisc := func(name string, args ...string) Try {
		return Try{
			Command: append([]string{"tc", "qdisc", "add", "dev", loopback, "root", name}, args...),
			Means:   "packets can be scheduled by sch_" + name,
			Lacks:   "the kernel has no sch_" + name,
			Remedy:  "load the module sch_" + name + ", or use a kernel that has it",
		}
	}
	if f.By != scenarios.ByChaosMesh {
		switch f.Kind {
		case scenarios.NetworkDelay:
			return []Try{QueueTry()}
		case scenarios.Partition:
			return []Try{{
				Command: []string{"iptables", "-A", "FORWARD", "-s", "192.0.2.0/24", "-j", "DROP"},
				Means:   "iptables drops packets", Lacks: "iptables does not work", Remedy: "use a kernel with netfilter's filter table",
			}}
		}
		return nil
	}
	switch f.Kind {
	case scenarios.NetworkDelay, scenarios.NetworkLoss:
		// Between clusters Chaos Mesh sorts packets by their destination first.
		return []Try{qdisc("netem"), qdisc("prio")}
	case scenarios.NetworkBandwidth:
		return []Try{qdisc("tbf", "rate", "1mbit", "burst", "10000", "limit", "10000")}
	case scenarios.Partition:
		return []Try{
			{
				Command: []string{"ipset", "create", "meshproof", "hash:net"},
				Means:   "there are sets of addresses", Lacks: "the kernel has no ipset", Remedy: "load the module ip_set_hash_net, or use a kernel that has it",
			},
			{
				Command: []string{"iptables-legacy", "-A", "INPUT", "-s", "192.0.2.0/24", "-j", "DROP"},
				Means:   "iptables' legacy tables drop packets", Lacks: "the kernel has no legacy tables of iptables, which Chaos Mesh uses", Remedy: "load the module ip_tables, or use a kernel that has it",
			},
		}
	case scenarios.CPUStress, scenarios.MemoryStress:
		return []Try{{
			Command: []string{"test", "-e", "/sys/fs/cgroup/cgroup.controllers"},
			Means:   "control groups are of version 2", Lacks: "control groups are of version 1, and Chaos Mesh's stress does not find a container's where nodes are containers themselves", Remedy: "use a host with control groups of version 2",
		}}
	}
	return nil
}

// QueueTry is what latency between clusters takes; netem, which many kernels lack, is not needed.
func QueueTry() Try {
	return Try{
		Command: []string{"iptables", "-t", "mangle", "-A", "POSTROUTING", "-d", "192.0.2.1", "-j", "NFQUEUE", "--queue-num", "1"},
		Means:   "packets can be queued for a process", Lacks: "the kernel has no packet queue, by which latency between clusters is made",
		Remedy: "load the modules nfnetlink_queue and xt_NFQUEUE, or use a kernel that has them",
	}
}
