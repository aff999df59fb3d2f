/* SPDX-License-Identifier: Apache-2.0 */
/*
 * osfile_crash.h - a file layer in memory that can lose power.
 *
 * Every 4 KiB page remembers the versions it had since the last successful sync.  A cut gives each
 * such page one of them, or a mix of two at 512-byte sectors: writes get lost, torn and reordered.
 * Handles opened before the cut are dead: what they do has no effect any more.
 */
#ifndef TESTS_OSFILE_CRASH_H
#define TESTS_OSFILE_CRASH_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/osfile.h"

extern const struct osfile_ops osfile_crash;

/* osfile_crash_reset - forget all files. */
void osfile_crash_reset(void);
/* osfile_crash_cut - lose power; seed decides what survives. */
void osfile_crash_cut(uint64_t seed);
/* osfile_crash_fail_syncs - the next n syncs fail with -EIO, and what they should have written may be
 * gone from the disk while reads still show it, as Linux does. */
void osfile_crash_fail_syncs(unsigned int n);
/* osfile_crash_forget_cached - drop the page cache: pages of failed syncs now read as the disk has them. */
void osfile_crash_forget_cached(void);
/* osfile_crash_ignore_syncs - syncs succeed but do nothing: tests of the tests. */
void osfile_crash_ignore_syncs(bool on);
/* osfile_crash_limit - pwrite answers -ENOSPC when more than this many pages hold data; 0 = no limit. */
void osfile_crash_limit(uint64_t pages);
uint64_t osfile_crash_pages(void);

#endif
