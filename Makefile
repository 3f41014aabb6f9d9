# The two commands of the README, and what developers need. Everything lands in virtual environments here.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOWEST ?= .venv-lowest
RESULTS ?= results
SEEDS ?= 1 100
ORDERS ?= 1 50
MUTANTS ?= 10
CONSTRAINTS := -c constraints.txt

.PHONY: verify test lint checks coverage test-lowest architecture bench bench-check endurance environments false-alarms flakes calibration verdicts detectable mutate fuzz clean
.DEFAULT_GOAL := help

help:
	@echo "make verify   verify the claims and draw the figures (into $(RESULTS)/)"
	@echo "make test     run the tests"
	@echo "make lint     check style, types and docstrings; make checks does so without a network, as pre-commit does"
	@echo "make coverage      which lines the tests reach, kernels included (about ten minutes)"
	@echo "make test-lowest   run the tests with the oldest libraries that are allowed"
	@echo "make architecture  draw docs/architecture.svg"
	@echo "make bench    time the kernels beside C, JAX and NumPy (about twenty minutes)"
	@echo "make bench-check   the same, shorter; fails where a stored ratio has become 20 % worse"
	@echo "make endurance     kill, damage and crowd what is stored, and resume (about an hour)"
	@echo "make environments  run the commands without a home, without a terminal, in other locales (about twenty minutes)"
	@echo "make false-alarms  verify all claims with seeds $(SEEDS) (minutes for each)"
	@echo "make flakes        run the tests in the orders of seeds $(ORDERS) (ten minutes for each)"
	@echo "make calibration   count how often intervals cover, into docs/reliability.md (an hour)"
	@echo "make verdicts      count wrong verdicts, into docs/reliability.md (a quarter of an hour)"
	@echo "make detectable    verify at budget full, and list the errors that pass (an hour)"
	@echo "make mutate        change $(MUTANTS) tokens of each file, and count who notices (hours)"
	@echo "make fuzz     call everything public with what should be refused (about half an hour)"
	@echo "make clean    remove the virtual environments and the results"
	@echo "PYTHON=... chooses the interpreter ($(PYTHON))"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gradnoise needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "no virtual environment could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }

# pip builds a wheel and installs it, so what is tested is what a user gets. In build/lib may lie files that have moved since.
define install
	@echo "installing gradnoise$(1) into $(VENV)"
	@rm -rf build/lib
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) ".$(1)"
endef

verify: $(BIN)/python
	$(call install,)
	@mkdir -p $(RESULTS)
	$(BIN)/gradnoise verify --budget quick --out $(RESULTS)
	$(BIN)/gradnoise figures --budget quick --out $(RESULTS)
	@echo
	@echo "report:   $(abspath $(RESULTS))/report.md (and report.json)"
	@echo "pictures: $(abspath $(RESULTS))/*.png"

test: $(BIN)/python
	$(call install,[test])
	$(BIN)/python -m pytest --ignore tests/neural
	$(call install,[neural-test])
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps attacut==1.0.6  # for its weights alone
	$(BIN)/python -m pytest tests/neural tests/cli/test_readme.py tests/exact/test_docstrings.py tests/exact/test_layout.py

lint: $(BIN)/python
	$(call install,[dev])
	@$(MAKE) --no-print-directory checks

# What pre-commit runs. It needs no network once `make lint` has installed the tools. The installation is linked to the files here.
checks:
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
		--config-settings editable_mode=strict --editable .
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python theory simulations claims testing figures cli tests docs reliability
	$(BIN)/python -m pytest -q tests/exact/test_docstrings.py -k described
	$(BIN)/python docs/draw_architecture.py --check

# Without Numba's compiler kernels are Python that can be watched, and a hundred times as slow: not the Monte-Carlo tests.
coverage: $(BIN)/python
	$(call install,[dev])
	@mkdir -p build
	NUMBA_DISABLE_JIT=1 CI=1 $(BIN)/python -m coverage run -m pytest -q tests/exact tests/property tests/cli/test_cli.py tests/neural
	$(BIN)/python -m coverage json -q -o build/coverage.json
	$(BIN)/python tests/coverage_by_room.py build/coverage.json

# Old libraries may deprecate what others among them do. PyTorch's oldest has gigabytes for GPUs: it is left out.
test-lowest:
	@test -x $(LOWEST)/bin/uv || { $(PYTHON) -m venv $(LOWEST) && $(LOWEST)/bin/python -m pip install --quiet uv; }
	@rm -rf build/lib
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --upgrade --resolution lowest-direct \
		--reinstall-package gradnoise ".[test]"
	$(LOWEST)/bin/python -m pytest -W ignore::DeprecationWarning --ignore tests/neural

architecture: $(BIN)/python
	$(call install,)
	$(BIN)/python docs/draw_architecture.py

bench: $(BIN)/python
	$(call install,[benchmark])
	$(BIN)/python benchmarks/compare.py

bench-check: $(BIN)/python
	$(call install,)
	$(BIN)/python benchmarks/compare.py --check --repeats 3

# Batteries that take long. Each keeps what it found in reliability/results and shows it in docs/reliability.md.
endurance: $(BIN)/python
	$(call install,[neural-test,dask])
	$(BIN)/python reliability/endurance.py

environments: $(BIN)/python
	$(call install,)
	$(BIN)/python reliability/environments.py

false-alarms: $(BIN)/python
	$(call install,)
	$(BIN)/python reliability/repeated.py false-alarms $(SEEDS)

flakes: $(BIN)/python
	$(call install,[neural-test])
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pytest-randomly>=3.16"
	$(BIN)/python reliability/repeated.py flakes $(ORDERS)
# Traces, kurtosis and noise scale are left out where PyTorch is not installed.
calibration: $(BIN)/python
	$(call install,[neural])
	$(BIN)/python reliability/calibration.py
verdicts: $(BIN)/python
	$(call install,)
	$(BIN)/python reliability/verdicts.py
detectable: $(BIN)/python
	$(call install,)
	$(BIN)/python reliability/detectable.py
mutate: $(BIN)/python
	$(call install,[test])
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "cosmic-ray>=8.4"
	-$(BIN)/python reliability/mutation.py tests --sample $(MUTANTS)
	$(BIN)/python reliability/mutation.py verdicts --sample $(MUTANTS)
fuzz: $(BIN)/python
	$(call install,[neural])
	PYTHONPATH=reliability $(BIN)/python -m fuzz

clean:
	rm -rf $(VENV) $(LOWEST) $(RESULTS) build *.egg-info
