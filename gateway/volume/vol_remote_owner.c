/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote_owner.c - one appliance at a time writes a volume: the object `owner`, changed by
 * conditional PUT only.  Its term is in every key that the owner writes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"

#define VOL_TERMS_SKIPPED 16u /* when nobody knows which was the last one taken */

static void
owner_key(const struct vol_remote *r, char key[VOL_KEY_MAX])
{
	vol_key(key, r->prefix, r->id, "owner");
}

/* get - result: 0, -ENOENT, -ERR_CHECKSUM, the store's */
static int
get(struct vol_remote *r, struct vol_owner *out, char etag[OBJSTORE_ETAG_MAX])
{
	char key[VOL_KEY_MAX], *text;
	size_t len;
	int err;

	memset(out, 0, sizeof(*out));
	owner_key(r, key);
	err = vol_get(r->store, key, VOL_JSON_MAX, &text, &len, etag);
	if (err < 0)
		return err == -EFBIG ? -ERR_CHECKSUM : err;
	err = vol_owner_decode(text, len, out);
	if (err < 0)
		log_err("gateway.volume", "damaged", "key=\"%s\" why=\"not an owner\"", key);
	free(text);
	return err;
}

/* put - in place of what has this etag ("" = nothing). result: 0, -ERR_PRECONDITION, the store's */
static int
put(struct vol_remote *r, const char *appliance, uint32_t term, const char *etag)
{
	struct vol_owner o = {.term = term, .time_ns = clock_real_ns()};
	char key[VOL_KEY_MAX], new_etag[OBJSTORE_ETAG_MAX], *text;
	bool is_conditional = r->store->has_conditional_put;
	uint8_t random[16];
	int err;

	(void)snprintf(o.appliance, sizeof(o.appliance), "%s", appliance);
	random_bytes(random, sizeof(random));
	digest_hex(random, sizeof(random), o.nonce);
	text = vol_owner_encode(&o);
	owner_key(r, key);
	err = vol_put(r->store, key, text, strlen(text),
	    is_conditional && etag[0] != '\0' ? etag : NULL, is_conditional && etag[0] == '\0',
	    new_etag, NULL);
	free(text);
	if (err == -ERR_PRECONDITION) { /* or was it ours, and the reply got lost? */
		struct vol_owner now;

		if (get(r, &now, new_etag) == 0 && strcmp(now.nonce, o.nonce) == 0)
			err = 0;
	}
	if (err < 0)
		return err;
	memcpy(r->nonce, o.nonce, sizeof(r->nonce));
	memcpy(r->owner_etag, new_etag, sizeof(r->owner_etag));
	r->is_owner_known = new_etag[0] != '\0';
	r->owner_checked_ms = r->owner_renewed_ms = clock_mono_ms();
	return 0;
}

static int
lost(struct vol_remote *r, const struct vol_owner *now)
{
	char why[200];

	if (now == NULL)
		(void)snprintf(why, sizeof(why), "the owner object is gone from the bucket");
	else if (now->appliance[0] == '\0')
		(void)snprintf(why, sizeof(why), "ownership was given up (term %u)", now->term);
	else
		(void)snprintf(why, sizeof(why), "appliance %s took the volume over (term %u)",
		    now->appliance, now->term);
	pthread_mutex_lock(&r->lock);
	if (r->is_owner)
		log_err("gateway.volume", "ownership-lost",
		    "volume=%s term=%u why=\"%s\": nothing is uploaded any more", r->id, r->term,
		    why);
	r->is_owner = false;
	(void)snprintf(r->reason, sizeof(r->reason), "%s", why);
	pthread_mutex_unlock(&r->lock);
	return -ESTALE;
}

/* last_term - of those in the names of what the volume has in the bucket; 0 = there is nothing. */
static int
last_term(struct vol_remote *r, uint32_t *term)
{
	static const char *const dirs[] = {"map/", "log/"};
	struct vol_names names;
	struct vol_place pl;
	int err = 0;

	*term = 0;
	(void)voli_place(r, 0, &pl);
	for (size_t i = 0; err == 0 && i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		err = vol_list_names(&pl, dirs[i], 0, 0, &names);
		if (err < 0)
			break;
		if (names.n > 0 && names.v[names.n - 1].term > *term)
			*term = names.v[names.n - 1].term;
		vol_names_free(&names);
	}
	return err;
}

/* now_missing - nobody is named. A term that was used before would sort new epochs among the old ones; so it
 * goes on behind all that show, and behind those that somebody took and did not come to use. */
static int
now_missing(struct vol_remote *r, struct vol_owner *now)
{
	uint32_t term;
	int err = last_term(r, &term);

	if (err < 0 || term == 0)
		return err;
	log_warn("gateway.volume", "owner-missing",
	    "volume=%s%s last_term=%u: the object is gone from the bucket", r->prefix, r->id, term);
	now->term = term > UINT32_MAX - VOL_TERMS_SKIPPED ? UINT32_MAX : term + VOL_TERMS_SKIPPED;
	return 0;
}

int
voli_owner_take(struct vol_remote *r)
{
	char etag[OBJSTORE_ETAG_MAX] = "";
	struct vol_owner now;
	int err = get(r, &now, etag);

	if (err == -ENOENT) {
		etag[0] = '\0';
		err = now_missing(r, &now);
	}
	if (err < 0)
		return err;
	if (r->is_polite && now.appliance[0] != '\0' && strcmp(now.appliance, r->appliance) != 0)
		return -ESTALE;
	if (now.term == UINT32_MAX)
		return -ERR_CHECKSUM;
	if (!r->store->has_conditional_put)
		log_warn("gateway.volume", "takeover-unsafe",
		    "volume=%s: the store has no conditional PUT; two owners would not notice",
		    r->id);
	err = put(r, r->appliance, now.term + 1, etag);
	if (err < 0)
		return err == -ERR_PRECONDITION ? -EBUSY : err;
	r->term = now.term + 1;
	pthread_mutex_lock(&r->lock);
	r->is_owner = true;
	r->reason[0] = '\0';
	pthread_mutex_unlock(&r->lock);
	log_info("gateway.volume", "owner", "volume=%s term=%u before=\"%s\"", r->id, r->term,
	    now.appliance);
	return 0;
}

/* look - read the object itself. */
static int
look(struct vol_remote *r)
{
	char etag[OBJSTORE_ETAG_MAX];
	struct vol_owner now;
	int err = get(r, &now, etag);

	if (err == -ENOENT)
		return lost(r, NULL);
	if (err < 0)
		return err;
	if (now.term != r->term || strcmp(now.appliance, r->appliance) != 0 ||
	    (r->nonce[0] != '\0' && strcmp(now.nonce, r->nonce) != 0))
		return lost(r, &now);
	memcpy(r->nonce, now.nonce, sizeof(r->nonce));
	memcpy(r->owner_etag, etag, sizeof(r->owner_etag));
	r->is_owner_known = true;
	r->owner_checked_ms = clock_mono_ms();
	return 0;
}

int
voli_owner_check(struct vol_remote *r)
{
	char key[VOL_KEY_MAX];
	struct objstore_req req = {.op = OBJ_HEAD, .key = key};
	bool is_same;
	int err;

	if (!r->is_owner)
		return -ESTALE;
	if (!r->is_owner_known)
		return look(r);
	owner_key(r, key);
	err = objstore_call(r->store, &req);
	is_same = strcmp(req.etag, r->owner_etag) == 0;
	objstore_req_clear(&req);
	if (err == -ENOENT || (err == 0 && !is_same))
		return look(r);
	if (err == 0)
		r->owner_checked_ms = clock_mono_ms();
	return err;
}

int
voli_owner_renew(struct vol_remote *r)
{
	int err = voli_owner_check(r);

	if (err == 0)
		err = put(r, r->appliance, r->term, r->owner_etag);
	return err == -ERR_PRECONDITION ? look(r) : err;
}

int
voli_owner_release(struct vol_remote *r)
{
	int err = voli_owner_check(r);

	if (err == 0)
		err = put(r, "", r->term, r->owner_etag);
	if (err == -ERR_PRECONDITION)
		return look(r);
	if (err < 0)
		return err;
	pthread_mutex_lock(&r->lock);
	r->is_owner = false;
	(void)snprintf(r->reason, sizeof(r->reason), "ownership was given up");
	pthread_mutex_unlock(&r->lock);
	return 0;
}

int
vol_remote_read_owner(const struct vol_remote_conf *c, struct vol_remote_owner *out)
{
	struct vol_remote r = {.store = c->store};
	char etag[OBJSTORE_ETAG_MAX];
	struct vol_owner now;
	struct vol_info info;
	int err;

	memset(out, 0, sizeof(*out));
	if (!vol_id_is_valid(c->volume_id))
		return -ENOENT;
	r.id = (char *)(uintptr_t)c->volume_id;
	r.prefix = (char *)(uintptr_t)c->prefix;
	err = get(&r, &now, etag);
	if (err == -ENOENT) /* a volume that nobody ever owned? */
		err = vol_read_info(c->store, c->prefix, c->volume_id, &info, NULL);
	if (err < 0)
		return err;
	memcpy(out->appliance_id, now.appliance, sizeof(out->appliance_id));
	out->term = now.term;
	out->time_ns = now.time_ns;
	return 0;
}
