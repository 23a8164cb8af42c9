# `make demo` and `make test` build their own environment in .venv; PYTHON chooses the
# interpreter (3.11 to 3.13), VENV the folder.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread a worker: torch's threads get in each other's way on a busy machine.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: help env demo test test-all test-services lint format clean

help:
	@echo "make demo      encode, fit, publish and recommend on a generated catalogue"
	@echo "make test      run the tests (under 10 minutes on 2 cores)"
	@echo "make test-all  run the slow tests too"
	@echo "make test-services  PostgreSQL and Redis, where they are installed"
	@echo "make lint      ruff and mypy"
	@echo "make clean     remove the environment and the outputs"

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/quickstart.py

test: $(STAMP)
	$(PYTEST) -m "not slow and not gpu and not services"

test-all: $(STAMP)
	$(PYTEST)

test-services: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[services]'
	$(BIN)/python -m pytest -m services tests/feature_store

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) out build dist *.egg-info
