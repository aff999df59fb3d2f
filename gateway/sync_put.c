/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_put.c - content into the bucket: the seal, the read of the sealed moment, single PUTs.
 *
 * When the write replaces the base object that bytes of this very file still depend on, the seal and
 * its data_seq are made durable first: after a crash the object that is found is then known to be
 * the old base plus exactly the sealed blocks, and can be adopted as the new base.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define READ_PIECE (1u << 20)

struct semaphore {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	unsigned int pending;
};

static void
semaphore_init(struct semaphore *m, unsigned int pending)
{
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->cond, NULL);
	m->pending = pending;
}

static void
semaphore_done(void *arg)
{
	struct semaphore *m = arg;

	pthread_mutex_lock(&m->mutex);
	if (--m->pending == 0)
		pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->mutex);
}

static void
semaphore_wait(struct semaphore *m)
{
	pthread_mutex_lock(&m->mutex);
	while (m->pending > 0)
		pthread_cond_wait(&m->cond, &m->mutex);
	pthread_mutex_unlock(&m->mutex);
	pthread_cond_destroy(&m->cond);
	pthread_mutex_destroy(&m->mutex);
}

/* --- the seal ----------------------------------------------------------------------------------- */

/* seal_seq_of_old - which data_seq has a seal that was there when we started? One too low costs an
 * upload too many, one too high would lose a change. locked */
static uint64_t
seal_seq_of_old(const struct sync_job *j)
{
	const struct node *n = j->n;
	const struct upload_row *u = upload_find(j->y, n->ino);

	if (u != NULL && u->data_seq != SYNC_EARLY_SEQ)
		return u->data_seq;
	if (n->data_seq <= n->remote.data_seq + 1)
		return n->data_seq; /* there was only one change to seal */
	return n->data_seq - 1;
}

/* seal_now - locked; lets the lock go while writers leave. */
static int
seal_now(struct sync_job *j, struct cache_file *f)
{
	struct semaphore done;
	int r;

	semaphore_init(&done, 1);
	r = cache_seal(f, j->n->size, semaphore_done, &done);
	if (r != -EINPROGRESS) {
		semaphore_done(&done);
		semaphore_wait(&done);
		return r;
	}
	share_unlock(j->s);
	semaphore_wait(&done);
	share_lock(j->s);
	return 0;
}

/* seal - freeze the file, or go on with what is frozen. result: 0 or negative errno */
static int
seal(struct sync_job *j, uint64_t *size)
{
	struct cache_file *f;
	uint64_t seq;
	int r = 0;

	share_lock(j->s);
	f = node_file(j->s, j->n);
	if (!f->has_sealed) {
		/* Taken before the seal: a write that gets in between is in the seal, and only costs
		 * one more upload. */
		seq = j->n->data_seq;
		r = seal_now(j, f);
		j->seal_seq = seq;
		j->seal_is_durable = false;
	} else if (!j->has_seal) {
		j->seal_seq = seal_seq_of_old(j);
		j->seal_is_durable = true;
	}
	if (j->n->flags & NODE_REMOVED || (r == 0 && !f->has_sealed))
		r = -ECANCELED;
	j->has_seal = r == 0;
	*size = f->sealed_size;
	share_unlock(j->s);
	return r;
}

int
put_seal_durable(struct sync_job *j)
{
	int r;

	if (j->seal_is_durable)
		return 0;
	r = cache_commit_sync(j->s->space);
	if (r == 0)
		j->seal_is_durable = true;
	return r;
}

/* --- reading ------------------------------------------------------------------------------------ */

static void
read_done(struct cw_io *io)
{
	semaphore_done(io->ctx);
}

/* count_missing - bytes that only the lost base object had. locked */
static uint64_t
count_missing(const struct sync_job *j, uint64_t off, size_t len)
{
	const struct cache_file *f = j->n->u.file;
	uint64_t end = off + len, missing = 0, at;

	if (j->n->remote.key != NULL || f->base_limit <= off)
		return 0;
	if (end > f->base_limit)
		end = f->base_limit;
	for (at = off; at < end; at += CACHE_BLOCK_SIZE) {
		uint64_t n = end - at < CACHE_BLOCK_SIZE ? end - at : CACHE_BLOCK_SIZE;

		if (!cache_sealed_local(f, at, n))
			missing += n;
	}
	return missing;
}

int
put_read(struct cache_file *f, unsigned int flags, uint64_t off, size_t len, void *buf)
{
	size_t n = (len + READ_PIECE - 1) / READ_PIECE, i;
	struct cw_io *ios = xcalloc(n + 1, sizeof(*ios));
	struct semaphore done;
	int r = 0, now;

	semaphore_init(&done, (unsigned int)n + 1);
	for (i = 0; i < n; i++) {
		struct cw_io *io = &ios[i];

		io->op = CW_IO_READ;
		io->flags = flags;
		io->file = f;
		io->off = off + i * READ_PIECE;
		io->len = (uint32_t)(len - i * READ_PIECE < READ_PIECE ? len - i * READ_PIECE
								       : READ_PIECE);
		io->buf = (uint8_t *)buf + i * READ_PIECE;
		io->size = off + len;
		io->done = read_done;
		io->ctx = &done;
		now = cache_read(io);
		if (now != -EINPROGRESS) { /* else result is done()'s, and may be there already */
			io->result = now;
			semaphore_done(&done);
		}
	}
	semaphore_done(&done);
	semaphore_wait(&done);
	for (i = 0; i < n; i++)
		if (ios[i].result < 0)
			r = ios[i].result;
	free(ios);
	return r;
}

int
put_read_sealed(struct sync_job *j, uint64_t off, size_t len, void *buf, uint64_t *missing)
{
	int r = 0;

	share_lock(j->s);
	if (j->n->flags & NODE_REMOVED)
		r = -ECANCELED;
	else
		*missing += count_missing(j, off, len);
	share_unlock(j->s);
	if (r == 0)
		r = put_read(j->n->u.file, CW_IO_SEALED | CW_IO_NO_READAHEAD, off, len, buf);
	share_lock(j->s);
	if (j->n->flags & NODE_REMOVED) /* its blocks may have been freed under the read */
		r = -ECANCELED;
	share_unlock(j->s);
	return r;
}

/* --- one PUT ------------------------------------------------------------------------------------ */

static void
tell_missing(struct sync_job *j, uint64_t missing)
{
	char path[CW_KEY_MAX + 2] = "", count[24];

	share_lock(j->s);
	(void)node_path(j->n, path, sizeof(path));
	share_unlock(j->s);
	snprintf(count, sizeof(count), "%llu", (unsigned long long)missing);
	log_err("gateway.sync", "base-lost",
	    "share=%s path=\"%s\" missing_bytes=%s: another writer replaced the object before "
	    "these were "
	    "read; they are zeros in the copy",
	    j->s->conf.name, path, count);
	sync_event(j->s, "conflict", "share", j->s->conf.name, "path", path, "kind", "base-lost",
	    "#missing-bytes", count, (char *)NULL);
}

/* put_body - PUT of len bytes as the content of j->key. */
static int
put_body(struct sync_job *j, const void *body, size_t len, uint64_t data_seq, bool is_sealed)
{
	struct objstore_req req = {.op = OBJ_PUT, .body = body, .body_len = len};
	char etag[OBJSTORE_ETAG_MAX];
	struct put_attrs a;
	int err;

	share_lock(j->s);
	put_attrs_fill(j, data_seq, &a);
	job_expect(j, &req, etag);
	share_unlock(j->s);
	req.key = j->key;
	req.attrs = &a.attrs;
	err = job_check_expect(j, &req, share_store(j->s)->has_conditional_put);
	if (err == 0)
		err = sync_call(j->y, &req);
	if (err == 0) {
		struct written w = {.key = j->key,
		    .etag = req.etag,
		    .size = len,
		    .data_seq = data_seq,
		    .attr_seq = a.attr_seq,
		    .is_sealed = is_sealed};

		metric_add(j->y->m_up_bytes, (int64_t)len);
		__atomic_add_fetch(&j->y->uploaded_bytes, len, __ATOMIC_RELAXED);
		sync_record(j, &w);
	}
	objstore_req_clear(&req);
	put_attrs_free(&a);
	return err;
}

int
put_small_object(struct sync_job *j)
{
	uint64_t data_seq;
	char *body;
	int err;

	share_lock(j->s);
	body =
	    S_ISLNK(j->n->mode) && j->n->u.target != NULL ? xstrdup(j->n->u.target) : xstrdup("");
	data_seq = j->n->data_seq;
	share_unlock(j->s);
	err = put_body(j, body, strlen(body), data_seq, false);
	free(body);
	return err;
}

/* depends_on_base - does the sealed moment need bytes of the object that this write replaces? locked */
static bool
depends_on_base(const struct sync_job *j, uint64_t size)
{
	const struct node *n = j->n;
	const struct cache_file *f = n->u.file;

	return n->remote.key != NULL && strcmp(n->remote.key, j->key) == 0 && f->base_limit > 0 &&
	       f->sealed_bytes < size;
}

static int
put_whole(struct sync_job *j, size_t size)
{
	void *body = sync_body_get(j->y->core, size);
	uint64_t missing = 0;
	int err = put_read_sealed(j, 0, size, body, &missing);

	if (err == 0 && missing > 0)
		tell_missing(j, missing);
	if (err == 0)
		err = put_body(j, body, size, j->seal_seq, true);
	if (err == 0)
		__atomic_store_n(&j->done_bytes, size, __ATOMIC_RELAXED);
	sync_body_put(j->y->core, body, size);
	return err;
}

int
put_content(struct sync_job *j)
{
	uint64_t size;
	bool depends;
	int err = seal(j, &size);

	if (err < 0)
		return err == -ECANCELED ? -EAGAIN : err;
	j->total_bytes = size;
	if (size > SYNC_SMALL_MAX) {
		j->what = "multipart";
		return put_multipart(j, size);
	}
	j->what = "put";
	early_forget(j); /* it was longer */
	share_lock(j->s);
	depends = depends_on_base(j, size);
	if (depends && upload_find(j->y, j->n->ino) == NULL)
		upload_add(j->y, j->n->ino, j->key, "", j->seal_seq, 0);
	share_unlock(j->s);
	if (depends) {
		err = put_seal_durable(j);
		if (err < 0)
			return err;
	}
	return put_whole(j, (size_t)size);
}
