# Everything a contributor or a build machine needs is a target here; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# Pinned tools, all installed by `go install` into $(BIN). A changed version
# re-installs the tool the next time a target needs it.
MINIO_PKG     := github.com/minio/minio
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c
MC_PKG        := github.com/minio/mc
MC_VERSION    := v0.0.0-20251106162529-77f82e18b540
LINT_PKG      := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
LINT_VERSION  := v2.15.0
FUMPT_PKG     := mvdan.cc/gofumpt
FUMPT_VERSION := v0.12.0
NFPM_PKG      := github.com/goreleaser/nfpm/v2/cmd/nfpm
NFPM_VERSION  := v2.45.0
HELM_PKG      := helm.sh/helm/v3/cmd/helm
HELM_VERSION  := v3.22.0
ACTIONLINT_PKG      := github.com/rhysd/actionlint/cmd/actionlint
ACTIONLINT_VERSION  := v1.7.12
GOVULNCHECK_PKG     := golang.org/x/vuln/cmd/govulncheck
GOVULNCHECK_VERSION := v1.9.0
# The certified version of Go's cryptography that `make fips` builds with.
FIPS_VERSION := v1.0.0

# `make run`: where the two servers listen, and where they keep their data.
PROXY_ADDRESS ?= 127.0.0.1:8080
MINIO_ADDRESS ?= 127.0.0.1:9000
DATA          ?= .data
# Added to the command line of `bucketseal server`, as in RUN_ARGS="--plain-read old-*".
RUN_ARGS      ?=

# Seconds for each fuzz function, and which benchmarks `make microbench` runs, how often.
FUZZTIME ?= 20s
BENCH    ?= .
COUNT    ?= 1
# Flags of `make bench`, as in BENCH_ARGS="-works get-4k-*".
BENCH_ARGS ?=
# A full run writes its tables and its chart into the documentation.
BENCH_PAGE := $(if $(filter 1,$(SHORT)),-short,$(if $(BENCH_ARGS),,-page docs/performance.md -chart docs/performance.svg))
# What `make profile` profiles: a work of `make bench`, and seal-s3, seal-kms or seal-opaque.
LOAD   ?= get-4k
TARGET ?= seal-s3
# Which tests `make torture` runs.
TORTURE  ?= .

GO  ?= go
BIN := $(CURDIR)/.bin

# A build machine may check the repository out as another user than the one that
# builds; git then refuses to tell the revision, and go would refuse to build.
BUILDVCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)
# The race detector needs a C compiler; without one the tests run without it.
RACE := $(shell command -v "$$($(GO) env CC)" >/dev/null 2>&1 && echo -race)
UNIT := $$($(GO) list ./... | grep -v /integration)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build .bin/bucketseal
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(BUILDVCS) -o $(BIN)/bucketseal ./cmd/bucketseal

.PHONY: run
run: build $(BIN)/minio $(BIN)/mc ## Start MinIO and bucketseal in front of it, until Ctrl-C
	@BIN='$(BIN)' DATA='$(DATA)' PROXY_ADDRESS='$(PROXY_ADDRESS)' MINIO_ADDRESS='$(MINIO_ADDRESS)' \
		exec scripts/run.sh $(RUN_ARGS)

# STACK_PORT is the first of nine ports; the data is thrown away at each start, for moto forgets the keys.
STACK_PORT ?= 18080
.PHONY: stack
stack: build $(BIN)/minio $(BIN)/mc ## Start two bucketseals behind haproxy, a key server on moto's AWS, Prometheus
	@BIN='$(BIN)' DATA='$(DATA)/stack' STACK_PORT='$(STACK_PORT)' exec scripts/stack.sh

.PHONY: stack-test
stack-test: build $(BIN)/minio $(BIN)/mc ## The same, and work on it while one proxy is restarted in a loop
	@BIN='$(BIN)' DATA='$(DATA)/stack' STACK_PORT='$(STACK_PORT)' scripts/stack.sh try

.PHONY: test
test: unit integration ## Run all tests: unit tests, then the binary against a real MinIO

.PHONY: unit
unit: ## Run the unit tests
	$(GO) test $(RACE) -timeout 5m $(UNIT)

# -count=1: what these tests depend on are binaries, which go's test cache does not see.
# The second line holds MinIO to the contract of proxy/storage, the last one tries the benchmark.
.PHONY: integration
integration: build $(BIN)/minio $(BIN)/mc ## Run the black-box tests against a real MinIO and real clients
	BUCKETSEAL_BIN='$(BIN)/bucketseal' MINIO_BIN='$(BIN)/minio' MC_BIN='$(BIN)/mc' \
		$(GO) test -count=1 -parallel 4 -timeout 40m ./integration/...
	MINIO_BIN='$(BIN)/minio' $(GO) test -count=1 -parallel 4 -timeout 5m -run TestMinIO ./proxy/upstream
	BUCKETSEAL_BIN='$(BIN)/bucketseal' MINIO_BIN='$(BIN)/minio' $(GO) test -count=1 -timeout 10m ./benchmark

# What takes long: 3 GiB by each client, every fault at every step of an upload in
# every mode, 10,000 parts. TORTURE chooses tests, as in TORTURE=Parts.
.PHONY: torture
torture: build $(BIN)/minio $(BIN)/mc ## Run the black-box tests that take long (TORTURE=pattern to choose)
	BUCKETSEAL_LONG=1 BUCKETSEAL_BIN='$(BIN)/bucketseal' MINIO_BIN='$(BIN)/minio' MC_BIN='$(BIN)/mc' \
		$(GO) test -count=1 -timeout 3h -parallel 1 -v -run '$(TORTURE)' ./integration/...

# A restore drill: every way to copy the raw buckets, into an empty MinIO, every byte back.
.PHONY: drill
drill: build $(BIN)/minio $(BIN)/mc ## Copy, restore and read everything back, by each tool that makes backups
	@BIN='$(BIN)' scripts/drill.sh

.PHONY: lint
lint: $(BIN)/golangci-lint $(BIN)/gofumpt ## Check formatting, go.mod, import directions and the usual mistakes
	@unformatted=$$($(BIN)/gofumpt -l .); \
	if [[ -n $$unformatted ]]; then echo "not formatted (make fmt):" $$unformatted; exit 1; fi
	$(GO) mod tidy -diff
	$(BIN)/golangci-lint run ./...

.PHONY: fmt
fmt: $(BIN)/gofumpt ## Format the Go source
	$(BIN)/gofumpt -w .

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZTIME (20s)
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' scripts/fuzz.sh

.PHONY: bench
bench: build $(BIN)/minio ## Compare bucketseal with MinIO and a plain proxy, by turns (SHORT=1: under a minute)
	CGO_ENABLED=0 $(GO) build -o $(BIN)/benchmark ./benchmark
	BUCKETSEAL_BIN='$(BIN)/bucketseal' MINIO_BIN='$(BIN)/minio' $(BIN)/benchmark run $(BENCH_PAGE) -json $(BIN)/bench.json $(BENCH_ARGS)

# CPU, heap, mutexes, blocking, a trace, of one work that goes on meanwhile.
.PHONY: profile
profile: build $(BIN)/minio ## Profile bucketseal under LOAD (get-4k, put-1m, list ...) into profiles/
	CGO_ENABLED=0 $(GO) build -o $(BIN)/benchmark ./benchmark
	BUCKETSEAL_BIN='$(BIN)/bucketseal' MINIO_BIN='$(BIN)/minio' $(BIN)/benchmark profile -load '$(LOAD)' -target '$(TARGET)' -out profiles

.PHONY: microbench
microbench: ## Run the benchmarks of packages, for benchstat (BENCH=pattern, COUNT=times)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count '$(COUNT)' $(UNIT)

# Archives, packages, bills of materials and checksums, into dist/. TARGETS chooses, as in TARGETS=linux/amd64.
.PHONY: release
release: $(BIN)/nfpm ## Build a release of this commit into dist/ (TARGETS=linux/amd64 to choose)
	$(GO) run ./release build -nfpm '$(BIN)/nfpm' $(if $(TARGETS),-targets '$(TARGETS)')

# Twice in different places, and compared byte by byte; the packages, the units.
.PHONY: release-test
release-test: $(BIN)/nfpm ## Build the release for one system twice and compare (BUCKETSEAL_LONG=1: for all)
	NFPM_BIN='$(BIN)/nfpm' $(GO) test -count=1 -timeout 30m ./release

# The tests run twice: with Go's FIPS 140-3 module on, and refusing all that it does not certify
# (docs/fips.md says which tests are left out then, and why).
.PHONY: fips
fips: ## Build .bin/bucketseal-fips with certified cryptography, and run the tests with it
	@mkdir -p $(BIN)
	GOFIPS140=$(FIPS_VERSION) CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(BUILDVCS) -o $(BIN)/bucketseal-fips ./cmd/bucketseal
	@$(BIN)/bucketseal-fips version --json | grep -q '"fips":"on' || { echo "the binary does not run in FIPS mode"; exit 1; }
	GOFIPS140=$(FIPS_VERSION) GODEBUG=fips140=on $(GO) test -count=1 -timeout 20m ./sse/... ./kms/... ./proxy/... ./cmd/...

# Needs the vulnerability database of vuln.go.dev, and says so where that is not reached.
.PHONY: audit-deps
audit-deps: $(BIN)/govulncheck ## Check licences of what is linked, and known vulnerabilities
	$(GO) run ./release licences
	@GOVULNCHECK='$(BIN)/govulncheck' scripts/govulncheck.sh

.PHONY: workflows
workflows: $(BIN)/actionlint ## Check the hosted workflows
	$(BIN)/actionlint -shellcheck= -pyflakes= .github/workflows/*.yml

# A module of its own: nothing of Kubernetes is in the product's go.mod.
.PHONY: chart-test
chart-test: build $(BIN)/helm ## Check the Helm chart with helm, Kubernetes's own types and bucketseal
	cd deploy/helm/check && HELM_BIN='$(BIN)/helm' BUCKETSEAL_BIN='$(BIN)/bucketseal' $(GO) test -count=1 ./...

.PHONY: chart-docs
chart-docs: ## Write the values into the chart's README, and copy rules and dashboard into the chart
	cp deploy/observability/rules.yml deploy/observability/dashboard.json deploy/helm/bucketseal/files/
	cd deploy/helm/check && WRITE_README=1 $(GO) test -count=1 -run TestReadmeHasEveryValue ./...

# A module of its own: nothing of Compose is in the product's go.mod.
.PHONY: compose-check
compose-check: build ## Parse docker-compose.yml as Compose does, and hold it to the binary and its files
	cd deploy/compose/check && BUCKETSEAL_BIN='$(BIN)/bucketseal' $(GO) test -count=1 ./...

# Needs a container engine, and says so where there is none. No registry: the images are built here.
.PHONY: compose-test
compose-test: build $(BIN)/minio $(BIN)/mc ## Try docker-compose.yml on a real engine: clients, crashes, cuts, upgrade
	@BIN='$(BIN)' GO='$(GO)' scripts/compose-test.sh

.PHONY: tools
tools: $(BIN)/minio $(BIN)/mc $(BIN)/golangci-lint $(BIN)/gofumpt ## Install the pinned tools into .bin/

.PHONY: clean
clean: ## Remove what make built and installed; the data of `make run` stays
	rm -rf $(BIN) dist

# tool(name, package, version): $(BIN)/name, rebuilt when the stamp that names
# its version is missing. A binary of that version that lies there already is taken as it is.
define tool
$(BIN)/$(1): $(BIN)/.stamp/$(1)@$(3)
	@GO='$(GO)' scripts/install-tool.sh '$(BIN)' '$(1)' '$(2)' '$(3)'

$(BIN)/.stamp/$(1)@$(3):
	@mkdir -p $(BIN)/.stamp && rm -f $(BIN)/.stamp/$(1)@* && touch $$@
endef
$(eval $(call tool,minio,$(MINIO_PKG),$(MINIO_VERSION)))
$(eval $(call tool,mc,$(MC_PKG),$(MC_VERSION)))
$(eval $(call tool,golangci-lint,$(LINT_PKG),$(LINT_VERSION)))
$(eval $(call tool,nfpm,$(NFPM_PKG),$(NFPM_VERSION)))
$(eval $(call tool,helm,$(HELM_PKG),$(HELM_VERSION)))
$(eval $(call tool,actionlint,$(ACTIONLINT_PKG),$(ACTIONLINT_VERSION)))
$(eval $(call tool,govulncheck,$(GOVULNCHECK_PKG),$(GOVULNCHECK_VERSION)))
$(eval $(call tool,gofumpt,$(FUMPT_PKG),$(FUMPT_VERSION)))
