# The two commands: `make repro` runs the line, `make test` proves it. Everything else is in `make help`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help setup repro test test-all check format ui constraints clean distclean

VENV := .venv
PORT ?= 5000
WORKERS ?= 2
# Stage commands say `python`: it is the environment's, whether or not it is activated. Nobody is called home to.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export DO_NOT_TRACK := 1
INSTALLED := $(VENV)/.installed
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
PYTEST := python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED)  ## the environment alone: .venv with the versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@$(call make_venv)
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

repro: $(INSTALLED)  ## the whole line, from images to a registered model; what is up to date is not run again
	@python pipeline/params.py
	dvc repro

test: $(INSTALLED)  ## the tests, on two cores (WORKERS=1: on one, with readable output)
	$(PYTEST) -m 'not slow'

test-all: test  ## the tests, then the slow ones: every change and what it reruns, servers, DVC's experiments
	$(PYTEST) -m slow

check: $(INSTALLED)  ## format, lint and types, as CI asks for them
	ruff format --check .
	ruff check .
	mypy

format: $(INSTALLED)  ## write the code as `make check` wants it, docs/parameters.md as the settings say, data/*/README.md as the catalogue does
	ruff format .
	ruff check --fix .
	segline parameters --out docs/parameters.md
	segline datasets --out data

ui: $(INSTALLED)  ## the MLflow UI on the line's own store, at http://127.0.0.1:5000 (PORT=…: another port)
	@store="$$(segline store)" || exit; case "$$store" in \
	  http*) echo "the store is the server $$store: open it in a browser";; \
	  *) exec segline store -- mlflow ui --host 127.0.0.1 --port $(PORT) --workers 1 --default-artifact-root mlartifacts;; \
	esac

constraints:  ## renew constraints.txt: the newest versions, in a fresh .venv
	rm -rf $(VENV)
	@$(call make_venv)
	$(PIP) install -e '.[dev]'
	@{ grep '^#' constraints.txt; $(PIP) freeze --exclude-editable | grep -v ' @ '; } > constraints.txt.part
	@mv constraints.txt.part constraints.txt
	@touch $(INSTALLED)

clean:  ## remove what tools left behind; data, models, logbook and DVC's cache stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache dvc_plots
	find src pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove .venv as well
	rm -rf $(VENV) src/*.egg-info

# A .venv that works is kept; one that is missing or was left half-made is made anew with the newest Python that fits.
# pip tells of which Python it is, and that it is there: "pip 25.3 from … (python 3.13)".
define make_venv
case "$$($(VENV)/bin/python -m pip --version 2>&1)" in *'(python 3.1'[123]')') exit 0;; esac; \
PATH="$${PATH#*:}"; \
for python in python3.13 python3.12 python3.11 python3 python; do \
  case "$$($$python --version 2>&1)" in \
    'Python 3.1'[123].*) \
      echo "making $(VENV) with $$($$python --version)"; \
      $$python -m venv --clear $(VENV) && exit 0; \
      echo "error: $$python cannot make an environment; on Debian and Ubuntu install python3-venv, then run the same command again." >&2; exit 2;; \
  esac; \
done; \
echo "error: Segline needs Python 3.11, 3.12 or 3.13, and none of python3.13, python3.12, python3.11, python3, python is one. Install it, then run the same command again." >&2; exit 2
endef
