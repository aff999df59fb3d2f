/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/volume/vol_json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define FORMAT 1

/* ---- members ---- */

static bool
get_text(const json_t *o, const char *name, char *out, size_t cap)
{
	const char *s = json_string_value(json_object_get(o, name));

	out[0] = '\0';
	if (s == NULL || strlen(s) >= cap)
		return false;
	memcpy(out, s, strlen(s) + 1);
	return true;
}

static bool
get_number(const json_t *o, const char *name, uint64_t max, uint64_t *out)
{
	const json_t *j = json_object_get(o, name);

	*out = 0;
	if (!json_is_integer(j) || json_integer_value(j) < 0 ||
	    (uint64_t)json_integer_value(j) > max)
		return false;
	*out = (uint64_t)json_integer_value(j);
	return true;
}

static int64_t
get_time(const json_t *o, const char *name)
{
	return (int64_t)json_integer_value(json_object_get(o, name));
}

static bool
get_hex(const json_t *o, const char *name, uint8_t *out, size_t len)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s != NULL && strlen(s) == 2 * len && digest_hex_decode(s, out, len) == (int)len;
}

static bool
get_id(const json_t *o, const char *name, char *out)
{
	return get_text(o, name, out, VOL_ID_MAX) && vol_id_is_valid(out);
}

static json_t *
load(const char *text, size_t len)
{
	json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(o) && json_integer_value(json_object_get(o, "format")) == FORMAT)
		return o;
	json_decref(o);
	return NULL;
}

static char *
dump(json_t *o)
{
	char *text;

	CW_ASSERT(o != NULL);
	text = json_dumps(o, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	CW_ASSERT(text != NULL);
	json_decref(o);
	return text;
}

/* ---- volume.json ---- */

char *
vol_info_encode(const struct vol_info *v)
{
	char uuid[2 * VOL_UUID_LEN + 1], check[2 * VOL_KEY_CHECK_LEN + 1];
	json_t *o, *from;

	digest_hex(v->uuid, VOL_UUID_LEN, uuid);
	digest_hex(v->key_check, VOL_KEY_CHECK_LEN, check);
	o = json_pack("{s:i s:s s:s s:I s:I s:I s:s s:s}", "format", FORMAT, "id", v->id, "uuid",
	    uuid, "size", (json_int_t)v->size_bytes, "logical_block", (json_int_t)v->block_bytes,
	    "created_ns", (json_int_t)v->created_ns, "compression",
	    v->is_compressed ? "zstd" : "none", "encryption", v->has_key ? "aes-256-gcm" : "none");
	CW_ASSERT(o != NULL);
	if (v->has_key)
		(void)json_object_set_new(o, "key_check", json_string(check));
	if (v->is_deleted)
		(void)json_object_set_new(o, "deleted", json_true());
	if (v->origin_volume[0] != '\0') {
		from = json_pack("{s:s s:s s:I}", "volume", v->origin_volume, "prefix",
		    v->origin_prefix, "epoch", (json_int_t)v->origin_epoch);
		CW_ASSERT(from != NULL);
		if (v->origin_snapshot[0] != '\0')
			(void)json_object_set_new(
			    from, "snapshot", json_string(v->origin_snapshot));
		(void)json_object_set_new(o, "origin", from);
	}
	return dump(o);
}

static bool
info_read(const json_t *o, struct vol_info *v)
{
	const char *compression = json_string_value(json_object_get(o, "compression"));
	const char *encryption = json_string_value(json_object_get(o, "encryption"));
	const json_t *from = json_object_get(o, "origin");
	uint64_t n;

	if (!get_id(o, "id", v->id) || !get_hex(o, "uuid", v->uuid, VOL_UUID_LEN) ||
	    !get_number(o, "size", VOL_SIZE_MAX, &v->size_bytes) ||
	    v->size_bytes % (1u << VOL_BLOCK_SHIFT) != 0 ||
	    !get_number(o, "logical_block", 4096, &n) || encryption == NULL)
		return false;
	v->block_bytes = (uint32_t)n;
	v->created_ns = get_time(o, "created_ns");
	v->is_compressed = compression != NULL && strcmp(compression, "zstd") == 0;
	v->has_key = strcmp(encryption, "aes-256-gcm") == 0;
	v->is_deleted = json_is_true(json_object_get(o, "deleted"));
	if (!v->has_key && strcmp(encryption, "none") != 0)
		return false;
	if (v->has_key && !get_hex(o, "key_check", v->key_check, VOL_KEY_CHECK_LEN))
		return false;
	if (from == NULL)
		return true;
	(void)get_text(from, "snapshot", v->origin_snapshot, sizeof(v->origin_snapshot));
	return get_id(from, "volume", v->origin_volume) &&
	       get_text(from, "prefix", v->origin_prefix, sizeof(v->origin_prefix)) &&
	       get_number(from, "epoch", INT64_MAX, &v->origin_epoch);
}

int
vol_info_decode(const char *text, size_t len, struct vol_info *out)
{
	json_t *o = load(text, len);
	bool is_good;

	memset(out, 0, sizeof(*out));
	is_good = o != NULL && info_read(o, out);
	json_decref(o);
	return is_good ? 0 : -ERR_CHECKSUM;
}

/* ---- owner ---- */

char *
vol_owner_encode(const struct vol_owner *v)
{
	return dump(json_pack("{s:i s:s s:I s:I s:s}", "format", FORMAT, "appliance", v->appliance,
	    "term", (json_int_t)v->term, "time_ns", (json_int_t)v->time_ns, "nonce", v->nonce));
}

int
vol_owner_decode(const char *text, size_t len, struct vol_owner *out)
{
	json_t *o = load(text, len);
	uint64_t term = 0;
	bool is_good;

	memset(out, 0, sizeof(*out));
	is_good = o != NULL && get_text(o, "appliance", out->appliance, sizeof(out->appliance)) &&
		  get_number(o, "term", UINT32_MAX, &term) &&
		  get_text(o, "nonce", out->nonce, sizeof(out->nonce));
	out->term = (uint32_t)term;
	out->time_ns = o != NULL ? get_time(o, "time_ns") : 0;
	json_decref(o);
	return is_good && term > 0 ? 0 : -ERR_CHECKSUM;
}

/* ---- snapshots and clones ---- */

char *
vol_pin_encode(const struct vol_pin *p)
{
	char map[64];
	json_t *o;

	o = json_pack("{s:i s:s s:s s:I s:I s:I}", "format", FORMAT,
	    p->is_clone ? "clone" : "snapshot", p->id, "volume", p->volume, "epoch",
	    (json_int_t)p->epoch, "size", (json_int_t)p->size_bytes, "time_ns",
	    (json_int_t)p->time_ns);
	CW_ASSERT(o != NULL);
	if (p->is_clone)
		return dump(o);
	(void)snprintf(
	    map, sizeof(map), "map/%08" PRIx32 "-%016" PRIx64, p->map_term, p->map_epoch);
	(void)json_object_set_new(o, "map", json_string(map));
	if (p->description != NULL) { /* whatever is not UTF-8 is left out */
		json_t *text = json_string(p->description);

		if (text != NULL)
			(void)json_object_set_new(o, "description", text);
	}
	return dump(o);
}

static bool
pin_read(const json_t *o, struct vol_pin *p)
{
	const char *description = json_string_value(json_object_get(o, "description"));
	char map[64];

	p->is_clone = json_object_get(o, "clone") != NULL;
	if (!get_id(o, p->is_clone ? "clone" : "snapshot", p->id) ||
	    !get_id(o, "volume", p->volume) || !get_number(o, "epoch", INT64_MAX, &p->epoch))
		return false;
	p->time_ns = get_time(o, "time_ns");
	(void)get_number(o, "size", VOL_SIZE_MAX, &p->size_bytes);
	if (p->is_clone)
		return true;
	if (!get_text(o, "map", map, sizeof(map)) || strncmp(map, "map/", 4) != 0 ||
	    !vol_name_parse(map + 4, &p->map_term, &p->map_epoch) || p->map_epoch != p->epoch)
		return false;
	p->description = description != NULL ? xstrdup(description) : NULL;
	return true;
}

int
vol_pin_decode(const char *text, size_t len, struct vol_pin *out)
{
	json_t *o = load(text, len);
	bool is_good;

	memset(out, 0, sizeof(*out));
	is_good = o != NULL && pin_read(o, out);
	json_decref(o);
	return is_good ? 0 : -ERR_CHECKSUM;
}
