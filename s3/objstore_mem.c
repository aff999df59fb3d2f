/* SPDX-License-Identifier: Apache-2.0 */
/*
 * objstore_mem.c - object store in memory: a queue and a thread in front of mem_bucket.c.
 *
 * One lock guards queue and bucket.  Requests are carried out in the order of submission, on the
 * store's thread; done() runs there without the lock, as the S3 store's does.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/base/list.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "s3/mem_bucket.h"
#include "s3/objstore_int.h"
#include "s3/objstore_mem.h"

struct mem_fail {
	int err;
	bool apply_first;
	unsigned int count;
};

struct mem_call { /* a request that waits */
	struct list link;
	struct objstore_req *req;
	struct timespec due; /* CLOCK_MONOTONIC */
};

struct mem_store {
	struct objstore base;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	/* under lock */
	struct list queue;
	size_t waiting;
	struct mem_bucket bucket;
	struct mem_fail fails[OBJ_OP_MAX + 1];
	uint64_t counts[OBJ_OP_MAX + 1];
	unsigned int latency_ms, credit;
	bool hold, closing;
	void (*before)(struct objstore_req *req, void *ctx);
	void *before_ctx;
	char *label;
};

static struct mem_store *
mem_of(struct objstore *s)
{
	return container_of(s, struct mem_store, base);
}

static bool
is_write(enum objstore_opcode op)
{
	return op != OBJ_GET && op != OBJ_HEAD && op != OBJ_LIST && op != OBJ_MPU_LIST &&
	       op != OBJ_MPU_PARTS && op != OBJ_BUCKET_HEAD;
}

/* take_failure - is this request to fail? Uses one of the count up. */
static bool
take_failure(struct mem_store *m, enum objstore_opcode op, struct mem_fail *out)
{
	struct mem_fail *f = &m->fails[op];

	if (f->count == 0)
		f = &m->fails[OBJ_OP_MAX];
	if (f->count == 0)
		return false;
	f->count--;
	*out = *f;
	return true;
}

/* carry_out - one request. lock held. */
static void
carry_out(struct mem_store *m, struct objstore_req *req)
{
	struct mem_fail f;

	if (m->closing) {
		req->result = -ECANCELED;
		return;
	}
	m->counts[req->op]++;
	m->counts[OBJ_OP_MAX]++;
	if (!take_failure(m, req->op, &f)) {
		mem_bucket_run(&m->bucket, req);
		return;
	}
	if (f.apply_first) {
		struct objstore_req shadow = *req;

		/* carried out on a copy, so that nothing of the answer gets through */
		mem_bucket_run(&m->bucket, &shadow);
		objstore_req_clear(&shadow);
		req->maybe_applied = is_write(req->op);
	}
	req->result = f.err;
}

static bool
is_due(const struct timespec *due)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > due->tv_sec ||
	       (now.tv_sec == due->tv_sec && now.tv_nsec >= due->tv_nsec);
}

/* next_call - wait for a request that may run now; NULL when closing and none is left. lock held. */
static struct mem_call *
next_call(struct mem_store *m)
{
	for (;;) {
		struct mem_call *call;

		if (list_empty(&m->queue)) {
			if (m->closing)
				return NULL;
			pthread_cond_wait(&m->wake, &m->lock);
			continue;
		}
		call = container_of(m->queue.next, struct mem_call, link);
		if (m->closing)
			return call;
		if (m->hold && m->credit == 0) {
			pthread_cond_wait(&m->wake, &m->lock);
			continue;
		}
		if (is_due(&call->due)) {
			m->credit -= m->hold;
			return call;
		}
		pthread_cond_timedwait(&m->wake, &m->lock, &call->due);
	}
}

static void *
mem_thread(void *arg)
{
	struct mem_store *m = arg;
	struct mem_call *call;

	pthread_mutex_lock(&m->lock);
	while ((call = next_call(m)) != NULL) {
		void (*before)(struct objstore_req *, void *) = m->closing ? NULL : m->before;
		struct objstore_req *req = call->req;
		void *ctx = m->before_ctx;

		list_del(&call->link);
		if (before != NULL) {
			pthread_mutex_unlock(&m->lock);
			before(req, ctx);
			pthread_mutex_lock(&m->lock);
		}
		carry_out(m, req);
		m->waiting--;
		pthread_mutex_unlock(&m->lock);
		free(call);
		req->impl = NULL;
		req->done(req);
		pthread_mutex_lock(&m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static void
mem_submit(struct objstore *s, struct objstore_req *req)
{
	struct mem_store *m = mem_of(s);
	struct mem_call *call = xcalloc(1, sizeof(*call));

	objstorei_begin(req);
	req->impl = call;
	call->req = req;
	clock_gettime(CLOCK_MONOTONIC, &call->due);
	pthread_mutex_lock(&m->lock);
	call->due.tv_sec += m->latency_ms / 1000;
	call->due.tv_nsec += (long)(m->latency_ms % 1000) * 1000000;
	if (call->due.tv_nsec >= 1000000000) {
		call->due.tv_nsec -= 1000000000;
		call->due.tv_sec++;
	}
	list_add_tail(&m->queue, &call->link);
	m->waiting++;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
}

static void
mem_close(struct objstore *s)
{
	struct mem_store *m = mem_of(s);

	pthread_mutex_lock(&m->lock);
	m->closing = true;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	mem_bucket_free(&m->bucket);
	pthread_cond_destroy(&m->wake);
	pthread_mutex_destroy(&m->lock);
	free(m->label);
	free(m);
}

static const struct objstore_ops mem_ops = {.submit = mem_submit, .close = mem_close};

struct objstore *
objstore_mem_new(const char *label)
{
	struct mem_store *m = xcalloc(1, sizeof(*m));
	pthread_condattr_t attr;

	m->base.ops = &mem_ops;
	m->base.has_conditional_put = m->base.has_conditional_complete = true;
	m->base.label = m->label = xstrdup(label != NULL ? label : "memory");
	list_init(&m->queue);
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->wake, &attr);
	pthread_condattr_destroy(&attr);
	CW_ASSERT(pthread_create(&m->thread, NULL, mem_thread, m) == 0);
	return &m->base;
}

/* ---- hooks ---- */

void
objstore_mem_fail_next(
    struct objstore *s, enum objstore_opcode op, int err, bool apply_first, unsigned int count)
{
	struct mem_store *m = mem_of(s);

	pthread_mutex_lock(&m->lock);
	m->fails[op] = (struct mem_fail){.err = err, .apply_first = apply_first, .count = count};
	pthread_mutex_unlock(&m->lock);
}

void
objstore_mem_latency(struct objstore *s, unsigned int ms)
{
	struct mem_store *m = mem_of(s);

	pthread_mutex_lock(&m->lock);
	m->latency_ms = ms;
	pthread_mutex_unlock(&m->lock);
}

void
objstore_mem_hold(struct objstore *s, bool hold)
{
	struct mem_store *m = mem_of(s);

	pthread_mutex_lock(&m->lock);
	m->hold = hold;
	m->credit = 0;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
}

void
objstore_mem_release(struct objstore *s, unsigned int n)
{
	struct mem_store *m = mem_of(s);

	pthread_mutex_lock(&m->lock);
	m->credit += n;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
}

void
objstore_mem_before(struct objstore *s, void (*fn)(struct objstore_req *req, void *ctx), void *ctx)
{
	struct mem_store *m = mem_of(s);

	pthread_mutex_lock(&m->lock);
	m->before = fn;
	m->before_ctx = ctx;
	pthread_mutex_unlock(&m->lock);
}

void
objstore_mem_conditional(struct objstore *s, bool honoured)
{
	struct mem_store *m = mem_of(s);

	pthread_mutex_lock(&m->lock);
	m->bucket.ignores_conditions = !honoured;
	pthread_mutex_unlock(&m->lock);
}

uint64_t
objstore_mem_count(struct objstore *s, enum objstore_opcode op)
{
	struct mem_store *m = mem_of(s);
	uint64_t n;

	pthread_mutex_lock(&m->lock);
	n = m->counts[op];
	pthread_mutex_unlock(&m->lock);
	return n;
}

size_t
objstore_mem_waiting(struct objstore *s)
{
	struct mem_store *m = mem_of(s);
	size_t n;

	pthread_mutex_lock(&m->lock);
	n = m->waiting;
	pthread_mutex_unlock(&m->lock);
	return n;
}

size_t
objstore_mem_objects(struct objstore *s)
{
	struct mem_store *m = mem_of(s);
	size_t n;

	pthread_mutex_lock(&m->lock);
	n = m->bucket.nobjects;
	pthread_mutex_unlock(&m->lock);
	return n;
}

size_t
objstore_mem_uploads(struct objstore *s)
{
	struct mem_store *m = mem_of(s);
	size_t n;

	pthread_mutex_lock(&m->lock);
	n = m->bucket.nuploads;
	pthread_mutex_unlock(&m->lock);
	return n;
}

void
objstore_mem_put(struct objstore *s, const char *key, const void *data, size_t len,
    const struct objstore_meta *meta, size_t nmeta, char etag[OBJSTORE_ETAG_MAX])
{
	struct objstore_attrs attrs = {.meta = meta, .nmeta = nmeta};
	struct mem_store *m = mem_of(s);
	const struct mem_object *o;

	pthread_mutex_lock(&m->lock);
	o = mem_bucket_put(&m->bucket, key, data, len, &attrs);
	if (etag != NULL)
		memcpy(etag, o->etag, sizeof(o->etag));
	pthread_mutex_unlock(&m->lock);
}

char *
objstore_mem_get(struct objstore *s, const char *key, size_t *len_out, char etag[OBJSTORE_ETAG_MAX])
{
	struct mem_store *m = mem_of(s);
	const struct mem_object *o;
	char *copy = NULL;

	pthread_mutex_lock(&m->lock);
	o = mem_bucket_find(&m->bucket, key);
	if (o != NULL) {
		copy = xmalloc(o->len + 1);
		memcpy(copy, o->data, o->len);
		copy[o->len] = '\0';
		if (len_out != NULL)
			*len_out = o->len;
		if (etag != NULL)
			memcpy(etag, o->etag, sizeof(o->etag));
	}
	pthread_mutex_unlock(&m->lock);
	return copy;
}

char *
objstore_mem_get_meta(struct objstore *s, const char *key, const char *name)
{
	struct mem_store *m = mem_of(s);
	const char *value = NULL;
	const struct mem_object *o;
	char *copy;

	pthread_mutex_lock(&m->lock);
	o = mem_bucket_find(&m->bucket, key);
	if (o != NULL && strcmp(name, "content-type") == 0)
		value = o->content_type;
	else if (o != NULL && strcmp(name, "storage-class") == 0)
		value = o->storage_class;
	for (size_t i = 0; o != NULL && i < o->nmeta && value == NULL; i++)
		if (strcmp(o->meta[i].name, name) == 0)
			value = o->meta[i].value;
	copy = value != NULL ? xstrdup(value) : NULL;
	pthread_mutex_unlock(&m->lock);
	return copy;
}

bool
objstore_mem_delete(struct objstore *s, const char *key)
{
	struct mem_store *m = mem_of(s);
	bool was;

	pthread_mutex_lock(&m->lock);
	was = mem_bucket_delete(&m->bucket, key);
	pthread_mutex_unlock(&m->lock);
	return was;
}

char *
objstore_mem_key_at(struct objstore *s, size_t i)
{
	struct mem_store *m = mem_of(s);
	char *copy;

	pthread_mutex_lock(&m->lock);
	copy = i < m->bucket.nobjects ? xstrdup(m->bucket.objects[i]->key) : NULL;
	pthread_mutex_unlock(&m->lock);
	return copy;
}
