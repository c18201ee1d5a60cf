# Every task of the project by name; `make help` lists them. The work itself is CMake's (CMakePresets.json).

PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
VERSIONS ?=
# Tests at once: most of them wait, for servers and for time to pass.
JOBS ?= $(shell echo $$((2 * $$(nproc))))
PRESET ?= debug
# make docker-test DOCKER=podman works too; Compose is the engine's plugin where it has one, otherwise its own program.
DOCKER ?= docker
COMPOSE ?= $(shell $(DOCKER) compose version >/dev/null 2>&1 && echo $(DOCKER) compose || echo $(DOCKER)-compose)
DPONE_PORT ?= 8000
export DPONE_PORT

.DEFAULT_GOAL := help
.PHONY: help deps build release demo test test-unit test-integration test-performance test-sanitizers lint format \
        coverage fuzz bench captures ci install clean dev docker-build docker-server docker-test \
        docker-test-performance docker-test-all docker-clean test-power-cuts test-postgres-versions

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install the Debian packages that building and testing need (root only when one is missing)
	@scripts/deps.sh build test lint

build: ## build the debug preset into build/debug (PRESET=asan and others work too)
	@scripts/deps.sh build test
	@scripts/build.sh $(PRESET)

release: ## build the optimised program: build/release/cli/dpone
	@scripts/deps.sh build
	@scripts/build.sh release -DDPONE_TESTS=OFF

demo: release ## run the main job on real captures: decode, identify, plan a replay; needs no server
	@examples/demo.sh build/release/cli/dpone

dev: release ## run the HTTP server on this machine, verbose, for development
	build/release/cli/dpone serve --host 127.0.0.1 --log-level DEBUG --log-format console --reload

test: build ## run the unit and integration tests
	@cd build/$(PRESET) && ctest --output-on-failure -j$(JOBS)

test-unit: build ## run the unit tests: no credentials, no network
	@cd build/$(PRESET) && ctest --output-on-failure -j$(JOBS) -L unit

test-integration: build ## run the integration tests: they start their own PostgreSQL and servers
	@cd build/$(PRESET) && ctest --output-on-failure -j$(JOBS) -L integration

# What a sanitizer has nothing new to see in: help pages, the tests' own PostgreSQL, a browser; and for ThreadSanitizer the
# longest of the unit tests, which has one thread.
NOT_SANITIZED = integration/test_(cli_help|postgres_support|server_browser)
test-sanitizers: ## run the tests under AddressSanitizer + UndefinedBehaviorSanitizer, the threaded ones under ThreadSanitizer
	@scripts/deps.sh build test
	@scripts/build.sh asan && cd build/asan && ctest --output-on-failure -j$(JOBS) -E '$(NOT_SANITIZED)'
	@TARGETS="dpone unit_threaded" scripts/build.sh tsan && cd build/tsan && \
	 ctest --output-on-failure -j$(JOBS) -L threaded -E unit/services/test_sqlite_faults

test-power-cuts: build ## cut the power 1000 times under the SQLite journal (some minutes)
	@DPONE_LONG_TESTS=1 build/$(PRESET)/tests/unit/unit_services_test_sqlite_faults

test-postgres-versions: build ## the tests with a PostgreSQL on versions 13 to 18, from the npm registry (VERSIONS="17 18" TESTS="test_live_source")
	@PRESET=$(PRESET) scripts/postgres_versions.sh $(VERSIONS)

test-performance: bench ## the benchmarks, in their short form

lint: ## check formatting, the shell scripts and the direction of includes
	@scripts/deps.sh lint
	@scripts/lint.sh

format: ## format every C file
	@scripts/deps.sh lint
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

coverage: ## line coverage of the unit and integration tests: build/coverage/coverage.html
	@scripts/deps.sh build test coverage
	@scripts/build.sh coverage && cd build/coverage && ctest -j$(JOBS) >/dev/null; \
	 gcovr --root ../.. --exclude '.*/tests/.*' --html-details coverage.html --print-summary .

fuzz: ## run every fuzz target for FUZZ_SECONDS (default 60)
	@scripts/deps.sh build fuzz
	@scripts/fuzz.sh $(FUZZ_SECONDS)

bench: ## run the benchmarks; each prints its figure beside its baseline
	@scripts/deps.sh build test bench
	@scripts/build.sh release -DDPONE_TESTS=OFF && cmake --build build/release --target bench >/dev/null
	@bench/run.sh

captures: ## make the captures in tests/captures again, from a real PostgreSQL
	@scripts/deps.sh build test
	@python3 tests/captures/make_captures.py

ci: lint test test-sanitizers ## everything .ci/run checks, but for installing
	@$(MAKE) --no-print-directory demo
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=5

docker-build: ## build the container image (needs a running engine; DOCKER=podman for Podman)
	@$(DOCKER) build $(if $(findstring podman,$(DOCKER)),--format docker) -f docker/Dockerfile -t dpone .

compose = $(COMPOSE) -p dpone -f docker/docker-compose.yml

docker-server: docker-build ## run the test server in a container, in the foreground, on DPONE_PORT (default 8000)
	@$(compose) up test-server

docker-test: docker-build ## run the specification's example flow against the server in a container
	@$(compose) up -d test-server
	@scripts/example_flow.sh http://127.0.0.1:$(DPONE_PORT); code=$$?; $(compose) down; exit $$code

docker-test-performance: docker-build ## wrk against the server in a container
	@export COMPOSE_PROFILES=load-test; \
	 $(compose) up --exit-code-from load-test load-test; code=$$?; $(compose) down; exit $$code

docker-test-all: docker-test docker-test-performance ## both

docker-clean: ## remove the containers, the volume and the image
	@COMPOSE_PROFILES=dev,load-test $(compose) down --volumes
	@$(DOCKER) image rm -f dpone

install: release ## install to PREFIX (default /usr/local): program, library, headers, man pages, completion
	@DESTDIR=$(DESTDIR) cmake --install build/release --prefix $(PREFIX)
	@# The loader finds a library in /usr/local/lib by its cache.
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" -eq 0 ]; then ldconfig; fi

clean: ## remove everything that was built
	@rm -rf build
