package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
)

// step makes one thing. A step with parts puts them into the bundle; one without leaves files in a folder of the cache.
type step struct {
	name   string
	about  string   // what it makes, for people
	inputs []string // all that decides the result beside the steps that it needs: versions, texts, flags
	needs  []string // names of steps that come before it
	parts  []string // names of the parts that it puts into the bundle
	// compiles says that the step keeps all processors busy for most of its time, and needs much memory; of these two run
	// at a time, so that one compiles while the other fetches modules or links.
	compiles bool
	make     func(context.Context, job) error
}

// job is one execution of a step.
type job struct {
	key    string
	out    string            // an empty folder; for a step without parts, what is in it at the end is the result
	tmp    string            // another, for what nobody needs afterwards
	from   map[string]string // the folder of each step without parts that this one needs
	bundle string            // the folder where a step with parts puts them
	log    io.Writer         // takes what tools print
}

// keys computes each step's key: a digest of its name, its inputs and the keys of the steps that it needs. It checks
// that the steps are in an order in which they can be made.
func keys(steps []step) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range steps {
		if _, twice := out[s.name]; twice {
			return nil, fmt.Errorf("two steps are named %q", s.name)
		}
		h := sha256.New()
		field := func(texts ...string) {
			fmt.Fprintf(h, "%d\n", len(texts))
			for _, t := range texts {
				fmt.Fprintf(h, "%d %s\n", len(t), t)
			}
		}
		field(s.name)
		field(s.inputs...)
		for _, n := range s.needs {
			k, ok := out[n]
			if !ok {
				return nil, fmt.Errorf("step %q needs %q, which does not come before it", s.name, n)
			}
			field(n, k)
		}
		out[s.name] = hex.EncodeToString(h.Sum(nil))
	}
	return out, nil
}

// only leaves the named steps and what they need. No name is all steps.
func only(steps []step, names []string) ([]step, error) {
	if len(names) == 0 {
		return steps, nil
	}
	wanted := map[string]bool{}
	for _, n := range names {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.name == n }) {
			var known []string
			for _, s := range steps {
				known = append(known, s.name)
			}
			return nil, fmt.Errorf("there is nothing named %q to build: want one of %s", n, strings.Join(known, ", "))
		}
		wanted[n] = true
	}
	var out []step
	for _, s := range slices.Backward(steps) {
		if wanted[s.name] {
			out = append(out, s)
			for _, n := range s.needs {
				wanted[n] = true
			}
		}
	}
	slices.Reverse(out)
	return out, nil
}
