# Everything here works on a machine that has only Python >= 3.11 with pip, git and make.

PYTHON ?= python3
CONFIG ?= examples/quickstart.yaml
# Test processes side by side; ARGS goes to pytest as it is, as in: make test JOBS=0 ARGS="-k failover -x"
JOBS ?= 2
ARGS ?=

BIN := .venv/bin
# Debian keeps nginx where an ordinary user's PATH does not look.
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help serve test test-long conformance check bench docs release clean env env-serve programs

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: env-serve ## run the hub: CONFIG=FILE, by default examples/quickstart.yaml
	@exec $(BIN)/concento serve $(CONFIG)

test: env programs ## run the tests: JOBS=N side by side, ARGS="..." for pytest
	@$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

test-long: env programs ## run only the tests that take minutes
	@$(BIN)/pytest -m long --timeout 1800 $(ARGS)

conformance: env ## run the official conformance suite and print a table: ARGS=--json for every finding
	@$(BIN)/python -m tests.conformance $(ARGS)

check: env ## lint, format, types, layering, and that uv.lock fits pyproject.toml
	@$(BIN)/uv lock --check --quiet
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/pytest -q tests/test_layering.py

bench: env programs ## measure what a call costs, here and through other gateways: ARGS="..." for the benchmark
	@$(BIN)/python -m benchmarks $(ARGS)

docs: env ## write the reference from the code and build the documentation into site/docs
	@$(BIN)/python -m scripts.reference
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet -E -d site/.doctrees docs site/docs
	@echo "  site/docs/index.html"

release: env ## build what users install into dist/, and try all of it: ARGS="--without-root"
	@scripts/system-packages systemd-analyze $(if $(findstring --without-root,$(ARGS)),,bwrap buildah debootstrap)
	@$(BIN)/python -m scripts.release $(ARGS)

clean: ## remove all that make has brought or built
	@rm -rf .venv .tools dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

env env-serve:
	@command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) here: install Python 3.11 or newer, or name one with PYTHON="; exit 2; }
	@"$(PYTHON)" scripts/bootstrap.py $(if $(filter env-serve,$@),serve,dev)

programs: env
	@scripts/system-packages nginx wrk bwrap zsh fish prometheus chromium
