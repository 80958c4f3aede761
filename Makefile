# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# `make help` lists the targets; without one, it is demo. Each does its own set-up: a virtual
# environment in .venv and the test guests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Those that wait for a lab take no processor's time of their own.
WORKERS := $(shell expr 3 + $$(nproc))
DEV_STAMP := $(VENV)/.installed-dev
RUN_STAMP := $(VENV)/.installed
# Named after the place: scripts in a virtual environment know where they are.
VENV_STAMP := $(VENV)/.made-in-$(shell pwd -P | cksum | tr ' ' -)

# Many Pythons are started here, in the lab too: each would compile all of pyvmm anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-linux test proof lint bench guests clean help

demo: $(RUN_STAMP) guests ## boot a guest that drives a PCI device; in software if there is no KVM
	$(BIN)/pyvmm run --lab-without-kvm configs/edu.yaml

demo-linux: $(RUN_STAMP) ## boot Linux with an NVMe drive by the kernel's VFIO, in the lab
	$(BIN)/pyvmm run --lab --device nvme --memory 2G configs/linux-nvme.yaml

test: $(DEV_STAMP) guests ## run all tests; some: PYTEST_ARGS="tests/unit -k edu"
	$(BIN)/pytest -n $(WORKERS) $(PYTEST_ARGS)

proof: $(DEV_STAMP) guests ## run the long tests: Linux drives real devices; kernels, back ends
	$(BIN)/pytest -n $$(nproc) -m proof $(PYTEST_ARGS)

lint: $(DEV_STAMP) ## check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV_STAMP) guests ## measure pyvmm beside its peers; less: BENCH_ARGS=--quick
	$(BIN)/python -m bench $(BENCH_ARGS)

guests: ## build the test guests into guests/build
	@tools/prerequisites.sh run
	@$(MAKE) -q -C guests >/dev/null 2>&1 || echo "building the test guests"
	@$(MAKE) --no-print-directory -s -C guests

# --clear: what an interrupted attempt, or a move of the checkout, has left is of no use.
$(VENV_STAMP):
	@tools/prerequisites.sh run
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --upgrade pip
	@touch $@

$(RUN_STAMP): pyproject.toml $(VENV_STAMP)
	@echo "installing pyvmm into $(VENV)"
	@$(BIN)/pip install -q --disable-pip-version-check -e .
	@touch $@

$(DEV_STAMP): pyproject.toml $(VENV_STAMP)
	@tools/prerequisites.sh test
	@echo "installing pyvmm and its test tools into $(VENV)"
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[dev,uapi]'
	@touch $@ $(RUN_STAMP)

clean: ## remove what the others have made
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	$(MAKE) -C guests clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile
