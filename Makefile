# ZeroFS: every verb says what it does as it goes, and can be run twice.
SHELL := /bin/bash
.DEFAULT_GOAL := build

SHARED ?= ../shared
ZEROFS ?= .build/release/zerofs
CACHE := .build-conformance
BENCH_CACHE := .build-bench
TESTS_BUILD := .build-tests
PYTHON := .venv/bin/python
CONFORMANCE := Tests/conformance
REQUIREMENTS := $(CONFORMANCE)/requirements.txt $(CONFORMANCE)/requirements-nodeps.txt
BUILD_PACKAGES := fuse3 libfuse3-dev libzstd-dev libisal-dev zlib1g-dev pkg-config
PYTHON_PACKAGES := g++ python3-dev python3-venv mpich procps strace zstd
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

say = @printf '\n\033[1m==> %s\033[0m\n' $(1)
# $(call install,PACKAGES): apt-get only when something is missing
define install
	@missing=$$(for p in $(1); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "installing" $$missing; \
	  $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; \
	else echo "already there:" $(1); fi
endef

.PHONY: help build install static dist wheel portability demo tables test check megatron tsan asan fuzz windows soak bench clean \
  build-packages python-packages build-tests

help: ## what the verbs do
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

build: build-packages ## build the release binary, .build/release/zerofs
	$(call say,"Building zerofs (release, Swift runtime linked in)")
	swift build -c release --static-swift-stdlib --product zerofs

PREFIX ?= /usr/local
MANUAL := manual/debug/generate-manual

# The tool of swift-argument-parser that its plugin runs; the package is there once zerofs is built.
%/$(MANUAL):
	swift build --package-path $*/checkouts/swift-argument-parser --scratch-path $*/manual --product generate-manual

install: build .build/$(MANUAL) ## PREFIX=/usr/local: the program, manual pages, zerofs_megatron, completion for bash, zsh and fish
	$(call say,"Installing to $(DESTDIR)$(PREFIX)")
	Packaging/install.sh $(ZEROFS) .build/$(MANUAL) $(DESTDIR)$(PREFIX)

# One file without shared libraries, for machines that are older than this one: libc, libfuse3 and libstdc++ are linked in.
DIST := .build-dist
STATIC := $(DIST)/release/zerofs

static: build-packages ## build a binary that needs no library: .build-dist/release/zerofs
	$(call install,nasm)
	$(call say,"Building zerofs (release, static)")
	Packaging/libisal.sh $(DIST)/lib
	swift build -c release --scratch-path $(DIST) --product zerofs -Xswiftc -static-executable -Xlinker -L$(abspath $(DIST)/lib)

dist: static $(DIST)/$(MANUAL) ## a tarball that runs on x86-64 Linux with /dev/fuse and fusermount3
	$(call say,"Packing the tarball")
	Packaging/tarball.sh $(STATIC) $(DIST)/$(MANUAL) $(DIST)

wheel: static ## a Python wheel with the program and zerofs_megatron
	$(call say,"Packing the wheel")
	python3 Packaging/wheel.py $(STATIC) $(DIST)

portability: dist wheel ## the tarball and the wheel in bare roots of Debian 11, 12 and 13 (root; debootstrap)
	$(call install,debootstrap)
	$(call say,"Trying the tarball and the wheel in bare roots")
	Packaging/portability.sh $(DIST)

demo: build .venv/.stamp ## a real model mounted, trained, mounted back; MEGATRON_DEEPSPEED=CHECKOUT: trained by real MDS
	$(call say,"Making SmolLM2-135M-Instruct as a Hugging Face directory")
	$(PYTHON) $(CONFORMANCE)/smollm2.py $(CACHE)/smollm2
	$(call say,"Mounting it; training from the mount; mounting what was saved")
	SHARED=$(abspath $(SHARED)) $(PYTHON) $(CONFORMANCE)/demo.py $(ZEROFS) $(CACHE)/smollm2

tables: build ## write the tables of models in README.md and docs/models.md
	python3 $(CONFORMANCE)/model_tables.py $(ZEROFS)

# In a folder of their own, so that both builds run side by side: SwiftPM locks its folder.
build-tests: build-packages
	$(call say,"Building the Swift tests (debug)")
	swift build --build-tests --scratch-path $(TESTS_BUILD)

test: check build-packages python-packages ## everything that CI runs
	@$(MAKE) --no-print-directory -j3 --output-sync=line build build-tests .venv/.stamp
	$(call say,"Swift tests")
	swift test --skip-build --scratch-path $(TESTS_BUILD)
	$(call say,"The fuzzers' corpus")
	for corpus in Tests/Fuzz/corpus/*; do $(TESTS_BUILD)/debug/zerofs-fuzz $$(basename $$corpus) $$corpus/* || exit 1; done
	$(call say,"Conformance: the mount against real torch and DeepSpeed")
	ZEROFS=$(ZEROFS) SHARED=$(SHARED) $(PYTHON) -m pytest $(CONFORMANCE)

megatron: .venv/.stamp ## MEGATRON_DEEPSPEED=CHECKOUT [OTHER_…=]: the extension in real Megatron-DeepSpeed
	@test -n "$(MEGATRON_DEEPSPEED)" || { echo "make megatron MEGATRON_DEEPSPEED=CHECKOUT: a checkout of" \
	  "argonne-lcf/Megatron-DeepSpeed, or of deepspeedai's before FPDT (6acc370)"; exit 2; }
	$(call say,"Real Megatron-DeepSpeed extended by zerofs_megatron against transformers")
	SHARED=$(SHARED) MEGATRON_DEEPSPEED=$(MEGATRON_DEEPSPEED) \
	  OTHER_MEGATRON_DEEPSPEED=$(OTHER_MEGATRON_DEEPSPEED) $(PYTHON) -m pytest Tests/megatron

check: ## formatting, as .swift-format says
	$(call say,"Checking format")
	swift format lint --strict -r Sources Tests Package.swift

tsan: build-packages ## the Swift tests and live mounts under ThreadSanitizer; SUITES="ReadTests …" for some
	$(call say,"ThreadSanitizer")
	Tests/sanitizers/run.sh thread $(SUITES)

asan: build-packages ## likewise under AddressSanitizer
	$(call say,"AddressSanitizer")
	Tests/sanitizers/run.sh address $(SUITES)

fuzz: build-packages ## mutated inputs of every kind, 5 s each; RUNS=1000000 for so many executions each
	$(call say,"Fuzzing")
	Tests/Fuzz/run.sh $(RUNS)

windows: build .venv/.stamp ## WINDOWS=10000000: random windows against what Megatron-DeepSpeed saved, in process and through the mount
	$(call say,"Random windows")
	swift build -c release --static-swift-stdlib --product zerofs-windows
	SHARED=$(SHARED) $(PYTHON) $(CONFORMANCE)/windows.py $(ZEROFS) .build/release/zerofs-windows --count $(or $(WINDOWS),10000000)

soak: build .venv/.stamp ## MINUTES=10: 64 readers who compare every byte, 5,000 open files, 2,000 layouts, memory
	$(call say,"Load")
	SHARED=$(SHARED) $(PYTHON) $(CONFORMANCE)/soak.py $(ZEROFS) --minutes $(or $(MINUTES),10)

bench: build .venv/.stamp ## throughput, scale and growth against references: Benchmarks/RESULTS.md
	$(call say,"Measuring (a quiet machine gives better figures)")
	$(PYTHON) Benchmarks/bench.py $(ZEROFS) --disk $(BENCH_CACHE) --smollm2 $(CACHE)/smollm2 --oracle $(SHARED)/oracle --tools $(SHARED)/tools

clean: ## remove what the other verbs made
	rm -rf .build $(TESTS_BUILD) .build-tsan .build-asan .build-fuzz $(DIST) .venv $(CACHE) $(BENCH_CACHE)

build-packages:
	$(call say,"Debian packages for the build")
	$(call install,$(BUILD_PACKAGES))

python-packages:
	$(call say,"Debian packages for the Python side")
	$(call install,$(PYTHON_PACKAGES))

.venv/.stamp: $(REQUIREMENTS) | python-packages
	$(call say,"Python packages into .venv")
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r $(CONFORMANCE)/requirements.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r $(CONFORMANCE)/requirements-nodeps.txt
	touch $@
