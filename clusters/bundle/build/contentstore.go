package build

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	bolt "go.etcd.io/bbolt"
)

// tagged is an image and the name that a container runtime knows it by.
type tagged struct {
	ref   string
	image v1.Image
}

// Where containerd keeps images, and the schema of its metadata: version 1, database version 3, as its package metadata
// documents it in buckets.go. Newer versions of containerd read it and migrate it.
const (
	containerdRoot      = "var/lib/containerd"
	containerdBlobs     = containerdRoot + "/io.containerd.content.v1.content/blobs/sha256"
	containerdMeta      = containerdRoot + "/io.containerd.metadata.v1.bolt/meta.db"
	containerdNamespace = "k8s.io" // of the kubelet's images
	containerdDBVersion = 3
)

// blob is one entry of a content store.
type blob struct {
	digest v1.Hash
	size   int64
	labels map[string]string
}

// writeContentStore puts images into a layer in the form in which containerd keeps them, so that a node has them from
// its start. They are not unpacked: containerd does that at an image's first use. scratch is a folder for the database.
func writeContentStore(w *layerWriter, images []tagged, scratch string) error {
	blobs := map[string]blob{}
	targets := map[string]blob{}
	types := map[string]string{}
	for _, t := range images {
		if err := w.addImage(t, blobs, targets, types); err != nil {
			return fmt.Errorf("image %s: %w", t.ref, err)
		}
	}
	meta := filepath.Join(scratch, "meta.db")
	db, err := bolt.Open(meta, 0o644, &bolt.Options{NoSync: true}) // writeMetadata does it once
	if err != nil {
		return fmt.Errorf("making containerd's metadata: %w", err)
	}
	err = writeMetadata(db, blobs, targets, types)
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("making containerd's metadata: %w", err)
	}
	if err := w.file(containerdMeta, 0o644, meta); err != nil {
		return err
	}
	return os.Remove(meta)
}

// addImage writes the blobs of an image that are not there yet, and notes what the metadata must say.
func (w *layerWriter) addImage(t tagged, blobs, targets map[string]blob, types map[string]string) error {
	m, err := t.image.Manifest()
	if err != nil {
		return err
	}
	manifest, err := t.image.RawManifest()
	if err != nil {
		return err
	}
	digest, err := t.image.Digest()
	if err != nil {
		return err
	}
	config, err := t.image.RawConfigFile()
	if err != nil {
		return err
	}
	// Labels that keep containerd's garbage collector from taking what a manifest refers to.
	refs := map[string]string{"containerd.io/gc.ref.content.config": m.Config.Digest.String()}
	for i, l := range m.Layers {
		refs[fmt.Sprintf("containerd.io/gc.ref.content.l.%d", i)] = l.Digest.String()
	}
	target := blob{digest, int64(len(manifest)), refs}
	targets[t.ref], types[t.ref] = target, string(m.MediaType)
	add := func(b blob, write func(path string) error) error {
		if _, ok := blobs[b.digest.String()]; ok {
			return nil
		}
		blobs[b.digest.String()] = b
		return write(containerdBlobs + "/" + b.digest.Hex)
	}
	if err := add(target, func(path string) error { return w.text(path, 0o444, manifest) }); err != nil {
		return err
	}
	err = add(blob{digest: m.Config.Digest, size: int64(len(config))},
		func(path string) error { return w.text(path, 0o444, config) })
	if err != nil {
		return err
	}
	layers, err := t.image.Layers()
	if err != nil {
		return err
	}
	for i, l := range layers {
		err := add(blob{digest: m.Layers[i].Digest, size: m.Layers[i].Size}, func(path string) error {
			r, err := l.Compressed()
			if err != nil {
				return err
			}
			return errors.Join(w.stream(path, 0o444, m.Layers[i].Size, r), r.Close())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// writeMetadata writes v1/<namespace>/{images,content/blob}. A transaction writes one object: in a larger one the
// database's pages would lie in the random order of a map, and the same images would make another node image.
func writeMetadata(db *bolt.DB, blobs, targets map[string]blob, types map[string]string) error {
	err := db.Update(func(tx *bolt.Tx) error {
		root, err := tx.CreateBucket([]byte("v1"))
		if err != nil {
			return err
		}
		return root.Put([]byte("version"), varint(containerdDBVersion))
	})
	if err != nil {
		return err
	}
	for _, ref := range sorted(targets) {
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := object(tx, "images", ref)
			if err != nil {
				return err
			}
			target, err := b.CreateBucket([]byte("target"))
			if err != nil {
				return err
			}
			return errors.Join(
				target.Put([]byte("digest"), []byte(targets[ref].digest.String())),
				target.Put([]byte("mediatype"), []byte(types[ref])),
				target.Put([]byte("size"), varint(targets[ref].size)),
			)
		})
		if err != nil {
			return err
		}
	}
	for _, digest := range sorted(blobs) {
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := object(tx, "content", "blob", digest)
			if err != nil {
				return err
			}
			if err := b.Put([]byte("size"), varint(blobs[digest].size)); err != nil {
				return err
			}
			for _, k := range sorted(blobs[digest].labels) {
				labels, err := b.CreateBucketIfNotExists([]byte("labels"))
				if err != nil {
					return err
				}
				if err := labels.Put([]byte(k), []byte(blobs[digest].labels[k])); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return db.Sync()
}

// object makes the bucket of an object of the kubelet's namespace, and says when it was made.
func object(tx *bolt.Tx, names ...string) (*bolt.Bucket, error) {
	b := tx.Bucket([]byte("v1"))
	for _, n := range append([]string{containerdNamespace}, names...) {
		var err error
		if b, err = b.CreateBucketIfNotExists([]byte(n)); err != nil {
			return nil, err
		}
	}
	t, err := epoch.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return b, errors.Join(b.Put([]byte("createdat"), t), b.Put([]byte("updatedat"), t))
}

func varint(n int64) []byte { return binary.AppendVarint(nil, n) }

// sorted are the keys of a map, in order.
func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
