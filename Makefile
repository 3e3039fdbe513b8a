# Captionloop needs Python 3.11 to 3.14 and make; everything else is installed into .venv by plain pip.
# Another Python: make run PYTHON=python3.13

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Compiled when first imported and kept, rather than all 15 000 files while installing: most are never imported.
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run demo test label-studio faults attack test-torch test-with-torch check types format lock audit sbom image newcomer notebooks clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.installed  ## Install and start everything: Label Studio, Redis, the worker, the backend
	@$(BIN)/captionloop up $(ARGS)

demo: $(VENV)/.installed  ## Watch the loop turn for five minutes, with a scripted annotator, in a home of its own
	@$(BIN)/captionloop demo $(ARGS)

# Three processes for two cores: tests wait for servers, and one computes meanwhile. Each has one thread, since threads of
# several that wait for the same core would slow each other.
test: $(VENV)/.installed-dev  ## Run the checks and the whole suite
	@$(MAKE) --no-print-directory --jobs 2 check types label-studio
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --no-loadscope-reorder --durations=15 $(ARGS)

label-studio: $(VENV)/.installed-dev  # what the suite needs and takes minutes to install, once
	@$(BIN)/python -m tests.support.install_label_studio

faults: $(VENV)/.installed-dev  ## Run the fault tests alone: kills, full disks, lost services (docs/reliability.md)
	@$(BIN)/python -m pytest -m faults --durations=15 $(ARGS)

# Loopback only; what reads pictures over the network is tried in its own process, the rest against `captionloop serve`.
attack: $(VENV)/.installed-dev  ## Attack an instance of its own over the network, in under five minutes (docs/security.md)
	@timeout 300 $(BIN)/python -m pytest -n 0 tests/attack tests/backend/label_studio/test_checked_network.py \
		tests/backend/label_studio/test_deadlines.py tests/backend/server/test_arrivals.py $(ARGS)

# Each PyTorch has an environment of its own; TORCH_VENV names one that is there.
test-torch:  ## Run the tests of what computes with another PyTorch: make test-torch TORCH=2.14.1
	@test -n "$(TORCH)" || { echo "Which one? For example: make test-torch TORCH=2.14.1" >&2; exit 2; }
	@$(MAKE) --no-print-directory VENV="$(or $(TORCH_VENV),.venv-torch-$(TORCH))" test-with-torch

test-with-torch: $(VENV)/.installed-dev
	@$(BIN)/python -c 'import sys, torch; sys.exit(torch.__version__.partition("+")[0] != "$(TORCH)")' || { \
		echo "The PyTorch in $(VENV) is not $(TORCH)." >&2; exit 1; }
	@$(BIN)/python -m pytest -n 0 tests/model/blip tests/model/captioning tests/model/training \
		tests/test_device.py tests/test_on_another_device.py tests/test_private_operators.py $(ARGS)

check: $(VENV)/.installed-dev  ## Check format, style and who imports whom
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo --no-cache

types: $(VENV)/.installed-dev  ## Check types
	@$(BIN)/mypy

# the_loop.ipynb needs a running instance: make notebooks ARGS=examples/the_loop.ipynb beside `make run`
notebooks: $(VENV)/.installed-dev  ## Run examples/finetune_blip.ipynb again, and keep its outputs
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tools.notebooks $(ARGS)

format: $(VENV)/.installed-dev  ## Put the code into its format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# For every Python and system at once. What is pinned already stays, unless: make lock ARGS=--upgrade
lock: LOCKED = $(if $(findstring --upgrade,$(ARGS)),\# Versions of $(shell date -u +%F),$(shell head -n 1 requirements.lock))
lock: $(VENV)/.installed-audit  ## Pin everything that an installation needs, with hashes, in requirements.lock
	@$(BIN)/uv pip compile --quiet pyproject.toml --extra postgres --extra tensorboard \
		--universal --python-version 3.11 --generate-hashes --no-header --no-annotate --output-file requirements.lock $(ARGS)
	@{ echo "$(LOCKED)"; cat requirements.lock; } > requirements.lock.new && mv requirements.lock.new requirements.lock
	@sed -n 's/^\(torch==[^ ]*\).*/\1+cpu/p' requirements.lock | $(BIN)/uv pip compile --quiet - --no-deps --torch-backend cpu \
		--python-version 3.11 --generate-hashes --no-header --no-annotate --output-file requirements-cpu.lock || \
		echo "PyTorch's own index does not answer, so requirements-cpu.lock stays as it is." >&2

# Strict: a package of which nobody could be asked is a failure, and not one without known weaknesses.
audit: $(VENV)/.installed-audit  ## Ask the package index whether anything in requirements.lock has a known weakness
	@$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		--requirement requirements.lock $(ARGS) || { \
		echo "Not audited, or not without findings: see above. It needs the index's list of weaknesses, which a" \
			"mirror may not have; ARGS='--vulnerability-service osv' asks another one." >&2; exit 1; }

sbom: $(VENV)/.installed-audit  ## Write the list of parts in requirements.lock, as CycloneDX, to build/captionloop.cdx.json
	@mkdir -p build
	@$(BIN)/python -W ignore -m cyclonedx_py requirements requirements.lock --pyproject pyproject.toml \
		--output-reproducible --output-file build/captionloop.cdx.json $(ARGS)
	@echo "The list of parts is build/captionloop.cdx.json."

# As root on Linux, with Debian's buildah, runc and debootstrap; elsewhere it says why not. ARGS='--python 3.11 --torch index'
image:  ## Build the container image without a container engine, start it and ask for its health
	@$(PYTHON) -m tools.image $(ARGS)

# With root and debootstrap; another Debian, hence another Python: make newcomer ARGS='--suite sid'
newcomer:  ## Do all that a newcomer does in a clean Debian with Python, make and git (docs/install.md)
	@$(PYTHON) -m tools.newcomer $(ARGS)

clean:  ## Delete the virtual environment and what the tools left; no data of yours
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache test-results build dist

# A working virtual environment is kept; a partial one, or one whose Python is gone, is created again.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null || { \
		echo "Captionloop needs Python 3.11 to 3.14, but $(PYTHON) is" \
			"$$($(PYTHON) --version 2>/dev/null || echo 'not there')."; \
		echo "Name another one, for example: make $(or $(MAKECMDGOALS),run) PYTHON=python3.13"; exit 1; } >&2
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "Making $(VENV) …"; rm -rf $(VENV); $(PYTHON) -m venv $(VENV); } || { rm -rf $(VENV); \
		echo "On Debian and Ubuntu, venv is a package of its own: apt install python3-venv" >&2; exit 1; }
	@touch $@

# Installed again only when pyproject.toml has changed. The test dependencies include those of a run.
$(VENV)/.installed: $(VENV)/.python pyproject.toml
	@echo "Installing Captionloop and what it needs (PyTorch is large: several minutes the first time) …"
	@$(BIN)/python -m tools.small_torch
	@$(PIP_INSTALL) --editable '.[tensorboard]'
	@touch $@

$(VENV)/.installed-audit: $(VENV)/.installed
	@$(PIP_INSTALL) --quiet --editable '.[audit]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.python pyproject.toml
	@echo "Installing Captionloop and what its tests need (PyTorch is large: several minutes the first time) …"
	@$(BIN)/python -m tools.small_torch $(TORCH)
	@$(PIP_INSTALL) --editable '.[dev]' $(addprefix torch==,$(TORCH))
	@touch $@ $(VENV)/.installed
