/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_mpu.c - large content: parts in parallel, unchanged parts copied inside the bucket, resumed
 * after a crash from what the bucket says it has.
 *
 * The row (index_upload) reaches the index with the seal or after it, and parts are read from the seal
 * alone: parts found at a restart through a row are parts of exactly this sealed moment.  They are sent
 * while the data file is still being synced; Complete waits for that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define WIDTH 12	   /* parts of one upload in flight */
#define NO_SEAL UINT64_MAX /* data_seq of the row of a copy */

struct mpu {
	struct sync_job *j;
	uint64_t size, part_size;
	unsigned int nparts;
	struct objstore_part *parts; /* number 0: not there yet */
	char upload_id[OBJSTORE_UPLOAD_ID_MAX];
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	unsigned int pending;
	int err;
	uint64_t missing;
	bool has_copies;	    /* parts may have been copied from the base object */
	struct cache_waiter commit; /* of row and seal */
	bool is_committing;
	int commit_err;
	struct early_taken early; /* parts of before the seal */
	unsigned int first;	  /* which of them are not waited for yet */
};

struct part {
	struct mpu *m;
	unsigned int i;
	struct objstore_req req;
	void *body;
	size_t len;
	char src_key[CW_KEY_MAX + 2], src_etag[OBJSTORE_ETAG_MAX];
};

/* mpu_resize - before any part is known. */
static void
mpu_resize(struct mpu *m, uint64_t part_size)
{
	free(m->parts);
	m->part_size = part_size;
	m->nparts = (unsigned int)((m->size + part_size - 1) / part_size);
	m->parts = xcalloc(m->nparts, sizeof(*m->parts));
}

static void
mpu_init(struct mpu *m, struct sync_job *j, uint64_t size, uint64_t part_size)
{
	memset(m, 0, sizeof(*m));
	m->j = j;
	m->size = size;
	mpu_resize(m, part_size);
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->cond, NULL);
}

/* commit_done - committer thread. */
static void
commit_done(struct cache_waiter *w, int err)
{
	struct mpu *m = container_of(w, struct mpu, commit);

	pthread_mutex_lock(&m->mutex);
	m->is_committing = false;
	m->commit_err = err;
	if (err < 0 && m->err == 0)
		m->err = err; /* no more parts: what was sealed may be lost (P6) */
	pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->mutex);
}

/* commit_start - make the seal, and the row, durable while parts are on their way. */
static void
commit_start(struct mpu *m)
{
	m->is_committing = true;
	m->commit.done = commit_done;
	cache_commit(m->j->s->space, &m->commit);
}

static int
commit_wait(struct mpu *m)
{
	pthread_mutex_lock(&m->mutex);
	while (m->is_committing)
		pthread_cond_wait(&m->cond, &m->mutex);
	pthread_mutex_unlock(&m->mutex);
	return m->commit_err;
}

static void
mpu_free(struct mpu *m)
{
	(void)commit_wait(m);
	pthread_cond_destroy(&m->cond);
	pthread_mutex_destroy(&m->mutex);
	free(m->parts);
}

static uint64_t
part_len(const struct mpu *m, unsigned int i)
{
	uint64_t off = i * m->part_size;

	return m->size - off < m->part_size ? m->size - off : m->part_size;
}

/* choose_part_size - a multiple of the chunk, so that a part never splits one. */
static uint64_t
choose_part_size(uint64_t size, bool has_base)
{
	uint64_t part = has_base ? SYNC_PART_SMALL : SYNC_PART_MIN;
	uint64_t least = (size + SYNC_PARTS_MAX - 1) / SYNC_PARTS_MAX;

	if (part < least)
		part = (least + CACHE_CHUNK_SIZE - 1) / CACHE_CHUNK_SIZE * CACHE_CHUNK_SIZE;
	return part;
}

/* --- parts -------------------------------------------------------------------------------------- */

static void
part_finish(struct part *p, int err)
{
	struct mpu *m = p->m;

	if (err == 0) {
		m->parts[p->i].size = p->len;
		snprintf(m->parts[p->i].etag, sizeof(m->parts[p->i].etag), "%s", p->req.etag);
		__atomic_add_fetch(&m->j->done_bytes, p->len, __ATOMIC_RELAXED);
	}
	objstore_req_clear(&p->req);
	if (p->body != NULL)
		sync_body_put(m->j->y->core, p->body, p->len);
	pthread_mutex_lock(&m->mutex);
	if (err == 0)
		m->parts[p->i].number = p->i + 1;
	else if (m->err == 0)
		m->err = err;
	m->pending--;
	pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->mutex);
	free(p);
}

static void
part_done(struct objstore_req *req)
{
	struct part *p = container_of(req, struct part, req);
	int err = req->result;

	if (err == 0 && p->body != NULL) {
		metric_add(p->m->j->y->m_up_bytes, (int64_t)p->len);
		__atomic_add_fetch(&p->m->j->y->uploaded_bytes, p->len, __ATOMIC_RELAXED);
	}
	part_finish(p, err);
}

/* part_may_copy - is this part of the sealed moment the same in the base object? locked */
static bool
part_may_copy(const struct mpu *m, uint64_t off, uint64_t len, struct part *p)
{
	const struct node *n = m->j->n;
	const struct cache_file *f = n->u.file;

	if (m->j->no_part_copy || m->j->y->has_no_part_copy || n->flags & NODE_REMOVED ||
	    n->remote.key == NULL || n->remote.etag == NULL || off + len > n->remote.size ||
	    off + len > f->base_limit || cache_sealed_in(f, off, len))
		return false;
	snprintf(p->src_key, sizeof(p->src_key), "%s", n->remote.key);
	snprintf(p->src_etag, sizeof(p->src_etag), "%s", n->remote.etag);
	return true;
}

/* drop_sent - a file that was sent while it was written goes on leaving the page cache behind that. */
static void
drop_sent(struct mpu *m, uint64_t end)
{
	if (m->early.part_size != 0)
		m->early.dropped = cache_drop_behind(m->j->n->u.file, m->early.dropped, end);
}

/* part_start - prepare one part and submit it. */
static void
part_start(struct mpu *m, unsigned int i, bool is_copy)
{
	struct part *p = xcalloc(1, sizeof(*p));
	struct sync_job *j = m->j;
	uint64_t off = i * m->part_size;
	int err = 0;

	p->m = m;
	p->i = i;
	p->len = part_len(m, i);
	if (!is_copy) {
		share_lock(j->s);
		is_copy = part_may_copy(m, off, p->len, p);
		share_unlock(j->s);
	} else {
		snprintf(p->src_key, sizeof(p->src_key), "%s", j->copy_from);
		snprintf(p->src_etag, sizeof(p->src_etag), "%s", j->copy_etag);
	}
	p->req.key = j->key;
	p->req.upload_id_in = m->upload_id;
	p->req.part_number = i + 1;
	p->req.max_tries = SYNC_TRIES;
	p->req.done = part_done;
	if (is_copy) {
		m->has_copies = true;
		p->req.op = OBJ_MPU_PART_COPY;
		p->req.src_key = p->src_key;
		p->req.src_if_match = p->src_etag;
		p->req.range_off = off;
		p->req.range_len = p->len;
	} else {
		p->req.op = OBJ_MPU_PART;
		p->body = sync_body_get(j->y->core, p->len);
		p->req.body = p->body;
		p->req.body_len = p->len;
		err = put_read_sealed(j, off, p->len, p->body, &m->missing);
		drop_sent(m, off + p->len);
	}
	pthread_mutex_lock(&m->mutex);
	m->pending++;
	pthread_mutex_unlock(&m->mutex);
	if (err < 0)
		part_finish(p, err);
	else
		objstore_submit(share_store(j->s), &p->req);
}

/* wait_below - until fewer than n parts are in flight. result: the first error so far */
static int
wait_below(struct mpu *m, unsigned int n)
{
	int err;

	pthread_mutex_lock(&m->mutex);
	while (m->pending >= n)
		pthread_cond_wait(&m->cond, &m->mutex);
	err = m->err;
	pthread_mutex_unlock(&m->mutex);
	return err;
}

static int
send_parts(struct mpu *m, bool is_copy)
{
	unsigned int i;

	for (i = m->first; i < m->nparts; i++) {
		if (m->parts[i].number != 0)
			continue;
		if (wait_below(m, WIDTH) < 0)
			break;
		if (__atomic_load_n(&m->j->y->closing, __ATOMIC_SEQ_CST)) {
			m->err = -ECANCELED;
			break;
		}
		part_start(m, i, is_copy);
	}
	return wait_below(m, 1);
}

/* send_content - the parts of a sealed moment, by hand where the store cannot copy them. */
static int
send_content(struct mpu *m)
{
	struct sync *y = m->j->y;
	int err = send_parts(m, false);

	if (err != -ENOSYS || !m->has_copies)
		return err;
	share_lock(m->j->s);
	if (!y->has_no_part_copy)
		log_info("gateway.sync", "no-part-copy",
		    "share=%s: the store cannot copy parts, unchanged ones are sent again",
		    m->j->s->conf.name);
	y->has_no_part_copy = true;
	share_unlock(m->j->s);
	m->err = 0;
	return send_parts(m, false);
}

/* --- resume or begin ---------------------------------------------------------------------------- */

/* fetch_parts - what the bucket has of this upload already. */
static int
fetch_parts(struct mpu *m)
{
	char marker[16] = "";
	int err;

	for (;;) {
		struct objstore_req req = {.op = OBJ_MPU_PARTS,
		    .key = m->j->key,
		    .upload_id_in = m->upload_id,
		    .token = marker[0] != '\0' ? marker : NULL};
		bool more;

		err = sync_call(m->j->y, &req);
		for (size_t i = 0; err == 0 && i < req.nparts; i++) {
			unsigned int no = req.parts[i].number;

			if (no < 1 || no > m->nparts || req.parts[i].size != part_len(m, no - 1))
				continue;
			m->parts[no - 1] = req.parts[i];
			__atomic_add_fetch(&m->j->done_bytes, req.parts[i].size, __ATOMIC_RELAXED);
		}
		more = err == 0 && req.list.truncated && req.list.next_token != NULL;
		if (more) {
			more = strcmp(marker, req.list.next_token) != 0;
			snprintf(marker, sizeof(marker), "%s", req.list.next_token);
		}
		objstore_req_clear(&req);
		if (!more)
			return err;
	}
}

/* begin - create the upload; row and seal are on their way into the index. */
static int
begin(struct mpu *m, const struct objstore_attrs *attrs, uint64_t data_seq)
{
	struct objstore_req req = {.op = OBJ_MPU_CREATE, .key = m->j->key, .attrs = attrs};
	struct sync_job *j = m->j;
	int err = sync_call(j->y, &req);

	if (err == 0)
		snprintf(m->upload_id, sizeof(m->upload_id), "%s", req.upload_id);
	objstore_req_clear(&req);
	if (err < 0)
		return err;
	share_lock(j->s);
	upload_add(j->y, j->n->ino, j->key, m->upload_id, data_seq, m->part_size);
	j->has_early_mark = false;
	share_unlock(j->s);
	commit_start(m);
	return 0;
}

/* all_durable - wait for the commit that begin() started. Parts of an upload whose commit failed may
 * have been read from pages that the disk never gets: it is given up. */
static int
all_durable(struct mpu *m, bool has_seal)
{
	int err = commit_wait(m);

	if (err == 0 && m->early.part_size != 0) {
		share_lock(m->j->s);
		if (cache_sync_errors(m->j->s->space) != m->early.sync_errors)
			err = -EIO; /* one before the seal: what was read then may be no more */
		share_unlock(m->j->s);
	}
	if (err < 0)
		upload_forget(m->j);
	else if (has_seal)
		m->j->seal_is_durable = true;
	return err;
}

/* resume - is there an upload of this very seal? result: 1 yes, its parts are known; 0 no */
static int
resume(struct mpu *m)
{
	struct sync_job *j = m->j;
	const struct upload_row *u;
	bool fits = false;
	int err;

	share_lock(j->s);
	u = upload_find(j->y, j->n->ino);
	if (u != NULL) {
		fits = u->upload_id[0] != '\0' && strcmp(u->key, j->key) == 0 &&
		       u->data_seq == j->seal_seq && u->part_size > 0 &&
		       (m->size + u->part_size - 1) / u->part_size <= SYNC_PARTS_MAX;
		if (fits)
			mpu_resize(m, u->part_size);
		snprintf(m->upload_id, sizeof(m->upload_id), "%s", u->upload_id);
	}
	share_unlock(j->s);
	if (u == NULL)
		return 0;
	err = fits ? fetch_parts(m) : -ERR_NO_UPLOAD;
	if (err == 0)
		return 1;
	if (err == -ENOENT)
		err = -ERR_NO_UPLOAD;
	if (err != -ERR_NO_UPLOAD || fits)
		return err; /* gone although ours: it may have been completed */
	upload_forget(j);
	memset(m->parts, 0, m->nparts * sizeof(*m->parts));
	j->done_bytes = 0;
	return 0;
}

/* check_source - were the parts copied from what we took them for? There are stores that ignore the
 * condition on the source of a part (Ceph RGW): it must still be there when all are copied.
 * result: 0; -ERR_PRECONDITION, with the upload given up, or another error */
static int
check_source(const struct mpu *m, const char *from, const char *from_etag)
{
	struct objstore_req head = {.op = OBJ_HEAD, .key = from};
	int err = sync_call(m->j->y, &head);

	if (err == -ENOENT || (err == 0 && strcmp(head.etag, from_etag) != 0))
		err = -ERR_PRECONDITION;
	objstore_req_clear(&head);
	if (err == -ERR_PRECONDITION)
		upload_forget(m->j); /* its parts may hold another's bytes */
	return err;
}

/* check_base - the same for the parts of content. */
static int
check_base(const struct mpu *m)
{
	struct sync_job *j = m->j;
	char key[CW_KEY_MAX + 2] = "", etag[OBJSTORE_ETAG_MAX] = "";

	if (!m->has_copies)
		return 0;
	share_lock(j->s);
	if (!(j->n->flags & NODE_REMOVED) && j->n->remote.key != NULL &&
	    j->n->remote.etag != NULL) {
		snprintf(key, sizeof(key), "%s", j->n->remote.key);
		snprintf(etag, sizeof(etag), "%s", j->n->remote.etag);
	}
	share_unlock(j->s);
	return key[0] != '\0' ? check_source(m, key, etag) : 0;
}

/* etag_of - for stores whose answer to a Complete does not say it. */
static int
etag_of(struct mpu *m, char etag[OBJSTORE_ETAG_MAX])
{
	struct objstore_req head = {.op = OBJ_HEAD, .key = m->j->key};
	int err = sync_call(m->j->y, &head);

	if (err == 0 && head.size != m->size)
		err = -ERR_PRECONDITION; /* another's already */
	if (err == 0)
		snprintf(etag, OBJSTORE_ETAG_MAX, "%s", head.etag);
	objstore_req_clear(&head);
	return err;
}

/* complete - result: 0, -ERR_PRECONDITION to look what is there, or another error */
static int
complete(struct mpu *m, char etag_out[OBJSTORE_ETAG_MAX])
{
	struct sync_job *j = m->j;
	struct objstore_req req = {.op = OBJ_MPU_COMPLETE,
	    .key = j->key,
	    .upload_id_in = m->upload_id,
	    .parts = m->parts,
	    .nparts = m->nparts};
	char etag[OBJSTORE_ETAG_MAX];
	int err;

	share_lock(j->s);
	job_expect(j, &req, etag);
	share_unlock(j->s);
	err = job_check_expect(j, &req, share_store(j->s)->has_conditional_complete);
	if (!share_store(j->s)->has_conditional_complete) {
		req.if_match = NULL;
		req.if_none_match = false;
	}
	if (err == 0)
		err = sync_call(j->y, &req);
	if (err == 0)
		snprintf(etag_out, OBJSTORE_ETAG_MAX, "%s", req.etag);
	objstore_req_clear(&req);
	return err == 0 && etag_out[0] == '\0' ? etag_of(m, etag_out) : err;
}

/* begin_or_resume - result: 1 go on with an upload, 0 with a new one whose row is on its way, negative errno */
static int
begin_or_resume(struct mpu *m, const struct put_attrs *a)
{
	struct sync_job *j = m->j;
	int err;

	if (early_take(j, m->size, &m->early)) {
		mpu_resize(m, m->early.part_size);
		snprintf(m->upload_id, sizeof(m->upload_id), "%s", m->early.upload_id);
		m->first = m->early.nparts;
		j->has_mpu_attr_seq = false; /* the file's are younger than the upload's */
		j->has_early_mark = true;
		j->early_mark = m->early.mark_seq;
		commit_start(m);
		return 0;
	}
	err = resume(m);
	if (err == 1)
		m->has_copies = true; /* perhaps, in an earlier run */
	if (err != 0)
		return err;
	j->has_mpu_attr_seq = true;
	j->mpu_attr_seq = a->attr_seq;
	return begin(m, &a->attrs, j->seal_seq);
}

/* send_all - every part is in the bucket, and whatever is needed to use it after a crash is durable. */
static int
send_all(struct mpu *m, const struct put_attrs *a)
{
	int err = begin_or_resume(m, a), commit_err = 0;
	bool has_begun = err == 0;

	if (err >= 0)
		err = send_content(m);
	if (m->early.e != NULL) {
		early_join(m->early.e, m->parts);
		m->early.e = NULL;
		m->first = 0;
		if (err == 0)
			err = send_content(m); /* what failed */
	}
	if (has_begun)
		commit_err = all_durable(m, true);
	if (err == 0)
		err = commit_err;
	if (err == 0)
		drop_sent(m, m->size);
	return err == 0 ? check_base(m) : err;
}

int
put_multipart(struct sync_job *j, uint64_t size)
{
	char etag[OBJSTORE_ETAG_MAX];
	struct written w = {.key = j->key, .etag = etag, .size = size, .is_sealed = true};
	struct put_attrs a;
	struct mpu m;
	int err;

	share_lock(j->s);
	put_attrs_fill(j, j->seal_seq, &a);
	mpu_init(&m, j, size, choose_part_size(size, j->n->remote.key != NULL));
	share_unlock(j->s);
	j->done_bytes = 0;
	err = send_all(&m, &a);
	if (err == 0)
		err = complete(&m, etag);
	if (err ==
	    -ERR_NO_UPLOAD) { /* completed with a lost reply, or aborted by a lifecycle rule */
		err = sync_resolve(j, true, size);
		if (err <= 0) {
			upload_forget(j);
			err = err == 0 ? -EAGAIN : err;
		} else {
			err = 0;
		}
	} else if (err == 0) {
		if (m.missing > 0)
			log_err("gateway.sync", "base-lost",
			    "share=%s key=\"%s\" missing_bytes=%llu", j->s->conf.name, j->key,
			    (unsigned long long)m.missing);
		w.data_seq = j->seal_seq;
		/* Resumed after a restart: which attributes it carries is not known; send them again. */
		w.attr_seq = j->has_mpu_attr_seq ? j->mpu_attr_seq : UINT64_MAX;
		j->has_mpu_attr_seq = false;
		sync_record(j, &w);
	}
	mpu_free(&m);
	put_attrs_free(&a);
	return err;
}

int
mpu_copy(struct sync_job *j, const char *from, const char *from_etag, uint64_t size,
    const struct objstore_attrs *attrs, char etag[OBJSTORE_ETAG_MAX])
{
	uint64_t part = SYNC_COPY_PART;
	struct mpu m;
	int err;

	while ((size + part - 1) / part > SYNC_PARTS_MAX)
		part *= 2;
	mpu_init(&m, j, size, part);
	j->copy_from = from;
	j->copy_etag = from_etag;
	upload_forget(j);
	err = begin(&m, attrs, NO_SEAL);
	if (err == 0)
		err = send_parts(&m, true);
	if (err == 0)
		err = all_durable(&m, false);
	if (err == 0)
		err = check_source(&m, from, from_etag);
	if (err == 0)
		err = complete(&m, etag);
	upload_forget(j); /* also aborts what did not end well */
	mpu_free(&m);
	return err;
}
