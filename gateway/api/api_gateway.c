/* SPDX-License-Identifier: Apache-2.0 */
/* api_gateway.c - operations on gateways. An appliance may hold several, of different types. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"
#include "gateway/base/clock.h"
#include "gateway/base/log.h"

#define GATEWAYS_PAGE 100

static const char *const capacities[] = {"Small", "Medium", "Large", NULL};

static const struct api_shape activation_key = {.type = API_STRING, .min = 1, .max = 50};
static const struct api_shape gateway_name = {.type = API_STRING,
    .min = 2,
    .max = 255,
    .matches = api_is_gateway_name,
    .pattern = "^[ -\\.0-\\[\\]-~]*[!-\\.0-\\[\\]-~][ -\\.0-\\[\\]-~]*$"};
static const struct api_shape timezone_text = {.type = API_STRING, .min = 3, .max = 10};
static const struct api_shape region = {.type = API_STRING, .min = 1, .max = 25};
static const struct api_shape gateway_type = {.type = API_STRING, .min = 2, .max = 20};
static const struct api_shape device_type = {.type = API_STRING, .min = 2, .max = 50};
static const struct api_shape log_group = {.type = API_STRING, .max = 562};
static const struct api_shape capacity = {.type = API_STRING, .values = capacities};
static const struct api_shape hour = {.type = API_INTEGER, .min = 0, .max = 23};
static const struct api_shape minute = {.type = API_INTEGER, .min = 0, .max = 59};
static const struct api_shape day_of_week = {.type = API_INTEGER, .min = 0, .max = 6};
static const struct api_shape day_of_month = {.type = API_INTEGER, .min = 1, .max = 28};

const struct api_field api_activate_gateway_in[] = {{"ActivationKey", &activation_key, true},
    {"GatewayName", &gateway_name, true}, {"GatewayTimezone", &timezone_text, true},
    {"GatewayRegion", &region, true}, {"GatewayType", &gateway_type, false},
    {"TapeDriveType", &device_type, false}, {"MediumChangerType", &device_type, false},
    {"Tags", &api_tags, false}, {NULL, NULL, false}};
const struct api_field api_describe_gateway_in[] = {
    {"GatewayARN", &api_gateway_arn, true}, {NULL, NULL, false}};
const struct api_field api_list_gateways_in[] = {
    {"Marker", &api_marker, false}, {"Limit", &api_limit, false}, {NULL, NULL, false}};
const struct api_field api_update_gateway_in[] = {{"GatewayARN", &api_gateway_arn, true},
    {"GatewayName", &gateway_name, false}, {"GatewayTimezone", &timezone_text, false},
    {"CloudWatchLogGroupARN", &log_group, false}, {"GatewayCapacity", &capacity, false},
    {NULL, NULL, false}};
const struct api_field api_maintenance_in[] = {{"GatewayARN", &api_gateway_arn, true},
    {"HourOfDay", &hour, false}, {"MinuteOfHour", &minute, false},
    {"DayOfWeek", &day_of_week, false}, {"DayOfMonth", &day_of_month, false}, {NULL, NULL, false}};

static bool
is_timezone(const char *s)
{
	int minutes;

	return control_schedule_zone(s, &minutes) == 0;
}

static int
bad_timezone(struct api_call *call)
{
	return control_fail(&call->err, "InvalidParameters",
	    "GatewayTimezone must be GMT, GMT-hr:mm or GMT+hr:mm.");
}

static bool
name_is_taken(struct api_call *call, const char *name, const struct control_gateway *but)
{
	struct list *l;

	list_for_each(l, control_gateways(call->control))
	{
		struct control_gateway *g = container_of(l, struct control_gateway, link);
		const char *other = json_string_value(json_object_get(g->row, "GatewayName"));

		if (g != but && other != NULL && strcmp(other, name) == 0)
			return true;
	}
	return false;
}

/* The type: as asked for, else as the key was issued for, else the API's own default. */
static const char *
choose_type(struct api_call *call, const struct api_activation *a)
{
	static const char *const known[] = {"FILE_S3", "CACHED", "STORED", "VTL"};
	const char *type = api_in_string(call, "GatewayType");

	if (type == NULL)
		type = a->gateway_type[0] != '\0' ? a->gateway_type : "CACHED";
	if (a->gateway_type[0] != '\0' && strcmp(type, a->gateway_type) != 0) {
		control_fail(&call->err, "ActivationKeyInvalid",
		    "The activation key was issued for a gateway of type %s.", a->gateway_type);
		return NULL;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], type) == 0)
			return known[i];
	control_fail(&call->err, "InvalidParameters",
	    "GatewayType must be one of FILE_S3, CACHED, STORED, VTL.");
	return NULL;
}

static void
copy_field(json_t *row, const json_t *in, const char *name)
{
	json_t *v = json_object_get(in, name);

	if (v != NULL && !json_is_null(v))
		json_object_set(row, name, v);
}

/* The row of a new gateway. */
static json_t *
new_row(struct api_call *call, const char *type, json_t *tags)
{
	const char *region_name = api_in_string(call, "GatewayRegion");
	json_t *row = json_object();
	char id[24], arn[160];

	control_new_id(call->control, "sgw-", id);
	snprintf(arn, sizeof(arn), "arn:%s:storagegateway:%s:%s:gateway/%s",
	    control_partition(region_name), region_name, control_config(call->control)->account_id,
	    id);
	json_object_set_new(row, "GatewayId", json_string(id));
	json_object_set_new(row, "GatewayARN", json_string(arn));
	json_object_set_new(row, "GatewayType", json_string(type));
	json_object_set_new(row, "CreatedNs", json_integer(clock_real_ns()));
	json_object_set_new(row, "GatewayCapacity", json_string("Small"));
	json_object_set_new(row, "Tags", tags);
	copy_field(row, call->in, "GatewayName");
	copy_field(row, call->in, "GatewayTimezone");
	copy_field(row, call->in, "GatewayRegion");
	copy_field(row, call->in, "TapeDriveType");
	copy_field(row, call->in, "MediumChangerType");
	return row;
}

int
api_activate_gateway(struct api_call *call)
{
	const char *key = api_in_string(call, "ActivationKey"), *type;
	const char *name = api_in_string(call, "GatewayName");
	struct api_activation a;
	json_t *tags, *row;
	int r;

	if (api_keyring_find(call->keyring, key, clock_real_ns() / 1000000000, &a, &call->err) < 0)
		return -EINVAL;
	if (strcmp(a.region, api_in_string(call, "GatewayRegion")) != 0)
		return control_fail(&call->err, "RegionInvalid",
		    "The activation key was issued for region %s.", a.region);
	if (!is_timezone(api_in_string(call, "GatewayTimezone")))
		return bad_timezone(call);
	if (name_is_taken(call, name, NULL))
		return control_fail(&call->err, "InvalidParameters",
		    "A gateway with the specified name already exists.");
	type = choose_type(call, &a);
	if (type == NULL)
		return -EINVAL;
	tags = json_array();
	if (api_tags_merge(tags, json_object_get(call->in, "Tags"), &call->err) < 0) {
		json_decref(tags);
		return -EINVAL;
	}
	row = new_row(call, type, tags);
	json_object_set(call->out, "GatewayARN", json_object_get(row, "GatewayARN"));
	log_info("gateway.api", "gateway-activated", "gateway=%s type=%s",
	    json_string_value(json_object_get(row, "GatewayId")), type);
	r = control_gateway_put(call->control, NULL, row);
	if (r < 0)
		return control_fail_internal(&call->err, r, "the index takes no changes");
	api_keyring_use(call->keyring, key);
	return 0;
}

static struct control_gateway *
gateway(struct api_call *call)
{
	return control_gateway_by_arn(call->control, api_in_string(call, "GatewayARN"), &call->err);
}

int
api_describe_gateway(struct api_call *call)
{
	struct control_gateway *g = gateway(call);
	json_t *supported = json_array();

	for (size_t i = 0; capacities[i] != NULL; i++)
		json_array_append_new(supported, json_string(capacities[i]));
	json_object_set_new(call->out, "SupportedGatewayCapacities", supported);
	if (g == NULL)
		return -EINVAL;
	copy_field(call->out, g->row, "GatewayARN");
	copy_field(call->out, g->row, "GatewayId");
	copy_field(call->out, g->row, "GatewayName");
	copy_field(call->out, g->row, "GatewayTimezone");
	copy_field(call->out, g->row, "GatewayType");
	copy_field(call->out, g->row, "GatewayCapacity");
	copy_field(call->out, g->row, "CloudWatchLogGroupARN");
	copy_field(call->out, g->row, "Tags");
	api_out_string(call, "GatewayState", "RUNNING");
	api_out_string(call, "EndpointType", "STANDARD");
	api_out_string(call, "HostEnvironment", "OTHER");
	api_out_string(call, "HostEnvironmentId", control_appliance_id(call->control));
	api_out_string(call, "SoftwareVersion", CONTROL_VERSION);
	json_object_set_new(call->out, "GatewayNetworkInterfaces", api_interfaces());
	return 0;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *
gateway_info(struct api_call *call, const struct control_gateway *g)
{
	json_t *info = json_object();

	copy_field(info, g->row, "GatewayId");
	copy_field(info, g->row, "GatewayARN");
	copy_field(info, g->row, "GatewayType");
	copy_field(info, g->row, "GatewayName");
	json_object_set_new(info, "GatewayOperationalState", json_string("ACTIVE"));
	json_object_set_new(info, "HostEnvironment", json_string("OTHER"));
	json_object_set_new(
	    info, "HostEnvironmentId", json_string(control_appliance_id(call->control)));
	json_object_set_new(info, "SoftwareVersion", json_string(CONTROL_VERSION));
	return info;
}

/* Oldest first: who activated one gateway and takes the first of the list still gets that one. */
static char *
sort_key(const struct control_gateway *g)
{
	return xasprintf("%020lld/%s",
	    (long long)json_integer_value(json_object_get(g->row, "CreatedNs")), g->id);
}

static struct control_gateway *
by_sort_key(struct api_call *call, const char *key)
{
	struct list *l;

	list_for_each(l, control_gateways(call->control))
	{
		struct control_gateway *g = container_of(l, struct control_gateway, link);

		if (strcmp(g->id, strchr(key, '/') + 1) == 0)
			return g;
	}
	return NULL;
}

int
api_list_gateways(struct api_call *call)
{
	size_t n = 0, from, to;
	json_t *list = json_array();
	struct list *l;
	char **keys;

	list_for_each(l, control_gateways(call->control)) n++;
	keys = xcalloc(n + 1, sizeof(*keys));
	n = 0;
	list_for_each(l, control_gateways(call->control))
	{
		keys[n++] = sort_key(container_of(l, struct control_gateway, link));
	}
	qsort(keys, n, sizeof(*keys), compare);
	if (api_page(call, (const char *const *)keys, n, GATEWAYS_PAGE, &from, &to))
		api_out_string(call, "Marker", keys[to - 1]);
	for (size_t i = from; i < to; i++)
		json_array_append_new(list, gateway_info(call, by_sort_key(call, keys[i])));
	json_object_set_new(call->out, "Gateways", list);
	for (size_t i = 0; i < n; i++)
		free(keys[i]);
	free(keys);
	return 0;
}

static int
put(struct api_call *call, struct control_gateway *g, json_t *row)
{
	int r = control_gateway_put(call->control, g, row);

	if (r < 0)
		return control_fail_internal(&call->err, r, "the index takes no changes");
	copy_field(call->out, g->row, "GatewayARN");
	return 0;
}

int
api_update_gateway(struct api_call *call)
{
	const char *zone = api_in_string(call, "GatewayTimezone");
	const char *name = api_in_string(call, "GatewayName");
	struct control_gateway *g = gateway(call);
	json_t *row;
	int r;

	if (g == NULL)
		return -EINVAL;
	if (zone != NULL && !is_timezone(zone))
		return bad_timezone(call);
	if (name != NULL && name_is_taken(call, name, g))
		return control_fail(&call->err, "InvalidParameters",
		    "A gateway with the specified name already exists.");
	row = json_copy(g->row);
	copy_field(row, call->in, "GatewayName");
	copy_field(row, call->in, "GatewayTimezone");
	copy_field(row, call->in, "CloudWatchLogGroupARN");
	copy_field(row, call->in, "GatewayCapacity");
	r = put(call, g, row);
	if (r == 0)
		copy_field(call->out, g->row, "GatewayName");
	return r;
}

/* Are there shares of g, and does one of them still owe the bucket something? */
static size_t
count_shares(struct api_call *call, const struct control_gateway *g, bool *is_dirty)
{
	struct list *l;
	size_t n = 0;

	*is_dirty = false;
	list_for_each(l, control_shares(call->control))
	{
		struct control_share *s = container_of(l, struct control_share, link);
		struct cw_share_status st;

		if (strcmp(s->gateway_arn, g->arn) != 0)
			continue;
		n++;
		memset(&st, 0, sizeof(st));
		if (s->share != NULL)
			cw_share_get_status(s->share, &st);
		*is_dirty |= st.pending_files > 0;
	}
	return n;
}

static bool
has_volumes(struct api_call *call, const struct control_gateway *g)
{
	struct list *l;

	list_for_each(l, control_volumes(call->control))
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->phase < VOLUME_DETACHED && strcmp(v->gateway_arn, g->arn) == 0)
			return true;
	}
	return false;
}

int
api_delete_gateway(struct api_call *call)
{
	struct control_gateway *g = gateway(call);
	struct list *l, *tmp;
	bool is_dirty;
	int r;

	if (g == NULL)
		return -EINVAL;
	if (has_volumes(call, g))
		return control_fail(&call->err, "VolumeInUse",
		    "The gateway has volumes; delete or detach them first.");
	if (count_shares(call, g, &is_dirty) > 0 && is_dirty)
		return control_fail(&call->err, "InvalidParameters",
		    "The gateway has file shares with data that is not in the bucket yet; delete "
		    "the file shares first, or try again when it is uploaded.");
	list_for_each_safe(l, tmp, control_shares(call->control))
	{
		struct control_share *s = container_of(l, struct control_share, link);

		if (strcmp(s->gateway_arn, g->arn) == 0 &&
		    control_share_delete(call->control, s, true, &call->err) < 0)
			return -EINVAL;
	}
	copy_field(call->out, g->row, "GatewayARN");
	r = control_gateway_del(call->control, g);
	return r < 0 ? control_fail_internal(&call->err, r, "the index takes no changes") : 0;
}

int
api_describe_maintenance(struct api_call *call)
{
	struct control_gateway *g = gateway(call);
	json_t *window;

	if (g == NULL)
		return -EINVAL;
	window = json_object_get(g->row, "Maintenance");
	copy_field(call->out, g->row, "GatewayARN");
	if (window != NULL)
		json_object_update(call->out, window);
	else
		json_object_update_new(call->out,
		    json_pack("{s:i,s:i,s:i}", "HourOfDay", 3, "MinuteOfHour", 0, "DayOfWeek", 0));
	json_object_set(call->out, "Timezone", json_object_get(g->row, "GatewayTimezone"));
	return 0;
}

int
api_update_maintenance(struct api_call *call)
{
	static const char *const names[] = {
	    "HourOfDay", "MinuteOfHour", "DayOfWeek", "DayOfMonth", "SoftwareUpdatePreferences"};
	struct control_gateway *g = gateway(call);
	json_t *row, *window;

	if (g == NULL)
		return -EINVAL;
	window = json_object();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		copy_field(window, call->in, names[i]);
	if ((json_object_get(window, "HourOfDay") == NULL) !=
		(json_object_get(window, "MinuteOfHour") == NULL) ||
	    (json_object_get(window, "DayOfWeek") != NULL &&
		json_object_get(window, "DayOfMonth") != NULL)) {
		json_decref(window);
		return control_fail(&call->err, "InvalidParameters",
		    "Give HourOfDay and MinuteOfHour together, and one of DayOfWeek and "
		    "DayOfMonth.");
	}
	row = json_copy(g->row);
	json_object_set_new(row, "Maintenance", window);
	return put(call, g, row);
}
