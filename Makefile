# SPDX-License-Identifier: Apache-2.0
# Causeway. `make help` lists the targets.  One makefile for the whole tree, nothing recursive.

BUILD ?= debug
O ?= build/$(BUILD)
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
DESTDIR ?=

PKGS := fuse3 libcurl libcrypto sqlite3 jansson libmicrohttpd libxml-2.0 libseccomp libzstd
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS_base := $(shell pkg-config --libs libcrypto 2>/dev/null) -lpthread
LIBS_s3 := $(shell pkg-config --libs libcurl libxml-2.0 jansson 2>/dev/null)
LIBS_cache := $(shell pkg-config --libs sqlite3 2>/dev/null)
LIBS_gateway := $(shell pkg-config --libs jansson libmicrohttpd libseccomp libzstd 2>/dev/null) -linih
LIBS_zstd := $(shell pkg-config --libs libzstd 2>/dev/null)
LIBS_nfs :=
LIBS_fuse := $(shell pkg-config --libs fuse3 2>/dev/null)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wold-style-definition -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 -Wimplicit-fallthrough
CFLAGS_debug := -O1 -g -DCW_DEBUG
CFLAGS_release := -O2 -g
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DCW_DEBUG
CFLAGS_tsan := -O1 -g -fsanitize=thread -DCW_DEBUG
CFLAGS_cov := -O0 -g --coverage
CFLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -DCW_DEBUG
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_cov := --coverage
LDFLAGS_fuzz := -fsanitize=address,undefined
CFLAGS := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=35 -fno-strict-aliasing \
	-fstack-protector-strong -I. $(WARN) $(PKG_CFLAGS) $(CFLAGS_$(BUILD)) $(EXTRA_CFLAGS)
LDFLAGS := $(LDFLAGS_$(BUILD)) $(EXTRA_LDFLAGS)

# --- sources: one archive a layer, so that an upward call cannot link ---------------------------
SRC_base := $(wildcard gateway/base/*.c)
SRC_s3 := $(wildcard s3/*.c)
SRC_cache := $(wildcard cache/*.c)
SRC_gateway := $(filter-out gateway/main.c gateway/engine.c,$(wildcard gateway/*.c)) $(wildcard gateway/volume/*.c)
SRC_api := $(wildcard gateway/api/*.c)
SRC_nfs := $(wildcard frontends/nfs/*.c)
SRC_fuse := $(wildcard frontends/fuse/*.c)
SRC_scsi := $(wildcard frontends/scsi/*.c)
SRC_iscsi := $(wildcard frontends/iscsi/*.c)
SRC_s3d := $(wildcard s3/server/*.c)
SRC_cli := $(wildcard gateway/cli/*.c)
# what reads volumes without a gateway: it cannot link more than the decoders and the S3 client
SRC_export := $(wildcard gateway/export/*.c) $(patsubst %,gateway/volume/vol_%.c,format frame map image ckpt json \
	store replay extract)
LAYERS := base s3 cache gateway api nfs fuse scsi iscsi s3d

obj = $(patsubst %.c,$(O)/%.o,$(1))
$(foreach l,$(LAYERS),$(eval LIB_$(l) := $(O)/lib$(l).a))
# archives in link order for a program that uses the whole
A_base := $(LIB_base)
A_s3 := $(LIB_s3) $(A_base)
A_cache := $(LIB_cache) $(A_base)
A_gateway := $(LIB_gateway) $(LIB_cache) $(A_s3)
A_nfs := $(LIB_nfs) $(A_gateway)
A_fuse := $(LIB_fuse) $(A_gateway)
A_scsi := $(LIB_scsi) $(A_gateway)
A_iscsi := $(LIB_iscsi) $(A_scsi)
A_api := $(LIB_api) $(A_gateway)
A_s3d := $(LIB_s3d) $(A_s3)
A_all := $(LIB_api) $(LIB_nfs) $(LIB_fuse) $(LIB_iscsi) $(LIB_scsi) $(A_gateway)
L_base := $(LIBS_base)
L_s3 := $(LIBS_s3) $(L_base)
L_cache := $(LIBS_cache) $(L_base)
L_gateway := $(LIBS_gateway) $(LIBS_cache) $(L_s3)
L_nfs := $(LIBS_nfs) $(L_gateway)
L_fuse := $(LIBS_fuse) $(L_gateway)
L_scsi := $(L_gateway)
L_iscsi := $(L_scsi)
L_api := $(L_gateway)
L_s3d := -linih $(shell pkg-config --libs libmicrohttpd jansson 2>/dev/null) $(L_s3)
L_all := $(LIBS_nfs) $(LIBS_fuse) $(L_gateway)

PROGRAMS := $(O)/causewayd $(O)/causeway $(O)/causeway-s3d $(O)/causeway-export

all: $(PROGRAMS) ## build the programs into build/$(BUILD)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"; $(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

define archive_rule
$(LIB_$(1)): $(call obj,$(SRC_$(1)))
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call archive_rule,$(l))))

$(O)/causewayd: $(O)/gateway/main.o $(O)/gateway/engine.o $(A_all)
	@echo "  LD $@"; $(CC) $(LDFLAGS) -o $@ $^ $(L_all)
$(O)/causeway: $(call obj,$(SRC_cli)) $(A_gateway)
	@echo "  LD $@"; $(CC) $(LDFLAGS) -o $@ $^ $(L_gateway) $(LIBS_fuse)
$(O)/causeway-export: $(call obj,$(SRC_export)) $(A_s3)
	@echo "  LD $@"; $(CC) $(LDFLAGS) -o $@ $^ $(L_s3) $(LIBS_zstd)
$(O)/causeway-s3d: $(A_s3d)
	@echo "  LD $@"; $(CC) $(LDFLAGS) -o $@ -Wl,--whole-archive $(LIB_s3d) -Wl,--no-whole-archive $(A_s3) $(L_s3d)

# --- unit tests: tests/unit/test_<layer>_<topic>.c links that layer and those below --------------
TOOLS_SRC := $(shell grep -lsE '^main\>' tests/lib/*.c tests/bench/*.c tests/model/*.c tests/crash/*.c)
TEST_LIB := $(filter-out $(TOOLS_SRC),$(wildcard tests/lib/*.c))
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT := $(patsubst tests/unit/%.c,$(O)/unit/%,$(UNIT_SRC))
define unit_rule
$(O)/unit/test_$(1)_%: $(O)/tests/unit/test_$(1)_%.o $(call obj,$(TEST_LIB)) $(A_$(1))
	@mkdir -p $$(@D)
	@echo "  LD $$@"; $$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(L_$(1)) -lcmocka
endef
$(foreach l,$(LAYERS) all,$(eval $(call unit_rule,$(l))))
.SECONDARY:

unit: $(UNIT) ## build the unit tests

# --- helper programs of the tests and benchmarks: each file there that has a main() ---------------
TOOLS := $(patsubst %.c,$(O)/tools/%,$(notdir $(TOOLS_SRC)))
$(foreach t,$(TOOLS_SRC),$(eval $(O)/tools/$(basename $(notdir $(t))): $(O)/$(t:.c=.o)))
$(O)/tools/%: $(call obj,$(TEST_LIB)) $(A_all)
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(L_all) -lnfs
tools: $(TOOLS) ## build the helper programs of tests and benchmarks

# --- fuzzing: every decoder of bytes that others wrote -------------------------------------------
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ := $(patsubst tests/fuzz/%.c,$(O)/fuzz/%,$(FUZZ_SRC))
FUZZ_SECONDS ?= 10
$(O)/fuzz/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(A_all) $(LIB_s3d)
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) -fsanitize=fuzzer,address,undefined -o $@ $< $(LIB_s3d) $(A_all) $(L_s3d) $(L_all)
fuzz-build: $(FUZZ)
fuzz: deps ## fuzz every decoder for FUZZ_SECONDS each (default 10)
	@$(MAKE) --no-print-directory BUILD=fuzz CC=clang fuzz-build
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh build/fuzz/fuzz

# --- packages: what a fresh Debian 12 machine lacks is installed ---------------------------------
DEPS_RUN := gcc make pkg-config libfuse3-dev fuse3 libcurl4-openssl-dev libssl-dev libsqlite3-dev \
	libjansson-dev libmicrohttpd-dev libxml2-dev libseccomp-dev libinih-dev libnfs-dev libzstd-dev curl
DEPS_TEST := $(DEPS_RUN) clang libclang-rt-14-dev clang-format libcmocka-dev libiscsi-dev libiscsi-bin qemu-utils qemu-block-extra libnfs-utils awscli \
	python3 python3-boto3 user-mode-linux iproute2 open-iscsi xfsprogs ceph-mon ceph-osd ceph-mgr radosgw ceph-common mandoc \
	procps e2fsprogs sqlite3 strace kmod rpcbind postgresql-15 linux-source-6.1
DEPS_BENCH := $(DEPS_TEST) nfs-ganesha nfs-ganesha-vfs s3fs rclone tgt
define install_missing
	@missing=""; for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -q --no-install-recommends $$missing; fi
endef
deps-run:
	$(call install_missing,$(DEPS_RUN))
deps:
	$(call install_missing,$(DEPS_TEST))
deps-bench:
	$(call install_missing,$(DEPS_BENCH))

# --- run -----------------------------------------------------------------------------------------
run: deps-run ## start the gateway with its embedded S3 store under ./var
	@$(MAKE) --no-print-directory -j2 BUILD=release all
	@O=build/release exec gateway/run.sh

# --- test ----------------------------------------------------------------------------------------
IT := $(sort $(wildcard tests/it/test-*))
FAULT := $(sort $(wildcard tests/fault/test-* tests/crash/test-* tests/model/test-*))
UML := $(sort $(wildcard tests/uml/test-*))
export CW_TEST_TALLY
test: deps ## build and pass all the tests
	@rm -f build/tally; mkdir -p build; \
	CW_TEST_TALLY=$$PWD/build/tally; export CW_TEST_TALLY; rc=0; \
	for t in test-lint test-unit test-tsan test-it test-fault test-uml test-fuzz; do \
	  $(MAKE) --no-print-directory $$t || rc=1; done; \
	awk '{p+=$$1; f+=$$2; s+=$$3} END {printf "%d passed, %d failed, %d skipped\n", p, f, s}' build/tally; exit $$rc

test-lint: ## house rules, formatting, man pages; clang builds it too
	@tests/run.py tests/lint/lint.py
	@$(MAKE) --no-print-directory -j2 BUILD=fuzz CC=clang all
test-unit: ## unit tests under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory -j2 BUILD=asan unit
	@O=build/asan tests/run.py $(patsubst $(O)/%,build/asan/%,$(UNIT))
TSAN_UNIT := $(foreach w,_loop _stream _cache_ _share_ _sync_ _s3_mem _s3_store _s3_door _nfs_server _nfs_drc _scsi_tasks _scsi_pr _iscsi_session _iscsi_login _vol_remote _volume_,$(foreach u,$(UNIT),$(if $(findstring $(w),$(u)),$(u))))
test-tsan: ## the concurrent unit tests under ThreadSanitizer
	@$(MAKE) --no-print-directory -j2 BUILD=tsan $(patsubst $(O)/%,build/tsan/%,$(TSAN_UNIT))
	@O=build/tsan TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1" tests/run.py --timeout 600 $(patsubst $(O)/%,build/tsan/%,$(TSAN_UNIT))
test-it: ## real clients against the sanitized programs, and the same S3 tests on Ceph RGW
	@$(MAKE) --no-print-directory -j2 BUILD=asan all tools
	@O=build/asan tests/run.py $(IT)
test-fault: ## failing stores, crashes, the model test
	@$(MAKE) --no-print-directory -j2 BUILD=debug all tools
	@O=build/debug tests/run.py $(FAULT)
test-uml: ## real Linux kernels as clients, power cuts
	@$(MAKE) --no-print-directory -j2 BUILD=release all tools
	@O=build/release tests/run.py $(UML)
test-fuzz:
	@$(MAKE) --no-print-directory -j2 BUILD=fuzz CC=clang fuzz-build
	@for f in $(FUZZ_SRC); do n=$$(basename $$f .c); mkdir -p build/fuzz/t; \
	  printf '#!/bin/sh\n# test: timeout=120\nexec tests/fuzz/run.sh build/fuzz/fuzz %s\n' $$n > build/fuzz/t/$$n; chmod +x build/fuzz/t/$$n; done
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-5} tests/run.py $(patsubst tests/fuzz/%.c,build/fuzz/t/%,$(FUZZ_SRC))
soak: deps ## the long runs: 100 power cuts, the whole source tree under kills, PostgreSQL on volumes, a failing store under volumes, half an hour per decoder
	@$(MAKE) --no-print-directory -j2 BUILD=release all tools
	O=build/release tests/uml/power-cut.sh $${CUTS:-100}
	O=build/release FULL=1 GUEST_TIMEOUT=1800 tests/uml/source-tree.sh killed
	O=build/release tests/uml/volume-postgres.sh cached host g g i g b g i b g g
	O=build/release tests/uml/volume-postgres.sh stored host g g i g b g i b g g
	O=build/release tests/uml/volume-postgres.sh cached guest g g i g b g i b g g
	O=build/release tests/uml/volume-postgres.sh stored guest g g i g b g i b g g
	O=build/release CW_VOLUME_FAULT_S=$${CW_VOLUME_FAULT_S:-30} tests/run.py --timeout 3600 tests/fault/test-volume-store-fails.py
	O=build/release MODEL_OPS=$${MODEL_OPS:-1000000} tests/model/test-model.sh
	$(MAKE) fuzz FUZZ_SECONDS=$${FUZZ_SECONDS:-1800}
bench: deps-bench ## benchmarks with their peers, medians and spread
	@$(MAKE) --no-print-directory -j2 BUILD=release all tools
	@O=build/release tests/bench/run.py

# --- install -------------------------------------------------------------------------------------
install: ## install binaries, man pages and the systemd unit: DESTDIR= PREFIX=
	@$(MAKE) --no-print-directory -j2 BUILD=release all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
	  $(DESTDIR)$(PREFIX)/share/man/man5 \
	  $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 build/release/causewayd build/release/causeway-s3d $(DESTDIR)$(PREFIX)/sbin
	install -m 755 build/release/causeway build/release/causeway-export $(DESTDIR)$(PREFIX)/bin
	install -m 644 gateway/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 gateway/man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 644 gateway/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	sed 's|@PREFIX@|$(PREFIX)|g' gateway/causewayd.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/causewayd.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/causewayd.service

fmt: ## format every C file
	clang-format -i $$(git ls-files --cached --others --exclude-standard '*.c' '*.h')
lint: ## house rules that a machine can see
	@tests/lint/lint.py
clean: ## remove the build directory
	rm -rf build
help: ## list the targets
	@grep -hE '^[a-z][a-zA-Z0-9_-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

-include $(shell test -d $(O) && find $(O) -name '*.d')
.PHONY: all unit tools fuzz fuzz-build deps deps-run deps-bench run test test-lint test-unit test-tsan test-it test-fault \
	test-uml test-fuzz soak bench install fmt lint clean help
