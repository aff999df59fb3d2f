/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write.c - put a client's bytes into DIRTY slots.
 *
 * A block that is DIRTY already is overwritten in place.  Any other block is written whole into the
 * chunk's DIRTY slot (a fresh one if it has none), never into SEALED or CLEAN slots (P2): a block
 * that the write covers needs no old content; the at most two blocks at its edges take theirs from
 * the layers below.  While a block is being written for the first time it is `busy` and other writes
 * to it wait; that is the only exclusion there is, as concurrent writes to one place have no order.
 *
 * A zero block has no bytes to be overwritten in place: it is written like one that is not DIRTY, with
 * zeros as its old content.
 *
 * The masks change when the bytes are in the page cache, in the same locked section in which the
 * owner updates size and times (written()), so every commit sees both or neither.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache_int.h"

#define PARTS_INLINE 8
#define WRITE_PIECE (64u << 10) /* smaller page-cache folios: later 4 KiB overwrites stay cheap */

struct edge { /* a block that is neither covered by the write nor DIRTY */
	uint64_t off;
	bool is_needed, is_zero;
	unsigned int nsegs;
	struct segment segs[4];
};

struct part { /* what the write does to one chunk */
	struct chunk *ch;
	uint64_t fresh;	  /* blocks that get DIRTY bytes which they have not */
	uint64_t touched; /* all blocks it writes */
	bool is_full;	  /* after it all of the chunk is DIRTY and un-synced */
};

struct plan {
	uint64_t off, end;
	uint32_t first_no, nparts;
	uint64_t reserve_bytes;
	uint32_t sync_errors;
	struct edge edges[2];
	struct part *parts, small[PARTS_INLINE];
};

static uint64_t
block_floor(uint64_t off)
{
	return off & ~(uint64_t)(CACHE_BLOCK_SIZE - 1);
}

/* touched_mask - blocks of the i-th chunk that [off, end) touches. */
static uint64_t
touched_mask(const struct plan *p, uint32_t i)
{
	uint64_t start = (uint64_t)(p->first_no + i) << CACHE_CHUNK_SHIFT;
	uint64_t from = max64(p->off, start), to = min64(p->end, start + CACHE_CHUNK_SIZE);
	uint32_t first = (uint32_t)(from - start) >> CACHE_BLOCK_SHIFT;
	uint32_t last = (uint32_t)(to - 1 - start) >> CACHE_BLOCK_SHIFT;

	return cachei_mask(first, last - first + 1);
}

/* fill_mask - of the blocks touched those that a write stores into: CW_IO_FILL spares what is local. */
static uint64_t
fill_mask(const struct cw_io *io, const struct chunk *ch, uint64_t touched)
{
	if ((io->flags & CW_IO_FILL) == 0 || ch == NULL)
		return touched;
	return touched & ~(ch->dirty | ch->sealed | ch->clean);
}

/* edge_find - where the old content of the block at off is. result: 0, -EINPROGRESS: parked. locked */
static int
edge_find(struct cw_io *io, struct edge *e, uint64_t off, struct list *fetches)
{
	struct cache_file *f = io->file;
	struct segment segs[READ_SEGS];
	const struct chunk *ch = cachei_chunk_find(f, (uint32_t)(off >> CACHE_CHUNK_SHIFT));
	uint64_t bit = 1ull << (off >> CACHE_BLOCK_SHIFT & (CACHE_CHUNK_BLOCKS - 1));
	bool miss;
	uint32_t n;

	if (ch != NULL && (dirty_data(ch) & bit) != 0)
		return 0;
	e->off = off;
	if (ch != NULL && (ch->dirty_zero & bit) != 0) {
		e->is_needed = e->is_zero = true;
		e->nsegs = 0;
		return 0;
	}
	n = cachei_plan(
	    f, off, CACHE_BLOCK_SIZE, CACHE_LIMIT_NONE, VIEW_NO_DIRTY, segs, &e->nsegs, &miss);
	if (miss) {
		off += n;
		io->npending = (uint32_t)(max64(off, io->off) - io->off);
		cachei_fetch_want(f, off, 1, false, fetches);
		/* the wake-up looks at io->off + npending: any byte of the missing block will do */
		cachei_io_park(io, IO_WAIT_FETCH);
		return -EINPROGRESS;
	}
	CW_ASSERT(n == CACHE_BLOCK_SIZE && e->nsegs <= 4);
	memcpy(e->segs, segs, e->nsegs * sizeof(segs[0]));
	e->is_needed = true;
	e->is_zero = e->nsegs == 1 && segs[0].slot == NO_SLOT && segs[0].buf == NULL;
	return 0;
}

static int
find_edges(struct cw_io *io, struct plan *p, struct list *fetches)
{
	uint64_t first = block_floor(p->off), last = block_floor(p->end - 1);
	bool is_first_cut = p->off != first || p->end < first + CACHE_BLOCK_SIZE;
	bool is_last_cut = last != first && p->end != last + CACHE_BLOCK_SIZE;
	int err = 0;

	if (is_first_cut)
		err = edge_find(io, &p->edges[0], first, fetches);
	if (err == 0 && is_last_cut)
		err = edge_find(io, &p->edges[1], last, fetches);
	return err;
}

/* write_check - may it run now? result: 0, -EINPROGRESS: parked, -EAGAIN: not on this stack. locked */
static int
write_check(struct cw_io *io, struct plan *p, bool nowait, struct list *fetches)
{
	struct cache_file *f = io->file;
	struct cache *c = f->space->cache;
	uint64_t fresh = 0;
	int err;

	if (f->seal_pending) {
		cachei_io_park(io, IO_WAIT_SEAL);
		return -EINPROGRESS;
	}
	for (uint32_t i = 0; i < p->nparts; i++) {
		const struct chunk *ch = cachei_chunk_find(f, p->first_no + i);
		uint64_t touched = fill_mask(io, ch, touched_mask(p, i));

		if (ch != NULL && ((ch->busy & touched) != 0 || (ch->flags & CHUNK_HOLD) != 0)) {
			cachei_io_park(io, IO_WAIT_BLOCK);
			return -EINPROGRESS;
		}
		fresh += blocks_of(touched & ~(ch == NULL ? 0 : dirty_data(ch)));
	}
	err = find_edges(io, p, fetches);
	if (err != 0)
		return err;
	if (nowait &&
	    (io->len > WRITE_INLINE_MAX || (p->edges[0].is_needed && !p->edges[0].is_zero) ||
		(p->edges[1].is_needed && !p->edges[1].is_zero)))
		return -EAGAIN;
	if (fresh > 0 && index_is_short(c->index))
		return -ENOSPC;
	p->reserve_bytes = fresh << CACHE_BLOCK_SHIFT;
	if (fresh > 0 &&
	    ((uint64_t)(c->dirty_bytes + c->reserved_bytes) + p->reserve_bytes > c->dirty_max ||
		(uint64_t)(c->dirty_bytes + c->clean_bytes) > c->capacity + c->capacity / 20)) {
		if ((io->flags & CW_IO_NO_PARK) != 0)
			return -ERR_BACKPRESSURE;
		cachei_space_wait(io, p->reserve_bytes);
		return -EINPROGRESS;
	}
	return 0;
}

/* write_begin - take chunks, slots and blocks. locked */
static void
write_begin(struct cw_io *io, struct plan *p)
{
	struct cache_file *f = io->file;
	struct cache_space *s = f->space;
	struct chunk *before;
	int32_t hint = NO_SLOT;

	if (p->nparts > PARTS_INLINE)
		p->parts = xcalloc(p->nparts, sizeof(*p->parts));
	before = p->first_no == 0 ? NULL : cachei_chunk_find(f, p->first_no - 1);
	if (before != NULL && before->dirty_slot != NO_SLOT)
		hint = before->dirty_slot + 1;
	for (uint32_t i = 0; i < p->nparts; i++) {
		struct part *pt = &p->parts[i];
		struct chunk *ch = cachei_chunk_get(f, p->first_no + i);

		pt->ch = ch;
		pt->touched = fill_mask(io, ch, touched_mask(p, i));
		pt->fresh = pt->touched & ~dirty_data(ch);
		pt->is_full = false;
		if (ch->dirty_slot == NO_SLOT)
			ch->dirty_slot = cachei_slot_alloc(s, hint);
		hint = ch->dirty_slot + 1;
		ch->busy |= pt->fresh;
		ch->pins++;
		ch->nwriters++;
		ch->flags |= CHUNK_REF;
		cachei_slot_ref(s, ch->dirty_slot);
	}
	for (unsigned int i = 0; i < 2; i++) {
		if (p->edges[i].is_needed)
			cachei_segs_pin(s, p->edges[i].segs, p->edges[i].nsegs);
	}
	f->nwriters++;
	p->sync_errors = s->sync_errors;
	s->cache->reserved_bytes += (int64_t)p->reserve_bytes;
}

/* edge_write - old content below, new bytes over it, the whole block to the slot. unlocked */
static int
edge_write(struct cw_io *io, const struct plan *p, const struct edge *e, int32_t slot)
{
	struct cache_space *s = io->file->space;
	uint64_t from = max64(e->off, p->off), to = min64(e->off + CACHE_BLOCK_SIZE, p->end);
	char block[CACHE_BLOCK_SIZE];
	int err = 0;

	if (e->is_zero)
		memset(block, 0, sizeof(block));
	else
		err = cachei_segs_read(s, e->segs, e->nsegs, block, false);
	if (err != 0)
		return err;
	memcpy(block + (from - e->off), (char *)io->buf + (from - p->off), to - from);
	return s->cache->os->pwrite(
	    s->file, block, sizeof(block), slot_off(slot) + (e->off & (CACHE_CHUNK_SIZE - 1)));
}

/* part_fill - only the blocks of pt->touched, run by run. unlocked */
static int
part_fill(struct cw_io *io, const struct plan *p, uint32_t i, int32_t slot)
{
	struct cache_space *s = io->file->space;
	uint64_t start = (uint64_t)(p->first_no + i) << CACHE_CHUNK_SHIFT,
		 mask = p->parts[i].touched;
	int err = 0;

	while (mask != 0 && err == 0) {
		uint32_t first = (uint32_t)__builtin_ctzll(mask), n = 0;
		uint64_t in = (uint64_t)first << CACHE_BLOCK_SHIFT;

		while (first + n < CACHE_CHUNK_BLOCKS && (mask >> (first + n) & 1) != 0)
			n++;
		mask &= ~cachei_mask(first, n);
		err = s->cache->os->pwrite(s->file, (char *)io->buf + (start + in - p->off),
		    (size_t)n << CACHE_BLOCK_SHIFT, slot_off(slot) + in);
	}
	return err;
}

static int
part_write(struct cw_io *io, const struct plan *p, uint32_t i, int32_t slot)
{
	struct cache_space *s = io->file->space;
	uint64_t start = (uint64_t)(p->first_no + i) << CACHE_CHUNK_SHIFT;
	uint64_t from = max64(p->off, start), to = min64(p->end, start + CACHE_CHUNK_SIZE);
	uint64_t n;
	int err = 0;

	if ((io->flags & CW_IO_FILL) != 0)
		return part_fill(io, p, i, slot);
	for (unsigned int k = 0; k < 2 && err == 0; k++) {
		const struct edge *e = &p->edges[k];

		if (!e->is_needed || e->off < start || e->off >= start + CACHE_CHUNK_SIZE)
			continue;
		err = edge_write(io, p, e, slot);
		if (e->off <= from)
			from = min64(e->off + CACHE_BLOCK_SIZE, to);
		else
			to = e->off;
	}
	for (; from < to && err == 0; from += n) {
		n = min64(to - from, WRITE_PIECE - (from & (WRITE_PIECE - 1)));
		err = s->cache->os->pwrite(
		    s->file, (char *)io->buf + (from - p->off), n, slot_off(slot) + (from - start));
	}
	return err;
}

/* write_end - the masks follow the bytes; give everything back. locked */
static void
write_end(struct cw_io *io, struct plan *p, int err)
{
	struct cache_file *f = io->file;
	struct cache_space *s = f->space;

	for (uint32_t i = 0; i < p->nparts; i++) {
		struct part *pt = &p->parts[i];
		struct chunk *ch = pt->ch;
		bool is_dead = (ch->flags & CHUNK_DEAD) != 0;

		ch->busy &= ~pt->fresh;
		ch->nwriters--;
		if (!is_dead && err == 0) {
			cachei_chunk_set_dirty(
			    ch, ch->dirty | pt->touched, ch->dirty_zero & ~pt->touched);
			ch->dirty_unsynced |= pt->touched;
			if (p->sync_errors != s->sync_errors && (ch->flags & CHUNK_RELOC) == 0) {
				ch->flags |=
				    CHUNK_RELOC; /* its pages may have been in the failed sync */
				s->nreloc++;
			}
			pt->is_full = ch->dirty_unsynced == BLOCKS_ALL;
			if (dirty_data(ch) == BLOCKS_ALL)
				cachei_slot_whole(s, ch->dirty_slot);
			cachei_chunk_changed(ch, pt->fresh != 0);
		}
		cachei_chunk_unpin(s, ch);
	}
	for (unsigned int i = 0; i < 2; i++) {
		if (p->edges[i].is_needed)
			cachei_segs_unpin(s, p->edges[i].segs, p->edges[i].nsegs);
	}
	s->cache->reserved_bytes -= (int64_t)p->reserve_bytes;
	if (err == 0 && f->seal_pending)
		cachei_seal_note_write(f, p->end);
	if (err == 0 && io->written != NULL)
		io->written(io);
	if (err != 0 && io->torn != NULL)
		io->torn(io);
	f->nwriters--;
	cachei_wake(f, IO_WAIT_BLOCK, 0, 0, 0);
	cachei_idle_signal(s);
	if (f->nwriters == 0 && f->seal_pending)
		cachei_seal_flip_pending(f);
	cachei_quiet_check(f);
}

/* write_out - have the disk begin with chunks that are full; those that lie side by side in one go, since
 * each costs a round to the device. unlocked */
static void
write_out(struct cache_space *s, const struct plan *p, const int32_t *slots)
{
	uint32_t i, n;

	for (i = 0; i < p->nparts; i += n) {
		for (n = 0; i + n < p->nparts && p->parts[i + n].is_full &&
			    slots[i + n] == slots[i] + (int32_t)n;)
			n++;
		if (n > 0)
			s->cache->os->start_writeback(
			    s->file, slot_off(slots[i]), (uint64_t)n << CACHE_CHUNK_SHIFT);
		else
			n = 1;
	}
}

/* write_bytes - all pwrites of one write. enters locked, leaves locked */
static int
write_bytes(struct cw_io *io, struct plan *p)
{
	struct cache_space *s = io->file->space;
	int32_t slots_small[PARTS_INLINE], *slots = slots_small;
	int err = 0;

	if (p->nparts > PARTS_INLINE)
		slots = xmalloc(p->nparts * sizeof(*slots));
	for (uint32_t i = 0; i < p->nparts; i++)
		slots[i] = p->parts[i].ch->dirty_slot;
	cache_space_unlock(s);
	for (uint32_t i = 0; i < p->nparts && err == 0; i++)
		err = part_write(io, p, i, slots[i]);
	cache_space_lock(s);
	for (uint32_t i = 0; i < p->nparts; i++)
		cachei_slot_unref(s, slots[i]);
	write_end(io, p, err);
	if (err == 0 && (io->flags & CW_IO_NOWAIT) == 0) {
		cache_space_unlock(s);
		write_out(s, p, slots);
		cache_space_lock(s);
	}
	if (slots != slots_small)
		free(slots);
	return err;
}

/* write_run - one attempt. The caller starts the fetches, unlocked and last of all: a parked writer may be answered
 * by them, and its space closed. result: 0, -EINPROGRESS parked, -EAGAIN needs a worker, error. locked */
static int
write_run(struct cw_io *io, bool nowait, struct list *fetches)
{
	struct plan p;
	int err;

	p.off = io->off;
	p.end = io->off + io->len;
	p.first_no = (uint32_t)(p.off >> CACHE_CHUNK_SHIFT);
	p.nparts = (uint32_t)((p.end - 1) >> CACHE_CHUNK_SHIFT) - p.first_no + 1;
	p.parts = p.small;
	p.edges[0].is_needed = p.edges[1].is_needed = false;
	io->npending = 0;
	err = write_check(io, &p, nowait, fetches);
	if (err == 0) {
		write_begin(io, &p);
		err = write_bytes(io, &p);
		if (p.parts != p.small)
			free(p.parts);
	}
	return err;
}

/* write_no_space - the disk is full: give it what clean data holds, bit by bit, and try again. fetches: as write_run().
 * unlocked */
static int
write_no_space(struct cw_io *io, struct list *fetches)
{
	struct cache_space *s = io->file->space;
	int64_t freed;
	int err = -ENOSPC;

	log_warn(
	    "cache.write", "disk-full", "space=%u path=%s: evicting clean data", s->id, s->path);
	do {
		freed = cachei_evict_bite(s->cache);
		if (freed < 0)
			break;
		cache_space_lock(s);
		err = write_run(io, false, fetches);
		cache_space_unlock(s);
	} while (err == -ENOSPC && freed > 0);
	if (err != -ENOSPC)
		return err;
	log_err("cache.write", "disk-full",
	    "space=%u path=%s clean_bytes=%lld dirty_bytes=%lld err=\"%s\": nothing left to evict",
	    s->id, s->path, (long long)s->cache->clean_bytes, (long long)s->cache->dirty_bytes,
	    err_str(freed < 0 ? (int)freed : err));
	return s->cache->dirty_bytes > 0 ? -ERR_BACKPRESSURE : -ENOSPC;
}

void
cachei_write_work(struct work *w)
{
	struct cw_io *io = container_of(w, struct cw_io, work);
	struct cache_space *s = io->file->space;
	unsigned int flags = io->flags;
	struct list fetches;
	int err = io->result;

	list_init(&fetches);
	cache_space_lock(s);
	if (io->state != IO_FAILED) {
		io->flags &= ~CW_IO_NOWAIT;
		err = write_run(io, false, &fetches);
	}
	cache_space_unlock(s);
	if (err == -ENOSPC && io->state != IO_FAILED)
		err = write_no_space(io, &fetches);
	cachei_fetch_start(&fetches);
	if (err == -EINPROGRESS)
		return;
	cache_space_lock(s);
	cachei_io_leave(io->file);
	cache_space_unlock(s);
	io->flags = flags;
	io->result = err;
	io->done(io);
}

int
cache_write(struct cw_io *io)
{
	struct cache_space *s = io->file->space;
	struct list fetches;
	int err;

	if (io->off + io->len > CACHE_FILE_MAX || io->off + io->len < io->off)
		return -EFBIG;
	if (io->len == 0)
		return 0;
	if ((io->flags & CW_IO_FILL) != 0 && ((io->off | io->len) & (CACHE_BLOCK_SIZE - 1)) != 0)
		return -EINVAL;
	list_init(&fetches);
	io->result = 0;
	cache_space_lock(s);
	cachei_io_enter(io);
	err = write_run(io, (io->flags & CW_IO_NOWAIT) != 0, &fetches);
	if (err == -EAGAIN || err == -ENOSPC) {
		workq_submit(s->cache->wq, &io->work);
		err = -EINPROGRESS;
	} else if (err != -EINPROGRESS) {
		cachei_io_leave(io->file);
	}
	cache_space_unlock(s);
	cachei_fetch_start(&fetches);
	return err;
}
