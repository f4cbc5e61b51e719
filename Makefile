# `make demo` and `make test` need Python >= 3.11, pip and the package index, and set up the rest in .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint docs docs-check clean

demo: .venv/for-demo
	rm -rf runs/demo
	$(BIN)/untrained find --out runs/demo

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: .venv/for-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The documentation as a site, in site/.
docs: .venv/for-test
	$(BIN)/mkdocs build --strict

# The README's and the docs' examples, run word for word.
docs-check: .venv/for-test
	$(BIN)/python -m pytest tests/test_readme.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/for-demo: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e '.[plot,wann]'
	touch $@

.venv/for-test: .venv/for-demo
	$(INSTALL) -e '.[dev,docs,zoo]'
	touch $@

clean:
	rm -rf .venv runs site .pytest_cache .ruff_cache
