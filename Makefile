# What a newcomer needs is Python 3.11 or later and make. `make help` says the rest.
PYTHON ?= python3
BIND ?= 127.0.0.1:8080
VENV := .venv
BIN := $(VENV)/bin
# Two more than there are cores: many tests wait, for a clock or for a process that starts.
JOBS ?= $(shell echo $$(($$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 2)))
# Tests start some two hundred processes, and where no bytecode is kept each of them compiles the service anew.
TESTED = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help run admin install test faults check types screenshots bench recording messages lock clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/run-ready: requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Doorward needs Python 3.11 or later; name it with: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --requirement requirements/run.txt
	@touch $@

$(VENV)/dev-ready: requirements/dev.txt $(VENV)/run-ready
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@touch $@

var/secret_key:
	@mkdir -p -m 700 var
	@umask 077 && $(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(48))' > $@

run: $(VENV)/run-ready var/secret_key ## Serve on BIND (127.0.0.1:8080), with everything it needs under var/
	@[ -n "$$DOORWARD_SECRET_KEY" ] || export DOORWARD_SECRET_KEY_FILE="$${DOORWARD_SECRET_KEY_FILE:-var/secret_key}"; \
		exec $(BIN)/python -m app serve --bind $(BIND) --migrate

admin: $(VENV)/run-ready var/secret_key ## Make the first administrator of what is run here: make admin NAME=… EMAIL=…
	@[ -n "$$DOORWARD_SECRET_KEY" ] || export DOORWARD_SECRET_KEY_FILE="$${DOORWARD_SECRET_KEY_FILE:-var/secret_key}"; \
		[ -n "$$DOORWARD_PUBLIC_URL$$DOORWARD_PUBLIC_URL_FILE" ] || export DOORWARD_PUBLIC_URL="http://$(subst 0.0.0.0,127.0.0.1,$(BIND))"; \
		exec $(BIN)/python -m app bootstrap-admin --username "$(NAME)" --email "$(EMAIL)"

install: $(VENV)/dev-ready ## Make .venv with everything, tools and tests included

test: install ## Run all tests, on a real PostgreSQL and on SQLite, with real SMTP
	$(TESTED) --dist worksteal

faults: JOBS = auto
faults: install ## Break Redis, PostgreSQL and SMTP for longer and under more sessions than `test` does, race more often, and try examples at random
	FAULTS=long $(TESTED) --dist loadfile tests/faults tests/races tests/rules

check: install ## What CI runs: format, lint, types, import contracts, house rules, all tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --jobs=2 types test

types: install
	$(BIN)/mypy
	PYTHONPATH=client/src $(BIN)/lint-imports

screenshots: install ## Draw docs/images/pages anew (needs Chromium)
	$(BIN)/python -m tests.pages.screenshots

bench: install ## Print figures as ratios of one run
	$(BIN)/python -m bench

recording: install ## Draw docs/images/cli.svg anew: the command line in a terminal, against a service that is thrown away
	PYTHONPATH=client/src $(BIN)/python -m tests.client.recording

# LANGUAGE=fr starts a catalog for another language.
messages: install ## Extract the texts of pages and emails, then update and compile the catalogs in app/locales
	@mkdir -p var
	$(BIN)/pybabel --quiet extract --mapping-file pyproject.toml --sort-by-file --add-location file --width 100 \
		--keywords "translate:2 translate_plural:2,3 mark_message" --output-file var/messages.pot app
	$(BIN)/pybabel --quiet update --input-file var/messages.pot --output-dir app/locales --ignore-obsolete --no-fuzzy-matching --width 100 \
		--ignore-pot-creation-date $(if $(LANGUAGE),--init-missing --locale $(LANGUAGE))
	$(BIN)/pybabel --quiet compile --directory app/locales

lock: ## Compile requirements/*.txt anew (needs uv)
	for set in run dev; do uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		requirements/$$set.in --output-file requirements/$$set.txt; done

clean: ## Remove the environment and all caches, keep var/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
