/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_map.h - which blocks of a volume lie where: block -> (log object, frame, block in the frame).
 *
 * The volume is cut into regions of 1,024 blocks; a region is an exact array of 20-byte entries in
 * order of block, NULL where nothing is mapped; regions hang in pages of 4,096.  So a lookup is two
 * steps and a binary search, and a change copies a region: struct vol_change builds new regions beside
 * the map, which readers go on using, and applying it swaps pointers.
 *
 * Threads: the map's reader side needs the owner's lock against vol_change_apply only; one thread at a
 * time builds a change.
 */
#ifndef VOLUME_VOL_MAP_H
#define VOLUME_VOL_MAP_H

#include "gateway/volume/vol_format.h"

#define VOL_REGION_BLOCKS 1024u
#define VOL_REGION_SHIFT 10
#define VOL_PAGE_REGIONS 4096u
#define VOL_PAGES (VOL_SIZE_MAX >> VOL_BLOCK_SHIFT >> VOL_REGION_SHIFT >> 12)

struct vol_region;
struct vol_page;

struct vol_map {
	struct vol_page *pages[VOL_PAGES];
	uint64_t mapped_blocks, nentries, memory_bytes;
};

struct vol_piece { /* blocks that lie in one frame */
	uint64_t block;
	uint32_t nblocks;    /* 1..16 */
	uint32_t object;     /* ordinal in the image's objects */
	uint32_t stored_off; /* the frame */
	uint32_t stored_len;
	uint32_t crc; /* of its plain bytes */
	uint8_t comp;
	uint8_t skip;	      /* the frame's blocks before the first of these */
	uint8_t frame_blocks; /* of the whole frame */
};

void vol_map_init(struct vol_map *m);
void vol_map_free(struct vol_map *m);

/* vol_map_next - the first piece that touches [block, end), cut to it. result: false: nothing mapped */
bool vol_map_next(const struct vol_map *m, uint64_t block, uint64_t end, struct vol_piece *out);
/* vol_map_load - add behind everything there is; for checkpoints, in order of block. */
void vol_map_load(struct vol_map *m, const struct vol_piece *p);

/* A set of changes. Later ones see the earlier ones. */
struct vol_change;
struct vol_change *vol_change_new(struct vol_map *m);
/* vol_change_set - these blocks lie there. p may cross regions. */
void vol_change_set(struct vol_change *c, const struct vol_piece *p);
/* vol_change_zero - these blocks lie nowhere. */
void vol_change_zero(struct vol_change *c, uint64_t block, uint64_t nblocks);
/* vol_change_move - those of p's blocks that lie in the frame at from_off of object from lie in p. */
void vol_change_move(
    struct vol_change *c, const struct vol_piece *p, uint32_t from, uint32_t from_off);
/* vol_change_seal - give back spare memory; before vol_change_apply, without the lock. */
void vol_change_seal(struct vol_change *c);
/* vol_change_apply - swap the new regions in. Once. */
void vol_change_apply(struct vol_change *c);
/* vol_change_delta - blocks that object gained (negative: lost). For ordinals below vol_change_objects. */
int64_t vol_change_delta(const struct vol_change *c, uint32_t object);
uint32_t vol_change_objects(const struct vol_change *c);
/* vol_change_free - with the regions that were replaced, or not put in place. NULL is allowed */
void vol_change_free(struct vol_change *c);

#endif
