package scenarios

import "slices"

// RotationWindow names in evidence the handshakes that watch a rotation.
func RotationWindow(fault string) string { return "rotation/" + fault }

// Rotates reports whether the fault is a rotation of certificates, which breaks nothing.
func (f *Fault) Rotates() bool { return f.Kind == LeafRotation || f.Kind == IssuerRotation }

// RotatedServices names the services whose pods a rotation is about, in the order of the scenario.
func (f *Fault) RotatedServices(s *Scenario) []string {
	if f.Target == nil {
		return nil
	}
	var names []string
	for _, v := range s.Spec.Topology.Services {
		if slices.Contains(v.Clusters, f.Target.Cluster) && (f.Target.Service == "" || f.Target.Service == v.Name) {
			names = append(names, v.Name)
		}
	}
	return names
}
