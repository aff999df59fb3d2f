/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/volume/vol_store.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define FIRST_BYTES (256u << 10) /* of an object whose size is not known */
#define PART_BYTES (8u << 20)
#define HEAD_BYTES (68u << 10) /* most log headers are not longer */
#define BATCH 64u

void
vol_err_set(struct vol_err *e, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
}

/* ---- many at a time ---- */

struct many {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int running;
	int err;
};

static void
many_done(struct objstore_req *req)
{
	struct many *m = req->ctx;

	pthread_mutex_lock(&m->lock);
	m->running--;
	if (req->result < 0 && m->err == 0)
		m->err = req->result;
	pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

int
vol_call_many(struct objstore *s, struct objstore_req *reqs, size_t n, unsigned int width)
{
	struct many m = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	pthread_mutex_lock(&m.lock);
	for (size_t i = 0; i < n && m.err == 0; i++) {
		while (m.running >= width)
			pthread_cond_wait(&m.cond, &m.lock);
		if (m.err != 0)
			break;
		m.running++;
		pthread_mutex_unlock(&m.lock);
		reqs[i].done = many_done;
		reqs[i].ctx = &m;
		objstore_submit(s, &reqs[i]);
		pthread_mutex_lock(&m.lock);
	}
	while (m.running > 0)
		pthread_cond_wait(&m.cond, &m.lock);
	pthread_mutex_unlock(&m.lock);
	pthread_mutex_destroy(&m.lock);
	pthread_cond_destroy(&m.cond);
	return m.err;
}

/* ---- whole objects ---- */

static int
get_rest(struct objstore *s, const char *key, const char *etag, char *data, size_t from, size_t len)
{
	size_t n = (len - from + PART_BYTES - 1) / PART_BYTES;
	struct objstore_req *reqs = xcalloc(n, sizeof(*reqs));
	int err;

	for (size_t i = 0; i < n; i++) {
		size_t off = from + i * PART_BYTES;

		reqs[i] = (struct objstore_req){.op = OBJ_GET,
		    .key = key,
		    .range_off = off,
		    .range_len = len - off < PART_BYTES ? len - off : PART_BYTES,
		    .if_match = etag[0] != '\0' ? etag : NULL,
		    .buf = data + off};
		reqs[i].buf_cap = (size_t)reqs[i].range_len;
	}
	err = vol_call_many(s, reqs, n, 8);
	for (size_t i = 0; i < n && err == 0; i++)
		if (reqs[i].got != reqs[i].range_len)
			err = -ERR_PROTOCOL;
	for (size_t i = 0; i < n; i++)
		objstore_req_clear(&reqs[i]);
	free(reqs);
	return err;
}

int
vol_get(struct objstore *s, const char *key, uint64_t max, char **out, size_t *len,
    char etag[OBJSTORE_ETAG_MAX])
{
	struct objstore_req req = {.op = OBJ_GET,
	    .key = key,
	    .range_len = FIRST_BYTES,
	    .buf_cap = FIRST_BYTES,
	    .buf = xmalloc(FIRST_BYTES + 1)};
	char *data = req.buf;
	int err = objstore_call(s, &req);

	*out = NULL;
	*len = 0;
	if (err == -ERR_INVALID_RANGE) { /* an empty object */
		err = 0;
		req.got = 0;
		req.size = 0;
	}
	if (err == 0 && req.size > max)
		err = -EFBIG;
	if (err == 0 && req.size > req.got) {
		data = xrealloc(data, req.size + 1);
		err = get_rest(s, key, req.etag, data, req.got, req.size);
	}
	if (err < 0) {
		free(data);
	} else {
		data[req.size] = '\0';
		*out = data;
		*len = req.size;
		if (etag != NULL)
			memcpy(etag, req.etag, OBJSTORE_ETAG_MAX);
	}
	objstore_req_clear(&req);
	return err;
}

int
vol_put(struct objstore *s, const char *key, const void *body, size_t len, const char *if_match,
    bool if_none_match, char etag[OBJSTORE_ETAG_MAX], bool *maybe)
{
	struct objstore_req req = {.op = OBJ_PUT,
	    .key = key,
	    .body = body,
	    .body_len = len,
	    .if_match = if_match,
	    .if_none_match = if_none_match};
	int err = objstore_call(s, &req);

	if (etag != NULL)
		memcpy(etag, req.etag, OBJSTORE_ETAG_MAX);
	if (maybe != NULL)
		*maybe = req.maybe_applied;
	objstore_req_clear(&req);
	return err;
}

int
vol_delete(struct objstore *s, const char *const *keys, size_t n)
{
	int errs[BATCH];
	int err = 0;

	for (size_t at = 0; at < n && err == 0; at += BATCH) {
		struct objstore_req req = {.op = OBJ_DELETE_MANY, .keys = keys + at};

		req.nkeys = n - at < BATCH ? n - at : BATCH;
		req.key_errs = errs;
		memset(errs, 0, sizeof(errs));
		err = objstore_call(s, &req);
		for (size_t i = 0; i < req.nkeys && err == 0; i++)
			if (errs[i] < 0 && errs[i] != -ENOENT)
				err = errs[i];
		objstore_req_clear(&req);
	}
	return err;
}

/* ---- listings ---- */

int
vol_list(struct objstore *s, const char *prefix, const char *start_after,
    int (*fn)(void *arg, const char *rest, const struct objstore_entry *e), void *arg)
{
	size_t skip = strlen(prefix);
	char *token = NULL;
	bool is_more = true;
	int err = 0;

	while (err == 0 && is_more) {
		struct objstore_req req = {.op = OBJ_LIST, .prefix = prefix, .token = token};

		req.start_after = token == NULL ? start_after : NULL;
		err = objstore_call(s, &req);
		for (size_t i = 0; err == 0 && i < req.list.n; i++)
			if (strncmp(req.list.entries[i].key, prefix, skip) == 0)
				err = fn(arg, req.list.entries[i].key + skip, &req.list.entries[i]);
		is_more = req.list.truncated;
		free(token);
		token = req.list.next_token;
		req.list.next_token = NULL;
		objstore_req_clear(&req);
	}
	free(token);
	return err;
}

struct names_list {
	struct vol_names *out;
	uint32_t term;
	uint64_t seq;
};

static int
names_add(void *arg, const char *rest, const struct objstore_entry *e)
{
	struct names_list *l = arg;
	struct vol_names *to = l->out;
	struct vol_name name = {.bytes = e->size};

	if (!vol_name_parse(rest, &name.term, &name.seq) || name.term < l->term ||
	    (name.term == l->term && name.seq < l->seq))
		return 0;
	if (to->n == to->cap) {
		to->cap = to->cap > 0 ? 2 * to->cap : 64;
		to->v = xrealloc(to->v, to->cap * sizeof(*to->v));
	}
	to->v[to->n++] = name;
	return 0;
}

static int
name_compare(const void *a, const void *b)
{
	const struct vol_name *x = a, *y = b;

	if (x->term != y->term)
		return x->term < y->term ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

int
vol_list_names(
    const struct vol_place *pl, const char *dir, uint32_t term, uint64_t seq, struct vol_names *out)
{
	struct names_list l = {.out = out, .term = term, .seq = seq};
	char prefix[VOL_KEY_MAX], after[VOL_KEY_MAX], rest[64];
	int err;

	memset(out, 0, sizeof(*out));
	vol_key(prefix, pl->prefix, pl->id, dir);
	if (seq > 0) /* start-after is exclusive */
		(void)snprintf(
		    rest, sizeof(rest), "%s%08x-%016llx", dir, term, (unsigned long long)(seq - 1));
	else
		(void)snprintf(rest, sizeof(rest), "%s%08x", dir, term);
	vol_key(after, pl->prefix, pl->id, rest);
	err = vol_list(pl->store, prefix, term > 0 || seq > 0 ? after : NULL, names_add, &l);
	if (out->n > 1)
		qsort(out->v, out->n, sizeof(*out->v), name_compare);
	if (err < 0)
		vol_names_free(out);
	return err;
}

void
vol_names_free(struct vol_names *n)
{
	free(n->v);
	memset(n, 0, sizeof(*n));
}

/* ---- headers of log objects ---- */

struct head_get {
	struct objstore_req req;
	char key[VOL_KEY_MAX];
};

static int
get_longer(const struct vol_place *pl, struct head_get *g, uint32_t bytes)
{
	uint64_t size = g->req.size;
	int err;

	free(g->req.buf);
	objstore_req_clear(&g->req);
	g->req = (struct objstore_req){.op = OBJ_GET, .key = g->key, .range_len = bytes};
	g->req.buf_cap = bytes;
	g->req.buf = xmalloc(bytes);
	err = objstore_call(pl->store, &g->req);
	return err == 0 && g->req.size != size ? -ERR_PROTOCOL : err;
}

/* check_log - decode what was read. result: 0, store's error, -ERR_CHECKSUM with *why */
static int
check_log(const struct vol_place *pl, struct head_get *g, const struct vol_name *name,
    struct vol_log *out, const char **why)
{
	uint32_t bytes;
	int err;

	*why = NULL;
	if (g->req.result == 0 && vol_log_peek(g->req.buf, g->req.got, &bytes) == 0 &&
	    bytes > g->req.got && g->req.size >= bytes) {
		err = get_longer(pl, g, bytes);
		if (err < 0)
			return err;
	}
	err = vol_log_decode(g->req.buf, g->req.result == 0 ? g->req.got : 0, out, why);
	if (err == 0 && (out->term != name->term || out->seq != name->seq))
		*why = "its header names another object";
	else if (err == 0 && memcmp(out->uuid, pl->uuid, VOL_UUID_LEN) != 0)
		*why = "it belongs to another volume";
	else if (err == 0 && out->object_bytes != g->req.size)
		*why = "its length is not what its header says";
	if (*why == NULL)
		return 0;
	vol_log_free(out);
	return -ERR_CHECKSUM;
}

static int
read_batch(const struct vol_place *pl, const struct vol_name *names, size_t n, struct vol_log *out,
    const char **why_bad, struct vol_err *e)
{
	struct objstore_req *reqs = xcalloc(n, sizeof(*reqs));
	struct head_get *gets = xcalloc(n, sizeof(*gets));
	int err;

	for (size_t i = 0; i < n; i++) {
		vol_key_log(gets[i].key, pl->prefix, pl->id, names[i].term, names[i].seq);
		reqs[i] = (struct objstore_req){
		    .op = OBJ_GET, .key = gets[i].key, .range_len = HEAD_BYTES};
		reqs[i].buf_cap = HEAD_BYTES;
		reqs[i].buf = xmalloc(HEAD_BYTES);
	}
	err = vol_call_many(pl->store, reqs, n, VOL_WIDTH);
	for (size_t i = 0; i < n; i++) {
		const char *why;

		gets[i].req = reqs[i];
		if (err < 0 && reqs[i].result == err)
			vol_err_set(e, "%s: %s", gets[i].key,
			    err == -ERR_INVALID_RANGE ? "empty" : err_str(err));
		if (err == 0) {
			err = check_log(pl, &gets[i], &names[i], &out[i], &why);
			if (err < 0)
				vol_err_set(e, "%s: damaged: %s", gets[i].key,
				    why != NULL ? why : err_str(err));
			if (err == -ERR_CHECKSUM)
				log_err("gateway.volume", "damaged", "key=\"%s\" why=\"%s\"",
				    gets[i].key, why);
			if (err == -ERR_CHECKSUM && why_bad != NULL) {
				why_bad[i] = why;
				err = 0;
			}
		}
		free(gets[i].req.buf);
		objstore_req_clear(&gets[i].req);
	}
	free(reqs);
	free(gets);
	return err == -ERR_INVALID_RANGE ? -ERR_CHECKSUM : err; /* an empty object */
}

int
vol_read_logs(const struct vol_place *pl, const struct vol_name *names, size_t n,
    struct vol_log *out, const char **why_bad, struct vol_err *e)
{
	int err = 0;

	memset(out, 0, n * sizeof(*out));
	for (size_t at = 0; at < n && err == 0; at += BATCH)
		err = read_batch(pl, names + at, n - at < BATCH ? n - at : BATCH, out + at,
		    why_bad != NULL ? why_bad + at : NULL, e);
	return err;
}
