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

struct wait {
	struct work work;
	struct control *c;
	char share_id[24], uuid[CONTROL_UUID_LEN];
	int64_t started_ns;
	json_t *folders; /* RefreshCache */
	int err;
	uint64_t changed;
};

static struct wait *
wait_new(struct control *c, const struct control_share *s, char uuid[CONTROL_UUID_LEN])
{
	struct wait *w = xcalloc(1, sizeof(*w));

	w->c = c;
	w->started_ns = clock_real_ns();
	snprintf(w->share_id, sizeof(w->share_id), "%s", s->id);
	if (uuid[0] == '\0')
		control_uuid(uuid);
	memcpy(w->uuid, uuid, sizeof(w->uuid));
	return w;
}

static void
wait_free(struct wait *w)
{
	json_decref(w->folders);
	free(w);
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
	struct wait *w = container_of(work, struct wait, work);
	struct control_share *s;

	control_lock(w->c);
	s = controli_share_by_id(w->c, w->share_id);
	if (s != NULL && s->names != NULL && !w->c->closing) {
		json_t *d = json_pack("{s:s,s:s,s:o,s:o,s:O,s:I}", "event-type", "refresh-complete",
		    "notification-id", w->uuid, "started", time_json(w->started_ns), "completed",
		    time_json(clock_real_ns()), "folderList", w->folders, "changed",
		    (json_int_t)w->changed);

		if (w->err < 0)
			json_object_set_new(d, "error", json_string(err_str(w->err)));
		state_event(w->c->state, "refresh-complete", controli_share_detail(s->names, d));
	}
	control_unlock(w->c);
	wait_free(w);
}

/* A worker of the share's: hand over, its locks are not ours to guess. */
static void
refresh_done(void *arg, int err, uint64_t changed)
{
	struct wait *w = arg;

	w->err = err;
	w->changed = changed;
	w->work.fn = refreshed;
	workq_submit(w->c->workq, &w->work);
}

int
control_refresh(struct control *c, struct control_share *s, const json_t *folders, bool recursive,
    char uuid[CONTROL_UUID_LEN], struct control_error *e)
{
	const char *list[64];
	struct wait *w;
	size_t n = 0, i;
	json_t *v;
	int r;

	if (s->share == NULL || s->phase != SHARE_SERVING)
		return control_fail(
		    e, "InvalidParameters", "The specified file share is not available.");
	uuid[0] = '\0';
	w = wait_new(c, s, uuid);
	w->folders = folders != NULL ? json_deep_copy(folders) : json_pack("[s]", "/");
	json_array_foreach(w->folders, i, v) if (n < 64) list[n++] = json_string_value(v);
	r = cw_share_refresh(s->share, list, n, recursive, refresh_done, w);
	if (r == 0)
		return 0;
	wait_free(w);
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
	struct wait *w = container_of(work, struct wait, work);
	struct control_share *s;

	control_lock(w->c);
	s = controli_share_by_id(w->c, w->share_id);
	if (!w->c->closing) {
		if (s != NULL && s->names != NULL)
			state_event(w->c->state, "upload-complete",
			    controli_share_detail(
				s->names, json_pack("{s:s,s:s,s:o,s:o}", "event-type",
					      "upload-complete", "notification-id", w->uuid,
					      "request-received", time_json(w->started_ns),
					      "completed", time_json(clock_real_ns()))));
		if (state_put(w->c->state, "notify", w->uuid, NULL) < 0)
			log_warn("gateway.control", "notify-not-ended", "id=%s", w->uuid);
	}
	control_unlock(w->c);
	wait_free(w);
}

static void
uploaded_done(void *arg)
{
	struct wait *w = arg;

	w->work.fn = uploaded;
	workq_submit(w->c->workq, &w->work);
}

int
control_notify_uploaded(struct control *c, struct control_share *s, char uuid[CONTROL_UUID_LEN],
    struct control_error *e)
{
	struct wait *w;
	json_t *row;
	int r;

	if (s->share == NULL)
		return control_fail(
		    e, "InvalidParameters", "The specified file share is not available.");
	uuid[0] = '\0';
	w = wait_new(c, s, uuid);
	row = json_pack("{s:s,s:I}", "FileShareId", s->id, "ReceivedNs", (json_int_t)w->started_ns);
	r = state_put(c->state, "notify", uuid, row);
	json_decref(row);
	if (r == 0)
		r = cw_share_notify_uploaded(s->share, uploaded_done, w);
	if (r == 0)
		return 0;
	wait_free(w);
	return control_fail_internal(e, r, "NotifyWhenUploaded");
}

static int
load_one(void *arg, const char *key, const json_t *row)
{
	struct control *c = arg;
	struct control_share *s = controli_share_by_id(c, controli_row_string(row, "FileShareId"));
	char uuid[CONTROL_UUID_LEN];
	struct wait *w;

	if (s == NULL || s->share == NULL || strlen(key) != CONTROL_UUID_LEN - 1)
		return 0;
	memcpy(uuid, key, sizeof(uuid));
	w = wait_new(c, s, uuid);
	w->started_ns = json_integer_value(json_object_get(row, "ReceivedNs"));
	if (cw_share_notify_uploaded(s->share, uploaded_done, w) < 0)
		wait_free(w);
	return 0;
}

int
controli_notify_load(struct control *c)
{
	return state_each(c->state, "notify", load_one, c);
}
