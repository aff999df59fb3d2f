/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_volume.c - volumes as the control plane has them: rows under "volume", looked up, added,
 * changed, told about.  What takes time happens in steps on the work queue: control_volume_step.c.
 */
#include "gateway/control_volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_int.h"
#include "gateway/control_volume_int.h"

struct list *
control_volumes(struct control *c)
{
	return &c->volumes;
}

struct control_volume *
control_volume_by_id(struct control *c, const char *id)
{
	struct list *l;

	list_for_each(l, &c->volumes)
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (strcmp(v->id, id) == 0)
			return v;
	}
	return NULL;
}

struct control_volume *
control_volume_by_arn(struct control *c, const char *arn, struct control_error *e)
{
	struct list *l;

	list_for_each(l, &c->volumes)
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->phase != VOLUME_DELETING && strcmp(v->arn, arn) == 0)
			return v;
	}
	control_fail(e, "VolumeNotFound", "The specified volume was not found.");
	return NULL;
}

struct control_volume *
control_volume_by_target(struct control *c, const char *arn, struct control_error *e)
{
	struct list *l;

	list_for_each(l, &c->volumes)
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->phase < VOLUME_DETACHED && strcmp(v->target_arn, arn) == 0)
			return v;
	}
	control_fail(e, "TargetNotFound", "The specified target was not found.");
	return NULL;
}

struct control_volume *
control_volume_by_name(struct control *c, const char *name)
{
	struct list *l;

	list_for_each(l, &c->volumes)
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->phase != VOLUME_DELETING &&
		    (strcmp(v->id, name) == 0 || strcmp(v->arn, name) == 0 ||
			strcmp(controli_row_string(v->row, "TargetName"), name) == 0))
			return v;
	}
	return NULL;
}

void
control_volume_new_id(char out[CW_VOLUME_ID_MAX])
{
	uint8_t b[9];
	char hex[19];

	random_bytes(b, sizeof(b));
	digest_hex(b, sizeof(b), hex);
	for (char *p = hex; *p != '\0'; p++)
		if (*p >= 'a')
			*p = (char)(*p - 'a' + 'A');
	snprintf(out, CW_VOLUME_ID_MAX, "vol-%.17s", hex);
}

struct cw_volume *
controli_volume_ref(const struct control_volume *v)
{
	return v->phase == VOLUME_DETACHED ? NULL : cw_volume_by_id(v->id);
}

/* --- rows ------------------------------------------------------------------------------------------ */

static const char *const phases[] = {
    [VOLUME_CREATING] = "CREATING",
    [VOLUME_SERVING] = "SERVING",
    [VOLUME_DETACHING] = "DETACHING",
    [VOLUME_DETACHED] = "DETACHED",
    [VOLUME_DELETING] = "DELETING",
};

static enum volume_phase
phase_of(const json_t *row)
{
	const char *name = controli_row_string(row, "Phase");

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
		if (strcmp(phases[i], name) == 0)
			return (enum volume_phase)i;
	return VOLUME_SERVING;
}

void
controli_volume_set_row(struct control_volume *v, json_t *row)
{
	json_decref(v->row);
	v->row = row;
	v->id = controli_row_string(row, "VolumeId");
	v->arn = controli_row_string(row, "VolumeARN");
	v->gateway_arn = controli_row_string(row, "GatewayARN");
	v->target_arn = controli_row_string(row, "TargetARN");
	v->space_id = (uint32_t)json_integer_value(json_object_get(row, "SpaceId"));
	v->phase = phase_of(row);
}

int
controli_volume_store_row(struct control *c, struct control_volume *v, json_t *row)
{
	int r = state_put(c->state, "volume", v->id, row);

	if (r == 0)
		controli_volume_set_row(v, json_incref(row));
	json_decref(row);
	return r;
}

int
controli_volume_set_phase(struct control *c, struct control_volume *v, enum volume_phase phase)
{
	json_t *row = json_copy(v->row);

	json_object_set_new(row, "Phase", json_string(phases[phase]));
	return controli_volume_store_row(c, v, row);
}

int
control_volume_put(struct control *c, struct control_volume *v, json_t *row, bool is_public,
    struct control_error *e)
{
	int r;

	if (is_public)
		json_object_set_new(row, "SettingsDue", json_true());
	r = controli_volume_store_row(c, v, row);
	if (r < 0)
		return control_fail_internal(e, r, "the index takes no changes");
	controli_volume_change(c, v);
	if (is_public)
		controli_volume_kick(c, v);
	return 0;
}

static struct control_volume *
volume_new(struct control *c, json_t *row)
{
	struct control_volume *v = xcalloc(1, sizeof(*v));

	controli_volume_set_row(v, row);
	list_add_tail(&c->volumes, &v->link);
	return v;
}

/* Row and the next space's number in one transaction; row is taken. */
static int
store_new(struct control *c, struct control_volume *v, json_t *row)
{
	json_t *identity =
	    json_pack("{s:s,s:i}", "Id", c->appliance_id, "NextSpaceId", (int)c->next_space_id + 1);
	struct state_change changes[2] = {{"volume", controli_row_string(row, "VolumeId"), row},
	    {"appliance", "identity", identity}};
	int r = state_write(c->state, changes, 2);

	json_decref(identity);
	if (r < 0) {
		json_decref(row);
		return r;
	}
	c->next_space_id++;
	if (v == NULL)
		v = volume_new(c, row);
	else
		controli_volume_set_row(v, row);
	controli_volume_kick(c, v);
	return 0;
}

/* What only shows when the row is a volume's settings. */
static int
check(struct control *c, const json_t *row, struct control_error *e)
{
	struct cw_volume_conf conf;
	char text[256];
	int r = control_volume_conf(row, c->conf, &conf, text, sizeof(text));

	cw_volume_conf_free(&conf);
	return r < 0 ? control_fail(e, "InvalidParameters", "%s", text) : 0;
}

int
control_volume_add(struct control *c, json_t *row, struct control_error *e)
{
	int r;

	json_object_set_new(row, "SpaceId", json_integer(c->next_space_id));
	json_object_set_new(row, "Phase", json_string(phases[VOLUME_CREATING]));
	json_object_set_new(row, "SettingsDue", json_true());
	if (check(c, row, e) < 0) {
		json_decref(row);
		return -EINVAL;
	}
	r = store_new(c, NULL, row);
	return r < 0 ? control_fail_internal(e, r, "the index takes no changes") : 0;
}

int
control_volume_attach(
    struct control *c, struct control_volume *v, json_t *row, struct control_error *e)
{
	int r;

	json_object_set_new(row, "SpaceId", json_integer(c->next_space_id));
	json_object_set_new(row, "Phase", json_string(phases[VOLUME_CREATING]));
	json_object_set_new(row, "SettingsDue", json_true());
	json_object_set_new(row, "Origin", json_pack("{s:s}", "Source", "BUCKET"));
	json_object_del(row, "Made");
	if (check(c, row, e) < 0) {
		json_decref(row);
		return -EINVAL;
	}
	if (v != NULL && v->is_busy) {
		json_decref(row);
		return control_fail(
		    e, "VolumeNotReady", "The specified volume is still detaching.");
	}
	r = store_new(c, v, row);
	return r < 0 ? control_fail_internal(e, r, "the index takes no changes") : 0;
}

/* --- status ------------------------------------------------------------------------------------------ */

const char *
control_volume_attachment(const struct control_volume *v)
{
	if (v->phase == VOLUME_DETACHED)
		return "DETACHED";
	return v->phase == VOLUME_DETACHING ? "DETACHING" : "ATTACHED";
}

uint64_t
control_volume_size(const struct control_volume *v)
{
	if (v->volume != NULL)
		return cw_volume_size(v->volume);
	return (uint64_t)json_integer_value(json_object_get(v->row, "VolumeSizeInBytes"));
}

const char *
control_volume_status(struct control *c, struct control_volume *v, struct cw_volume_status *st)
{
	bool is_stored = strcmp(controli_row_string(v->row, "VolumeType"), "STORED") == 0;
	struct cw_volume *volume;

	memset(st, 0, sizeof(*st));
	st->progress = -1;
	st->size_bytes = control_volume_size(v);
	volume = controli_volume_ref(v);
	if (volume != NULL) {
		cw_volume_get_status(volume, st);
		cw_volume_put(volume);
	}
	if (v->phase == VOLUME_DELETING)
		return "DELETED";
	if (v->phase == VOLUME_DETACHED)
		return "DETACHED";
	if (volume == NULL) {
		snprintf(st->reason, sizeof(st->reason), "%s", v->reason);
		return v->phase == VOLUME_CREATING || v->reason[0] == '\0' ? "CREATING"
									   : "IRRECOVERABLE";
	}
	if (st->reason[0] == '\0')
		snprintf(st->reason, sizeof(st->reason), "%s", v->reason);
	if (strcmp(st->state, "AVAILABLE") == 0 &&
	    !control_disk_has(c, v->gateway_arn, is_stored ? DISK_WORKING : DISK_BUFFER))
		return is_stored ? "WORKING STORAGE NOT CONFIGURED"
				 : "UPLOAD BUFFER NOT CONFIGURED";
	return st->state;
}

void
control_volume_each_initiator(
    struct control_volume *v, void (*fn)(void *, const struct cw_target_session *), void *arg)
{
	struct cw_volume *volume = controli_volume_ref(v);

	if (volume == NULL)
		return;
	cw_target_each_session(volume, fn, arg);
	cw_volume_put(volume);
}

static void
count(void *arg, const struct cw_target_session *s)
{
	(void)s;
	++*(size_t *)arg;
}

static void
end_session(void *arg, const struct cw_target_session *s)
{
	(void)arg;
	s->end((struct cw_target_session *)(uintptr_t)s);
}

static bool
is_in_use(struct control_volume *v)
{
	size_t n = 0;

	control_volume_each_initiator(v, count, &n);
	return n > 0;
}

/* --- delete, detach, resize ------------------------------------------------------------------------------ */

int
control_volume_delete(struct control *c, struct control_volume *v, struct control_error *e)
{
	json_t *row;
	int r;

	if (is_in_use(v))
		return control_fail(e, "VolumeInUse",
		    "The specified volume is in use: initiators are logged in to it.");
	row = json_copy(v->row);
	/* it was given up so that others can have it, and may be theirs by now */
	if (v->phase == VOLUME_DETACHED)
		json_object_set_new(row, "LeaveBucket", json_true());
	json_object_set_new(row, "Phase", json_string(phases[VOLUME_DELETING]));
	r = controli_volume_store_row(c, v, row);
	if (r < 0)
		return control_fail_internal(e, r, "the index takes no changes");
	controli_volume_kick(c, v);
	return 0;
}

int
control_volume_detach(
    struct control *c, struct control_volume *v, bool force, bool discard, struct control_error *e)
{
	int r;

	if (v->phase == VOLUME_DETACHED)
		return control_fail(
		    e, "InvalidParameters", "The specified volume is not attached to a gateway.");
	if (v->phase == VOLUME_CREATING && v->volume == NULL)
		return control_fail(e, "VolumeNotReady", "The specified volume is not ready.");
	if (!force && !discard && is_in_use(v))
		return control_fail(e, "VolumeInUse",
		    "The specified volume is in use: initiators are logged in to it; log them out, "
		    "or use ForceDetach.");
	if (v->phase != VOLUME_DETACHING &&
	    (r = controli_volume_set_phase(c, v, VOLUME_DETACHING)) < 0)
		return control_fail_internal(e, r, "the index takes no changes");
	v->is_discarding |= discard;
	control_volume_each_initiator(v, end_session, NULL);
	controli_volume_kick(c, v);
	return 0;
}

int
control_volume_resize(
    struct control *c, struct control_volume *v, uint64_t size_bytes, struct control_error *e)
{
	json_t *row;
	int r;

	if (v->volume == NULL || v->phase != VOLUME_SERVING)
		return control_fail(e, "VolumeNotReady", "The specified volume is not ready.");
	r = cw_volume_resize(v->volume, size_bytes);
	if (r == -EINVAL)
		return control_fail(e, "InvalidParameters",
		    "A volume can only grow, in steps of 4,096 bytes, up to %llu TiB.",
		    (unsigned long long)((cw_volume_conf(v->volume)->mode == CW_VOLUME_STORED
						 ? CW_VOLUME_STORED_MAX
						 : CW_VOLUME_CACHED_MAX) >>
					 40));
	if (r < 0)
		return control_fail_internal(e, r, "resize");
	row = json_copy(
	    v->row); /* the volume's own row is the truth; this one is what Describe says */
	json_object_set_new(row, "VolumeSizeInBytes", json_integer((json_int_t)size_bytes));
	r = control_volume_put(c, v, row, true, e);
	if (r == 0)
		controli_volume_told(c, v, "volume-resized",
		    json_pack("{s:I}", "size-bytes", (json_int_t)size_bytes));
	return r;
}

/* --- events -------------------------------------------------------------------------------------------------- */

struct volume_names *
controli_volume_names(struct control *c, const json_t *row)
{
	struct volume_names *n = xcalloc(1, sizeof(*n));

	n->control = c;
	n->id = xstrdup(controli_row_string(row, "VolumeId"));
	n->arn = xstrdup(controli_row_string(row, "VolumeARN"));
	n->gateway_arn = xstrdup(controli_row_string(row, "GatewayARN"));
	n->target_name = xstrdup(controli_row_string(row, "TargetName"));
	return n;
}

void
controli_volume_names_free(struct volume_names *n)
{
	if (n == NULL)
		return;
	free(n->id);
	free(n->arn);
	free(n->gateway_arn);
	free(n->target_name);
	free(n);
}

static json_t *
detail_of(const struct volume_names *n, json_t *json)
{
	json_object_set_new(json, "volume-id", json_string(n->id));
	json_object_set_new(json, "volume-arn", json_string(n->arn));
	json_object_set_new(json, "gateway-arn", json_string(n->gateway_arn));
	json_object_set_new(json, "target-name", json_string(n->target_name));
	return json;
}

void
controli_volume_told(struct control *c, struct control_volume *v, const char *type, json_t *detail)
{
	struct volume_names *n = controli_volume_names(c, v->row);

	state_event(c->state, type, detail_of(n, detail));
	controli_volume_names_free(n);
}

/* env.event of every volume; takes no lock but the event log's. */
void
controli_volume_event(void *arg, struct cw_volume *volume, const char *type, const char *json)
{
	struct volume_names *n = arg;
	json_t *detail = json_loads(json != NULL ? json : "{}", 0, NULL);

	(void)volume;
	if (!json_is_object(detail)) {
		json_decref(detail);
		detail = json_pack("{s:s%}", "text", json, strlen(json));
		if (detail == NULL)
			detail = json_object();
	}
	state_event(n->control->state, type, detail_of(n, detail));
	if (strncmp(type, "snapshot-", 9) == 0)
		controli_submit(n->control, n->id, controli_snapshots_look);
}

/* --- start and stop --------------------------------------------------------------------------------------------- */

static int
load_one(void *arg, const char *key, const json_t *row)
{
	struct control *c = arg;
	struct control_volume *v = volume_new(c, json_deep_copy(row));

	(void)key;
	if (v->space_id >= c->next_space_id)
		c->next_space_id = v->space_id + 1;
	controli_volume_load(c, v);
	return 0;
}

int
controli_volumes_load(struct control *c)
{
	return state_each(c->state, "volume", load_one, c);
}

void
controli_volume_free(struct control_volume *v)
{
	list_del(&v->link);
	controli_volume_names_free(v->names);
	json_decref(v->row);
	free(v);
}

void
controli_volumes_close(struct control *c)
{
	struct list *l, *tmp;

	if (c->workq != NULL)
		workq_drain(c->workq);
	list_for_each_safe(l, tmp, &c->volumes)
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->volume != NULL)
			cw_volume_close(v->volume);
		controli_volume_free(v);
	}
	controli_snapshots_free(c);
}
