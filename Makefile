# Everything a developer or CI does here. Targets call scripts/, which say what they need and why.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
BASE_IMAGE ?=
SOURCES := app sandbox_image loadtests tests

.PHONY: help install demo test check format lock bench chart docs dist sbom image up down clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## make .venv with the console script `eager`, and the sandbox's own Python environment
	@scripts/install

demo: install ## watch a program being run while it is written (no model, no Docker needed)
	@$(BIN)/eager demo

test: install ## all tests; as root on Debian it also provides the Docker Engine and the images they need
	@scripts/test $(ARGS)

check: install ## format, lint, strict types, import direction
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## format, and fix what the linter can
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: install ## write the lock files anew, after a change of dependencies
	$(LOCK) --extra mcp pyproject.toml -o requirements.lock
	$(LOCK) --group dev pyproject.toml -o requirements-dev.lock
	$(LOCK) sandbox_image/sets/core.in -c sandbox_image/sets/pins.txt -o sandbox_image/sets/core.lock
	$(LOCK) sandbox_image/sets/full.in -c sandbox_image/sets/pins.txt -o sandbox_image/sets/full.lock
	$(LOCK) sandbox_image/sets/full.in -o sandbox_image/sets/latest.lock
	$(LOCK) tests/acceptance/requirements/sdks.in -o tests/acceptance/requirements/sdks.lock
	$(LOCK) tests/acceptance/requirements/litellm.in -o tests/acceptance/requirements/litellm.lock
	$(LOCK) tests/acceptance/requirements/llama.in -o tests/acceptance/requirements/llama.lock
	@scripts/sdk-env lock

bench: install ## measure this machine for 35 minutes into docs/evaluation.md and README (ARGS="replay --fast" for less)
	$(BIN)/uv pip install -q --python $(BIN)/python --group bench
	$(BIN)/eager bench $(or $(ARGS),all --publish docs/evaluation.md --quote README.md)

docs: install ## build the documentation as a site in .eager/site, with warnings as errors
	$(BIN)/uv pip install -q --python $(BIN)/python --group docs
	$(BIN)/python scripts/docs

chart: install ## what tests render the Helm chart with: Helm's own engine as a library, 240 MB
	$(BIN)/uv pip install -q --python $(BIN)/python --group chart

dist: install ## wheel and sdist in dist/
	$(BIN)/uv pip install -q --python $(BIN)/python --group release
	rm -rf dist && $(BIN)/python -m build --installer uv

sbom: install ## the locked libraries of the gateway as CycloneDX, in dist/sbom.json
	$(BIN)/uv pip install -q --python $(BIN)/python --group release
	mkdir -p dist
	$(BIN)/python -W ignore -m cyclonedx_py requirements requirements.lock --pyproject pyproject.toml \
		--mc-type application --output-reproducible --of JSON -o dist/sbom.json

image: install ## build the image of the Docker sandboxes (BASE_IMAGE=... for another base)
	$(BIN)/eager image build $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE))

up: ## gateway and replay upstream in containers, sandboxes on the same engine
	@scripts/compose-plugin
	docker compose up --build --detach --wait

down: ## stop what `up` started; leaves nothing
	docker compose down --volumes --remove-orphans

clean: ## remove what install and the tools have made
	rm -rf .venv .eager/sandbox-env .eager/sdk-env .eager/cpython-* build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
