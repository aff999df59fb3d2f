/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_early.c - parts of a large file on their way before it is finished.
 *
 * While a file is written from its start to its end, what lies well behind the writer is read and sent
 * as parts of an upload that nobody completes yet.  [0, front) is what was read, or is being read now;
 * front moves, under the lock, before the read begins.  The first change below it ends the attempt: a
 * write, a write that failed half way, a truncation.  The upload is aborted, and the file is not sent
 * early again.  So what the job of the seal takes over is equal to the sealed bytes: nothing below front
 * changed since it was read (a write in flight at that moment tells only afterwards, and ends it, too).
 *
 *   live    upload row with SYNC_EARLY_SEQ: after a crash it is aborted and none of its parts is used
 *   taken   by the job (early_take): the row names the seal in the same commit as the seal, or a later one
 *   dead    waits for its parts under way (bury), then row and upload go (uploads_sweep)
 *
 * Attributes are fixed when an upload is created, and a file's are not known before its last write: so
 * an object made this way costs a copy onto itself afterwards.  Where that is dear (versions are kept,
 * classes with a least duration) nothing is sent early, nor under names that look temporary, nor when
 * too much of what was sent early had to be thrown away.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define PART SYNC_PART_MIN
#define LAG (8u << 20)	    /* clients write somewhat out of order */
#define LEAST (4ull * PART) /* of a file, before anything is sent */
#define FILES 4u	    /* of a share at a time */
#define WIDTH 4u	    /* parts of a file in flight */
#define PARTS_MOST 5000u    /* the rest of the file needs numbers, too */
#define CREDIT                                                                                     \
	(1ll << 30) /* bytes that may be sent in vain; a quarter of what was of use comes back */

struct early {
	struct list link; /* y->earlies */
	struct work work;
	struct sync *y;
	struct node *n; /* held */
	char *key, upload_id[OBJSTORE_UPLOAD_ID_MAX];
	uint64_t mark_seq; /* data_seq in the object's mark */
	uint64_t front;
	uint64_t dropped; /* pages below it are out of memory. run(), then the job */
	uint32_t sync_errors;
	bool is_running, is_dead, is_taken;
	bool has_failed;       /* atomic: no more parts; those that are there are good */
	bool is_gone;	       /* atomic: the bucket does not know the upload */
	pthread_mutex_t mutex; /* what follows */
	pthread_cond_t cond;
	unsigned int nparts, cap, nsending, nruns;
	bool is_hurried; /* run() is waited for */
	struct objstore_part *parts;
};

struct early_part {
	struct early *e;
	struct objstore_req req;
	void *body;
};

static struct early *
find(const struct sync *y, const struct node *n)
{
	struct list *l;

	list_for_each(l, &y->earlies)
	{
		struct early *e = container_of(l, struct early, link);

		if (e->n == n && !e->is_dead)
			return e;
	}
	return NULL;
}

bool
early_has(const struct sync *y, uint64_t ino)
{
	struct list *l;

	list_for_each(l, &y->earlies)
	{
		if (container_of(l, struct early, link)->n->ino == ino)
			return true;
	}
	return false;
}

static void
early_free(struct early *e)
{
	pthread_cond_destroy(&e->cond);
	pthread_mutex_destroy(&e->mutex);
	free(e->parts);
	free(e->key);
	free(e);
}

/* leave - a part, or run(), is done with e: the last touch. */
static void
leave(struct early *e, unsigned int *count)
{
	pthread_mutex_lock(&e->mutex);
	--*count;
	pthread_cond_broadcast(&e->cond);
	pthread_mutex_unlock(&e->mutex);
}

/* wait_for - until fewer than nsending parts and nruns run()s are under way. */
static void
wait_for(struct early *e, unsigned int nsending, unsigned int nruns, bool unless_hurried)
{
	pthread_mutex_lock(&e->mutex);
	while ((e->nsending >= nsending || e->nruns >= nruns) && !(unless_hurried && e->is_hurried))
		pthread_cond_wait(&e->cond, &e->mutex);
	pthread_mutex_unlock(&e->mutex);
}

/* start - have run() look. locked */
static void
start(struct early *e)
{
	if (e->is_running || !sync_user_get(e->y))
		return;
	e->is_running = true;
	pthread_mutex_lock(&e->mutex);
	e->nruns++;
	pthread_mutex_unlock(&e->mutex);
	workq_submit(e->y->core->jobs, &e->work);
}

/* kill_it - what was sent is of no use. locked */
static void
kill_it(struct early *e)
{
	if (e->is_dead)
		return;
	e->is_dead = true;
	e->n->flags &= ~(uint32_t)NODE_EARLY;
	e->n->flags |= NODE_NOT_EARLY;
	e->y->early_credit -= (int64_t)e->front;
	log_debug("gateway.sync", "early-ended", "share=%s key=\"%s\" sent_bytes=%llu",
	    e->y->s->conf.name, e->key, (unsigned long long)e->front);
	if (!e->is_taken)
		start(e); /* it buries */
}

/* bury - a dead one goes. Its row is abandoned then: the sweep aborts the upload, after a restart if need
 * be; unless the job of a seal did, which may have been too early for a part on its way. jobs thread,
 * unlocked; e is freed */
static void
bury(struct early *e)
{
	struct sync *y = e->y;
	const struct upload_row *u;
	bool has_row;

	wait_for(e, 1, UINT_MAX, false);
	share_lock(y->s);
	u = upload_find(y, e->n->ino);
	has_row = u != NULL && strcmp(u->upload_id, e->upload_id) == 0;
	list_del(&e->link);
	node_unref(y->s, e->n);
	sync_kick(y);
	share_unlock(y->s);
	if (!has_row && e->upload_id[0] != '\0')
		upload_abort(y, e->key, e->upload_id);
	early_free(e);
}

/* --- parts -------------------------------------------------------------------------------------- */

static void
part_done(struct objstore_req *req)
{
	struct early_part *p = container_of(req, struct early_part, req);
	struct early *e = p->e;
	struct sync *y = e->y;
	unsigned int i = req->part_number - 1;

	if (req->result == 0) {
		metric_add(y->m_up_bytes, PART);
		__atomic_add_fetch(&y->uploaded_bytes, PART, __ATOMIC_RELAXED);
		pthread_mutex_lock(&e->mutex);
		e->parts[i].number = i + 1;
		e->parts[i].size = PART;
		snprintf(e->parts[i].etag, sizeof(e->parts[i].etag), "%s", req->etag);
		pthread_mutex_unlock(&e->mutex);
	} else {
		if (req->result == -ERR_NO_UPLOAD || req->result == -ENOENT)
			__atomic_store_n(&e->is_gone, true, __ATOMIC_SEQ_CST);
		__atomic_store_n(&e->has_failed, true, __ATOMIC_SEQ_CST);
	}
	objstore_req_clear(req);
	sync_body_put(y->core, p->body, PART);
	free(p);
	leave(e, &e->nsending);
	sync_user_put(y);
}

/* may_send - is a whole part well behind the writer, and nothing against it? locked */
static bool
may_send(const struct early *e)
{
	const struct cache_file *f = e->n->u.file;

	return !e->is_dead && !e->is_taken && !__atomic_load_n(&e->has_failed, __ATOMIC_SEQ_CST) &&
	       !e->y->closing && !e->y->unavailable && e->n->size >= e->front + PART + LAG &&
	       e->front / PART < PARTS_MOST && !f->has_sealed && !f->seal_pending;
}

/* next_part - take the range of the next part. NULL: not now, and run() ends; *is_dead: it buries. */
static struct early_part *
next_part(struct early *e, bool *is_dead)
{
	struct cw_share *s = e->y->s;
	char key[CW_KEY_MAX + 2];
	struct early_part *p = NULL;
	void *body = NULL;
	unsigned int i;

	share_lock(s);
	if (!e->is_dead && !e->is_taken && (node_key(s, e->n, key) < 0 || strcmp(key, e->key) != 0))
		kill_it(e); /* a directory above was renamed */
	if (may_send(e))
		body = sync_body_try(e->y->core, PART);
	if (body != NULL && !sync_user_get(e->y)) {
		sync_body_put(e->y->core, body, PART);
		body = NULL;
	}
	if (body != NULL) {
		p = xcalloc(1, sizeof(*p));
		p->e = e;
		p->body = body;
		i = (unsigned int)(e->front / PART);
		e->front += PART;
		p->req.part_number = i + 1;
		pthread_mutex_lock(&e->mutex);
		e->nsending++;
		if (i >= e->cap) {
			e->cap = e->cap == 0 ? 64 : e->cap * 2;
			e->parts = xrealloc(e->parts, e->cap * sizeof(*e->parts));
		}
		memset(&e->parts[i], 0, sizeof(e->parts[i]));
		e->nparts = i + 1;
		pthread_mutex_unlock(&e->mutex);
	} else {
		*is_dead = e->is_dead && !e->is_taken;
		e->is_running = *is_dead;
	}
	share_unlock(s);
	return p;
}

static void
send_part(struct early_part *p)
{
	struct early *e = p->e;
	struct objstore_req *req = &p->req;
	uint64_t off = (uint64_t)(req->part_number - 1) * PART;

	req->op = OBJ_MPU_PART;
	req->key = e->key;
	req->upload_id_in = e->upload_id;
	req->body = p->body;
	req->body_len = PART;
	req->max_tries = SYNC_TRIES;
	req->done = part_done;
	req->result = put_read(e->n->u.file, CW_IO_NO_READAHEAD, off, PART, p->body);
	if (req->result < 0) {
		part_done(req);
		return;
	}
	/* a stream goes round in few pages then, instead of washing out everybody's */
	e->dropped = cache_drop_behind(e->n->u.file, e->dropped, off + PART);
	objstore_submit(share_store(e->y->s), req);
}

/* begin - result: 0 with the upload and its row; negative errno: not for this file */
static int
begin(struct early *e)
{
	struct sync *y = e->y;
	struct sync_job j = {.y = y, .s = y->s, .n = e->n, .key = e->key};
	struct objstore_req req = {.op = OBJ_MPU_CREATE, .key = e->key};
	struct put_attrs a;
	int err = sync_probe_once(y);

	if (err == 0 && __atomic_load_n(&share_store(y->s)->keeps_versions, __ATOMIC_RELAXED))
		err = -ENOSYS;
	if (err < 0)
		return err;
	share_lock(y->s);
	if (e->is_dead)
		err = -ECANCELED;
	e->mark_seq = e->n->data_seq;
	put_attrs_fill(&j, e->mark_seq, &a);
	share_unlock(y->s);
	if (err < 0) {
		put_attrs_free(&a);
		return err;
	}
	req.attrs = &a.attrs;
	err = sync_call(y, &req);
	put_attrs_free(&a);
	if (err == 0) {
		share_lock(y->s);
		snprintf(e->upload_id, sizeof(e->upload_id), "%s", req.upload_id);
		upload_add(y, e->n->ino, e->key, e->upload_id, SYNC_EARLY_SEQ, PART);
		share_unlock(y->s);
	}
	objstore_req_clear(&req);
	return err;
}

static void
run(struct work *w)
{
	struct early *e = container_of(w, struct early, work);
	struct sync *y = e->y;
	struct early_part *p;
	bool is_dead = false;

	if (e->upload_id[0] == '\0' && begin(e) < 0) {
		share_lock(y->s);
		kill_it(e);
		share_unlock(y->s);
	}
	while ((p = next_part(e, &is_dead)) != NULL) {
		send_part(p);
		wait_for(e, WIDTH, UINT_MAX, true);
	}
	if (is_dead)
		bury(e);
	else
		leave(e, &e->nruns);
	sync_user_put(y);
}

/* --- what changes ------------------------------------------------------------------------------- */

static bool
looks_temporary(const struct node *n)
{
	static const char *const tails[] = {"~", ".part", ".partial", ".tmp", ".temp",
	    ".crdownload", ".filepart", ".download", ".swp"};
	size_t i, len;

	if (n->name == NULL || n->name[0] == '.')
		return true;
	for (i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		len = strlen(tails[i]);
		if (n->name_len >= len && memcmp(n->name + n->name_len - len, tails[i], len) == 0)
			return true;
	}
	return false;
}

/* is_cheap_class - a copy onto itself costs one request there. */
static bool
is_cheap_class(const struct cw_share *s)
{
	const char *c = s->conf.default_storage_class;

	return c == NULL || c[0] == '\0' || strcmp(c, "STANDARD") == 0 ||
	       strcmp(c, "INTELLIGENT_TIERING") == 0;
}

/* may_begin - locked */
static bool
may_begin(struct cw_share *s, struct node *n, char key[CW_KEY_MAX + 2])
{
	struct sync *y = s->sync;
	struct list *l;
	unsigned int count = 0;

	if (y == NULL || s->conf.no_early_parts || y->closing || y->unavailable || y->nsick > 0 ||
	    y->early_credit <= 0 || n->flags & (NODE_REMOVED | NODE_NOT_EARLY) || n->job != NULL ||
	    n->dirty_since_ns == 0 || n->u.file == NULL || n->u.file->base_limit > 0 ||
	    n->u.file->has_sealed || n->u.file->seal_pending || upload_find(y, n->ino) != NULL ||
	    looks_temporary(n) || !is_cheap_class(s) || y->has_no_copy)
		return false;
	list_for_each(l, &y->earlies)
	{
		count++;
	}
	if (count >= FILES || node_key(s, n, key) < 0 || key_may_be_unwalked(y, key))
		return false;
	return n->remote.key == NULL || strcmp(n->remote.key, key) == 0;
}

static void
early_new(struct cw_share *s, struct node *n, const char *key)
{
	struct early *e = xcalloc(1, sizeof(*e));

	e->y = s->sync;
	e->n = n;
	node_ref(n);
	e->key = xstrdup(key);
	e->work.fn = run;
	e->sync_errors = cache_sync_errors(s->space);
	pthread_mutex_init(&e->mutex, NULL);
	pthread_cond_init(&e->cond, NULL);
	list_init(&e->link);
	list_add_tail(&e->y->earlies, &e->link);
	n->flags |= NODE_EARLY;
	start(e);
}

void
sync_wrote(struct cw_share *s, struct node *n, uint64_t off, uint64_t len)
{
	char key[CW_KEY_MAX + 2];
	struct early *e;

	if (n->flags & NODE_EARLY) {
		e = find(s->sync, n);
		if (e != NULL && off < e->front)
			kill_it(e);
		else if (e != NULL && may_send(e))
			start(e);
		return;
	}
	/* once for each part that the end of the file passes */
	if (n->size < LEAST || off + len != n->size || n->size / PART == off / PART)
		return;
	if (may_begin(s, n, key))
		early_new(s, n, key);
}

void
sync_tore(struct cw_share *s, struct node *n, uint64_t off)
{
	struct early *e = n->flags & NODE_EARLY ? find(s->sync, n) : NULL;

	if (e != NULL && off < e->front)
		kill_it(e);
}

void
early_left(struct sync *y, struct node *n)
{
	struct early *e = n->flags & NODE_EARLY ? find(y, n) : NULL;

	if (e != NULL)
		kill_it(e);
}

/* --- the seal ----------------------------------------------------------------------------------- */

/* is_good_for - locked */
static bool
is_good_for(const struct early *e, const struct sync_job *j, uint64_t size)
{
	const struct upload_row *u = upload_find(j->y, j->n->ino);

	return !e->is_dead && e->upload_id[0] != '\0' && e->front > 0 && e->front <= size &&
	       (size + PART - 1) / PART <= SYNC_PARTS_MAX && strcmp(e->key, j->key) == 0 &&
	       !__atomic_load_n(&e->is_gone, __ATOMIC_SEQ_CST) && u != NULL &&
	       strcmp(u->upload_id, e->upload_id) == 0 && u->data_seq == SYNC_EARLY_SEQ;
}

/* take - its row is of this seal from now on: as durable as the seal, or less. locked */
static void
take(struct early *e, struct sync_job *j, struct early_taken *out)
{
	list_del(&e->link);
	e->n->flags &= ~(uint32_t)NODE_EARLY;
	e->y->early_credit += (int64_t)(e->front / 4);
	if (e->y->early_credit > CREDIT)
		e->y->early_credit = CREDIT;
	upload_del(j->y, upload_find(j->y, j->n->ino));
	upload_add(j->y, j->n->ino, e->key, e->upload_id, j->seal_seq, PART);
	out->e = e;
	out->upload_id = e->upload_id;
	out->nparts = (unsigned int)(e->front / PART);
	out->part_size = PART;
	out->mark_seq = e->mark_seq;
	out->dropped = e->dropped;
	out->sync_errors = e->sync_errors;
}

bool
early_take(struct sync_job *j, uint64_t size, struct early_taken *out)
{
	struct early *e;
	bool is_good;

	memset(out, 0, sizeof(*out));
	share_lock(j->s);
	e = j->n->flags & NODE_EARLY ? find(j->y, j->n) : NULL;
	if (e != NULL)
		e->is_taken = true;
	share_unlock(j->s);
	if (e == NULL)
		return false;
	/* What is being read must not be changed meanwhile, and changes are noticed until it is over. */
	pthread_mutex_lock(&e->mutex);
	e->is_hurried = true;
	pthread_cond_broadcast(&e->cond);
	pthread_mutex_unlock(&e->mutex);
	wait_for(e, UINT_MAX, 1, false);
	share_lock(j->s);
	is_good = is_good_for(e, j, size);
	if (is_good) {
		take(e, j, out);
	} else {
		kill_it(e);
		e->is_taken = false;
		start(e);
	}
	share_unlock(j->s);
	return is_good;
}

void
early_forget(struct sync_job *j)
{
	struct early_taken none;
	const struct upload_row *u;
	bool is_early;

	(void)early_take(j, 0, &none); /* nothing fits into nothing */
	share_lock(j->s);
	u = upload_find(j->y, j->n->ino);
	is_early = u != NULL && u->data_seq == SYNC_EARLY_SEQ;
	share_unlock(j->s);
	if (is_early)
		upload_forget(j);
}

void
early_join(struct early *e, struct objstore_part *parts)
{
	struct cw_share *s = e->y->s;

	wait_for(e, 1, 1, false);
	memcpy(parts, e->parts, e->nparts * sizeof(*parts));
	share_lock(s);
	node_unref(s, e->n);
	share_unlock(s);
	early_free(e);
}

void
early_init(struct sync *y)
{
	list_init(&y->earlies);
	y->early_credit = CREDIT;
}

void
early_close(struct sync *y)
{
	while (!list_empty(&y->earlies)) {
		struct early *e = container_of(y->earlies.next, struct early, link);

		list_del(&e->link);
		e->n->flags &= ~(uint32_t)NODE_EARLY;
		node_unref(y->s, e->n);
		early_free(e);
	}
}
