// Package bundle is one folder with all that real clusters need and a host may
// not be able to fetch: the node image, component images, Helm charts, and
// manifest.json, which names version, source and SHA-256 of each part.
//
// Image archives are in the format of "docker save", which Docker, containerd
// and kind load; charts are .tgz files as Helm packages them. A bundle is read
// with Open; whoever loads a part asks Check first, so that a truncated or
// changed file is an error that names the part, never a pod that won't start.
//
// Sub-packages fill a bundle: build makes the parts from language package
// registries, pull takes them from image registries and chart repositories.
package bundle
