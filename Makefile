# SPDX-License-Identifier: MIT
# A thin front: meson builds, the scripts in tools/ and test/ do the rest.

BUILD  ?= build
PREFIX ?= /usr/local
# Where Debian's loader and pkg-config look. Meson asks dpkg-dev, which may not be there.
MULTIARCH = $(shell $(CC) -print-multiarch 2>/dev/null)
FOLDERS = -Dprefix=$(PREFIX) $(if $(MULTIARCH),-Dlibdir=lib/$(MULTIARCH))
# Debian's own tools, whatever else comes first in the path.
MESON  := PATH="/usr/bin:$$PATH" meson

.PHONY: help run test quick soak bench lint abi html coverage asan tsan valgrind install uninstall clean
.PHONY: python test-python

help:
	@echo 'make run      build, and show an example of C, the shell and Python each (seconds)'
	@echo 'make tour     run the lessons of a course: a table, and a report with pictures (minutes)'
	@echo 'make test     build, and test, with a sample of the deaths (three minutes)'
	@echo 'make quick    build, and run the tests of the files that have changed (seconds)'
	@echo 'make soak     all tests in full, with lint and sanitizers (hours)'
	@echo 'make bench    measure tine, other libraries and Python (minutes)'
	@echo 'make lint     check format, manual pages, exported names, warnings of gcc and clang'
	@echo 'make python   build the package for Python, in build-python/site'
	@echo 'make test-python  run its tests and CPython'"'"'s own (five minutes)'
	@echo 'make analyze  show what gcc -fanalyzer finds (minutes)'
	@echo 'make abi      record the binary interface as it is now, for make lint'
	@echo 'make html     make a site of the manual, in build/site'
	@echo 'make coverage show which lines and branches the tests run'
	@echo 'make asan     run the tests under AddressSanitizer and UBSan'
	@echo 'make tsan     run the tests under ThreadSanitizer'
	@echo 'make valgrind run the tests under valgrind'
	@echo 'make install  install library and command [PREFIX=/usr/local] [DESTDIR=]'
	@echo 'make uninstall  remove them, with the same PREFIX and DESTDIR'
	@echo 'make deb      make Debian packages, in build-deb'
	@echo 'Each names the Debian packages that are missing, and installs them. With'
	@echo 'NO_INSTALL=1 it only names them.'

$(BUILD)/build.ninja:
	@tools/deps build
	@$(MESON) setup $(BUILD) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@mv $(BUILD).log $(BUILD)/setup.log

# quietly FOLDER,TARGET: a line that counts on a terminal, else nothing; or what went wrong.
quietly = if [ -t 1 ]; then NINJA_STATUS='[%f/%t] ' ninja -C $1 $2; else \
	ninja -C $1 $2 >$1/ninja.log 2>&1 || { cat $1/ninja.log; exit 1; }; fi

# The package for Python, where it can be built of what is there.
try_python = if [ -z "$$(NO_INSTALL=1 tools/deps python 2>&1)" ]; then \
	echo 'building the package for Python'; $(MAKE) -s --no-print-directory python; fi

.PHONY: build
build: $(BUILD)/build.ninja
	@$(call quietly,$(BUILD),all)

run: $(BUILD)/build.ninja
	@echo 'building the library and the command'
	@$(call quietly,$(BUILD),cmd/tine examples/example-pictures)
	@$(try_python)
	@echo
	@tools/doors $(BUILD) build-python/site

.PHONY: tour
tour: $(BUILD)/build.ninja
	@echo 'building the library and the command'
	@$(call quietly,$(BUILD),cmd/tine)
	@PYTHONPATH=$(CURDIR)/build-python/site:$$PYTHONPATH $(BUILD)/cmd/tine tour --html $(BUILD)/tour.html

test:
	@tools/deps test
	@$(MAKE) --no-print-directory build
	@test/run $(BUILD) $(RESULTS)

quick: $(BUILD)/build.ninja
	@test/quick $(BUILD)

soak:
	@tools/all soak

bench:
	@tools/deps bench
	@$(MAKE) --no-print-directory build
	@ninja -C $(BUILD) benches >/dev/null
	@$(try_python)
	@bench/run --build $(BUILD)

lint:
	@tools/deps check
	@$(MAKE) --no-print-directory build
	@tools/lint $(BUILD)

.PHONY: analyze
analyze: build
	@tools/deps check
	@tools/analyze $(BUILD)

abi: build
	@tools/deps check
	@tools/abi $(BUILD) --record

html: $(BUILD)/build.ninja
	@tools/deps html
	@$(call quietly,$(BUILD),command-pages)
	@tools/site $(BUILD)/site $(BUILD)

coverage:
	@tools/deps coverage
	@tools/coverage

asan:
	@tools/deps check
	@tools/sanitize address

tsan:
	@tools/deps check
	@tools/sanitize thread

valgrind:
	@tools/deps check
	@tools/sanitize valgrind

build-python/build.ninja:
	@tools/deps python
	@$(MESON) setup build-python python -Dpython.purelibdir=$(CURDIR)/build-python/site \
		-Dpython.platlibdir=$(CURDIR)/build-python/site >build-python.log 2>&1 || \
		{ cat build-python.log; exit 1; }
	@mv build-python.log build-python/setup.log

python: build-python/build.ninja
	@$(call quietly,build-python,all)
	@$(MESON) install -C build-python --no-rebuild --quiet

test-python: python
	@tools/deps test-python
	@python/tests/run build-python/site $(RESULTS)

# Without tests, so that only what is installed is built.
build-install/build.ninja:
	@tools/deps build
	@$(MESON) setup build-install -Dtests=false >build-install.log 2>&1 || \
		{ cat build-install.log; exit 1; }
	@mv build-install.log build-install/setup.log

install: build-install/build.ninja
	@$(MESON) configure build-install -Dtests=false $(FOLDERS)
	@echo 'building the library and the command'
	@$(call quietly,build-install,all)
	@DESTDIR=$(DESTDIR) $(MESON) install -C build-install --no-rebuild --quiet
	@[ -n "$(DESTDIR)" ] || tools/installed build-install

# What an install would put there, and no folder.
uninstall: build-install/build.ninja
	@$(MESON) configure build-install -Dtests=false $(FOLDERS)
	@$(call quietly,build-install,all)
	@stage=$$(mktemp -d) && trap 'rm -rf "$$stage"' EXIT && \
		DESTDIR=$$stage $(MESON) install -C build-install --no-rebuild --quiet && \
		cd "$$stage" && find . ! -type d | sed 's|^\.||' | \
		while read -r file; do rm -f "$(DESTDIR)$$file"; done

.PHONY: deb
deb:
	@tools/deps deb
	@tools/deb build-deb

clean:
	rm -rf build build-*
