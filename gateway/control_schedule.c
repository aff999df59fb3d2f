/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_schedule.c - snapshots by the clock: the member "Schedule" of a volume's row.
 *
 *   StartAt RecurrenceInHours Timezone Description Tags   as the API has them
 *   AnchorNs   StartAt, in the time zone, of the day on which the schedule was set
 *   LastNs     the last time of the schedule that was kept (at first: when it was set)
 *
 * The times of a schedule are AnchorNs plus any multiple of the recurrence.  LastNs is in the row, so a
 * time that passed while the daemon was away is kept once when it is back.  The volume's tag
 * causeway:keep-snapshots says how many completed snapshots of its schedule are kept; 0 = all.
 *
 * The clock's thread also drives what other files of the control plane have to try again.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_volume_int.h"

#define HOUR_NS 3600000000000ll
#define DAY_NS (24 * HOUR_NS)
#define MINUTE_NS 60000000000ll

/* --- pure ------------------------------------------------------------------------------------------------ */

int
control_schedule_zone(const char *text, int *minutes)
{
	unsigned int h = 0, m = 0;
	char sign = '+', rest;

	*minutes = 0;
	if (strcmp(text, "GMT") == 0)
		return 0;
	if (sscanf(text, "GMT%c%2u:%2u%c", &sign, &h, &m, &rest) != 3 ||
	    (sign != '+' && sign != '-') || h > 14 || m > 59)
		return -EINVAL;
	*minutes = (int)(h * 60 + m) * (sign == '-' ? -1 : 1);
	return 0;
}

/* Floor of a / b, for b > 0. */
static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

int64_t
control_schedule_next(const struct snapshot_schedule *s)
{
	int64_t every = s->every_hours * HOUR_NS;

	return s->anchor_ns + (floor_div(s->last_ns - s->anchor_ns, every) + 1) * every;
}

json_t *
control_schedule_make(int start_hour, int every_hours, const char *zone, const char *description,
    const json_t *tags, int64_t now_ns)
{
	int64_t midnight, zone_ns;
	int minutes;
	json_t *o;

	if (control_schedule_zone(zone, &minutes) < 0)
		minutes = 0;
	zone_ns = minutes * MINUTE_NS;
	midnight = floor_div(now_ns + zone_ns, DAY_NS) * DAY_NS - zone_ns;
	o = json_pack("{s:i,s:i,s:s,s:I,s:I}", "StartAt", start_hour, "RecurrenceInHours",
	    every_hours, "Timezone", zone, "AnchorNs",
	    (json_int_t)(midnight + start_hour * HOUR_NS), "LastNs", (json_int_t)now_ns);
	if (description != NULL)
		json_object_set_new(o, "Description", json_string(description));
	json_object_set_new(o, "Tags", tags != NULL ? json_deep_copy(tags) : json_array());
	return o;
}

static bool
schedule_of(const json_t *row, struct snapshot_schedule *out)
{
	const json_t *o = json_object_get(row, "Schedule");

	memset(out, 0, sizeof(*out));
	if (!json_is_object(o))
		return false;
	out->start_hour = (int)json_integer_value(json_object_get(o, "StartAt"));
	out->every_hours = (int)json_integer_value(json_object_get(o, "RecurrenceInHours"));
	out->anchor_ns = json_integer_value(json_object_get(o, "AnchorNs"));
	out->last_ns = json_integer_value(json_object_get(o, "LastNs"));
	return out->every_hours >= 1 && out->every_hours <= 24;
}

/* --- keeping it -------------------------------------------------------------------------------------------- */

/* The time counts as kept before the snapshot is asked for: a crash between the two leaves one out, and
 * an error is not repeated every second. */
static void
keep(struct control *c, struct control_volume *v, int64_t now_ns)
{
	const json_t *o = json_object_get(v->row, "Schedule");
	char id[CW_SNAPSHOT_ID_MAX];
	struct control_error e = {0};
	json_t *row = json_copy(v->row), *schedule = json_copy((json_t *)(uintptr_t)o);
	const char *description = controli_row_string(schedule, "Description");

	json_object_set_new(schedule, "LastNs", json_integer(now_ns));
	json_object_set_new(row, "Schedule", schedule);
	if (control_volume_put(c, v, row, false, &e) < 0 ||
	    control_snapshot_create(c, v, description[0] != '\0' ? description : v->id,
		json_object_get(schedule, "Tags"), true, true, id, &e) < 0) {
		log_warn("gateway.control", "schedule-not-kept", "volume=%s err=\"%s\"", v->id,
		    e.message);
		controli_volume_told(
		    c, v, "snapshot-schedule-failed", json_pack("{s:s}", "reason", e.message));
	}
}

static unsigned int
keep_count(const struct control_volume *v)
{
	const json_t *tag;
	size_t i;

	json_array_foreach(json_object_get(v->row, "Tags"), i, tag)
	{
		if (strcmp(controli_row_string(tag, "Key"), "causeway:keep-snapshots") == 0)
			return (unsigned int)strtoul(controli_row_string(tag, "Value"), NULL, 10);
	}
	return 0;
}

/* The oldest snapshot of v's schedule, when there are more than are to be kept. */
static struct control_snapshot *
too_many(struct control *c, const struct control_volume *v)
{
	struct control_snapshot *oldest = NULL;
	unsigned int n = 0, max = keep_count(v);
	struct list *l;

	if (max == 0)
		return NULL;
	list_for_each(l, &c->snapshots)
	{
		struct control_snapshot *s = container_of(l, struct control_snapshot, link);

		if (strcmp(s->volume_id, v->id) != 0 ||
		    !json_is_true(json_object_get(s->row, "Scheduled")) ||
		    strcmp(controli_row_string(s->row, "State"), "completed") != 0)
			continue;
		n++;
		if (oldest == NULL ||
		    json_integer_value(json_object_get(s->row, "StartNs")) <
			json_integer_value(json_object_get(oldest->row, "StartNs")))
			oldest = s;
	}
	return n > max ? oldest : NULL;
}

void
controli_schedules_tick(struct control *c)
{
	int64_t now_ns = clock_real_ns();
	struct snapshot_schedule s;
	struct control_snapshot *old;
	struct control_error e;
	struct list *l;

	list_for_each(l, &c->volumes)
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->phase != VOLUME_SERVING || v->volume == NULL)
			continue;
		if (schedule_of(v->row, &s) && control_schedule_next(&s) <= now_ns)
			keep(c, v, now_ns);
		memset(&e, 0, sizeof(e));
		old = too_many(c, v);
		if (old != NULL && control_snapshot_delete(c, old, &e) < 0)
			log_warn("gateway.control", "snapshot-not-deleted", "volume=%s err=\"%s\"",
			    v->id, e.message);
	}
}

/* --- the clock's thread ---------------------------------------------------------------------------------------- */

void
controli_tick(struct control *c)
{
	control_lock(c);
	if (!c->closing) {
		controli_volumes_tick(c);
		controli_snapshots_tick(c);
		controli_schedules_tick(c);
	}
	control_unlock(c);
}

static void *
run(void *arg)
{
	struct control *c = arg;
	struct timespec until;
	bool is_closing = false;

	while (!is_closing) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		control_lock(c);
		if (!c->closing)
			(void)pthread_cond_timedwait(&c->clock_cond, &c->lock, &until);
		is_closing = c->closing;
		control_unlock(c);
		if (!is_closing)
			controli_tick(c);
	}
	return NULL;
}

int
controli_clock_start(struct control *c)
{
	int r = pthread_create(&c->clock, NULL, run, c);

	c->has_clock = r == 0;
	return -r;
}

void
controli_clock_stop(struct control *c)
{
	if (!c->has_clock)
		return;
	pthread_cond_signal(&c->clock_cond);
	pthread_join(c->clock, NULL);
	c->has_clock = false;
}
