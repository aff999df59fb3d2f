/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_volume_step.c - what a volume's phase asks for, one step at a time on the work queue.
 *
 * phase      step                                              left by
 * CREATING   cw_volume_create, or cw_volume_open if a crash    it is open -> SERVING
 *            came between that and the row
 * SERVING    cw_volume_open, if it is not open                 DetachVolume, DeleteVolume
 * DETACHING  cw_volume_detach: all of it uploaded, ownership   done -> DETACHED
 *            given up
 * DETACHED   nothing                                           AttachVolume -> CREATING, from the bucket
 * DELETING   cw_volume_destroy, cw_volume_destroy_remote       done -> gone
 * any        "SettingsDue": write settings.json to the bucket  it is there
 * A step that fails is tried again by the clock.  The phase is in the row, so a restart goes on with it.
 * While a step runs the volume is busy: its struct stays, its phase may change.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/metrics.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_volume_int.h"

#define AGAIN_MS 3000
#define PAUSE_MAX_MS 300000
#define SNAPSHOTS_WAIT_MS 500
#define SETTINGS_MAX 65536
#define SETTINGS_WAIT_MS 30000
#define FETCH_WAIT_MS 20000

static void step(struct control *c, const char *id);

static bool
is_true(const json_t *row, const char *name)
{
	return json_is_true(json_object_get(row, name));
}

static bool
has_step(const struct control_volume *v)
{
	if (v->phase == VOLUME_DETACHED)
		return false;
	return v->phase != VOLUME_SERVING || v->volume == NULL || is_true(v->row, "SettingsDue");
}

void
controli_volume_kick(struct control *c, struct control_volume *v)
{
	if (!v->is_busy && !c->closing && has_step(v))
		controli_submit(c, v->id, step);
}

uint64_t
controli_pause(uint64_t pause_ms)
{
	if (pause_ms == 0)
		return AGAIN_MS;
	return pause_ms > PAUSE_MAX_MS / 2 ? PAUSE_MAX_MS : 2 * pause_ms;
}

void
controli_volumes_tick(struct control *c)
{
	struct list *l;

	list_for_each(l, &c->volumes)
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (clock_mono_ms() - v->tried_ms >= (v->pause_ms > 0 ? v->pause_ms : AGAIN_MS))
			controli_volume_kick(c, v);
	}
}

int
controli_volume_store(
    struct control *c, const json_t *row, struct objstore **out, char *err_text, size_t err_cap)
{
	char *label = xasprintf("volume=\"%s\"", controli_row_string(row, "VolumeId"));
	struct store_wish w = {
	    .bucket = controli_row_string(row, "Bucket"),
	    .label = label,
	    .cred = config_cred_by_name(c->conf, c->conf->volumes_credentials),
	};
	int r = controli_store_new(c, &w, out, err_text, err_cap);

	free(label);
	return r;
}

void
controli_volume_change(struct control *c, struct control_volume *v)
{
	struct cw_volume *volume = controli_volume_ref(v);
	struct cw_volume_conf conf;
	char text[256];

	if (volume == NULL)
		return;
	if (control_volume_conf(v->row, c->conf, &conf, text, sizeof(text)) == 0)
		cw_volume_change(volume, &conf);
	else /* it is served as it was opened, and not opened again */
		log_warn(
		    "gateway.control", "settings-not-taken", "volume=%s err=\"%s\"", v->id, text);
	cw_volume_conf_free(&conf);
	cw_volume_put(volume);
}

/* --- opening ------------------------------------------------------------------------------------------- */

struct opening { /* all that cw_volume_create and cw_volume_open take */
	struct cw_volume_conf conf;
	struct cw_volume_env env;
	struct cw_volume_origin origin;
	struct cw_chap *chaps;
	json_t *row; /* the strings of origin */
	uint32_t space_id;
	bool is_made;
};

static void
set_origin(struct opening *o)
{
	static const char *const names[] = {
	    [CW_SOURCE_EMPTY] = "EMPTY",
	    [CW_SOURCE_SNAPSHOT] = "SNAPSHOT",
	    [CW_SOURCE_VOLUME] = "VOLUME",
	    [CW_SOURCE_IMAGE] = "IMAGE",
	    [CW_SOURCE_BUCKET] = "BUCKET",
	};
	const json_t *from = json_object_get(o->row, "Origin");
	const char *source = controli_row_string(from, "Source");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], source) == 0)
			o->origin.source = (enum cw_volume_source)i;
	o->origin.volume_id = json_string_value(json_object_get(from, "VolumeId"));
	o->origin.prefix = json_string_value(json_object_get(from, "Prefix"));
	o->origin.snapshot_id = json_string_value(json_object_get(from, "SnapshotId"));
	o->origin.image_path = json_string_value(json_object_get(from, "ImagePath"));
	o->origin.time_ns = json_integer_value(json_object_get(from, "TimeNs"));
	if (o->origin.source == CW_SOURCE_BUCKET) {
		o->origin.volume_id = o->conf.id;
		o->origin.prefix = o->conf.prefix;
	}
}

/* Locked. To be ended by opening_free() in any case. */
static int
opening_init(struct control *c, struct control_volume *v, struct opening *o, char *text, size_t cap)
{
	int r;

	memset(o, 0, sizeof(*o));
	o->row = json_incref(v->row);
	o->space_id = v->space_id;
	o->is_made =
	    is_true(v->row, "Made") || v->phase == VOLUME_DELETING; /* make nothing to destroy it */
	r = control_volume_conf(v->row, c->conf, &o->conf, text, cap);
	if (r < 0)
		return r;
	if (v->names == NULL)
		v->names = controli_volume_names(c, v->row);
	o->env.cache = c->cache;
	o->env.appliance_id = c->appliance_id;
	o->env.nchaps = control_chap_all(v->row, &o->chaps);
	o->env.chaps = o->chaps;
	o->env.event = controli_volume_event;
	o->env.event_arg = v->names;
	set_origin(o);
	return controli_volume_store(c, v->row, &o->env.store, text, cap);
}

static void
opening_free(struct opening *o)
{
	cw_volume_conf_free(&o->conf);
	if (o->chaps != NULL)
		control_chap_free(o->chaps, o->env.nchaps);
	json_decref(o->row);
}

/* Any lock state; a store that is not taken is made anew by the caller. */
static int
run_opening(struct opening *o, struct cw_volume **out, char *text, size_t cap)
{
	int r;

	*out = NULL;
	text[0] = '\0';
	if (o->is_made)
		r = cw_volume_open(o->space_id, &o->conf, &o->env, out, text, cap);
	else
		r = cw_volume_create(o->space_id, &o->conf, &o->env, &o->origin, out, text, cap);
	if (r < 0 && text[0] == '\0')
		snprintf(text, cap, "%s", err_str(r));
	return r;
}

/* Locked: it is open, or it is not. */
static void
opened(struct control *c, struct control_volume *v, struct cw_volume *volume, int err,
    const char *text)
{
	json_t *row;

	if (err == -EEXIST && !is_true(v->row, "Made")) { /* a crash came before the row said so */
		row = json_copy(v->row);
		json_object_set_new(row, "Made", json_true());
		err = controli_volume_store_row(c, v, row);
		v->tried_ms = 0;
		if (err == 0)
			return;
	}
	if (err < 0 && v->phase == VOLUME_DELETING)
		return;
	if (err < 0) {
		if (v->reason[0] == '\0')
			log_err("gateway.control", "volume-not-opened", "volume=%s err=\"%s\"",
			    v->id, text);
		snprintf(v->reason, sizeof(v->reason), "%s", text);
		return;
	}
	v->volume = volume;
	v->reason[0] = '\0';
	controli_volume_change(c, v); /* the row may be another than the one it was opened with */
	if (is_true(v->row, "Made") || v->phase == VOLUME_DELETING)
		return;
	row = json_copy(v->row);
	json_object_set_new(row, "Made", json_true());
	if (v->phase == VOLUME_CREATING)
		json_object_set_new(row, "Phase", json_string("SERVING"));
	if (controli_volume_store_row(c, v, row) < 0) /* the next start finds it made: -EEXIST */
		log_warn("gateway.control", "volume-row-behind", "volume=%s", v->id);
	log_info("gateway.control", "volume-created", "volume=%s target=%s", v->id,
	    controli_row_string(v->row, "TargetName"));
	controli_volume_told(c, v,
	    strcmp(controli_row_string(json_object_get(v->row, "Origin"), "Source"), "BUCKET") == 0
		? "volume-attached"
		: "volume-created",
	    json_object());
}

static void
step_open(struct control *c, const char *id)
{
	struct cw_volume *volume = NULL;
	struct control_volume *v;
	struct opening o;
	char text[256] = "";
	int r;

	control_lock(c);
	v = control_volume_by_id(c, id);
	r = opening_init(c, v, &o, text, sizeof(text));
	control_unlock(c);
	if (r == 0)
		r = run_opening(&o, &volume, text, sizeof(text));
	control_lock(c);
	opened(c, control_volume_by_id(c, id), volume, r, text);
	control_unlock(c);
	opening_free(&o);
	if (volume != NULL)
		controli_snapshots_look(c, id);
}

void
controli_volume_load(struct control *c, struct control_volume *v)
{
	struct cw_volume *volume;
	struct opening o;
	char text[256] = "";
	int r;

	if (v->phase == VOLUME_DETACHED)
		return;
	if (!is_true(v->row, "Made")) {
		controli_volume_kick(c, v);
		return;
	}
	r = opening_init(c, v, &o, text, sizeof(text));
	if (r == 0)
		r = run_opening(&o, &volume, text, sizeof(text));
	opened(c, v, r == 0 ? volume : NULL, r, text);
	opening_free(&o);
	controli_volume_kick(c, v);
}

/* --- closing ------------------------------------------------------------------------------------------- */

static void
forget_names(struct control_volume *v)
{
	char *label = xasprintf("volume=\"%s\"", v->id);

	metrics_drop(label);
	free(label);
	controli_volume_names_free(v->names);
	v->names = NULL;
}

static void
step_detach(struct control *c, const char *id)
{
	struct control_volume *v;
	struct cw_volume *volume;
	bool is_discarding;
	int r;

	control_lock(c);
	v = control_volume_by_id(c, id);
	volume = v->volume;
	v->volume = NULL; /* others find it by its id, and hold a reference */
	is_discarding = v->is_discarding;
	control_unlock(c);
	if (volume == NULL)
		return;
	r = cw_volume_detach(volume, is_discarding);
	control_lock(c);
	v = control_volume_by_id(c, id);
	if (r < 0) {
		v->volume = volume;
		snprintf(v->reason, sizeof(v->reason), "detaching: %s", err_str(r));
		log_warn("gateway.control", "volume-not-detached", "volume=%s err=\"%s\"", id,
		    err_str(r));
	} else {
		v->reason[0] = '\0';
		v->is_discarding = false;
		if (controli_volume_set_phase(c, v, VOLUME_DETACHED) < 0)
			log_warn("gateway.control", "volume-row-behind", "volume=%s", id);
		log_info("gateway.control", "volume-detached", "volume=%s", id);
		controli_volume_told(c, v, "volume-detached", json_object());
		forget_names(v);
	}
	control_unlock(c);
}

/* --- deleting ------------------------------------------------------------------------------------------ */

/* note_lost - another appliance took the volume over, and may have given it up again: no object of it is ours to
 * delete, whatever the bucket says later. Locked. */
static void
note_lost(struct control *c, struct control_volume *v)
{
	json_t *row;

	if (is_true(v->row, "LeaveBucket"))
		return;
	row = json_copy(v->row);
	json_object_set_new(row, "LeaveBucket", json_true());
	if (controli_volume_store_row(c, v, row) < 0)
		log_warn("gateway.control", "volume-row-behind", "volume=%s", v->id);
}

/* may_close - is there nothing that only the open volume can do? A snapshot that was asked for just before outlives
 * it, and one that was deleted must not. Locked. */
static bool
may_close(struct control *c, struct control_volume *v)
{
	struct cw_volume_status st;

	cw_target_retire(v->volume);
	memset(&st, 0, sizeof(st));
	cw_volume_get_status(v->volume, &st);
	if (!st.is_owner) {
		note_lost(c, v);
		return true;
	}
	if (strcmp(st.state, "IRRECOVERABLE") == 0 || !cw_snapshot_is_due(v->volume))
		return true;
	if (v->pause_ms == 0)
		log_info("gateway.control", "snapshots-first",
		    "volume=%s: it is deleted when its snapshots are done", v->id);
	cw_volume_drain(v->volume, NULL, NULL);
	v->pause_ms = SNAPSHOTS_WAIT_MS;
	return false;
}

/* destroy_remote - result: 0, -ESTALE or -ERR_CHECKSUM: nothing was touched; why it must be tried again */
static int
destroy_remote(struct control *c, const char *id, char *text, size_t cap)
{
	struct cw_volume_place p = {.id = id, .appliance_id = c->appliance_id};
	struct objstore *store = NULL;
	struct control_volume *v;
	struct store_job job;
	json_t *row;
	int r = -ESTALE;

	control_lock(c);
	v = control_volume_by_id(c, id);
	row = json_incref(v->row);
	if (!is_true(row, "LeaveBucket"))
		r = controli_volume_store(c, row, &store, text, cap);
	if (store != NULL)
		controli_job_begin(c, &job, store);
	control_unlock(c);
	if (store != NULL) {
		p.prefix = controli_row_string(row, "Prefix");
		p.store = job.store;
		r = cw_volume_destroy_remote(&p);
		controli_job_end(c, &job);
	}
	json_decref(row);
	return r;
}

/* put_off - the bucket does not answer, or may not be changed: tried again, ever more seldom. Locked. */
static void
put_off(struct control_volume *v, int err, const char *text)
{
	if (v->pause_ms == 0)
		log_warn("gateway.control", "objects-not-deleted",
		    "volume=%s err=\"%s\" %s: tried again until they are", v->id, err_str(err),
		    text);
	v->pause_ms = controli_pause(v->pause_ms);
	snprintf(v->reason, sizeof(v->reason), "deleting: %s", err_str(err));
}

/* deleted - row and volume go. Locked. */
static void
deleted(struct control *c, struct control_volume *v, int err)
{
	bool is_left = err == -ESTALE || err == -ERR_CHECKSUM;

	if (state_put(c->state, "volume", v->id, NULL) < 0)
		return; /* tried again by the clock */
	if (is_left)
		log_warn("gateway.control", "objects-left",
		    "volume=%s why=\"%s\": what the bucket holds of it stays", v->id,
		    err == -ERR_CHECKSUM ? "it is damaged there: nobody can say what may go"
					 : "it was detached, or another appliance has it");
	forget_names(v);
	log_info("gateway.control", "volume-deleted", "volume=%s", v->id);
	controli_volume_told(c, v, "volume-deleted", json_pack("{s:b}", "objects-left", is_left));
	controli_volume_free(v);
}

static void
step_destroy(struct control *c, const char *id)
{
	struct control_volume *v;
	struct cw_volume *volume;
	char text[256] = "";
	int r;

	control_lock(c);
	v = control_volume_by_id(c, id);
	volume = v->volume;
	if (volume != NULL && !may_close(c, v)) {
		control_unlock(c);
		return;
	}
	if (volume != NULL)
		v->pause_ms = 0;
	v->volume = NULL;
	control_unlock(c);
	if (volume != NULL)
		cw_volume_destroy(volume);
	control_lock(c);
	control_volume_by_id(c, id)->is_local_gone = true;
	control_unlock(c);
	r = destroy_remote(c, id, text, sizeof(text));
	control_lock(c);
	v = control_volume_by_id(c, id);
	/* without the bucket there is nothing left to delete */
	if (r == 0 || r == -ESTALE || r == -ERR_CHECKSUM || r == -ERR_NO_BUCKET)
		deleted(c, v, r);
	else if (r != -ECANCELED)
		put_off(v, r, text);
	control_unlock(c);
}

/* --- settings.json --------------------------------------------------------------------------------------- */

static char *
settings_key(const json_t *row)
{
	return xasprintf("%s%s/settings.json", controli_row_string(row, "Prefix"),
	    controli_row_string(row, "VolumeId"));
}

/* Members that another appliance needs to attach the volume. No secrets, nothing of this host. */
static char *
settings_text(const struct control_volume *v)
{
	static const char *const names[] = {"VolumeId", "VolumeARN", "VolumeType", "TargetName",
	    "BlockBytes", "CreatedNs", "KMSKey", "KMSEncrypted", "KeyName", "SourceSnapshotId",
	    "Tags", "Schedule"};
	json_t *o = json_pack(
	    "{s:i,s:I}", "Version", 1, "VolumeSizeInBytes", (json_int_t)control_volume_size(v));
	char *text;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_t *m = json_object_get(v->row, names[i]);

		if (m != NULL)
			json_object_set(o, names[i], m);
	}
	text = json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(o);
	return text;
}

/* Locked: may we write it? Not while the image is not there, nor when it is somebody else's. */
static bool
may_write_settings(struct control_volume *v)
{
	struct cw_volume_status st;

	if (v->volume == NULL || v->phase > VOLUME_DETACHING || !is_true(v->row, "SettingsDue"))
		return false;
	memset(&st, 0, sizeof(st));
	cw_volume_get_status(v->volume, &st);
	return st.is_owner && st.is_store_reachable && strcmp(st.state, "CREATING") != 0;
}

static void
step_settings(struct control *c, const char *id)
{
	static const struct objstore_attrs attrs = {.content_type = "application/json"};
	struct objstore_req req = {.op = OBJ_PUT, .attrs = &attrs, .max_tries = 3};
	struct objstore *store = NULL;
	struct control_volume *v;
	char text[256] = "", *body = NULL, *key = NULL;
	json_t *row;
	int r = -ENOENT;

	control_lock(c);
	v = control_volume_by_id(c, id);
	row = v != NULL ? json_incref(v->row) : NULL;
	if (v != NULL && may_write_settings(v)) {
		body = settings_text(v);
		key = settings_key(row);
		r = controli_volume_store(c, row, &store, text, sizeof(text));
	}
	control_unlock(c);
	if (store != NULL) {
		req.key = key;
		req.body = body;
		req.body_len = strlen(body);
		r = controli_store_ask(c, store, &req, SETTINGS_WAIT_MS);
		objstore_req_clear(&req);
	}
	control_lock(c);
	v = control_volume_by_id(c, id);
	if (r == 0 && v != NULL && v->row == row) { /* else it changed meanwhile: once more */
		json_t *done = json_copy(row);

		json_object_del(done, "SettingsDue");
		if (controli_volume_store_row(c, v, done) < 0)
			log_warn("gateway.control", "volume-row-behind", "volume=%s", id);
	} else if (r < 0 && r != -ENOENT) {
		log_warn("gateway.control", "settings-not-written", "volume=%s err=\"%s\" %s", id,
		    err_str(r), text);
	}
	control_unlock(c);
	json_decref(row);
	free(body);
	free(key);
}

int
control_volume_fetch_settings(
    struct control *c, const char *id, json_t **out, struct control_error *e)
{
	struct objstore_req req = {.op = OBJ_GET, .max_tries = 3};
	struct objstore *store = NULL;
	json_t *row = json_pack("{s:s,s:s*,s:s}", "VolumeId", id, "Bucket", c->conf->volumes_bucket,
	    "Prefix", c->conf->volumes_prefix);
	char text[256] = "", *key = settings_key(row), *buf = xmalloc(SETTINGS_MAX);
	int r = controli_volume_store(c, row, &store, text, sizeof(text));

	*out = NULL;
	if (r == 0) {
		req.key = key;
		req.buf = buf;
		req.buf_cap = SETTINGS_MAX;
		control_unlock(c);
		r = controli_store_ask(c, store, &req, FETCH_WAIT_MS);
		control_lock(c);
		if (r == 0)
			*out = json_loadb(buf, req.got, JSON_REJECT_DUPLICATES, NULL);
		objstore_req_clear(&req);
	}
	free(buf);
	free(key);
	json_decref(row);
	if (r == -ENOENT)
		return control_fail(e, "VolumeNotFound", "The specified volume was not found.");
	if (r < 0)
		return control_fail(e, "VolumeNotFound",
		    "The specified volume was not found: the bucket of the volumes: %s.",
		    text[0] != '\0' ? text : err_str(r));
	if (json_is_object(*out) && strcmp(controli_row_string(*out, "VolumeId"), id) == 0)
		return 0;
	json_decref(*out);
	*out = NULL;
	return control_fail(e, "VolumeNotFound",
	    "The specified volume was not found: its settings.json in the bucket is damaged.");
}

/* --- one step ----------------------------------------------------------------------------------------------- */

/* Locked. Does another volume that is on its way out still hold the target's name? */
static bool
must_wait(struct control *c, const struct control_volume *v)
{
	struct list *l;

	list_for_each(l, &c->volumes)
	{
		struct control_volume *o = container_of(l, struct control_volume, link);

		if (o != v && o->phase == VOLUME_DELETING && !o->is_local_gone &&
		    (o->volume != NULL || o->is_busy) &&
		    strcmp(controli_row_string(o->row, "TargetName"),
			controli_row_string(v->row, "TargetName")) == 0)
			return true;
	}
	return false;
}

/* Work queue, unlocked. */
static void
step(struct control *c, const char *id)
{
	struct control_volume *v;
	enum volume_phase phase;
	bool is_open;

	control_lock(c);
	v = control_volume_by_id(c, id);
	if (v == NULL || v->is_busy || c->closing || !has_step(v) || must_wait(c, v)) {
		control_unlock(c);
		return;
	}
	v->is_busy = true;
	v->tried_ms = clock_mono_ms();
	phase = v->phase;
	is_open = v->volume != NULL;
	control_unlock(c);
	/* What is to be detached or destroyed is opened first: only then is its state in our hands. */
	if (!is_open)
		step_open(c, id);
	if (phase == VOLUME_DETACHING)
		step_detach(c, id);
	else if (phase == VOLUME_DELETING)
		step_destroy(c, id);
	else
		step_settings(c, id);
	control_lock(c);
	v = control_volume_by_id(c, id);
	if (v != NULL) {
		v->is_busy = false;
		if (v->phase != phase && v->phase > VOLUME_SERVING)
			controli_volume_kick(c, v);
	}
	control_unlock(c);
}

/* --- another configuration -------------------------------------------------------------------------------------------- */

/* Work queue, unlocked. */
static void
take_conf(struct control *c, const char *id)
{
	struct cw_volume *volume = cw_volume_by_id(id);
	struct objstore *store = NULL;
	struct control_volume *v;
	char text[256] = "";

	if (volume == NULL) /* its next opening takes them */
		return;
	control_lock(c);
	v = control_volume_by_id(c, id);
	if (v != NULL && !c->closing) {
		if (controli_volume_store(c, v->row, &store, text, sizeof(text)) < 0)
			log_err("gateway.control", "credentials-not-taken", "volume=%s err=\"%s\"",
			    id, text);
		else
			cw_volume_replace_store(volume, store);
		controli_volume_change(c, v);
	}
	control_unlock(c);
	cw_volume_put(volume);
}

void
controli_volumes_reload(struct control *c)
{
	struct list *l;

	list_for_each(l, &c->volumes)
	    controli_submit(c, container_of(l, struct control_volume, link)->id, take_conf);
}
