# Meshproof. "make" alone says what there is.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
SCENARIO ?= checkout-spike
DRIVER   ?= embedded
# Packages that deps installs on Debian: gcc for the race detector, Chromium for the browser tests and screenshots.
DEPS     := gcc libc6-dev chromium
# Packages that bench-load compares with.
PEERS    := nginx-light nghttp2-client wrk

.PHONY: help build scenario test test-kind lint bench bench-kind bench-load deps clean screenshots update

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/meshproof, and bin/meshproof-agent beside it, which runs inside real clusters
	@mkdir -p bin
	go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/meshproof ./cmd/meshproof
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/meshproof-agent ./cmd/meshproof-agent

scenario: build ## run a scenario and leave a report (SCENARIO=checkout-spike BLOCKS=1 SEED=1)
	bin/meshproof run $(SCENARIO) --driver $(DRIVER) $(if $(BLOCKS),--blocks $(BLOCKS)) $(if $(SEED),--seed $(SEED))

test: lint ## formatting, vet, linter, all tests, under the race detector
	@hack/needs.sh gcc chromium
	go test $$(command -v gcc >/dev/null && echo -race) -timeout 15m $$(go list ./... | grep -v '/verify$$')
	go test -timeout 15m ./verify # starts no goroutines; the race detector would make it four times as slow

test-kind: build ## tests on real clusters; prepares host and bundle where it can (MESHPROOF_SKIP_KIND=1 leaves them out)
	@hack/test-kind.sh

lint: ## gofumpt, vet, staticcheck
	@unformatted="$$(go tool gofumpt -l .)"; \
	if [ -n "$$unformatted" ]; then echo "not formatted (go tool gofumpt -w .):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

bench: ## benchmarks, as ratios side by side in one run (docs/benchmarks.md)
	go test -run '^$$' -bench . -benchmem ./...

bench-kind: build ## how long two clusters take, beside one by kind's own command (ROUNDS=5; docs/benchmarks.md)
	MESHPROOF_AGENT_BINARY=$(CURDIR)/bin/meshproof-agent go run ./hack/bench-kind -rounds $(or $(ROUNDS),5)

bench-load: ## the load generator beside others, on one machine (ROUNDS=3 BUDGET=25m LONG=1; docs/benchmarks.md)
	-@hack/bench-load/packages.sh $(PEERS)
	go build -o bin/bench-load ./hack/bench-load
	bin/bench-load -rounds $(or $(ROUNDS),3) -budget $(or $(BUDGET),25m) $(if $(LONG),-long)

deps: ## install what the tests need beside Go (Debian, as root)
	@hack/deps.sh $(DEPS)

screenshots: build ## the README's pictures, from a real run (SCENARIO=checkout-spike)
	bin/meshproof run $(SCENARIO) --out out
	go run ./hack/screenshots -height 1000 out/latest/report.html docs/images
	go run ./hack/screenshots -height 1300 out/latest/report.html docs/images meshes time policy

update: ## rewrite the golden files of the tests
	go test ./clusters/kind ./meshes ./reports ./reports/chart ./scenarios -update

clean: ## remove what was built; reports in out/ are kept
	rm -rf bin
	go clean -testcache
