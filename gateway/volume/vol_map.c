/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/volume/vol_map.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define LEN_BITS                                                                                   \
	18u /* of `packed`: stored_len, then comp 1, blocks-1 4, skip 4, frame_blocks-1 4 */

struct vol_entry {
	uint32_t object, stored_off, crc, packed;
	uint16_t block; /* in the region */
};

struct vol_region {
	uint32_t n, cap;
	struct vol_entry e[];
};

struct vol_page {
	struct vol_region *regions[VOL_PAGE_REGIONS];
};

struct vol_slot { /* of a change: a region's number and its new content */
	uint64_t index;
	struct vol_region *region;
	bool is_used;
};

struct vol_change {
	struct vol_map *m;
	struct vol_slot *slots; /* open addressing */
	size_t nslots, nused;
	int64_t *deltas;
	uint32_t ndeltas;
	int64_t mapped, entries, memory;
};

/* ---- entries ---- */

static uint32_t
entry_blocks(const struct vol_entry *e)
{
	return (e->packed >> (LEN_BITS + 1) & 15) + 1;
}

static uint32_t
entry_end(const struct vol_entry *e)
{
	return e->block + entry_blocks(e);
}

static struct vol_entry
entry_pack(const struct vol_piece *p)
{
	struct vol_entry e = {.object = p->object, .stored_off = p->stored_off, .crc = p->crc};

	e.block = (uint16_t)(p->block % VOL_REGION_BLOCKS);
	e.packed = p->stored_len | (uint32_t)p->comp << LEN_BITS |
		   (p->nblocks - 1) << (LEN_BITS + 1) | (uint32_t)p->skip << (LEN_BITS + 5) |
		   (uint32_t)(p->frame_blocks - 1) << (LEN_BITS + 9);
	return e;
}

static void
entry_unpack(const struct vol_entry *e, uint64_t region, struct vol_piece *p)
{
	p->block = region * VOL_REGION_BLOCKS + e->block;
	p->nblocks = entry_blocks(e);
	p->object = e->object;
	p->stored_off = e->stored_off;
	p->stored_len = e->packed & ((1u << LEN_BITS) - 1);
	p->crc = e->crc;
	p->comp = (uint8_t)(e->packed >> LEN_BITS & 1);
	p->skip = (uint8_t)(e->packed >> (LEN_BITS + 5) & 15);
	p->frame_blocks = (uint8_t)((e->packed >> (LEN_BITS + 9) & 15) + 1);
}

/* piece_cut - the part of p within [block, end), which it touches. */
static void
piece_cut(struct vol_piece *p, uint64_t block, uint64_t end)
{
	if (p->block + p->nblocks > end)
		p->nblocks = (uint32_t)(end - p->block);
	if (p->block < block) {
		p->skip = (uint8_t)(p->skip + (block - p->block));
		p->nblocks -= (uint32_t)(block - p->block);
		p->block = block;
	}
}

/* ---- regions ---- */

static size_t
region_memory(const struct vol_region *r)
{
	return r == NULL ? 0 : sizeof(*r) + r->cap * sizeof(r->e[0]) + 16; /* and malloc's own */
}

/* region_lower - the first entry that ends behind block. */
static uint32_t
region_lower(const struct vol_region *r, uint32_t block)
{
	uint32_t lo = 0, hi = r->n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (entry_end(&r->e[mid]) <= block)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct vol_region *
region_at(const struct vol_map *m, uint64_t index)
{
	const struct vol_page *page = m->pages[index / VOL_PAGE_REGIONS];

	return page == NULL ? NULL : page->regions[index % VOL_PAGE_REGIONS];
}

static struct vol_region **
region_place(struct vol_map *m, uint64_t index)
{
	struct vol_page **page = &m->pages[index / VOL_PAGE_REGIONS];

	if (*page == NULL) {
		*page = xcalloc(1, sizeof(**page));
		m->memory_bytes += sizeof(**page);
	}
	return &(*page)->regions[index % VOL_PAGE_REGIONS];
}

static struct vol_region *
region_grow(struct vol_region *r, uint32_t cap)
{
	uint32_t n = r != NULL ? r->n : 0;

	r = xrealloc(r, sizeof(*r) + cap * sizeof(r->e[0]));
	r->n = n;
	r->cap = cap;
	return r;
}

static bool
region_next(
    const struct vol_region *r, uint64_t index, uint64_t block, uint64_t end, struct vol_piece *out)
{
	uint64_t base = index * VOL_REGION_BLOCKS;
	uint32_t i;

	if (r == NULL)
		return false;
	i = region_lower(r, block > base ? (uint32_t)(block - base) : 0);
	if (i == r->n || base + r->e[i].block >= end)
		return false;
	entry_unpack(&r->e[i], index, out);
	piece_cut(out, block, end);
	return true;
}

/* ---- the map ---- */

void
vol_map_init(struct vol_map *m)
{
	memset(m, 0, sizeof(*m));
	m->memory_bytes = sizeof(*m);
}

void
vol_map_free(struct vol_map *m)
{
	for (size_t i = 0; i < VOL_PAGES; i++) {
		if (m->pages[i] == NULL)
			continue;
		for (size_t k = 0; k < VOL_PAGE_REGIONS; k++)
			free(m->pages[i]->regions[k]);
		free(m->pages[i]);
	}
	memset(m, 0, sizeof(*m));
}

bool
vol_map_next(const struct vol_map *m, uint64_t block, uint64_t end, struct vol_piece *out)
{
	uint64_t index = block / VOL_REGION_BLOCKS;

	if (end > VOL_SIZE_MAX >> VOL_BLOCK_SHIFT)
		end = VOL_SIZE_MAX >> VOL_BLOCK_SHIFT;
	while (index * VOL_REGION_BLOCKS < end) {
		if (m->pages[index / VOL_PAGE_REGIONS] == NULL) {
			index = (index / VOL_PAGE_REGIONS + 1) * VOL_PAGE_REGIONS;
			continue;
		}
		if (region_next(region_at(m, index), index, block, end, out))
			return true;
		index++;
	}
	return false;
}

void
vol_map_load(struct vol_map *m, const struct vol_piece *p)
{
	struct vol_piece part = *p;
	uint64_t end = p->block + p->nblocks;

	while (part.block < end) {
		uint64_t index = part.block / VOL_REGION_BLOCKS;
		uint64_t limit = (index + 1) * VOL_REGION_BLOCKS;
		struct vol_region **place = region_place(m, index);
		uint32_t n = *place != NULL ? (*place)->n : 0;

		part.nblocks = (uint32_t)((end < limit ? end : limit) - part.block);
		m->memory_bytes -= region_memory(*place);
		if (*place == NULL || n == (*place)->cap)
			*place = region_grow(*place, n < 8 ? n + 4 : n + n / 4);
		m->memory_bytes += region_memory(*place);
		(*place)->e[(*place)->n++] = entry_pack(&part);
		m->mapped_blocks += part.nblocks;
		m->nentries++;
		part.skip = (uint8_t)(part.skip + part.nblocks);
		part.block += part.nblocks;
	}
}

/* ---- a change: its regions ---- */

struct vol_change *
vol_change_new(struct vol_map *m)
{
	struct vol_change *c = xcalloc(1, sizeof(*c));

	c->m = m;
	c->nslots = 64;
	c->slots = xcalloc(c->nslots, sizeof(*c->slots));
	return c;
}

static struct vol_slot *
slot_find(struct vol_slot *slots, size_t nslots, uint64_t index)
{
	size_t i = (size_t)(index * 0x9e3779b97f4a7c15ull >> 20) & (nslots - 1);

	while (slots[i].is_used && slots[i].index != index)
		i = (i + 1) & (nslots - 1);
	return &slots[i];
}

static void
slots_double(struct vol_change *c)
{
	struct vol_slot *slots = xcalloc(2 * c->nslots, sizeof(*slots));

	for (size_t i = 0; i < c->nslots; i++)
		if (c->slots[i].is_used)
			*slot_find(slots, 2 * c->nslots, c->slots[i].index) = c->slots[i];
	free(c->slots);
	c->slots = slots;
	c->nslots *= 2;
}

/* change_region - the region as this change has it, NULL: as the map has it. */
static struct vol_region *
change_region(struct vol_change *c, uint64_t index)
{
	struct vol_slot *s = slot_find(c->slots, c->nslots, index);

	return s->is_used ? s->region : region_at(c->m, index);
}

/* change_edit - the region's new content, to be altered; room for two entries more. */
static struct vol_slot *
change_edit(struct vol_change *c, uint64_t index)
{
	struct vol_slot *s = slot_find(c->slots, c->nslots, index);

	if (!s->is_used) {
		const struct vol_region *old = region_at(c->m, index);
		uint32_t n = old != NULL ? old->n : 0;

		if (2 * (c->nused + 1) > c->nslots) {
			slots_double(c);
			s = slot_find(c->slots, c->nslots, index);
		}
		c->nused++;
		s->is_used = true;
		s->index = index;
		s->region = region_grow(NULL, n + n / 8 + 4);
		s->region->n = n;
		if (n > 0)
			memcpy(s->region->e, old->e, n * sizeof(old->e[0]));
	}
	if (s->region->n + 2 > s->region->cap)
		s->region = region_grow(s->region, s->region->n + s->region->n / 4 + 8);
	return s;
}

static void
count(struct vol_change *c, uint32_t object, int64_t blocks)
{
	if (object >= c->ndeltas) {
		uint32_t n = object + object / 4 + 64;

		c->deltas = xrealloc(c->deltas, n * sizeof(*c->deltas));
		memset(c->deltas + c->ndeltas, 0, (n - c->ndeltas) * sizeof(*c->deltas));
		c->ndeltas = n;
	}
	c->deltas[object] += blocks;
	c->mapped += blocks;
}

/* punch - unmap [from, to) of a region; room for an entry more was made. result: where an entry
 * for `from` belongs */
static uint32_t
punch(struct vol_change *c, struct vol_region *r, uint64_t index, uint32_t from, uint32_t to)
{
	uint32_t first = region_lower(r, from), i = first;
	uint64_t base = index * VOL_REGION_BLOCKS;
	struct vol_piece left, right;
	bool has_left = false, has_right = false;

	for (; i < r->n && r->e[i].block < to; i++) {
		const struct vol_entry *e = &r->e[i];
		uint32_t a = e->block > from ? e->block : from;
		uint32_t b = entry_end(e) < to ? entry_end(e) : to;

		count(c, e->object, -(int64_t)(b - a));
		if (e->block < from) {
			entry_unpack(e, index, &left);
			piece_cut(&left, base, base + from);
			has_left = true;
		}
		if (entry_end(e) > to) {
			entry_unpack(e, index, &right);
			piece_cut(&right, base + to, base + VOL_REGION_BLOCKS);
			has_right = true;
		}
	}
	if (i > first || has_left || has_right) {
		uint32_t keep = (has_left ? 1u : 0) + (has_right ? 1u : 0);

		memmove(&r->e[first + keep], &r->e[i], (r->n - i) * sizeof(r->e[0]));
		r->n = r->n - (i - first) + keep;
		if (has_left)
			r->e[first] = entry_pack(&left);
		if (has_right)
			r->e[first + keep - 1] = entry_pack(&right);
	}
	return first + (has_left ? 1 : 0);
}

/* ---- a change: what is changed ---- */

void
vol_change_set(struct vol_change *c, const struct vol_piece *p)
{
	struct vol_piece part = *p;
	uint64_t end = p->block + p->nblocks;

	while (part.block < end) {
		uint64_t index = part.block / VOL_REGION_BLOCKS;
		uint64_t limit = (index + 1) * VOL_REGION_BLOCKS;
		struct vol_slot *s = change_edit(c, index);
		struct vol_region *r = s->region;
		uint32_t from = (uint32_t)(part.block % VOL_REGION_BLOCKS), at;

		part.nblocks = (uint32_t)((end < limit ? end : limit) - part.block);
		at = punch(c, r, index, from, from + part.nblocks);
		CW_ASSERT(r->n < r->cap);
		memmove(&r->e[at + 1], &r->e[at], (r->n - at) * sizeof(r->e[0]));
		r->e[at] = entry_pack(&part);
		r->n++;
		count(c, part.object, part.nblocks);
		part.skip = (uint8_t)(part.skip + part.nblocks);
		part.block += part.nblocks;
	}
}

void
vol_change_zero(struct vol_change *c, uint64_t block, uint64_t nblocks)
{
	uint64_t end = block + nblocks;

	while (block < end) {
		uint64_t index = block / VOL_REGION_BLOCKS;
		uint64_t base = index * VOL_REGION_BLOCKS, limit = base + VOL_REGION_BLOCKS;
		struct vol_piece p;

		if (end < limit)
			limit = end;
		if (region_next(change_region(c, index), index, block, limit, &p))
			(void)punch(c, change_edit(c, index)->region, index,
			    (uint32_t)(block - base), (uint32_t)(limit - base));
		block = limit;
	}
}

void
vol_change_move(struct vol_change *c, const struct vol_piece *p, uint32_t from, uint32_t from_off)
{
	uint64_t block = p->block, end = p->block + p->nblocks;

	while (block < end) {
		uint64_t index = block / VOL_REGION_BLOCKS;
		uint64_t limit = (index + 1) * VOL_REGION_BLOCKS;
		struct vol_piece old, part = *p;

		if (end < limit)
			limit = end;
		if (!region_next(change_region(c, index), index, block, limit, &old)) {
			block = limit;
			continue;
		}
		block = old.block + old.nblocks;
		if (old.object != from || old.stored_off != from_off)
			continue;
		piece_cut(&part, old.block, block);
		vol_change_set(c, &part);
	}
}

/* ---- a change: putting it in place ---- */

void
vol_change_seal(struct vol_change *c)
{
	for (size_t i = 0; i < c->nslots; i++) {
		struct vol_slot *s = &c->slots[i];
		const struct vol_region *old;

		if (!s->is_used)
			continue;
		old = region_at(c->m, s->index);
		if (s->region->n == 0) {
			free(s->region);
			s->region = NULL;
		} else {
			s->region = region_grow(s->region, s->region->n);
		}
		c->entries +=
		    (s->region != NULL ? s->region->n : 0) - (int64_t)(old != NULL ? old->n : 0);
		c->memory += (int64_t)region_memory(s->region) - (int64_t)region_memory(old);
	}
}

void
vol_change_apply(struct vol_change *c)
{
	for (size_t i = 0; i < c->nslots; i++) {
		struct vol_slot *s = &c->slots[i];
		struct vol_region **place, *old;

		if (!s->is_used)
			continue;
		place = region_place(c->m, s->index);
		old = *place;
		*place = s->region;
		s->region = old; /* freed with the change */
	}
	c->m->mapped_blocks += (uint64_t)c->mapped;
	c->m->nentries += (uint64_t)c->entries;
	c->m->memory_bytes += (uint64_t)c->memory;
}

int64_t
vol_change_delta(const struct vol_change *c, uint32_t object)
{
	return object < c->ndeltas ? c->deltas[object] : 0;
}

uint32_t
vol_change_objects(const struct vol_change *c)
{
	return c->ndeltas;
}

void
vol_change_free(struct vol_change *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->nslots; i++)
		if (c->slots[i].is_used)
			free(c->slots[i].region);
	free(c->slots);
	free(c->deltas);
	free(c);
}
