/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_v1.c - what the AWS API cannot say: status, uploads, conflicts, events; and two commands, drain
 * and cache/drop.  Signed like the API.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"
#include "gateway/base/clock.h"
#include "gateway/base/metrics.h"

#define EVENTS_DEFAULT 100
#define EVENTS_MAX 10000

/* --- status ------------------------------------------------------------------------------------------ */

/* Bytes a second over the last few seconds, from what the shares report at each call. */
static uint64_t
upload_rate(uint64_t total)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static uint64_t at_ms[2], bytes[2]; /* [0]: 2 to 10 s old, [1]: newer */
	uint64_t now = clock_mono_ms(), rate = 0;

	pthread_mutex_lock(&lock);
	if (at_ms[0] == 0 || total < bytes[0] || now - at_ms[1] > 10000) {
		at_ms[0] = at_ms[1] = now;
		bytes[0] = bytes[1] = total;
	} else if (now - at_ms[1] > 2000) {
		at_ms[0] = at_ms[1];
		bytes[0] = bytes[1];
		at_ms[1] = now;
		bytes[1] = total;
	}
	if (now > at_ms[0])
		rate = (total - bytes[0]) * 8000 / (now - at_ms[0]);
	pthread_mutex_unlock(&lock);
	return rate;
}

static double
age_s(int64_t since_ns)
{
	int64_t now = clock_real_ns();

	return since_ns == 0 || now < since_ns ? 0.0 : (double)(now - since_ns) / 1e9;
}

static json_t *
share_status(struct control *c, struct control_share *s, uint64_t *uploaded)
{
	const json_t *row = s->row;
	struct cw_share_status st;
	char reason[256], text[128], *bucket, *prefix;
	const char *status = control_share_status(c, s);
	json_t *out;

	memset(&st, 0, sizeof(st));
	if (s->share != NULL)
		cw_share_get_status(s->share, &st);
	*uploaded += st.uploaded_bytes;
	control_share_reason(s, reason, sizeof(reason));
	if (control_location_parse(json_string_value(json_object_get(row, "LocationARN")), &bucket,
		&prefix, text, sizeof(text)) < 0)
		snprintf(reason, sizeof(reason), "%s", text);
	out = json_pack("{s:s,s:s,s:O?,s:s,s:s,s:s,s:b,s:s,s:s}", "id", s->id, "arn", s->arn,
	    "name", json_object_get(row, "FileShareName"), "gateway_arn", s->gateway_arn, "bucket",
	    bucket != NULL ? bucket : "", "prefix", prefix != NULL ? prefix : "", "available",
	    strcmp(status, "AVAILABLE") == 0, "status", status, "reason", reason);
	free(bucket);
	free(prefix);
	json_object_set_new(out, "nodes", json_integer((json_int_t)st.nodes));
	json_object_set_new(out, "files", json_integer((json_int_t)st.files));
	json_object_set_new(out, "pending_files", json_integer((json_int_t)st.pending_files));
	json_object_set_new(out, "pending_bytes", json_integer((json_int_t)st.pending_bytes));
	json_object_set_new(out, "oldest_dirty_s", json_real(age_s(st.oldest_dirty_ns)));
	json_object_set_new(out, "failing_files", json_integer((json_int_t)st.failing_files));
	json_object_set_new(out, "uploaded_bytes", json_integer((json_int_t)st.uploaded_bytes));
	json_object_set_new(out, "uploaded_objects", json_integer((json_int_t)st.uploaded_objects));
	json_object_set_new(out, "conflicts", json_integer((json_int_t)st.conflicts));
	return out;
}

static json_t *
cache_status(struct control *c)
{
	struct cache_stats st;

	memset(&st, 0, sizeof(st));
	cache_get_stats(control_cache(c), &st);
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "capacity_bytes",
	    (json_int_t)st.capacity_bytes, "used_bytes", (json_int_t)st.used_bytes, "dirty_bytes",
	    (json_int_t)st.dirty_bytes, "dirty_max_bytes", (json_int_t)st.dirty_max_bytes,
	    "clean_bytes", (json_int_t)st.clean_bytes, "hit_bytes", (json_int_t)st.hit_bytes,
	    "miss_bytes", (json_int_t)st.miss_bytes, "failing", st.failing);
}

static json_t *
status(struct control *c)
{
	json_t *gateways = json_array(), *shares = json_array(), *volumes = json_array();
	uint64_t uploaded = 0;
	struct list *l;

	list_for_each(l, control_gateways(c))
	{
		const json_t *row = container_of(l, struct control_gateway, link)->row;

		json_array_append_new(gateways,
		    json_pack("{s:O?,s:O?,s:O?,s:O?}", "id", json_object_get(row, "GatewayId"),
			"arn", json_object_get(row, "GatewayARN"), "name",
			json_object_get(row, "GatewayName"), "type",
			json_object_get(row, "GatewayType")));
	}
	list_for_each(l, control_shares(c))
	{
		json_array_append_new(shares,
		    share_status(c, container_of(l, struct control_share, link), &uploaded));
	}
	list_for_each(l, control_volumes(c))
	{
		json_t *v = api_v1_volume(c, container_of(l, struct control_volume, link));

		uploaded += (uint64_t)json_integer_value(json_object_get(v, "uploaded_bytes"));
		json_array_append_new(volumes, v);
	}
	return json_pack("{s:s,s:s,s:I,s:o,s:o,s:o,s:o,s:I}", "version", CONTROL_VERSION,
	    "appliance_id", control_appliance_id(c), "uptime_s", (json_int_t)control_uptime_s(c),
	    "gateways", gateways, "cache", cache_status(c), "shares", shares, "volumes", volumes,
	    "upload_rate_bps", (json_int_t)upload_rate(uploaded));
}

/* --- uploads, events ------------------------------------------------------------------------------------ */

struct uploads {
	json_t *list;
	const char *share;
};

static void
add_upload(void *arg, const struct cw_upload_info *u)
{
	struct uploads *a = arg;
	json_t *o = json_pack("{s:s,s:s*,s:s*,s:I,s:I,s:f,s:s,s:i}", "share", a->share, "path",
	    u->path, "what", u->what, "size", (json_int_t)u->size, "done_bytes",
	    (json_int_t)u->done_bytes, "age_s", age_s(u->since_ns), "error",
	    u->last_error < 0 ? err_str(u->last_error) : "", "tries", (int)u->tries);

	if (o != NULL) /* NULL: a name that is no UTF-8 */
		json_array_append_new(a->list, o);
}

static const char *
share_name(const struct control_share *s)
{
	const char *name = json_string_value(json_object_get(s->row, "FileShareName"));

	return name != NULL ? name : "";
}

/* Call fn for the share that `share` names (export name or id), for all when it is NULL. */
static size_t
each_share(struct control *c, const char *share,
    void (*fn)(void *arg, struct control *c, struct control_share *s), void *arg)
{
	struct list *l;
	size_t n = 0;

	list_for_each(l, control_shares(c))
	{
		struct control_share *s = container_of(l, struct control_share, link);

		if (share != NULL && strcmp(share, share_name(s)) != 0 && strcmp(share, s->id) != 0)
			continue;
		n++;
		if (s->share != NULL)
			fn(arg, c, s);
	}
	return n;
}

struct uploads_arg {
	json_t *list;
	unsigned int max;
};

static void
uploads_of(void *arg, struct control *c, struct control_share *s)
{
	struct uploads_arg *a = arg;
	struct uploads u = {a->list, share_name(s)};

	(void)c;
	if (json_array_size(a->list) < a->max)
		cw_share_each_upload(
		    s->share, a->max - (unsigned int)json_array_size(a->list), add_upload, &u);
}

static void
drain(void *arg, struct control *c, struct control_share *s)
{
	(void)arg;
	(void)c;
	cw_share_drain(s->share);
}

static void
drain_volumes(struct control *c)
{
	struct list *l;

	list_for_each(l, control_volumes(c))
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->volume != NULL)
			cw_volume_drain(v->volume, NULL, NULL);
	}
}

static int
add_event(void *arg, uint64_t id, int64_t time_ns, const char *type, const json_t *detail)
{
	json_array_append_new(arg, json_pack("{s:I,s:f,s:s,s:O}", "id", (json_int_t)id, "time",
				       (double)time_ns / 1e9, "type", type, "detail", detail));
	return 0;
}

/* --- routing --------------------------------------------------------------------------------------------- */

static unsigned int
number(const char *query, const char *name, unsigned int otherwise, unsigned int max)
{
	char *text = api_query(query, name);
	unsigned long v = otherwise;

	if (text != NULL && text[0] != '\0' && strspn(text, "0123456789") == strlen(text) &&
	    strlen(text) < 10)
		v = strtoul(text, NULL, 10);
	free(text);
	return v > max ? max : (unsigned int)v;
}

void
api_v1_fail(struct api_reply *out, const char *type, const char *text)
{
	struct control_error e = {0};

	api_error(&e, type, "%s", text);
	api_reply_error(out, &e);
}

void
api_v1_ok(struct api_reply *out, json_t *body)
{
	if (body == NULL)
		body = json_object();
	api_reply_json(out, 200, body);
	out->content_type = "application/json";
	json_decref(body);
}

static json_t *
events(struct control *c, const char *type, unsigned int max)
{
	json_t *list = json_array();

	if (state_each_event(control_state(c), type, max, add_event, list) < 0) {
		json_decref(list);
		return NULL;
	}
	return json_pack("{s:o}", "events", list);
}

static void
get(struct control *c, const struct api_request *r, const char *what, struct api_reply *out)
{
	unsigned int max = number(r->query, "max", EVENTS_DEFAULT, EVENTS_MAX);
	char *share = api_query(r->query, "share"), *type = api_query(r->query, "type");
	struct uploads_arg uploads = {NULL, max};
	json_t *body = NULL;

	if (strcmp(what, "status") == 0) {
		body = status(c);
	} else if (strcmp(what, "uploads") == 0) {
		uploads.list = json_array();
		if (each_share(c, share, uploads_of, &uploads) > 0 || share == NULL)
			body = json_pack("{s:O}", "uploads", uploads.list);
		json_decref(uploads.list);
	} else if (strcmp(what, "events") == 0) {
		body = events(c, type, max);
	} else if (strcmp(what, "conflicts") == 0) {
		body = events(c, "conflict", max);
		if (body != NULL) {
			json_object_set(body, "conflicts", json_object_get(body, "events"));
			json_object_del(body, "events");
		}
	}
	if (body != NULL)
		api_v1_ok(out, body);
	else
		api_v1_fail(out, "ResourceNotFoundException",
		    "no such page below /v1, or no such share, or the index cannot be read");
	free(share);
	free(type);
}

static void
post(struct control *c, const struct api_request *r, const char *what, struct api_reply *out)
{
	char *share = api_query(r->query, "share");
	int err;

	if (strcmp(what, "drain") == 0) {
		if (share == NULL)
			drain_volumes(c);
		if (each_share(c, share, drain, NULL) == 0 && share != NULL)
			api_v1_fail(out, "ResourceNotFoundException", "no such share");
		else
			api_v1_ok(out, NULL);
	} else if (strcmp(what, "cache/drop") == 0) {
		err = cache_evict_all(control_cache(c));
		if (err < 0)
			api_v1_fail(out, "InternalServerError", err_str(err));
		else
			api_v1_ok(out, NULL);
	} else {
		api_v1_fail(out, "ResourceNotFoundException", "no such command below /v1");
	}
	free(share);
}

void
api_v1(struct control *c, const struct api_request *r, struct api_reply *out)
{
	const char *what = r->path + strlen("/v1/");

	control_lock(c);
	if (strncmp(what, "volumes", 7) == 0 || strncmp(what, "snapshots", 9) == 0)
		api_v1_volumes(c, r, what, out);
	else if (strcmp(r->method, "GET") == 0)
		get(c, r, what, out);
	else if (strcmp(r->method, "POST") == 0)
		post(c, r, what, out);
	else
		api_v1_fail(out, "ValidationException", "only GET and POST");
	control_unlock(c);
}

/* --- metrics ------------------------------------------------------------------------------------------------ */

static void
gauge(const char *name, const char *labels, const char *help, uint64_t v)
{
	metric_set(metrics_gauge(name, labels, help), (int64_t)v);
}

static void
share_metrics(struct control *c, struct control_share *s)
{
	struct cw_share_status st;
	char *labels = xasprintf("share=\"%s\"", share_name(s));

	memset(&st, 0, sizeof(st));
	if (s->share != NULL)
		cw_share_get_status(s->share, &st);
	gauge("causeway_share_available", labels, "1 when the share's bucket answers.",
	    strcmp(control_share_status(c, s), "AVAILABLE") == 0);
	gauge("causeway_share_nodes", labels, "Files, directories and symlinks known.", st.nodes);
	gauge("causeway_share_files", labels, "Files known.", st.files);
	gauge("causeway_share_pending_files", labels,
	    "Nodes that are not in the bucket as they are.", st.pending_files);
	gauge("causeway_share_pending_bytes", labels, "Bytes to be uploaded.", st.pending_bytes);
	gauge("causeway_share_failing_files", labels, "Nodes whose last upload failed.",
	    st.failing_files);
	gauge("causeway_share_oldest_dirty_seconds", labels, "Age of the oldest duty.",
	    (uint64_t)age_s(st.oldest_dirty_ns));
	gauge("causeway_share_uploaded_bytes", labels, "Bytes uploaded since the start.",
	    st.uploaded_bytes);
	gauge("causeway_share_uploaded_objects", labels, "Objects uploaded since the start.",
	    st.uploaded_objects);
	gauge("causeway_share_conflicts", labels, "Conflict copies kept since the start.",
	    st.conflicts);
	free(labels);
}

static void
cache_metrics(struct control *c)
{
	struct cache_stats st;

	memset(&st, 0, sizeof(st));
	cache_get_stats(control_cache(c), &st);
	gauge("causeway_cache_capacity_bytes", NULL, "Most bytes the cache may use.",
	    st.capacity_bytes);
	gauge("causeway_cache_used_bytes", NULL, "Bytes in use, clean and dirty.", st.used_bytes);
	gauge("causeway_cache_dirty_bytes", NULL, "Bytes not uploaded yet.", st.dirty_bytes);
	gauge("causeway_cache_dirty_max_bytes", NULL, "Dirty bytes at which writers wait.",
	    st.dirty_max_bytes);
	gauge("causeway_cache_clean_bytes", NULL, "Bytes that are in the bucket too.",
	    st.clean_bytes);
	gauge("causeway_cache_hit_bytes", NULL, "Bytes read from the cache.", st.hit_bytes);
	gauge(
	    "causeway_cache_miss_bytes", NULL, "Bytes read that had to be fetched.", st.miss_bytes);
	gauge(
	    "causeway_cache_fetched_bytes", NULL, "Bytes fetched from buckets.", st.fetched_bytes);
	gauge("causeway_cache_evicted_bytes", NULL, "Clean bytes given up for room.",
	    st.evicted_bytes);
	gauge("causeway_cache_commits", NULL, "Transactions of the index.", st.commits);
	gauge("causeway_cache_fdatasyncs", NULL, "fdatasync calls on data files.", st.fdatasyncs);
	gauge(
	    "causeway_cache_redo_bytes", NULL, "Bytes that rode in a transaction.", st.redo_bytes);
	gauge("causeway_cache_parked_writes", NULL, "Writes that wait for room.", st.parked_writes);
	gauge("causeway_cache_failing", NULL, "1 while commits fail.", st.failing);
}

void
api_metrics(struct control *c, struct api_reply *out)
{
	struct list *l;

	control_lock(c);
	cache_metrics(c);
	list_for_each(l, control_shares(c))
	    share_metrics(c, container_of(l, struct control_share, link));
	api_volume_metrics(c);
	gauge("causeway_uptime_seconds", NULL, "Time since the start.", control_uptime_s(c));
	control_unlock(c);
	metrics_print(&out->body);
	out->status = 200;
	out->content_type = "text/plain; version=0.0.4; charset=utf-8";
}
