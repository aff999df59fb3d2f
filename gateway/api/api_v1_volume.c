/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_v1_volume.c - volumes and snapshots under /v1 and in /metrics:
 *
 *   GET    volumes                            all of them, as in the status
 *   GET    volumes/V                          one; V is an id, an ARN or a target name
 *   GET    volumes/V/recovery-points?max=N    what can be restored, newest first
 *   GET    volumes/V/initiators               sessions
 *   POST   volumes/V/resize?size=BYTES        grow
 *   POST   volumes/V/drain                    upload now
 *   POST   volumes/V/detach?discard           give it up with what is not uploaded
 *   GET    snapshots?volume=V                 all, or one volume's
 *   DELETE snapshots/ID
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"
#include "gateway/base/clock.h"
#include "gateway/base/metrics.h"

#define POINTS_DEFAULT 100
#define POINTS_MAX 10000

static double
age_s(int64_t since_ns)
{
	int64_t now = clock_real_ns();

	return since_ns == 0 || now < since_ns ? 0.0 : (double)(now - since_ns) / 1e9;
}

static void
count_session(void *arg, const struct cw_target_session *s)
{
	(void)s;
	++*(int *)arg;
}

static void
set(json_t *o, const char *name, uint64_t v)
{
	json_object_set_new(o, name, json_integer((json_int_t)v));
}

json_t *
api_v1_volume(struct control *c, struct control_volume *v)
{
	struct cw_volume_status st;
	const char *status = control_volume_status(c, v, &st);
	const char *iqn = strstr(v->target_arn, "/target/");
	int sessions = 0;
	json_t *o;

	control_volume_each_initiator(v, count_session, &sessions);
	o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:b}", "id", v->id, "arn",
	    v->arn, "gateway_arn", v->gateway_arn, "name", api_row_string(v->row, "TargetName"),
	    "iqn", iqn != NULL ? iqn + strlen("/target/") : "", "type",
	    api_row_string(v->row, "VolumeType"), "bucket", api_row_string(v->row, "Bucket"),
	    "prefix", api_row_string(v->row, "Prefix"), "status", status, "attachment",
	    control_volume_attachment(v), "owner", st.is_owner, "store_reachable",
	    st.is_store_reachable);
	json_object_set_new(o, "reason", json_string(st.reason));
	if (st.progress >= 0)
		json_object_set_new(o, "progress", json_real(st.progress));
	set(o, "size_bytes", st.size_bytes);
	set(o, "used_bytes", st.used_bytes);
	set(o, "local_bytes", st.local_bytes);
	set(o, "dirty_bytes", st.dirty_bytes);
	json_object_set_new(o, "oldest_dirty_s", json_real(age_s(st.oldest_dirty_ns)));
	if (st.recovery_point_ns != 0) {
		json_object_set_new(
		    o, "recovery_point", json_real((double)st.recovery_point_ns / 1e9));
		json_object_set_new(
		    o, "recovery_point_age_s", json_real(age_s(st.recovery_point_ns)));
	}
	set(o, "epoch", st.epoch);
	set(o, "uploaded_bytes", st.uploaded_bytes);
	set(o, "uploaded_objects", st.uploaded_objects);
	set(o, "remote_bytes", st.remote_bytes);
	set(o, "remote_live_bytes", st.remote_live_bytes);
	set(o, "read_bytes", st.read_bytes);
	set(o, "write_bytes", st.write_bytes);
	set(o, "sessions", (uint64_t)sessions);
	set(o, "chap_initiators", json_array_size(json_object_get(v->row, "Chap")));
	return o;
}

static json_t *
all_volumes(struct control *c)
{
	json_t *list = json_array();
	struct list *l;

	list_for_each(l, control_volumes(c))
	{
		json_array_append_new(
		    list, api_v1_volume(c, container_of(l, struct control_volume, link)));
	}
	return json_pack("{s:o}", "volumes", list);
}

/* --- one volume ----------------------------------------------------------------------------------------- */

static void
add_point(void *arg, uint64_t epoch, int64_t time_ns)
{
	char *when = api_time(time_ns);

	json_array_append_new(arg, json_pack("{s:I,s:f,s:s}", "epoch", (json_int_t)epoch, "time",
				       (double)time_ns / 1e9, "when", when));
	free(when);
}

static void
add_session(void *arg, const struct cw_target_session *s)
{
	json_t *o = json_pack("{s:s,s:s}", "initiator", s->initiator, "peer", s->peer);

	if (o != NULL)
		json_array_append_new(arg, o);
}

static uint64_t
number(const struct api_request *r, const char *name, uint64_t otherwise)
{
	char *text = api_query(r->query, name);
	uint64_t v = otherwise;

	if (text != NULL && text[0] != '\0' && strlen(text) < 19 &&
	    strspn(text, "0123456789") == strlen(text))
		v = strtoull(text, NULL, 10);
	free(text);
	return v;
}

static bool
has(const struct api_request *r, const char *name)
{
	char *text = api_query(r->query, name);
	bool is_there = text != NULL;

	free(text);
	return is_there;
}

static void
get_volume(struct control *c, struct control_volume *v, const struct api_request *r,
    const char *what, struct api_reply *out)
{
	uint64_t max = number(r, "max", POINTS_DEFAULT);
	json_t *list;

	if (what[0] == '\0') {
		api_v1_ok(out, api_v1_volume(c, v));
		return;
	}
	list = json_array();
	if (strcmp(what, "recovery-points") == 0) {
		if (v->volume != NULL)
			cw_volume_each_recovery_point(v->volume,
			    (unsigned int)(max < POINTS_MAX ? max : POINTS_MAX), add_point, list);
		api_v1_ok(out, json_pack("{s:o}", "recovery_points", list));
	} else if (strcmp(what, "initiators") == 0) {
		control_volume_each_initiator(v, add_session, list);
		api_v1_ok(out, json_pack("{s:o}", "initiators", list));
	} else {
		json_decref(list);
		api_v1_fail(out, "ResourceNotFoundException", "no such page of a volume");
	}
}

static void
post_volume(struct control *c, struct control_volume *v, const struct api_request *r,
    const char *what, struct api_reply *out)
{
	struct control_error e = {0};
	int err = 0;

	if (strcmp(what, "resize") == 0) {
		err = control_volume_resize(c, v, number(r, "size", 0), &e);
	} else if (strcmp(what, "detach") == 0) {
		err = control_volume_detach(c, v, true, has(r, "discard"), &e);
	} else if (strcmp(what, "drain") == 0) {
		if (v->volume != NULL)
			cw_volume_drain(v->volume, NULL, NULL);
	} else {
		api_v1_fail(out, "ResourceNotFoundException", "no such command of a volume");
		return;
	}
	if (err < 0)
		api_reply_error(out, &e);
	else
		api_v1_ok(out, NULL);
}

/* "NAME/WHAT": NAME decoded, an ARN holds slashes of its own as %2F. */
static void
one_volume(struct control *c, const struct api_request *r, const char *path, struct api_reply *out)
{
	size_t n = strcspn(path, "/");
	char *name = s3_uri_decode(path, n);
	struct control_volume *v = name != NULL ? control_volume_by_name(c, name) : NULL;
	const char *what = path[n] == '/' ? path + n + 1 : "";

	free(name);
	if (v == NULL)
		api_v1_fail(out, "ResourceNotFoundException", "no such volume");
	else if (strcmp(r->method, "GET") == 0)
		get_volume(c, v, r, what, out);
	else if (strcmp(r->method, "POST") == 0)
		post_volume(c, v, r, what, out);
	else
		api_v1_fail(out, "ValidationException", "only GET and POST");
}

/* --- snapshots -------------------------------------------------------------------------------------------- */

static json_t *
snapshot_json(const struct control_snapshot *s)
{
	int64_t ns = json_integer_value(json_object_get(s->row, "StartNs"));
	char *when = api_time(ns);
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:f,s:s,s:O?,s:b,s:b}", "id", s->id,
	    "volume_id", s->volume_id, "volume_arn", api_row_string(s->row, "VolumeARN"), "state",
	    json_object_get(s->row, "Deleting") != NULL ? "deleting"
							: api_row_string(s->row, "State"),
	    "description", api_row_string(s->row, "Description"), "time", (double)ns / 1e9, "when",
	    when, "size_bytes", json_object_get(s->row, "VolumeSizeInBytes"), "encrypted",
	    json_object_get(s->row, "KeyName") != NULL, "scheduled",
	    json_is_true(json_object_get(s->row, "Scheduled")));
	json_t *tags = json_object_get(s->row, "Tags");

	json_object_set_new(o, "tags", json_is_array(tags) ? json_incref(tags) : json_array());
	free(when);
	return o;
}

static void
get_snapshots(struct control *c, const struct api_request *r, struct api_reply *out)
{
	char *of = api_query(r->query, "volume");
	struct control_volume *v = of != NULL ? control_volume_by_name(c, of) : NULL;
	const char *id = v != NULL ? v->id : of;
	json_t *list = json_array();
	struct list *l;

	list_for_each(l, control_snapshots(c))
	{
		struct control_snapshot *s = container_of(l, struct control_snapshot, link);

		if (id == NULL || strcmp(s->volume_id, id) == 0)
			json_array_append_new(list, snapshot_json(s));
	}
	free(of);
	api_v1_ok(out, json_pack("{s:o}", "snapshots", list));
}

static void
one_snapshot(struct control *c, const struct api_request *r, const char *id, struct api_reply *out)
{
	struct control_snapshot *s = control_snapshot_by_id(c, id);
	struct control_error e = {0};

	if (s == NULL)
		api_v1_fail(out, "ResourceNotFoundException", "no such snapshot");
	else if (strcmp(r->method, "GET") == 0)
		api_v1_ok(out, snapshot_json(s));
	else if (strcmp(r->method, "DELETE") != 0)
		api_v1_fail(out, "ValidationException", "only GET and DELETE");
	else if (control_snapshot_delete(c, s, &e) < 0)
		api_reply_error(out, &e);
	else
		api_v1_ok(out, NULL);
}

void
api_v1_volumes(
    struct control *c, const struct api_request *r, const char *what, struct api_reply *out)
{
	bool is_get = strcmp(r->method, "GET") == 0;

	if (is_get && strcmp(what, "volumes") == 0)
		api_v1_ok(out, all_volumes(c));
	else if (strncmp(what, "volumes/", 8) == 0)
		one_volume(c, r, what + 8, out);
	else if (is_get && strcmp(what, "snapshots") == 0)
		get_snapshots(c, r, out);
	else if (strncmp(what, "snapshots/", 10) == 0)
		one_snapshot(c, r, what + 10, out);
	else
		api_v1_fail(out, "ResourceNotFoundException", "no such page below /v1");
}

/* --- metrics ---------------------------------------------------------------------------------------------- */

static void
gauge(const char *name, const char *labels, const char *help, uint64_t v)
{
	metric_set(metrics_gauge(name, labels, help), (int64_t)v);
}

static void
metrics_of(struct control *c, struct control_volume *v)
{
	struct cw_volume_status st;
	const char *status = control_volume_status(c, v, &st);
	char *labels = xasprintf("volume=\"%s\"", v->id);
	int sessions = 0;

	control_volume_each_initiator(v, count_session, &sessions);
	gauge("causeway_volume_available", labels, "1 when the volume is as it should be.",
	    strcmp(status, "AVAILABLE") == 0);
	gauge("causeway_volume_owner", labels, "1 when the image in the bucket is ours to write.",
	    st.is_owner);
	gauge("causeway_volume_sessions", labels, "iSCSI sessions logged in.", (uint64_t)sessions);
	gauge("causeway_volume_size_bytes", labels, "Size of the volume.", st.size_bytes);
	gauge("causeway_volume_used_bytes", labels, "Bytes that hold data.", st.used_bytes);
	gauge("causeway_volume_local_bytes", labels, "Bytes in the cache.", st.local_bytes);
	gauge("causeway_volume_dirty_bytes", labels, "Bytes to be uploaded.", st.dirty_bytes);
	gauge("causeway_volume_oldest_dirty_seconds", labels, "Age of the oldest of them.",
	    (uint64_t)age_s(st.oldest_dirty_ns));
	gauge("causeway_volume_recovery_point_age_seconds", labels,
	    "Age of the newest recovery point in the bucket.",
	    (uint64_t)age_s(st.recovery_point_ns));
	gauge("causeway_volume_read_bytes", labels, "Bytes read since the start.", st.read_bytes);
	gauge("causeway_volume_write_bytes", labels, "Bytes written since the start.",
	    st.write_bytes);
	gauge("causeway_volume_hit_bytes", labels, "Bytes read from the cache since the start.",
	    st.hit_bytes);
	gauge("causeway_volume_uploaded_bytes", labels, "Bytes uploaded since the start.",
	    st.uploaded_bytes);
	gauge("causeway_volume_uploaded_objects", labels, "Objects uploaded since the start.",
	    st.uploaded_objects);
	gauge("causeway_volume_remote_bytes", labels, "Bytes of its objects in the bucket.",
	    st.remote_bytes);
	gauge("causeway_volume_remote_live_bytes", labels, "Bytes of them that are needed now.",
	    st.remote_live_bytes);
	free(labels);
}

void
api_volume_metrics(struct control *c)
{
	struct list *l;

	list_for_each(l, control_volumes(c))
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->volume != NULL)
			metrics_of(c, v);
	}
}
