# make help | make demo | make test | make lint | make docs | make check | make lowest | make clean
# VENV=<folder> puts the environment elsewhere; PYTHON=<interpreter> makes it with another Python (3.10 or newer);
# PIP_FLAGS=<flags> go to every install; WORKERS=<n> tests run at once (auto: one a core, at most eight).
# Without a GPU the CPU build of torch is taken from PyTorch's own index if it answers; make TORCH_INDEX= leaves that
# index out, make TORCH_INDEX=https://download.pytorch.org/whl/cu130 chooses one.

SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
WORKERS ?= auto
TORCH_CPU := https://download.pytorch.org/whl/cpu
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
PARALLEL = -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format docs check lowest clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make the virtual environment and install into it, once

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@index="$(TORCH_INDEX)"; \
	if [ "$(origin TORCH_INDEX)" = undefined ] && ! command -v nvidia-smi >/dev/null 2>&1 && \
	   $(PY) -c "import urllib.request as u; u.urlopen('$(TORCH_CPU)/torch/', timeout=5)" 2>/dev/null; \
	then index=$(TORCH_CPU); fi; \
	set -x; $(PY) -m pip install $(PIP_FLAGS) $${index:+--extra-index-url $$index} -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED) ## install, train FIVA on synthetic faces, print its table: 16 minutes on two quick cores
	$(PY) train.py experiment=fiva
	$(PY) evaluate.py experiment=fiva

test: $(INSTALLED) ## install and run the tests
	$(PY) -m pytest $(PARALLEL)

lint: $(INSTALLED) ## ruff, mypy and the order of the rooms
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

format: $(INSTALLED) ## let ruff mend and format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(INSTALLED) ## the documentation as a site, build/site/index.html; a broken link ends it
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

check: lint docs ## lint, the site, all tests with the slow ones, the contact sheet of docs/
	$(PY) -m pytest $(PARALLEL) -m 'slow or not slow'
	@mkdir -p build
	$(PY) -m anon.faces.synthetic build/synthetic-faces.png

LOWEST := build/lowest/bin
# What is computed, read and written; the tests of the tools around it need today's tools, as do ONNX's newest opsets and
# the count of a step's operations, which is of today's torch.
COMPUTED := losses metrics generators identity weights defenses attacks anonymizers attributes training faces evaluation video
lowest: ## the oldest versions that pyproject.toml allows, in an environment of their own, and the tests of the figures with them
	@test -x $(LOWEST)/python || $(PYTHON) -m venv build/lowest
	$(LOWEST)/python -m pip install $(PIP_FLAGS) -q uv
	$(LOWEST)/uv pip install --python $(LOWEST)/python --resolution lowest-direct \
	  -e '.[store,detector,index,tensorboard]' 'pytest>=8.3' 'pytest-xdist>=3.6' 'webdataset>=0.2.100'
	$(LOWEST)/python -m pytest $(PARALLEL) $(addprefix tests/,$(COMPUTED)) -k 'not every_opset and not reads_nothing_inside'

clean: ## remove the environment and the caches; runs stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find anon tests -name __pycache__ -type d -prune -exec rm -rf {} +
