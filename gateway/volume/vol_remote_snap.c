/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote_snap.c - snapshots: a checkpoint of an epoch, and then a manifest that names it, so a
 * manifest exists only if all it names does (P5).  Recovery points are epochs that nobody named.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"

static struct vol_pin *
find(struct vol_remote *r, const char *id)
{
	for (size_t i = 0; i < r->npins; i++)
		if (!r->pins[i].is_clone && strcmp(r->pins[i].id, id) == 0)
			return &r->pins[i];
	return NULL;
}

/* begin - what snapshot_create and _delete have in common. with `work` */
static int
begin(struct vol_remote *r)
{
	int err;

	if (voli_is_waiting(r))
		return -EBUSY;
	voli_done_with(r);
	if (!r->is_owner)
		return -ESTALE;
	err = voli_owner_check(r);
	return err == 0 ? voli_load_pins(r) : err;
}

static int
create(struct vol_remote *r, const char *id, const char *description, int64_t time_ns)
{
	struct vol_pin pin = {.epoch = r->im.at.epoch,
	    .size_bytes = r->im.at.size_bytes,
	    .time_ns = time_ns,
	    .map_term = r->term,
	    .map_epoch = r->im.at.epoch,
	    .description = (char *)(uintptr_t)description};
	const struct vol_pin *old = find(r, id);
	char key[VOL_KEY_MAX], *text;
	const char *keys[1] = {key};
	int err = 0;

	if (old != NULL)
		return old->time_ns == time_ns || old->epoch == pin.epoch ? 0 : -EEXIST;
	if (r->map_epoch != r->im.at.epoch)
		err = voli_checkpoint(r);
	if (err < 0)
		return err;
	memcpy(pin.id, id, strlen(id) + 1);
	memcpy(pin.volume, r->id, strlen(r->id) + 1);
	text = vol_pin_encode(&pin);
	vol_key_snap(key, r->prefix, r->id, id);
	err = vol_put(r->store, key, text, strlen(text), NULL, false, NULL, NULL);
	free(text);
	if (err < 0)
		return err;
	err = voli_owner_check(r); /* a new owner does not know of it: it must not stay */
	if (err == -ESTALE && vol_delete(r->store, keys, 1) < 0)
		log_warn("gateway.volume", "delete-failed", "key=\"%s\"", key);
	return err == 0 ? voli_load_pins(r) : err;
}

int
vol_remote_snapshot_create(
    struct vol_remote *r, const char *id, const char *description, int64_t time_ns)
{
	int err;

	if (!vol_id_is_valid(id))
		return -EINVAL;
	pthread_mutex_lock(&r->work);
	err = begin(r);
	if (err == 0)
		err = create(r, id, description, time_ns);
	pthread_mutex_unlock(&r->work);
	return err;
}

int
vol_remote_snapshot_delete(struct vol_remote *r, const char *id)
{
	char key[VOL_KEY_MAX];
	const char *keys[1] = {key};
	int err;

	if (!vol_id_is_valid(id))
		return -ENOENT;
	pthread_mutex_lock(&r->work);
	err = begin(r);
	if (err == 0 && find(r, id) == NULL && !r->is_pin_damaged) /* it may be that one */
		err = -ENOENT;
	if (err == 0) {
		vol_key_snap(key, r->prefix, r->id, id);
		err = vol_delete(r->store, keys, 1);
	}
	if (err == 0)
		err = voli_load_pins(r);
	pthread_mutex_unlock(&r->work);
	return err;
}

void
vol_remote_snapshot_each(
    struct vol_remote *r, void (*fn)(void *arg, const struct vol_snapshot *s), void *arg)
{
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->npins; i++) {
		const struct vol_pin *p = &r->pins[i];
		struct vol_snapshot s = {.id = p->id,
		    .description = p->description != NULL ? p->description : "",
		    .epoch = p->epoch,
		    .size_bytes = p->size_bytes,
		    .time_ns = p->time_ns,
		    .is_clone = p->is_clone};

		fn(arg, &s);
	}
	pthread_mutex_unlock(&r->lock);
}

void
vol_remote_point_each(struct vol_remote *r, size_t max,
    void (*fn)(void *arg, uint64_t epoch, int64_t time_ns, uint64_t size_bytes), void *arg)
{
	pthread_mutex_lock(&r->lock);
	for (size_t i = r->im.npoints; i-- > 0 && max > 0; max--)
		fn(arg, r->im.points[i].epoch, r->im.points[i].time_ns, r->im.points[i].size_bytes);
	pthread_mutex_unlock(&r->lock);
}
