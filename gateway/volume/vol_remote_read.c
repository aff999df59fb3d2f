/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote_read.c - bytes of the committed image: pieces of the map, gathered into ranged GETs of
 * whole frames, decoded on threads of their own, every frame verified before a byte of it is used.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/list.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/base/workq.h"
#include "gateway/volume/vol_int.h"

#define GET_BYTES (4u << 20)  /* of one GET, about: what the cache asks for at once */
#define GAP_BYTES (32u << 10) /* read over rather than ask again */
#define DECODERS 2u
#define HOLE_LOOK (64ull << 30) /* how far one question looks */
#define HOLE_PIECES 256u
#define TRIES 3u

static pthread_once_t pool_once = PTHREAD_ONCE_INIT;
static struct workq
    *pool; /* lives as long as the process: a store's thread may be about to wake it */

static void
pool_start(void)
{
	CW_ASSERT(workq_new("volread", DECODERS, &pool) == 0);
}

void
voli_reader_start(void)
{
	CW_ASSERT(pthread_once(&pool_once, pool_start) == 0);
}

/* ---- one GET ---- */

struct reading { /* a call of voli_read */
	struct vol_remote *r;
	unsigned int left; /* atomic */
	int err;	   /* the first, atomic */
	void (*done)(void *arg, int result);
	void *arg;
};

struct reading_get {
	struct reading *rd;
	struct objstore_req req;
	struct work work;
	char key[VOL_KEY_MAX];
	const struct vol_want *wants;
	size_t nwants;
	uint8_t uuid[VOL_UUID_LEN];
};

static void
reading_end(struct reading *rd, int err)
{
	int none = 0;

	if (err < 0)
		(void)__atomic_compare_exchange_n(
		    &rd->err, &none, err, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	if (__atomic_sub_fetch(&rd->left, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	err = __atomic_load_n(&rd->err, __ATOMIC_ACQUIRE);
	rd->done(rd->arg, err);
	free(rd);
}

static int
damaged(const struct reading_get *g, const struct vol_piece *p, const char *why)
{
	log_err("gateway.volume", "damaged",
	    "key=\"%s\" block=%" PRIu64 " at=%u why=\"%s\": nothing of it is served", g->key,
	    p->block, p->stored_off, why);
	voli_reason(g->rd->r, "%s: damaged, %s; what lies there cannot be read", g->key, why);
	return -ERR_CHECKSUM;
}

/* open_frame - verify and decode the frame of p into out. */
static int
open_frame(struct reading_get *g, struct vol_coder *coder, const uint8_t *object_key,
    const struct vol_piece *p, uint8_t *out)
{
	struct vol_extent e = {.block = p->block - p->skip,
	    .nblocks = p->frame_blocks,
	    .comp = p->comp,
	    .stored_off = p->stored_off,
	    .stored_len = p->stored_len,
	    .crc = p->crc};
	const uint8_t *stored = (const uint8_t *)g->req.buf + (p->stored_off - g->req.range_off);
	const char *why = NULL;
	int err = vol_frame_decode(coder, object_key, &e, stored, out, &why);

	return err < 0 ? damaged(g, p, why) : 0;
}

static int
decode(struct reading_get *g)
{
	struct vol_coder *coder = vol_coder_new();
	uint8_t *plain = xmalloc(VOL_FRAME_BYTES), object_key[32], *k = NULL;
	uint32_t have = 0; /* the frame in plain; no frame begins at 0 */
	int err = 0;

	if (g->wants[0].is_sealed) {
		k = object_key;
		vol_object_key(
		    g->rd->r->key, g->uuid, g->wants[0].term, g->wants[0].seq, object_key);
	}
	for (size_t i = 0; err == 0 && i < g->nwants; i++) {
		const struct vol_piece *p = &g->wants[i].piece;

		if (p->nblocks == p->frame_blocks) { /* all of it is wanted: where it goes */
			err = open_frame(g, coder, k, p, g->wants[i].to);
			continue;
		}
		if (p->stored_off != have) {
			err = open_frame(g, coder, k, p, plain);
			have = p->stored_off;
		}
		if (err == 0)
			memcpy(g->wants[i].to, plain + ((size_t)p->skip << VOL_BLOCK_SHIFT),
			    (size_t)p->nblocks << VOL_BLOCK_SHIFT);
	}
	free(plain);
	vol_coder_free(coder);
	return err;
}

static void
get_work(struct work *w)
{
	struct reading_get *g = container_of(w, struct reading_get, work);
	struct reading *rd = g->rd;
	int err = g->req.result;

	if (err == -ERR_INVALID_RANGE || (err == 0 && g->req.got != g->req.range_len))
		err = damaged(g, &g->wants[0].piece, "the object is cut short");
	else if (err == 0 && g->req.size != g->wants[0].bytes)
		err = damaged(g, &g->wants[0].piece, "the object has another length");
	else if (err == 0)
		err = decode(g);
	else if (err == -ENOENT) /* whoever asked looks whether the map moved on */
		log_warn("gateway.volume", "missing", "key=\"%s\"", g->key);
	free(g->req.buf);
	objstore_req_clear(&g->req);
	free(g);
	reading_end(rd, err);
}

static void
get_done(struct objstore_req *req)
{
	struct reading_get *g = req->ctx;

	workq_submit(pool, &g->work);
}

/* ---- many wants ---- */

void
voli_want(const struct vol_remote *r, const struct vol_piece *p, struct vol_want *w)
{
	const struct vol_object *o = &r->im.objects[p->object];

	*w = (struct vol_want){.piece = *p,
	    .source = o->source,
	    .term = o->term,
	    .seq = o->seq,
	    .bytes = (uint32_t)o->bytes,
	    .is_sealed = o->is_sealed};
}

static int
want_compare(const void *a, const void *b)
{
	const struct vol_piece *x = &((const struct vol_want *)a)->piece;
	const struct vol_piece *y = &((const struct vol_want *)b)->piece;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	if (x->stored_off != y->stored_off)
		return x->stored_off < y->stored_off ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

/* group - how many of the wants go into one GET. */
static size_t
group(const struct vol_want *w, size_t n, uint64_t *end)
{
	const struct vol_piece *first = &w[0].piece;
	size_t i;

	*end = (uint64_t)first->stored_off + first->stored_len;
	for (i = 1; i < n; i++) {
		const struct vol_piece *p = &w[i].piece;
		uint64_t e = (uint64_t)p->stored_off + p->stored_len;

		if (p->object != first->object || p->stored_off > *end + GAP_BYTES ||
		    e > (uint64_t)first->stored_off + GET_BYTES)
			break;
		*end = e > *end ? e : *end;
	}
	return i;
}

static struct reading_get *
get_new(struct reading *rd, const struct vol_want *w, size_t n, uint64_t end)
{
	struct reading_get *g = xcalloc(1, sizeof(*g));
	struct vol_place pl;

	g->rd = rd;
	g->wants = w;
	g->nwants = n;
	g->work.fn = get_work;
	CW_ASSERT(voli_place(rd->r, w[0].source, &pl));
	memcpy(g->uuid, pl.uuid, VOL_UUID_LEN);
	vol_key_log(g->key, pl.prefix, pl.id, w[0].term, w[0].seq);
	g->req = (struct objstore_req){.op = OBJ_GET,
	    .key = g->key,
	    .range_off = w[0].piece.stored_off,
	    .range_len = end - w[0].piece.stored_off,
	    .buf_cap = (size_t)(end - w[0].piece.stored_off),
	    .done = get_done,
	    .ctx = g};
	g->req.buf = xmalloc(g->req.buf_cap);
	return g;
}

void
voli_read(struct vol_remote *r, struct objstore *store, struct vol_want *wants, size_t n,
    void (*done)(void *arg, int result), void *arg)
{
	struct reading *rd = xcalloc(1, sizeof(*rd));

	*rd = (struct reading){.r = r, .left = 1, .done = done, .arg = arg};
	if (n > 1)
		qsort(wants, n, sizeof(*wants), want_compare);
	for (size_t i = 0; i < n;) {
		struct reading_get *g;
		uint64_t end;
		size_t count = group(wants + i, n - i, &end);

		g = get_new(rd, wants + i, count, end);
		(void)__atomic_add_fetch(&rd->left, 1, __ATOMIC_ACQ_REL);
		objstore_submit(store, &g->req);
		i += count;
	}
	reading_end(rd, 0);
}

struct read_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
	int result;
};

static void
wait_done(void *arg, int result)
{
	struct read_wait *w = arg;

	pthread_mutex_lock(&w->lock);
	w->is_done = true;
	w->result = result;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

int
voli_read_wait(struct vol_remote *r, struct vol_want *wants, size_t n)
{
	struct read_wait w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	voli_read(r, r->store, wants, n, wait_done, &w);
	pthread_mutex_lock(&w.lock);
	while (!w.is_done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_mutex_destroy(&w.lock);
	pthread_cond_destroy(&w.cond);
	return w.result;
}

/* ---- public ---- */

struct fetch {
	struct vol_remote *r;
	uint64_t off;
	uint32_t len;
	uint8_t *buf;
	void (*done)(void *arg, int result);
	void *arg;
	unsigned int tries, turn;
	struct objstore *store;
	struct vol_want *wants;
};

/* look_up - the pieces of [off, off + len); zeros where there are none. locked */
static size_t
look_up(struct fetch *f)
{
	uint64_t block = f->off >> VOL_BLOCK_SHIFT, end = (f->off + f->len) >> VOL_BLOCK_SHIFT;
	uint64_t at = block;
	size_t n = 0, cap = 0;
	struct vol_piece p;

	while (at < end && vol_map_next(&f->r->im.map, at, end, &p)) {
		if (n == cap) {
			cap = cap > 0 ? 2 * cap : 8;
			f->wants = xrealloc(f->wants, cap * sizeof(*f->wants));
		}
		memset(f->buf + ((at - block) << VOL_BLOCK_SHIFT), 0,
		    (p.block - at) << VOL_BLOCK_SHIFT);
		voli_want(f->r, &p, &f->wants[n]);
		f->wants[n++].to = f->buf + ((p.block - block) << VOL_BLOCK_SHIFT);
		at = p.block + p.nblocks;
	}
	memset(f->buf + ((at - block) << VOL_BLOCK_SHIFT), 0, (end - at) << VOL_BLOCK_SHIFT);
	return n;
}

static void fetch_done(void *arg, int result);

static void
fetch_start(struct fetch *f)
{
	size_t n;

	free(f->wants);
	f->wants = NULL;
	pthread_mutex_lock(&f->r->lock);
	n = look_up(f);
	pthread_mutex_unlock(&f->r->lock);
	voli_read(f->r, f->store, f->wants, n, fetch_done, f);
}

static void
fetch_done(void *arg, int result)
{
	struct fetch *f = arg;
	struct vol_remote *r = f->r;
	unsigned int turn;

	/* an object that went: the map has moved on, unless it was lost */
	if (result == -ENOENT && ++f->tries < TRIES) {
		fetch_start(f);
		return;
	}
	if (result == -ENOENT) {
		log_err("gateway.volume", "object-lost",
		    "volume=%s off=%" PRIu64 " len=%u: a log object is gone", r->id, f->off,
		    f->len);
		voli_reason(
		    r, "a log object is gone: bytes from %" PRIu64 " on cannot be read", f->off);
		result = -EIO;
	}
	f->done(f->arg, result);
	turn = f->turn;
	free(f->wants);
	free(f);
	pthread_mutex_lock(&r->lock);
	if (--r->fetches[turn] == 0)
		pthread_cond_broadcast(&r->idle);
	pthread_mutex_unlock(&r->lock);
}

void
vol_remote_fetch(struct vol_remote *r, uint64_t off, uint32_t len, void *buf,
    void (*done)(void *arg, int result), void *arg)
{
	struct fetch *f = xcalloc(1, sizeof(*f));
	bool is_closing;

	*f = (struct fetch){.r = r, .off = off, .len = len, .buf = buf, .done = done, .arg = arg};
	pthread_mutex_lock(&r->lock);
	is_closing = r->is_closing;
	f->turn = r->fetch_turn;
	f->store = r->store;
	if (!is_closing)
		r->fetches[f->turn]++;
	pthread_mutex_unlock(&r->lock);
	if (is_closing) {
		free(f);
		done(arg, -ECANCELED);
		return;
	}
	fetch_start(f);
}

bool
vol_remote_hole(struct vol_remote *r, uint64_t off, uint64_t *end)
{
	uint64_t block = off >> VOL_BLOCK_SHIFT, limit, at;
	struct vol_piece p;
	bool is_hole;

	if (*end - off > HOLE_LOOK)
		*end = off + HOLE_LOOK;
	limit = (*end + VOL_BLOCK - 1) >> VOL_BLOCK_SHIFT;
	pthread_mutex_lock(&r->lock);
	is_hole = !vol_map_next(&r->im.map, block, limit, &p);
	at = limit;
	if (!is_hole && p.block > block) {
		is_hole = true;
		at = p.block;
	} else if (!is_hole) {
		at = p.block + p.nblocks;
		for (unsigned int i = 0; i < HOLE_PIECES && at < limit; i++) {
			if (!vol_map_next(&r->im.map, at, at + 1, &p))
				break;
			(void)vol_map_next(&r->im.map, at, limit, &p);
			at = p.block + p.nblocks;
		}
	}
	pthread_mutex_unlock(&r->lock);
	if (at << VOL_BLOCK_SHIFT < *end)
		*end = at << VOL_BLOCK_SHIFT;
	return is_hole;
}
