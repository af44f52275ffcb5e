# `make` lists the targets. What a target lacks it installs: into .tools/ where it can, else with apt-get.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

SETUP := envoy/setup
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
WASM := dist/entra_gate.wasm
# Bytes. Every Envoy worker compiles the filter, and every pod pulls it.
WASM_BUDGET := 1350000
ENVOY_VERSIONS := $(shell grep -v '^\#' $(SETUP)/versions)
DEMO_ENVOY := $(firstword $(ENVOY_VERSIONS))
FUZZ_SECONDS := 60
# Of what is built natively for checks and measurements, all is built as one: package by package, what they share would be built several times.
EVERYTHING := --locked --workspace --all-targets --features entra-gate/command

# Where the tests of the real Envoy and the tour look for what they run.
export ENTRA_GATE_WASM := $(CURDIR)/$(WASM)
export ENTRA_GATE_ENVOYS := $(foreach v,$(ENVOY_VERSIONS),$(CURDIR)/.tools/envoy-$(v)/bin/envoy)

.PHONY: help wasm command demo test bench diagnosis fleet micro fixtures fuzz scripts fmt lint deny doc unit postgres size envoy agreement e2e compose containers clean

help: ## This list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-10s %s\n", $$1, $$2 }'

wasm: ## Builds the filter: dist/entra_gate.wasm
	@$(SETUP)/wasm-cargo.sh build --release --locked -p entra-gate --lib
	@mkdir -p dist
	@$(SETUP)/wasm-shrink.sh $(TARGET_DIR)/wasm32-wasip1/release/entra_gate.wasm $(WASM)
	@echo "$(WASM): $$(wc -c < $(WASM)) bytes"

command: ## Builds the command: dist/entra-gate
	@cargo build --release --locked -p entra-gate --bin entra-gate --features command
	@mkdir -p dist
	@cp $(TARGET_DIR)/release/entra-gate dist/entra-gate
	@echo "dist/entra-gate: $$(wc -c < dist/entra-gate) bytes"

demo: wasm ## The tour: real Envoy, mock Entra, revocations, requests and answers; stays up until Ctrl-C, or not with ONCE=1
	@$(SETUP)/envoy.sh $(DEMO_ENVOY)
	@cargo build --locked --features entra-gate/command -p mock-entra -p entra-gate -p envoy-tests --bins
	@$(TARGET_DIR)/debug/tour $(if $(ONCE),--once)

test: ## Everything that a change must pass
	@.ci/steps scripts fmt lint deny doc unit postgres wasm size e2e containers

bench: wasm fixtures ## What a request costs in the real Envoy, and the core natively; QUICK=1: a few minutes, ratios beside the recorded ones; ONLY=latency, ONLY=registration, ONLY=revocation (or another part): that alone
	@$(SETUP)/wrk.sh
	@$(SETUP)/envoy.sh $(DEMO_ENVOY)
	@mkdir -p $(TARGET_DIR)/bench
	@cargo build $(EVERYTHING)
	@$(if $(QUICK)$(ONLY),,$(MAKE) micro | tee $(TARGET_DIR)/bench/core)
	@$(TARGET_DIR)/debug/bench --place $(TARGET_DIR)/bench $(if $(QUICK),--quick) \
		$(if $(ONLY),--only $(ONLY)) $(if $(QUICK)$(ONLY),,--core $(TARGET_DIR)/bench/core)

micro: ## Benchmarks of the core, natively
	@cargo bench --locked -p entra-gate --bench decision

# The filters that ours is compared with.
fixtures:
	@$(SETUP)/wasm-cargo.sh build --release --locked -p empty -p naive -p revocation-in-wasm
	@mkdir -p dist
	@for name in empty naive; do cp $(TARGET_DIR)/wasm32-wasip1/release/$$name.wasm dist/bench_$$name.wasm; done
	@cp $(TARGET_DIR)/wasm32-wasip1/release/revocation_in_wasm.wasm dist/bench_revocation.wasm

diagnosis: ## Writes docs/diagnosis.md from a run
	@ENTRA_GATE_WRITE=1 cargo test --locked --quiet -p entra-gate --test diagnosis -- the_page_shows_what_happens

fleet: ## Writes the tables of docs/fleet.md from a simulation
	@ENTRA_GATE_WRITE=1 cargo test --locked --quiet -p entra-gate --test fleet -- the_page_shows_what

fuzz: ## Every fuzz target of tests/fuzz, FUZZ_SECONDS (60) each
	@$(SETUP)/fuzz.sh $(FUZZ_SECONDS)

scripts: ## shellcheck of every script
	@$(SETUP)/shellcheck.sh

fmt: ## Formatting
	@cargo fmt --all --check

lint: ## clippy, natively and for wasm, warnings denied
	@cargo clippy $(EVERYTHING) -- -D warnings
	@$(SETUP)/wasm-cargo.sh clippy --locked -p entra-gate --lib -- -D warnings

deny: ## Licences, bans, sources and advisories of the dependencies
	@$(SETUP)/cargo-deny.sh

doc: ## Documentation, warnings denied
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

unit: ## Unit and integration tests, natively
	@tests/run.sh native --skip postgres::

postgres: ## The revocation service over PostgreSQL, which is brought by apt-get where it is absent
	@tests/service/postgres.sh

size: ## The filter's size against its budget (after `make wasm`)
	@bytes=$$(wc -c < $(WASM)); echo "$(WASM): $$bytes of at most $(WASM_BUDGET) bytes"; [ $$bytes -le $(WASM_BUDGET) ]

envoy: ## Installs the supported versions of Envoy into .tools/
	@$(SETUP)/envoy.sh

e2e: envoy agreement ## Tests with the real Envoy, every supported version (after `make wasm`)
	@tests/run.sh envoy

agreement: ## Builds the filters of tests: dist/agreement.wasm (the host's verifier beside ours), dist/trap.wasm (ours, and a trap)
	@$(SETUP)/wasm-cargo.sh build --release --locked -p agreement -p trap
	@mkdir -p dist
	@for name in agreement trap; do cp $(TARGET_DIR)/wasm32-wasip1/release/$$name.wasm dist/$$name.wasm; done

compose: ## The docker compose example, built from source and run as a user would, where there is a Docker engine
	@envoy/compose/test.sh

containers: ## The same, with the binaries that are built here (after `make e2e`)
	@envoy/compose/test.sh --built

clean: ## Removes what was built and installed here
	@cargo clean
	@rm -rf dist .tools
