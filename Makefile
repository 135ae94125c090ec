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

# Time for each fuzz function; below, which benchmarks `make microbench` runs, and how often.
FUZZTIME ?= 20s
# `make fuzz-long`: hours for all of them, how many at a time; FUZZ chooses, as in FUZZ='sse|FuzzPath'.
HOURS    ?= 1
JOBS     ?= 2
FUZZ     ?= .
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
# The release has a target of its own: its tests build it.
UNIT := $$($(GO) list ./... | grep -v -e /integration -e /release)

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

# Unit tests compute, black-box tests mostly wait for servers: they run beside each other. What takes most of the
# compiler's time is compiled before, for many tests watch a clock.
.PHONY: test
test: compile ## Run all tests: unit tests, the binary against a real MinIO, all that packages it, and a while under faults
	@$(MAKE) --no-print-directory -j2 unit integration
	@$(MAKE) --no-print-directory packaging
	@$(MAKE) --no-print-directory chaos-test

.PHONY: compile
compile: build $(BIN)/minio $(BIN)/mc $(BIN)/helm $(BIN)/nfpm
	$(GO) build ./...
	$(GO) build $(RACE) ./...
	cd chaos && $(GO) build ./...
	for check in deploy/helm/check deploy/compose/check; do (cd $$check && $(GO) build ./... && $(GO) test -vet=off -c -o /dev/null ./...); done

# No debug information to link, and no vet, which make lint runs.
.PHONY: unit
unit: ## Run the unit tests
	$(GO) test $(RACE) -vet=off -ldflags=-w -timeout 10m $(UNIT)
	cd chaos && $(GO) test -vet=off -ldflags=-w -timeout 5m ./...

# -count=1: what these tests depend on are binaries, which go's test cache does not see.
.PHONY: integration
integration: blackbox contract ## Run the tests that need a real MinIO: black-box tests with real clients above all

.PHONY: blackbox
blackbox: build $(BIN)/minio $(BIN)/mc
	BUCKETSEAL_BIN='$(BIN)/bucketseal' MINIO_BIN='$(BIN)/minio' MC_BIN='$(BIN)/mc' \
		$(GO) test -count=1 -parallel 6 -timeout 40m ./integration/...

# The first line holds MinIO to the contract of proxy/storage, the last one tries the benchmark.
.PHONY: contract
contract: build $(BIN)/minio
	MINIO_BIN='$(BIN)/minio' $(GO) test -count=1 -parallel 4 -timeout 5m -run TestMinIO ./proxy/upstream
	BUCKETSEAL_BIN='$(BIN)/bucketseal' MINIO_BIN='$(BIN)/minio' $(GO) test -count=1 -timeout 10m ./benchmark

# Each of these says so and ends well where a program is missing that it drives.
.PHONY: packaging
packaging: release-test chart-test compose-check compose-try stack-test ## Test packages, units, chart, containers and the stack of processes

# What takes long: 3 GiB by each client, every fault at every step of an upload in every mode,
# 10,000 parts; and without TORTURE, which chooses tests as in TORTURE=Parts, the whole of packaging.
.PHONY: torture
torture: build $(BIN)/minio $(BIN)/mc ## Run the tests that take long (TORTURE=pattern: of the black-box tests those)
	BUCKETSEAL_LONG=1 BUCKETSEAL_BIN='$(BIN)/bucketseal' MINIO_BIN='$(BIN)/minio' MC_BIN='$(BIN)/mc' \
		$(GO) test -count=1 -timeout 3h -parallel 1 -v -run '$(TORTURE)' ./integration/...
	$(if $(filter .,$(TORTURE)),BUCKETSEAL_LONG=1 $(GO) test -count=1 -vet=off -v -run Tebibytes ./proxy/s3api)
	$(if $(filter .,$(TORTURE)),BUCKETSEAL_LONG=1 $(MAKE) --no-print-directory release-test compose-test image-test)

# A module of its own: nothing of it is in the product. docs/reliability.md says what it does, and how to read what it
# says. As root every server has a network and a drive of its own, and faults lie there too. FROM is another binary of
# the product, which proxies are upgraded from. STORAGE is one (a MinIO with four drives), four (MinIOs), or both, for
# half of the time each.
CLIENTS ?= 64
SEED    ?= 0
FAULTS  ?= ours
FROM    ?=
STORAGE ?= both
# MinIO with a clock that can be set, where that is wanted. It takes some minutes to build.
CLOCKED_MINIO := $(if $(findstring clock-minio,$(FAULTS))$(filter all,$(FAULTS)),$(BIN)/minio-clocked)
$(BIN)/minio-clocked: $(BIN)/chaos $(BIN)/minio
	$(BIN)/chaos build -command '$(MINIO_PKG)@$(MINIO_VERSION)' -o $@
.PHONY: chaos
chaos: HOURS := $(if $(filter file,$(origin HOURS)),2,$(HOURS))
chaos: $(BIN)/chaos $(BIN)/minio $(BIN)/mc $(CLOCKED_MINIO) ## Run clients and faults against a cluster for HOURS (2), and check every answer (SEED=, FAULTS=)
	$(BIN)/chaos build -source . -o $(BIN)/bucketseal-clocked
	@storages='$(STORAGE:both=one four)'; set -- $$storages; result=0; \
	duration=$$(awk "BEGIN { printf \"%ds\", $(HOURS) * 3600 / $$# }"); \
	for storage; do \
		$(BIN)/chaos run -seed '$(SEED)' -duration "$$duration" -clients '$(CLIENTS)' -storage "$$storage" -faults '$(FAULTS)' -clocked \
			-bin $(BIN)/bucketseal-clocked -from '$(FROM)' $(if $(CLOCKED_MINIO),-minio-clocked -minio $(CLOCKED_MINIO),-minio $(BIN)/minio) -mc $(BIN)/mc || result=$$?; \
	done; exit $$result

# The short form needs no rights: processes on loopback, and what can be done to those in little time.
CHAOS_SHORT := kill-minio,pause-minio,link-minio,kill-proxy,pause-proxy,restart-proxy,hand-over,link-proxy,sweep,kill-kms,kill-both-kms,link-kms,link-store,store-gone,store-throttled,rotate-key,expired-certificate
.PHONY: chaos-test
chaos-test: build $(BIN)/chaos $(BIN)/minio $(BIN)/mc ## The same for a minute, with a fixed seed
	$(BIN)/chaos run -seed 1 -duration 45s -settle 30s -clients 12 -storage one -world processes -faults '$(CHAOS_SHORT)' \
		-bin $(BIN)/bucketseal -minio $(BIN)/minio -mc $(BIN)/mc

# Beside 10,000 idle connections and 2,000 slow clients; then a bucket of OBJECTS. docs/reliability.md says what must not grow.
OBJECTS ?= 1000000
.PHONY: load
load: build $(BIN)/chaos $(BIN)/minio $(BIN)/mc ## Hold a load for HOURS (1) with CLIENTS (64), then list, sweep and restart over OBJECTS (1000000)
	$(BIN)/chaos load held -duration '$(HOURS)h' -clients '$(CLIENTS)' -bin $(BIN)/bucketseal -minio $(BIN)/minio -mc $(BIN)/mc
	$(BIN)/chaos load many -objects '$(OBJECTS)' -bin $(BIN)/bucketseal -minio $(BIN)/minio -mc $(BIN)/mc

# Ten patches of the product, each with one fault: the runs must find every one, and nothing without them.
.PHONY: chaos-plant
chaos-plant: $(BIN)/chaos $(BIN)/minio $(BIN)/mc ## Plant faults into the product, and have clients and checker find each
	$(BIN)/chaos plant -source . -minio $(BIN)/minio -mc $(BIN)/mc

.PHONY: $(BIN)/chaos
$(BIN)/chaos:
	@mkdir -p $(BIN)
	cd chaos && CGO_ENABLED=0 $(GO) build -o $@ .

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
	cd chaos && $(GO) mod tidy -diff && $(BIN)/golangci-lint run ./...

.PHONY: fmt
fmt: $(BIN)/gofumpt ## Format the Go source
	$(BIN)/gofumpt -w .

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZTIME (20s)
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' FUZZ='$(FUZZ)' scripts/fuzz.sh

# In rounds, and on from where the last run came to. What fails stays below testdata/fuzz and is named in the end.
.PHONY: fuzz-long
fuzz-long: ## Fuzz for HOURS (1), shared by all parsers, JOBS (2) at a time
	@GO='$(GO)' HOURS='$(HOURS)' JOBS='$(JOBS)' FUZZ='$(FUZZ)' scripts/fuzz.sh

# Seeds below testdata/fuzz, named traffic-*, in the place of those of the last time.
.PHONY: fuzz-corpus
fuzz-corpus: build $(BIN)/minio $(BIN)/mc ## Record what real clients, MinIO and a key server say as seeds for fuzzing
	BUCKETSEAL_CORPUS='$(CURDIR)' BUCKETSEAL_BIN='$(BIN)/bucketseal' MINIO_BIN='$(BIN)/minio' MC_BIN='$(BIN)/mc' \
		$(GO) test -count=1 -timeout 10m -v -run TestRecordCorpus ./integration

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

# With Go's FIPS 140-3 module on. Where it refuses all that it does not certify, every command ends
# (docs/fips.md), and a black-box test holds that.
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

# Both need a container engine, and say so where there is none. No registry: the images are built here.
.PHONY: compose-try
compose-try: build $(BIN)/minio $(BIN)/mc ## Try docker-compose.yml on a real engine in short: clients, console, what holds it in
	@BIN='$(BIN)' GO='$(GO)' PARTS='clients console hardened' scripts/compose-test.sh

.PHONY: compose-test
compose-test: build $(BIN)/minio $(BIN)/mc ## Try docker-compose.yml on a real engine: clients, crashes, cuts, upgrade
	@BIN='$(BIN)' GO='$(GO)' scripts/compose-test.sh

# The base images are stood in for by ones that are made here, so it needs no registry either.
.PHONY: image-test
image-test: ## Build the targets of Dockerfile on a real engine, and run them (IMAGES=bucketseal to choose)
	@GO='$(GO)' scripts/image-test.sh $(IMAGES)

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
