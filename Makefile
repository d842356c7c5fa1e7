# Lucid TRON Console. `make help` lists what there is.

PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check --no-input
CODE := compose lucid_tron_console services tests

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev tools run static check test test-long bench picture lock clean
# Half a virtual environment is worse than none.
.DELETE_ON_ERROR:

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.run ## Make .venv with what the node and its console need

setup-dev: $(VENV)/.dev ## The same, and what the tests need

run: setup ## Set up if need be, start a node on the embedded devnet behind a private Tor network, open the console
	$(call want,tor)
	@$(BIN)/lucid-tron demo

check: static ## Format, lint, types, import contracts and unit tests: the fast loop
	$(UNIT_TESTS)

test: tools static ## All of that, the tests with a real Tor network, and those of the whole system
	$(UNIT_TESTS)
	$(BIN)/pytest -m "real_tor and not long" --ignore=tests/system
	$(BIN)/pytest -n auto --maxprocesses 2 --dist loadfile -m "not long" tests/system

test-long: tools setup-dev ## Tests that take minutes
	$(BIN)/pytest -m long

static: setup-dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(BENCH)/.done ## Measure against the goals, each as a ratio within one run (ONLY="reads writes" picks)
	$(call need,nyx tor)
	$(BENCH)/bin/python -m tests.bench $(ONLY)

picture: setup-dev ## Make console.svg and tor.svg, the README's pictures, from the real console
	$(call need,tor)
	$(BIN)/python -m tests.repository.picture console.svg tor.svg

lock: setup-dev ## Resolve the dependencies anew and write the lock files
	$(call compile,requirements.lock,--extra build)
	$(call compile,requirements-dev.lock,--extra build --extra dev --constraint requirements.lock)
	$(call compile,requirements-bench.lock,--extra build --extra bench --constraint requirements-dev.lock)

clean: ## Remove what was made; a node's state in its home stays
	rm -rf $(VENV) $(BENCH) build dist *.egg-info tests/protocol/tronweb/node_modules
	rm -rf .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# --- how ---

# As many at once as there are cores, to four.
UNIT_TESTS = $(BIN)/pytest -q -n auto --maxprocesses 4 --dist worksteal -m "not long and not real_tor" --ignore=tests/system

compile = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate pyproject.toml --output-file $(1) $(2)

# $(call need,program[:Debian package]...): install what is missing when we may, else say how and stop.
need = $(call get,exit 1,$(1))
# $(call want,...): the same, and go on without it.
want = $(call get,:,$(1))
# Debian starts a daemon that it installs: no_starts forbids that for the time, as policy-rc.d is there for.
get = @missing=; for tool in $(2); do \
		PATH="$$PATH:/usr/sbin:/sbin" command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool\#\#*:}"; \
	done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		$(no_starts); apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $$missing </dev/null || $(1); \
	else \
		echo "missing: sudo apt-get install$$missing" >&2; $(1); \
	fi
no_starts = policy=/usr/sbin/policy-rc.d; if [ ! -e $$policy ]; then \
		trap "rm -f $$policy" EXIT HUP INT TERM; printf '\#!/bin/sh\nexit 101\n' >$$policy; chmod 755 $$policy; \
	fi

tools:
	$(call need,git curl ps:procps tmux node:nodejs npm docker-compose systemd-analyze:systemd tor ip:iproute2)

define new_venv
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; \
		else \
			echo "Python's venv module is missing: sudo apt-get install python3-venv" >&2; exit 1; \
		fi; }
	$(PYTHON) -m venv --clear $(1)
endef

# setuptools comes from the lock file too: pip's build isolation would fetch one that nobody pinned.
install = $(1)/bin/python $(PIP) install --quiet --require-hashes --requirement $(2) && \
	$(1)/bin/python $(PIP) install --quiet --no-deps --no-build-isolation --editable .

$(BIN)/python:
	$(call new_venv,$(VENV))

$(VENV)/.run: $(BIN)/python requirements.lock pyproject.toml
	$(call install,$(VENV),requirements.lock)
	@$(BIN)/python -m compileall -q services lucid_tron_console
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(BIN)/python $(PIP) install --quiet --require-hashes --requirement requirements-dev.lock
	@touch $@

$(BENCH)/.done: requirements-bench.lock pyproject.toml
	$(call new_venv,$(BENCH))
	$(call install,$(BENCH),requirements-bench.lock)
	@$(BENCH)/bin/python -m compileall -q services lucid_tron_console
	@touch $@
