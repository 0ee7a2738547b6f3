# make quickstart   train three adapters, compare them with the base, serve them, ask each a question
# make test         all tests, with formatting and types
# Both build the environment (.venv) first if it is missing.
FACTORY := .venv/bin/factory
PYTHON  := .venv/bin/python
# Nothing is compiled ahead: what is imported first is, and must be kept, or each of an engine's processes does it anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: quickstart test fast screenshots bench bench-gpu venv
quickstart: venv
	$(FACTORY) quickstart

test: venv
	.venv/bin/ruff format --check . && .venv/bin/ruff check .
	.venv/bin/mypy
	-sh requirements/browser.sh
	$(PYTHON) -m pytest -n 2 --dist loadfile

# A picture of every page, at desktop and phone width, into docs/screenshots.
screenshots: venv
	-sh requirements/browser.sh
	$(PYTHON) -m tests.browser.screenshots

# What is claimed to be faster, measured here; the GPU part with random models of real shapes.
bench: venv
	$(FACTORY) bench
bench-gpu: venv
	$(FACTORY) bench only=gpu

# While working: no engine, no browser, no long training.
fast: venv
	$(PYTHON) -m pytest -m "not slow and not browser"

venv: .venv/.ready
.venv/.ready: requirements/install.sh requirements/cpu.txt requirements/gpu.txt requirements/base.txt
	sh requirements/install.sh
