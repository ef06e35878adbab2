# The project's habits. Everything runs in the virtual environment .venv, which the first target that needs it makes.
#   make serve          the service on http://127.0.0.1:8000       make test      the tests
#   make serve PORT=9000 HOST=127.0.0.1                            make check     style, types, floors, truth of the docs

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
# Tests that simulate: required, if-available or disabled.
SIMULATOR ?= required
# Tests run in so many processes, each with one thread for its arithmetic; no more than four, as each holds torch.
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup serve test test-slow check format bench docs train-analog train-quantum clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.installed $(VENV)/.ngspice ## .venv with pinned packages, and libngspice

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -m app.bootstrap $(VENV)
	@touch $@

# Without libngspice the service still starts and says what is missing, so this never stops the set-up; it is tried again
# the next time.
$(VENV)/.ngspice: | $(VENV)/.installed
	@if $(BIN)/josephson doctor --fetch-ngspice --only ngspice; then touch $@; else \
		echo "libngspice is still missing: operating points will not be checked until 'josephson doctor' finds it" >&2; fi

serve: setup ## set up what is missing, then run the service (HOST, PORT)
	@exec $(BIN)/josephson serve --host $(HOST) --port $(PORT)

test: setup ## the tests, without the slow ones
	$(PYTEST) --simulator $(SIMULATOR)

test-slow: setup ## all tests
	$(PYTEST) --simulator $(SIMULATOR) -m "slow or not slow"

check: setup ## style, types, floors, truth of the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py tests/test_house.py tests/test_house_docs.py

format: setup ## source files laid out as `make check` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.bench: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@touch $@

bench: setup $(VENV)/.bench ## our engine beside Hugging Face generate and an uncached loop
	$(BIN)/josephson bench engine

docs: setup ## the docs' commands, links and tables are compared to the code
	$(BIN)/python -m pytest -q tests/test_house_docs.py

# SOURCE is the corpus; RECIPE is cpu (two cores, hours), gpu, or a file; RESUME=1 goes on with a run that was interrupted.
TRAINING = $(if $(SOURCE),--source $(SOURCE)) $(if $(RECIPE),--recipe $(RECIPE)) $(if $(RESUME),--resume)

train-analog: setup ## train the analog model by its committed recipe (SOURCE, RECIPE, RESUME)
	$(BIN)/josephson train analog $(TRAINING)

train-quantum: setup ## train the quantum model by its committed recipe (SOURCE, RECIPE, RESUME)
	$(BIN)/josephson train quantum $(TRAINING)

clean: ## caches and build products, not .venv
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find app tests -name __pycache__ -type d -prune -exec rm -rf {} +
