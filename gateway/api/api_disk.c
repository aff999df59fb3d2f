/* SPDX-License-Identifier: Apache-2.0 */
/* api_disk.c - local disks and the cache made of them. */
#include <stdio.h>
#include <string.h>

#include "gateway/api/api_int.h"

#define DISKS_PER_CALL 32

static const struct api_shape disk_ids = {.type = API_LIST, .min = 0, .member = &api_disk_id};

const struct api_field api_local_disks_in[] = {
    {"GatewayARN", &api_gateway_arn, true}, {NULL, NULL, false}};
const struct api_field api_add_cache_in[] = {
    {"GatewayARN", &api_gateway_arn, true}, {"DiskIds", &disk_ids, true}, {NULL, NULL, false}};

struct collect {
	json_t *list;
	const char *gateway_id;
	enum control_disk_use use;
};

/* "targetIqn::LUN::region-volumeId" of the volume that lies on the disk; malloced. */
static char *
resource_of(const struct control_disk *d)
{
	const char *iqn = strstr(d->target_arn, "/target/"), *id = strrchr(d->volume_arn, '/');
	const char *region = strstr(d->volume_arn, ":storagegateway:");
	int n;

	if (iqn == NULL || id == NULL || region == NULL)
		return xstrdup("");
	region += strlen(":storagegateway:");
	n = (int)strcspn(region, ":");
	return xasprintf("%s::0::%.*s-%s", iqn + strlen("/target/"), n, region, id + 1);
}

/* A disk of another gateway of this appliance is no disk of this one. */
static void
add_disk(void *arg, const struct control_disk *d)
{
	static const char *const types[] = {
	    [DISK_FREE] = "AVAILABLE",
	    [DISK_CACHE] = "CACHE_STORAGE",
	    [DISK_BUFFER] = "UPLOAD_BUFFER",
	    [DISK_WORKING] = "WORKING STORAGE",
	    [DISK_STORED] = "STORED iSCSI VOLUME",
	};
	struct collect *c = arg;
	json_t *o;

	if (d->owner != NULL && strcmp(d->owner, c->gateway_id) != 0)
		return;
	o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:s,s:[]}", "DiskId", d->id, "DiskPath", d->dir,
	    "DiskNode", d->name, "DiskStatus", d->is_present ? "present" : "missing",
	    "DiskSizeInBytes", (json_int_t)d->size_bytes, "DiskAllocationType", types[d->use],
	    "DiskAttributeList");
	if (d->use == DISK_STORED) {
		char *resource = resource_of(d);

		json_object_set_new(o, "DiskAllocationResource", json_string(resource));
		free(resource);
	}
	json_array_append_new(c->list, o);
}

static void
add_own(void *arg, const struct control_disk *d)
{
	struct collect *c = arg;

	if (d->use == c->use && strcmp(d->owner, c->gateway_id) == 0)
		json_array_append_new(c->list, json_string(d->id));
}

/* The gateway, when it is of one of the types ("": any; NULL: no other). */
static struct control_gateway *
gateway(struct api_call *call, const char *type, const char *or_type)
{
	struct control_gateway *g;

	if (type[0] == '\0')
		g = control_gateway_by_arn(
		    call->control, api_in_string(call, "GatewayARN"), &call->err);
	else
		g = api_gateway_of(call, type, or_type);
	if (g != NULL)
		api_out_string(call, "GatewayARN", g->arn);
	return g;
}

/* A gateway that has a cache: any but a stored one. */
static struct control_gateway *
gateway_with_cache(struct api_call *call)
{
	struct control_gateway *g = gateway(call, "", NULL);

	if (g == NULL || strcmp(api_row_string(g->row, "GatewayType"), "STORED") != 0)
		return g;
	api_wrong_type(call);
	return NULL;
}

int
api_list_local_disks(struct api_call *call)
{
	struct control_gateway *g = gateway(call, "", NULL);
	struct collect c;

	if (g == NULL)
		return -EINVAL;
	c = (struct collect){json_array(), g->id, DISK_FREE};
	control_disk_each(call->control, add_disk, &c);
	json_object_set_new(call->out, "Disks", c.list);
	return 0;
}

static int
allocate(struct api_call *call, struct control_gateway *g, enum control_disk_use use)
{
	const json_t *ids = json_object_get(call->in, "DiskIds");
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
		r = control_disk_allocate(call->control, g, json_string_value(id), use, &call->err);
		if (r < 0)
			return r;
	}
	return 0;
}

int
api_add_cache(struct api_call *call)
{
	return allocate(call, gateway_with_cache(call), DISK_CACHE);
}

int
api_add_upload_buffer(struct api_call *call)
{
	return allocate(call, gateway(call, "CACHED", "VTL"), DISK_BUFFER);
}

int
api_add_working_storage(struct api_call *call)
{
	return allocate(call, gateway(call, "STORED", NULL), DISK_WORKING);
}

struct first_disk {
	char id[CONTROL_UUID_LEN];
	bool has_own;
	bool is_only_first;
	const char *gateway_id;
};

static void
look_at_disk(void *arg, const struct control_disk *d)
{
	struct first_disk *f = arg;

	f->has_own |= d->use == DISK_CACHE && strcmp(d->owner, f->gateway_id) == 0;
	if (d->owner == NULL && d->is_present && f->id[0] == '\0' &&
	    (d->is_first || !f->is_only_first))
		memcpy(f->id, d->id, sizeof(f->id));
}

int
api_ensure_cache(struct api_call *call, struct control_gateway *g)
{
	const char *type = api_row_string(g->row, "GatewayType");
	struct first_disk f = {.gateway_id = g->id};

	if (strcmp(type, "STORED") == 0)
		return 0;
	f.is_only_first =
	    strcmp(type, "FILE_S3") != 0; /* others may be meant for buffers or volumes */
	control_disk_each(call->control, look_at_disk, &f);
	if (f.has_own || f.id[0] == '\0')
		return 0; /* with every disk in other gateways' hands, it shares theirs */
	return control_disk_allocate(call->control, g, f.id, DISK_CACHE, &call->err);
}

static double
percent(uint64_t part, uint64_t whole)
{
	return whole == 0 ? 0.0 : 100.0 * (double)part / (double)whole;
}

int
api_describe_cache(struct api_call *call)
{
	struct control_gateway *g = gateway_with_cache(call);
	struct cache_stats st;
	struct collect c;
	uint64_t asked;
	bool has;

	if (g == NULL)
		return -EINVAL;
	memset(&st, 0, sizeof(st));
	cache_get_stats(control_cache(call->control), &st);
	c = (struct collect){json_array(), g->id, DISK_CACHE};
	control_disk_each(call->control, add_own, &c);
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

/* --- upload buffer, working storage ------------------------------------------------------------------ */

/* What g's volumes have not uploaded yet. */
static uint64_t
waiting_bytes(struct api_call *call, const struct control_gateway *g)
{
	uint64_t sum = 0;
	struct list *l;

	list_for_each(l, control_volumes(call->control))
	{
		struct control_volume *v = container_of(l, struct control_volume, link);
		struct cw_volume_status st;

		if (strcmp(v->gateway_arn, g->arn) != 0)
			continue;
		control_volume_status(call->control, v, &st);
		sum += st.dirty_bytes;
	}
	return sum;
}

/* The bound on what waits is the cache's own: see control_disk.c. */
static int
describe_buffer(struct api_call *call, struct control_gateway *g, enum control_disk_use use,
    const char *used, const char *allocated)
{
	struct cache_stats st;
	struct collect c;

	if (g == NULL)
		return -EINVAL;
	memset(&st, 0, sizeof(st));
	cache_get_stats(control_cache(call->control), &st);
	c = (struct collect){json_array(), g->id, use};
	control_disk_each(call->control, add_own, &c);
	json_object_set_new(call->out, allocated,
	    json_integer(json_array_size(c.list) > 0 ? (json_int_t)st.dirty_max_bytes : 0));
	json_object_set_new(call->out, used, json_integer((json_int_t)waiting_bytes(call, g)));
	json_object_set_new(call->out, "DiskIds", c.list);
	return 0;
}

int
api_describe_upload_buffer(struct api_call *call)
{
	return describe_buffer(call, gateway(call, "CACHED", "VTL"), DISK_BUFFER,
	    "UploadBufferUsedInBytes", "UploadBufferAllocatedInBytes");
}

int
api_describe_working_storage(struct api_call *call)
{
	return describe_buffer(call, gateway(call, "STORED", NULL), DISK_WORKING,
	    "WorkingStorageUsedInBytes", "WorkingStorageAllocatedInBytes");
}
