# Two commands do everything on a fresh machine with Python >= 3.11 and make: `make demo` and `make test`.
# The first that runs and is new enough; a name alone proves nothing (pyenv has shims for versions that are not active).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
VENV   ?= .venv
BIN    := $(VENV)/bin
TOOLS  ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hortator/tools

.DELETE_ON_ERROR:
.PHONY: help demo test test-slow check format bench test-kubernetes clean

help:            ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

$(VENV)/.run: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "hort needs Python 3.11 or newer; name it with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[mpi]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python tools/groups.py | xargs $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt
	@touch $@

demo: $(VENV)/.run   ## run a real MPI job on a small cluster in one process
	$(BIN)/hort run -n 4 --workers 2 -- $(BIN)/python examples/pi.py
	@echo
	@echo "It ran on a Kubernetes of your own, in one process. Look next:"
	@echo "  $(BIN)/hort jobs          $(BIN)/hort show pi-1       $(BIN)/hort ranks pi-1"
	@echo "  $(BIN)/hort doctor        $(BIN)/hort kubeconfig      $(BIN)/hort down"
	@echo "and read docs/guide/first-hour.md"

test: $(VENV)/.dev   ## unit and local tests, real mpirun inside
	$(BIN)/python -m pytest tests/unit tests/local

test-slow: $(VENV)/.dev ## local tests that take minutes or large downloads
	HORT_TEST_SLOW=1 $(BIN)/python -m pytest tests/local -m slow

check: $(VENV)/.dev  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

test-kubernetes: $(VENV)/.dev ## tests that need Kubernetes' own programs (Go builds them once)
	sh tests/kubernetes/tools/build $(TOOLS)
	HORT_TOOLS=$(TOOLS) $(BIN)/python -m pytest tests/kubernetes --differences docs/reference/differences.md

bench: $(VENV)/.dev  ## print the figures that the documentation claims
	$(BIN)/python -m bench
	HORT_TOOLS=$(TOOLS) $(BIN)/python -m bench.apiserver

clean:           ## remove what the other targets made here
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
