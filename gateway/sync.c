/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync.c - the reconciler's door: what ops tell it, its queues, its life.
 *
 * A node with a duty is on exactly one list (sync_link), or none while its job runs:
 *   settling    due settle_ms after the last change   } first in, first due: no sorting
 *   soon        due 15 % of that after a COMMIT        }
 *   sooner      due 3 % of that: large, and nothing of it in the bucket yet }
 *   ready       due now
 *   wheel[s]    failed; due at second s
 *   a keylock's waiters, after_walk
 * A duty is what dirty_since_ns != 0 says, and that is in the node's row.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define CLOSE_GRACE_S 3

static pthread_mutex_t core_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sync_core *the_core;

/* --- process-wide ------------------------------------------------------------------------------- */

static void
core_free(struct sync_core *c)
{
	workq_free(c->jobs);
	workq_free(c->lists);
	loop_free(c->loop);
	pthread_cond_destroy(&c->body_freed);
	pthread_mutex_destroy(&c->body_mutex);
	free(c);
}

static int
core_get(struct sync_core **out)
{
	struct sync_core *c;
	int r = 0;

	pthread_mutex_lock(&core_mutex);
	c = the_core;
	if (c == NULL) {
		c = xcalloc(1, sizeof(*c));
		pthread_mutex_init(&c->body_mutex, NULL);
		pthread_cond_init(&c->body_freed, NULL);
		random_bytes(&c->boot, sizeof(c->boot));
		r = loop_new("sync", 0, &c->loop);
		if (r == 0)
			r = workq_new("sync-job", SYNC_JOBS_MAX, &c->jobs);
		if (r == 0)
			r = workq_new("sync-list", SYNC_LISTS, &c->lists);
		if (r == 0)
			r = loop_start(c->loop);
		if (r < 0) {
			core_free(c);
			c = NULL;
		}
		the_core = c;
	}
	if (c != NULL)
		c->refs++;
	pthread_mutex_unlock(&core_mutex);
	*out = c;
	return r;
}

static void
core_put(struct sync_core *c)
{
	pthread_mutex_lock(&core_mutex);
	if (--c->refs == 0) {
		the_core = NULL;
		loop_join(c->loop);
		core_free(c);
	}
	pthread_mutex_unlock(&core_mutex);
}

/* Memory of a part is kept for the next one while uploads run: fresh pages cost as much as the copy
 * into them. The first bytes of a kept one are the link. */
struct kept_body {
	struct kept_body *next;
};

static bool
is_kept_size(size_t len)
{
	return len > SYNC_BODY_KEEP_MIN && len <= SYNC_PART_MIN;
}

/* body_alloc - under body_mutex */
static void *
body_alloc(struct sync_core *core, size_t len)
{
	struct kept_body *b = core->kept;

	if (!is_kept_size(len))
		return xmalloc(len > 0 ? len : 1);
	if (b == NULL)
		return xmalloc(SYNC_PART_MIN);
	core->kept = b->next;
	return b;
}

void *
sync_body_get(struct sync_core *core, size_t len)
{
	void *body;

	pthread_mutex_lock(&core->body_mutex);
	while (core->body_used > 0 && core->body_used + len > SYNC_BODY_MAX)
		pthread_cond_wait(&core->body_freed, &core->body_mutex);
	core->body_used += len;
	body = body_alloc(core, len);
	pthread_mutex_unlock(&core->body_mutex);
	return body;
}

void *
sync_body_try(struct sync_core *core, size_t len)
{
	void *body = NULL;

	pthread_mutex_lock(&core->body_mutex);
	if (core->body_used == 0 || core->body_used + len <= SYNC_BODY_MAX) {
		core->body_used += len;
		body = body_alloc(core, len);
	}
	pthread_mutex_unlock(&core->body_mutex);
	return body;
}

void
sync_body_put(struct sync_core *core, void *body, size_t len)
{
	struct kept_body *b = body;

	pthread_mutex_lock(&core->body_mutex);
	core->body_used -= len;
	if (is_kept_size(len)) {
		b->next = core->kept;
		core->kept = b;
	} else {
		free(body);
	}
	while (core->body_used == 0 && (b = core->kept) != NULL) {
		core->kept = b->next;
		free(b);
	}
	pthread_cond_broadcast(&core->body_freed);
	pthread_mutex_unlock(&core->body_mutex);
}

/* --- users and kicks ---------------------------------------------------------------------------- */

bool
sync_user_get(struct sync *y)
{
	if (y->closing)
		return false;
	pthread_mutex_lock(&y->users_mutex);
	y->users++;
	pthread_mutex_unlock(&y->users_mutex);
	return true;
}

void
sync_user_put(struct sync *y)
{
	pthread_mutex_lock(&y->users_mutex);
	if (--y->users == 0)
		pthread_cond_broadcast(&y->users_gone);
	pthread_mutex_unlock(&y->users_mutex);
}

static void
on_kick(struct loop_task *t)
{
	sync_sched_run(container_of(t, struct sync, kick_task));
}

static void
on_timer(struct loop_timer *t)
{
	sync_sched_run(container_of(t, struct sync, timer));
}

static void
on_stop(struct loop_task *t)
{
	struct sync *y = container_of(t, struct sync, stop_task);

	loop_timer_cancel(&y->timer);
	pthread_mutex_lock(&y->users_mutex);
	y->stopped = true;
	pthread_cond_broadcast(&y->users_gone);
	pthread_mutex_unlock(&y->users_mutex);
}

void
sync_kick(struct sync *y)
{
	if (y->kick_posted || y->closing)
		return;
	y->kick_posted = true;
	loop_post(y->core->loop, &y->kick_task);
}

/* wake_by - the scheduler must look at due_ms at the latest. */
static void
wake_by(struct sync *y, uint64_t due_ms)
{
	if (due_ms < y->wake_at_ms)
		sync_kick(y);
}

/* --- duties ------------------------------------------------------------------------------------- */

uint64_t
sync_settle_ms(const struct cw_share *s)
{
	return s->conf.settle_ms != 0 ? s->conf.settle_ms : 1000;
}

uint64_t
sync_soon_ms(const struct cw_share *s)
{
	return sync_settle_ms(s) * 15 / 100;
}

uint64_t
sync_sooner_ms(const struct cw_share *s)
{
	return sync_settle_ms(s) * 3 / 100;
}

static int64_t
max_age_ns(const struct cw_share *s)
{
	return (int64_t)(s->conf.max_age_ms != 0 ? s->conf.max_age_ms : 60000) * 1000000;
}

bool
sync_in_sync(const struct cw_share *s, const struct node *n)
{
	char key[CW_KEY_MAX + 2];

	if (n->flags & NODE_REMOVED)
		return true;
	if (n->parent == NULL)
		return s->conf.prefix[0] == '\0' || n->remote.attr_seq == n->attr_seq;
	if (n->remote.key == NULL || n->remote.attr_seq != n->attr_seq ||
	    n->flags & NODE_SUBTREE_MOVED)
		return false;
	if (S_ISDIR(n->mode)) {
		if (!(n->flags & NODE_NO_MARKER) && n->remote.etag == NULL)
			return false;
	} else if (n->remote.data_seq != n->data_seq ||
		   (S_ISREG(n->mode) && n->u.file != NULL && n->u.file->has_sealed)) {
		return false;
	}
	return node_key(s, n, key) >= 0 && strcmp(key, n->remote.key) == 0;
}

static bool
is_backing_off(const struct node *n, uint64_t now_ms)
{
	return n->job != NULL && n->job->not_before_ms > now_ms && !list_empty(&n->sync_link);
}

void
sync_duty(struct cw_share *s, struct node *n)
{
	struct sync *y = s->sync;
	uint64_t now = clock_mono_ms();

	if (n->flags & NODE_REMOVED)
		return;
	if (n->dirty_since_ns == 0) {
		duty_begin(s, n, clock_real_ns());
		node_changed(s, n);
	}
	n->changed_ms = now;
	if (y == NULL)
		return;
	if (n->job != NULL && n->job->is_running) {
		n->job->again = true;
		return;
	}
	if (is_backing_off(n, now))
		return;
	list_del(&n->sync_link);
	if (clock_real_ns() - n->dirty_since_ns >= max_age_ns(s)) {
		list_add_head(&y->ready, &n->sync_link);
		sync_kick(y);
	} else {
		list_add_tail(&y->settling, &n->sync_link);
		wake_by(y, now + sync_settle_ms(s));
	}
}

void
sync_queue_ready(struct sync *y, struct node *n)
{
	if ((n->job != NULL && n->job->is_running) || n->flags & NODE_REMOVED)
		return;
	if (n->dirty_since_ns == 0) {
		duty_begin(y->s, n, clock_real_ns());
		node_changed(y->s, n);
	}
	list_del(&n->sync_link);
	list_add_tail(&y->ready, &n->sync_link);
	sync_kick(y);
}

void
sync_settled(struct cw_share *s, struct node *n)
{
	list_del(&n->sync_link);
	if (s->sync != NULL)
		unsure_clear(s->sync, n);
	if (n->dirty_since_ns != 0) {
		duty_end(s, n);
		node_changed(s, n);
	}
	n->changed_ms = clock_mono_ms(); /* a listing that began before knows less than we do */
}

struct sync_job *
sync_job_of(struct sync *y, struct node *n)
{
	struct sync_job *j = n->job;

	if (j == NULL) {
		j = xcalloc(1, sizeof(*j));
		j->y = y;
		j->s = y->s;
		j->n = n;
		j->what = "put";
		list_init(&j->running_link);
		list_init(&j->unsure_link);
		n->job = j;
	}
	return j;
}

void
sync_job_unsure(struct sync_job *j)
{
	if (j->unsure_key != NULL && strcmp(j->unsure_key, j->key) != 0)
		tomb_add(j->y, j->unsure_key, NULL);
	sync_job_sure(j);
	j->unsure_key = xstrdup(j->key);
	list_add_tail(&j->y->unsure, &j->unsure_link);
}

void
sync_job_sure(struct sync_job *j)
{
	list_del(&j->unsure_link);
	free(j->unsure_key);
	j->unsure_key = NULL;
}

void
sync_job_drop(struct node *n)
{
	struct sync_job *j = n->job;

	if (j == NULL)
		return;
	if (j->told_failure)
		j->y->nfailing--;
	list_del(&j->running_link);
	if (j->unsure_key != NULL && !j->y->closing &&
	    (n->remote.key == NULL || strcmp(n->remote.key, j->unsure_key) != 0))
		tomb_add(j->y, j->unsure_key, NULL);
	sync_job_sure(j);
	free(j->key);
	free(j->old_key);
	free(j);
	n->job = NULL;
}

/* --- what ops tell ------------------------------------------------------------------------------ */

void
sync_data_changed(struct cw_share *s, struct node *n)
{
	sync_duty(s, n);
}

void
sync_attr_changed(struct cw_share *s, struct node *n)
{
	if (!sync_in_sync(s, n))
		sync_duty(s, n);
}

void
sync_created(struct cw_share *s, struct node *n)
{
	sync_duty(s, n);
}

/* is_first_of_large - all of it is to be sent, in parts, and that takes long: the earlier the better.
 * (What programs do to a file behind their fsync or close, names and times, they do within milliseconds.) */
static bool
is_first_of_large(const struct node *n)
{
	return S_ISREG(n->mode) && n->u.file != NULL && n->u.file->base_limit == 0 &&
	       n->u.file->dirty_bytes > SYNC_SMALL_MAX;
}

void
sync_committed(struct cw_share *s, struct node *n)
{
	struct sync *y = s->sync;
	uint64_t now = clock_mono_ms();

	if (y == NULL || n->dirty_since_ns == 0 || n->flags & NODE_REMOVED ||
	    (n->job != NULL && n->job->is_running) || is_backing_off(n, now))
		return;
	list_del(&n->sync_link);
	n->changed_ms = now;
	if (clock_real_ns() - n->dirty_since_ns >= max_age_ns(s)) {
		list_add_head(&y->ready, &n->sync_link);
		sync_kick(y);
	} else if (is_first_of_large(n)) {
		list_add_tail(&y->sooner, &n->sync_link);
		wake_by(y, now + sync_sooner_ms(s));
	} else {
		list_add_tail(&y->soon, &n->sync_link);
		wake_by(y, now + sync_soon_ms(s));
	}
}

/* parent_emptied - the last name goes: an implicit directory would vanish from the bucket with it. */
static void
parent_emptied(struct cw_share *s, struct node *dir)
{
	if (dir == NULL || dir->parent == NULL || dir->u.dir->nchildren != 1 ||
	    !(dir->flags & NODE_NO_MARKER))
		return;
	dir->flags &= ~(uint32_t)NODE_NO_MARKER;
	sync_duty(s, dir);
}

static void
forget_queue(struct cw_share *s, struct node *n)
{
	list_del(&n->sync_link);
	if (n->job != NULL && !n->job->is_running)
		sync_job_drop(n);
	if (upload_find(s->sync, n->ino) != NULL)
		sync_kick(s->sync); /* to be aborted */
}

static bool
is_at_or_below(const struct node *n, const struct node *top)
{
	for (; n != NULL; n = n->parent)
		if (n == top)
			return true;
	return false;
}

static bool
holds_object_at(const struct node *n, const char *key)
{
	return n->remote.key != NULL && n->remote.etag != NULL && strcmp(n->remote.key, key) == 0;
}

/* unsure_left_behind - n gives up its name (and those below it theirs).  A request under way may yet
 * write the old key, one that failed may have written it: the tombstone, durable with the change of
 * name, says that what is found there is ours and unwanted. */
static void
unsure_left_behind(struct sync *y, const struct node *n)
{
	const struct sync_job *j;
	struct list *l;

	list_for_each(l, &y->running)
	{
		j = container_of(l, struct sync_job, running_link);
		if (is_at_or_below(j->n, n) && !holds_object_at(j->n, j->key))
			tomb_add(y, j->key, NULL);
	}
	list_for_each(l, &y->unsure)
	{
		j = container_of(l, struct sync_job, unsure_link);
		if (is_at_or_below(j->n, n) && !holds_object_at(j->n, j->unsure_key))
			tomb_add(y, j->unsure_key, NULL);
	}
}

void
sync_removed(struct cw_share *s, struct node *n)
{
	struct sync *y = s->sync;
	if (y == NULL)
		return;
	parent_emptied(s, n->parent);
	if (n->remote.key != NULL && !(S_ISDIR(n->mode) && n->remote.etag == NULL))
		tomb_add(y, n->remote.key, n->remote.etag);
	unsure_left_behind(y, n);
	early_left(y, n);
	sync_leaving(s, n);
	displaced_del(y, n);
	forget_queue(s, n);
	duty_end(s, n);
	if (n->nopen > 0)
		tomb_hold(y, n);
}

void
sync_renamed(struct cw_share *s, struct node *n)
{
	struct sync *y = s->sync;
	char key[CW_KEY_MAX + 2];

	if (y == NULL)
		return;
	if (S_ISDIR(n->mode)) {
		n->flags &= ~(uint32_t)NODE_NO_MARKER;
		if (n->u.dir->nchildren > 0 || !(n->flags & NODE_LISTED)) {
			n->flags |= NODE_SUBTREE_MOVED;
			moved_add(y, n, n->remote.key);
		}
		node_changed(s, n);
	}
	unsure_left_behind(y, n);
	early_left(y, n);
	displaced_del(y, n);
	if (n->remote.key != NULL && node_key(s, n, key) >= 0 && strcmp(key, n->remote.key) != 0)
		displaced_add(y, n);
	sync_duty(s, n);
}

/* --- rows --------------------------------------------------------------------------------------- */

void
sync_collect(struct cw_share *s, struct index_txn *txn)
{
	if (s->sync == NULL)
		return;
	tombs_collect(s->sync, txn);
	uploads_collect(s->sync, txn);
}

void
sync_collected(struct cw_share *s, int err)
{
	share_lock(s);
	if (s->sync != NULL) {
		tombs_collected(s->sync, err);
		uploads_collected(s->sync, err);
	}
	share_unlock(s);
}

/* --- life --------------------------------------------------------------------------------------- */

static void
make_metrics(struct sync *y)
{
	char labels[320];

	snprintf(labels, sizeof(labels), "share=\"%.255s\"", y->s->conf.name);
	y->m_up_bytes = metrics_counter(
	    "causeway_sync_uploaded_bytes_total", labels, "Bytes of objects sent to the bucket");
	y->m_up_objects =
	    metrics_counter("causeway_sync_uploads_total", labels, "Objects written to the bucket");
	y->m_down_bytes = metrics_counter("causeway_sync_listed_objects_total", labels,
	    "Objects and prefixes seen in listings of the bucket");
	y->m_copies = metrics_counter(
	    "causeway_sync_copies_total", labels, "Objects copied within the bucket");
	y->m_deletes = metrics_counter(
	    "causeway_sync_deletes_total", labels, "Objects deleted from the bucket");
	y->m_conflicts = metrics_counter("causeway_sync_conflicts_total", labels,
	    "Objects found changed behind the gateway's back while it held changes");
	y->m_failures = metrics_counter("causeway_sync_failures_total", labels,
	    "Attempts to bring one name in sync that failed and are repeated");
}

static struct sync *
sync_new(struct cw_share *s)
{
	struct sync *y = xcalloc(1, sizeof(*y));
	unsigned int i;

	y->s = s;
	y->limit = SYNC_JOBS_START;
	y->wake_at_ms = UINT64_MAX;
	y->kick_task.fn = on_kick;
	y->stop_task.fn = on_stop;
	loop_timer_init(&y->timer, on_timer);
	list_init(&y->settling);
	list_init(&y->soon);
	list_init(&y->sooner);
	list_init(&y->ready);
	list_init(&y->running);
	list_init(&y->unsure);
	list_init(&y->after_walk);
	for (i = 0; i < SYNC_WHEEL; i++)
		list_init(&y->wheel[i]);
	list_init(&y->tomb_queue);
	list_init(&y->tomb_rows);
	list_init(&y->tomb_rows_out);
	list_init(&y->moved);
	list_init(&y->notices);
	list_init(&y->barriers);
	list_init(&y->head_queue);
	early_init(y);
	list_init(&y->uploads);
	list_init(&y->upload_rows);
	list_init(&y->upload_rows_out);
	pthread_mutex_init(&y->users_mutex, NULL);
	pthread_mutex_init(&y->probe_mutex, NULL);
	pthread_cond_init(&y->users_gone, NULL);
	return y;
}

static void
free_keylock(void *value)
{
	struct keylock *k = value;

	free(k->key);
	free(k);
}

static void
sync_free(struct sync *y)
{
	tombs_free(y);
	uploads_free(y);
	moved_free(y);
	notify_free(y);
	heads_free(y);
	keymap_clear(&y->locks, free_keylock);
	keymap_clear(&y->displaced, NULL);
	keymap_clear(&y->recent, free);
	inoset_free(&y->relist);
	free(y->ages.v);
	free(y->refine);
	pthread_cond_destroy(&y->users_gone);
	pthread_mutex_destroy(&y->users_mutex);
	pthread_mutex_destroy(&y->probe_mutex);
	free(y);
}

/* load_duties - put every node with a duty back in line. locked */
static void
load_duties(struct sync *y)
{
	struct cw_share *s = y->s;
	char key[CW_KEY_MAX + 2];
	uint32_t i;

	for (i = 0; i < s->nbuckets_ino; i++) {
		for (struct node *n = s->by_ino[i]; n != NULL; n = n->ino_next) {
			if (n->flags & NODE_SUBTREE_MOVED)
				moved_add(y, n, NULL);
			if (n->dirty_since_ns != 0)
				duty_count(y, n);
			if (n->dirty_since_ns == 0 &&
			    !(S_ISREG(n->mode) && n->u.file != NULL && n->u.file->has_sealed))
				continue;
			if (n->remote.key != NULL && node_key(s, n, key) >= 0 &&
			    strcmp(key, n->remote.key) != 0)
				displaced_add(y, n);
			sync_duty(s, n); /* settle again: clients come back at this moment, too */
		}
	}
}

/* root_know - the root's attributes are those of the object at the prefix, if there is one; where there
 * is no prefix there can be none. locked */
static void
root_know(struct cw_share *s)
{
	struct node *n = s->root;

	if (s->conf.prefix[0] == '\0' || n->remote.key != NULL || n->dirty_since_ns != 0 ||
	    n->attr_seq != n->remote.attr_seq)
		return;
	remote_set(s, n, s->conf.prefix, NULL);
	n->flags |= NODE_META_UNKNOWN | NODE_NO_MARKER;
	node_changed(s, n);
}

int
sync_open(struct cw_share *s)
{
	struct sync *y = sync_new(s);
	int r = core_get(&y->core);

	if (r < 0) {
		sync_free(y);
		return r;
	}
	make_metrics(y);
	share_lock(s);
	s->sync = y;
	share_unlock(s);
	r = tombs_load(y);
	if (r == 0)
		r = uploads_load(y);
	share_lock(s);
	if (r < 0) {
		s->sync = NULL;
		share_unlock(s);
		core_put(y->core);
		sync_free(y);
		return r;
	}
	root_know(s);
	load_duties(y);
	unsure_load(y);
	sync_kick(y);
	share_unlock(s);
	return 0;
}

/* leave_unsure - what may have been written to a key that its node does not want is ours to delete, also
 * after the next start. locked */
static void
leave_unsure(struct sync *y)
{
	char key[CW_KEY_MAX + 2];
	struct list *l;

	list_for_each(l, &y->unsure)
	{
		const struct sync_job *j = container_of(l, struct sync_job, unsure_link);

		if (node_key(y->s, j->n, key) < 0 || strcmp(key, j->unsure_key) != 0)
			tomb_add(y, j->unsure_key, NULL);
	}
}

static void
drop_jobs(struct cw_share *s)
{
	uint32_t i;

	for (i = 0; i < s->nbuckets_ino; i++) {
		for (struct node *n = s->by_ino[i]; n != NULL; n = n->ino_next) {
			list_del(&n->sync_link);
			sync_job_drop(n);
		}
	}
}

/* wait_for_users - for requests under way, but for a store that does not answer only CLOSE_GRACE_S; and
 * not once more for each share of a process that ends. */
static void
wait_for_users(struct sync *y)
{
	static uint64_t last_cut_ms; /* atomic */
	uint64_t now_ms = clock_mono_ms(), cut_ms;
	struct timespec due;
	bool is_cut = false;

	clock_gettime(CLOCK_REALTIME, &due);
	cut_ms = __atomic_load_n(&last_cut_ms, __ATOMIC_RELAXED);
	if (cut_ms == 0 || now_ms - cut_ms > CLOSE_GRACE_S * 1000)
		due.tv_sec += CLOSE_GRACE_S;
	pthread_mutex_lock(&y->users_mutex);
	while (y->users > 0 || !y->stopped) {
		if (is_cut) {
			pthread_cond_wait(&y->users_gone, &y->users_mutex);
		} else if (pthread_cond_timedwait(&y->users_gone, &y->users_mutex, &due) != 0) {
			is_cut = true;
			pthread_mutex_unlock(&y->users_mutex);
			share_cut_store(y->s);
			__atomic_store_n(&last_cut_ms, clock_mono_ms(), __ATOMIC_RELAXED);
			pthread_mutex_lock(&y->users_mutex);
		}
	}
	pthread_mutex_unlock(&y->users_mutex);
}

void
sync_close(struct cw_share *s)
{
	struct sync *y = s->sync;
	int r;

	if (y == NULL)
		return;
	share_lock(s);
	__atomic_store_n(&y->closing, true, __ATOMIC_SEQ_CST);
	share_unlock(s);
	loop_post(y->core->loop, &y->stop_task);
	wait_for_users(y);
	share_lock(s);
	leave_unsure(y);
	share_unlock(s);
	r = cache_commit_sync(s->space); /* what the last jobs found out */
	if (r < 0)
		log_err("gateway.sync", "commit-failed",
		    "share=%s err=\"%s\": done again at the next start", s->conf.name, err_str(r));
	share_lock(s);
	early_close(y);
	drop_jobs(s);
	s->sync = NULL;
	share_unlock(s);
	core_put(y->core);
	sync_free(y);
}
