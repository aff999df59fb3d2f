/* SPDX-License-Identifier: Apache-2.0 */
/* volume_remote.c - how a volume gets hold of its remote image: made, opened from here, or from the bucket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/volume/volume_int.h"

char *
volume_map_path(struct cw_volume *v)
{
	const char *data = cache_space_path(v->space), *slash = strrchr(data, '/');

	return slash == NULL
		   ? xasprintf("volume-%u.map", v->space_id)
		   : xasprintf("%.*s/volume-%u.map", (int)(slash - data), data, v->space_id);
}

void
volume_remote_conf(struct cw_volume *v, struct vol_remote_conf *c, char **path)
{
	*path = volume_map_path(v);
	memset(c, 0, sizeof(*c));
	c->volume_id = v->conf.id;
	c->prefix = v->conf.prefix;
	c->appliance_id = v->appliance_id;
	c->size_bytes = v->size;
	c->block_bytes = v->conf.block_bytes;
	c->is_compressed = v->conf.is_compressed;
	c->has_key = v->conf.key_id != NULL;
	memcpy(c->key, v->conf.key, sizeof(c->key));
	c->local_path = *path;
	c->recovery_keep_s = v->conf.recovery_keep_s;
	c->store = v->store;
}

static void
irrecoverable(struct cw_volume *v, const char *why)
{
	log_err("volume", "irrecoverable", "volume=%s: %s", v->conf.id, why);
	cache_space_lock(v->space);
	free(v->row.irrecoverable);
	v->row.irrecoverable = xstrdup(why);
	volume_row_changed(v);
	cache_space_unlock(v->space);
	/* what is complete here can be read and written all the same; it is just not uploaded */
	v->is_irrecoverable = v->conf.mode == CW_VOLUME_CACHED || !v->row.is_complete;
	volume_event(v, "volume-irrecoverable", "{\"reason\":\"%s\"}", why);
}

void
volume_remote_open_local(struct cw_volume *v)
{
	struct vol_remote_conf c;
	struct vol_remote *r = NULL;
	char *path;
	int err;

	if (!v->row.is_created || v->row.irrecoverable != NULL)
		return;
	volume_remote_conf(v, &c, &path);
	err = vol_remote_open_local(&c, v->row.committed_epoch, &r);
	free(path);
	explicit_bzero(c.key, sizeof(c.key));
	if (err == 0)
		v->remote = r;
	else
		log_warn("volume", "map-missing",
		    "volume=%s err=\"%s\": it is read from the bucket", v->conf.id, err_str(err));
}

/* adopt - the image was made or found: what the row and the file say of the base. */
static void
adopt(struct cw_volume *v, struct vol_remote *r)
{
	uint64_t size = vol_remote_size(r);
	bool is_bigger;

	cache_space_lock(v->space);
	v->row.is_created = true;
	v->row.committed_epoch = vol_remote_epoch(r);
	is_bigger = size > v->size;
	if (is_bigger)
		v->size = size;
	if (v->row.source != CW_SOURCE_EMPTY && v->row.source != CW_SOURCE_IMAGE)
		v->file.base_limit = size;
	v->remote = r;
	volume_row_changed(v);
	cache_space_unlock(v->space);
	if (is_bigger)
		volume_target_changed(v);
}

/* check_epoch - does the image in the bucket fit to what is here? locked by nobody else's change
 * result: 0, or -EUCLEAN: nobody can tell what became of the volume */
static int
check_epoch(struct cw_volume *v, struct vol_remote *r)
{
	uint64_t found = vol_remote_epoch(r), ours = v->row.committed_epoch;
	char text[200];

	if (found == ours || (v->file.has_sealed && found == v->row.sealed_epoch))
		return 0;
	snprintf(text, sizeof(text),
	    "the bucket holds epoch %llu of the volume, this gateway knows epoch %llu",
	    (unsigned long long)found, (unsigned long long)ours);
	irrecoverable(v, text);
	return -EUCLEAN;
}

static int
make(struct cw_volume *v, const struct vol_remote_conf *c, struct vol_remote **r, char *text,
    size_t cap)
{
	struct cw_volume_origin o = {.source = v->row.source,
	    .volume_id = v->row.origin_volume,
	    .prefix = v->row.origin_prefix,
	    .snapshot_id = v->row.origin_snapshot,
	    .time_ns = v->row.origin_time_ns};

	if (o.source == CW_SOURCE_BUCKET)
		return vol_remote_open_bucket(c, r, text, cap);
	return vol_remote_create(c, &o, r, text, cap); /* what was begun before a crash goes on */
}

/* is_lost - an answer of the bucket that time does not heal. -EEXIST: what is there is not ours, as we never
 * uploaded anything. */
static bool
is_lost(int err)
{
	return err == -EEXIST || err == -ENOENT || err == -ERR_CHECKSUM || err == -EUCLEAN;
}

int
volume_remote_connect(struct cw_volume *v)
{
	bool was_created = v->row.is_created;
	char text[200] = "", *path;
	struct vol_remote *r = NULL;
	struct vol_remote_conf c;
	int err;

	volume_remote_conf(v, &c, &path);
	if (was_created)
		err = vol_remote_open_bucket(&c, &r, text, sizeof(text));
	else
		err = make(v, &c, &r, text, sizeof(text));
	free(path);
	explicit_bzero(c.key, sizeof(c.key));
	if (err == 0 && was_created) {
		err = check_epoch(v, r);
		if (err != 0)
			vol_remote_close(r);
		else
			v->remote = r;
	} else if (err == 0) {
		adopt(v, r);
		err = cache_commit_sync(v->space);
	} else if (is_lost(err)) {
		irrecoverable(v, text[0] != '\0' ? text : err_str(err));
	}
	volume_say(v, err, text[0] != '\0' ? text : "the bucket cannot be used");
	return err;
}
