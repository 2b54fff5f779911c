# make book: the site, in _docs/     make test: every notebook and every test     make bench: speed beside the peers
PYTHON ?= python3
BIN := $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)
export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= agg

.PHONY: book test check bench clean environment
.NOTPARALLEL:

book: environment
	@$(BIN)/nnzero book build

test: environment
	@$(BIN)/python tools/test_notebooks.py
	@$(BIN)/python -m pytest tests

check: environment
	@$(BIN)/nnzero book check

bench: environment
	@for b in benchmarks/[a-z]*.py; do [ $$b = benchmarks/bench.py ] || $(BIN)/python $$b || exit 1; done

environment:
	@$(PYTHON) tools/environment.py

clean:
	rm -rf .venv _docs _proc build dist *.egg-info .pytest_cache .hypothesis
