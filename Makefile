# make install | demo | test | test-image | lint | requirements | clean
# `install` creates the virtual environments, and again when a pyproject.toml or the constraints change. `demo` and
# `lint` create only the main one.
PYTHON ?= python3.11
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
SAGEMAKER_VENV ?= .venv-sagemaker
SAGEMAKER_STAMP := $(SAGEMAKER_VENV)/installed
TOOLKITS_VENV ?= .venv-toolkits
TOOLKITS_STAMP := $(TOOLKITS_VENV)/installed
PRINT_PACKAGES_FOLDER := import sysconfig; print(sysconfig.get_path("purelib"))
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))
EDITABLE := -e 'core[train,dev]' $(patsubst %/pyproject.toml,-e %,$(PLUGINS))
CONSTRAINT_FILES = $(CONSTRAINTS) $(shell sed -n 's/^-c //p' $(CONSTRAINTS))
DEMO_ROOT ?= demo
DEMO_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install environments demo test test-image lint requirements clean
install:
	@$(MAKE) --no-print-directory -j 3 environments
environments: $(STAMP) $(SAGEMAKER_STAMP) $(TOOLKITS_STAMP)
	@:

# Install torch first and alone: pip then takes a CPU build if one is available, and no later step replaces it.
$(STAMP): core/pyproject.toml $(PLUGINS) $(CONSTRAINT_FILES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) torch
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) $(EDITABLE)
	$(BIN)/python -m compileall -q core/fusionzoo plugins  # pip skips this for editable installs; imports start faster
	touch $@

# The SageMaker SDK requires older versions of some packages, so tests/test_pipeline_sdk.py has its own environment.
$(SAGEMAKER_STAMP): tests/requirements-sagemaker.txt constraints-sagemaker.txt
	$(PYTHON) -m venv $(SAGEMAKER_VENV)
	$(SAGEMAKER_VENV)/bin/python -m pip install -q -c constraints-sagemaker.txt -r tests/requirements-sagemaker.txt
	touch $@

# AWS's toolkits require other versions of some packages too. All that they share with .venv, they take from there.
$(TOOLKITS_STAMP): tests/requirements-toolkits.txt | $(STAMP)
	$(PYTHON) -m venv $(TOOLKITS_VENV)
	$(TOOLKITS_VENV)/bin/python -m pip install -q --no-deps -r tests/requirements-toolkits.txt
	folder=$$($(BIN)/python -c '$(PRINT_PACKAGES_FOLDER)') && echo "import site; site.addsitedir('$$folder')" > \
	  "$$($(TOOLKITS_VENV)/bin/python -c '$(PRINT_PACKAGES_FOLDER)')/packages_of_core.pth"
	touch $@

demo: $(STAMP)
	$(BIN)/fusionzoo demo --root $(DEMO_ROOT) $(DEMO_ARGS)

test: install
	$(BIN)/python -m pytest -n 3 --dist worksteal $(PYTEST_ARGS)  # neighbors share fixtures; some tests only wait

# Builds both targets of the Dockerfile in a clean Debian, without a container engine, then trains and serves there.
test-image: install
	$(BIN)/python -m pytest -m image tests/test_image_build.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy core/fusionzoo $(wildcard plugins/*/*.py docs/*/*.py) train.py inference.py evaluate.py preprocess.py train_xgboost.py
	$(BIN)/lint-imports
	cd core && ../$(BIN)/deptry .
	$(BIN)/hadolint Dockerfile

# The packages of the images with their hashes. The suffix of the CPU build of torch is removed, so that an image that
# contains a CUDA build of the same version keeps it.
COMPILE = $(BIN)/uv pip compile -q -c constraints.txt --generate-hashes --no-annotate --only-binary :all: \
  --python-version 3.11.5 --python-platform x86_64-manylinux_2_28 --custom-compile-command 'make requirements'
TORCH ?= $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--torch-backend cpu)
requirements: $(STAMP)
	rm -f requirements/*.txt  # uv would keep the versions in them
	echo hatchling | $(COMPILE) - -o requirements/build.txt
	$(COMPILE) --extra serve core/pyproject.toml -o requirements/serve.txt
	$(COMPILE) --extra serve --extra train --extra peft $(TORCH) core/pyproject.toml -o requirements/train.txt
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements/train.txt

clean:
	rm -rf $(VENV) $(SAGEMAKER_VENV) $(TOOLKITS_VENV) $(DEMO_ROOT)
