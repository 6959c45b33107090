package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// runner makes steps.
type runner struct {
	cache  string // folder of results, one a key
	bundle string // folder of the bundle
	say    func(format string, args ...any)
	now    func() time.Time
	tick   <-chan time.Time // at each tick it says what is still being made

	mu      sync.Mutex
	started map[string]time.Time // of the steps that are being made
}

// compilers is how many steps compile at once; see step.compiles.
const compilers = 2

// Ways in which a step ends, for progress.
const (
	wasThere = "there already"
	wasMade  = "done"
)

// run makes the steps that are not there yet, side by side where they don't need each other. At the first failure the
// others are stopped; what was finished is kept.
func (r *runner) run(ctx context.Context, steps []step) error {
	key, err := keys(steps)
	if err != nil {
		return err
	}
	steps = r.missing(steps, key)
	done := map[string]chan struct{}{}
	for _, s := range steps {
		done[s.name] = make(chan struct{})
	}
	stop := r.watch()
	defer stop()
	compiler := make(chan struct{}, compilers)
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range steps {
		group.Go(func() error {
			for _, n := range s.needs {
				select {
				case <-done[n]:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if s.compiles {
				select {
				case compiler <- struct{}{}:
					defer func() { <-compiler }()
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			from := map[string]string{}
			for _, n := range s.needs {
				from[n] = r.result(n, key[n])
			}
			if err := r.one(ctx, s, key[s.name], from); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			close(done[s.name])
			return nil
		})
	}
	return group.Wait()
}

// missing leaves the steps that have something to make: those that no other needs, unless they are made, and what these
// need. Where the bundle is whole, an empty cache is no reason to make anything.
func (r *runner) missing(steps []step, key map[string]string) []step {
	needed, wanted := map[string]bool{}, map[string]bool{}
	for _, s := range steps {
		for _, n := range s.needs {
			needed[n] = true
		}
	}
	var out []step
	for _, s := range slices.Backward(steps) {
		if !needed[s.name] && !wanted[s.name] {
			if r.made(s, key[s.name]) {
				r.say("%s: %s", s.name, wasThere)
				continue
			}
			wanted[s.name] = true
		}
		if wanted[s.name] {
			for _, n := range s.needs {
				wanted[n] = true
			}
			out = append(out, s)
		}
	}
	slices.Reverse(out)
	return out
}

// watch says at each tick what is being made and for how long, until stop is called.
func (r *runner) watch() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-r.tick:
				r.mu.Lock()
				var lines []string
				for _, name := range sorted(r.started) {
					lines = append(lines, fmt.Sprintf("%s %s", name, r.now().Sub(r.started[name]).Round(time.Second)))
				}
				r.mu.Unlock()
				if len(lines) > 0 {
					r.say("still at it: %s", strings.Join(lines, ", "))
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// start notes that a step is being made, until end is called.
func (r *runner) start(name string) (end func() time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started == nil {
		r.started = map[string]time.Time{}
	}
	began := r.now()
	r.started[name] = began
	return func() time.Duration {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.started, name)
		return r.now().Sub(began)
	}
}

// result is the folder of a step's result.
func (r *runner) result(name, key string) string {
	return filepath.Join(r.cache, name+"-"+key[:16])
}

// one makes one step, unless it is there. Of several processes one makes it and the others wait.
func (r *runner) one(ctx context.Context, s step, key string, from map[string]string) (err error) {
	result := r.result(s.name, key)
	unlock, err := lock(ctx, result+".lock", func() { r.say("%s: waiting for another build, which makes it", s.name) })
	if err != nil {
		return err
	}
	defer unlock()
	if r.made(s, key) {
		r.say("%s: %s", s.name, wasThere)
		return nil
	}
	r.say("%s: %s", s.name, s.about)
	end := r.start(s.name)
	defer end()
	out, tmp := result+".partial", result+".tmp"
	for _, dir := range []string{out, tmp} { // a build that was killed may have left them
		if err := removeAll(dir); err != nil {
			return fmt.Errorf("removing what an earlier build left: %w", err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making a place for the result: %w", err)
		}
	}
	defer func() { err = errors.Join(err, removeAll(tmp)) }()
	logPath := result + ".log"
	log, err := os.Create(logPath)
	if err != nil {
		return fmt.Errorf("making the log: %w", err)
	}
	err = s.make(ctx, job{key: key, out: out, tmp: tmp, from: from, bundle: r.bundle, log: log})
	if err := errors.Join(err, log.Close()); err != nil {
		_ = removeAll(out) // it may be what filled the disk; the log stays
		if ctx.Err() != nil {
			return ctx.Err() // a tool that was stopped says nothing of interest
		}
		last := tail(logPath)
		return fmt.Errorf("%w%s%s", err, last, remedy(err, last))
	}
	if len(s.parts) > 0 {
		err = removeAll(out)
	} else {
		err = os.Rename(out, result)
	}
	if err != nil {
		return fmt.Errorf("keeping the result: %w", err)
	}
	if !r.made(s, key) {
		return errors.New("the step ended without its result: this is a defect of meshproof")
	}
	r.say("%s: %s in %s", s.name, wasMade, end().Round(time.Second))
	return nil
}

// made says whether a step's result is there: its folder, or its parts, made from the same inputs and of the right size.
func (r *runner) made(s step, key string) bool {
	if len(s.parts) == 0 {
		st, err := os.Stat(r.result(s.name, key))
		return err == nil && st.IsDir()
	}
	b, err := bundle.Open(r.bundle)
	if err != nil {
		return false
	}
	for _, name := range s.parts {
		p, err := b.Part(name)
		if err != nil || p.Inputs != key {
			return false
		}
		if st, err := os.Stat(b.Path(p)); err != nil || st.Size() != p.Size {
			return false
		}
	}
	return true
}

// lock waits for a lock that goes with the process; it calls waiting once where another holds it.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		}
	}
}

// removeAll removes a folder that may hold files without write permission, as Go's module cache and root file systems do.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || os.Geteuid() == 0 {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
