# make bench: set up and run the main job.  make test: set up and test.
# make test-whole: test whole runs.  make check: lint, format, types.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup bench test test-whole check clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,gambit,cluster]"
	touch $@

bench: $(READY)
	$(BIN)/python -m dnl.bench --senders 2 4

test: $(READY)
	$(BIN)/python -m pytest -m "not whole_run" -n logical --dist worksteal

test-whole: $(READY)
	$(BIN)/python -m pytest -m whole_run -n logical --dist worksteal

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv
