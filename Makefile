# What one types here. `make demo` and `make test` set everything up by themselves.

PYTHON := .venv/bin/python
COVERAGE := $(PYTHON) -m coverage
SHELL_SCRIPTS = .ci/run $(shell find packaging plugins twistlock_console config tests -name "*.sh")

# Words for the target's program: make demo ARGS="…", make test ARGS="tests/system/web -x".
ARGS ?=
# One table of the benchmark alone: failover, defenders, backups or pages.
ONLY ?=
# So long each harness of the fuzzer runs.
MINUTES ?= 1

# Most tests wait for something much of the time; those that judge times run alone.
SPREAD = -p tests.spreading -n 2 --dist loadscope --no-loadscope-reorder -m "not timed"

# Where Debian keeps the servers; not on everybody's PATH.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help demo unit test test-times mutants fuzz lint fmt bench chaos release requirements fresh setup clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: ## three nodes and a load balancer on this host, and a failover
	@packaging/setup.sh demo
	@$(PYTHON) app.py demo $(ARGS)

unit: ## the tests that start no process, in less than a minute
	@packaging/setup.sh test
	$(PYTHON) -m pytest tests/unit $(SPREAD) $(ARGS)

# With ARGS pytest runs alone: part of the tests says nothing about coverage. The timed
# part runs whatever the first part says, so that one run names every failure.
test: lint ## everything that a change must pass
ifeq ($(strip $(ARGS)),)
	@$(COVERAGE) erase
	status=0; \
	echo "layer: unit"; \
	$(COVERAGE) run -m pytest tests/unit $(SPREAD) || status=$$?; \
	echo "layer: system"; \
	$(COVERAGE) run -m pytest tests/system $(SPREAD) || status=$$?; \
	$(COVERAGE) run -m pytest tests/system -m timed || status=$$?; \
	exit $$status
	@$(COVERAGE) combine --quiet
	$(COVERAGE) report --fail-under=85
	$(COVERAGE) report --fail-under=100 --include="$$($(PYTHON) tests/pure_modules.py)"
else
	$(PYTHON) -m pytest $(ARGS)
endif

test-times: ## the 30 slowest tests, and how long the tests slept
	@packaging/setup.sh test
	$(PYTHON) -m pytest -p tests.times $(if $(ARGS),$(ARGS),$(SPREAD))

# With ARGS="plugins.ha.consensus.lease*" those mutants alone.
mutants: ## changes to the pure modules that no unit test notices, and the score
	@packaging/setup.sh analysis
	@rm -rf mutants
	@$(PYTHON) -m mutmut run $(ARGS)
	@$(PYTHON) tests/mutants.py $(ARGS)

fuzz: ## any bytes to every parser of foreign bytes; ONLY="node_files …", MINUTES=1 each
	@packaging/setup.sh analysis
	$(PYTHON) -m tests.fuzz --minutes $(MINUTES) $(if $(ONLY),--only $(ONLY)) $(ARGS)

lint: ## formatting, lint, types, words, imports, shell scripts
	@packaging/setup.sh $(if $(filter test,$(MAKECMDGOALS)),test,lint)
	$(PYTHON) -m ruff format --check --quiet .
	$(PYTHON) -m ruff check --quiet .
	$(PYTHON) -m mypy
	@$(PYTHON) packaging/check_language.py
	@mkdir -p build
	@$(PYTHON) -c "from importlinter.cli import lint_imports_command as lint; lint()" >build/imports.txt || { cat build/imports.txt; exit 1; }
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS); \
	elif [ "$${CI-}" = true ]; then echo "shellcheck is not installed"; exit 1; \
	else echo "lint: shellcheck is not installed; the shell scripts are not checked"; fi

fmt: ## format the code
	@packaging/setup.sh lint
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix-only --quiet .

bench: ## measured times, as tables; ONLY=failover|opening|defenders|backups|pages
	@packaging/setup.sh test
	$(PYTHON) -m tests.bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

chaos: ## every fault, as a table; takes long, needs root
	@packaging/setup.sh test
	$(PYTHON) -m tests.simulation --steps 1000000
	$(PYTHON) -m tests.systemd
	$(PYTHON) -m tests.backups.kill_rounds --rounds 20
	$(PYTHON) -m tests.chaos $(ARGS)
	$(PYTHON) -m tests.soak --minutes 5
	$(PYTHON) -m tests.hostile --minutes 10

release: ## the release tarball, in dist/
	@packaging/setup.sh demo
	packaging/release.sh $(ARGS)

# The hashes of every file are in them, the address of no index is.
requirements: ## compile requirements*.txt from requirements*.in; needs uv
	for part in requirements requirements-demo requirements-dev requirements-analysis; do \
	    uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	        --python-version 3.11 --no-header $$part.in -o $$part.txt || exit 1; \
	done

fresh: ## both commands of README.md on a minimal Debian; ten minutes, needs root and debootstrap
	@packaging/setup.sh test
	$(PYTHON) -m tests.fresh_machine $(ARGS)

setup: ## set up everything, and run nothing
	@packaging/setup.sh test

clean: ## remove what the other targets made, .venv too
	rm -rf .venv build dist mutants .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache \
	    .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
