# rustfsfs: the few targets. `make help` lists them.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
# Debian's own python3 if it is new enough, else the first on PATH
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
PACKAGES := ca-certificates python3 python3-venv python3-dev gcc libc6-dev pkg-config libfuse3-dev fuse3 strace procps systemd curl groff-base
BENCH_PACKAGES := bindfs e2fsprogs git gocryptfs restic tar
PREFIX ?= /usr/local
SBINDIR ?= /usr/sbin
LIB := $(DESTDIR)$(PREFIX)/lib/rustfsfs
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system
MAN := $(DESTDIR)$(PREFIX)/share/man
MAN_PAGES := $(wildcard rustfsfs/man/*.[1-8])
PYTHONS ?= 3.11 3.12 3.13
JOBS ?= 3
NFS_PACKAGES := libnfs13 mount nfs-ganesha nfs-ganesha-vfs rpcbind util-linux
VM_PACKAGES := debian-archive-keyring e2fsprogs mmdebstrap qemu-system-x86
APPS_PACKAGES := acl dbench fio gcc git libc6-dev make postgresql rsync sqlite3 stress-ng tar

.PHONY: help setup system-packages install install-program install-files uninstall test test-pythons test-crash test-kill test-model test-posix test-full test-faults test-rot test-leaks test-limits test-cold test-apps test-nfs test-vm apps-packages nfs-packages vm-packages bench bench-quick bench-corpus bench-packages bench-10m check format man demo demo-stop demo-oss oss-server clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.done  ## system packages (as root), virtual environment, rustfsfs in it

$(VENV)/.done: pyproject.toml Makefile
	@$(MAKE) --no-print-directory system-packages
	@echo "Making the virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
	@echo "Done: $(VENV)/bin/rustfsfs"

system-packages: NAMES := $(PACKAGES)
apps-packages: NAMES := $(APPS_PACKAGES)
nfs-packages: NAMES := $(NFS_PACKAGES)
vm-packages: NAMES := $(VM_PACKAGES)
bench-packages: NAMES := $(BENCH_PACKAGES)
system-packages apps-packages nfs-packages vm-packages bench-packages:
	@missing=; for name in $(NAMES); do \
		dpkg-query -W -f='$${db:Status-Abbrev}' $$name 2>/dev/null | grep -q '^ii' || missing="$$missing $$name"; done; \
	if [ -z "$$missing" ] || ! command -v apt-get >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "These packages are missing; as root: apt-get install -y$$missing" >&2; exit 1; fi; \
	echo "Installing$$missing ..."; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null

install: system-packages  ## as root: program, units, mount.rustfsfs, man pages below /usr/local; PREFIX=, SBINDIR=, DESTDIR=
	@echo "Installing rustfsfs in $(LIB) ..."
	@number=1; while [ -e $(LIB)/$$number ]; do number=$$((number + 1)); done; \
	$(MAKE) --no-print-directory install-program NEW=$$number || { rm -rf $(LIB)/$$number; exit 1; }
	@$(MAKE) --no-print-directory install-files
ifndef DESTDIR
	@if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
endif
	@echo "Done: $(DESTDIR)$(PREFIX)/bin/rustfsfs"

# Beside the one before, which stays until the next time: a running daemon imports from it. What fails leaves that in use, as
# the link is replaced last (`ln -T` does so by rename).
install-program:
	@rm -rf build && $(PYTHON) -m venv $(LIB)/$(NEW)
	@$(LIB)/$(NEW)/bin/python -m pip install --quiet --disable-pip-version-check . ; status=$$?; rm -rf build; exit $$status
	@$(LIB)/$(NEW)/bin/python $(LIB)/$(NEW)/bin/rustfsfs --version >/dev/null
ifdef DESTDIR
	@cd $(LIB)/$(NEW) && grep -rIl --null -F '$(DESTDIR)' bin pyvenv.cfg | xargs -0 -r sed -i 's#$(DESTDIR)##g'
endif
	@[ ! -e $(LIB)/current ] || \
		find $(LIB) -mindepth 1 -maxdepth 1 ! -name current ! -name "$$(readlink $(LIB)/current)" ! -name $(NEW) -exec rm -rf {} +
	@ln -sfT $(NEW) $(LIB)/current

install-files:
	@install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(SBINDIR) $(UNITS) $(DESTDIR)/etc/rustfsfs
	@ln -sfn ../lib/rustfsfs/current/bin/rustfsfs $(DESTDIR)$(PREFIX)/bin/rustfsfs
	@ln -sfn $(PREFIX)/lib/rustfsfs/current/bin/mount.rustfsfs $(DESTDIR)$(SBINDIR)/mount.rustfsfs
	@for unit in $(notdir $(wildcard systemd/*)); do \
		sed 's#/usr/local/#$(PREFIX)/#g' systemd/$$unit >$(UNITS)/$$unit && chmod 644 $(UNITS)/$$unit || exit 1; done
	@for page in $(MAN_PAGES); do install -D -m 644 -t $(MAN)/man$${page##*.} $$page || exit 1; done

uninstall:  ## undo `make install`; volumes and /etc/rustfsfs stay
	@rm -rf $(LIB)
	@rm -f $(DESTDIR)$(PREFIX)/bin/rustfsfs $(DESTDIR)$(SBINDIR)/mount.rustfsfs $(addprefix $(UNITS)/,$(notdir $(wildcard systemd/*)))
	@for page in $(MAN_PAGES); do rm -f $(MAN)/man$${page##*.}/$${page##*/}; done
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi

test: setup  ## the tests, mounts and all (as root with /dev/fuse)
	@$(PY) -m pytest -q -n $(JOBS) --dist loadfile --max-worker-restart 0 $(ARGS)

test-pythons: system-packages  ## the fast tests on each Python from 3.11 to 3.13 that is found: PYTHONS= chooses
	@passed=; for version in $(PYTHONS); do \
		for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python3; do \
			$$python -c '' 2>/dev/null && break; python=; done; \
		if [ -z "$$python" ]; then echo "Python $$version: not found"; continue; fi; \
		echo "Python $$version: $$python"; venv=.results/python$$version; \
		$$python -m venv $$venv && \
		$$venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' && \
		$$venv/bin/python -m pytest -q -m 'not fuse and not slow' || exit 1; passed="$$passed $$version"; done; \
	[ -n "$$passed" ] && echo "Passed on Python$$passed"

# The long suites take SEED= and MINUTES=, go on where they were, and add up in .results/
test-crash test-kill test-model test-posix test-full test-faults test-rot test-leaks test-limits test-cold test-apps test-nfs test-vm: test-%: setup
	@$(PY) -m tests.long.$*

test-crash:  ## power cuts enumerated: 200 000 states, every mutant caught (30 min)
test-kill:  ## SIGKILL under load: 1 000 cycles (60 min)
test-model:  ## 100 000 operations compared with ext4 (60 min)
test-full:  ## a small disk filled 100 times (15 min)
test-faults:  ## every call to a disk fails; random faults on mounts; full packs' disks (30 min)
test-rot:  ## 2 000 cases of rot: noticed, kept to their own files, mended where there are two copies (30 min)
test-leaks:  ## memory, descriptors and threads under 30 minutes of mixed load
test-limits:  ## what fsync and recovery cost, beside the ext4 below (3 min)
test-cold:  ## the cold tier's acceptance, each figure beside its goal: PARTS= chooses, SCALE=0.1 is quick (45 min)
test-apps: apps-packages  ## git, SQLite, PostgreSQL, rsync, tar, fio, dbench, stress-ng, gcc on a mount: APPS= chooses (15 min)
test-nfs: nfs-packages  ## NFS-Ganesha exports a mount, clients of NFSv3 keep files open over 20 restarts: PARTS=, RESTARTS= (4 min)
test-vm: vm-packages  ## a Debian machine under qemu, emulated: units, the kernel's NFS, a power cut: PARTS=, RESTARTS=, KEEP=1 (30 min)
test-posix:  ## pjdfstest's assertions on a mount: PJDFSTEST=DIR says where it is (10 min)

# All take DIR=, the disk to measure on; bench and bench-corpus also OUT=; bench also REPEAT=, ONLY= and SYSTEMS= (with commas), QUICK=1, OPTIONS= of mount
bench: setup  ## every workload on disk, null file system, rustfsfs, gocryptfs, bindfs: table, JSON, chart in OUT= (25 min)
	@$(MAKE) --no-print-directory bench-packages || echo "Without them." >&2
	@$(PY) -m rustfsfs.bench compare --out $(or $(OUT),.results) --dir $(or $(DIR),.results) --repeat $(or $(REPEAT),3) \
		--only "$(ONLY)" --systems "$(SYSTEMS)" --mount-options "$(OPTIONS)" $(if $(QUICK),--quick)

bench-quick: setup  ## fails if a key ratio is below 80 % of the committed one (2 min); UPDATE=1 commits to what it measures
	@$(PY) -m rustfsfs.bench guard --dir $(or $(DIR),.results) $(if $(UPDATE),--update)

bench-10m: setup  ## ten million files and a file of four million extents against the goals: FILES=, EXTENTS=, DIR= (20 min)
	@$(PY) -m rustfsfs.bench.millions $(or $(FILES),10000000) $(or $(EXTENTS),4000000) $(DIR)

bench-corpus: setup  ## bytes stored of trees, tar files and images, beside restic: fails above 1.05 times as many (2 min)
	@$(MAKE) --no-print-directory bench-packages || echo "Without them." >&2
	@$(PY) -m rustfsfs.bench corpus --out $(or $(OUT),.results) --dir $(or $(DIR),.results)

check: setup  ## format, lint, types, fast tests
	@$(PY) -m ruff format --check rustfsfs tests
	@$(PY) -m ruff check rustfsfs tests
	@$(PY) -m mypy
	@$(PY) -m pytest -q -m 'not fuse and not slow'

format: setup  ## format the code
	@$(PY) -m ruff format rustfsfs tests && $(PY) -m ruff check --fix rustfsfs tests

man: setup  ## make the man pages in rustfsfs/man of the Markdown beside them
	@$(PY) -m rustfsfs.man

demo: setup  ## format, mount, fill, measure, remount and compare a volume in ./demo
	@$(PY) -m rustfsfs.demo start demo

demo-stop:  ## unmount the demo
	@if [ -x $(PY) ]; then $(PY) -m rustfsfs.demo stop demo; else echo "There is no demo."; fi

demo-oss: setup  ## the cold tier on a server of its own: attach, copy, demote, read back; requests and bytes; cleans up
	@$(PY) -m tests.oss_server.demo

oss-server: setup  ## an OSS-compatible server on loopback, to try the cold tier without an account: DIR=, PORT=, ARGS= (Ctrl-C ends it)
	@$(PY) -m tests.oss_server --dir $(or $(DIR),.results/oss) --port $(or $(PORT),0) $(ARGS)

clean:  ## remove what setup and the tools made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
