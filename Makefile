# `make demo` and `make test` need Python >= 3.11, pip and the package index, and set up the rest in .venv.
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu in the environment gives torch without CUDA, gigabytes less.
PYTHON ?= python3
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := .venv/$(SCRIPTS)
LOWEST := .venv-lowest/$(SCRIPTS)/python
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all test-lowest lint docs docs-check clean

demo: .venv/for-demo
	rm -rf runs/demo
	$(BIN)/untrained find --out runs/demo

# Files go to the workers in the order of their names: by number of tests, slow files of few tests would come last.
test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations 20 -m "not slow"

# These and the slow ones, which repeat others under sanitizers, at lesser processors, on Ray and by another compiler.
test-all: lint
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations 20

# The suite with the least versions that pyproject.toml allows, in an environment of its own of several gigabytes.
test-lowest: .venv-lowest/for-test
	$(LOWEST) -m pytest -n auto --dist loadfile --ignore tests/test_docs.py

lint: .venv/for-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The documentation as a site, in site/.
docs: .venv/for-docs
	$(BIN)/mkdocs build --strict

# The README's and the docs' examples, run word for word.
docs-check: .venv/for-test
	$(BIN)/python -m pytest tests/test_readme.py

# The stamp of venv itself, which has this name on every system.
.venv/pyvenv.cfg:
	$(PYTHON) -m venv .venv

.venv/for-demo: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(INSTALL) -e '.[plot]'
	touch $@

.venv/for-docs: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(INSTALL) -e '.[docs]'
	touch $@

# Contains what the others need.
.venv/for-test: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(INSTALL) -e '.[dev,docs,zoo]'
	touch .venv/for-demo .venv/for-docs $@

.venv-lowest/for-test: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST) -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt \
		-e '.[plot,images,download,compare,wann,onnx,serve,sklearn,cluster,zoo]' \
		axe-playwright-python hypothesis ipykernel nbclient onnxruntime pytest pytest-xdist scipy
	touch $@

clean:
	rm -rf .venv .venv-lowest runs site .pytest_cache .ruff_cache
