/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evict.c - keep the cache within its capacity, and let writers wait when it is full of dirty data.
 *
 * Above 95 % of the capacity the evictor forgets CLEAN slots, least recently used first (second
 * chance), down to 90 %, from each space in proportion to its clean bytes.  A slot is un-named durably
 * before it is punched or used again (slot.c).  Nothing DIRTY or SEALED is ever evicted (P7): a write
 * that would exceed dirty_max is parked here, goes on when uploads have made room, and is given up
 * after 10 s with -ERR_BACKPRESSURE, which front ends turn into "try again later".
 * Slots that became READY are punched beside all that (punch.c).
 */
#include <stdlib.h>
#include <time.h>

#include "cache/cache_int.h"

#define SCAN_MAX 4096u /* chunks looked at per locked section */
#define PUNCH_MAX UINT32_MAX
#define EVICT_BITE (32ull << 20) /* on a full disk, a space at a time: a small transaction */

void
cachei_evict_kick(struct cache *c)
{
	pthread_mutex_lock(&c->queue_lock);
	if (!c->evict_kick) {
		c->evict_kick = true;
		pthread_cond_signal(&c->queue_cond);
	}
	pthread_mutex_unlock(&c->queue_lock);
}

/* has_room - may so many more bytes become dirty? */
static bool
has_room(struct cache *c, int64_t need)
{
	return c->dirty_bytes + c->reserved_bytes + need <= (int64_t)c->dirty_max &&
	       c->dirty_bytes + c->clean_bytes <= (int64_t)(c->capacity + c->capacity / 20);
}

void
cachei_space_freed(struct cache *c)
{
	bool is_waiting;

	pthread_mutex_lock(&c->queue_lock);
	is_waiting = !list_empty(&c->queue);
	pthread_mutex_unlock(&c->queue_lock);
	if (is_waiting)
		cachei_evict_kick(c);
}

void
cachei_space_wait(struct cw_io *io, uint64_t need)
{
	struct cache *c = io->file->space->cache;

	io->state = IO_WAIT_SPACE;
	io->npending = (uint32_t)need;
	if (io->started_ns == 0) {
		io->started_ns = clock_mono_ns();
		c->parked_writes++;
	}
	pthread_mutex_lock(&c->queue_lock);
	list_add_tail(&c->queue, &io->link);
	c->evict_kick = true;
	pthread_cond_signal(&c->queue_cond);
	pthread_mutex_unlock(&c->queue_lock);
}

/* queue_run - let parked writes try again, or give up the ones that waited too long. */
static void
queue_run(struct cache *c, bool give_up_all)
{
	uint64_t now = clock_mono_ns();
	struct list *l, *tmp;
	int64_t need = 0;

	pthread_mutex_lock(&c->queue_lock);
	list_for_each_safe(l, tmp, &c->queue)
	{
		struct cw_io *io = container_of(l, struct cw_io, link);
		bool is_late = give_up_all || now - io->started_ns > PARK_TIMEOUT_NS;
		bool room = has_room(c, need + io->npending);

		if (!room && !is_late)
			continue;
		list_del(&io->link);
		if (room)
			need += io->npending; /* what those before it will take */
		io->state = room && !give_up_all ? IO_NEW : IO_FAILED;
		io->result = -ERR_BACKPRESSURE;
		workq_submit(c->wq, &io->work);
	}
	pthread_mutex_unlock(&c->queue_lock);
}

uint64_t
cachei_evict_space(struct cache_space *s, uint64_t bytes, bool force)
{
	uint64_t freed = 0;
	unsigned int scanned;

	for (scanned = 0; scanned < SCAN_MAX && freed < bytes && !list_empty(&s->lru); scanned++) {
		struct chunk *ch = container_of(s->lru.next, struct chunk, lru);

		if (ch->fetching != 0 || (!force && (ch->flags & CHUNK_REF) != 0)) {
			ch->flags &= (uint16_t)~CHUNK_REF;
			list_del(&ch->lru);
			list_add_tail(&s->lru, &ch->lru);
			continue;
		}
		CACHE_FAILPOINT("evict");
		freed += (uint64_t)blocks_of(ch->clean) << CACHE_BLOCK_SHIFT;
		cachei_chunk_drop_clean(ch);
		cachei_chunk_tidy(ch);
	}
	s->cache->evicted_bytes += freed;
	return freed;
}

/* evict_from - in several locked sections; stops when two rounds over all chunks gave nothing more. */
static uint64_t
evict_from(struct cache_space *s, uint64_t bytes, bool force)
{
	uint64_t freed = 0, rounds;

	cache_space_lock(s);
	rounds = 2 * (s->slots.n / SCAN_MAX + 1);
	while (rounds-- > 0 && freed < bytes) {
		freed += cachei_evict_space(s, bytes - freed, force);
		cache_space_unlock(s);
		cache_space_lock(s);
	}
	cache_space_unlock(s);
	return freed;
}

/* stale_bytes - what slots hold besides what is counted: at most all of those that may, and no more than shows on
 * the disks. */
static uint64_t
stale_bytes(struct cache *c)
{
	uint64_t most = (uint64_t)c->nstale << CACHE_CHUNK_SHIFT, seen = 0, counted;
	struct cache_space *s;
	int64_t id = -1, held;

	while (most > 0 && (s = cachei_space_next(c, &id)) != NULL) {
		held = s->is_pinned || c->os->held == NULL ? 0 : c->os->held(s->file);
		cache_space_lock(s);
		counted = s->clean_bytes + s->sealed_bytes + s->dirty_bytes;
		cache_space_unlock(s);
		seen += held > (int64_t)counted ? (uint64_t)held - counted : 0;
		cachei_space_put(s);
	}
	return min64(most, seen);
}

static void
evict_pressure(struct cache *c)
{
	uint64_t cap = c->capacity, used = (uint64_t)(c->clean_bytes + c->dirty_bytes);
	uint64_t clean = (uint64_t)c->clean_bytes, want;
	struct cache_space *s;
	int64_t id = -1;

	if (used > cap / 100 * 80) /* not worth a look before */
		used += stale_bytes(c);
	if (used <= cap / 100 * 95 || clean == 0)
		return;
	want = min64(used - cap / 100 * 90, clean);
	while ((s = cachei_space_next(c, &id)) != NULL) {
		uint64_t share =
		    (uint64_t)((double)want * ((double)s->clean_bytes / (double)clean)) + 1;

		/* the commit un-names the slots: they are READY then. Without it more would not help */
		bool is_stuck = s->clean_bytes > 0 && !s->is_pinned &&
				evict_from(s, share, false) > 0 && cache_commit_sync(s) != 0;

		cachei_space_put(s);
		if (is_stuck)
			return;
	}
}

int
cache_evict_all(struct cache *c)
{
	struct cache_space *s;
	int64_t id = -1;
	int err = 0, r;

	while ((s = cachei_space_next(c, &id)) != NULL) {
		cache_space_lock(s);
		cachei_bufs_drop_landed(s, INT64_MAX, UINT64_MAX);
		cache_space_unlock(s);
		if (!s->is_pinned) {
			evict_from(s, UINT64_MAX, true);
			r = cache_commit_sync(s);
			err = err == 0 ? r : err;
		}
		cachei_space_put(s);
	}
	cachei_evict_kick(c);
	return err;
}

/* punch_wait - until what the evictor took to punch is punched as well. */
static void
punch_wait(struct cache_space *s)
{
	cache_space_lock(s);
	s->nidle_waiters++;
	while (s->npunching > 0)
		pthread_cond_wait(&s->idle, &s->lock);
	s->nidle_waiters--;
	cache_space_unlock(s);
}

int64_t
cachei_evict_bite(struct cache *c)
{
	struct cache_space *s;
	int64_t id = -1, freed = 0;
	int err = 0, r;

	while ((s = cachei_space_next(c, &id)) != NULL) {
		if (!s->is_pinned)
			freed += (int64_t)evict_from(s, EVICT_BITE, true);
		r = cache_commit_sync(s); /* also what earlier, failed rounds left to be un-named */
		if (r == 0) {
			cachei_slot_punch(s, PUNCH_MAX);
			punch_wait(s);
		}
		err = err == 0 ? r : err;
		cachei_space_put(s);
	}
	if (index_is_short(c->index))
		index_ballast_fill(c->index, true);
	return err != 0 ? err : freed;
}

void
cache_lend_room(struct cache *c)
{
	index_ballast_lend(c->index);
}

/* evictor_wait - for a kick, or until there is something to do anyway: more to punch in punch_ns (0 = none),
 * parked writes, which have a deadline, or buffers, which age. queue_lock */
static void
evictor_wait(struct cache *c, uint64_t punch_ns)
{
	struct timespec ts;
	bool is_waiting;
	uint64_t ns;

	while (!c->evict_kick && !c->evict_stop) {
		is_waiting = !list_empty(&c->queue);
		if (!is_waiting && punch_ns == 0 && !cachei_bufs_any(c)) {
			pthread_cond_wait(&c->queue_cond, &c->queue_lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ns = is_waiting ? 100000000 : 500000000;
		ns = (uint64_t)ts.tv_nsec + (punch_ns > 0 ? min64(punch_ns, ns) : ns);
		ts.tv_sec += (time_t)(ns / 1000000000);
		ts.tv_nsec = (long)(ns % 1000000000);
		if (pthread_cond_timedwait(&c->queue_cond, &c->queue_lock, &ts) != 0)
			break;
	}
	c->evict_kick = false;
}

static void *
evictor_main(void *arg)
{
	struct cache *c = arg;
	uint64_t punch_ns = 0;
	bool stop = false;

	while (!stop) {
		pthread_mutex_lock(&c->queue_lock);
		evictor_wait(c, punch_ns);
		stop = c->evict_stop;
		pthread_mutex_unlock(&c->queue_lock);
		if (!stop) {
			evict_pressure(c);
			punch_ns = cachei_punch(c);
			cachei_bufs_age(c);
		}
		queue_run(c, stop);
	}
	return NULL;
}

int
cachei_evictor_start(struct cache *c)
{
	int err = pthread_create(&c->evictor, NULL, evictor_main, c);

	c->evictor_runs = err == 0;
	if (err == 0)
		(void)pthread_setname_np(c->evictor, "cache-evict");
	return -err;
}

void
cachei_evictor_stop(struct cache *c)
{
	if (!c->evictor_runs)
		return;
	pthread_mutex_lock(&c->queue_lock);
	c->evict_stop = true;
	pthread_cond_signal(&c->queue_cond);
	pthread_mutex_unlock(&c->queue_lock);
	pthread_join(c->evictor, NULL);
	c->evictor_runs = false;
}
