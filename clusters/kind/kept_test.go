package kind

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/clusters"
)

// fakeDocker puts a docker command on the PATH that is a shell script. It finds its arguments in "$*", and may write into
// the folder that is returned.
func fakeDocker(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\ncd '" + dir + "'\necho \"$*\" >> calls\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return dir
}

// keptOf is a fleet as it was kept.
func keptOf(names ...string) keptFile {
	k := keptFile{Version: keptVersion, Since: time.Unix(1e9, 0).UTC(), Mesh: meshNone, Image: "sha256:1", Network: netip.MustParsePrefix("10.100.0.0/24"), State: fingerprint{"a": "b"}}
	for _, n := range names {
		k.Clusters = append(k.Clusters, keptCluster{Name: n, Nodes: 1, Pods: netip.MustParsePrefix("10.96.0.0/16"), Services: netip.MustParsePrefix("10.97.0.0/16"), OwnCNI: true})
	}
	return k
}

func put(t *testing.T, state, id string, k keptFile) string {
	t.Helper()
	dir := filepath.Join(state, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := k.write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAKeptFleetIsReadAsItWasWritten(t *testing.T) {
	want := keptOf("east", "west")
	want.Mesh, want.Releases, want.Bare = "istio", []keptRelease{{"istio-system", "istiod"}}, fingerprint{"c": "d"}
	dir := put(t, t.TempDir(), "abcdef", want)
	got, err := readKept(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, *got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if st, err := os.Stat(filepath.Join(dir, keptName)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	p := got.Clusters[0].plan(dir, "abcdef")
	if p.name != "meshproof-abcdef-east" || p.kubeconfig != filepath.Join(dir, "east.kubeconfig") || len(p.networks) != 1 || !p.ownCNI() {
		t.Errorf("%+v", p)
	}
}

func TestKeptClustersFitWhereTheyWereMadeForTheSame(t *testing.T) {
	spec := clusters.Spec{Clusters: []string{"east", "west"}, Mesh: meshNone}
	for name, tt := range map[string]struct {
		change func(*keptFile)
		want   string
	}{
		"the same":                       {func(*keptFile) {}, ""},
		"other names":                    {func(k *keptFile) { k.Clusters[1].Name = "north" }, "north"},
		"fewer":                          {func(k *keptFile) { k.Clusters = k.Clusters[:1] }, `want ["east" "west"]`},
		"more nodes":                     {func(k *keptFile) { k.Clusters[0].Nodes = 2 }, "has 2 nodes, want 1"},
		"another network":                {func(k *keptFile) { k.Separate = true }, "separate: true"},
		"another mesh, which is removed": {func(k *keptFile) { k.Mesh = "istio" }, ""},
		"another image of nodes":         {func(k *keptFile) { k.Image = "sha256:2" }, "sha256:2"},
		"another driver":                 {func(k *keptFile) { k.Version++ }, "another version"},
	} {
		k := keptOf("east", "west")
		tt.change(&k)
		if got := k.misfit(spec, "sha256:1"); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestOneRunAloneTakesAKeptFleet(t *testing.T) {
	fakeDocker(t, `echo sha256:1`)
	state := t.TempDir()
	cfg := Config{NodeImage: fromNothing, State: state}
	spec := clusters.Spec{Clusters: []string{"east"}, Mesh: meshNone}
	one, two := New(cfg), New(cfg)
	if _, err := one.Reusable(t.Context(), spec); !errors.Is(err, clusters.ErrNoneFits) {
		t.Errorf("of nothing kept: %v", err)
	}
	put(t, state, "bbbbbb", keptOf("west"))
	dir := put(t, state, "aaaaaa", keptOf("east"))
	id, err := one.Reusable(t.Context(), spec)
	if err != nil || id != "aaaaaa" {
		t.Fatalf("%q, %v", id, err)
	}
	if _, err := two.Reusable(t.Context(), spec); !errors.Is(err, clusters.ErrNoneFits) || !strings.Contains(err.Error(), errInUse.Error()) || !strings.Contains(err.Error(), `"west"`) {
		t.Errorf("of a fleet that is in use, and one that does not fit: %v", err)
	}
	if err := CleanKept(t.Context(), state, "aaaaaa"); !errors.Is(err, errInUse) {
		t.Errorf("a fleet in use was removed: %v", err)
	}
	if kept, err := Kept(state); err != nil || len(kept) != 2 || kept[0].InUse == kept[1].InUse {
		t.Errorf("%+v, %v", kept, err)
	}
	taken := one.take(id)
	if taken == nil || one.take(id) != nil {
		t.Error("a fleet is handed over once")
	}
	if err := taken.lock.Close(); err != nil {
		t.Error(err)
	}
	if id, err := two.Reusable(t.Context(), spec); err != nil || id != "aaaaaa" {
		t.Errorf("once nobody uses it: %q, %v", id, err)
	}
	if err := two.take("aaaaaa").lock.Close(); err != nil {
		t.Error(err)
	}
	// Whoever changes a fleet takes the file away first: what a killed run leaves is then no kept fleet.
	if err := os.Remove(filepath.Join(dir, keptName)); err != nil {
		t.Error(err)
	}
	if _, err := two.Reusable(t.Context(), spec); !errors.Is(err, clusters.ErrNoneFits) {
		t.Errorf("a fleet that was in use when its run was killed: %v", err)
	}
}

// fromNothing stands for an image of nodes that Docker has.
func fromNothing(context.Context) (string, error) { return "node:1", nil }

func TestAFleetWhoseFileIsBrokenIsListedAndRemoved(t *testing.T) {
	dir := fakeDocker(t, "")
	state := t.TempDir()
	broken := put(t, state, "cccccc", keptOf("east"))
	if err := os.WriteFile(filepath.Join(broken, keptName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(state, "not-a-fleet"), 0o700); err != nil {
		t.Fatal(err)
	}
	kept, err := Kept(state)
	if err != nil || len(kept) != 1 || kept[0].Err == nil || !strings.Contains(kept[0].String(), "cccccc") {
		t.Fatalf("%+v, %v", kept, err)
	}
	if err := CleanKept(t.Context(), state, "cccccc"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(broken); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil || !strings.Contains(string(calls), "label=io.meshproof.fleet=cccccc") {
		t.Errorf("docker was asked %q, %v", calls, err)
	}
	if kept, err := Kept(filepath.Join(state, "nothing")); err != nil || kept != nil {
		t.Errorf("of a folder that is not there: %v, %v", kept, err)
	}
}

func TestARangeThatAnotherTookMeanwhileIsLeftToIt(t *testing.T) {
	// The first two ranges that are tried are refused, as Docker does; it lists none of them.
	dir := fakeDocker(t, `case "$*" in
"network create "*) n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n
  if [ "$n" -lt 2 ]; then echo "Error response from daemon: Pool overlaps with other one on this address space" >&2; exit 1; fi;;
esac`)
	f := newFleet(clusters.Spec{ID: "abcdef", Clusters: []string{"east"}}, t.TempDir())
	h := host{}
	var err error
	if h.addresses, h.network, err = pickRanges(1, nil); err != nil {
		t.Fatal(err)
	}
	first := h.network
	if err := f.makeNetwork(t.Context(), &h); err != nil {
		t.Fatal(err)
	}
	if h.network == first || overlaps(h.network, []netip.Prefix{first, h.addresses[0].pods, h.addresses[0].services}) {
		t.Errorf("network %s, pods %s, services %s; %s was refused", h.network, h.addresses[0].pods, h.addresses[0].services, first)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil || strings.Count(string(calls), "network create") != 3 || !strings.Contains(string(calls), labelRanges+"="+h.addresses[0].pods.String()+" "+h.addresses[0].services.String()) {
		t.Errorf("docker was asked %s, %v", calls, err)
	}
}

func TestRangesOfOtherFleetsAreUsed(t *testing.T) {
	fakeDocker(t, `case "$*" in "network ls"*) echo n1;; "network inspect"*) echo "10.100.0.0/24 10.96.0.0/16 10.97.0.0/16";; esac`)
	used, err := usedRanges(t.Context())
	if err != nil || !overlaps(netip.MustParsePrefix("10.96.0.0/16"), used) || !overlaps(netip.MustParsePrefix("10.97.0.0/16"), used) || !overlaps(netip.MustParsePrefix("10.100.0.0/16"), used) {
		t.Errorf("%v, %v", used, err)
	}
}
