/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_row.c - what the index keeps of a volume: a node row with its size and limits, which the cache
 * and `causeway check` understand, and a row of kv "volume-state" with the rest as JSON (LOCAL.md).
 *
 * Both are written by collect() in the transaction of the chunks, so that the committed epoch, the seal
 * and the blocks always fit together.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/volume/volume_int.h"

#define NS "volume-state"
#define ROW_VERSION 1

static const char *const source_names[] = {"empty", "snapshot", "volume", "image", "bucket"};

void
volume_row_init(struct volume_row *r)
{
	memset(r, 0, sizeof(*r));
	list_init(&r->snaps);
}

struct volume_snap *
volume_snap_new(const char *id, const char *description)
{
	struct volume_snap *s = xcalloc(1, sizeof(*s));

	list_init(&s->link);
	strncpy(s->id, id, sizeof(s->id) - 1);
	s->description = xstrdup(description != NULL ? description : "");
	return s;
}

void
volume_snap_free(struct volume_snap *s)
{
	list_del(&s->link);
	free(s->description);
	free(s);
}

void
volume_row_free(struct volume_row *r)
{
	free(r->irrecoverable);
	free(r->origin_volume);
	free(r->origin_prefix);
	free(r->origin_snapshot);
	free(r->image_path);
	free(r->pr);
	while (!list_empty(&r->snaps))
		volume_snap_free(container_of(r->snaps.next, struct volume_snap, link));
	volume_row_init(r);
}

void
volume_row_changed(struct cw_volume *v)
{
	v->is_row_changed = true;
	cache_mark(v->space);
}

/* --- out ------------------------------------------------------------------------------------------- */

static void
set_str(json_t *o, const char *key, const char *s)
{
	if (s != NULL)
		json_object_set_new(o, key, json_string(s));
}

static void
set_u64(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)n));
}

static json_t *
snaps_json(const struct volume_row *r)
{
	json_t *all = json_array();
	struct list *l;

	list_for_each(l, &r->snaps)
	{
		const struct volume_snap *s = container_of(l, struct volume_snap, link);
		json_t *o = json_object();

		set_str(o, "id", s->id);
		set_str(o, "description", s->description);
		set_u64(o, "time", (uint64_t)s->time_ns);
		set_u64(o, "epoch", s->epoch);
		json_object_set_new(o, "delete", json_boolean(s->is_delete));
		json_object_set_new(o, "failed", json_boolean(s->has_failed));
		json_array_append_new(all, o);
	}
	return all;
}

static void
set_image(json_t *o, const struct volume_row *r)
{
	json_t *skips = json_array();

	for (unsigned int i = 0; i < r->nskips; i++)
		json_array_append_new(skips,
		    json_pack("[I,I]", (json_int_t)r->skips[i].off, (json_int_t)r->skips[i].end));
	set_str(o, "image", r->image_path);
	set_u64(o, "copied", r->image_copied);
	json_object_set_new(o, "skips", skips);
}

static char *
row_text(const struct cw_volume *v)
{
	const struct volume_row *r = &v->row;
	json_t *o = json_object();
	char *text;

	set_u64(o, "version", ROW_VERSION);
	set_u64(o, "file", v->file.id);
	set_u64(o, "epoch", r->committed_epoch);
	set_u64(o, "epoch-time", (uint64_t)r->committed_time_ns);
	set_u64(o, "sealed-epoch", r->sealed_epoch);
	set_u64(o, "sealed-time", (uint64_t)r->sealed_time_ns);
	json_object_set_new(o, "created", json_boolean(r->is_created));
	json_object_set_new(o, "complete", json_boolean(r->is_complete));
	set_str(o, "irrecoverable", r->irrecoverable);
	set_str(o, "source", source_names[r->source]);
	set_str(o, "origin-volume", r->origin_volume);
	set_str(o, "origin-prefix", r->origin_prefix);
	set_str(o, "origin-snapshot", r->origin_snapshot);
	set_u64(o, "origin-time", (uint64_t)r->origin_time_ns);
	if (r->image_path != NULL)
		set_image(o, r);
	json_object_set_new(o, "snapshots", snaps_json(r));
	set_str(o, "reservations", r->pr);
	text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(o);
	return text;
}

void
volume_row_collect(struct cw_volume *v, struct index_txn *txn)
{
	struct index_node n = {.ino = v->file.id,
	    .space = v->space_id,
	    .name = v->conf.id,
	    .mode = S_IFREG,
	    .size = v->size,
	    .base_limit = v->file.base_limit,
	    .sealed_limit = v->file.sealed_limit,
	    .sealed_size = v->file.sealed_size,
	    .has_sealed = v->file.has_sealed};
	char *text = row_text(v);

	index_txn_put_node(txn, &n);
	index_txn_put_kv(txn, NS, v->conf.id, text);
	free(text);
}

/* --- in ---------------------------------------------------------------------------------------------- */

static uint64_t
get_u64(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static char *
get_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? NULL : xstrdup(s);
}

static void
get_snaps(struct volume_row *r, const json_t *all)
{
	const json_t *o;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)all, i, o)
	{
		const char *id = json_string_value(json_object_get(o, "id"));
		struct volume_snap *s;

		if (id == NULL)
			continue;
		s = volume_snap_new(id, json_string_value(json_object_get(o, "description")));
		s->time_ns = (int64_t)get_u64(o, "time");
		s->epoch = get_u64(o, "epoch");
		s->is_delete = json_is_true(json_object_get(o, "delete"));
		s->has_failed = json_is_true(json_object_get(o, "failed"));
		list_add_tail(&r->snaps, &s->link);
	}
}

static void
get_image(struct volume_row *r, const json_t *o)
{
	const json_t *skips = json_object_get(o, "skips");
	size_t n = json_array_size(skips);

	r->image_path = get_str(o, "image");
	r->image_copied = get_u64(o, "copied");
	for (size_t i = 0; i < n && i < VOLUME_SKIPS_MAX; i++) {
		const json_t *s = json_array_get(skips, i);

		r->skips[r->nskips++] =
		    (struct volume_skip){(uint64_t)json_integer_value(json_array_get(s, 0)),
			(uint64_t)json_integer_value(json_array_get(s, 1))};
	}
}

static int
parse_row(struct volume_row *r, const char *text, uint64_t *file_id)
{
	json_t *o = json_loads(text, 0, NULL);
	const char *source = json_string_value(json_object_get(o, "source"));

	*file_id = get_u64(o, "file");
	if (get_u64(o, "version") != ROW_VERSION || *file_id == 0) {
		json_decref(o);
		return -EUCLEAN;
	}
	r->committed_epoch = get_u64(o, "epoch");
	r->committed_time_ns = (int64_t)get_u64(o, "epoch-time");
	r->sealed_epoch = get_u64(o, "sealed-epoch");
	r->sealed_time_ns = (int64_t)get_u64(o, "sealed-time");
	r->is_created = json_is_true(json_object_get(o, "created"));
	r->is_complete = json_is_true(json_object_get(o, "complete"));
	r->irrecoverable = get_str(o, "irrecoverable");
	for (unsigned int i = 0; i < sizeof(source_names) / sizeof(source_names[0]); i++) {
		if (source != NULL && strcmp(source, source_names[i]) == 0)
			r->source = i;
	}
	r->origin_volume = get_str(o, "origin-volume");
	r->origin_prefix = get_str(o, "origin-prefix");
	r->origin_snapshot = get_str(o, "origin-snapshot");
	r->origin_time_ns = (int64_t)get_u64(o, "origin-time");
	get_image(r, o);
	get_snaps(r, json_object_get(o, "snapshots"));
	r->pr = get_str(o, "reservations");
	json_decref(o);
	return 0;
}

static int
load_node(void *arg, const struct index_node *n)
{
	struct cw_volume *v = arg;

	if (n->ino != v->file.id)
		return 0;
	cache_file_init(&v->file, v->space, n->ino, v, n->base_limit);
	v->file.sealed_limit = n->sealed_limit;
	v->file.sealed_size = n->sealed_size;
	v->file.has_sealed = n->has_sealed;
	v->size = n->size;
	return 1;
}

int
volume_row_load(struct cw_volume *v)
{
	struct index *ix = cache_index(v->cache);
	char *text = index_get_kv(ix, NS, v->conf.id);
	uint64_t id = 0;
	int err;

	if (text == NULL)
		return -ENOENT;
	err = parse_row(&v->row, text, &id);
	free(text);
	if (err != 0)
		return err;
	v->file.id = id;
	err = index_each_node(ix, v->space_id, load_node, v);
	if (err == 1 && v->file.has_sealed != (v->row.sealed_epoch != 0))
		return -EUCLEAN;
	return err == 1 ? 0 : err == 0 ? -EUCLEAN : err;
}

bool
volume_row_exists(struct cache *c, const char *id)
{
	char *text = index_get_kv(cache_index(c), NS, id);
	bool is_there = text != NULL;

	free(text);
	return is_there;
}

int
volume_row_forget(struct cache *c, const char *id)
{
	struct index_txn *t = index_txn_new();
	int err;

	index_txn_put_kv(t, NS, id, NULL);
	err = index_apply(cache_index(c), t);
	index_txn_free(t);
	return err;
}
