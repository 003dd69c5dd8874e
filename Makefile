# Everything needs only Python >= 3.10 and make. The environment is kept in VENV.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
DEMO ?= demo-out
# Processes that tests run in, each on one thread.
WORKERS ?= 2

.PHONY: demo demo-street test check docs docs-release wheel bundle clean

# The main job on the built-in road-sign camera: video, plot, log and state go to DEMO/.
# So small a network gains nothing from a second thread, and suffers when its core is busy.
demo: $(VENV)/.demo
	mkdir -p $(DEMO) && rm -f $(DEMO)/state.safetensors
	$(BIN)/edge-tta run demo --model demo --backend onnx --compare source,source+filter,norm --threads 1 \
	  --save $(DEMO)/demo.mp4 --plot $(DEMO)/error.png \
	  --jsonl $(DEMO)/frames.jsonl --state $(DEMO)/state.safetensors

# A road scene that is segmented: its network is trained here, some minutes; then the video of a drive
# in changing weather, and the mean intersection over union under corruptions of another one.
STREET = $(DEMO)/street
STREET_MODEL = --model bench/street.py:network --weights $(STREET)/street.safetensors
demo-street: $(VENV)/.test
	mkdir -p $(DEMO)
	test -e $(STREET)/street.safetensors || $(BIN)/python -m bench.street --out $(STREET)
	$(BIN)/edge-tta run $(STREET)/weather $(STREET_MODEL) --save $(STREET)/street.mp4
	$(BIN)/edge-tta bench error $(STREET_MODEL) --data $(STREET)/drive \
	  --methods source,norm,nanoadapt:norm,nanoadapt:norm+guard \
	  --corruptions clean,gaussian_noise:2,fog:3,contrast:3,brightness:4,motion_blur:3,snow:2,jpeg_compression:4

# What .ci/run calls: lint, format, types, import contracts, tests.
test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS) --dist worksteal

# What to run between two commits: the same but for the slow tests.
check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS) --dist worksteal tests/config tests/engines \
	  tests/guard tests/method tests/run tests/show \
	  --deselect tests/method/test_memory.py --deselect tests/method/test_trace.py

# The documentation as a site in build/docs; a broken link is an error. A test builds it too.
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/docs/index.html; with search: $(BIN)/python -m http.server -d build/docs"

# The documentation of this release as a version of the site, on the local branch gh-pages; push it.
docs-release: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 PATH="$(abspath $(BIN)):$$PATH" mike deploy --update-aliases \
	  "$$($(BIN)/python -c 'import edge_tta; print(edge_tta.__version__)')" latest
	PATH="$(abspath $(BIN)):$$PATH" mike set-default latest

# The distribution in dist/, checked, and its wheel installed and run in an environment without PyTorch.
wheel: $(VENV)/.test
	rm -rf dist
	$(BIN)/python -m pip install --quiet build twine
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/pytest -q -s -m installed tests/docs

# The demo's bundle, which is part of the package: after a change of the step or the preset `edge`.
bundle: $(VENV)/.test
	rm -rf build/bundle && mkdir -p build
	$(BIN)/edge-tta export bundle --model demo --with source,norm --out build/bundle
	rm -rf edge_tta/demo/bundle && mv build/bundle edge_tta/demo/bundle

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "installing what the demo needs into $(VENV), about half a minute"
	$(BIN)/python -m pip install --quiet --editable '.[plot]'
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "installing PyTorch and all tools into $(VENV), some 6 GB: minutes"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed, got $$($(PYTHON) --version); set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
