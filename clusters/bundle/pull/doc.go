// Package pull fills a bundle from image registries and chart repositories, on
// a host with a network: images with go-containerregistry, charts with Helm's
// own libraries. Digests are checked on the way: an image's by the registry's
// manifest, a chart's by the repository's index.
package pull
