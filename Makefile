# The targets that people need; each is idempotent and quick the second time.
#   make demo      everything on this machine, with a shop in trouble to try it on
#   make test      prepare what tests need, then run all of them but these five:
#   make test-identity  sign-in, signed decisions, run identity and credentials, against an independent provider
#   make test-chat  Slack, alerts and waking with whole services and independent clients
#   make test-pages    every page in a real browser: whole ways through them, axe, hostile content
#   make test-kernels  what kernels put out, what they may use up, and 160 attacks from inside one
#   make test-faults   kill, freeze and cut off, and see that nothing is lost
#   make bench-kernels  how fast and how small kernels are, against what else runs notebooks
#   make bench-chat     a busy minute of a channel, and a minute without Slack
#   make bench-pages    pages with much on them, much behind them and many before them
#   make lint      ruff, mypy, import-linter
.PHONY: demo test test-identity test-chat test-pages test-kernels test-faults bench-kernels bench-chat bench-pages install install-test lint format lock chromium headers node prometheus clean

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2

demo: install
	@$(BIN)/runbooks demo

install: .venv/.installed

install-test: .venv/.installed-test chromium headers node prometheus

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv 2>/dev/null || { rm -rf .venv; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv .venv; \
	  else echo "This Python has no venv. On Debian: sudo apt-get install python3-venv"; exit 1; fi; }

.venv/.installed: requirements.lock pyproject.toml | .venv/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.installed-test: tests/requirements.lock .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.lock
	@touch $@

# Browser tests drive Debian's Chromium; CHROMIUM names another one.
chromium:
	@command -v $${CHROMIUM:-chromium} >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq chromium fonts-dejavu-core >/dev/null; \
	  else echo "Chromium is missing; browser tests will be skipped. On Debian: sudo apt-get install chromium"; fi; }

# The numbers of system calls are held to what the system's own headers say.
headers:
	@[ -e /usr/include/asm-generic/unistd.h ] || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq linux-libc-dev >/dev/null; \
	  else echo "Linux's headers are missing; two tests will be skipped. On Debian: sudo apt-get install linux-libc-dev"; fi; }

# Independent ends of what the service speaks, and an independent judge of its pages: a provider to sign in with, Slack's
# own framework, axe. Pinned with hashes.
NODE := tests/identity/provider tests/chat_journeys/bolt tests/pages_journeys/axe
node:
	@command -v npm >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq nodejs npm >/dev/null; \
	  else echo "npm is missing; tests against an independent provider, Bolt and axe will be skipped. On Debian: sudo apt-get install nodejs npm"; fi; }
	@! command -v npm >/dev/null || for folder in $(NODE); do [ $$folder/node_modules -nt $$folder/package-lock.json ] || \
	  (cd $$folder && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && touch node_modules) || exit 1; done

# A real Prometheus, its Alertmanager and PostgreSQL's exporter: unpacked only, since installed they start and listen.
PROMETHEUS := build/prometheus
prometheus:
	@[ -e $(PROMETHEUS)/.unpacked ] || { \
	  packages="prometheus prometheus-alertmanager prometheus-postgres-exporter"; rm -rf $(PROMETHEUS) && mkdir -p $(PROMETHEUS) && cd $(PROMETHEUS) && \
	  { apt-get download -qq $$packages 2>/dev/null || \
	    { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get download -qq $$packages 2>/dev/null; }; } && \
	  for package in *.deb; do dpkg -x $$package . && rm $$package || exit 1; done && touch .unpacked; } || \
	  echo "Debian's Prometheus could not be fetched; the test with a real Alertmanager will be skipped. On Debian: sudo apt-get update, then make prometheus"

# The pages of a demo on which everything has happened once. They are looked at with the other pages.
PICTURES := tests/journeys/test_screenshots.py

# The rules of core are held by their own tests alone, each branch of them; to count that slows every other test.
# A browser's driver keeps an event loop in its process, so browser tests have processes of their own.
test: install-test
	$(PYTEST) tests/core --cov=runbooks_app.core --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100
	$(PYTEST) -m "not journey" --ignore tests/core --ignore tests/faults --ignore tests/kernels --ignore tests/identity --ignore tests/chat_journeys --ignore tests/pages_journeys
	$(PYTEST) tests/journeys tests/secrets --ignore $(PICTURES)

# Whole services, browsers, and node for the provider that people sign in with.
test-identity: install-test
	$(PYTEST) tests/identity

# Whole services, node for an independent client of Slack's rules, a real Prometheus with its Alertmanager.
test-chat: install-test
	$(PYTEST) tests/chat_journeys

# A real browser on the real app. RUNBOOKS_TEST_PICTURES=FOLDER keeps a picture of every page in every state there.
test-pages: install-test
	$(PYTEST) tests/pages_journeys
	$(PYTEST) $(PICTURES)
	$(PYTEST) -m journey --ignore tests/journeys --ignore tests/secrets --ignore tests/faults --ignore tests/kernels --ignore tests/identity --ignore tests/chat_journeys --ignore tests/pages_journeys

# Slow by nature: bombs go off, disks fill up, floods are printed.
test-kernels: install-test
	$(PYTEST) tests/kernels

# Slow by nature: processes are killed and frozen, servers go away and come back.
test-faults: install-test
	$(PYTEST) tests/faults

# Leave the machine alone meanwhile. Peers have an environment of their own.
bench-kernels: install-test .venv-bench/.installed
	PYTHONPATH=tests $(BIN)/python -m bench.kernels

# Leave the machine alone meanwhile, here too.
bench-chat: install-test
	PYTHONPATH=tests $(BIN)/python -m bench.chat

# And here: it is Chromium, the web and 200 viewers on one machine.
bench-pages: install-test
	PYTHONPATH=tests $(BIN)/python -m bench.pages

.venv-bench/.installed: tests/bench/requirements.lock
	@$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/bench/requirements.lock
	@touch $@

lint: .venv/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/runbooks check

# The API's description, made of the models that validate.
openapi: .venv/.installed
	@$(BIN)/python -c "from runbooks_app.web.api import openapi; print(openapi.as_text(), end='')" > docs/openapi.json

format: .venv/.installed-test
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Needs `uv` on PATH; the locks hold hashes and no index address.
lock:
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 --extra build pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 --extra build --extra test -c requirements.lock pyproject.toml -o tests/requirements.lock
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 -c tests/requirements.lock tests/bench/requirements.in -o tests/bench/requirements.lock

clean:
	rm -rf .venv .venv-bench $(NODE:=/node_modules) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
