# The commands of this project. They need Python 3.11 or newer with venv, make and a package index.

VENV   := .venv
BIN    := $(VENV)/bin
TYPES  := build/types/durable_jobs
PYTHON ?= python3.13 python3.12 python3.11 python3
ARGS   ?=
# One test may take longer than one of the suite ever does.
UNLIMITED := -o faulthandler_timeout=0
# Kubernetes itself does not know these.
KEDA   := $(wildcard deploy/kubernetes/autoscaling*.yaml)
# Errors only: pip's warnings here are about working in a checkout, or about the machine.
QUIET  := -qq

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pyright is pinned by what was installed; it need not ask for news at each run.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint style types imports compose manifests host format links docs prose bench property twins kills year chaos matrix dist audit licences vulnerabilities ci clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.demo links ## run the example on an embedded Temporal server (ARGS=--serve leaves it running)
	@$(BIN)/python -m examples.github.demo $(ARGS)

test: $(VENV)/.test links ## run the tests, which mostly wait, two files at a time (ARGS go to pytest)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 $(ARGS)

lint: style types imports compose manifests host ## run every check that needs no server

style: $(VENV)/.lint ## check style and format
	@echo "style: ruff"
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --quiet --check .

types: $(VENV)/.lint links ## check the types
	@echo "types: pyright"
	@$(BIN)/pyright

imports: $(VENV)/.lint links ## check which package may import which
	@echo "imports: import-linter"
	@PYTHONPATH=$(dir $(TYPES)) $(BIN)/lint-imports --no-logo

compose: $(VENV)/.lint ## check docker-compose.yml against the compose specification
	@echo "compose: check-jsonschema"
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

manifests: $(VENV)/.lint ## check deploy/kubernetes against the schemas of Kubernetes and KEDA
	@echo "manifests: kubernetes-validate, check-jsonschema"
	@$(BIN)/kubernetes-validate --strict --quiet $(filter-out $(KEDA),$(wildcard deploy/kubernetes/*.yaml))
	@$(BIN)/check-jsonschema --quiet --schemafile deploy/keda.schema.json $(KEDA)

host: $(VENV)/.lint ## check the workflows and issue forms for the code host
	@echo "host: check-jsonschema"
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))

format: $(VENV)/.lint ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

docs: $(VENV)/.docs ## make the site from docs/, in build/docs; broken links fail (ARGS="--serve 8000" shows it)
	@echo "docs: sphinx"
	@$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going docs build/docs
	@$(if $(filter --serve,$(ARGS)),$(BIN)/python -m http.server $(filter-out --serve,$(ARGS)) --bind 127.0.0.1 --directory build/docs)

prose: $(BIN)/python ## list long sentences and paragraphs in the pages for users
	@$(BIN)/python tests/support/prose.py

bench: bench-debounce ## measure debounce against Temporal by hand and DBOS (ARGS="--seconds 10")

bench-%: $(VENV)/.bench ## measure another thing: see docs/inside/benchmarks.md
	@$(BIN)/python -m benchmarks.$* $(ARGS)

property: $(VENV)/.test ## play many random debounce scripts with kills, and count events (ARGS=200 scripts)
	@DURABLE_JOBS_PROPERTY_EXAMPLES=$(or $(ARGS),200) $(BIN)/python -m pytest $(UNLIMITED) tests/debounce/test_property.py

twins: $(VENV)/.test ## play random scripts in a simulation and on the real workflows (ARGS=10000 scripts)
	@DURABLE_JOBS_TWIN_SCRIPTS=$(or $(ARGS),10000) $(BIN)/python -m pytest $(UNLIMITED) -n 2 tests/kit/test_as_the_workflow.py

kills: $(VENV)/.test ## count 100,000 debounced events while a worker is killed every 3 s
	@$(BIN)/python -m tests.support.count_kills $(ARGS)

year: $(VENV)/.test ## live each hour of a year of a cron job on the time-skipping server (3 minutes)
	@$(BIN)/python -m pytest -s $(UNLIMITED) tests/support/hours_of_a_year.py $(ARGS)

chaos: $(VENV)/.test ## break workers, server and collector for 10 minutes, and count (ARGS="--minutes 3")
	@$(BIN)/python -m tests.chaos $(ARGS)

matrix: $(BIN)/python ## test the wheel on each Python here, with oldest and newest SDK (ARGS="3.13 oldest")
	@$(BIN)/python tests/support/matrix.py $(ARGS)

dist: $(VENV)/.lint ## build the wheel and the source archive, in dist
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist

audit: licences vulnerabilities ## check what users install: licences, known vulnerabilities

licences: $(VENV)/.audit ## list what users install (an SBOM, in build/audit), and check the licences
	@bash .ci/licences

vulnerabilities: licences ## check what users install for known vulnerabilities; asks PyPI
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash .ci/vulnerabilities build/audit/requirements.txt

ci: ## do what CI does: tests, checks, wheel
	@bash .ci/run

clean: ## remove what these commands made, the data in .data excepted
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Checkers and editors do not follow the editable install, which maps four folders into one package.
# They read this tree instead: one link per file, because pyright does not walk into linked folders.
# So each command that sets a checkout up makes it.
links:
	@mkdir -p $(TYPES)
	@find $(TYPES) -type l ! -exec test -e {} \; -exec rm -f {} +
	@find jobs workflows activities tracking -name '*.py' -o -name py.typed | while read -r file; do \
	  link=$(TYPES)/$${file#jobs/}; \
	  test -L "$$link" || { mkdir -p "$${link%/*}" && ln -sf "$(CURDIR)/$$file" "$$link"; }; \
	done
	@find $(TYPES) -type d -empty -delete

# A candidate must run (a shim may not), be new enough, and be able to make an environment.
$(BIN)/python:
	@for python in $(PYTHON); do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    exec "$$python" -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo "No suitable Python among: $(PYTHON)." >&2; \
	echo "It must be 3.11 or newer and have venv (Debian: python3-venv). Name one: make PYTHON=/path/to/python3" >&2; \
	exit 1

# Each stamp says that a set of packages was installed since pyproject.toml last changed.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing the project and what it runs on (about a minute, once)"
	@$(BIN)/python -m pip install $(QUIET) -e '.[dev,github]'
	@touch $@

# Dependency groups need pip 25.1; a new environment may have the pip that came with Python.
$(VENV)/.pip: | $(BIN)/python
	@$(BIN)/python -m pip install $(QUIET) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.test: $(VENV)/.demo $(VENV)/.pip
	@echo "Installing what the tests need (once)"
	@$(BIN)/python -m pip install $(QUIET) --group test
	@touch $@

$(VENV)/.docs: $(VENV)/.demo $(VENV)/.pip
	@echo "Installing what makes the site (once)"
	@$(BIN)/python -m pip install $(QUIET) --group docs
	@touch $@

$(VENV)/.bench: $(VENV)/.demo $(VENV)/.pip
	@echo "Installing what is compared (once)"
	@$(BIN)/python -m pip install $(QUIET) --group bench
	@touch $@

$(VENV)/.audit: $(VENV)/.demo $(VENV)/.pip
	@echo "Installing what audits (once)"
	@$(BIN)/python -m pip install $(QUIET) --group audit
	@touch $@

$(VENV)/.lint: $(VENV)/.demo $(VENV)/.pip
	@echo "Installing the checkers (once)"
	@$(BIN)/python -m pip install $(QUIET) --group lint
	@touch $@
