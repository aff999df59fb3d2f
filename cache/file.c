/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - life of a cache_file, and the queue of requests that wait on it. */
#include <stdlib.h>
#include <string.h>

#include "cache/cache_int.h"

void
cache_file_init(
    struct cache_file *f, struct cache_space *s, uint64_t id, void *owner, uint64_t base_limit)
{
	memset(f, 0, sizeof(*f));
	f->space = s;
	f->id = id;
	f->owner = owner;
	f->base_limit = base_limit;
	list_init(&f->parked);
	list_init(&f->active);
}

/* --- requests -------------------------------------------------------------------------------------- */

void
cachei_io_enter(struct cw_io *io)
{
	io->file->nio++;
	io->file->space->nio++;
	io->file->space->nios++;
	io->state = IO_NEW;
	io->started_ns = 0;
	io->work.fn = io->op == CW_IO_READ ? cachei_read_work : cachei_write_work;
	list_init(&io->link);
}

static void
idle_run(struct work *w)
{
	struct idle_wait *iw = container_of(w, struct idle_wait, work);

	iw->fn(iw->arg);
	free(iw);
}

static void
waits_fire(struct cache_file *f, bool quiet_only)
{
	struct list *l, *tmp;

	if (f->waits == NULL)
		return;
	list_for_each_safe(l, tmp, &f->waits->idle)
	{
		struct idle_wait *iw = container_of(l, struct idle_wait, link);

		if (quiet_only && !iw->is_quiet)
			continue;
		list_del(&iw->link);
		workq_submit(f->space->cache->wq, &iw->work);
	}
	cachei_waits_tidy(f);
}

void
cachei_quiet_check(struct cache_file *f)
{
	if (f->nwriters == 0 && !f->seal_pending)
		waits_fire(f, true);
}

void
cachei_io_leave(struct cache_file *f)
{
	struct cache_space *s = f->space;

	CW_ASSERT(f->nio > 0 && s->nio > 0);
	s->nio--;
	if (--f->nio == 0)
		waits_fire(f, false);
	cachei_idle_signal(s);
}

void
cachei_io_park(struct cw_io *io, enum io_state why)
{
	io->state = why;
	list_add_tail(&io->file->parked, &io->link);
}

void
cachei_wake(struct cache_file *f, enum io_state why, uint64_t off, uint64_t len, int err)
{
	struct list *l, *tmp;

	list_for_each_safe(l, tmp, &f->parked)
	{
		struct cw_io *io = container_of(l, struct cw_io, link);
		uint64_t pos = io->off + io->npending;

		if (io->state != (unsigned int)why)
			continue;
		if (why == IO_WAIT_FETCH && (pos < off || pos - off >= len))
			continue;
		list_del(&io->link);
		io->state = err == 0 ? IO_NEW : IO_FAILED;
		io->result = err;
		workq_submit(f->space->cache->wq, &io->work);
	}
}

static void
when(struct cache_file *f, void (*fn)(void *arg), void *arg, bool is_quiet)
{
	struct idle_wait *iw = xcalloc(1, sizeof(*iw));

	iw->fn = fn;
	iw->arg = arg;
	iw->is_quiet = is_quiet;
	iw->work.fn = idle_run;
	if (is_quiet ? f->nwriters == 0 && !f->seal_pending : f->nio == 0) {
		workq_submit(f->space->cache->wq, &iw->work);
		return;
	}
	list_add_tail(&cachei_waits(f)->idle, &iw->link);
}

void
cache_when_idle(struct cache_file *f, void (*fn)(void *arg), void *arg)
{
	when(f, fn, arg, false);
}

void
cache_when_quiet(struct cache_file *f, void (*fn)(void *arg), void *arg)
{
	when(f, fn, arg, true);
}

/* --- dropping ---------------------------------------------------------------------------------------- */

void
cache_file_discard(struct cache_file *f)
{
	struct cache_space *s = f->space;
	struct seal_op *op;
	bool is_stored = false;
	struct chunk *ch;
	uint32_t pos;

	f->base_gen++;
	cachei_bufs_drop(f);
	while (pos = 0, (ch = cachei_chunk_next(f, &pos)) != NULL) {
		is_stored = is_stored || (ch->flags & CHUNK_STORED) != 0;
		cachei_chunk_kill(ch);
	}
	if (is_stored)
		*(uint64_t *)cachei_vec_push(&s->pend.dead_files, sizeof(f->id)) = f->id;
	if (f->has_sealed && f->seal_base_limit > 0) {
		op = cachei_vec_push(&s->pend.seals, sizeof(*op));
		op->file_id = f->id;
		op->is_delete = true;
	}
	f->has_sealed = false;
	f->base_limit = f->sealed_limit = f->sealed_size = f->seal_base_limit = 0;
	for (unsigned int why = IO_WAIT_BLOCK; why <= IO_WAIT_SEAL; why++)
		cachei_wake(f, why, 0, 0, -ECANCELED);
	cachei_wake(f, IO_WAIT_FETCH, 0, CACHE_LIMIT_NONE, -ECANCELED);
	cache_mark(s);
	cachei_space_freed(s->cache);
}

void
cache_file_drop_clean(struct cache_file *f, uint64_t new_base_size)
{
	struct chunk *ch;
	uint32_t pos = 0;

	CW_ASSERT(!f->has_sealed);
	f->base_gen++;
	cachei_bufs_drop(f);
	while ((ch = cachei_chunk_next(f, &pos)) != NULL) {
		CW_ASSERT(ch->dirty == 0);
		cachei_chunk_drop_clean(ch);
		if (cachei_chunk_tidy(ch))
			pos--;
	}
	f->base_limit = new_base_size;
	f->ra_next = f->ra_window = f->ra_end = 0;
	cache_mark(f->space);
}
