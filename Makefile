# `make demo` runs the main job on the bundled study and needs Go alone. `make test` runs every check; what it needs
# beside Go it installs below bin/, or says precisely what is missing.
SHELL := /bin/bash -euo pipefail
.DEFAULT_GOAL := help

BUF := $(CURDIR)/bin/node_modules/.bin/buf
BUF_VERSION := 1.75.0
FUZZTIME ?= 5s
SEEDS ?= 5000
# One build cache for every stage: what one has compiled the next one takes.
export GOFLAGS := -trimpath
GOROUTINES := ^[[:space:]]*(defer )?go [a-zA-Z]|[.]Go[(]|errgroup|t.Parallel|RunParallel
# An export has one goroutine, which reads ahead; these tests have it end, fail, be cancelled and go through all tables.
READS_AHEAD := ReadAhead|SameBytes|DiskFull|Levels|Cancel
FOLDERS := xargs -n1 dirname | sort -u | sed 's|^|./|'
# Programs of others that read what Hearth writes, as Debian packages.
READERS := r-cran-haven r-cran-jsonlite r-cran-readstata13 readstat pspp python3-numpy python3-pandas python3-networkx python3-igraph \
  r-cran-survey r-cran-lme4 graphviz zbar-tools librsvg2-bin libxml2-utils gdal-bin python3-openpyxl

# at says when a stage began, to see in CI's output where the time goes.
at = @echo "== $@ $$(date +%T)"

.PHONY: help build demo test web webtools unit crash race sim planted fuzz bench lint proto checkproto tools readers odk duckdb odata clean

help: ## Show this list.
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## Build ./hearth.
	go build -o hearth ./cmd/hearth

demo: build ## Build and run the whole main job on the bundled study; leaves ./demo.
	rm -rf demo
	./hearth demo --dir demo

test: tools readers odk duckdb odata lint checkproto web unit crash race sim planted fuzz ## Every check, as CI runs it.

web: webtools ## The TypeScript questionnaire engine: types, its tests, and its agreement with Go's.
	$(at)
	cd clients/web && rm -rf out && node_modules/.bin/tsc -p . && node --test out/test/*.test.js && node out/test/bench.js
	HEARTH_WEB=1 go test -count 1 -timeout 5m -run TestTypeScriptAgrees -v ./proto/questionnaire | tee clients/web/out/agrees.txt
	@[ $$(grep -c '^--- PASS: TestTypeScriptAgrees' clients/web/out/agrees.txt) -ge 2 ] || { echo "Go was not compared with TypeScript" >&2; exit 1; }

# The packages stand in bin/web; clients/web/node_modules is a link to them.
webtools:
	@command -v npm >/dev/null || { echo "npm is missing: install node 20" >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || { echo "node $$(node --version) is too old: install node 20" >&2; exit 1; }
	@if ! cmp -s clients/web/package-lock.json bin/web/installed.json || [ ! -x bin/web/node_modules/.bin/tsc ]; then \
	  mkdir -p bin/web && cp clients/web/package.json clients/web/package-lock.json bin/web/ && \
	  (cd bin/web && npm ci --silent --no-fund --no-audit) || { echo "the packages of clients/web could not be installed: (cd bin/web && npm ci) says why" >&2; exit 1; }; \
	  cp clients/web/package-lock.json bin/web/installed.json; \
	fi
	@ln -sfn ../../bin/web/node_modules clients/web/node_modules

unit: ## The tests alone, whole, but for those of `make crash`.
	$(at)
	go test -timeout 15m $$(go list ./... | grep -v /cmd/hearth/crashtest$$)

crash: ## The real program killed, cut off, stopped, and run on disks that fail and lose power; needs root for FUSE.
	$(at)
	HEARTH_CRASH=1 go test -count 1 -parallel 6 -timeout 8m ./cmd/hearth/crashtest

# Where neither a package nor its tests start a goroutine, the race detector is left out for the sake of time: the whole run has
# said nearly all of it. crashtest judges another process. `make race RACE=./...` runs all.
race: ## The tests in their short mode with the race detector, which still runs every kind of case; every benchmark once.
	$(at)
	go test -race -short -timeout 20m $(or $(RACE),$$(git grep -lE '$(GOROUTINES)' -- '*.go' | $(FOLDERS) | grep -vE '/crashtest$$|^./server/export$$'))
	$(if $(RACE),,go test -race -short -run '$(READS_AHEAD)' ./server/export)
	$(at) benchmarks
	go test -run '^$$' -bench . -benchtime 1x $$(git grep -l '^func Benchmark' -- '*_test.go' | $(FOLDERS)) > /dev/null

sim: build ## SEEDS stories of a field team on failing disks and links; a seed that fails replays.
	$(at)
	GOGC=400 ./hearth simulate --faults --seeds $(SEEDS)

planted: ## Let each planted bug in and see that the stories find it.
	$(at)
	GOGC=400 go test -tags planted -timeout 10m -run TestPlanted -v ./syncer/syncertest/sim

# Each package is built for fuzzing once; its targets run two at a time, each on one processor.
fuzz: ## Fuzz every decoder for FUZZTIME.
	$(at)
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	for dir in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do \
	  bin=$$work/$$(echo $$dir | tr / -).test; go test -c -fuzz=. -o $$bin ./$$dir; \
	  for f in $$(git grep -hoE '^func Fuzz[A-Za-z0-9_]*' -- $$dir/*_test.go | sed 's/func //'); do echo "$$dir $$bin $$f"; done; \
	done > $$work/targets; \
	[ -s $$work/targets ] || { echo "no fuzz tests found" >&2; exit 1; }; \
	xargs -P 2 -L 1 .ci/fuzz $(FUZZTIME) $$work < $$work/targets; \
	echo "$$(wc -l < $$work/targets) fuzz tests"

bench: build ## The benchmarks with their ratios.
	./hearth bench

lint: ## gofmt, vet, staticcheck.
	$(at)
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted: $$out" >&2; exit 1; fi
	go vet ./...
	go tool -modfile=tools.mod staticcheck ./...

proto: tools ## Generate Go from the schemas.
	cd proto && $(BUF) lint && $(BUF) generate

checkproto: tools ## The schemas pass lint, break nothing, and the generated Go is fresh.
	cd proto && $(BUF) lint
	@if git rev-parse -q --verify HEAD~1 >/dev/null && git cat-file -e HEAD~1:proto/buf.yaml 2>/dev/null; then \
	  cd proto && $(BUF) breaking --against '../.git#ref=HEAD~1,subdir=proto'; fi
	@before=$$(git ls-files -s -- 'proto/*.pb.go' | wc -l); [ $$before -gt 0 ] || { echo "no generated code found" >&2; exit 1; }
	cd proto && $(BUF) generate
	@git diff --exit-code --stat -- 'proto/*.pb.go' || { echo "generated code is stale: run make proto and commit" >&2; exit 1; }

tools: ## Install what the checks need beside Go: buf from npm; curl is taken from the system.
	@command -v curl >/dev/null || { echo "curl is missing: apt-get install curl" >&2; exit 1; }
	@if [ ! -x $(BUF) ]; then \
	  command -v npm >/dev/null || { echo "npm is missing: install node 20" >&2; exit 1; }; \
	  mkdir -p bin && npm install --silent --no-fund --no-audit --no-save --prefix bin @bufbuild/buf@$(BUF_VERSION); \
	fi
	@[ -x $(BUF) ] || { echo "buf was not installed into bin/" >&2; exit 1; }

readers: ## Install the programs that read exports and graphs back: Debian packages, as root; without them their tests are skipped.
	@missing=; for p in $(READERS); do \
	  [ "$$(dpkg-query -W -f='$${Status}' $$p 2>/dev/null)" = "install ok installed" ] || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  elif [ "$${HEARTH_READERS:-}" = all ]; then echo "missing: apt-get install$$missing" >&2; exit 1; \
	  else echo "tests of what these read are skipped: apt-get install$$missing" >&2; fi; fi

odk: ## Install the engine of ODK Web Forms below bin/odk, which judges the XForms that Hearth writes; without it those tests are skipped.
	@command -v npm >/dev/null || { echo "npm is missing: install node 20" >&2; exit 1; }
	@if ! cmp -s proto/xform/xformtest/odk/package-lock.json bin/odk/installed.json || [ ! -d bin/odk/node_modules/jsdom ]; then \
	  mkdir -p bin/odk && cp proto/xform/xformtest/odk/package.json proto/xform/xformtest/odk/package-lock.json bin/odk/ && \
	  (cd bin/odk && npm ci --silent --no-fund --no-audit) || { echo "the engine of ODK Web Forms could not be installed: (cd bin/odk && npm ci) says why" >&2; exit 1; }; \
	  cp proto/xform/xformtest/odk/package-lock.json bin/odk/installed.json; \
	fi

duckdb: ## Install DuckDB below bin/duckdb, which judges the Parquet files and JSON lines that Hearth writes; without it that test is skipped.
	@command -v npm >/dev/null || { echo "npm is missing: install node 20" >&2; exit 1; }
	@if ! cmp -s server/export/testdata/duckdb/package-lock.json bin/duckdb/installed.json || [ ! -d bin/duckdb/node_modules/@duckdb ]; then \
	  mkdir -p bin/duckdb && cp server/export/testdata/duckdb/package.json server/export/testdata/duckdb/package-lock.json bin/duckdb/ && \
	  (cd bin/duckdb && npm ci --silent --no-fund --no-audit) || { echo "DuckDB could not be installed: (cd bin/duckdb && npm ci) says why" >&2; exit 1; }; \
	  cp server/export/testdata/duckdb/package-lock.json bin/duckdb/installed.json; \
	fi

odata: ## Install an OData client below bin/odata, which judges the feed; without it that test is skipped.
	@command -v npm >/dev/null || { echo "npm is missing: install node 20" >&2; exit 1; }
	@if ! cmp -s server/testdata/odata/package-lock.json bin/odata/installed.json || [ ! -d bin/odata/node_modules/@odata ]; then \
	  mkdir -p bin/odata && cp server/testdata/odata/package.json server/testdata/odata/package-lock.json bin/odata/ && \
	  (cd bin/odata && npm ci --silent --no-fund --no-audit) || { echo "the OData client could not be installed: (cd bin/odata && npm ci) says why" >&2; exit 1; }; \
	  cp server/testdata/odata/package-lock.json bin/odata/installed.json; \
	fi

clean:
	rm -rf hearth bin demo clients/web/out clients/web/node_modules
