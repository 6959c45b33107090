package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// validator checks what only the whole scenario can tell. Defaults must be filled in.
type validator struct {
	s        *Scenario
	d        *decoder
	clusters map[string]bool
	services map[string]*Service
	traffic  map[string]*Traffic
	faults   map[string]*Fault
}

func newValidator(s *Scenario, d *decoder) *validator {
	v := &validator{
		s: s, d: d,
		clusters: map[string]bool{}, services: map[string]*Service{},
		traffic: map[string]*Traffic{}, faults: map[string]*Fault{},
	}
	for _, c := range s.Spec.Topology.Clusters {
		v.clusters[c.Name] = true
	}
	for i := range s.Spec.Topology.Services {
		addFirst(v.services, s.Spec.Topology.Services[i].Name, &s.Spec.Topology.Services[i])
	}
	for i := range s.Spec.Traffic {
		addFirst(v.traffic, s.Spec.Traffic[i].Name, &s.Spec.Traffic[i])
	}
	for i := range s.Spec.Faults {
		addFirst(v.faults, s.Spec.Faults[i].Name, &s.Spec.Faults[i])
	}
	return v
}

// addFirst keeps the first of several things with one name.
func addFirst[T any](m map[string]T, name string, value T) {
	if _, twice := m[name]; !twice {
		m[name] = value
	}
}

func (v *validator) validate() {
	if v.d.sound("metadata.name") {
		v.label("metadata.name", v.s.Metadata.Name)
	}
	v.meshes()
	v.topology()
	v.identity()
	v.policy()
	v.loads()
	v.breaks()
	v.expect()
}

// problem records a problem, unless decoding has already found the field at fault.
func (v *validator) problem(path, message, hint string) {
	for _, b := range v.d.broken {
		if within(path, b) {
			return
		}
	}
	v.d.problem(path, message, hint)
}

// label checks that a name is a DNS label.
func (v *validator) label(path, name string) {
	if errs := validation.IsDNS1123Label(name); len(errs) > 0 {
		v.problem(path, quote(name)+" is not a DNS label", "lower-case letters, digits and dashes, starting and ending with a letter or digit, at most 63")
	}
}

// unique checks that the names of a list differ.
func (v *validator) unique(path, field string, names []string) {
	first := map[string]int{}
	for i, name := range names {
		if name == "" {
			continue // missing or unreadable: said in decoding
		}
		if j, twice := first[name]; twice {
			v.problem(fmt.Sprintf("%s[%d]%s", path, i, field), fmt.Sprintf("%s is there twice, first at %s[%d]%s", quote(name), path, j, field), "keep one, or name another")
			continue
		}
		first[name] = i
	}
}

// refers checks that a name stands for something. what says what; known lists the names there are, which the file
// gives at listPath.
func refers[T any](v *validator, path, what, name string, known map[string]T, listPath string) bool {
	if name == "" || !v.d.sound(path) {
		return false
	}
	if _, ok := known[name]; ok {
		return true
	}
	if !v.d.named(listPath) {
		return false
	}
	names := make([]string, 0, len(known))
	for k := range known {
		if k != "" {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	hint := "define it under " + listPath
	switch n := nearest(name, names); {
	case n != "":
		hint = "did you mean " + n + "?"
	case len(names) > 0 && len(names) <= 10:
		hint = "known: " + strings.Join(names, ", ")
	}
	v.problem(path, fmt.Sprintf("there is no %s %s", what, quote(name)), hint)
	return false
}

func (v *validator) meshes() {
	names := make([]string, len(v.s.Spec.Meshes))
	for i, m := range v.s.Spec.Meshes {
		names[i] = string(m.Name)
		gaps := make([]string, len(m.Gaps))
		for j, g := range m.Gaps {
			gaps[j] = string(g)
			path := fmt.Sprintf("spec.meshes[%d].gaps[%d]", i, j)
			if g == GapEdgeClaims {
				if !v.s.Spec.Policy.ClaimsMatter() && v.rulesKnown() {
					v.problem(path, "nothing would demonstrate the gap edge-claims: no rule asks for claims", "add claims to a rule under "+allowPath+", or remove the gap")
				}
				continue
			}
			checked := g == GapMTLS && v.s.Spec.Expect.MTLS != nil || g == GapPolicy && v.s.Spec.Expect.Policy != nil
			if g != "" && !checked && v.d.sound("spec.expect") {
				v.problem(path, fmt.Sprintf("nothing would demonstrate the gap %s", g), fmt.Sprintf("add spec.expect.%s, or remove the gap", g))
			}
		}
		v.unique(fmt.Sprintf("spec.meshes[%d].gaps", i), "", gaps)
		v.layered(fmt.Sprintf("spec.meshes[%d].layered", i), m)
	}
	v.unique("spec.meshes", ".name", names)
}

// layered checks how mesh layered is built.
func (v *validator) layered(path string, m MeshEntry) {
	switch l := m.Layered; {
	case l == nil || m.Name == "":
	case m.Name != MeshLayered:
		v.problem(path, fmt.Sprintf("mesh %s has no gateway of another mesh", m.Name), "remove it; it goes with name: layered")
	case l.Gateway == GatewayDirect && l.Balancing != "":
		v.problem(path+".balancing", "a direct gateway has no proxy of Linkerd that could balance", "remove it; Envoy balances there")
	}
}

var (
	methodPattern = regexp.MustCompile(`^[A-Z][A-Z0-9-]{0,19}$`)
	pathPattern   = regexp.MustCompile(`^/[A-Za-z0-9._~!$&'()+,;=:@/-]*$`)
)

// method checks an HTTP method.
func (v *validator) method(path, method string) {
	switch {
	case method == "":
	case !methodPattern.MatchString(method):
		v.problem(path, quote(method)+" is not an HTTP method", "write it in capitals: GET, POST, DELETE")
	case method == "CONNECT":
		v.problem(path, "CONNECT asks for a tunnel and not for a path", "use another method")
	}
}

// urlPath checks the path of a request, or with star the path of a rule. Paths that a proxy would rewrite before it
// decides are refused: each mesh would judge them in its own way.
func (v *validator) urlPath(path, value string, star bool) {
	plain := value
	if star {
		plain = strings.TrimSuffix(value, "*")
	}
	switch {
	case value == "":
	case !strings.HasPrefix(value, "/"):
		v.problem(path, quote(value)+" does not start with /", "write a path such as /items, without host")
	case strings.Contains(plain, "*") && star:
		v.problem(path, quote(value)+" has a star that is not at its end", "write a prefix with a star at its end: /items/*")
	case strings.Contains(plain, "*"):
		v.problem(path, quote(value)+" has a star", "a request has one path; stars are for spec.policy.allow[].paths")
	case strings.Contains(plain, "//"), slices.ContainsFunc(strings.Split(plain, "/"), func(s string) bool { return s == "." || s == ".." }):
		v.problem(path, quote(value)+" is not in its shortest form: proxies would rewrite it", "write it without // and dots")
	case !pathPattern.MatchString(plain):
		v.problem(path, quote(value)+" has characters that are not for a path", "letters, digits and ._~!$&'()+,;=:@/-, without query")
	}
}
