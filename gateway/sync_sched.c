/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_sched.c - what starts when.  Runs on the scheduler loop, under the share's lock, and does
 * nothing but move nodes between lists and hand jobs to threads.
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

#define CYCLE_MAX 4096	    /* nodes looked at for a cycle of renames */
#define START_SLICE 256	    /* nodes looked at in one go: the lock is not ours alone */
#define ROUNDS_MAX 16u	    /* successes of one job in a row that leave something to do */
#define TELL_AFTER_TRIES 4u /* failures of one node before people are told */
#define SICK_AFTER 8u	    /* failures with no success between them: it is the store */
#define SICK_DOUBLINGS 3u   /* of the pause, from 1 s */

/* sync_jitter_ms - full jitter: anything up to 1 s doubling to 60 s; 50 ms at least. */
uint32_t
sync_jitter_ms(unsigned int tries)
{
	uint32_t top = tries < 6 ? 1000u << tries : 60000u, r;

	if (top > 60000)
		top = 60000;
	random_bytes(&r, sizeof(r));
	return 50 + r % top;
}

/* --- queues ------------------------------------------------------------------------------------- */

static void
move_due(struct sync *y, struct list *from, uint64_t delay_ms, uint64_t now)
{
	while (!list_empty(from)) {
		struct node *n = container_of(from->next, struct node, sync_link);

		if (n->changed_ms + delay_ms > now)
			break;
		list_del(&n->sync_link);
		list_add_tail(&y->ready, &n->sync_link);
	}
}

static void
turn_wheel(struct sync *y, uint64_t now)
{
	uint64_t now_s = now / 1000;
	unsigned int i;

	if (now_s > y->wheel_at_s + SYNC_WHEEL)
		y->wheel_at_s = now_s - SYNC_WHEEL;
	for (; y->wheel_at_s < now_s; y->wheel_at_s++) {
		struct list *slot = &y->wheel[y->wheel_at_s % SYNC_WHEEL];

		list_splice_tail(&y->ready, slot);
	}
	for (i = 0, y->nwheel = 0; i < SYNC_WHEEL; i++)
		y->nwheel += !list_empty(&y->wheel[i]);
}

static void
wheel_add(struct sync *y, struct node *n, uint64_t due_ms)
{
	list_del(&n->sync_link);
	list_add_tail(&y->wheel[due_ms / 1000 % SYNC_WHEEL], &n->sync_link);
	y->nwheel++;
}

/* --- may this node start? ----------------------------------------------------------------------- */

/* is_cycle - n wants a key that is occupied; does the chain of occupants lead back to n? */
static bool
is_cycle(struct sync *y, const struct node *n, const struct node *occupant)
{
	char key[CW_KEY_MAX + 2];
	int i;

	for (i = 0; i < CYCLE_MAX && occupant != NULL; i++) {
		if (occupant == n)
			return true;
		if (node_key(y->s, occupant, key) < 0)
			return false;
		occupant = keymap_get(&y->displaced, key);
	}
	return false;
}

/* blocked_by_others - park n where it is woken when its way is free. */
static bool
blocked_by_others(struct sync *y, struct node *n, const char *key)
{
	const char *old = n->remote.key;
	struct node *occupant;

	if (key_is_held(y, key)) {
		key_wait(y, key, n);
		return true;
	}
	if (old != NULL && key_is_held(y, old)) {
		key_wait(y, old, n);
		return true;
	}
	if (S_ISDIR(n->mode) && n->flags & NODE_SUBTREE_MOVED) {
		list_del(&n->sync_link);
		list_add_tail(&y->after_walk, &n->sync_link);
		return true;
	}
	if (old != NULL && strcmp(old, key) == 0)
		return false;
	if (key_may_be_unwalked(y, key)) {
		list_del(&n->sync_link);
		list_add_tail(&y->after_walk, &n->sync_link);
		return true;
	}
	occupant = keymap_get(&y->displaced, key);
	if (occupant == NULL || occupant == n)
		return false;
	if (occupant->job == NULL || occupant->job->not_before_ms <= clock_mono_ms())
		sync_queue_ready(y, occupant);
	key_wait(y, key, n);
	if (is_cycle(y, n, occupant))
		sync_job_of(y, occupant)->park_in_tmp = true;
	return true;
}

/* start_node - hand n to a thread. false: nothing was started. */
static bool
start_node(struct sync *y, struct node *n)
{
	char key[CW_KEY_MAX + 2];
	struct sync_job *j;
	bool park;

	if (sync_in_sync(y->s, n)) {
		sync_settled(y->s, n);
		sync_job_drop(n);
		return false;
	}
	if (node_key(y->s, n, key) <
	    0) { /* a rename above made it too long: front ends forbid that */
		log_err("gateway.sync", "key-too-long", "share=%s ino=%llu: stays local",
		    y->s->conf.name, (unsigned long long)n->ino);
		wheel_add(y, n, clock_mono_ms() + 60000);
		return false;
	}
	park = n->job != NULL && n->job->park_in_tmp && n->remote.key != NULL;
	if (park)
		snprintf(key, sizeof(key), "%s" SYNC_TMP_NAME "/%llu", y->s->conf.prefix,
		    (unsigned long long)n->ino);
	if (park && key_is_held(y, n->remote.key)) {
		key_wait(y, n->remote.key, n);
		return false;
	}
	if (!park && blocked_by_others(y, n, key))
		return false;
	if (!sync_user_get(y))
		return false;
	j = sync_job_of(y, n);
	list_del(&n->sync_link);
	node_ref(n);
	j->is_running = true;
	list_add_tail(&y->running, &j->running_link);
	j->again = j->replan = false;
	j->park_in_tmp = park;
	j->key = xstrdup(key);
	key_hold(y, key);
	if (n->remote.key != NULL && strcmp(n->remote.key, key) != 0) {
		j->old_key = xstrdup(n->remote.key);
		key_hold(y, j->old_key);
	}
	y->njobs++;
	j->work.fn = sync_node_run;
	workq_submit(y->core->jobs, &j->work);
	return true;
}

/* --- the end of a job --------------------------------------------------------------------------- */

/* pace - nodes back off one by one; where all of them fail, thousands would still ask all the time.
 * Then a few are tried, and after their failure nothing for a while. */
static void
pace(struct sync *y, int err, uint64_t now)
{
	unsigned int n;

	if (err == 0) {
		y->nsick = 0;
		y->pause_until_ms = 0;
	} else if ((err == -EIO || err == -ERR_STORE || err == -EACCES || err == -ERR_THROTTLED) &&
		   ++y->nsick >= SICK_AFTER) {
		n = (y->nsick - SICK_AFTER) / SYNC_JOBS_MIN;
		y->limit = SYNC_JOBS_MIN;
		y->pause_until_ms = now + sync_jitter_ms(n < SICK_DOUBLINGS ? n : SICK_DOUBLINGS);
	}
}

static void
adapt(struct sync *y, int err)
{
	uint64_t now = clock_mono_ms();

	pace(y, err, now);
	if (err == -ERR_THROTTLED) {
		if (now - y->slowed_ms > 1000 && y->limit > SYNC_JOBS_MIN) {
			y->limit = y->limit * 2 / 3;
			if (y->limit < SYNC_JOBS_MIN)
				y->limit = SYNC_JOBS_MIN;
			y->slowed_ms = now;
		}
		y->credit = 0;
	} else if (err == 0 && y->limit < SYNC_JOBS_MAX && ++y->credit >= y->limit) {
		y->credit = 0;
		y->limit++;
	}
}

/* job_failed - locked. result: is this failure one to tell people about? */
static bool
job_failed(struct sync_job *j, int err, bool is_store)
{
	struct sync *y = j->y;
	struct node *n = j->n;
	bool tell = false;

	j->last_error = err;
	if (is_store ||
	    err == -ECANCELED) { /* not its fault: first in line when the store is back */
		list_add_head(&y->ready, &n->sync_link);
		return false;
	}
	j->not_before_ms = clock_mono_ms() + sync_jitter_ms(j->tries++);
	wheel_add(y, n, j->not_before_ms);
	if (j->tries >= TELL_AFTER_TRIES && !j->told_failure) {
		j->told_failure = tell = true;
		y->nfailing++;
	}
	metric_add(y->m_failures, 1);
	return tell;
}

/* job_ok - locked. result: was a failure told that is now over? */
static bool
job_ok(struct sync_job *j)
{
	struct cw_share *s = j->s;
	struct node *n = j->n;
	bool recovered = j->told_failure;

	if (++j->rounds > ROUNDS_MAX && !j->again) {
		log_err("gateway.sync", "no-progress", "share=%s ino=%llu: tried again later",
		    s->conf.name, (unsigned long long)n->ino);
		(void)job_failed(j, -EAGAIN, false);
		return false;
	}
	if (j->again)
		j->rounds = 0;
	if (sync_in_sync(s, n)) {
		sync_settled(s, n);
		sync_job_drop(n);
	} else {
		if (j->told_failure)
			j->y->nfailing--;
		j->told_failure = false;
		j->tries = 0;
		j->not_before_ms = 0;
		j->last_error = 0;
		duty_end(s, n); /* what it holds now is younger than what was just sent */
		if ((j->again && !j->replan) || j->y->closing)
			sync_duty(s, n);
		else
			sync_queue_ready(j->y, n);
	}
	return recovered;
}

static void
release_keys(struct sync_job *j)
{
	if (j->key != NULL)
		key_release(j->y, j->key);
	if (j->old_key != NULL)
		key_release(j->y, j->old_key);
	free(j->key);
	free(j->old_key);
	j->key = j->old_key = NULL;
}

static void
tell(struct cw_share *s, const char *type, const char *path, int err)
{
	if (err < 0)
		log_err("gateway.sync", type, "share=%s path=\"%s\" err=\"%s\": is tried again",
		    s->conf.name, path, err_str(err));
	sync_event(s, type, "path", path, "share", s->conf.name, "error",
	    err < 0 ? err_str(err) : "", (char *)NULL);
}

void
sync_job_finish(struct sync_job *j, int err)
{
	struct sync *y = j->y;
	struct cw_share *s = j->s;
	struct node *n = j->n;
	char path[CW_KEY_MAX + 2] = "";
	bool is_store = sync_trouble(y, err), failed = false, recovered = false;

	share_lock(s);
	adapt(y, err);
	y->njobs--;
	j->is_running = false;
	list_del(&j->running_link);
	j->park_in_tmp = false;
	if (err < 0 && !(n->flags & NODE_REMOVED))
		sync_job_unsure(j);
	release_keys(j);
	if (node_path(n, path, sizeof(path)) < 0)
		path[0] = '\0';
	if (n->flags & NODE_REMOVED)
		sync_job_drop(n);
	else if (err < 0)
		failed = job_failed(j, err, is_store);
	else
		recovered = job_ok(j);
	barriers_check(y);
	sync_kick(y);
	node_unref(s, n);
	share_unlock(s);
	if (failed)
		tell(s, "upload-failed", path, err);
	if (recovered)
		tell(s, "recovered", path, 0);
	sync_user_put(y);
}

/* --- is the store back? ------------------------------------------------------------------------- */

struct probe {
	struct work work;
	struct sync *y;
};

static void
probe_run(struct work *w)
{
	struct probe *p = container_of(w, struct probe, work);
	struct sync *y = p->y;
	struct objstore_req req = {.op = OBJ_BUCKET_HEAD, .max_tries = 1};
	int err = sync_call(y, &req);

	objstore_req_clear(&req);
	share_lock(y->s);
	y->probing = false;
	if (err == 0) {
		y->unavailable = false;
		y->reason[0] = '\0';
	} else {
		y->probe_tries++;
		y->probe_at_ms = clock_mono_ms() + 500 + sync_jitter_ms(y->probe_tries) / 2;
	}
	sync_kick(y);
	share_unlock(y->s);
	if (err == 0) {
		log_info("gateway.sync", "store-available", "share=%s bucket=%s", y->s->conf.name,
		    y->s->conf.bucket);
		sync_event(y->s, "recovered", "share", y->s->conf.name, "bucket", y->s->conf.bucket,
		    (char *)NULL);
	}
	free(p);
	sync_user_put(y);
}

static void
probe_start(struct sync *y)
{
	struct probe *p;

	if (y->probing || !sync_user_get(y))
		return;
	p = xcalloc(1, sizeof(*p));
	p->y = y;
	p->work.fn = probe_run;
	y->probing = true;
	workq_submit(y->core->lists, &p->work);
}

struct sweep {
	struct work work;
	struct sync *y;
};

static void
sweep_run(struct work *w)
{
	struct sweep *sw = container_of(w, struct sweep, work);
	struct sync *y = sw->y;

	uploads_sweep(y);
	share_lock(y->s);
	y->sweeping = false;
	share_unlock(y->s);
	free(sw);
	sync_user_put(y);
}

static void
sweep_start(struct sync *y)
{
	struct sweep *sw;

	if (y->sweeping || !uploads_abandoned(y) || !sync_user_get(y))
		return;
	sw = xcalloc(1, sizeof(*sw));
	sw->y = y;
	sw->work.fn = sweep_run;
	y->sweeping = true;
	workq_submit(y->core->lists, &sw->work);
}

/* --- one look ----------------------------------------------------------------------------------- */

static void
start_what_can(struct sync *y, uint64_t now)
{
	unsigned int looked = 0;

	if (y->unavailable) {
		if (y->probe_at_ms <= now)
			probe_start(y);
		return;
	}
	if (walk_due_ms(y) <= now)
		walk_start(y);
	if (tombs_due(y, now))
		tombs_start(y);
	sweep_start(y);
	while (!list_empty(&y->ready) && y->njobs < y->limit && y->pause_until_ms <= now) {
		struct node *n = container_of(y->ready.next, struct node, sync_link);

		if (looked++ == START_SLICE) {
			sync_kick(y);
			break;
		}
		if (!start_node(y, n) && y->closing)
			break;
	}
	barriers_check(y);
	key_calm(y);
}

static void
sooner(uint64_t *at, uint64_t due)
{
	if (due < *at)
		*at = due;
}

static uint64_t
next_wake(const struct sync *y, uint64_t now)
{
	uint64_t at = UINT64_MAX;

	if (!list_empty(&y->settling))
		sooner(&at, container_of(y->settling.next, struct node, sync_link)->changed_ms +
				sync_settle_ms(y->s));
	if (!list_empty(&y->soon))
		sooner(&at, container_of(y->soon.next, struct node, sync_link)->changed_ms +
				sync_soon_ms(y->s));
	if (!list_empty(&y->sooner))
		sooner(&at, container_of(y->sooner.next, struct node, sync_link)->changed_ms +
				sync_sooner_ms(y->s));
	if (y->nwheel > 0)
		sooner(&at, (now / 1000 + 1) * 1000);
	if (y->pause_until_ms > now && !list_empty(&y->ready))
		sooner(&at, y->pause_until_ms);
	if (y->unavailable) {
		if (!y->probing)
			sooner(&at, y->probe_at_ms);
	} else {
		sooner(&at, tombs_next_ms(y));
		sooner(&at, walk_due_ms(y));
	}
	sooner(&at, notices_next_ms(y));
	sooner(&at, refine_next_ms(y));
	return at;
}

void
sync_sched_run(struct sync *y)
{
	uint64_t now = clock_mono_ms();

	notices_run(y, now);
	share_lock(y->s);
	y->kick_posted = false;
	if (y->closing) {
		share_unlock(y->s);
		return;
	}
	move_due(y, &y->settling, sync_settle_ms(y->s), now);
	move_due(y, &y->soon, sync_soon_ms(y->s), now);
	move_due(y, &y->sooner, sync_sooner_ms(y->s), now);
	turn_wheel(y, now);
	start_what_can(y, now);
	refine_pump(y);
	y->wake_at_ms = next_wake(y, now);
	if (y->wake_at_ms == UINT64_MAX)
		loop_timer_cancel(&y->timer);
	else
		loop_timer_set(
		    y->core->loop, &y->timer, y->wake_at_ms > now ? y->wake_at_ms - now : 0);
	share_unlock(y->s);
}
