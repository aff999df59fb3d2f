/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote_destroy.c - the end of a volume in its bucket.
 *
 * What snapshots and clones need stays, and volume.json says "deleted".  The last snapshot takes the rest
 * with it, and so does the last clone: whoever gives up a pin looks whether its volume was deleted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"

struct doomed {
	char **keys;
	size_t n;
};

static int
doom(void *arg, const char *rest, const struct objstore_entry *e)
{
	struct doomed *d = arg;

	(void)rest;
	d->keys = xrealloc(d->keys, (d->n + 1) * sizeof(*d->keys));
	d->keys[d->n++] = xstrdup(e->key);
	return 0;
}

static int
delete_below(struct vol_remote *r, const char *dir)
{
	struct doomed d = {0};
	char prefix[VOL_KEY_MAX];
	int err;

	vol_key(prefix, r->prefix, r->id, dir);
	err = vol_list(r->store, prefix, NULL, doom, &d);
	if (err == 0)
		err = vol_delete(r->store, (const char *const *)d.keys, d.n);
	for (size_t i = 0; i < d.n; i++)
		free(d.keys[i]);
	free(d.keys);
	return err;
}

/* let_go - the volumes that this one was cloned from need not keep anything for it. The pin goes before the
 * clone's own objects: without them nobody would know of it. */
static int
let_go(struct vol_remote *r)
{
	int err = 0;

	for (uint32_t s = 1; err == 0 && s <= r->im.nsources; s++) {
		struct vol_place pl;
		char key[VOL_KEY_MAX];
		const char *keys[1] = {key};

		(void)voli_place(r, s, &pl);
		vol_key_clone(key, pl.prefix, pl.id, r->id);
		err = vol_delete(r->store, keys, 1);
	}
	if (err == 0 && r->info.origin_volume[0] != '\0') { /* its map may have been unreadable */
		char key[VOL_KEY_MAX];
		const char *keys[1] = {key};

		vol_key_clone(key, r->info.origin_prefix, r->info.origin_volume, r->id);
		err = vol_delete(r->store, keys, 1);
	}
	return err;
}

static int
no_read(void *arg, uint64_t off, uint32_t len, void *buf)
{
	(void)arg;
	(void)off;
	(void)len;
	(void)buf;
	return -EIO;
}

/* empty - an epoch of nothing but zeros; then all that no snapshot or clone needs may go. */
static int
empty(struct vol_remote *r)
{
	struct vol_run all = {.len = r->im.at.size_bytes, .is_zero = true};
	uint64_t epoch = r->im.at.epoch + 1, next_ms;
	char key[VOL_KEY_MAX], *text;
	int err = 0;

	if (r->im.map.nentries > 0) {
		err = vol_remote_put_epoch(
		    r, epoch, r->im.at.size_bytes, clock_real_ns(), &all, 1, no_read, NULL);
		if (err == 0)
			vol_remote_apply(r, epoch);
	}
	pthread_mutex_lock(&r->work);
	voli_done_with(r);
	r->info.is_deleted = true;
	text = vol_info_encode(&r->info);
	vol_key(key, r->prefix, r->id, "volume.json");
	if (err == 0)
		err = vol_put(r->store, key, text, strlen(text), NULL, false, NULL, NULL);
	free(text);
	if (err == 0)
		err = voli_checkpoint(r);
	pthread_mutex_unlock(&r->work);
	do {
		next_ms = 1;
		if (err == 0)
			err = vol_remote_tick(r, &next_ms);
	} while (err == 0 && next_ms == 0);
	return err;
}

/* ---- deleted volumes that lived on for others ---- */

void
voli_reap(const struct vol_remote *r, const char *prefix, const char *id)
{
	struct vol_remote_conf c = {
	    .store = r->store, .prefix = prefix, .volume_id = id, .appliance_id = r->appliance};
	struct vol_err e = {""};
	struct vol_info info;
	int err = vol_read_info(r->store, prefix, id, &info, &e);

	if (err == 0 && info.is_deleted)
		err = vol_remote_destroy(&c);
	if (err < 0 && err != -ENOENT)
		log_warn("gateway.volume", "not-reaped",
		    "volume=%s%s err=\"%s\": what is left of it needs space, and nobody needs it",
		    prefix, id, err_str(err));
}

/* reap_sources - this one may have been the last for which they were kept. */
static void
reap_sources(const struct vol_remote *r)
{
	const struct vol_info *info = &r->info;
	bool is_origin_known = false;

	for (uint32_t s = 1; s <= r->im.nsources; s++) {
		struct vol_place pl;

		(void)voli_place(r, s, &pl);
		voli_reap(r, pl.prefix, pl.id);
		is_origin_known = is_origin_known || strcmp(pl.id, info->origin_volume) == 0;
	}
	if (info->origin_volume[0] != '\0' && !is_origin_known)
		voli_reap(r, info->origin_prefix, info->origin_volume);
}

/* may_destroy - is it nobody else's? One that was deleted is nobody's, whoever was at it then.
 * result: 0, -ESTALE, -ERR_CHECKSUM (it cannot be known), the store's */
static int
may_destroy(const struct vol_remote_conf *c, bool is_deleted)
{
	struct vol_remote_owner who;
	int err = is_deleted ? -ENOENT : vol_remote_read_owner(c, &who);

	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	return who.appliance_id[0] == '\0' || strcmp(who.appliance_id, c->appliance_id) == 0
		   ? 0
		   : -ESTALE;
}

int
vol_remote_destroy(const struct vol_remote_conf *c)
{
	static const char *const order[] = {"map/", "log/", "snap/", ""};
	struct vol_remote_conf conf = *c;
	struct vol_remote *r;
	struct vol_err e = {""};
	struct vol_info info;
	int err, may, result = 0;

	if (!vol_id_is_valid(c->volume_id))
		return -EINVAL;
	conf.local_path = NULL;
	conf.recovery_keep_s = 0;
	err = vol_read_info(c->store, c->prefix, c->volume_id, &info, &e);
	may = err == 0 || err == -ENOENT || err == -ERR_CHECKSUM
		  ? may_destroy(c, err == 0 && info.is_deleted)
		  : err;
	if (may < 0)
		return may;
	r = voli_new(&conf);
	r->is_polite = !(err == 0 && info.is_deleted);
	if (err == 0)
		err = voli_open_bucket(r, NULL, &e);
	if (err == -ENOENT || err == -ERR_CHECKSUM)
		err = 0; /* nothing that could be read; what a snapshot needs stays all the same */
	if (err == 0)
		err = voli_load_pins(r);
	if (err == 0 && (r->npins > 0 || r->is_pin_damaged)) {
		result = 1;
		if (r->im.npoints > 0)
			err = empty(r);
		if (err == 0 && r->is_owner)
			err = voli_owner_release(r);
	} else if (err == 0) {
		err = let_go(r);
		for (size_t i = 0; err == 0 && i < sizeof(order) / sizeof(order[0]); i++)
			err = delete_below(r, order[i]);
		if (err == 0)
			reap_sources(r);
	}
	vol_remote_close(r);
	return err < 0 ? err : result;
}

int
vol_remote_snapshot_drop(const struct vol_remote_conf *c, const char *id)
{
	char key[VOL_KEY_MAX];
	const char *keys[1] = {key};
	struct vol_err e = {""};
	struct vol_info info;
	int err;

	if (!vol_id_is_valid(c->volume_id) || !vol_id_is_valid(id))
		return -ENOENT;
	vol_key_snap(key, c->prefix, c->volume_id, id);
	err = vol_delete(c->store, keys, 1);
	if (err < 0)
		return err;
	err = vol_read_info(c->store, c->prefix, c->volume_id, &info, &e);
	if (err == -ENOENT || err == -ERR_CHECKSUM) /* nobody can say that the rest may go */
		return 0;
	if (err == 0 && info.is_deleted)
		err = vol_remote_destroy(c);
	return err < 0 ? err : 0;
}
