# Development tasks. `make help` lists them.
SHELL := bash
CARGO ?= cargo
BENCH_ROWS ?= 20000

# Compiled crates go to CARGO_TARGET_DIR if that is set, else to a folder in the user's cache that all checkouts share:
# what was built once is not built again. The binary then lies in target/release of this checkout.
ifneq ($(CARGO_TARGET_DIR),)
TARGET := $(CARGO_TARGET_DIR)
else
TARGET := target
export CARGO_BUILD_BUILD_DIR ?= $(shell scripts/build-dir.sh)
endif
export SEMBLA ?= $(abspath $(TARGET))/release/sembla

.PHONY: help tools build demo test torture fuzz bench rank package fmt lint doc docs runtime

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "The binary is $(SEMBLA); crates are compiled in $(or $(CARGO_BUILD_BUILD_DIR),$(TARGET))"

tools: ## say what is missing on this machine to build Sembla
	@scripts/check-tools.sh

runtime: ## fetch ONNX Runtime into .sembla/onnxruntime
	@scripts/fetch-onnxruntime.sh

build: tools runtime ## build the binary, target/release/sembla
	$(CARGO) build --release --locked --package sembla

demo: ## build, then search, compare and rank real customer questions by meaning
	@examples/demo.sh --announce
	@$(MAKE) --no-print-directory build
	@examples/demo.sh

test: tools runtime ## run all tests
	@scripts/fetch-minilm.sh
	@scripts/fetch-moto.sh
	@scripts/fetch-kafka.sh
	@scripts/fetch-postgres.sh
	@scripts/fetch-chroma.sh
	$(CARGO) test --release --locked --workspace

torture: build ## kill, damage and confuse the built binary for 18 minutes (SEED=2 for other choices)
	@scripts/torture.py --binary $(SEMBLA) --seed $(or $(SEED),1)

fuzz: runtime ## run one fuzz target (FUZZ=formats SECONDS=600; see fuzz/README.md)
	@scripts/fuzz.sh "$(FUZZ)" $(or $(SECONDS),600)

bench: build ## compare with sentence-transformers (a download of about 1 GB; BENCH_ROWS=2000 is quick)
	@benches/run.sh $(BENCH_ROWS)

rank: build ## rank models on the repository's texts, and on public data in a folder (MODELS=a,b DATA=folder ROWS=800 OUT=ranking)
	@scripts/rank.sh "$(or $(MODELS),minilm,potion)" "$(DATA)" "$(ROWS)" "$(or $(OUT),ranking)"

package: build ## make an archive and a wheel that run without a compiler, in .sembla/packages
	@scripts/package.sh

fmt: ## format the code
	$(CARGO) fmt --all

lint: ## check the format, and run clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets --features sembla-fuzz/targets -- -D warnings

docs: build ## write the generated pages of docs/
	@$(SEMBLA) pages docs

doc: ## build the documentation of the crates
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --release --locked --workspace --no-deps
