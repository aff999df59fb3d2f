/* SPDX-License-Identifier: Apache-2.0 */
/* slot.h - the 256 KiB slots of a space's data file; private to the cache. */
#ifndef CACHE_SLOT_H
#define CACHE_SLOT_H

#include <stdbool.h>
#include <stdint.h>

struct cache;
struct cache_space;

enum slot_state {
	SLOT_FREE,     /* nothing in it */
	SLOT_READY,    /* may be re-used; holds old blocks until punched */
	SLOT_PUNCHING, /* being punched */
	SLOT_USED,     /* belongs to a chunk */
	SLOT_LIMBO,    /* given back, but a durable row may still name it */
	SLOT_GRAVE,    /* un-named, but a reader is still in it */
};

struct slot {
	uint8_t state;
	bool is_named; /* appeared in a transaction: un-name durably before re-use */
	bool has_redo; /* redo rows may exist */
	bool is_stale; /* USED, but may hold blocks of its former use as well */
	uint16_t refs; /* I/O in flight */
};

struct slots {
	struct slot *v;
	uint32_t n, cap, cursor;
	uint32_t punch_cursor;
	uint64_t *freemap, *readymap; /* bits of the FREE and of the READY ones */
	uint32_t nfree, nstale;
	_Atomic uint32_t nready; /* written locked; the evictor looks without */
};
/* cachei_slot_alloc - a slot for a chunk: the one at hint if it may be used, then READY ones, FREE ones. locked */
int32_t cachei_slot_alloc(struct cache_space *s, int32_t hint);
/* cachei_slot_whole - all of its blocks were written: nothing in it is stale any more. locked */
void cachei_slot_whole(struct cache_space *s, int32_t slot);
/* cachei_slots_loaded - start-up, rows are claimed: all other slots are READY. What is stale in those is not
 * known one by one: that of the space shows in what the file holds on disk. locked */
void cachei_slots_loaded(struct cache_space *s, uint64_t valid_bytes);
/* cachei_slots_extra - do more READY slots of a pinned space wait than may? locked */
bool cachei_slots_extra(const struct cache_space *s);
/* cachei_slots_gone - the space leaves the cache: its slots do not count any more. locked, or nobody else has it */
void cachei_slots_gone(struct cache_space *s);
void cachei_slot_free(struct cache_space *s, int32_t slot);
/* cachei_slot_release - the row that un-names it is durable. */
void cachei_slot_release(struct cache_space *s, int32_t slot);
void cachei_slot_ref(struct cache_space *s, int32_t slot);
void cachei_slot_unref(struct cache_space *s, int32_t slot);
/* cachei_slot_claim - start-up: a row names it. result: 0, -EUCLEAN if taken already */
int cachei_slot_claim(struct cache_space *s, int32_t slot);
/* cachei_slot_punch - give back what READY slots hold. unlocked; evictor. result: slots punched */
unsigned int cachei_slot_punch(struct cache_space *s, unsigned int max);
/* cachei_punch - what is due, of all spaces. unlocked; evictor. result: ns until more is; 0 = nothing is left */
uint64_t cachei_punch(struct cache *c);
void cachei_slots_grow(struct cache_space *s, uint32_t n); /* at least n slots exist */
void cachei_slots_free(struct slots *sl);

#endif
