# What people, CI and the README run. `make demo` and `make test` need nothing but Python 3.11+.

PYTHON ?= python3
# Where pip takes PyTorch from. Empty: the default index, whose Linux build brings gigabytes of CUDA
# libraries. For the CPU build, the index URL that pytorch.org names for "CPU".
TORCH_INDEX_URL ?=

BIN := .venv/bin
INSTALLED := .venv/installed

# What `make release-gate` decides on, and against which artifact, if any.
ARTIFACT ?= artifacts/demo
BASELINE ?=

.PHONY: demo test lint types check coverage containers bench release-gate openapi reliability clean

demo: $(INSTALLED)
	$(BIN)/heed demo

test: $(INSTALLED)
	$(BIN)/pytest -q -m "not containers" --cov --cov-report=term

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

check: lint types test

containers: $(INSTALLED)
	$(BIN)/pytest -q -m containers -rs

bench: $(INSTALLED)
	$(BIN)/python benchmarks/startup.py artifacts/demo
	$(BIN)/python benchmarks/batching.py artifacts/demo loadtest/texts.txt

release-gate: $(INSTALLED)
	test -d $(ARTIFACT) || $(BIN)/heed demo --duration 5s
	HEED=$(BIN)/heed deploy/release-gate.sh $(ARTIFACT) $(BASELINE)

openapi: $(INSTALLED)
	$(BIN)/python docs/openapi.py > docs/openapi.json

# Measures what docs/reliability.md promises, and writes it; with haproxy and wrk all of it.
reliability: $(INSTALLED)
	test -d $(ARTIFACT) || $(BIN)/heed demo --duration 5s
	$(BIN)/python -m tests.reliability --artifact $(ARTIFACT)

clean:
	rm -rf .venv runs/demo artifacts/demo

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt \
		$(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
