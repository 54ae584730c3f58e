# Every target makes the environment it needs; a second call finds it ready.
PYTHON ?= $(shell python3.11 -c "" 2>/dev/null && echo python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Real sound servers, a browser and what Qt and PortAudio link to, for the tests.
SYSTEM := pulseaudio pulseaudio-utils pipewire pipewire-bin pipewire-pulse wireplumber dbus \
	libportaudio2 libasound2-plugins chromium fonts-dejavu-core libegl1 libgl1 libxkbcommon0 libdbus-1-3 \
	libfontconfig1 libglib2.0-0 zip
MARKS ?= not cluster and not tools
DEVICES := tests/live tests/plugins tests/web
TRAINING := $(foreach each,train evaluate corpora,tests/$(each) src/sordino/$(each))
EXAMPLE := src/sordino/examples/noisy/office_48k.flac

# `make test-tools` needs these, too: a proxy, a TURN server, what builds the container image, and what
# the bundlers run on.
TOOLS := nginx-light coturn buildah debootstrap $(if $(shell command -v npm),,nodejs npm)

.PHONY: help demo test test-devices test-rest test-training test-tools test-programs test-cluster coverage lint docs web release-dry clean

help:
	@echo "make demo   take the noise out of a bundled recording, into out/"
	@echo "make test   run the tests, but for those that need other people's tools"
	@echo "make test-tools   run those: bundlers, nginx, a TURN server, a Ray cluster, the documentation"
	@echo "make coverage     run the tests and say which lines they do not reach"
	@echo "make lint   check style, types and the arrows between the modules"
	@echo "make docs   build the documentation into site/"
	@echo "make web    rebuild the page and the browser package (needs Node 20)"
	@echo "make release-dry  build everything that a release publishes, and publish nothing"
	@echo "make clean  remove what the other targets made"

demo: $(VENV)/.demo
	@mkdir -p out
	$(BIN)/sordino denoise $(EXAMPLE) -o out/demo.wav --plot out/demo.png --overwrite
	@echo "Before:  $(EXAMPLE)"
	@echo "After:   out/demo.wav"
	@echo "Picture: out/demo.png (noisy, noise taken, speech left)"

# Three parts side by side. What has sound servers, plugins and a browser waits more than it computes;
# training and evaluation do nothing but compute, in the time that the others leave.
test: $(VENV)/.dev $(VENV)/.system
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target --keep-going \
		test-devices test-rest test-training

test-devices:
	$(BIN)/python -m pytest -m "$(MARKS)" $(DEVICES)

test-training:
	nice $(BIN)/python -m pytest -m "$(MARKS)" $(TRAINING)

test-rest:
	$(BIN)/python -m pytest -m "$(MARKS)" $(foreach each,$(DEVICES) $(TRAINING),--ignore=$(each))

test-tools: $(VENV)/.dev $(VENV)/.docs $(VENV)/.tools $(VENV)/.stores
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target --keep-going test-programs test-cluster

test-programs:
	$(BIN)/python -m pytest -m tools

test-cluster:
	$(BIN)/python -m pytest -m cluster

coverage: $(VENV)/.dev $(VENV)/.system
	$(BIN)/python -m pytest -m "$(MARKS)" --cov --cov-report=term --cov-report=html:out/coverage

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

web:
	cd web && npm ci && npm run build && npm run check

# Tried in an environment of its own, as users would have it.
release-dry: web $(VENV)/.dev
	rm -rf dist && mkdir -p dist out
	$(BIN)/python -m build --outdir dist
	cd web/sordino-web && npm pack --pack-destination ../../dist
	$(PYTHON) -m venv --clear out/release
	out/release/bin/python -m pip install --quiet dist/*.whl
	out/release/bin/sordino denoise $(EXAMPLE) -o out/release/clean.wav --overwrite
	@ls -l dist

clean:
	rm -rf $(VENV) out site build dist .pytest_cache .hypothesis .ruff_cache .import_linter_cache

# pip 25.1 is the first that installs dependency groups.
$(VENV)/.pip:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "Sordino needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) "pip>=25.1"
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.pip
	$(PIP) --editable ".[plot]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.pip
	$(PIP) --editable ".[all]" --group dev
	@touch $@

# Without apt-get or without root, the tests that need these programs are skipped.
define apt-install
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		dpkg -s $(1) >/dev/null 2>&1 || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1) >/dev/null; }; \
	else \
		echo "Some tests need these programs, which were not looked for: $(1)"; \
	fi
	@touch $@
endef

$(VENV)/.system: Makefile | $(VENV)/.pip
	$(call apt-install,$(SYSTEM))

$(VENV)/.tools: $(VENV)/.system
	$(call apt-install,$(TOOLS))

# Azure's own emulator comes from npm; without npm, the tests of az:// are skipped.
$(VENV)/.stores: pyproject.toml constraints.txt $(VENV)/.tools
	$(PIP) --editable ".[all,gs,az]" --group stores
	@! command -v npm >/dev/null || npm install --silent --no-audit --no-fund --prefix $(VENV)/azurite azurite@3
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/.pip
	$(PIP) --editable ".[docs]"
	@touch $@
