# Needs Python 3.11 or newer, pip and make; everything else is installed into .venv at the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check laws mutants faults kills format bench bench-training bench-peers bench-memory bench-corpora bench-generation clean
.DEFAULT_GOAL := help

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "saccade needs Python 3.11 or newer, this is %d.%d" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY)  ## teach a small model to read dates, test it, look inside (about two minutes)
	@$(BIN)/saccade demo

test: $(READY)  ## every test
	$(BIN)/python -m pytest --numprocesses 2

check: $(READY)  ## format, lint, types, architecture, laws
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py tests/laws

laws: $(READY)  ## the laws alone
	$(BIN)/python -m pytest tests/laws --numprocesses 2

mutants: $(READY)  ## plant bugs, one after the other; the laws must catch every one
	$(BIN)/python -m tests.mutants

faults: $(READY)  ## fail the disk in 3,000 ways while checkpoints are saved; none may be lost
	$(BIN)/python -m tests.faults

kills: $(READY)  ## kill a training again and again, in one process and in two; it must end in the same bytes
	$(BIN)/python -m tests.kills

format: $(READY)  ## put the code in its standard form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## speed, every table: DATA=folder of multi30k
	$(BIN)/python -m bench --data $(DATA)

bench-training: $(READY)  ## speed beside a plain torch.nn loop: DATA=folder of multi30k
	$(BIN)/python -m bench training --data $(DATA)

bench-peers: $(READY)  ## speed beside named peers, in environments of their own: DATA=folder of multi30k
	$(BIN)/python -m bench peers --data $(DATA)

bench-memory: $(READY)  ## peak memory beside a plain torch.nn loop: DATA=folder of multi30k
	$(BIN)/python -m bench.memory --data $(DATA)

bench-generation: $(READY)  ## symbols per second of every language model, beside a loop that reads all again
	$(BIN)/python -m bench.generation

bench-corpora: $(READY)  ## prepare two gigabytes of text, in how much memory
	$(BIN)/python -m bench.corpora --gigabytes 2

clean:  ## remove the environment
	rm -rf $(VENV)
