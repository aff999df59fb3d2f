/* SPDX-License-Identifier: Apache-2.0 */
/* volume_status.c - what the control plane asks: status, snapshots, recovery points. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/volume/volume_int.h"

/* state_name - as AWS has it. locked */
static const char *
state_name(const struct cw_volume *v)
{
	if (v->row.irrecoverable != NULL)
		return "IRRECOVERABLE";
	if (v->row.image_path != NULL)
		return "BOOTSTRAPPING";
	if (!v->row.is_created && v->row.source != CW_SOURCE_EMPTY)
		return v->row.source == CW_SOURCE_BUCKET ? "CREATING" : "RESTORING";
	if (v->conf.mode == CW_VOLUME_STORED && !v->row.is_complete)
		return "RESTORING";
	return "AVAILABLE";
}

/* remote_status - what the image says of itself. */
static void
remote_status(struct cw_volume *v, struct cw_volume_status *out)
{
	struct vol_remote *r = v->remote;
	struct vol_remote_stats st;

	if (r == NULL)
		return;
	vol_remote_get_stats(r, &st);
	out->is_owner = out->is_owner && st.is_owner;
	if (out->reason[0] == '\0')
		snprintf(out->reason, sizeof(out->reason), "%s", st.reason);
	out->epoch = st.epoch;
	out->uploaded_bytes = st.uploaded_bytes;
	out->uploaded_objects = st.uploaded_objects;
	out->remote_bytes = st.bytes;
	out->remote_live_bytes = st.live_bytes;
	out->used_bytes = st.mapped_bytes;
}

static bool
is_offline(int err)
{
	return err != 0 && err != -ESTALE && err != -EBUSY && err != -ENOSPC;
}

void
cw_volume_get_status(struct cw_volume *v, struct cw_volume_status *out)
{
	memset(out, 0, sizeof(*out));
	out->state = "AVAILABLE";
	out->progress = -1;
	out->size_bytes = v->size;
	if (!volume_enter(v))
		return;
	cache_space_lock(v->space);
	out->state = state_name(v);
	if (v->row.irrecoverable != NULL)
		snprintf(out->reason, sizeof(out->reason), "%s", v->row.irrecoverable);
	out->dirty_bytes = v->file.dirty_bytes + v->file.sealed_bytes;
	out->local_bytes = out->dirty_bytes + v->file.clean_bytes;
	out->oldest_dirty_ns =
	    v->row.sealed_time_ns != 0 ? v->row.sealed_time_ns : v->dirty_since_ns;
	out->recovery_point_ns = v->row.committed_time_ns;
	out->epoch = v->row.committed_epoch;
	cache_space_unlock(v->space);
	pthread_mutex_lock(&v->sched_lock);
	out->progress = v->progress;
	out->is_store_reachable = !is_offline(v->last_err);
	out->is_owner = !v->is_fenced;
	if (out->reason[0] == '\0')
		snprintf(out->reason, sizeof(out->reason), "%s", v->reason);
	if (out->reason[0] == '\0' && v->upkeep_err != 0)
		snprintf(out->reason, sizeof(out->reason), "upkeep in the bucket failed: %s",
		    err_str(v->upkeep_err));
	pthread_mutex_unlock(&v->sched_lock);
	remote_status(v, out);
	if (out->used_bytes < out->dirty_bytes)
		out->used_bytes = out->dirty_bytes;
	out->read_bytes = v->read_bytes;
	out->write_bytes = v->write_bytes;
	out->hit_bytes = v->hit_bytes;
	volume_leave(v);
}

/* --- snapshots --------------------------------------------------------------------------------------- */

static struct volume_snap *
find_snap(const struct cw_volume *v, const char *id)
{
	struct list *l;

	list_for_each(l, &v->row.snaps)
	{
		struct volume_snap *s = container_of(l, struct volume_snap, link);

		if (strcmp(s->id, id) == 0)
			return s;
	}
	return NULL;
}

struct look {
	const char *id;
	bool is_there;
};

static void
look_at(void *arg, const struct vol_snapshot *s)
{
	struct look *k = arg;

	if (!s->is_clone && strcmp(s->id, k->id) == 0)
		k->is_there = true;
}

static bool
is_in_bucket(struct cw_volume *v, const char *id)
{
	struct look k = {.id = id};

	if (v->remote != NULL)
		vol_remote_snapshot_each(v->remote, look_at, &k);
	return k.is_there;
}

int
cw_snapshot_create(struct cw_volume *v, const char *id, const char *description, bool is_now)
{
	struct volume_snap *s;
	int err = 0;

	if (!volume_enter(v))
		return -ESHUTDOWN;
	cache_space_lock(v->space);
	if (find_snap(v, id) != NULL || is_in_bucket(v, id))
		err = -EEXIST;
	else if (!is_now && (v->remote == NULL ||
				(v->row.committed_epoch == 0 && v->row.committed_time_ns == 0)))
		err = -ENOENT; /* it was made empty, and nothing was uploaded since */
	if (err == 0) {
		s = volume_snap_new(id, description);
		s->time_ns = clock_real_ns();
		volume_barrier(v, is_now, s);
	}
	cache_space_unlock(v->space);
	if (err == 0) /* with everything that was written before */
		err = cache_commit_sync(v->space);
	volume_kick(v);
	volume_leave(v);
	return err;
}

int
cw_snapshot_delete(struct cw_volume *v, const char *id)
{
	struct volume_snap *s;
	int err = 0;

	if (!volume_enter(v))
		return -ESHUTDOWN;
	cache_space_lock(v->space);
	s = find_snap(v, id);
	if (s == NULL && !is_in_bucket(v, id))
		err = -ENOENT;
	else if (s != NULL && s->is_delete)
		err = -ENOENT;
	if (err == 0 && s == NULL) {
		s = volume_snap_new(id, NULL);
		list_add_tail(&v->row.snaps, &s->link);
	}
	if (err == 0) { /* one that is being made is deleted after it was made, or found missing */
		s->is_delete = true;
		s->has_failed = false;
		volume_row_changed(v);
	}
	cache_space_unlock(v->space);
	if (err == 0)
		err = cache_commit_sync(v->space);
	volume_kick(v);
	volume_leave(v);
	return err;
}

struct snaps {
	struct cw_volume *v;
	struct cw_snapshot_info *all;
	size_t n;
};

static void
add_snap(struct snaps *a, const char *id, const char *description, uint64_t epoch, uint64_t size,
    int64_t time_ns, enum cw_snapshot_state state)
{
	struct cw_snapshot_info *s;

	a->all = xrealloc(a->all, (a->n + 1) * sizeof(*a->all));
	s = &a->all[a->n++];
	memset(s, 0, sizeof(*s));
	snprintf(s->id, sizeof(s->id), "%s", id);
	snprintf(s->volume_id, sizeof(s->volume_id), "%s", a->v->conf.id);
	s->epoch = epoch;
	s->size_bytes = size;
	s->time_ns = time_ns;
	s->state = state;
	s->description = xstrdup(description != NULL ? description : "");
}

static void
add_from_bucket(void *arg, const struct vol_snapshot *s)
{
	struct snaps *a = arg;

	if (!s->is_clone && find_snap(a->v, s->id) == NULL)
		add_snap(a, s->id, s->description, s->epoch, s->size_bytes, s->time_ns,
		    CW_SNAPSHOT_COMPLETED);
}

static int
by_time(const void *a, const void *b)
{
	const struct cw_snapshot_info *x = a, *y = b;

	return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

void
cw_snapshot_each(
    struct cw_volume *v, void (*fn)(void *arg, const struct cw_snapshot_info *s), void *arg)
{
	struct snaps a = {.v = v};
	struct list *l;

	if (!volume_enter(v))
		return;
	cache_space_lock(v->space);
	if (v->remote != NULL)
		vol_remote_snapshot_each(v->remote, add_from_bucket, &a);
	list_for_each(l, &v->row.snaps)
	{
		const struct volume_snap *s = container_of(l, struct volume_snap, link);

		if (!s->is_delete)
			add_snap(&a, s->id, s->description, s->epoch, v->size, s->time_ns,
			    s->has_failed ? CW_SNAPSHOT_ERROR : CW_SNAPSHOT_PENDING);
	}
	cache_space_unlock(v->space);
	volume_leave(v);
	if (a.n > 1)
		qsort(a.all, a.n, sizeof(*a.all), by_time);
	for (size_t i = 0; i < a.n; i++) {
		fn(arg, &a.all[i]);
		free((char *)(uintptr_t)a.all[i].description);
	}
	free(a.all);
}

bool
cw_snapshot_is_due(struct cw_volume *v)
{
	struct list *l;
	bool is_due = false;

	if (!volume_enter(v))
		return false;
	cache_space_lock(v->space);
	list_for_each(l, &v->row.snaps) is_due =
	    is_due || !container_of(l, struct volume_snap, link)->has_failed;
	cache_space_unlock(v->space);
	volume_leave(v);
	return is_due;
}

struct points {
	struct {
		uint64_t epoch;
		int64_t time_ns;
	} * v;
	size_t n;
};

static void
add_point(void *arg, uint64_t epoch, int64_t time_ns, uint64_t size_bytes)
{
	struct points *p = arg;

	(void)size_bytes;
	p->v = xrealloc(p->v, (p->n + 1) * sizeof(*p->v));
	p->v[p->n].epoch = epoch;
	p->v[p->n++].time_ns = time_ns;
}

void
cw_volume_each_recovery_point(struct cw_volume *v, unsigned int max,
    void (*fn)(void *arg, uint64_t epoch, int64_t time_ns), void *arg)
{
	struct points p = {0};

	if (!volume_enter(v))
		return;
	if (v->remote != NULL)
		vol_remote_point_each(v->remote, max, add_point, &p);
	volume_leave(v);
	for (size_t i = 0; i < p.n; i++)
		fn(arg, p.v[i].epoch, p.v[i].time_ns);
	free(p.v);
}
