/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/volume/vol_ckpt.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/aead.h"
#include "gateway/base/be.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"

#define MAGIC "CWVOLMAP"
#define VERSION 1u
#define FIXED 128u
#define CHUNK_HEAD 16u
#define PAYLOAD_MAX (1u << 20)
#define RECORD_MAX 1024u /* no record is longer */
#define PREFIX_MAX 512u

enum chunk_type { CHUNK_SOURCE = 1, CHUNK_OBJECT, CHUNK_POINT, CHUNK_EXTENT, CHUNK_MAX };

static uint64_t
zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static int64_t
unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* ---- writing ---- */

struct chunk_writer {
	struct strbuf *out;
	enum chunk_type type;
	uint32_t records;
	size_t start; /* of the chunk in out; its head is filled in at the end */
};

static void
chunk_begin(struct chunk_writer *w, enum chunk_type type)
{
	static const uint8_t zeros[CHUNK_HEAD];

	w->type = type;
	w->records = 0;
	w->start = w->out->len;
	strbuf_add(w->out, zeros, sizeof(zeros));
}

static void
chunk_end(struct chunk_writer *w)
{
	uint8_t *p = (uint8_t *)w->out->s + w->start;
	size_t len = w->out->len - w->start - CHUNK_HEAD;
	uint32_t crc;

	if (w->records == 0) {
		w->out->len = w->start;
		return;
	}
	be_store_u32(p, w->type);
	be_store_u32(p + 4, (uint32_t)len);
	be_store_u32(p + 8, w->records);
	crc = digest_crc32c(0, p, 12);
	be_store_u32(p + 12, digest_crc32c(crc, p + CHUNK_HEAD, len));
}

/* chunk_record - begin a record. result: true if it is the first of its chunk */
static bool
chunk_record(struct chunk_writer *w)
{
	if (w->out->len - w->start > PAYLOAD_MAX - RECORD_MAX) {
		chunk_end(w);
		chunk_begin(w, w->type);
	}
	return w->records++ == 0;
}

static uint8_t *
varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static void
add_varint(struct chunk_writer *w, uint64_t v)
{
	uint8_t tmp[10];

	strbuf_add(w->out, tmp, (size_t)(varint(tmp, v) - tmp));
}

static void
put_sources(struct chunk_writer *w, const struct vol_image *im)
{
	chunk_begin(w, CHUNK_SOURCE);
	for (uint32_t i = 0; i < im->nsources; i++) {
		const struct vol_source *s = &im->sources[i];

		(void)chunk_record(w);
		add_varint(w, strlen(s->id));
		strbuf_adds(w->out, s->id);
		add_varint(w, strlen(s->prefix));
		strbuf_adds(w->out, s->prefix);
		strbuf_add(w->out, s->uuid, VOL_UUID_LEN);
		add_varint(w, s->epoch);
	}
	chunk_end(w);
}

/* put_objects - and give them numbers without gaps. result: how many */
static uint64_t
put_objects(struct chunk_writer *w, const struct vol_image *im, uint32_t *numbers)
{
	uint32_t n = 0;

	chunk_begin(w, CHUNK_OBJECT);
	for (uint32_t i = 0; i < im->nobjects; i++) {
		const struct vol_object *o = &im->objects[i];

		if (o->bytes == 0)
			continue;
		numbers[i] = n++;
		(void)chunk_record(w);
		add_varint(w, o->source);
		add_varint(w, o->term);
		add_varint(w, o->seq);
		add_varint(w, o->bytes);
		add_varint(w, o->blocks);
		add_varint(w, o->birth);
		add_varint(w, o->death);
		add_varint(w, o->is_sealed ? 1 : 0);
	}
	chunk_end(w);
	return n;
}

static void
put_points(struct chunk_writer *w, const struct vol_image *im)
{
	const struct vol_point none = {0}, *prev = &none;

	chunk_begin(w, CHUNK_POINT);
	for (size_t i = 0; i < im->npoints; i++) {
		const struct vol_point *p = &im->points[i];

		if (chunk_record(w))
			prev = &none;
		add_varint(w, p->epoch - prev->epoch);
		add_varint(w, zigzag((int64_t)((uint64_t)p->time_ns - (uint64_t)prev->time_ns)));
		add_varint(w, p->size_bytes);
		add_varint(w, p->term);
		add_varint(w, p->seq);
		prev = p;
	}
	chunk_end(w);
}

static uint64_t
put_extents(struct chunk_writer *w, const struct vol_image *im, const uint32_t *numbers)
{
	uint64_t n = 0, block = 0, end = 0, frame_end = 0;
	uint32_t object = 0;
	struct vol_piece p;

	chunk_begin(w, CHUNK_EXTENT);
	while (vol_map_next(&im->map, block, UINT64_MAX, &p)) {
		uint32_t tag = im->objects[p.object].is_sealed ? AEAD_TAG_LEN : 0;
		uint8_t tmp[64], *q = tmp;

		if (chunk_record(w)) {
			end = frame_end = 0;
			object = 0;
		}
		q = varint(q, p.block - end);
		*q++ = (uint8_t)((p.nblocks - 1) << 4 | p.skip);
		*q++ = (uint8_t)((p.frame_blocks - 1u) << 1 | p.comp);
		q = varint(q, zigzag((int64_t)numbers[p.object] - (int64_t)object));
		q = varint(q, zigzag((int64_t)p.stored_off - (int64_t)frame_end));
		if (p.comp != VOL_PLAIN)
			q = varint(q, p.stored_len - tag);
		be_store_u32(q, p.crc);
		strbuf_add(w->out, tmp, (size_t)(q + 4 - tmp));
		block = end = p.block + p.nblocks;
		frame_end = (uint64_t)p.stored_off + p.stored_len;
		object = numbers[p.object];
		n++;
	}
	chunk_end(w);
	return n;
}

void
vol_ckpt_encode(const struct vol_image *im, const struct vol_ckpt *head, struct strbuf *out)
{
	uint32_t *numbers = xcalloc(im->nobjects + 1u, sizeof(*numbers));
	size_t start = out->len;
	struct chunk_writer cw = {.out = out};
	uint64_t nobjects, nextents;
	uint8_t fixed[FIXED] = {0};
	struct be_writer w;

	strbuf_add(out, fixed, sizeof(fixed));
	put_sources(&cw, im);
	nobjects = put_objects(&cw, im, numbers);
	put_points(&cw, im);
	nextents = put_extents(&cw, im, numbers);
	be_writer_init(&w, fixed, sizeof(fixed));
	be_put_bytes(&w, MAGIC, 8);
	be_put_u32(&w, VERSION);
	be_put_u32(&w, 0);
	be_put_bytes(&w, im->uuid, VOL_UUID_LEN);
	be_put_u32(&w, head->term);
	be_put_u32(&w, im->nsources);
	be_put_u64(&w, im->at.epoch);
	be_put_u64(&w, im->at.size_bytes);
	be_put_u64(&w, (uint64_t)im->at.time_ns);
	be_put_u32(&w, im->at.term);
	be_put_u32(&w, 0);
	be_put_u64(&w, im->at.seq);
	be_put_u64(&w, head->floor);
	be_put_u64(&w, nobjects);
	be_put_u64(&w, im->npoints);
	be_put_u64(&w, nextents);
	be_put_u64(&w, out->len - start);
	be_put_u32(&w, 0);
	be_put_u32(&w, digest_crc32c(0, fixed, FIXED - 4));
	CW_ASSERT(!w.bad);
	memcpy(out->s + start, fixed, sizeof(fixed));
	free(numbers);
}

/* ---- reading ---- */

struct ckpt_reader {
	struct vol_image *im;
	struct vol_point at;
	uint64_t left[CHUNK_MAX]; /* records still to come, by type */
	uint64_t block_end;
};

static uint64_t
get_varint(struct be_reader *r)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		const uint8_t *p = be_bytes(r, 1);

		if (p == NULL)
			return 0;
		if (shift == 63 && *p > 1)
			break;
		v |= (uint64_t)(*p & 0x7f) << shift;
		if (!(*p & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static bool
get_text(struct be_reader *r, char *out, size_t cap)
{
	uint64_t n = get_varint(r);
	const uint8_t *p = n < cap ? be_bytes(r, (size_t)n) : NULL;

	if (p == NULL || memchr(p, '\0', (size_t)n) != NULL)
		return false;
	memcpy(out, p, (size_t)n);
	out[n] = '\0';
	return true;
}

static const char *
get_source(struct ckpt_reader *c, struct be_reader *r)
{
	uint32_t n = c->im->nsources;
	struct vol_source s = {0};
	char prefix[PREFIX_MAX];
	const uint8_t *uuid;

	if (!get_text(r, s.id, sizeof(s.id)) || !get_text(r, prefix, sizeof(prefix)) ||
	    !vol_id_is_valid(s.id))
		return "bad source";
	uuid = be_bytes(r, VOL_UUID_LEN);
	if (uuid != NULL)
		memcpy(s.uuid, uuid, VOL_UUID_LEN);
	s.epoch = get_varint(r);
	s.prefix = prefix;
	if (r->bad || vol_image_add_source(c->im, &s) != n + 1)
		return "bad source";
	return NULL;
}

static const char *
get_object(struct ckpt_reader *c, struct be_reader *r)
{
	struct vol_object o = {0};
	uint64_t source = get_varint(r), term = get_varint(r), blocks, flags;

	o.seq = get_varint(r);
	o.bytes = get_varint(r);
	blocks = get_varint(r);
	o.birth = get_varint(r);
	o.death = get_varint(r);
	flags = get_varint(r);
	if (r->bad || source > c->im->nsources || term == 0 || term > UINT32_MAX || flags > 1 ||
	    o.bytes < VOL_LOG_FIXED || o.bytes > UINT32_MAX || blocks > UINT32_MAX ||
	    o.birth > c->at.epoch || o.death > c->at.epoch)
		return "bad object";
	o.source = (uint32_t)source;
	o.term = (uint32_t)term;
	o.blocks = (uint32_t)blocks;
	o.is_sealed = flags == 1;
	if (vol_image_find(c->im, o.source, o.term, o.seq) != VOL_NO_OBJECT)
		return "object twice";
	(void)vol_image_add(c->im, &o);
	return NULL;
}

static const char *
get_point(struct ckpt_reader *c, struct be_reader *r, struct vol_point *prev)
{
	const struct vol_image *im = c->im;
	struct vol_point p;
	uint64_t term;

	p.epoch = prev->epoch + get_varint(r);
	p.time_ns = (int64_t)((uint64_t)prev->time_ns + (uint64_t)unzigzag(get_varint(r)));
	p.size_bytes = get_varint(r);
	term = get_varint(r);
	p.seq = get_varint(r);
	p.term = (uint32_t)term;
	if (r->bad || term > UINT32_MAX || p.size_bytes > c->at.size_bytes ||
	    p.size_bytes % (1u << VOL_BLOCK_SHIFT) != 0 || p.epoch > c->at.epoch ||
	    (im->npoints > 0 && p.epoch <= im->points[im->npoints - 1].epoch))
		return "bad point";
	vol_image_add_point(c->im, &p);
	*prev = p;
	return NULL;
}

struct extent_state {
	uint64_t end, frame_end;
	uint32_t object;
};

static const char *
get_extent(struct ckpt_reader *c, struct be_reader *r, struct extent_state *prev)
{
	uint64_t gap = get_varint(r), len = 0, limit = c->at.size_bytes >> VOL_BLOCK_SHIFT;
	const uint8_t *bytes = be_bytes(r, 2);
	int64_t object = unzigzag(get_varint(r)), off = unzigzag(get_varint(r));
	struct vol_piece p = {0};
	struct vol_object *o;

	if (r->bad || gap > limit || object > UINT32_MAX || object < -(int64_t)UINT32_MAX ||
	    off > UINT32_MAX || off < -(int64_t)UINT32_MAX - UINT16_MAX * 2)
		return "bad extent";
	p.block = prev->end + gap;
	p.nblocks = (uint32_t)(bytes[0] >> 4) + 1;
	p.skip = bytes[0] & 15;
	p.frame_blocks = (uint8_t)((bytes[1] >> 1 & 15) + 1);
	p.comp = bytes[1] & 1;
	object += prev->object;
	off += (int64_t)prev->frame_end;
	if (bytes[1] > 31 || object < 0 || object >= c->im->nobjects || off < VOL_LOG_FIXED ||
	    off > UINT32_MAX || p.block < c->block_end || p.block + p.nblocks > limit ||
	    p.skip + p.nblocks > p.frame_blocks)
		return "bad extent";
	if (p.comp != VOL_PLAIN)
		len = get_varint(r);
	p.crc = be_u32(r);
	o = &c->im->objects[object];
	if (r->bad || (p.comp != VOL_PLAIN && (len == 0 || len >= (uint64_t)p.frame_blocks << 12)))
		return "bad extent";
	if (p.comp == VOL_PLAIN)
		len = (uint64_t)p.frame_blocks << VOL_BLOCK_SHIFT;
	len += o->is_sealed ? AEAD_TAG_LEN : 0;
	if ((uint64_t)off + len > o->bytes || o->blocks - o->live < p.nblocks || o->death != 0)
		return "extent does not fit its object";
	p.object = (uint32_t)object;
	p.stored_off = (uint32_t)off;
	p.stored_len = (uint32_t)len;
	o->live += p.nblocks;
	vol_map_load(&c->im->map, &p);
	prev->end = c->block_end = p.block + p.nblocks;
	prev->frame_end = (uint64_t)off + len;
	prev->object = p.object;
	return NULL;
}

static const char *
get_records(struct ckpt_reader *c, enum chunk_type type, struct be_reader *r, uint32_t records)
{
	struct extent_state extent = {0};
	struct vol_point point = {0};
	const char *why = NULL;

	for (; why == NULL && records > 0; records--) {
		if (type == CHUNK_SOURCE)
			why = get_source(c, r);
		else if (type == CHUNK_OBJECT)
			why = get_object(c, r);
		else if (type == CHUNK_POINT)
			why = get_point(c, r, &point);
		else
			why = get_extent(c, r, &extent);
	}
	if (why == NULL && be_left(r) > 0)
		why = "bytes left over in a chunk";
	return why;
}

static const char *
get_chunks(struct ckpt_reader *c, struct be_reader *r)
{
	uint32_t last = CHUNK_SOURCE;

	while (be_left(r) > 0) {
		const uint8_t *head = r->p;
		uint32_t type = be_u32(r), len = be_u32(r), records = be_u32(r), crc = be_u32(r);
		const uint8_t *payload = len <= PAYLOAD_MAX ? be_bytes(r, len) : NULL;
		struct be_reader sub;
		const char *why;

		if (payload == NULL)
			return "chunk cut short";
		if (digest_crc32c(digest_crc32c(0, head, 12), payload, len) != crc)
			return "checksum of a chunk";
		if (type < last || type >= CHUNK_MAX || records == 0 || records > c->left[type])
			return "chunk out of order";
		last = type;
		c->left[type] -= records;
		be_reader_init(&sub, payload, len);
		why = get_records(c, (enum chunk_type)type, &sub, records);
		if (why != NULL)
			return why;
	}
	for (uint32_t i = CHUNK_SOURCE; i < CHUNK_MAX; i++)
		if (c->left[i] != 0)
			return "chunks are missing";
	return NULL;
}

static const char *
get_head(struct ckpt_reader *c, struct be_reader *r, struct vol_ckpt *head, uint8_t *uuid)
{
	const uint8_t *start = r->p, *magic = be_bytes(r, 8), *p;
	size_t len = (size_t)(r->end - start);
	uint32_t version = be_u32(r);

	if (magic == NULL || memcmp(magic, MAGIC, 8) != 0 || version != VERSION)
		return "not a checkpoint of this version";
	(void)be_u32(r);
	p = be_bytes(r, VOL_UUID_LEN);
	if (p == NULL || len < FIXED)
		return "cut short";
	memcpy(uuid, p, VOL_UUID_LEN);
	head->term = be_u32(r);
	c->left[CHUNK_SOURCE] = be_u32(r);
	c->at.epoch = be_u64(r);
	c->at.size_bytes = be_u64(r);
	c->at.time_ns = (int64_t)be_u64(r);
	c->at.term = be_u32(r);
	(void)be_u32(r);
	c->at.seq = be_u64(r);
	head->floor = be_u64(r);
	c->left[CHUNK_OBJECT] = be_u64(r);
	c->left[CHUNK_POINT] = be_u64(r);
	c->left[CHUNK_EXTENT] = be_u64(r);
	if (be_u64(r) != len)
		return "cut short";
	(void)be_u32(r);
	if (digest_crc32c(0, start, FIXED - 4) != be_u32(r))
		return "checksum of the head";
	if (head->term == 0 || c->at.size_bytes % (1u << VOL_BLOCK_SHIFT) != 0 ||
	    c->at.size_bytes > VOL_SIZE_MAX || c->left[CHUNK_OBJECT] >= VOL_NO_OBJECT / 2 ||
	    c->left[CHUNK_POINT] == 0)
		return "bad head";
	return NULL;
}

int
vol_ckpt_decode(
    const void *data, size_t len, struct vol_image *out, struct vol_ckpt *head, const char **why)
{
	uint8_t uuid[VOL_UUID_LEN] = {0};
	struct vol_ckpt unused;
	struct ckpt_reader c = {.im = out};
	struct be_reader r;
	const char *problem;

	if (head == NULL)
		head = &unused;
	be_reader_init(&r, data, len);
	problem = get_head(&c, &r, head, uuid);
	vol_image_init(out, uuid);
	out->at = c.at;
	if (problem == NULL)
		problem = get_chunks(&c, &r);
	if (problem == NULL) {
		const struct vol_point *last = &out->points[out->npoints - 1];

		if (last->epoch != c.at.epoch || last->seq != c.at.seq || last->term != c.at.term)
			problem = "its own epoch is not among the points";
	}
	if (why != NULL)
		*why = problem;
	if (problem != NULL) {
		vol_image_free(out);
		return -ERR_CHECKSUM;
	}
	vol_image_count(out);
	return 0;
}
