# make run     everything it takes to see it work: set-up, sample photos, the service in the foreground
# make test    everything it takes to trust it: set-up, linters, types, Rust and Python tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := Cargo.toml Cargo.lock $(wildcard core_rs/Cargo.toml core_rs/src/*.rs)
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: run test lint format speed bench peers giants quality auto sheets torture soak pictures train wheel wheel-aarch64 man deb witnesses readers clean

run: $(VENV)/.ready
	$(BIN)/python examples/sample_photos.py
	XDG_STATE_HOME=$(CURDIR)/state $(BIN)/darkroomd run --config examples/config.yaml

test: $(VENV)/.ready-dev witnesses lint
	cargo test --workspace --quiet
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-fail-under=90

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest darkroomd._core
	@if cargo clippy --version >/dev/null 2>&1; then \
	  echo cargo clippy; cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings; \
	else echo "skipped: clippy (rustup component add clippy)"; fi
	@if cargo fmt --version >/dev/null 2>&1; then \
	  echo cargo fmt --check; cargo fmt --all --check; \
	else echo "skipped: rustfmt (rustup component add rustfmt)"; fi

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cargo fmt --all

# speed: ratios in one run; quality: every figure on the committed networks. Both rewrite benchmarks/RESULTS.md.
# make speed PARTS="modes-12 modes-48" goes on with the parts that are left.
speed: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.speed $(PARTS)

bench: speed
	cargo bench --workspace

# What people use instead, on this machine; the peers live in an environment of their own.
peers: $(VENV)/.ready-dev .venv-peers/.ready
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.ways

# how much memory pictures of 100 and 400 megapixels take; needs 5 GB below TMPDIR
giants: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.giants

quality: $(VENV)/.ready-quality readers
	$(BIN)/darkroomd models fetch
	$(BIN)/python -m benchmarks.quality

# how well look sees, what auto makes of clean and half-damaged photographs, how often checks trip, how true explain is
auto: $(VENV)/.ready-quality
	$(BIN)/darkroomd models fetch
	for one in look resolution content auto choices guards forecast; do $(BIN)/python -m benchmarks.$$one || exit 1; done

sheets: $(VENV)/.ready-quality readers
	$(BIN)/python -m benchmarks.sheets

# thousands of kills, power cuts and failing system calls; an hour, as root (mounts and loop devices of its own)
torture: $(VENV)/.ready-dev
	$(BIN)/python -m tests.torture

# ten thousand small photos through four folders: does anything grow, is anything lost?
soak: $(VENV)/.ready-dev
	$(BIN)/python -m tests.torture.soak

pictures: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.pictures

# make train MODE=general DATA=/path/to/pictures, or with FROM=models/general.onnx: begin with those weights
MODE ?= general
DATA ?= ../shared/data/train
train: .venv-train/.ready
	@case $(MODE) in text|upscale-*) .venv-train/bin/python -m training.pages;; esac
	.venv-train/bin/python -m training.train $(MODE) --data $(DATA) $(if $(FROM),--from-weights $(FROM))
	.venv-train/bin/python -m training.export $(MODE) --data $(DATA)

# One wheel for Python 3.11 and newer with everything in it, for glibc 2.28 and newer whatever this machine has (zig links
# against the old one), and the sdist that it was built from.
TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')
wheel: .venv-wheel/.ready $(VENV)/.ready
	$(BIN)/darkroomd models fetch  # the wheel is for machines without network, too
	rm -f dist/*.whl dist/*.tar.gz
	PATH="$(CURDIR)/.venv-wheel/bin:$$PATH" maturin build --release --sdist --zig --compatibility manylinux_2_28 \
	  --target $(TARGET) --out dist

# The same for 64-bit ARM, made on any machine that has rustup.
wheel-aarch64:
	rustup target add aarch64-unknown-linux-gnu
	$(MAKE) wheel TARGET=aarch64-unknown-linux-gnu

# a page for every command, and the shells' completions, for packages
man: $(VENV)/.ready-dev
	mkdir -p dist/completions
	$(BIN)/darkroomd man --into dist/man
	$(BIN)/darkroomd completion bash > dist/completions/darkroomd
	$(BIN)/darkroomd completion zsh > dist/completions/_darkroomd
	$(BIN)/darkroomd completion fish > dist/completions/darkroomd.fish

# A Debian package for the Debian that this runs on, with Debian's own tools (apt-get install debhelper); it brings its Python
# libraries along, as they are in .venv, and so is for the same Python. COMPRESSION=none is quicker, and larger.
DEB := dist/deb
COMPRESSION ?= zstd
deb: man
	rm -rf $(DEB) && mkdir -p $(DEB)/darkroomd
	$(if $(WHEEL),install -D -t $(DEB)/wheel $(WHEEL),$(BIN)/maturin build --release --quiet --out $(DEB)/wheel)
	cp -rL packaging/debian systemd config dist/man dist/completions docs CHANGELOG.md $(DEB)/darkroomd/
	$(BIN)/python packaging/collect.py $(DEB)/wheel/*.whl $(DEB)/darkroomd/packages > $(DEB)/python
	$(BIN)/python -c 'from darkroomd import install; print(install.starting_config(*map(str, (install.WATCH, install.OUTPUT))), end="")' \
	  | sed 's#^\(. yaml-language-server: .schema=\).*#\1/usr/lib/darkroomd/packages/darkroomd/shipped/config/schema.json#' \
	  > $(DEB)/darkroomd/config.yaml
	printf 'darkroomd (%s) unstable; urgency=medium\n\n  * See the changelog of darkroomd.\n\n -- darkroomd <darkroomd@localhost>  %s\n' \
	  "$$($(BIN)/python -c 'from importlib.metadata import version; print(version("darkroomd"))')" "$$(date -R)" \
	  > $(DEB)/darkroomd/debian/changelog
	cd $(DEB)/darkroomd && python=$$(cat ../python) && \
	  PYTHON_VERSION=$$python PYTHON_BELOW=3.$$(( $${python#3.} + 1 ))~ COMPRESSION=$(COMPRESSION) \
	  dpkg-buildpackage -b -us -uc

# ---------------------------------------------------------------------------------------------- set-up

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "darkroomd needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 1; }
	@command -v cargo >/dev/null || { echo "darkroomd needs Rust 1.85 or newer (cargo is not on the PATH)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  rm -rf $(VENV); echo "Python's venv module is missing: installing Debian's python3-venv"; \
	  $(call as_root,apt-get install -y -q python3-venv) && $(PYTHON) -m venv $(VENV); } || \
	  { rm -rf $(VENV); echo "run: apt-get install python3-venv"; exit 1; }

$(VENV)/.ready: $(VENV)/bin/python pyproject.toml constraints.txt $(CORE)
	$(BIN)/pip install --quiet maturin
	$(BIN)/maturin develop --release --quiet --extras cpu
	$(BIN)/pip install --quiet --no-deps scikit-image  # only for its pictures
	@$(BIN)/darkroomd models fetch >/dev/null || echo "faces and text will not be found until: darkroomd models fetch"
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/maturin develop --release --quiet --extras cpu,dev
	@touch $@

.venv-wheel/.ready:
	$(PYTHON) -m venv .venv-wheel
	PIP_CONSTRAINT= .venv-wheel/bin/pip install --quiet maturin==1.16.0 ziglang==0.17.1
	@touch $@

$(VENV)/.ready-quality: $(VENV)/.ready-dev
	$(BIN)/maturin develop --release --quiet --extras cpu,dev,quality
	@touch $@

.venv-train/.ready: training/requirements.txt
	$(PYTHON) -m venv .venv-train
	PIP_CONSTRAINT= .venv-train/bin/pip install --quiet -r training/requirements.txt
	@touch $@

.venv-peers/.ready: benchmarks/peers.txt
	@ldconfig -p | grep -q libvulkan.so.1 && ldconfig -p | grep -q libomp.so.5 || \
	  $(call as_root,apt-get install -y -q libvulkan1 libomp5) || echo "run: apt-get install libvulkan1 libomp5"
	$(PYTHON) -m venv .venv-peers
	PIP_CONSTRAINT= .venv-peers/bin/pip install --quiet -r benchmarks/peers.txt
	@touch $@

# Debian packages that tests use as independent witnesses: installed where we may, else named. systemd-container boots the
# machine in which the service is tested, debhelper builds the package that is installed there, samba is the NAS.
WITNESSES := exiftool:libimage-exiftool-perl strace:strace systemd-nspawn:systemd-container dh:debhelper mkfs.xfs:xfsprogs smbd:samba smbnetfs:smbnetfs
define as_root
if [ "$$(id -u)" = 0 ]; then $(1); elif sudo -n true 2>/dev/null; then sudo $(1); else false; fi
endef

witnesses:
	@missing=""; for pair in $(WITNESSES); do \
	  command -v "$${pair%%:*}" >/dev/null 2>&1 || missing="$$missing $${pair##*:}"; done; \
	[ -z "$$missing" ] || ( $(call as_root,sh -c "apt-get update -q && apt-get install -y -q $$missing") >/dev/null 2>&1 ) || \
	  echo "tests that need these will be skipped; to run them: apt-get install$$missing"

# What reads in the benchmark of text, and typefaces that training does not draw.
READERS := tesseract-ocr fonts-ebgaramond fonts-linuxlibertine fonts-crosextra-carlito fonts-crosextra-caladea \
  fonts-open-sans fonts-lato fonts-ocr-a fonts-jetbrains-mono

readers:
	@dpkg-query -W $(READERS) >/dev/null 2>&1 || \
	  ( $(call as_root,sh -c "apt-get update -q && apt-get install -y -q $(READERS)") ) >/dev/null 2>&1 || \
	  { echo "run: apt-get install $(READERS)"; exit 1; }

clean:
	rm -rf $(VENV) .venv-train .venv-wheel .venv-peers target dist daemon/darkroomd/*.so
