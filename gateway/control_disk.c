/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_disk.c - "disks": directories that the configuration offers for the cache.  A disk's id is
 * made of the appliance's id and the disk's name, so it stays the same for good, used or not.
 *
 * The first disk of the configuration takes part in the cache from the start (the index and the
 * cache must lie somewhere before anybody can call AddCache); the others once they are allocated.
 *
 * An upload buffer (working storage, for stored volumes) is a bound and no place here: what waits for its
 * upload lies where the volume's data lies, at most [cache] dirty_max of it.  A disk given to it is kept
 * from other uses, and that is all.  A stored volume's disk is the one that the volume's row names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_int.h"
#include "gateway/control_volume.h"

static void
disk_id(struct control *c, const char *name, char out[CONTROL_UUID_LEN])
{
	char *text = xasprintf("%s/disk/%s", c->appliance_id, name);
	uint8_t h[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	digest_sha256(text, strlen(text), h);
	digest_hex(h, SHA256_LEN, hex);
	snprintf(out, CONTROL_UUID_LEN, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
	    hex + 16, hex + 20);
	free(text);
}

static const char *const uses[] = {
    [DISK_CACHE] = "CACHE", [DISK_BUFFER] = "BUFFER", [DISK_WORKING] = "WORKING"};

/* What the map of disks says: a string is the gateway whose cache the disk is part of. */
static void
set_use(const json_t *entry, struct control_disk *out)
{
	const char *use = controli_row_string(entry, "Use");

	out->owner = json_string_value(entry);
	if (out->owner != NULL) {
		out->use = DISK_CACHE;
		return;
	}
	for (size_t i = DISK_CACHE; i < sizeof(uses) / sizeof(uses[0]); i++) {
		if (strcmp(uses[i], use) == 0) {
			out->use = (enum control_disk_use)i;
			out->owner = json_string_value(json_object_get(entry, "Gateway"));
		}
	}
}

static void
set_volume(struct control *c, struct control_disk *out)
{
	struct list *l;

	list_for_each(l, &c->volumes)
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->phase == VOLUME_DETACHED ||
		    strcmp(controli_row_string(v->row, "DiskName"), out->name) != 0)
			continue;
		out->use = DISK_STORED;
		out->owner = strrchr(v->gateway_arn, '/') != NULL ? strrchr(v->gateway_arn, '/') + 1
								  : v->gateway_arn;
		out->volume_arn = v->arn;
		out->target_arn = v->target_arn;
	}
}

static void
describe(struct control *c, size_t i, struct control_disk *out)
{
	const struct config_disk *d = &c->conf->disks[i];
	struct statvfs vfs;
	struct stat st;

	memset(out, 0, sizeof(*out));
	disk_id(c, d->name, out->id);
	out->name = d->name;
	out->dir = d->dir;
	out->is_first = i == 0;
	set_use(json_object_get(c->disks, d->name), out);
	set_volume(c, out);
	out->is_present = stat(d->dir, &st) == 0 && S_ISDIR(st.st_mode);
	out->size_bytes = d->size_bytes;
	if (out->size_bytes == 0 && out->is_present && statvfs(d->dir, &vfs) == 0)
		out->size_bytes = (uint64_t)vfs.f_blocks * vfs.f_frsize;
}

void
control_disk_each(struct control *c, void (*fn)(void *arg, const struct control_disk *d), void *arg)
{
	for (size_t i = 0; i < c->conf->ndisks; i++) {
		struct control_disk d;

		describe(c, i, &d);
		fn(arg, &d);
	}
}

int
control_disk_find(
    struct control *c, const char *id, struct control_disk *out, struct control_error *e)
{
	for (size_t i = 0; i < c->conf->ndisks; i++) {
		describe(c, i, out);
		if (strcmp(out->id, id) == 0)
			return 0;
	}
	return control_fail(e, "DiskDoesNotExist", "The specified disk does not exist.");
}

bool
control_disk_has(struct control *c, const char *gateway_arn, enum control_disk_use use)
{
	const char *id = strrchr(gateway_arn, '/');

	for (size_t i = 0; i < c->conf->ndisks; i++) {
		struct control_disk d = {.use = DISK_FREE};

		set_use(json_object_get(c->disks, c->conf->disks[i].name), &d);
		if (d.use == use && d.owner != NULL && id != NULL && strcmp(d.owner, id + 1) == 0)
			return true;
	}
	return false;
}

/* Write the whole map; it is small. map is taken. */
static int
save(struct control *c, json_t *map)
{
	int r = state_put(c->state, "appliance", "disks", map);

	if (r < 0) {
		json_decref(map);
		return r;
	}
	json_decref(c->disks);
	c->disks = map;
	return 0;
}

int
control_disk_allocate(struct control *c, struct control_gateway *g, const char *id,
    enum control_disk_use use, struct control_error *e)
{
	struct control_disk d;
	json_t *map;
	int r = 0;

	if (control_disk_find(c, id, &d, e) < 0)
		return -EINVAL;
	if (d.owner != NULL)
		return control_fail(
		    e, "DiskAlreadyAllocated", "The specified disk is already allocated.");
	if (!d.is_present)
		return control_fail(
		    e, "DiskDoesNotExist", "The directory of disk %s does not exist.", d.name);
	if (use == DISK_CACHE && !d.is_first)
		r = cache_add_data_dir(c->cache, d.dir);
	if (r < 0)
		return control_fail_internal(e, r, d.dir);
	map = json_deep_copy(c->disks);
	json_object_set_new(map, d.name,
	    use == DISK_CACHE ? json_string(g->id)
			      : json_pack("{s:s,s:s}", "Gateway", g->id, "Use", uses[use]));
	r = save(c, map);
	return r < 0 ? control_fail_internal(e, r, "the index takes no changes") : 0;
}

int
control_disk_release(struct control *c, const char *gateway_id)
{
	json_t *map = json_deep_copy(c->disks), *owner;
	const char *name;
	void *tmp;

	json_object_foreach_safe(map, tmp, name, owner)
	{
		struct control_disk d = {.use = DISK_FREE};

		set_use(owner, &d);
		if (d.owner == NULL || strcmp(d.owner, gateway_id) == 0)
			json_object_del(map, name);
	}
	if (json_object_size(map) == json_object_size(c->disks)) {
		json_decref(map);
		return 0;
	}
	return save(c, map);
}

int
controli_disks_load(struct control *c)
{
	int r = 0;

	c->disks = state_get(c->state, "appliance", "disks");
	if (!json_is_object(c->disks)) {
		json_decref(c->disks);
		c->disks = json_object();
	}
	for (size_t i = 1; i < c->conf->ndisks && r == 0; i++)
		if (json_is_string(json_object_get(c->disks, c->conf->disks[i].name)))
			r = cache_add_data_dir(c->cache, c->conf->disks[i].dir);
	return r;
}
