/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_snapshot.c - snapshots: rows under "snapshot", which outlive their volume.
 *
 * The truth about a snapshot is its manifest in the bucket, which the volume knows (cw_snapshot_each);
 * the row adds what only the control plane knows: tags, when it was asked for, whether by schedule.
 * State is "pending", "completed" or "error", as EC2 has them.
 *
 * A snapshot of a volume that was deleted is deleted by a step of its own, in the bucket alone; what was kept
 * for it goes with it.  "Deleting" in the row makes a restart go on with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_volume_int.h"

static const char *const states[] = {
    [CW_SNAPSHOT_PENDING] = "pending",
    [CW_SNAPSHOT_COMPLETED] = "completed",
    [CW_SNAPSHOT_ERROR] = "error",
};

struct control_snapshot *
control_snapshot_by_id(struct control *c, const char *id)
{
	struct list *l;

	list_for_each(l, &c->snapshots)
	{
		struct control_snapshot *s = container_of(l, struct control_snapshot, link);

		if (strcasecmp(s->id, id) == 0)
			return s;
	}
	return NULL;
}

static void
set_row(struct control_snapshot *s, json_t *row)
{
	json_decref(s->row);
	s->row = row;
	s->id = controli_row_string(row, "SnapshotId");
	s->volume_id = controli_row_string(row, "VolumeId");
}

static struct control_snapshot *
snapshot_new(struct control *c, json_t *row)
{
	struct control_snapshot *s = xcalloc(1, sizeof(*s));

	set_row(s, row);
	list_add_tail(&c->snapshots, &s->link);
	return s;
}

static void
snapshot_free(struct control_snapshot *s)
{
	list_del(&s->link);
	json_decref(s->row);
	free(s);
}

/* row is taken */
static int
store_row(struct control *c, struct control_snapshot *s, json_t *row)
{
	int r = state_put(c->state, "snapshot", controli_row_string(row, "SnapshotId"), row);

	if (r < 0)
		json_decref(row);
	else if (s != NULL)
		set_row(s, row);
	else
		snapshot_new(c, row);
	return r;
}

static json_t *
new_row(struct control *c, const struct control_volume *v, const char *id, const char *description)
{
	json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "SnapshotId", id, "VolumeId",
	    v->id, "VolumeARN", v->arn, "GatewayARN", v->gateway_arn, "State",
	    states[CW_SNAPSHOT_PENDING], "VolumeSizeInBytes", (json_int_t)control_volume_size(v),
	    "StartNs", (json_int_t)clock_real_ns());
	json_t *text = json_string(description != NULL ? description : "");

	(void)c;
	json_object_set_new(row, "Description", text != NULL ? text : json_string(""));
	/* What is needed to restore it when the volume is not here any more. */
	json_object_set(row, "Bucket", json_object_get(v->row, "Bucket"));
	json_object_set(row, "Prefix", json_object_get(v->row, "Prefix"));
	if (json_object_get(v->row, "KeyName") != NULL) {
		json_object_set(row, "KeyName", json_object_get(v->row, "KeyName"));
		json_object_set(row, "KMSKey", json_object_get(v->row, "KMSKey"));
	}
	json_object_set(row, "BlockBytes", json_object_get(v->row, "BlockBytes"));
	return row;
}

/* --- what the volumes say ------------------------------------------------------------------------------ */

struct look {
	struct control *c;
	struct control_volume *v;
	json_t *seen; /* id -> true */
};

static void
look_at(void *arg, const struct cw_snapshot_info *i)
{
	struct look *k = arg;
	struct control_snapshot *s = control_snapshot_by_id(k->c, i->id);
	bool is_new = s == NULL;
	json_t *row = is_new ? new_row(k->c, k->v, i->id, i->description) : json_copy(s->row);

	json_object_set_new(k->seen, i->id, json_true());
	if (is_new)
		json_object_set_new(row, "StartNs", json_integer(i->time_ns));
	json_object_set_new(row, "State", json_string(states[i->state]));
	if (i->state == CW_SNAPSHOT_COMPLETED) {
		json_object_set_new(
		    row, "VolumeSizeInBytes", json_integer((json_int_t)i->size_bytes));
		json_object_set_new(row, "PointNs", json_integer(i->time_ns));
	}
	if (!is_new && json_equal(row, s->row)) {
		json_decref(row);
		return;
	}
	if (store_row(k->c, s, row) < 0)
		log_warn("gateway.control", "snapshot-row-behind", "snapshot=%s", i->id);
}

/* Locked. */
static void
look(struct control *c, struct control_volume *v)
{
	struct look k = {c, v, NULL};
	struct cw_volume *volume = controli_volume_ref(v);
	struct list *l;

	if (volume == NULL)
		return;
	k.seen = json_object();
	cw_snapshot_each(volume, look_at, &k);
	cw_volume_put(volume);
	/* Asked for, but a crash came before the volume heard of it. */
	list_for_each(l, &c->snapshots)
	{
		struct control_snapshot *s = container_of(l, struct control_snapshot, link);
		json_t *row;

		if (strcmp(s->volume_id, v->id) != 0 || json_object_get(k.seen, s->id) != NULL ||
		    strcmp(controli_row_string(s->row, "State"), "pending") != 0)
			continue;
		row = json_copy(s->row);
		json_object_set_new(row, "State", json_string(states[CW_SNAPSHOT_ERROR]));
		if (store_row(c, s, row) < 0)
			log_warn("gateway.control", "snapshot-row-behind", "snapshot=%s", s->id);
	}
	json_decref(k.seen);
}

void
controli_snapshots_look(struct control *c, const char *volume_id)
{
	struct control_volume *v;

	control_lock(c);
	v = control_volume_by_id(c, volume_id);
	if (v != NULL && !c->closing)
		look(c, v);
	control_unlock(c);
}

struct list *
control_snapshots(struct control *c)
{
	struct list *l;

	list_for_each(l, &c->volumes) look(c, container_of(l, struct control_volume, link));
	return &c->snapshots;
}

/* --- create ---------------------------------------------------------------------------------------------- */

static void
new_id(struct control *c, char out[CW_SNAPSHOT_ID_MAX])
{
	uint8_t b[9];
	char hex[19];

	do {
		random_bytes(b, sizeof(b));
		digest_hex(b, sizeof(b), hex);
		snprintf(out, CW_SNAPSHOT_ID_MAX, "snap-%.17s", hex);
	} while (control_snapshot_by_id(c, out) != NULL);
}

static int
refused(struct control_error *e, int err)
{
	if (err == -ENOENT)
		return control_fail(e, "VolumeNotReady",
		    "The specified volume has no recovery point in the bucket yet.");
	if (err == -EAGAIN || err == -EBUSY || err == -ERR_OFFLINE)
		return control_fail(
		    e, "VolumeNotReady", "The specified volume is not ready: %s.", err_str(err));
	return control_fail_internal(e, err, "snapshot");
}

int
control_snapshot_create(struct control *c, struct control_volume *v, const char *description,
    const json_t *tags, bool is_now, bool is_scheduled, char id[CW_SNAPSHOT_ID_MAX],
    struct control_error *e)
{
	struct control_snapshot *s;
	json_t *row;
	int r;

	if (v->volume == NULL || v->phase != VOLUME_SERVING)
		return control_fail(e, "VolumeNotReady", "The specified volume is not ready.");
	new_id(c, id);
	row = new_row(c, v, id, description);
	json_object_set_new(row, "Tags", tags != NULL ? json_deep_copy(tags) : json_array());
	if (is_scheduled)
		json_object_set_new(row, "Scheduled", json_true());
	r = store_row(c, NULL, row);
	if (r < 0)
		return control_fail_internal(e, r, "the index takes no changes");
	r = cw_snapshot_create(v->volume, id, description, is_now);
	if (r == 0) {
		log_info("gateway.control", "snapshot-created", "snapshot=%s volume=%s", id, v->id);
		controli_volume_told(
		    c, v, "snapshot-created", json_pack("{s:s}", "snapshot-id", id));
		return 0;
	}
	s = control_snapshot_by_id(c, id);
	if (s != NULL && state_put(c->state, "snapshot", id, NULL) == 0)
		snapshot_free(s);
	return refused(e, r);
}

/* --- delete ---------------------------------------------------------------------------------------------- */

static int
forget(struct control *c, struct control_snapshot *s)
{
	int r = state_put(c->state, "snapshot", s->id, NULL);

	if (r < 0)
		return r;
	log_info(
	    "gateway.control", "snapshot-deleted", "snapshot=%s volume=%s", s->id, s->volume_id);
	state_event(c->state, "snapshot-deleted",
	    json_pack("{s:s,s:s}", "snapshot-id", s->id, "volume-id", s->volume_id));
	snapshot_free(s);
	return 0;
}

static void delete_orphan(struct control *c, const char *id);

int
control_snapshot_delete(struct control *c, struct control_snapshot *s, struct control_error *e)
{
	struct control_volume *v = control_volume_by_id(c, s->volume_id);
	json_t *row;
	int r;

	if (v != NULL && v->phase == VOLUME_DELETING)
		v = NULL; /* as if it were gone already: the clock waits for that */
	if (v != NULL && (v->volume == NULL || v->phase != VOLUME_SERVING))
		return control_fail(e, "VolumeNotReady",
		    "The snapshot's volume %s is %s; a snapshot is deleted where its volume is "
		    "attached.",
		    v->id, v->phase == VOLUME_DETACHED ? "detached" : "not ready");
	if (v != NULL) {
		r = cw_snapshot_delete(v->volume, s->id);
		if (r < 0 && r != -ENOENT)
			return refused(e, r);
		r = forget(c, s);
		return r < 0 ? control_fail_internal(e, r, "the index takes no changes") : 0;
	}
	row = json_copy(s->row);
	json_object_set_new(row, "Deleting", json_true());
	r = store_row(c, s, row);
	if (r < 0)
		return control_fail_internal(e, r, "the index takes no changes");
	controli_submit(c, s->id, delete_orphan);
	return 0;
}

/* destroyed - what became of it. Locked. */
static void
destroyed(struct control *c, struct control_snapshot *s, int r, const char *text)
{
	if (r == 0 || r == -ERR_NO_BUCKET)
		r = forget(c, s);
	if (r == 0 || r == -ECANCELED)
		return;
	if (s->pause_ms == 0)
		log_warn("gateway.control", "snapshot-not-deleted",
		    "snapshot=%s err=\"%s\" %s: tried again until it is", s->id, err_str(r), text);
	s->pause_ms = controli_pause(s->pause_ms);
}

/* Work queue, unlocked. */
static void
delete_orphan(struct control *c, const char *id)
{
	struct cw_volume_place p = {.appliance_id = c->appliance_id};
	struct objstore *store = NULL;
	struct control_snapshot *s;
	struct store_job job;
	char text[256] = "";
	json_t *row;
	int r;

	control_lock(c);
	s = control_snapshot_by_id(c, id);
	if (s == NULL || c->closing || json_object_get(s->row, "Deleting") == NULL ||
	    control_volume_by_id(c, s->volume_id) != NULL || c->is_deleting_snapshot) {
		control_unlock(c);
		return;
	}
	c->is_deleting_snapshot = true; /* two of one volume would meet */
	s->tried_ms = clock_mono_ms();
	row = json_incref(s->row);
	r = controli_volume_store(c, row, &store, text, sizeof(text));
	if (r == 0)
		controli_job_begin(c, &job, store);
	control_unlock(c);
	if (r == 0) {
		p.id = controli_row_string(row, "VolumeId");
		p.prefix = controli_row_string(row, "Prefix");
		p.store = job.store;
		r = cw_snapshot_destroy_remote(&p, id);
		controli_job_end(c, &job);
	}
	control_lock(c);
	c->is_deleting_snapshot = false;
	s = control_snapshot_by_id(c, id);
	if (s != NULL)
		destroyed(c, s, r, text);
	control_unlock(c);
	json_decref(row);
}

void
controli_snapshots_tick(struct control *c)
{
	struct list *l;

	if (c->is_deleting_snapshot || c->closing)
		return;
	list_for_each(l, &c->snapshots)
	{
		struct control_snapshot *s = container_of(l, struct control_snapshot, link);

		if (json_object_get(s->row, "Deleting") == NULL ||
		    control_volume_by_id(c, s->volume_id) != NULL ||
		    clock_mono_ms() - s->tried_ms < s->pause_ms)
			continue;
		controli_submit(c, s->id, delete_orphan);
		return;
	}
}

/* --- start and stop ------------------------------------------------------------------------------------------ */

static int
load_one(void *arg, const char *key, const json_t *row)
{
	(void)key;
	snapshot_new(arg, json_deep_copy(row));
	return 0;
}

int
controli_snapshots_load(struct control *c)
{
	return state_each(c->state, "snapshot", load_one, c);
}

void
controli_snapshots_free(struct control *c)
{
	while (!list_empty(&c->snapshots))
		snapshot_free(container_of(c->snapshots.next, struct control_snapshot, link));
}
