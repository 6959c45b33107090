#!/usr/bin/env bash
# Runs the tests on real clusters: makes the host fit where it can, builds what is missing of the bundle, and runs
# test/e2e and the conformance test of clusters/kind. make builds the binaries before. Where the host cannot do it, that
# is a failure, unless MESHPROOF_SKIP_KIND=1 says that it is known.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${MESHPROOF_SKIP_KIND:-}" = 1 ]; then
	echo "SKIPPED: tests on real clusters: MESHPROOF_SKIP_KIND=1"
	exit 0
fi

root() { [ "$(id -u)" -eq 0 ]; }
fail() {
	echo "FAIL: tests on real clusters: $1" >&2
	echo "  $2, or leave these tests out with MESHPROOF_SKIP_KIND=1" >&2
	exit 1
}

began=$SECONDS
if root && command -v apt-get >/dev/null; then
	hack/prepare-host.sh || fail "this host could not be prepared" "mend what hack/prepare-host.sh says"
elif ! timeout 10 docker info >/dev/null 2>&1; then
	fail "no Docker engine answers" "start Docker and let this user reach it (hack/prepare-host.sh does that on Debian, as root)"
fi

if root; then # nothing is built twice for the same inputs
	bin/meshproof bundle build || fail "the bundle could not be built" "mend what is said above"
elif has=$(bin/meshproof bundle list || true) && ! { grep -q ' node-image ' <<<"$has" && grep -q '^chart-istiod ' <<<"$has" && grep -q '^chart-chaos-mesh ' <<<"$has"; }; then
	fail "the bundle lacks the image of nodes, Istio or Chaos Mesh" "run 'bin/meshproof bundle build' as root, or 'bin/meshproof bundle pull' on a host with a network"
fi

echo "host and bundle: $((SECONDS - began)) s"
began=$SECONDS
outcome=PASS
export MESHPROOF_TEST_KIND=${MESHPROOF_TEST_KIND:-1} MESHPROOF_AGENT_BINARY=$PWD/bin/meshproof-agent
# MESHPROOF_TEST_KIND=full also runs the conformance test with Istio, all kinds of faults by Chaos Mesh, a kept cluster whose
# mesh changes, and more random policies.
go test -count=1 -p 1 -v -timeout 60m ./test/e2e ./clusters/kind ./clusters/bundle || outcome=FAIL
echo "$outcome: tests on real clusters: $((SECONDS - began)) s"
[ "$outcome" = PASS ]
