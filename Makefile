# Cachalot. `make run` builds everything, fetches the default model and opens a chat; `make test` checks everything.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build web test check rust-check rust-test web-check e2e e2e-client e2e-page fuzz-short fuzz golden bench clean

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cachalot-tests
export CACHALOT_TEST_MODEL ?= $(CACHE)/SmolLM2-135M-Instruct.Q4_1.gguf
VENV := $(CURDIR)/target/venv
PYTHON ?= python3
FUZZ_SECONDS ?= 600
BINARY := target/debug/cachalot

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

run: build ## build, fetch the default model, open a chat in the browser
	target/release/cachalot up --open

build: web ## the release binary, target/release/cachalot, with the web app inside
	cargo build --release --locked --package cachalot

web: web/dist/index.html ## the web app, web/dist

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web/src web/public web/index.html web/vite.config.ts -type f 2>/dev/null)
	cd web && npm run build

test: check rust-test e2e-client ## the checks and tests (installs what it needs)
	@scripts/not-run add "the page in Chromium (make e2e-page) and the fuzz targets (make fuzz): not part of make test yet"
	@scripts/not-run report

check: web rust-check web-check ## formats, lints, documentation, house rules

rust-check: | web
	@scripts/not-run reset
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --quiet
	cargo xtask tidy
	@scripts/with-tool cargo-deny "cargo install cargo-deny --locked" cargo deny --all-features check licenses bans sources
	$(MAKE) --no-print-directory $(VENV)/ready
	$(VENV)/bin/typos

web-check: web/node_modules/.package-lock.json
	cd web && npm run check && npm run test

$(BINARY): web FORCE
	cargo build --locked --package cachalot
FORCE:

$(CACHALOT_TEST_MODEL): | $(BINARY)
	mkdir -p $(dir $@)
	CACHALOT_HOME=$(CACHE)/home $(BINARY) pull smollm2-135m
	ln -sf "$$(CACHALOT_HOME=$(CACHE)/home $(BINARY) show smollm2-135m --path)" $@

rust-test: $(BINARY) $(CACHALOT_TEST_MODEL) ## Rust tests: unit, property, conformance, golden
	@if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run --workspace --locked; \
	else \
	  cargo test --workspace --locked --quiet; \
	fi
	cargo test --workspace --locked --doc --quiet

$(VENV)/ready: tests-python/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement tests-python/requirements.txt
	touch $@

e2e: e2e-client e2e-page ## the real program, end to end

e2e-client: $(BINARY) $(CACHALOT_TEST_MODEL) $(VENV)/ready ## the official openai client against the real program
	CACHALOT_BIN=$(CURDIR)/$(BINARY) $(VENV)/bin/python -m pytest -q -p no:cacheprovider tests-python

e2e-page: $(BINARY) $(CACHALOT_TEST_MODEL) ## the page of the real program in Chromium
	scripts/install-chromium
	cd web && CACHALOT_BIN=$(CURDIR)/$(BINARY) npm run e2e

fuzz-short: ## ten seconds of each fuzz target
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=10

fuzz: ## each fuzz target for FUZZ_SECONDS (600)
	@for target in gguf template; do \
	  scripts/with-tool cargo-fuzz "cargo install cargo-fuzz --locked" \
	    cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=20; \
	done

golden: ## remake the golden vectors from their references (needs PyPI; see golden/README.md)
	golden/make

bench: build $(CACHALOT_TEST_MODEL) ## side by side with llama.cpp; see benches/README.md
	benches/peers/run

clean: ## remove what was built
	rm -rf target web/dist web/node_modules
