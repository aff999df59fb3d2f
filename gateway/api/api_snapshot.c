/* SPDX-License-Identifier: Apache-2.0 */
/* api_snapshot.c - operations on snapshots, recovery points and snapshot schedules. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/api/api_int.h"
#include "gateway/base/clock.h"

static const struct api_shape description = {.type = API_STRING, .min = 1, .max = 255};
static const struct api_shape hour = {.type = API_INTEGER, .min = 0, .max = 23};
static const struct api_shape recurrence = {.type = API_INTEGER, .min = 1, .max = 24};

const struct api_field api_create_snapshot_in[] = {{"VolumeARN", &api_volume_arn, true},
    {"SnapshotDescription", &description, true}, {"Tags", &api_tags, false}, {NULL, NULL, false}};
const struct api_field api_update_schedule_in[] = {{"VolumeARN", &api_volume_arn, true},
    {"StartAt", &hour, true}, {"RecurrenceInHours", &recurrence, true},
    {"Description", &description, false}, {"Tags", &api_tags, false}, {NULL, NULL, false}};

char *
api_time(int64_t ns)
{
	time_t s = (time_t)(ns / 1000000000);
	char text[32];
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return xasprintf("%s.%03dZ", text, (int)(ns / 1000000 % 1000));
}

static struct control_volume *
volume(struct api_call *call)
{
	struct control_volume *v =
	    control_volume_by_arn(call->control, api_in_string(call, "VolumeARN"), &call->err);

	if (v != NULL)
		api_out_string(call, "VolumeARN", v->arn);
	return v;
}

/* Only a plan of the request's tags: checked as tags of the resource are. */
static int
take_tags(struct api_call *call, json_t **tags)
{
	*tags = json_array();
	if (api_tags_merge(*tags, json_object_get(call->in, "Tags"), &call->err) == 0)
		return 0;
	json_decref(*tags);
	*tags = NULL;
	return -EINVAL;
}

static int
create(struct api_call *call, struct control_volume *v, bool is_now)
{
	char id[CW_SNAPSHOT_ID_MAX];
	json_t *tags;
	int r = take_tags(call, &tags);

	if (r < 0)
		return r;
	r = control_snapshot_create(call->control, v, api_in_string(call, "SnapshotDescription"),
	    tags, is_now, false, id, &call->err);
	json_decref(tags);
	if (r == 0)
		api_out_string(call, "SnapshotId", id);
	return r;
}

int
api_create_snapshot(struct api_call *call)
{
	struct control_volume *v = volume(call);

	return v != NULL ? create(call, v, true) : -EINVAL;
}

int
api_create_snapshot_from_point(struct api_call *call)
{
	struct control_volume *v = volume(call);
	struct cw_volume_status st;
	char *when;
	int r;

	if (v == NULL)
		return -EINVAL;
	if (strcmp(api_row_string(v->row, "VolumeType"), "CACHED") != 0)
		return api_wrong_type(call);
	control_volume_status(call->control, v, &st);
	r = create(call, v, false);
	when = api_time(st.recovery_point_ns);
	api_out_string(call, "VolumeRecoveryPointTime", when);
	free(when);
	return r;
}

int
api_list_recovery_points(struct api_call *call)
{
	struct control_gateway *g = api_gateway_of(call, "CACHED", NULL);
	json_t *list = json_array();
	struct list *l;

	json_object_set_new(call->out, "VolumeRecoveryPointInfos", list);
	if (g == NULL)
		return -EINVAL;
	api_out_string(call, "GatewayARN", g->arn);
	list_for_each(l, control_volumes(call->control))
	{
		struct control_volume *v = container_of(l, struct control_volume, link);
		struct cw_volume_status st;
		char *when;

		if (v->phase >= VOLUME_DETACHED || strcmp(v->gateway_arn, g->arn) != 0)
			continue;
		control_volume_status(call->control, v, &st);
		if (st.recovery_point_ns == 0)
			continue;
		when = api_time(st.recovery_point_ns);
		json_array_append_new(
		    list, json_pack("{s:s,s:I,s:I,s:s}", "VolumeARN", v->arn, "VolumeSizeInBytes",
			      (json_int_t)st.size_bytes, "VolumeUsageInBytes",
			      (json_int_t)st.used_bytes, "VolumeRecoveryPointTime", when));
		free(when);
	}
	return 0;
}

/* --- schedules ----------------------------------------------------------------------------------------- */

static int
no_schedule(struct api_call *call)
{
	return control_fail(&call->err, "SnapshotScheduleNotFound",
	    "The specified snapshot schedule was not found.");
}

int
api_describe_schedule(struct api_call *call)
{
	static const char *const names[] = {
	    "StartAt", "RecurrenceInHours", "Description", "Timezone", "Tags"};
	struct control_volume *v = volume(call);
	const json_t *schedule;

	if (v == NULL)
		return -EINVAL;
	schedule = json_object_get(v->row, "Schedule");
	if (schedule == NULL)
		return no_schedule(call);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_t *m = json_object_get(schedule, names[i]);

		if (m != NULL)
			json_object_set(call->out, names[i], m);
	}
	return 0;
}

int
api_update_schedule(struct api_call *call)
{
	struct control_volume *v = volume(call);
	struct control_error ignored = {0};
	struct control_gateway *g;
	const char *zone;
	json_t *tags, *row;

	if (v == NULL || take_tags(call, &tags) < 0)
		return -EINVAL;
	g = control_gateway_by_arn(call->control, v->gateway_arn, &ignored);
	zone = g != NULL ? api_row_string(g->row, "GatewayTimezone") : "GMT";
	row = json_copy(v->row);
	json_object_set_new(row, "Schedule",
	    control_schedule_make((int)json_integer_value(json_object_get(call->in, "StartAt")),
		(int)json_integer_value(json_object_get(call->in, "RecurrenceInHours")), zone,
		api_in_string(call, "Description"), tags, clock_real_ns()));
	json_decref(tags);
	return control_volume_put(call->control, v, row, true, &call->err);
}

int
api_delete_schedule(struct api_call *call)
{
	struct control_volume *v = volume(call);
	json_t *row;

	if (v == NULL)
		return -EINVAL;
	if (json_object_get(v->row, "Schedule") == NULL)
		return no_schedule(call);
	row = json_copy(v->row);
	json_object_del(row, "Schedule");
	return control_volume_put(call->control, v, row, true, &call->err);
}
