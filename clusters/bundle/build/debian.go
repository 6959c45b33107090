package build

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// suite is the Debian release of every root file system.
const suite = "bookworm"

// rootFS says how a root file system is made.
type rootFS struct {
	packages []string // beside those that Debian cannot be without
	leaveOut []string // patterns as of path.Match, of paths inside
	// after runs on the finished system, before it becomes a layer.
	after func(ctx context.Context, root string, j job) error
}

// never are the paths that no image has: caches, documentation, what the host or the day decides.
var never = []string{
	"dev/*", "proc/*", "sys/*", "run/*", "tmp/*", "var/tmp/*", "var/log/*",
	"var/cache/apt/*", "var/cache/debconf/*", "var/cache/ldconfig/*", "var/lib/apt/lists/*", "var/lib/dpkg/*-old",
	"usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "debootstrap",
	"etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/apt/sources.list", "etc/*-",
}

// inputs are what the root file system depends on.
func (r rootFS) inputs() []string {
	return append(append([]string{suite, runtime.GOARCH}, r.packages...), append(r.leaveOut, never...)...)
}

// layerFile is the name of a root file system's layer in the folder of its step.
const layerFile = "layer.tar.gz"

// make runs debootstrap and leaves the system as a layer.
func (r rootFS) make(ctx context.Context, j job) error {
	if os.Geteuid() != 0 {
		return errors.New("making a Debian root file system needs root: run `sudo meshproof bundle build`, or build on another host and copy the bundle")
	}
	root := filepath.Join(j.out, "root")
	args := []string{"--variant=minbase", "--force-check-gpg", "--include=" + strings.Join(r.packages, ","), suite, root}
	mirror, err := debianMirror(ctx)
	if err != nil {
		return err
	}
	if mirror != "" {
		args = append(args, mirror)
	}
	c := command{log: j.log, isolate: true, env: []string{"DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}}
	if err := c.run(ctx, "debootstrap", args...); err != nil {
		return err
	}
	if r.after != nil {
		if err := r.after(ctx, root, j); err != nil {
			return err
		}
	}
	leaveOut := append(append([]string{}, never...), r.leaveOut...)
	_, err = writeLayer(filepath.Join(j.out, layerFile), func(w *layerWriter) error { return w.tree(root, leaveOut) })
	if err != nil {
		return err
	}
	return os.RemoveAll(root)
}

// debianMirror is where this machine's apt gets the suite from; "" where it does not, and debootstrap uses its own.
func debianMirror(ctx context.Context) (string, error) {
	out, err := command{}.output(ctx, "apt-get", "indextargets", "--format", "$(CODENAME) $(ORIGIN) $(COMPONENT) $(REPO_URI)", "Identifier: Packages")
	if err != nil {
		return "", ctx.Err() // no apt, or one without sources
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == suite && f[1] == "Debian" && f[2] == "main" {
			return f[3], nil
		}
	}
	return "", nil
}

// tree adds a folder of the host with all that is in it, but for the paths that a pattern of leaveOut matches.
func (w *layerWriter) tree(root string, leaveOut []string) error {
	links := map[uint64]string{} // files with several names, by inode
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err
		}
		for _, p := range leaveOut {
			if ok, err := filepath.Match(p, rel); err != nil {
				return fmt.Errorf("pattern %q: %w", p, err)
			} else if ok && d.IsDir() {
				return fs.SkipDir
			} else if ok {
				return nil
			}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := ""
		if d.Type()&fs.ModeSymlink != 0 {
			if target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: no file status", rel)
		}
		*h = tar.Header{
			Typeflag: h.Typeflag, Name: filepath.ToSlash(rel), Linkname: h.Linkname, Size: h.Size, Mode: h.Mode,
			Uid: h.Uid, Gid: h.Gid, Devmajor: h.Devmajor, Devminor: h.Devminor, ModTime: epoch,
		}
		if d.IsDir() {
			h.Name += "/"
		}
		if d.Type().IsRegular() && st.Nlink > 1 {
			if first, ok := links[st.Ino]; ok {
				h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			} else {
				links[st.Ino] = h.Name
			}
		}
		if err := w.t.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		if h.Typeflag != tar.TypeReg {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(w.t, f)
		return errors.Join(err, f.Close())
	})
}
