/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/volume/vol_extract.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_frame.h"

#define GET_BYTES (4u << 20)
#define GAP_BYTES (64u << 10)

struct part { /* a piece and its place in buf */
	struct vol_piece piece;
	uint8_t *to;
};

struct get {
	char key[VOL_KEY_MAX];
	size_t first, n; /* parts */
	uint64_t off;
};

static int
part_compare(const void *a, const void *b)
{
	const struct vol_piece *x = &((const struct part *)a)->piece;
	const struct vol_piece *y = &((const struct part *)b)->piece;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	if (x->stored_off != y->stored_off)
		return x->stored_off < y->stored_off ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

static void
place_of(const struct vol_place *pl, const struct vol_image *im, const struct vol_object *o,
    struct vol_place *out)
{
	*out = *pl;
	if (o->source > 0) {
		const struct vol_source *s = &im->sources[o->source - 1];

		out->prefix = s->prefix;
		out->id = s->id;
		memcpy(out->uuid, s->uuid, VOL_UUID_LEN);
	}
}

/* plan - requests for all parts. result: how many */
static size_t
plan(const struct vol_place *pl, const struct vol_image *im, const struct part *parts, size_t n,
    struct get *gets, struct objstore_req *reqs)
{
	size_t ngets = 0;

	for (size_t i = 0; i < n;) {
		const struct vol_piece *p = &parts[i].piece;
		const struct vol_object *o = &im->objects[p->object];
		uint64_t end = (uint64_t)p->stored_off + p->stored_len;
		struct get *g = &gets[ngets];
		struct vol_place at;

		*g = (struct get){.first = i, .off = p->stored_off};
		place_of(pl, im, o, &at);
		vol_key_log(g->key, at.prefix, at.id, o->term, o->seq);
		for (i++; i < n; i++) {
			const struct vol_piece *q = &parts[i].piece;
			uint64_t e = (uint64_t)q->stored_off + q->stored_len;

			if (q->object != p->object || q->stored_off > end + GAP_BYTES ||
			    e > g->off + GET_BYTES)
				break;
			end = e > end ? e : end;
		}
		g->n = i - g->first;
		reqs[ngets] = (struct objstore_req){
		    .op = OBJ_GET, .key = g->key, .range_off = g->off, .range_len = end - g->off};
		reqs[ngets].buf_cap = (size_t)(end - g->off);
		reqs[ngets].buf = xmalloc(reqs[ngets].buf_cap);
		ngets++;
	}
	return ngets;
}

static int
decode(const struct vol_place *pl, const uint8_t *key, const struct vol_image *im,
    const struct get *g, const struct objstore_req *req, const struct part *parts,
    struct vol_err *e)
{
	const struct vol_object *o = &im->objects[parts[g->first].piece.object];
	struct vol_coder *coder = vol_coder_new();
	uint8_t *plain = xmalloc(VOL_FRAME_BYTES), object_key[32], *k = NULL;
	const char *why = NULL;
	struct vol_place at;
	uint32_t have = 0;
	uint64_t block = 0;

	place_of(pl, im, o, &at);
	if (o->is_sealed && key != NULL) {
		vol_object_key(key, at.uuid, o->term, o->seq, object_key);
		k = object_key;
	}
	if (o->is_sealed && key == NULL)
		why = "it is encrypted, and there is no key";
	else if (req->got != req->range_len || req->size != o->bytes)
		why = "its length is not what the map says";
	for (size_t i = g->first; why == NULL && i < g->first + g->n; i++) {
		const struct vol_piece *p = &parts[i].piece;
		struct vol_extent x = {.block = p->block - p->skip,
		    .nblocks = p->frame_blocks,
		    .comp = p->comp,
		    .stored_off = p->stored_off,
		    .stored_len = p->stored_len,
		    .crc = p->crc};

		block = p->block;
		if (p->stored_off != have)
			(void)!vol_frame_decode(coder, k, &x,
			    (const uint8_t *)req->buf + (p->stored_off - g->off), plain, &why);
		have = p->stored_off;
		if (why == NULL)
			memcpy(parts[i].to, plain + ((size_t)p->skip << VOL_BLOCK_SHIFT),
			    (size_t)p->nblocks << VOL_BLOCK_SHIFT);
	}
	if (why != NULL)
		vol_err_set(
		    e, "%s: damaged: %s (block %" PRIu64 " of the volume)", g->key, why, block);
	free(plain);
	vol_coder_free(coder);
	return why == NULL ? 0 : -ERR_CHECKSUM;
}

static int
get_all(const struct vol_place *pl, const uint8_t *key, const struct vol_image *im,
    const struct part *parts, size_t n, struct vol_err *e)
{
	struct objstore_req *reqs = xcalloc(n, sizeof(*reqs));
	struct get *gets = xcalloc(n, sizeof(*gets));
	size_t ngets = plan(pl, im, parts, n, gets, reqs);
	int err = vol_call_many(pl->store, reqs, ngets, VOL_WIDTH);

	for (size_t i = 0; i < ngets; i++) {
		if (err < 0 && reqs[i].result == err)
			vol_err_set(
			    e, "%s: %s", gets[i].key, err == -ENOENT ? "missing" : err_str(err));
		if (err == 0)
			err = decode(pl, key, im, &gets[i], &reqs[i], parts, e);
		free(reqs[i].buf);
		objstore_req_clear(&reqs[i]);
	}
	free(reqs);
	free(gets);
	return err == -ENOENT || err == -ERR_INVALID_RANGE ? -ERR_CHECKSUM : err;
}

int
vol_extract(const struct vol_place *pl, const uint8_t *key, const struct vol_image *im,
    uint64_t off, size_t len, void *buf, struct vol_err *e)
{
	uint64_t block = off >> VOL_BLOCK_SHIFT, end = (off + len) >> VOL_BLOCK_SHIFT;
	struct part *parts = NULL;
	size_t n = 0, cap = 0;
	struct vol_piece p;
	int err = 0;

	memset(buf, 0, len);
	for (uint64_t at = block; at < end && vol_map_next(&im->map, at, end, &p);
	     at = p.block + p.nblocks) {
		if (n == cap) {
			cap = cap > 0 ? 2 * cap : 64;
			parts = xrealloc(parts, cap * sizeof(*parts));
		}
		parts[n++] = (struct part){
		    p, (uint8_t *)buf + ((size_t)(p.block - block) << VOL_BLOCK_SHIFT)};
	}
	if (n > 1)
		qsort(parts, n, sizeof(*parts), part_compare);
	if (n > 0)
		err = get_all(pl, key, im, parts, n, e);
	free(parts);
	return err;
}
