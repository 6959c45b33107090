// Package e2e drives the built meshproof against real clusters, as a user does. Its tests want Docker and a bundle, and
// run where MESHPROOF_TEST_KIND is set: see make test-kind.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// suite is the environment of all tests; nil where no real clusters are to be made.
var suite env.Environment

// whole is how long a whole run of scenario takes here, which tells when to kill one. TestARunOnRealClustersAndAnotherOnTheSame
// sets it anew.
var whole = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv("MESHPROOF_TEST_KIND") == "" {
		os.Exit(m.Run()) // every test skips itself
	}
	suite = env.NewWithConfig(envconf.New()).
		Setup(fit).
		BeforeEachFeature(func(ctx context.Context, _ *envconf.Config, t *testing.T, _ features.Feature) (context.Context, error) {
			return withHost(ctx, newHost(t)), nil
		}).
		AfterEachFeature(func(ctx context.Context, _ *envconf.Config, t *testing.T, _ features.Feature) (context.Context, error) {
			hostOf(ctx).nothingLeft(ctx, t)
			return ctx, nil
		})
	os.Exit(suite.Run(m))
}

// onlyWhole skips a test for which a run before a change lands has no time.
func onlyWhole(t *testing.T) {
	t.Helper()
	if os.Getenv("MESHPROOF_TEST_KIND") != "full" {
		t.Skip("takes minutes more: set MESHPROOF_TEST_KIND=full")
	}
}

// test runs features one after the other: each on a host of its own, with everything gone at its end.
func test(t *testing.T, f ...features.Feature) {
	t.Helper()
	if suite == nil {
		t.Skip("makes real clusters: use make test-kind")
	}
	suite.WithContext(t.Context()).Test(t, f...)
}

// beside lets features run beside each other, as many as the machine has cores, after all that run alone: those in which
// nothing is measured.
func beside(t *testing.T, all ...features.Feature) {
	t.Helper()
	t.Parallel()
	for _, f := range all {
		t.Run(f.Name(), func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

// binary is the built meshproof.
const binary = "../../bin/meshproof"

// fit makes sure that the host and the bundle can carry clusters, so that what a run lacks is said once.
func fit(ctx context.Context, _ *envconf.Config) (context.Context, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return ctx, err
	}
	out, err := exec.CommandContext(ctx, path, "doctor", scenario).CombinedOutput()
	if err != nil {
		return ctx, fmt.Errorf("%w (make build builds %s)\n%s", err, path, out)
	}
	return ctx, nil
}
