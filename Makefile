# Herald. `make help` lists what there is; `make demo` and `make test` are where to begin.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .bootstrap/uv)
BIN := .venv/bin
STATE ?= .herald
DEMO_FILE ?= examples/demo.yaml
# auto is a real node for root and none for others; CLUSTER_FLAGS=--install installs the packages that it lacks.
CLUSTER_STATE ?= .cluster
CLUSTER_NODE ?= auto
CLUSTER_FLAGS ?=
# Tests wait for servers more than they compute. Each one at once has servers of its own, so not too many. In the order
# of their names: what takes longest comes first.
TESTS_AT_ONCE ?= $(shell echo $$(($$(nproc) < 3 ? 3 : 4)))
PYTEST_FILES = $(BIN)/pytest -q -n $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder
# Only what Herald ships and tests with; a stranger's PYTHONPATH has no place in it.
unexport PYTHONPATH
# Triton's Python package needs NumPy 1, which has no wheels from 3.13 on: then uv finds or fetches a 3.12.
export UV_PYTHON ?= $(shell $(PYTHON) -c 'import sys; print("$(PYTHON)" if sys.version_info < (3, 13) else "3.12")')
LOCKED := uv.lock pyproject.toml $(wildcard */pyproject.toml)

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  \033[36m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it
.PHONY: demo down
demo: .venv/.run ## Start everything on this machine and see one message answered
	@$(BIN)/herald demo -f $(DEMO_FILE) --state $(STATE)

down: .venv/.run ## Stop what `make demo` started
	@$(BIN)/herald down --state $(STATE)

##@ Work on it
.PHONY: sync fmt gen clean
sync: .venv/.dev ## Install everything needed to develop, into .venv

fmt: .venv/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

gen: .venv/.dev ## Write what is generated from the models: the CRD, and its chart
	$(BIN)/python -m tools.gen

clean: ## Remove what make made (the state folder of a demo stays)
	rm -rf .venv .bootstrap .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

##@ Ship it
.PHONY: images
images: ## Build all images into archives (buildah, podman or docker): docs/images.md
	@$(PYTHON) -m tools.images build

##@ Prove it
.PHONY: check lint types arch layout generated test test-unit test-integration test-cluster test-images e2e chaos bench
check: lint types arch layout generated ## Everything that needs no server: what CI runs first
	@$(UV) lock --check --quiet

lint: .venv/.dev ## Style and common mistakes
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

types: .venv/.dev ## mypy, strict, tests included
	$(BIN)/mypy --no-error-summary

arch: .venv/.dev ## Import rules: docs/architecture.md as a test
	$(BIN)/lint-imports --config pyproject.toml

layout: ## Module sizes and names
	@$(PYTHON) tools/check_layout.py

generated: .venv/.dev ## Whether `make gen` would change a file
	@$(BIN)/python -m tools.gen --check

test: test-unit test-integration test-cluster ## All that needs no root, a round of kill tests among them

test-unit: .venv/.dev ## Seconds, no server
	$(PYTEST_FILES) tests/unit

test-integration: .venv/.dev ## Against real servers, each from its package
	$(PYTEST_FILES) tests/chaos tests/integration

test-images: .venv/.dev ## What is in the images, and how they run (root, buildah, mmdebstrap, runc)
	$(BIN)/pytest tests/images -q

test-cluster: cluster-build ## Against a real Kubernetes, control plane and pretended nodes; builds it the first time
	$(PYTEST_FILES) tests/cluster

# A KUBECONFIG of the environment names whatever cluster somebody works on, so it does not count: only a given one.
e2e: .venv/.dev ## helm install, real pods, kills under load: on a node of our own (root), or KUBECONFIG=FILE (docs/cluster.md)
	$(if $(filter command,$(origin KUBECONFIG)),HERALD_E2E_KUBECONFIG='$(KUBECONFIG)') $(BIN)/pytest tests/e2e -q

chaos: .venv/.dev ## The long round of kill tests (CHAOS_SECONDS, CHAOS_SEED)
	CHAOS_SECONDS=$${CHAOS_SECONDS:-600} $(BIN)/pytest tests/chaos -q -s

bench: .venv/.bench ## Side-by-side ratios, written to benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

##@ A cluster on this machine
.PHONY: cluster-up cluster-down cluster-status cluster-build
cluster-up: .venv/.dev ## Start a Kubernetes (CLUSTER_NODE=auto|none|fake|real)
	@$(BIN)/python -m tools.cluster up --state $(CLUSTER_STATE) --node $(CLUSTER_NODE) $(CLUSTER_FLAGS)

cluster-down: .venv/.dev ## End it and remove all but its logs
	@$(BIN)/python -m tools.cluster down --state $(CLUSTER_STATE)

cluster-status: .venv/.dev ## What runs
	@$(BIN)/python -m tools.cluster status --state $(CLUSTER_STATE)

cluster-build: .venv/.dev ## Build all its programs, Argo CD and CloudNativePG, once (20 minutes on two cores)
	@$(BIN)/python -m tools.cluster build

# Environments. uv is fetched when the machine has none; --inexact lets the three live in one .venv.
.bootstrap/uv:
	@$(PYTHON) tools/get_uv.py .bootstrap

.venv/.run: $(LOCKED) | $(if $(filter .bootstrap/uv,$(UV)),.bootstrap/uv)
	@echo "installing Herald and its servers into .venv ..." >&2
	@$(UV) sync --locked --inexact --quiet --no-default-groups --group run
	@touch $@

.venv/.dev: $(LOCKED) | $(if $(filter .bootstrap/uv,$(UV)),.bootstrap/uv)
	@echo "installing Herald and its development tools into .venv ..." >&2
	@$(UV) sync --locked --inexact --quiet
	@touch $@ .venv/.run

.venv/.bench: $(LOCKED) | $(if $(filter .bootstrap/uv,$(UV)),.bootstrap/uv)
	@$(UV) sync --locked --inexact --quiet --group bench
	@touch $@
