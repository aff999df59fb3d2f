/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_seal.c - the seal scheduler: one thread a volume that makes the bucket follow.
 *
 *   dirty --(barrier: time, bytes, somebody asks)--> sealed --(put_epoch)--> committed
 *
 * One seal at a time: while one is being uploaded, what is written stays unsealed and overwrites coalesce.
 * Before the first object of an epoch is sent, the seal and its row are durable, so that a restart goes on
 * with exactly the same epoch.  The committed epoch, the blocks that became CLEAN and the map change in
 * one locked section, and reach the index in one transaction.  Should that be lost in a crash, put_epoch
 * finds the epoch in the bucket and says so at once: nothing is uploaded twice.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/volume/volume_int.h"

#define RETRY_MAX_MS 30000u
#define UPKEEP_MIN_MS 1000u
#define UPKEEP_MAX_MS 300000u
#define LOST_MAX_MS 300000u /* between looks at the bucket of an irrecoverable volume */
#define LOOK_MS 1000u	    /* while dirty: is the cache getting full? */
#define NS_PER_MS 1000000ull

struct sched {
	uint64_t retry_ms;    /* after an error, doubling; 0 = none */
	uint64_t retry_at_ns; /* not before */
	uint64_t tick_at_ns;
	uint64_t tick_retry_ms; /* after an error that is upkeep's alone */
};

void
volume_kick(struct cw_volume *v)
{
	pthread_mutex_lock(&v->sched_lock);
	v->is_kicked = true;
	pthread_cond_signal(&v->sched);
	pthread_mutex_unlock(&v->sched_lock);
}

void
volume_say(struct cw_volume *v, int err, const char *what)
{
	pthread_mutex_lock(&v->sched_lock);
	if (err != 0 && v->last_err != err)
		log_warn(
		    "volume", "store", "volume=%s err=\"%s\": %s", v->conf.id, err_str(err), what);
	v->last_err = err;
	if (err == 0)
		v->reason[0] = '\0';
	else
		snprintf(v->reason, sizeof(v->reason), "%s: %s", what, err_str(err));
	pthread_mutex_unlock(&v->sched_lock);
}

bool
volume_is_stopping(struct cw_volume *v)
{
	bool stop;

	pthread_mutex_lock(&v->sched_lock);
	stop = v->is_stopping;
	pthread_mutex_unlock(&v->sched_lock);
	return stop;
}

/* --- what is there to do ------------------------------------------------------------------------------- */

static bool
has_sealed(struct cw_volume *v)
{
	bool has;

	cache_space_lock(v->space);
	has = v->file.has_sealed;
	cache_space_unlock(v->space);
	return has;
}

/* is_dirty - would a seal hold anything? locked */
static bool
is_dirty(const struct cw_volume *v)
{
	return v->file.dirty_bytes > 0 || v->file.dirty_zeros > 0 ||
	       v->size != (v->file.has_sealed ? v->file.sealed_size : v->file.base_limit);
}

uint64_t
volume_next_epoch(const struct cw_volume *v)
{
	return v->row.committed_epoch + (v->file.has_sealed ? 1 : 0) + (is_dirty(v) ? 1 : 0);
}

bool
volume_is_awaited(struct cw_volume *v)
{
	struct list *l;

	list_for_each(l, &v->drains)
	{
		if (container_of(l, struct volume_drain, link)->epoch > v->row.committed_epoch)
			return true;
	}
	list_for_each(l, &v->row.snaps)
	{
		const struct volume_snap *s = container_of(l, struct volume_snap, link);

		if (!s->is_delete && !s->has_failed && s->epoch > v->row.committed_epoch)
			return true;
	}
	return false;
}

bool
volume_is_cache_full(const struct cw_volume *v)
{
	struct cache_stats st;

	cache_get_stats(v->cache, &st);
	return st.dirty_bytes > st.dirty_max_bytes / 2;
}

/* seal_due - ms until a barrier is due; 0 = now, UINT64_MAX = nothing is dirty. */
static uint64_t
seal_due(struct cw_volume *v)
{
	uint64_t due = UINT64_MAX, age, interval = volume_pace_barrier_ns(v);
	int64_t now = clock_real_ns();

	cache_space_lock(v->space);
	if (is_dirty(v)) {
		age = v->dirty_since_ns == 0 || now < v->dirty_since_ns
			  ? interval
			  : (uint64_t)(now - v->dirty_since_ns);
		due = age >= interval ? 0 : (interval - age) / NS_PER_MS + 1;
		if (v->file.dirty_bytes >= v->now.seal_bytes)
			due = 0;
		pthread_mutex_lock(&v->sched_lock);
		if (volume_is_awaited(v))
			due = 0;
		pthread_mutex_unlock(&v->sched_lock);
	} else {
		/* zeros changed nothing, or took back what was dirty: the next change has to kick us */
		v->dirty_since_ns = 0;
		v->is_seal_kicked = false;
	}
	cache_space_unlock(v->space);
	if (due != 0 && due != UINT64_MAX && volume_is_cache_full(v))
		due = 0;
	return due;
}

/* --- one epoch ---------------------------------------------------------------------------------------------- */

struct seal_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
};

static void
seal_there(void *arg)
{
	struct seal_wait *w = arg;

	pthread_mutex_lock(&w->lock);
	w->is_done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

/* wait_seal - until the last writer of before has left, and the states were flipped. */
static void
wait_seal(struct seal_wait *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->is_done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

uint64_t
volume_barrier(struct cw_volume *v, bool is_now, struct volume_snap *s)
{
	struct seal_wait w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	int r = -EALREADY;

	/* an image that is not known yet has an epoch that is not known */
	if (is_now && is_dirty(v) &&
	    (v->row.is_created || v->row.source == CW_SOURCE_EMPTY ||
		v->row.source == CW_SOURCE_IMAGE))
		r = cache_seal(&v->file, v->size, seal_there, &w);
	if (r == -EALREADY)
		s->epoch = is_now ? volume_next_epoch(v) : v->row.committed_epoch;
	else
		s->epoch = v->row.committed_epoch + 1;
	list_add_tail(&v->row.snaps, &s->link);
	volume_row_changed(v);
	if (r == -EINPROGRESS) {
		cache_space_unlock(v->space);
		wait_seal(&w);
		cache_space_lock(v->space);
	}
	return s->epoch;
}

/* seal - the barrier. A snapshot may be at it already. */
static void
seal(struct cw_volume *v)
{
	struct seal_wait w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	bool is_there = false;
	int r;

	cache_space_lock(v->space);
	r = cache_seal(&v->file, v->size, seal_there, &w);
	cache_space_unlock(v->space);
	if (r == -EINPROGRESS)
		wait_seal(&w);
	while (r == -EALREADY && !is_there) {
		cache_space_lock(v->space);
		is_there = v->file.has_sealed;
		cache_space_unlock(v->space);
		if (!is_there)
			clock_sleep_ms(1);
	}
}

static void
read_there(struct cw_io *io)
{
	seal_there(io->ctx);
}

/* read_sealed - bytes of the sealed moment: always local. */
static int
read_sealed(void *arg, uint64_t off, uint32_t len, void *buf)
{
	struct volume_pace *pace = arg;
	struct cw_volume *v = pace->volume;
	struct seal_wait w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	struct cw_io io = {.op = CW_IO_READ,
	    .flags = CW_IO_SEALED | CW_IO_NO_READAHEAD,
	    .file = &v->file,
	    .off = off,
	    .len = len,
	    .buf = buf,
	    .done = read_there,
	    .ctx = &w};
	int r;

	volume_pace_wait(pace, len);
	if (volume_is_stopping(v)) /* it goes on at the next start */
		return -ECANCELED;
	r = cache_read(&io);
	if (r != -EINPROGRESS)
		return r;
	pthread_mutex_lock(&w.lock);
	while (!w.is_done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return io.result;
}

static int
put_epoch(struct cw_volume *v, struct vol_remote *r)
{
	struct volume_pace pace;
	struct cache_run *runs;
	struct vol_run *out;
	uint64_t bytes = 0;
	size_t n;
	int err;

	cache_sealed_runs(&v->file, &runs, &n);
	out = xmalloc((n + 1) * sizeof(*out));
	for (size_t i = 0; i < n; i++) {
		out[i] = (struct vol_run){runs[i].off, runs[i].len, runs[i].is_zero};
		bytes += runs[i].is_zero ? 0 : runs[i].len;
	}
	free(runs);
	volume_pace_begin(&pace, v, bytes);
	err = vol_remote_put_epoch(r, v->row.sealed_epoch, v->file.sealed_size,
	    v->row.sealed_time_ns, out, n, read_sealed, &pace);
	free(out);
	return err;
}

static void
fenced(struct cw_volume *v)
{
	bool is_news;

	pthread_mutex_lock(&v->sched_lock);
	is_news = !v->is_fenced;
	v->is_fenced = true;
	pthread_mutex_unlock(&v->sched_lock);
	if (is_news)
		volume_event(v, "ownership-lost", "{}");
}

/* finish - the epoch is in the bucket: everything follows in one locked section. */
static int
finish(struct cw_volume *v, struct vol_remote *r)
{
	int err;

	for (;;) {
		err = cache_settle(&v->file);
		if (err != 0)
			return err;
		cache_space_lock(v->space);
		if (cache_is_settled(&v->file))
			break;
		cache_space_unlock(v->space); /* a fetch landed in between */
	}
	if (vol_remote_epoch(r) != v->row.sealed_epoch) /* already, if it was found in the bucket */
		vol_remote_apply(r, v->row.sealed_epoch);
	cache_seal_done(&v->file);
	v->row.committed_epoch = v->row.sealed_epoch;
	v->row.committed_time_ns = v->row.sealed_time_ns;
	v->row.sealed_epoch = 0;
	v->row.sealed_time_ns = 0;
	volume_row_changed(v);
	cache_space_unlock(v->space);
	return 0;
}

/* epoch_run - upload the seal under way, or make one first. result: 0 or why it must be tried again */
static int
epoch_run(struct cw_volume *v, struct vol_remote *r)
{
	int err;

	if (!has_sealed(v))
		seal(v);
	err = cache_commit_sync(v->space); /* the seal is durable before anybody hears of it */
	if (err != 0) {
		volume_say(v, err, "the seal could not be made durable");
		return err;
	}
	if (vol_remote_epoch(r) != v->row.sealed_epoch)
		err = put_epoch(v, r);
	if (err == 0)
		err = finish(v, r);
	if (err == -ESTALE)
		fenced(v);
	volume_say(v, err, err == -ESTALE ? "another appliance owns the volume" : "upload failed");
	return err;
}

/* --- snapshots ---------------------------------------------------------------------------------------------- */

static bool
is_final(int err)
{
	return err == -EEXIST || err == -EINVAL || err == -ENOENT;
}

/* snap_run - one wanted snapshot or deletion whose time has come. result: 0: look again, 1: none, or an error */
static int
snap_run(struct cw_volume *v, struct vol_remote *r, struct sched *sc)
{
	struct volume_snap *s = NULL;
	struct list *l;
	int err;

	cache_space_lock(v->space);
	list_for_each(l, &v->row.snaps)
	{
		struct volume_snap *at = container_of(l, struct volume_snap, link);

		if (at->has_failed || (!at->is_delete && at->epoch > v->row.committed_epoch))
			continue;
		s = at;
		break;
	}
	cache_space_unlock(v->space);
	if (s == NULL)
		return 1;
	/* only this thread takes entries out */
	if (s->is_delete)
		err = vol_remote_snapshot_delete(r, s->id);
	else if (s->epoch < v->row.committed_epoch)
		err = -EINVAL; /* its epoch has passed */
	else
		err = vol_remote_snapshot_create(r, s->id, s->description, s->time_ns);
	if (err != 0 && !is_final(err))
		return err;
	if (s->is_delete)
		sc->tick_at_ns = 0; /* what it kept may go */
	else
		volume_event(v, err == 0 ? "snapshot-complete" : "snapshot-failed",
		    "{\"snapshot-id\":\"%s\"}", s->id);
	cache_space_lock(v->space);
	if (err == 0 || s->is_delete)
		volume_snap_free(s);
	else
		s->has_failed = true;
	volume_row_changed(v);
	cache_space_unlock(v->space);
	return 0;
}

/* holds_up - must the next epoch wait for a snapshot that ended with this? It is of its own epoch alone, so an
 * epoch that went before would be its end. What no patience mends must not keep data from the bucket. */
static bool
holds_up(int err)
{
	return err != 0 && err != -ERR_CHECKSUM && err != -EACCES;
}

/* snaps_run - all whose time has come. result: 0 or why one must be tried again */
static int
snaps_run(struct cw_volume *v, struct vol_remote *r, struct sched *sc)
{
	unsigned int n;
	int err = 0;

	for (n = 0; err == 0 && !v->is_fenced && !volume_is_stopping(v); n++)
		err = snap_run(v, r, sc);
	if (err == 1 && n == 1)
		return 0; /* there was none */
	err = err == 1 ? 0 : err;
	if (err == -ESTALE)
		fenced(v);
	volume_say(
	    v, err, err == -ESTALE ? "another appliance owns the volume" : "a snapshot must wait");
	return err;
}

/* --- drains -------------------------------------------------------------------------------------------------- */

static void
drain_run(struct work *w)
{
	struct volume_drain *d = container_of(w, struct volume_drain, work);

	d->done(d->arg, d->err);
	free(d);
}

/* drains_tell - who waits for an epoch that is committed, or everybody when err is not 0. */
static void
drains_tell(struct cw_volume *v, int err)
{
	struct list *l, *tmp;

	cache_space_lock(v->space);
	pthread_mutex_lock(&v->sched_lock);
	list_for_each_safe(l, tmp, &v->drains)
	{
		struct volume_drain *d = container_of(l, struct volume_drain, link);

		if (err == 0 && d->epoch > v->row.committed_epoch)
			continue;
		list_del(l);
		d->err = err;
		d->work.fn = drain_run;
		workq_submit(cache_workq(v->cache), &d->work);
	}
	pthread_mutex_unlock(&v->sched_lock);
	cache_space_unlock(v->space);
}

static void
drain_nobody(void *arg, int err)
{
	(void)arg;
	(void)err;
}

void
cw_volume_drain(struct cw_volume *v, void (*done)(void *arg, int err), void *arg)
{
	struct volume_drain *d;

	if (!volume_enter(v)) {
		if (done != NULL)
			done(arg, -ECANCELED);
		return;
	}
	d = xcalloc(1, sizeof(*d));
	d->done = done != NULL ? done : drain_nobody;
	d->arg = arg;
	cache_space_lock(v->space);
	d->epoch = volume_next_epoch(v);
	pthread_mutex_lock(&v->sched_lock);
	list_add_tail(&v->drains, &d->link);
	v->is_kicked = v->is_retry_now = true;
	pthread_cond_signal(&v->sched);
	pthread_mutex_unlock(&v->sched_lock);
	cache_space_unlock(v->space);
	volume_leave(v);
}

/* --- the thread ------------------------------------------------------------------------------------------------ */

/* probe - before ownership is taken or proved: does this store honour conditions? Once a store. */
static int
probe(struct cw_volume *v)
{
	char *prefix;
	bool is_known;
	int err;

	pthread_mutex_lock(&v->sched_lock);
	is_known = v->is_probed;
	v->is_probed = true; /* another store may come in between */
	pthread_mutex_unlock(&v->sched_lock);
	if (is_known)
		return 0;
	prefix = xasprintf("%s%s/", v->conf.prefix, v->conf.id);
	err = objstore_probe(v->store, prefix);
	free(prefix);
	volume_say(v, err, "the bucket cannot be used");
	if (err == 0)
		return 0;
	pthread_mutex_lock(&v->sched_lock);
	v->is_probed = false;
	pthread_mutex_unlock(&v->sched_lock);
	return err;
}

/* is_upkeeps_own - an error that tells nothing of the store: something is damaged, or may not be deleted.
 * Data goes on. */
static bool
is_upkeeps_own(int err)
{
	return err == -ERR_CHECKSUM || err == -EACCES || err == -EINVAL || err == -ENOSYS;
}

/* upkeep - a round of it. result: 0, or what everything must wait for */
static int
upkeep(struct cw_volume *v, struct vol_remote *r, struct sched *sc)
{
	uint64_t next = LOOK_MS;
	int err = vol_remote_tick(r, &next);

	if (is_upkeeps_own(err)) {
		next = sc->tick_retry_ms == 0 ? UPKEEP_MIN_MS : sc->tick_retry_ms * 2;
		next = sc->tick_retry_ms = next > UPKEEP_MAX_MS ? UPKEEP_MAX_MS : next;
	} else {
		sc->tick_retry_ms = 0;
	}
	sc->tick_at_ns = clock_mono_ns() + next * NS_PER_MS;
	pthread_mutex_lock(&v->sched_lock);
	if (is_upkeeps_own(err) && v->upkeep_err != err)
		log_warn("volume", "upkeep", "volume=%s err=\"%s\": tried again later", v->conf.id,
		    err_str(err));
	v->upkeep_err = is_upkeeps_own(err) ? err : 0;
	pthread_mutex_unlock(&v->sched_lock);
	if (is_upkeeps_own(err))
		return 0;
	if (err == -ESTALE)
		fenced(v);
	volume_say(v, err,
	    err == -ESTALE ? "another appliance owns the volume" : "upkeep in the bucket failed");
	return err;
}

/* open_remote - the image, if it is not open yet. result: 0 or why it must be tried again */
static int
open_remote(struct cw_volume *v)
{
	int err = probe(v);

	return err == 0 && v->remote == NULL ? volume_remote_connect(v) : err;
}

/* put_off - after an error. result: ms until it is tried again */
static uint64_t
put_off(struct cw_volume *v, struct sched *sc)
{
	bool is_lost = v->row.irrecoverable != NULL;
	uint64_t min = is_lost ? v->tune.look_ms : v->tune.retry_ms,
		 max = is_lost ? LOST_MAX_MS : RETRY_MAX_MS;

	sc->retry_ms *= 2;
	sc->retry_ms = sc->retry_ms < min ? min : sc->retry_ms > max ? max : sc->retry_ms;
	sc->retry_at_ns = clock_mono_ns() + sc->retry_ms * NS_PER_MS;
	return sc->retry_ms;
}

/* work_once - all that is due. result: ms until something is due again */
static uint64_t
work_once(struct cw_volume *v, struct sched *sc)
{
	uint64_t now = clock_mono_ns(), due, next;
	struct vol_remote *r;
	int err;

	pthread_mutex_lock(&v->sched_lock);
	if (v->is_retry_now)
		sc->retry_at_ns = 0;
	v->is_retry_now = false;
	pthread_mutex_unlock(&v->sched_lock);
	if (now < sc->retry_at_ns)
		return (sc->retry_at_ns - now) / NS_PER_MS + 1;
	err = open_remote(v);
	r = v->remote;
	due = r == NULL || v->is_fenced ? UINT64_MAX : seal_due(v);
	if (err == 0)
		err = snaps_run(v, r, sc); /* those that were held up, or found at the start */
	if (r != NULL && !holds_up(err) && !v->is_fenced && !volume_is_stopping(v) &&
	    (due == 0 || has_sealed(v))) {
		err = epoch_run(v, r);
		if (sc->tick_retry_ms == 0)
			sc->tick_at_ns = 0;
		due = 0;
		if (err == 0)
			err = snaps_run(v, r, sc);
	}
	if (err == 0 && !v->is_fenced && clock_mono_ns() >= sc->tick_at_ns)
		err = upkeep(v, r, sc);
	drains_tell(v, v->is_detaching ? err : 0);
	if (err == -ENOSPC) /* the map beside the index; what it waits for waits for it */
		cache_lend_room(v->cache);
	if (err != 0)
		return put_off(v, sc);
	sc->retry_ms = 0;
	now = clock_mono_ns();
	next = v->is_fenced	       ? UINT64_MAX
	       : now >= sc->tick_at_ns ? 0
				       : (sc->tick_at_ns - now) / NS_PER_MS + 1;
	if (due != UINT64_MAX && due > LOOK_MS)
		due = LOOK_MS;
	return due < next ? due : next;
}

/* rest - until a kick, or ms have passed. result: false: stop */
static bool
rest(struct cw_volume *v, uint64_t ms)
{
	struct timespec ts;
	bool go_on;

	pthread_mutex_lock(&v->sched_lock);
	if (ms > 3600000)
		ms = 3600000;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(ms / 1000);
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	while (!v->is_kicked && !v->is_stopping) {
		if (pthread_cond_timedwait(&v->sched, &v->sched_lock, &ts) != 0)
			break;
	}
	v->is_kicked = false;
	go_on = !v->is_stopping;
	pthread_mutex_unlock(&v->sched_lock);
	return go_on;
}

static void *
volume_main(void *arg)
{
	struct cw_volume *v = arg;
	struct sched sc = {0};
	uint64_t ms = 0;

	while (rest(v, ms))
		ms = work_once(v, &sc);
	drains_tell(v, -ECANCELED);
	return NULL;
}

int
volume_thread_start(struct cw_volume *v)
{
	int err;

	pthread_mutex_lock(&v->sched_lock); /* the copier kicks already */
	v->is_stopping = false;
	v->is_kicked = true;
	pthread_mutex_unlock(&v->sched_lock);
	err = pthread_create(&v->thread, NULL, volume_main, v);
	v->has_thread = err == 0;
	return -err;
}

void
volume_thread_stop(struct cw_volume *v)
{
	if (!v->has_thread)
		return;
	pthread_mutex_lock(&v->sched_lock);
	v->is_stopping = true;
	pthread_cond_signal(&v->sched);
	pthread_mutex_unlock(&v->sched_lock);
	pthread_join(v->thread, NULL);
	v->has_thread = false;
}
