package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Options says what Build makes and where.
type Options struct {
	Dir  string   // of the bundle
	Only []string // names of what to make, with all that it needs; none is everything
	// Say takes lines of progress. It may be called from several goroutines at once.
	Say func(format string, args ...any)
}

// Names are what Options.Only takes.
func Names() ([]string, error) {
	steps, err := catalogue("")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range steps {
		out = append(out, s.name)
	}
	return out, nil
}

// Build makes the parts of the bundle that are not there yet. A build that was stopped goes on from the last step that
// was finished.
func Build(ctx context.Context, o Options) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("bundles are built on Linux, this is %s: build one there and copy its folder", runtime.GOOS)
	}
	goVersion, err := compiler(ctx)
	if err != nil {
		return err
	}
	steps, err := catalogue(goVersion)
	if err != nil {
		return err
	}
	if steps, err = only(steps, o.Only); err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("finding a place for what is built: %w: set XDG_CACHE_HOME", err)
	}
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	r := &runner{
		cache: filepath.Join(cache, "meshproof", "build"), bundle: o.Dir, say: o.Say, now: time.Now, tick: tick.C,
	}
	return r.run(ctx, steps)
}
