# `make demo` and `make test` set up what they need; PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
# Where it is set, each of the hundred workers that the tests start would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-kafka test-consumers lint bench quality lock clean
.DEFAULT_GOAL := demo

setup: .venv/.ready

# Hashes are checked, nothing is fetched that the lock does not name.
.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Groundswell needs Python 3.11 or newer; give one: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/groundswell demo

test: setup
	$(BIN)/python -m pytest tests detectors streams --numprocesses 4 --dist loadfile --no-loadscope-reorder

test-kafka: setup
	$(BIN)/python -m pytest tests/pipeline tests/kafka --broker kafka --numprocesses 2 --dist loadfile

test-consumers: setup
	$(BIN)/python -m pytest tests/consumers --consumers

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m bench.throughput

quality: setup
	$(BIN)/python -m bench.quality

lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --all-extras --group test --group lint --group build pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
