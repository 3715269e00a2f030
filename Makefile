# SPDX-License-Identifier: MIT
# A thin front: meson builds, the scripts in tools/ and test/ do the rest.

BUILD  ?= build
PREFIX ?= /usr/local
# Debian's own tools, whatever else comes first in the path.
MESON  := PATH="/usr/bin:$$PATH" meson

.PHONY: help run test bench lint asan tsan valgrind install clean

help:
	@echo 'make run      build, and take the quick tour: a table, and a report with pictures'
	@echo 'make test     build, and run every test'
	@echo 'make bench    measure, beside other libraries and Python (minutes)'
	@echo 'make lint     format, static checks, manual pages, exported names, gcc and clang'
	@echo 'make asan     the tests under AddressSanitizer and UBSan'
	@echo 'make tsan     the tests under ThreadSanitizer'
	@echo 'make valgrind the tests under valgrind'
	@echo 'make install  [PREFIX=/usr/local] [DESTDIR=]'
	@echo 'run, test and bench install what they need from Debian, if it is missing.'

$(BUILD)/build.ninja:
	@tools/deps build
	@$(MESON) setup $(BUILD) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@mv $(BUILD).log $(BUILD)/setup.log

.PHONY: build
build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) >$(BUILD)/ninja.log 2>&1 || { cat $(BUILD)/ninja.log; exit 1; }

run: build
	@$(BUILD)/cmd/tine tour --quick --html $(BUILD)/tour.html

test:
	@tools/deps test
	@$(MAKE) --no-print-directory build
	@test/run $(BUILD) $(RESULTS)

bench:
	@tools/deps bench
	@$(MAKE) --no-print-directory build
	@ninja -C $(BUILD) benches >/dev/null
	@bench/run --build $(BUILD)

lint:
	@tools/deps test
	@$(MAKE) --no-print-directory build
	@tools/lint $(BUILD)

asan:
	@tools/deps test
	@tools/sanitize address

tsan:
	@tools/deps test
	@tools/sanitize thread

valgrind:
	@tools/deps test
	@tools/sanitize valgrind

install:
	@tools/deps build
	@$(MESON) setup build-install --prefix=$(PREFIX) --reconfigure >/dev/null 2>&1 || \
		$(MESON) setup build-install --prefix=$(PREFIX) >/dev/null
	@DESTDIR=$(DESTDIR) $(MESON) install -C build-install --quiet

clean:
	rm -rf build build-*
