package scenarios

import (
	"strings"
	"testing"
)

// rotating is the base scenario with rotations and an outage in place of its faults, one after the other.
func rotating(t *testing.T, pairs ...string) string {
	t.Helper()
	doc := change(t,
		"identity: {issuer: {kind: oidc, audience: shop}}", "identity: {issuer: {kind: oidc, audience: shop}, leafLifetime: 4s}",
		base[strings.Index(base, "  faults:\n"):strings.Index(base, "  expect:\n")], `  faults:
    - {name: leaves, kind: leaf-rotation, target: {service: cart, cluster: east}, at: 0s}
    - {name: issuer, kind: issuer-rotation, target: {cluster: west}, at: 1s}
    - {name: gone, kind: workload-outage, target: {service: cart, cluster: east}, at: 5s, for: 2s}
`,
		"    recovery: [{after: dies, within: 3s}]\n", `    recovery: [{after: gone, within: 3s}]
    rotation: [{after: leaves, within: 4s, dropped: 1}, {after: issuer, within: 3s}]
    failover: [{after: gone, within: 2s}]
`)
	for i := 0; i+1 < len(pairs); i += 2 {
		if n := strings.Count(doc, pairs[i]); n != 1 {
			t.Fatalf("%q is %d times in the scenario", pairs[i], n)
		}
		doc = strings.Replace(doc, pairs[i], pairs[i+1], 1)
	}
	return doc
}

func TestRotationsAndFailoversAreReadWithTheirDefaults(t *testing.T) {
	s, err := Parse("s.yaml", []byte(rotating(t)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Spec.Identity.LeafLifetime != 4e9 || s.Spec.Expect.Rotation[0].Dropped != 1 || s.Spec.Expect.Rotation[1].Dropped != 0 {
		t.Errorf("%+v", s.Spec)
	}
	if to := s.Spec.Expect.Failover[0].To; to != "west" {
		t.Errorf("the failover goes to %q", to)
	}
	roundTrip(t, s)
}

func TestRotationsAndFailoversThatCannotBeAreRefused(t *testing.T) {
	for _, r := range []rule{
		{"leaves that hold too short", []string{"leafLifetime: 4s", "leafLifetime: 3s"}, []string{"spec.identity.leafLifetime: certificates cannot hold 3s"}},
		{"leaves that hold for parts of seconds", []string{"leafLifetime: 4s", "leafLifetime: 4500ms"}, []string{"spec.identity.leafLifetime: certificates cannot hold 4.5s (whole seconds"}},
		{"rotations of certificates that hold a day", []string{", leafLifetime: 4s", ""}, []string{"spec.faults[0].kind: certificates hold as long as each mesh lets them", "spec.faults[1].kind: certificates hold"}},
		{"issuer of a service", []string{"{cluster: west}", "{cluster: west, service: cart}"}, []string{"spec.faults[1].target.service: has no meaning for issuer-rotation"}},
		{"issuer of no cluster", []string{"{cluster: west}", "{cluster: south}"}, []string{`spec.faults[1].target.cluster: there is no cluster "south"`}},
		{"rotation without target", []string{"target: {service: cart, cluster: east}, at: 0s", "at: 0s", "{after: leaves, within: 4s, dropped: 1}, ", ""}, []string{"spec.faults[0].target: is missing"}},
		{"rotation of no cluster", []string{"{service: cart, cluster: east}, at: 0s", "{}, at: 0s"}, []string{"spec.faults[0].target.cluster: is missing"}},
		{"rotation for a time", []string{"at: 1s", "at: 1s, for: 1s"}, []string{"spec.faults[1].for: has no meaning for issuer-rotation"}},
		{"outage without for", []string{"at: 5s, for: 2s", "at: 5s"}, []string{"spec.faults[2].for: is missing"}},
		{"outage of nobody", []string{"target: {service: cart, cluster: east}, at: 5s", "target: {cluster: east}, at: 5s"}, []string{"spec.faults[2].target.service: is missing"}},
		{"outage where it does not run", []string{"{service: cart, cluster: east}, at: 5s", "{service: cart, cluster: north}, at: 5s"}, []string{"spec.faults[2].target.cluster: cart does not run in north"}},
		{"outage of a sender", []string{"{service: cart, cluster: east}, at: 5s", "{service: shop}, at: 5s", "    - name: buyers\n", "    - {name: inner, from: shop, to: cart, profile: {stages: [{rate: 1, for: 10s}]}}\n    - name: buyers\n", "    failover: [{after: gone, within: 2s}]\n", ""}, []string{"spec.faults[2].target: shop in east sends traffic inner"}},
		{"rotation of an outage", []string{"after: issuer", "after: gone"}, []string{"spec.expect.rotation[1].after: gone is of kind workload-outage (rotation is of faults of kind leaf-rotation or issuer-rotation)"}},
		{"rotation of nothing", []string{"after: issuer", "after: isuer"}, []string{`spec.expect.rotation[1].after: there is no fault "isuer" (did you mean issuer?)`}},
		{"rotation twice", []string{"after: issuer", "after: leaves"}, []string{"spec.expect.rotation[1]: is for the same as spec.expect.rotation[0]"}},
		{"recovery of a rotation", []string{"recovery: [{after: gone", "recovery: [{after: leaves"}, []string{"spec.expect.recovery[0].after: leaves breaks nothing that could recover"}},
		{"failover of a rotation", []string{"failover: [{after: gone", "failover: [{after: leaves"}, []string{"spec.expect.failover[0].after: leaves is of kind leaf-rotation"}},
		{"failover to nowhere", []string{"failover: [{after: gone", "failover: [{after: gone, to: south"}, []string{`spec.expect.failover[0].to: "south" cannot take over from cart in east (it also runs in west)`}},
		{"failover to itself", []string{"failover: [{after: gone", "failover: [{after: gone, to: east"}, []string{`spec.expect.failover[0].to: "east" cannot take over`}},
		{"failover of a service in one cluster", []string{"{service: cart, cluster: east}, at: 5s", "{service: shop}, at: 5s"}, []string{"spec.expect.failover[0].after: shop runs in east alone: nobody could take over"}},
		{"failover after the load", []string{"failover: [{after: gone, within: 2s", "failover: [{after: gone, within: 6s"}, []string{"spec.expect.failover[0].within: the load is over at 10s, before the beginning of the outage has had its time (11s)"}},
		{"rotation after the load", []string{"{after: issuer, within: 3s}", "{after: issuer, within: 4s}", "at: 1s", "at: 8s", "at: 5s, for: 2s", "at: 5s, for: 1s"}, []string{"spec.expect.rotation[1].within: the load is over at 10s, before the rotation has had its time (12s)"}},
		{"an outage during a rotation", []string{"{after: leaves, within: 4s", "{after: leaves, within: 6s"}, []string{"spec.expect.rotation[0].within: leaves is watched until 6s, and gone begins at 5s"}},
		{"two rotations in one cluster", []string{"{cluster: west}", "{cluster: east}"}, []string{"spec.expect.rotation[0].within: leaves is watched until 4s, and issuer begins at 1s", "spec.expect.rotation[1].within: issuer is watched until 4s, and leaves begins at 0s"}},
		{"fewer than no attempts", []string{"dropped: 1", "dropped: -1"}, []string{"spec.expect.rotation[0].dropped: -1 is out of range"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			_, err := Parse("s.yaml", []byte(rotating(t, r.change...)))
			if err == nil {
				t.Fatal("was accepted")
			}
			expectProblems(t, err, r.want)
		})
	}
}

func TestAnotherClusterMustBeNamedWhereSeveralCouldTakeOver(t *testing.T) {
	doc := rotating(t, "clusters: [east, west]}", "clusters: [east, west, north]}")
	_, err := Parse("s.yaml", []byte(doc))
	expectProblems(t, err, []string{"spec.expect.failover[0].to: is missing (name the cluster that takes over: west or north)"})
}
