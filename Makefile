# `make test` and `make demo` need Python 3.11+, make and the package index: they
# set up the rest. `make help` lists what else there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Written once the install has succeeded, so that the next run starts at once.
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
# A file stays on one worker: its tests may share a server.
PYTEST_ARGS ?= -q -n auto --dist loadfile
# Only what make is given: a shell's own SECONDS counts its age.
given = $(if $(filter command line,$(origin $(1))),$(2) '$($(1))')
BENCH_OPTIONS = $(call given,CASES,--cases) $(call given,PEERS,--peers) $(call given,BODIES,--bodies) \
  $(call given,ROUNDS,--rounds) $(call given,SECONDS,--seconds) $(call given,OUTPUT,--output)
SOURCES := benchmarks broker cli migrations tests
# How long `make torture`, `make soak` and `make fuzz` take; what `make powercut` rebuilds
# in each of its runs, and at how many places of a run `make faults` strikes.
MINUTES ?= 10
STATES ?= 6000
PLACES ?= 40
# A test that takes long by design is not shown as hanging.
LONG := -o faulthandler_timeout=0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup test demo statements lint format types architecture migrations wheel check clean
.PHONY: bench bench-docs bench-smoke bench-stages bench-million bench-backup bench-oneshot
.PHONY: powercut faults fuzz torture soak

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with the program and all it is developed with

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is missing or older than Python 3.11; name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot create virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# What the bench compares with, and draws with.
$(BENCH_STAMP): $(STAMP) pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@

test: $(STAMP) ## run the whole suite (PYTEST_ARGS='-k name' for a part)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

demo: $(STAMP) ## show what it does, in a temporary folder
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo

statements: $(STAMP) ## put the text of the statements of broker/store/core where it runs
	$(BIN)/python scripts/make-statements

lint: $(STAMP) ## ruff: style and likely defects, and the format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy --strict $(SOURCES)

architecture: $(STAMP) ## import-linter: who may import whom
	$(BIN)/lint-imports

# Upgrades an empty file first: `alembic check` compares a database with the models.
migrations: $(STAMP) ## alembic: the revisions lead to the models
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && export BROKER_URL="$$folder/check.db" && \
	  $(BIN)/alembic upgrade head && $(BIN)/alembic check

wheel: $(STAMP) ## build the wheel and try it in an environment of its own
	PYTHON="$(BIN)/python" scripts/smoke-wheel

# Each is optional: CASES="a b" PEERS="broker redis" BODIES="100" ROUNDS=3 SECONDS=2
bench: $(BENCH_STAMP) ## measure beside every peer that is installed; some 20 minutes
	$(BIN)/python -m benchmarks $(BENCH_OPTIONS)

bench-docs: $(BENCH_STAMP) ## put the last bench into docs/performance.md
	$(BIN)/python -m benchmarks.document

bench-smoke: $(STAMP) ## count statements, commits, syncs, imports; fails when one got worse
	$(BIN)/python -m benchmarks.smoke

bench-million: $(STAMP) ## what a million messages in front cost
	$(BIN)/python -m benchmarks.million

bench-stages: $(STAMP) ## where the time of one send, and of one pushed message, goes
	$(BIN)/python -m benchmarks.stages

bench-backup: $(STAMP) ## what a back-up costs those who go on
	$(BIN)/python -m benchmarks.backup

bench-oneshot: $(STAMP) ## what a one-shot costs
	$(BIN)/python -m benchmarks.oneshot

powercut: $(STAMP) ## cut the power in thousands of ways (STATES=6000)
	BROKER_TEST_STATES=$(STATES) BROKER_TEST_STEPS=400 $(BIN)/python -m pytest -q -s $(LONG) tests/faults/test_power_cut.py

faults: $(STAMP) ## let writes and syncs fail at many places (PLACES=40, 0: all)
	BROKER_TEST_PLACES=$(PLACES) $(BIN)/python -m pytest -q -s $(LONG) tests/faults/test_failing_disk.py

fuzz: $(STAMP) ## look for words and bytes that break something (MINUTES=10)
	$(BIN)/python tests/fuzz $(MINUTES)

# A round is repeated by the seed it prints: make torture MINUTES=1 SEED=7.
torture: $(STAMP) ## kill everything under load and look for what must not be (MINUTES=60 SEED=7)
	PYTHONPATH=tests $(BIN)/python -m crash.torture --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

soak: $(STAMP) ## half the maximal load for long, and does anything grow? (MINUTES=30)
	PYTHONPATH=tests $(BIN)/python -m crash.soak --minutes $(MINUTES)

check: test demo lint types architecture migrations wheel ## all of it

clean: ## remove what the other targets have made
	rm -rf $(VENV) build dist brokerctl.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
