# Sembla's house work. `make help` lists what there is.
SHELL := bash
CARGO ?= cargo
SEMBLA := target/release/sembla
BENCH_ROWS ?= 20000

.PHONY: help build demo test bench fmt lint doc runtime

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

runtime: ## fetch ONNX Runtime into .sembla/onnxruntime
	@scripts/fetch-onnxruntime.sh

build: runtime ## build target/release/sembla
	$(CARGO) build --release --locked --package sembla-cli

demo: build ## search, compare and rank real customer questions by meaning
	@examples/demo.sh

test: runtime ## run all tests
	@scripts/fetch-minilm.sh
	@scripts/fetch-moto.sh
	@scripts/fetch-kafka.sh
	$(CARGO) test --release --locked --workspace

bench: build ## compare with sentence-transformers (a download of about 1 GB; BENCH_ROWS=2000 is quick)
	@benches/run.sh $(BENCH_ROWS)

fmt: ## format the code
	$(CARGO) fmt --all

lint: ## check the format, and let clippy look
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

doc: ## build the documentation of the crates
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --release --locked --workspace --no-deps
