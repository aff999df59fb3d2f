/* SPDX-License-Identifier: Apache-2.0 */
/* api_disk.c - local disks and the cache made of them. */
#include <stdio.h>
#include <string.h>

#include "gateway/api/api_int.h"

#define DISKS_PER_CALL 32

static const struct api_shape disk_id = {.type = API_STRING, .min = 1, .max = 300};
static const struct api_shape disk_ids = {.type = API_LIST, .min = 0, .member = &disk_id};

const struct api_field api_local_disks_in[] = {
    {"GatewayARN", &api_gateway_arn, true}, {NULL, NULL, false}};
const struct api_field api_add_cache_in[] = {
    {"GatewayARN", &api_gateway_arn, true}, {"DiskIds", &disk_ids, true}, {NULL, NULL, false}};

struct collect {
	json_t *list;
	const char *gateway_id;
};

/* A disk of another gateway of this appliance is no disk of this one. */
static void
add_disk(void *arg, const struct control_disk *d)
{
	struct collect *c = arg;

	if (d->owner != NULL && strcmp(d->owner, c->gateway_id) != 0)
		return;
	json_array_append_new(c->list,
	    json_pack("{s:s,s:s,s:s,s:s,s:I,s:s,s:[]}", "DiskId", d->id, "DiskPath", d->dir,
		"DiskNode", d->name, "DiskStatus", d->is_present ? "present" : "missing",
		"DiskSizeInBytes", (json_int_t)d->size_bytes, "DiskAllocationType",
		d->owner != NULL ? "CACHE_STORAGE" : "AVAILABLE", "DiskAttributeList"));
}

static void
add_cache_disk(void *arg, const struct control_disk *d)
{
	struct collect *c = arg;

	if (d->owner != NULL && strcmp(d->owner, c->gateway_id) == 0)
		json_array_append_new(c->list, json_string(d->id));
}

static struct control_gateway *
gateway(struct api_call *call)
{
	struct control_gateway *g =
	    control_gateway_by_arn(call->control, api_in_string(call, "GatewayARN"), &call->err);

	if (g != NULL)
		api_out_string(call, "GatewayARN", g->arn);
	return g;
}

int
api_list_local_disks(struct api_call *call)
{
	struct control_gateway *g = gateway(call);
	struct collect c;

	if (g == NULL)
		return -EINVAL;
	c = (struct collect){json_array(), g->id};
	control_disk_each(call->control, add_disk, &c);
	json_object_set_new(call->out, "Disks", c.list);
	return 0;
}

int
api_add_cache(struct api_call *call)
{
	const json_t *ids = json_object_get(call->in, "DiskIds");
	struct control_gateway *g = gateway(call);
	json_t *id;
	size_t i;
	int r;

	if (g == NULL)
		return -EINVAL;
	if (json_array_size(ids) == 0 || json_array_size(ids) > DISKS_PER_CALL)
		return control_fail(
		    &call->err, "InvalidParameters", "Give 1 to %d disk ids.", DISKS_PER_CALL);
	json_array_foreach(ids, i, id)
	{
		r = control_disk_allocate(call->control, g, json_string_value(id), &call->err);
		if (r < 0)
			return r;
	}
	return 0;
}

static double
percent(uint64_t part, uint64_t whole)
{
	return whole == 0 ? 0.0 : 100.0 * (double)part / (double)whole;
}

int
api_describe_cache(struct api_call *call)
{
	struct control_gateway *g = gateway(call);
	struct cache_stats st;
	struct collect c;
	uint64_t asked;
	bool has;

	if (g == NULL)
		return -EINVAL;
	memset(&st, 0, sizeof(st));
	cache_get_stats(control_cache(call->control), &st);
	c = (struct collect){json_array(), g->id};
	control_disk_each(call->control, add_cache_disk, &c);
	has = json_array_size(c.list) > 0;
	asked = st.hit_bytes + st.miss_bytes;
	json_object_set_new(call->out, "DiskIds", c.list);
	json_object_set_new(call->out, "CacheAllocatedInBytes",
	    json_integer(has ? (json_int_t)st.capacity_bytes : 0));
	json_object_set_new(call->out, "CacheUsedPercentage",
	    json_real(has ? percent(st.used_bytes, st.capacity_bytes) : 0));
	json_object_set_new(call->out, "CacheDirtyPercentage",
	    json_real(has ? percent(st.dirty_bytes, st.capacity_bytes) : 0));
	json_object_set_new(
	    call->out, "CacheHitPercentage", json_real(percent(st.hit_bytes, asked)));
	json_object_set_new(
	    call->out, "CacheMissPercentage", json_real(percent(st.miss_bytes, asked)));
	return 0;
}
