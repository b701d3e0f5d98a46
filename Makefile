# Each target sets up what it needs. `make` alone lists them.
python := .venv/bin/python
manage := $(python) manage.py
# pytest-xdist's workers; each runs servers and a browser of its own.
workers ?= 3
# What failed beside others may have lacked a processor for its deadlines; alone it has none to share.
again = $(python) -m pytest -q --last-failed --last-failed-no-failures none
# How long each fuzzer of `make fuzz` runs, and from which seed on (SEED=1).
SECONDS ?= 60

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run cluster test full-time dev lint types checks browser services bench fuzz chaos format lock sbom audit messages clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

run: ## Set up, migrate and serve on http://127.0.0.1:8000 (make run PORT=8080)
	@tools/setup requirements.txt && exec $(manage) serve

cluster: dev ## PostgreSQL, Redis, 2 web, 2 worker and nginx in front, all local (PORT=8080)
	@exec $(python) -m tools.cluster

test: dev lint types checks browser services ## Everything that CI runs, quick failures first
	@$(python) -m pytest -n $(workers) -q || $(again)
	@POTOK_TEST_FORM=scaled $(python) -m pytest -n $(workers) -q -m "not browser" || POTOK_TEST_FORM=scaled $(again)

dev: ## Set up what tests and linters need
	@tools/setup requirements-dev.txt && mkdir -p build

lint: dev ## The style of the code
	@$(python) -m ruff format --check --quiet . || { echo "make format would reformat it."; exit 1; }
	@$(python) -m ruff check .

types: dev ## mypy, strict, on the modules without I/O
	@$(python) -m mypy

checks: dev ## Migrations, the settings of an https deployment, the message catalogues
	@POTOK_DATA_DIR=build/checks $(manage) makemigrations --check --dry-run
	@POTOK_DATA_DIR=build/checks POTOK_URL=https://chat.example $(manage) check --deploy --fail-level WARNING
	@POTOK_DATA_DIR=build/checks $(manage) messages --check

browser: dev ## A Chromium for the browser tests
	@tools/browser

services: dev ## PostgreSQL, Redis and nginx for the tests of the scaled form
	@$(python) -m tests.services

bench: dev browser services ## Measure: each file in bench/ prints its figures, and which targets hold
	@failed=; for file in bench/[a-z]*.py; do \
		$(python) -m "bench.$$(basename "$$file" .py)" || failed="$$failed $$file"; done; \
	[ -z "$$failed" ] || { echo "Ended with an error:$$failed"; exit 1; }

fuzz: dev ## Many more examples, then mutated streams, Markdown, frames and forms (SECONDS=600)
	@$(python) -m pytest -n $(workers) -q -m hypothesis --hypothesis-profile=fuzz
	@$(python) tests/fuzz_wire.py --seconds $(SECONDS) $(addprefix --seed ,$(SEED))
	@$(python) tests/fuzz_markdown.py --seconds $(SECONDS) $(addprefix --seed ,$(SEED))
	@$(python) tests/fuzz_socket.py --seconds $(SECONDS) $(addprefix --seed ,$(SEED))
	@$(python) tests/fuzz_forms.py --seconds $(SECONDS) $(addprefix --seed ,$(SEED))

full-time: dev browser services ## Each promise at its full stated time, a quarter of an hour for each form
	@$(python) -m pytest -q -m full_time
	@POTOK_TEST_FORM=scaled $(python) -m pytest -q -m full_time

chaos: dev browser ## Faults at random moments, every promise checked (FORM=scaled ROUNDS=200 SEED=1)
	@$(python) -m tests.chaos --form $(or $(FORM),embedded) --rounds $(or $(ROUNDS),20) $(addprefix --seed ,$(SEED))

format: dev ## Reformat and mend what ruff can
	@$(python) -m ruff format --quiet . && $(python) -m ruff check --fix .

lock: dev ## Pin the newest versions that pyproject.toml allows
	@tools/lock --upgrade

sbom: dev ## docs/licences.md, and build/sbom.json (CycloneDX)
	@$(python) -m tools.sbom

audit: dev ## Ask osv.dev whether any package that we ship has a known hole
	@$(python) -m tools.audit

messages: dev ## Bring the message catalogues up to date with the sources
	@POTOK_DATA_DIR=build/checks $(manage) messages

clean: ## Remove what the other targets made, but not var/
	rm -rf .venv build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find chat tests -name '*.mo' -delete -o -name __pycache__ -prune -exec rm -rf {} +
