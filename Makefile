# make train   sets up .venv, trains net (c) on the built-in data set and says what to try next
# make test    sets up .venv and runs the quick tests; all but those that take minutes: make test ARGS='-m "not slow"'
# make gpu     tests and measures on this machine's GPU, with the Python that has CuPy: make gpu PYTHON=python3
# make lint    ruff and mypy
# make docs    writes a page for each module, from its docstrings, into build/docs
# make floors  runs the tests with the lowest versions of all dependencies, in an environment of their own
# make supply  builds the archives, and tests what is installed of them with the lowest and the newest dependencies
# make fuzz    tries inputs on all that reads files, answers and words from elsewhere: make fuzz MINUTES=60
# make setup   sets up .venv, and links by which editors find minidl.kernels

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
LINKS := build/package
PAGES := build/docs

.PHONY: train test gpu lint docs floors supply fuzz setup links clean

train: $(READY)
	$(BIN)/python train.py $(ARGS)
	@echo
	@echo "Try next (in this folder, after: source $(BIN)/activate):"
	@echo "  python train.py --method Baseline                     the same net without normalization"
	@echo "  python train.py --data cifar10 --epochs 10            real images; downloads 170 MB once"
	@echo "  python train.py --data photos/                        your own images, a subfolder for each class"
	@echo "  python train.py --help                                every method and option"

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not thorough" -n 2 --dist worksteal $(ARGS)

gpu:
	@$(PYTHON) benchmarks/gpu.py $(ARGS)

lint: $(READY) links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(LINKS) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p minidl
	MYPYPATH=$(CURDIR)/$(LINKS) $(BIN)/mypy train.py reproduce.py benchmarks/*.py

docs: $(READY) links
	@$(BIN)/python -c "import pdoc" 2> /dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	@rm -rf $(PAGES)
	@$(BIN)/python docs/api.py $(PAGES)

# What the newest of other packages deprecates, the oldest of ours may still call.
floors:
	$(PYTHON) -m venv --clear build/floors
	$(PYTHON) tests/lowest.py > build/floors/lowest.txt
	build/floors/bin/python -m pip install --quiet --disable-pip-version-check -c build/floors/lowest.txt -e ".[fast,study,test]"
	build/floors/bin/python -m pytest -m "not slow" -n 2 --dist worksteal -W default::DeprecationWarning $(ARGS)

supply:
	PYTHON=$(PYTHON) .ci/supply $(ARGS)

MINUTES ?= 10

# Where atheris has no wheel, inputs are mutations that know nothing of the code.
fuzz: $(READY)
	@$(BIN)/python -c "import atheris" 2> /dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -e ".[fuzz]" || true
	$(BIN)/python tests/fuzz --minutes $(MINUTES) $(ARGS)

setup: $(READY) links

# The package as it is installed, for mypy, pyright and editors: the folders beside minidl/ are its subpackages.
links:
	@rm -rf $(LINKS)
	@mkdir -p $(LINKS)/minidl
	@ln -s $(CURDIR)/minidl/* $(CURDIR)/kernels $(CURDIR)/models $(CURDIR)/data $(LINKS)/minidl/

# A set-up that broke off left no mark and is made anew.
$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "minidl needs Python 3.10 or newer; name one with: make PYTHON=/path/to/python3"; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[fast,study,test,lint]"
	@touch $(READY)

clean:
	rm -rf .venv build *.egg-info
