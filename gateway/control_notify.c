/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_notify.c - RefreshCache and NotifyWhenUploaded: asynchronous, their end is an event.
 *
 * A notification that was asked for is a row under "notify" until its event is written: after a
 * restart it is armed anew, which asks for a little more than was asked before, never for less.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_int.h"

struct promise *
controli_promise_new(struct control *c, const struct control_share *s)
{
	struct promise *p = xcalloc(1, sizeof(*p));

	p->control = c;
	p->started_ns = clock_real_ns();
	snprintf(p->share_id, sizeof(p->share_id), "%s", s->id);
	pthread_mutex_lock(&c->promises_lock);
	list_add_tail(&c->promises, &p->link);
	pthread_mutex_unlock(&c->promises_lock);
	return p;
}

void
controli_promise_free(struct promise *p)
{
	struct control *c = p->control;

	pthread_mutex_lock(&c->promises_lock);
	list_del(&p->link);
	pthread_mutex_unlock(&c->promises_lock);
	json_decref(p->folders);
	free(p);
}

void
controli_promise_keep(struct promise *p, void (*fn)(struct work *w))
{
	p->work.fn = fn;
	workq_submit(p->control->workq, &p->work);
}

void
controli_promises_free(struct control *c)
{
	while (!list_empty(&c->promises))
		controli_promise_free(container_of(c->promises.next, struct promise, link));
}

static json_t *
time_json(int64_t ns)
{
	char text[40];
	time_t s = (time_t)(ns / 1000000000);
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

/* Control work queue, unlocked. */
static void
refreshed(struct work *work)
{
	struct promise *p = container_of(work, struct promise, work);
	struct control *c = p->control;
	struct control_share *s;

	control_lock(c);
	s = controli_share_by_id(c, p->share_id);
	if (s != NULL && s->names != NULL && !c->closing) {
		json_t *d = json_pack("{s:s,s:s,s:o,s:o,s:O,s:I}", "event-type", "refresh-complete",
		    "notification-id", p->uuid, "started", time_json(p->started_ns), "completed",
		    time_json(clock_real_ns()), "folderList", p->folders, "changed",
		    (json_int_t)p->changed);

		if (p->err < 0)
			json_object_set_new(d, "error", json_string(err_str(p->err)));
		state_event(c->state, "refresh-complete", controli_share_detail(s->names, d));
	}
	control_unlock(c);
	controli_promise_free(p);
}

/* A worker of the share's: hand over, its locks are not ours to guess. */
static void
refresh_done(void *arg, int err, uint64_t changed)
{
	struct promise *p = arg;

	p->err = err;
	p->changed = changed;
	controli_promise_keep(p, refreshed);
}

int
control_refresh(struct control *c, struct control_share *s, const json_t *folders, bool recursive,
    char uuid[CONTROL_UUID_LEN], struct control_error *e)
{
	const char *list[64];
	struct promise *p;
	size_t n = 0, i;
	json_t *v;
	int r;

	if (s->share == NULL || s->phase >= SHARE_DELETING)
		return control_fail(
		    e, "InvalidParameters", "The specified file share is not available.");
	p = controli_promise_new(c, s);
	control_uuid(uuid);
	memcpy(p->uuid, uuid, sizeof(p->uuid));
	p->folders = folders != NULL ? json_deep_copy(folders) : json_pack("[s]", "/");
	json_array_foreach(p->folders, i, v)
	{
		if (n < sizeof(list) / sizeof(list[0]))
			list[n++] = json_string_value(v);
	}
	r = cw_share_refresh(s->share, list, n, recursive, refresh_done, p);
	if (r == 0)
		return 0;
	controli_promise_free(p);
	if (r == -EBUSY)
		return control_fail(e, "InvalidParameters",
		    "Two RefreshCache operations are running on the file share; try again later.");
	return control_fail(e, "InvalidParameters", "RefreshCache: %s", err_str(r));
}

/* Control work queue, unlocked. The event and the end of the row: the event first, so that a crash
 * between them repeats it and never loses it. */
static void
uploaded(struct work *work)
{
	struct promise *p = container_of(work, struct promise, work);
	struct control *c = p->control;
	struct control_share *s;

	control_lock(c);
	s = controli_share_by_id(c, p->share_id);
	if (!c->closing) {
		if (s != NULL && s->names != NULL)
			state_event(c->state, "upload-complete",
			    controli_share_detail(
				s->names, json_pack("{s:s,s:s,s:o,s:o}", "event-type",
					      "upload-complete", "notification-id", p->uuid,
					      "request-received", time_json(p->started_ns),
					      "completed", time_json(clock_real_ns()))));
		if (state_put(c->state, "notify", p->uuid, NULL) < 0)
			log_warn("gateway.control", "notify-not-ended", "id=%s", p->uuid);
	}
	control_unlock(c);
	controli_promise_free(p);
}

static void
uploaded_done(void *arg)
{
	controli_promise_keep(arg, uploaded);
}

int
control_notify_uploaded(struct control *c, struct control_share *s, char uuid[CONTROL_UUID_LEN],
    struct control_error *e)
{
	struct promise *p;
	json_t *row;
	int r;

	if (s->share == NULL)
		return control_fail(
		    e, "InvalidParameters", "The specified file share is not available.");
	p = controli_promise_new(c, s);
	control_uuid(uuid);
	memcpy(p->uuid, uuid, sizeof(p->uuid));
	row = json_pack("{s:s,s:I}", "FileShareId", s->id, "ReceivedNs", (json_int_t)p->started_ns);
	r = state_put(c->state, "notify", uuid, row);
	json_decref(row);
	if (r == 0)
		r = cw_share_notify_uploaded(s->share, uploaded_done, p);
	if (r == 0)
		return 0;
	controli_promise_free(p);
	return control_fail_internal(e, r, "NotifyWhenUploaded");
}

static int
load_one(void *arg, const char *key, const json_t *row)
{
	struct control *c = arg;
	struct control_share *s = controli_share_by_id(c, controli_row_string(row, "FileShareId"));
	struct promise *p;

	if (strlen(key) != CONTROL_UUID_LEN - 1)
		return 0;
	if (s == NULL || s->share == NULL) /* the share went first: nobody will be told */
		return s == NULL ? state_put(c->state, "notify", key, NULL) : 0;
	p = controli_promise_new(c, s);
	memcpy(p->uuid, key, sizeof(p->uuid));
	p->started_ns = json_integer_value(json_object_get(row, "ReceivedNs"));
	if (cw_share_notify_uploaded(s->share, uploaded_done, p) < 0)
		controli_promise_free(p);
	return 0;
}

int
controli_notify_load(struct control *c)
{
	return state_each(c->state, "notify", load_one, c);
}
