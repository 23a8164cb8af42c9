# `make demo` and `make test` build their own environment in .venv; PYTHON chooses the
# interpreter (3.11 or newer), VENV the folder.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread a worker: torch's threads get in each other's way on a busy machine. Byte
# code is kept, whatever the environment says: workers and the processes that tests start
# would each compile every module anew. The order is that of conftest.py.
IN_TWO := -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python $(IN_TWO)
QUICK := -m "not slow and not pages and not gpu and not services and not cluster \
	and not browser"
# What torch, MKL and oneDNN compute with on an old and on a common processor.
OLD := ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE ONEDNN_MAX_CPU_ISA=SSE41
COMMON := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2

# Where Feast, which asks for pandas 2, is not.
VENV3 ?= .venv-pandas3
STAMP3 := $(VENV3)/.installed
VENV_CLUSTER ?= .venv-cluster
# With the oldest versions that pyproject.toml allows.
VENV_OLDEST ?= .venv-oldest
STAMP_OLDEST := $(VENV_OLDEST)/.installed
NO_FEAST := --ignore=tests/feature_store --ignore=skmmrec/feature_store \
	--ignore=tests/service --ignore=skmmrec/service \
	--ignore=tests/test_whole_path.py --ignore=tests/test_readme.py \
	--ignore=tests/test_docs.py \
	--deselect=tests/test_import.py::test_every_public_name_resolves

DOCS := $(VENV)/.docs-installed

.PHONY: help env demo docs test test-all test-numerics test-pandas3 test-oldest \
	test-docs test-services test-cluster test-browser lint coverage format clean

help:
	@echo "make demo      encode, fit, publish and recommend on a generated catalogue"
	@echo "make docs      build the site in docs/_build/html"
	@echo "make test      run the tests (under 15 minutes on 2 cores)"
	@echo "make test-all  run the slow tests too"
	@echo "make test-docs      the code of the documentation's pages and examples"
	@echo "make test-numerics  the tests as other processors, orders and strings have them"
	@echo "make test-pandas3   the tests of all but the feature store, with pandas 3"
	@echo "make test-oldest    the tests with the oldest versions that are allowed"
	@echo "make test-services  PostgreSQL and Redis, where they are installed"
	@echo "make test-cluster   Ray and Spark, which needs Java 17 or newer"
	@echo "make test-browser   the page in Chromium (Debian: chromium chromium-driver)"
	@echo "make lint      ruff and mypy"
	@echo "make coverage  lines that the tests do not reach"
	@echo "make clean     remove the environment and the outputs"

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/quickstart.py

# No network is needed once its packages are there. Warnings are errors.
docs: $(DOCS)
	OMP_NUM_THREADS=2 $(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

test: $(STAMP)
	$(PYTEST) $(QUICK)

test-all: $(STAMP)
	$(PYTEST)

# One file, so its tests are dealt out one by one.
test-docs: $(STAMP)
	$(PYTEST) --dist load -m pages tests/test_docs.py

# Numbers must not depend on the machine, nor tests on their order; the last run has the
# best that this processor can do, such as AVX-512, and the strings of pandas 3.
test-numerics: $(STAMP)
	$(OLD) $(PYTEST) $(QUICK) --random-order
	$(COMMON) OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest $(QUICK) \
		--random-order tests/fusion tests/recommender tests/encoders
	PANDAS_FUTURE_INFER_STRING=1 $(PYTEST) $(QUICK) --random-order

test-pandas3: $(STAMP3)
	OMP_NUM_THREADS=1 $(VENV3)/bin/python $(IN_TWO) $(QUICK) $(NO_FEAST)

$(STAMP3): pyproject.toml constraints.txt .ci/without_feast.py
	$(PYTHON) -m venv $(VENV3)
	$(VENV3)/bin/python -m pip install --quiet --upgrade pip
	$(VENV3)/bin/python .ci/without_feast.py requirements > $(VENV3)/requirements.txt
	$(VENV3)/bin/python .ci/without_feast.py constraints > $(VENV3)/constraints.txt
	$(VENV3)/bin/python -m pip install --quiet --requirement $(VENV3)/requirements.txt \
		--constraint $(VENV3)/constraints.txt
	$(VENV3)/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

test-oldest: $(STAMP_OLDEST)
	OMP_NUM_THREADS=1 $(VENV_OLDEST)/bin/python $(IN_TWO) $(QUICK)

# pip cannot ask for the lowest versions; what those need in turn is the newest that fits.
$(STAMP_OLDEST): pyproject.toml
	$(PYTHON) -m venv --clear $(VENV_OLDEST)
	$(VENV_OLDEST)/bin/python -m pip install --quiet uv
	$(VENV_OLDEST)/bin/uv pip install --quiet --python $(VENV_OLDEST)/bin/python \
		--resolution lowest-direct --editable '.[dev,ranking]'
	touch $@

test-services: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[services]'
	$(BIN)/python -m pytest -m services tests/feature_store tests/service

# Not in the environment of the other tests: together they are 700 MB.
test-cluster: $(VENV_CLUSTER)/.installed
	OMP_NUM_THREADS=1 $(VENV_CLUSTER)/bin/python -m pytest -m cluster tests/batch tests/feature_store

$(VENV_CLUSTER)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV_CLUSTER)
	$(VENV_CLUSTER)/bin/python -m pip install --quiet --upgrade pip
	$(VENV_CLUSTER)/bin/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[dev,ray,spark]'
	touch $@

test-browser: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p no:xdist -m browser tests/app

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(STAMP)
	$(PYTEST) $(QUICK) --cov=skmmrec --cov-branch --cov-report=term-missing:skip-covered

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV3) $(VENV_CLUSTER) $(VENV_OLDEST) out build dist *.egg-info docs/_build \
		docs/auto_examples docs/reference/generated
