/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit.c - make it durable: one thread, groups of waiters, one transaction of the index per group.
 *
 * One round: under each space's lock take one consistent picture (commit_snap.c); without the lock
 * make the data durable, by fdatasync or, for few bytes, by redo rows inside the transaction; apply
 * the transaction; complete the waiters.  While a round runs the next one gathers, so the group grows
 * with the load and an idle cache adds no delay.  What has to be done some time and takes long (sync
 * the data so that redo rows can go, checkpoint the index) waits for a moment without commits, as
 * long as its bounds allow.
 *
 * A round that fails fails every waiter of it (P6); everything it took is put back and tried again
 * by the next one, after data that a failed sync touched was copied to fresh slots.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/cache_int.h"
#include "cache/redo.h"

#define GROUP_SPACES 64
#define AGAIN_MS 200u /* between attempts that nobody waits for: a disk may be broken for good */

static void
wait_until(struct cache *c, uint64_t due_ns)
{
	struct timespec ts = {(time_t)(due_ns / 1000000000), (long)(due_ns % 1000000000)};

	pthread_cond_timedwait(&c->commit_cond, &c->commit_lock, &ts);
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* group_add - the space's waiters and mark go into this round. commit_lock held */
static void
group_add(struct commit_space *cs, struct cache_space *s)
{
	memset(cs, 0, sizeof(*cs));
	cs->s = s;
	list_init(&cs->waiters);
	list_splice_tail(&cs->waiters, &s->waiters);
	list_del(&s->work_link);
	list_del(&s->mark_link);
	list_del(&s->tidy_link);
	s->is_marked = false;
	s->in_group = true;
}

/* tidy - nobody has committed for a while: do what else would hold up a commit some day, the clearing of
 * redo rows as a round of its own, then the checkpoint. commit_lock held, let go meanwhile.
 * result: spaces put into v */
static unsigned int
tidy(struct cache *c, struct commit_space *v)
{
	if (!list_empty(&c->untidy)) {
		group_add(v, container_of(c->untidy.next, struct cache_space, tidy_link));
		v->is_tidy = true;
		return 1;
	}
	pthread_mutex_unlock(&c->commit_lock);
	(void)index_tidy(c->index); /* logged; the next commits bring it up again */
	pthread_mutex_lock(&c->commit_lock);
	return 0;
}

/* group_gather - wait for work. result: number of spaces, 0 = stop */
static unsigned int
group_gather(struct cache *c, struct commit_space *v)
{
	unsigned int n = 0;
	uint64_t now, due;

	pthread_mutex_lock(&c->commit_lock);
	for (;;) {
		struct cache_space *first = NULL;

		now = now_ns();
		while (n < GROUP_SPACES && !list_empty(&c->work))
			group_add(
			    &v[n++], container_of(c->work.next, struct cache_space, work_link));
		while (n < GROUP_SPACES && !list_empty(&c->marked)) {
			first = container_of(c->marked.next, struct cache_space, mark_link);
			if (first->mark_due_ns > now && !c->commit_stop)
				break;
			group_add(&v[n++], first);
			first = NULL;
		}
		if (n > 0 || c->commit_stop)
			break;
		due = first == NULL ? UINT64_MAX : first->mark_due_ns;
		if (!list_empty(&c->untidy) || index_wants_tidy(c->index)) {
			if (now >= c->last_commit_ns + TIDY_IDLE_NS) {
				n = tidy(c, v);
				if (n > 0)
					break;
				continue;
			}
			due = min64(due, c->last_commit_ns + TIDY_IDLE_NS);
		}
		if (due != UINT64_MAX)
			wait_until(c, due);
		else
			pthread_cond_wait(&c->commit_cond, &c->commit_lock);
	}
	pthread_mutex_unlock(&c->commit_lock);
	return n;
}

/* make_durable - the data of one space. result in cs->err; true: a sync failed */
static bool
make_durable(struct cache *c, struct commit_space *cs)
{
	struct cache_space *s = cs->s;
	uint64_t began;

	if (cs->want_sync) {
		CACHE_FAILPOINT("commit-before-sync");
		began = now_ns();
		cs->err = c->os->sync(s->file);
		if (cs->is_sample && cs->err == 0)
			cachei_redo_sync_took(s, now_ns() - began);
		c->fdatasyncs++;
		if (cs->err != 0) {
			log_err("cache.commit", "sync-failed",
			    "space=%u path=%s err=\"%s\": data is copied and tried again", s->id,
			    s->path, err_str(cs->err));
			cs->err = cs->err == -ENOSPC ? -ENOSPC : -EIO;
			return true;
		}
		cs->did_sync = true;
		CACHE_FAILPOINT("commit-after-sync");
	} else if (cs->use_redo) {
		CACHE_FAILPOINT("commit-before-redo");
		cs->err = cachei_redo_put(cs);
		if (cs->err != 0)
			log_err("cache.commit", "read-failed", "space=%u err=\"%s\"", s->id,
			    err_str(cs->err));
	}
	return false;
}

static int
apply_all(struct cache *c, struct commit_space *v, unsigned int n)
{
	struct index_txn *txns[GROUP_SPACES];
	size_t ntxns = 0;
	int err;

	for (unsigned int i = 0; i < n; i++) {
		if (v[i].err == 0 && !index_txn_empty(v[i].txn))
			txns[ntxns++] = v[i].txn;
	}
	if (ntxns == 0)
		return 0;
	CACHE_FAILPOINT("commit-before-txn");
	err = index_apply_many(c->index, txns, ntxns);
	CACHE_FAILPOINT("commit-after-txn");
	if (err != 0)
		log_err("cache.commit", "index-failed",
		    "err=\"%s\": tried again by the next commit", err_str(err));
	return err;
}

static void
finish_space(struct commit_space *cs, bool sync_failed)
{
	struct cache_space *s = cs->s;

	if (cs->err == 0)
		cachei_snap_done(cs);
	else
		cachei_snap_failed(cs, sync_failed);
	if (cs->err != 0 && s->ops->verifier_changed != NULL)
		s->ops->verifier_changed(s->owner);
	if (s->ops->collected != NULL)
		s->ops->collected(s->owner, cs->err);
	while (!list_empty(&cs->waiters)) {
		struct cache_waiter *w = container_of(cs->waiters.next, struct cache_waiter, link);

		list_del(&w->link);
		w->done(w, cs->err);
	}
	index_txn_free(cs->txn);
}

static void
group_run(struct cache *c, struct commit_space *v, unsigned int n)
{
	bool sync_failed[GROUP_SPACES] = {false};
	uint64_t redo_bytes = 0;
	bool any_err = false;
	int err;

	for (unsigned int i = 0; i < n; i++) {
		v[i].txn = index_txn_new();
		v[i].err = cachei_relocate(v[i].s);
		if (v[i].err == 0)
			cachei_snap_take(&v[i], &redo_bytes);
	}
	for (unsigned int i = 0; i < n; i++) {
		if (v[i].err == 0)
			sync_failed[i] = make_durable(c, &v[i]);
	}
	err = apply_all(c, v, n);
	for (unsigned int i = 0; i < n; i++) {
		if (v[i].err == 0)
			v[i].err = err;
		any_err = any_err || v[i].err != 0;
	}
	c->failing = any_err;
	c->commits++;
	for (unsigned int i = 0; i < n; i++)
		finish_space(&v[i], sync_failed[i]);
	pthread_mutex_lock(&c->commit_lock);
	c->last_commit_ns = now_ns();
	for (unsigned int i = 0; i < n; i++) {
		struct cache_space *s = v[i].s;

		s->in_group = false;
		if (v[i].err == 0 && s->redo_bytes >= REDO_TIDY && list_empty(&s->tidy_link))
			list_add_tail(&c->untidy, &s->tidy_link);
	}
	pthread_cond_broadcast(&c->group_done);
	pthread_mutex_unlock(&c->commit_lock);
}

static void *
committer_main(void *arg)
{
	struct cache *c = arg;
	struct commit_space *v = xcalloc(GROUP_SPACES, sizeof(*v));
	unsigned int n;

	while ((n = group_gather(c, v)) > 0)
		group_run(c, v, n);
	free(v);
	return NULL;
}

int
cachei_committer_start(struct cache *c)
{
	int err = pthread_create(&c->committer, NULL, committer_main, c);

	c->committer_runs = err == 0;
	if (err == 0)
		(void)pthread_setname_np(c->committer, "cache-commit");
	return -err;
}

void
cachei_committer_stop(struct cache *c)
{
	if (!c->committer_runs)
		return;
	pthread_mutex_lock(&c->commit_lock);
	c->commit_stop = true;
	pthread_cond_signal(&c->commit_cond);
	pthread_mutex_unlock(&c->commit_lock);
	pthread_join(c->committer, NULL);
	c->committer_runs = false;
}

void
cachei_commit_leave(struct cache_space *s)
{
	struct cache *c = s->cache;

	pthread_mutex_lock(&c->commit_lock);
	while (s->in_group)
		pthread_cond_wait(&c->group_done, &c->commit_lock);
	list_del(&s->work_link);
	list_del(&s->mark_link);
	list_del(&s->tidy_link);
	pthread_mutex_unlock(&c->commit_lock);
}

void
cache_commit(struct cache_space *s, struct cache_waiter *w)
{
	struct cache *c = s->cache;

	pthread_mutex_lock(&c->commit_lock);
	list_add_tail(&s->waiters, &w->link);
	if (list_empty(&s->work_link))
		list_add_tail(&c->work, &s->work_link);
	pthread_cond_signal(&c->commit_cond);
	pthread_mutex_unlock(&c->commit_lock);
}

/* mark - in delay_ms at the latest; the list is in order of due times. */
static void
mark(struct cache_space *s, unsigned int delay_ms)
{
	struct cache *c = s->cache;
	struct list *at;

	pthread_mutex_lock(&c->commit_lock);
	if (!s->is_marked) {
		s->is_marked = true;
		s->mark_due_ns = now_ns() + delay_ms * 1000000ull;
		for (at = c->marked.prev; at != &c->marked; at = at->prev) {
			if (container_of(at, struct cache_space, mark_link)->mark_due_ns <=
			    s->mark_due_ns)
				break;
		}
		list_add_head(at, &s->mark_link);
		pthread_cond_signal(&c->commit_cond);
	}
	pthread_mutex_unlock(&c->commit_lock);
}

void
cache_mark(struct cache_space *s)
{
	if (!atomic_load_explicit(&s->is_marked, memory_order_relaxed))
		mark(s, s->cache->flush_interval_ms);
}

void
cachei_mark_again(struct cache_space *s)
{
	unsigned int ms = s->cache->flush_interval_ms;

	mark(s, ms > AGAIN_MS ? ms : AGAIN_MS);
}

struct sync_waiter {
	struct cache_waiter w;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
	int err;
};

static void
sync_waiter_done(struct cache_waiter *w, int err)
{
	struct sync_waiter *sw = container_of(w, struct sync_waiter, w);

	pthread_mutex_lock(&sw->lock);
	sw->err = err;
	sw->is_done = true;
	pthread_cond_signal(&sw->cond);
	pthread_mutex_unlock(&sw->lock);
}

int
cache_commit_all(struct cache_space *s)
{
	cache_space_lock(s);
	s->flush_lazy = true;
	cache_space_unlock(s);
	return cache_commit_sync(s);
}

int
cache_commit_sync(struct cache_space *s)
{
	struct sync_waiter sw = {.w.done = sync_waiter_done};

	pthread_mutex_init(&sw.lock, NULL);
	pthread_cond_init(&sw.cond, NULL);
	cache_commit(s, &sw.w);
	pthread_mutex_lock(&sw.lock);
	while (!sw.is_done)
		pthread_cond_wait(&sw.cond, &sw.lock);
	pthread_mutex_unlock(&sw.lock);
	pthread_mutex_destroy(&sw.lock);
	pthread_cond_destroy(&sw.cond);
	return sw.err;
}
