/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode.h - mode pages as bytes: what can be changed, how they are written and read. Pure.
 *
 * Changeable: WCE (caching page) and SWP (control page), both saveable.  Without WCE, which is how a volume begins,
 * every write is durable before its status, so that an initiator that outlives a stop of ours loses nothing.
 */
#ifndef SCSI_MODE_H
#define SCSI_MODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mode_values {
	bool is_wce; /* write cache enabled: WRITE is volatile until SYNCHRONIZE CACHE or FUA */
	bool is_swp; /* software write protect */
};

#define MODE_DEFAULT                                                                               \
	{                                                                                          \
		.is_wce = false, .is_swp = false                                                   \
	}

enum mode_pc { MODE_CURRENT, MODE_CHANGEABLE, MODE_DEFAULTS, MODE_SAVED };

#define MODE_PAGES_MAX 128 /* bytes of all pages together */

/* mode_pages - write page `page` (0x3f = all, ascending) with these values.
 * result: bytes, 0 if there is no such page or subpage */
size_t mode_pages(uint8_t page, uint8_t subpage, enum mode_pc pc, const struct mode_values *v,
    uint8_t out[MODE_PAGES_MAX]);

/* mode_select_decode - the parameter list of MODE SELECT.
 * args:   is_10: header of 8 bytes; now: what holds now
 * result: 0 and *out; or an additional sense code (ILLEGAL REQUEST), *byte where in the list
 * source: SPC-4 7.5.4 (header), 7.5.6 (block descriptor), 6.10 */
unsigned int mode_select_decode(const uint8_t *list, size_t len, bool is_10, uint64_t blocks,
    uint32_t block_bytes, const struct mode_values *now, struct mode_values *out,
    unsigned int *byte);

#endif
