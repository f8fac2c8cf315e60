# SPDX-License-Identifier: MIT OR Apache-2.0
# The front door of HermitCore. `make help` lists the targets; the work is done by programs in ci/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# What isn't installed yet comes first: when this file has been made, make starts over, and finds the compilers.
ifneq ($(filter-out help clean,$(MAKECMDGOALS)),)
include build/packages.mk
build/packages.mk: ci/packages ci/deps.sh
	@ci/deps.sh
	@mkdir -p build
	@touch $@
endif

# Debian's compilers come first: rustup's shims would shadow them, and may lack the library's source.
export CARGO ?= $(firstword $(wildcard /usr/bin/cargo) cargo)
export RUSTC ?= $(firstword $(wildcard /usr/bin/rustc) rustc)
export RUSTDOC ?= $(firstword $(wildcard $(dir $(RUSTC))rustdoc) rustdoc)

vm_variables = VCPUS="$(VCPUS)" NODES="$(NODES)" MEM="$(MEM)" APIC="$(APIC)" KERNEL="$(KERNEL)" APPEND="$(APPEND)" \
	TIMEOUT="$(TIMEOUT)" SHARE="$(SHARE)" ROOT="$(ROOT)" ISLE="$(ISLE)" CPUS="$(CPUS)" ARGS='$(subst ','\'',$(ARGS))'
kernel_wanted = $(or $(KERNEL),normal)
vm = build/hermit-vm --qemu "$$(ci/qemu.sh)"
tests = $(sort $(wildcard ci/tests/*.sh))

# "run" and "exec" exit with the status of the program or script, which make by itself can't: see make-status.c.
with_status = status=0; $(1) || status=$$?; \
	if [ -e build/make-status.so ]; then echo $$status >"$(STATUS_FILE)"; else exit $$status; fi
ifneq ($(filter run exec,$(MAKECMDGOALS)),)
export STATUS_FILE := build/status-$(shell echo $$PPID)
-load build/make-status.so(make_status_gmk_setup)
build/make-status.so: ci/make-status.c build/packages.mk
	@gcc -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<
endif

##@ For users
.PHONY: run exec qemu test bench soak fuzz check clean help build

run: build ## Run APP (default: hello) on an isle of a VM, or ISLE=qemu. ARGS ISLE CPUS VCPUS NODES MEM ROOT TIMEOUT
ifeq ($(ISLE),qemu)
	@$(call with_status,HERMIT_ISLE=qemu HERMIT_CPUS="$(CPUS)" HERMIT_MEM="$(MEM)" build/proxy "$(or $(APP),build/apps-plain/hello)" $(ARGS))
else
	@$(call with_status,$(vm) run APP="$(or $(APP),build/apps/hello)" $(vm_variables))
endif

exec: build ## Run SCRIPT as root in the VM, with SHARE mounted at /host. ROOT=dir: the guest's root
	@$(call with_status,$(vm) exec SCRIPT="$(SCRIPT)" $(vm_variables))

qemu: build ## The VM for a person: a root shell; leaving it ends the VM
	@$(vm) shell VCPUS="$(or $(VCPUS),10)" NODES="$(or $(NODES),2)" MEM="$(or $(MEM),8G)" \
		APIC="$(APIC)" KERNEL="$(KERNEL)" APPEND="$(APPEND)" SHARE="$(SHARE)" ROOT="$(ROOT)"

##@ For developers
test: build build-debug ## Run every test; the last line is the count
	@$(vm) test --crate isle-kernel/abi --crate isle-kernel/abi/model --crate isle-kernel/plat --crate isle-kernel/vdso --crate isle-kernel/kernel \
		--crate rust-module/host-tests --crate proxy --crate ci/vm --crate ci/bench $(tests)

bench: build ## Compare Linux and an isle: target/bench/report.html. METHODS RUNS NOISE
	@ci/bench.sh

soak: build ## Tests that take long: machines of all shapes, an hour of clocks, wild calls, larger programs, fuzzers (3 h)
	@ci/deps.sh ci/packages-soak
	@$(vm) test $$(ci/soak.sh)
	@ci/fuzz.sh

fuzz: ## Fuzz all that parses what another side has written: SECONDS each (default 600)
	@ci/fuzz.sh $(SECONDS)

check: ## Formatting and clippy, warnings denied
	@ci/check.sh

clean: ## Remove what was built here (the kernel stays in its cache)
	rm -rf build target
	for dir in isle-kernel proxy ci/vm ci/bench ci/fuzz rust-module/host-tests isle-kernel/abi isle-kernel/abi/model apps/tests/echo-tokio; do rm -rf $$dir/target; done

help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { print "\n" substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

build:
	@ci/deps.sh
	@ci/build.sh $(kernel_wanted)

.PHONY: build-debug
build-debug: build
	@ci/build.sh debug
