# SPDX-License-Identifier: Apache-2.0
# Causeway. `make help` lists the targets.  One makefile for the whole tree, nothing recursive.

BUILD ?= debug
O ?= build/$(BUILD)
CC ?= gcc
PREFIX ?= /usr/local
DESTDIR ?=

PKGS := fuse3 libcurl libcrypto sqlite3 jansson libmicrohttpd libxml-2.0 libseccomp
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS_base := $(shell pkg-config --libs libcrypto 2>/dev/null) -lpthread
LIBS_s3 := $(shell pkg-config --libs libcurl libxml-2.0 2>/dev/null)
LIBS_cache := $(shell pkg-config --libs sqlite3 2>/dev/null)
LIBS_gateway := $(shell pkg-config --libs jansson libmicrohttpd libseccomp 2>/dev/null) -linih
LIBS_nfs := -lnfs
LIBS_fuse := $(shell pkg-config --libs fuse3 2>/dev/null)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wold-style-definition -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 -Wimplicit-fallthrough
CFLAGS_debug := -O1 -g -DCW_DEBUG
CFLAGS_release := -O2 -g
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DCW_DEBUG
CFLAGS_tsan := -O1 -g -fsanitize=thread -DCW_DEBUG
CFLAGS_cov := -O0 -g --coverage
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_cov := --coverage
CFLAGS := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=35 -fno-strict-aliasing \
	-fstack-protector-strong -I. $(WARN) $(PKG_CFLAGS) $(CFLAGS_$(BUILD)) $(EXTRA_CFLAGS)
LDFLAGS := $(LDFLAGS_$(BUILD)) $(EXTRA_LDFLAGS)

# --- sources: one archive a layer, so that an upward call cannot link ---------------------------
SRC_base := $(wildcard gateway/base/*.c)
SRC_s3 := $(wildcard s3/*.c)
SRC_cache := $(wildcard cache/*.c)
SRC_gateway := $(filter-out gateway/main.c,$(wildcard gateway/*.c))
SRC_api := $(wildcard gateway/api/*.c)
SRC_nfs := $(wildcard frontends/nfs/*.c)
SRC_fuse := $(wildcard frontends/fuse/*.c)
SRC_s3d := $(wildcard s3/server/*.c)
SRC_cli := $(wildcard gateway/cli/*.c)
LAYERS := base s3 cache gateway api nfs fuse s3d

obj = $(patsubst %.c,$(O)/%.o,$(1))
$(foreach l,$(LAYERS),$(eval LIB_$(l) := $(O)/lib$(l).a))
# archives in link order for a program that uses the whole
A_base := $(LIB_base)
A_s3 := $(LIB_s3) $(A_base)
A_cache := $(LIB_cache) $(A_base)
A_gateway := $(LIB_gateway) $(LIB_cache) $(A_s3)
A_nfs := $(LIB_nfs) $(A_gateway)
A_fuse := $(LIB_fuse) $(A_gateway)
A_api := $(LIB_api) $(A_gateway)
A_s3d := $(LIB_s3d) $(A_s3)
A_all := $(LIB_api) $(LIB_nfs) $(LIB_fuse) $(A_gateway)
L_base := $(LIBS_base)
L_s3 := $(LIBS_s3) $(L_base)
L_cache := $(LIBS_cache) $(L_base)
L_gateway := $(LIBS_gateway) $(LIBS_cache) $(L_s3)
L_nfs := $(LIBS_nfs) $(L_gateway)
L_fuse := $(LIBS_fuse) $(L_gateway)
L_api := $(L_gateway)
L_s3d := -linih $(shell pkg-config --libs libmicrohttpd jansson 2>/dev/null) $(L_s3)
L_all := $(LIBS_nfs) $(LIBS_fuse) $(L_gateway)

PROGRAMS := $(O)/causewayd $(O)/causeway $(O)/causeway-s3d

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

$(O)/causewayd: $(O)/gateway/main.o $(A_all)
	$(CC) $(LDFLAGS) -o $@ $^ $(L_all)
$(O)/causeway: $(call obj,$(SRC_cli)) $(A_gateway)
	$(CC) $(LDFLAGS) -o $@ $^ $(L_gateway) $(LIBS_fuse)
$(O)/causeway-s3d: $(A_s3d)
	$(CC) $(LDFLAGS) -o $@ -Wl,--whole-archive $(LIB_s3d) -Wl,--no-whole-archive $(A_s3) $(L_s3d)

# --- unit tests: tests/unit/test_<layer>_<topic>.c links that layer and those below --------------
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT := $(patsubst tests/unit/%.c,$(O)/unit/%,$(UNIT_SRC))
define unit_rule
$(O)/unit/test_$(1)_%: $(O)/tests/unit/test_$(1)_%.o $(A_$(1)) $(call obj,$(wildcard tests/lib/*.c))
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(L_$(1)) -lcmocka
endef
$(foreach l,$(LAYERS) all,$(eval $(call unit_rule,$(l))))
.SECONDARY:

unit: $(UNIT) ## build the unit tests

fmt: ## format every C file
	clang-format -i $$(git ls-files '*.c' '*.h')

clean: ## remove the build directory
	rm -rf build

help: ## list the targets
	@grep -hE '^[a-z][a-zA-Z0-9_-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

-include $(shell test -d $(O) && find $(O) -name '*.d')
.PHONY: all unit fmt clean help
