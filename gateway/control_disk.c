/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_disk.c - "disks": directories that the configuration offers for the cache.  A disk's id is
 * made of the appliance's id and the disk's name, so it stays the same for good, used or not.
 *
 * The first disk of the configuration takes part in the cache from the start (the index and the
 * cache must lie somewhere before anybody can call AddCache); the others once they are allocated.
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

static void
describe(struct control *c, const struct config_disk *d, struct control_disk *out)
{
	struct statvfs vfs;
	struct stat st;

	memset(out, 0, sizeof(*out));
	disk_id(c, d->name, out->id);
	out->name = d->name;
	out->dir = d->dir;
	out->owner = json_string_value(json_object_get(c->disks, d->name));
	out->is_present = stat(d->dir, &st) == 0 && S_ISDIR(st.st_mode);
	if (out->is_present && statvfs(d->dir, &vfs) == 0)
		out->size_bytes = (uint64_t)vfs.f_blocks * vfs.f_frsize;
}

void
control_disk_each(struct control *c, void (*fn)(void *arg, const struct control_disk *d), void *arg)
{
	for (size_t i = 0; i < c->conf->ndisks; i++) {
		struct control_disk d;

		describe(c, &c->conf->disks[i], &d);
		fn(arg, &d);
	}
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
control_disk_allocate(
    struct control *c, struct control_gateway *g, const char *id, struct control_error *e)
{
	json_t *map;
	int r;

	for (size_t i = 0; i < c->conf->ndisks; i++) {
		struct control_disk d;

		describe(c, &c->conf->disks[i], &d);
		if (strcmp(d.id, id) != 0)
			continue;
		if (d.owner != NULL)
			return control_fail(
			    e, "DiskAlreadyAllocated", "The specified disk is already allocated.");
		if (!d.is_present)
			return control_fail(e, "DiskDoesNotExist",
			    "The directory of disk %s does not exist.", d.name);
		r = i == 0 ? 0 : cache_add_data_dir(c->cache, d.dir);
		if (r < 0)
			return control_fail_internal(e, r, d.dir);
		map = json_deep_copy(c->disks);
		json_object_set_new(map, d.name, json_string(g->id));
		r = save(c, map);
		return r < 0 ? control_fail_internal(e, r, "the index takes no changes") : 0;
	}
	return control_fail(e, "DiskDoesNotExist", "The specified disk does not exist.");
}

int
control_disk_release(struct control *c, const char *gateway_id)
{
	json_t *map = json_deep_copy(c->disks), *owner;
	const char *name;
	void *tmp;

	json_object_foreach_safe(map, tmp, name, owner)
	{
		if (!json_is_string(owner) || strcmp(json_string_value(owner), gateway_id) == 0)
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
		if (json_object_get(c->disks, c->conf->disks[i].name) != NULL)
			r = cache_add_data_dir(c->cache, c->conf->disks[i].dir);
	return r;
}
