# Requires Python 3.11 or later and make. `make help` lists the targets.
PYTHON ?= python3
BIND ?= 127.0.0.1:8080
VENV := .venv
BIN := $(VENV)/bin
# Two more than there are cores, because many tests wait for a clock or for a process that starts.
JOBS ?= $(shell echo $$(($$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 2)))
# Tests start about two hundred processes. Without bytecode each of them would compile the service.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help run admin dev install format lint types fast test slow check coverage migration screenshots bench recording messages lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/run-ready: requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Doorward requires Python 3.11 or later. Choose one with: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --requirement requirements/run.txt
	@$(BIN)/python -m scripts.build_argon2 || echo "Argon2: the build failed, so the portable one is used."
	@touch $@

$(VENV)/dev-ready: requirements/dev.txt $(VENV)/run-ready
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@touch $@

var/secret_key:
	@mkdir -p -m 700 var
	@umask 077 && $(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(48))' > $@

run: $(VENV)/run-ready var/secret_key ## Serve on BIND (127.0.0.1:8080), with data in var/
	@[ -n "$$DOORWARD_SECRET_KEY" ] || export DOORWARD_SECRET_KEY_FILE="$${DOORWARD_SECRET_KEY_FILE:-var/secret_key}"; \
		exec $(BIN)/python -m app serve --bind $(BIND) --migrate

dev: install var/secret_key ## Serve on BIND, reload on changes, log readable text
	@[ -n "$$DOORWARD_SECRET_KEY" ] || export DOORWARD_SECRET_KEY_FILE="$${DOORWARD_SECRET_KEY_FILE:-var/secret_key}"; \
		exec $(BIN)/python -m scripts.dev_server $(BIND)

admin: $(VENV)/run-ready var/secret_key ## Create the first administrator: make admin NAME=… EMAIL=…
	@[ -n "$$DOORWARD_SECRET_KEY" ] || export DOORWARD_SECRET_KEY_FILE="$${DOORWARD_SECRET_KEY_FILE:-var/secret_key}"; \
		[ -n "$$DOORWARD_PUBLIC_URL$$DOORWARD_PUBLIC_URL_FILE" ] || export DOORWARD_PUBLIC_URL="http://$(subst 0.0.0.0,127.0.0.1,$(BIND))"; \
		exec $(BIN)/python -m app bootstrap-admin --username "$(NAME)" --email "$(EMAIL)"

install: $(VENV)/dev-ready ## Create .venv with everything, including tools and tests

format: install ## Format the code and sort imports
	$(BIN)/ruff check --quiet --select I --fix .
	$(BIN)/ruff format .

lint: install ## Check format, rules, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) types

types: install
	$(BIN)/mypy
	PYTHONPATH=client/src $(BIN)/lint-imports

fast: install ## Run the tests without servers in under a minute: rules, conventions and core flows on SQLite
	$(PYTEST) -n $(JOBS) --dist worksteal -m "fast and not slow"

test: install ## Run all tests except the slow ones, on PostgreSQL and SQLite, with Redis and SMTP
	$(PYTEST) -n $(JOBS) --dist worksteal -m "not slow"

slow: install ## Run tests that take minutes or need other servers, long faults, and random examples
	$(PYTEST) -n $(JOBS) --dist loadfile -m slow
	FAULTS=long $(PYTEST) -n auto --dist loadfile -m "not slow" tests/faults tests/races tests/rules tests/server/test_same_answers.py

check: install ## Run what CI runs: lint and test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --jobs=2 types test

coverage: install ## Run the tests and report which lines of app/ they miss
	$(PYTEST) -n $(JOBS) --dist worksteal -m "not slow" --cov=app --cov-branch --cov-report=term-missing:skip-covered

migration: install ## Generate a migration from the models and check it on both databases: make migration NAME="…"
	@[ -n "$(NAME)" ] || { echo 'Usage: make migration NAME="add a column"'; exit 2; }
	$(BIN)/python -m scripts.new_migration "$(NAME)"
	$(PYTEST) tests/conventions/test_schema.py

screenshots: install ## Update docs/images/pages (requires Chromium)
	$(BIN)/python -m tests.pages.screenshots

bench: install ## Print performance as ratios measured in one run
	$(BIN)/python -m bench

recording: install ## Update docs/images/cli.svg, a terminal session of the command line client
	PYTHONPATH=client/src $(BIN)/python -m tests.client.recording

messages: install ## Extract the texts of pages and emails, update and compile app/locales; LANGUAGE=fr adds a language
	@mkdir -p var
	$(BIN)/pybabel --quiet extract --mapping-file pyproject.toml --sort-by-file --add-location file --width 100 \
		--keywords "translate:2 translate_plural:2,3 mark_message" --output-file var/messages.pot app
	$(BIN)/pybabel --quiet update --input-file var/messages.pot --output-dir app/locales --ignore-obsolete --no-fuzzy-matching --width 100 \
		--ignore-pot-creation-date $(if $(LANGUAGE),--init-missing --locale $(LANGUAGE))
	$(BIN)/pybabel --quiet compile --directory app/locales

lock: ## Compile requirements/*.txt (requires uv)
	for set in run dev build; do uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		requirements/$$set.in --output-file requirements/$$set.txt; done

clean: ## Remove the environment and all caches, keep var/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
