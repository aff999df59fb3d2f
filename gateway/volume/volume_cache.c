/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_cache.c - what a volume does for the cache: rows for a commit, holes and bytes of its base.
 *
 * The base is the remote image at the committed epoch.  While an image is being taken over, what the
 * copier has not reached yet is the image's: no hole, read from the image, and never CLEAN.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/volume/volume_int.h"

static void
volume_collect(void *owner, struct index_txn *txn)
{
	struct cw_volume *v = owner;

	v->collect_seq = v->change_seq;
	if (!v->is_row_changed)
		return;
	v->is_row_changed = false;
	v->is_row_collecting = true;
	volume_row_collect(v, txn);
}

static void
volume_collected(void *owner, int err)
{
	struct cw_volume *v = owner;

	cache_space_lock(v->space);
	if (err < 0 && v->is_row_collecting)
		v->is_row_changed = true;
	v->is_row_collecting = false;
	if (err == 0)
		v->synced_seq = v->collect_seq;
	cache_space_unlock(v->space);
}

bool
volume_uncopied(const struct cw_volume *v, uint64_t off, uint64_t *end)
{
	const struct volume_row *r = &v->row;

	if (r->image_path == NULL)
		return false;
	if (off < r->image_copied) {
		if (*end > r->image_copied)
			*end = r->image_copied;
		return false;
	}
	for (unsigned int i = 0; i < r->nskips; i++) {
		if (off >= r->skips[i].end)
			continue;
		if (off >= r->skips[i].off) {
			if (*end > r->skips[i].end)
				*end = r->skips[i].end;
			return false;
		}
		if (*end > r->skips[i].off)
			*end = r->skips[i].off;
		break;
	}
	return true;
}

static bool
volume_hole(void *owner, void *file_owner, uint64_t off, uint64_t *end)
{
	struct cw_volume *v = owner;
	struct vol_remote *remote = v->remote;

	(void)file_owner;
	if (volume_uncopied(v, off, end))
		return false;
	if (remote != NULL)
		return vol_remote_hole(remote, off, end);
	/* Not opened yet. What was made empty is empty, and what is complete here has nothing elsewhere;
	 * of all else we do not know. */
	return (!v->row.is_created &&
		   (v->row.source == CW_SOURCE_EMPTY || v->row.source == CW_SOURCE_IMAGE)) ||
	       (v->conf.mode == CW_VOLUME_STORED && v->row.is_complete);
}

/* fetch_error - what a reader hears. Whatever may get better is "ask again". */
static int
fetch_error(int err)
{
	switch (err) {
	case 0:
	case -ERR_CHECKSUM:
	case -EIO:
		return err;
	default:
		return -ERR_OFFLINE;
	}
}

struct fetching {
	struct cw_volume *v;
	struct cache_fetch *f;
	uint64_t off;
};

static void
fetch_done(void *arg, int result)
{
	struct fetching *g = arg;

	/* once a start: the status names the object, the log each of them */
	if ((result == -ERR_CHECKSUM || result == -EIO) &&
	    !__atomic_exchange_n(&g->v->is_damage_told, true, __ATOMIC_RELAXED))
		volume_event(g->v, "volume-damaged", "{\"offset\":%" PRIu64 ",\"error\":\"%s\"}",
		    g->off, err_str(result));
	cache_fetch_done(g->f, fetch_error(result));
	free(g);
}

static void
fetch_start(struct cw_volume *v, struct vol_remote *remote, uint64_t off, uint32_t len, void *buf,
    struct cache_fetch *f)
{
	struct fetching *g = xmalloc(sizeof(*g));

	*g = (struct fetching){v, f, off};
	vol_remote_fetch(remote, off, len, buf, fetch_done, g);
}

/* is_uncopied - is any of it still the image's? locked */
static bool
is_uncopied(const struct cw_volume *v, uint64_t off, uint64_t end)
{
	for (uint64_t stop; off < end; off = stop) {
		stop = end;
		if (volume_uncopied(v, off, &stop))
			return true;
	}
	return false;
}

/* is_here - is nothing of it the base's alone? locked */
static bool
is_here(const struct cw_volume *v, uint64_t off, uint64_t end)
{
	uint64_t len;

	return !cache_missing(&v->file, &off, end, &len) && off >= end;
}

/* volume_fetch - the copier may have come on since the cache asked for this.  What it passed is here, or
 * zeros of the image; so as long as the image has any of the range, its bytes serve for all of it.  The
 * bucket's must not: it has nothing yet of what the copier has not reached, and zeros that the cache keeps
 * there are "local" to the copier, which spares what is local. */
static void
volume_fetch(
    void *owner, void *file_owner, uint64_t off, uint32_t len, void *buf, struct cache_fetch *f)
{
	struct cw_volume *v = owner;
	struct vol_remote *remote;
	bool is_image, is_passed;

	(void)file_owner;
	cache_space_lock(v->space);
	is_image = is_uncopied(v, off, off + len);
	remote = v->remote; /* not before: it may come, and the copier pass, in between */
	is_passed = !is_image && remote == NULL && is_here(v, off, off + len);
	cache_space_unlock(v->space);
	if (is_image)
		volume_image_fetch(v, off, len, buf, f);
	else if (is_passed)
		cache_fetch_done(f, CACHE_FETCH_AGAIN);
	else if (remote == NULL)
		cache_fetch_done(f, -ERR_OFFLINE);
	else
		fetch_start(v, remote, off, len, buf, f);
}

/* volume_sealed - the moment has come: the row says which epoch it will be. locked */
static void
volume_sealed(void *owner, void *file_owner)
{
	struct cw_volume *v = owner;

	(void)file_owner;
	v->row.sealed_epoch = v->row.committed_epoch + 1;
	v->row.sealed_time_ns = clock_real_ns();
	v->dirty_since_ns = 0;
	v->is_seal_kicked = false;
	volume_row_changed(v);
}

static void
volume_verifier_changed(void *owner)
{
	struct cw_volume *v = owner;

	/* who waits for a SYNC gets the error; the data is written anew and stays */
	log_warn("volume", "sync-failed", "volume=%s", v->conf.id);
}

void
volume_changed(struct cw_volume *v)
{
	v->change_seq++;
	if (v->dirty_since_ns == 0) {
		v->dirty_since_ns = clock_real_ns();
		volume_kick(v);
	}
	if (!v->is_seal_kicked && v->file.dirty_bytes >= v->now.seal_bytes) {
		v->is_seal_kicked = true;
		volume_kick(v);
	}
}

const struct cache_owner_ops volume_cache_ops = {
    .collect = volume_collect,
    .collected = volume_collected,
    .fetch = volume_fetch,
    .hole = volume_hole,
    .sealed = volume_sealed,
    .verifier_changed = volume_verifier_changed,
};
