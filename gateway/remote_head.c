/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote_head.c - attributes from an object's metadata: HEADs in parallel, a GET for a symlink's
 * target.
 *
 * HEADs are asynchronous: what is wanted waits on head_queue, at most SYNC_HEADS are in flight, and
 * the answer is folded in on the scheduler loop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define PREFETCH_MAX 1000 /* children looked ahead of a READDIRPLUS */
/* HEADs that wait: a walk over a million new names must not queue two gigabytes of them, and whoever
 * really needs one waits behind them. What is left out is asked for when somebody wants to know it. */
#define HEAD_QUEUE_MAX 4096

struct head_want {
	struct list link;
	struct objstore_req req;
	struct loop_task task;
	struct sync *y;
	struct node *n;
	char key[CW_KEY_MAX + 2], etag[OBJSTORE_ETAG_MAX];
	char *target; /* buffer of a symlink's GET */
};

/* --- what a HEAD says --------------------------------------------------------------------------- */

/* become_symlink - a LIST cannot tell a symlink from a file. locked; false if it must stay a file */
static bool
become_symlink(struct cw_share *s, struct node *n)
{
	if (S_ISLNK(n->mode))
		return true;
	if (!S_ISREG(n->mode) || n->size > CW_SYMLINK_MAX || n->size == 0 || n->nopen > 0)
		return false;
	if (n->u.file != NULL) {
		if (n->u.file->nio > 0 || n->u.file->nwriters > 0 || n->u.file->seal_pending)
			return false;
		cache_file_discard(n->u.file);
		if (n->u.file->nio > 0)
			return false;
		free(n->u.file);
	}
	n->u.target = NULL;
	s->nfiles -= n->parent != NULL;
	n->mode = S_IFLNK | 0777;
	return true;
}

/* set_attrs - the metadata's word, the share's defaults for the rest. locked */
static void
set_attrs(struct cw_share *s, struct node *n, const struct meta_facts *m, int64_t mtime_ns)
{
	uint32_t perm = S_ISDIR(n->mode) ? s->conf.dir_mode : s->conf.file_mode;
	uint32_t mode = n->mode, uid = n->uid, gid = n->gid;
	int64_t mtime = n->mtime_ns;

	if (m->has_type && m->type == S_IFLNK)
		(void)become_symlink(s, n);
	if (S_ISLNK(n->mode))
		perm = 0777;
	else if (m->has_perm)
		perm = m->perm;
	n->mode = (n->mode & S_IFMT) | perm;
	n->uid = m->has_uid ? m->uid : s->conf.owner_id;
	n->gid = m->has_gid ? m->gid : s->conf.group_id;
	if (m->has_mtime)
		n->mtime_ns = m->mtime_ns;
	else if (mtime_ns != 0)
		n->mtime_ns = mtime_ns;
	n->atime_ns = m->has_atime ? m->atime_ns : n->mtime_ns;
	if (n->ctime_ns < n->mtime_ns)
		n->ctime_ns = n->mtime_ns;
	if (n->flags & NODE_SHOWN &&
	    (n->mode != mode || n->uid != uid || n->gid != gid || n->mtime_ns != mtime))
		node_touch(n, false); /* clients hold what a listing showed them */
}

/* apply_change - the object is not the one we knew. locked */
static int
apply_change(struct cw_share *s, struct node *n, const struct objstore_req *req)
{
	struct fold f;

	if (S_ISDIR(n->mode)) {
		remote_set(s, n, n->remote.key, req->etag);
		return 0;
	}
	if (n->dirty_since_ns != 0 || (n->job != NULL && n->job->is_running)) {
		sync_queue_ready(s->sync, n); /* a conflict: the reconciler decides */
		return -EAGAIN;
	}
	fold_init(&f, s);
	fold_replace(&f, n, req->etag, req->size, req->mtime_ns);
	fold_free(&f);
	return 0;
}

static bool
meta_says_anything(const struct meta_facts *m)
{
	return m->has_perm || m->has_uid || m->has_gid || m->has_mtime || m->has_atime ||
	       m->has_type || m->has_origin;
}

/* shown_wrong - what a listing showed as a file is a symlink. No client likes an inode that changes its
 * type: it goes, and comes back as another one. locked */
static void
shown_wrong(struct cw_share *s, struct node *n)
{
	struct node *dir = n->parent;

	if (dir == NULL || fold_remove(s, n) < 0)
		return;
	dir->flags &= ~(uint32_t)NODE_LISTED;
	node_changed(s, dir);
}

int
head_apply(struct cw_share *s, struct node *n, struct objstore_req *req)
{
	struct meta_facts m;
	int err;

	if (n->remote.key == NULL || req->key == NULL || strcmp(n->remote.key, req->key) != 0)
		return -EAGAIN; /* it moved while we asked */
	if (n->remote.etag == NULL || strcmp(n->remote.etag, req->etag) != 0) {
		err = apply_change(s, n, req);
		if (err < 0)
			return err;
	}
	meta_parse(
	    req->meta != NULL ? req->meta->items : NULL, req->meta != NULL ? req->meta->n : 0, &m);
	evidence_add(s->sync, meta_says_anything(&m));
	if (n->flags & NODE_SHOWN && S_ISREG(n->mode) && m.has_type && m.type == S_IFLNK) {
		shown_wrong(s, n);
		return -EAGAIN;
	}
	if (n->flags & NODE_META_UNKNOWN && n->attr_seq == n->remote.attr_seq)
		set_attrs(s, n, &m, req->mtime_ns);
	n->remote.mtime_ns = req->mtime_ns;
	n->flags &= ~(uint32_t)(NODE_META_UNKNOWN | NODE_NO_MARKER | NODE_SHOWN);
	node_changed(s, n);
	return 0;
}

/* head_gone - 404. locked. result: 0 when that is an answer too, -EAGAIN to leave it to others */
static int
head_gone(struct cw_share *s, struct node *n, const char *key)
{
	if (n->remote.key == NULL || strcmp(n->remote.key, key) != 0)
		return -EAGAIN;
	if (S_ISDIR(n->mode)) {
		if (n->remote.etag != NULL)
			remote_set(s, n, n->remote.key, NULL);
		n->flags =
		    (n->flags & ~(uint32_t)(NODE_META_UNKNOWN | NODE_SHOWN)) | NODE_NO_MARKER;
		node_changed(s, n);
		evidence_add(s->sync, false);
		return 0;
	}
	if (n->dirty_since_ns != 0) {
		sync_queue_ready(s->sync, n);
		return -EAGAIN;
	}
	return fold_gone(s, n) ? -ENOENT : -EAGAIN;
}

/* --- asynchronous, for ops ---------------------------------------------------------------------- */

static void
want_free(struct head_want *h)
{
	list_del(&h->link);
	objstore_req_clear(&h->req);
	free(h->target);
	free(h);
}

static void
want_end(struct head_want *h, int err)
{
	struct sync *y = h->y;
	struct node *n = h->n;

	n->flags &= ~(uint32_t)NODE_HEADING;
	if (err < 0)
		n->flags &= ~(uint32_t)NODE_SHOWN; /* the next listing asks again */
	if (n->head_waiters != NULL) {
		if (err < 0 && err != -ENOENT && err != -EAGAIN)
			waiters_fail(n->head_waiters, remote_err_for_client(err));
		else if (err == -EAGAIN &&
			 n->dirty_since_ns != 0) /* until the conflict is settled */
			waiters_delay(n->head_waiters);
		else
			waiters_rerun(n->head_waiters);
	}
	want_free(h);
	y->nheads--;
	heads_start(y);
	node_unref(y->s, n);
}

static void want_submit(struct head_want *h);

/* want_answered - locked; result: true when another request was submitted */
static bool
want_answered(struct head_want *h)
{
	struct objstore_req *req = &h->req;
	struct cw_share *s = h->y->s;
	struct node *n = h->n;
	int err = req->result;

	if (n->flags & NODE_REMOVED)
		err = -ENOENT;
	else if (h->target != NULL && err == 0) {
		if (S_ISLNK(n->mode) && n->u.target == NULL && req->got <= CW_SYMLINK_MAX) {
			h->target[req->got] = '\0';
			n->u.target = xstrdup(h->target); /* a NUL inside ends it */
			n->size = strlen(n->u.target);
			node_changed(s, n);
		}
	} else if (err == -ENOENT || err == -ERR_PRECONDITION) {
		err = err == -ENOENT ? head_gone(s, n, h->key) : -EAGAIN;
	} else if (err == 0) {
		err = head_apply(s, n, req);
	}
	if (err == 0 && S_ISLNK(n->mode) && n->u.target == NULL && h->target == NULL) {
		objstore_req_clear(req);
		h->target = xmalloc(CW_SYMLINK_MAX + 1);
		want_submit(h);
		return true;
	}
	want_end(h, err);
	return false;
}

static void
on_answer(struct loop_task *t)
{
	struct head_want *h = container_of(t, struct head_want, task);
	struct sync *y = h->y;
	int err = h->req.result;
	bool more;

	share_lock(y->s);
	more = want_answered(h);
	share_unlock(y->s);
	if (more)
		return;
	(void)sync_trouble(y, err);
	sync_user_put(y);
}

static void
head_done(struct objstore_req *req)
{
	struct head_want *h = container_of(req, struct head_want, req);

	loop_post(h->y->core->loop, &h->task);
}

/* want_submit - locked; objstore_submit() never completes on this stack. */
static void
want_submit(struct head_want *h)
{
	struct remote *r = &h->n->remote;

	snprintf(h->key, sizeof(h->key), "%s", r->key);
	snprintf(h->etag, sizeof(h->etag), "%s", r->etag != NULL ? r->etag : "");
	h->req.key = h->key;
	h->req.done = head_done;
	h->req.max_tries = SYNC_TRIES;
	if (h->target != NULL) {
		h->req.op = OBJ_GET;
		h->req.buf = h->target;
		h->req.buf_cap = CW_SYMLINK_MAX;
		h->req.if_match = h->etag[0] != '\0' ? h->etag : NULL;
	} else {
		h->req.op = OBJ_HEAD;
		h->req.want_meta = true;
	}
	objstore_submit(share_store(h->y->s), &h->req);
}

void
heads_start(struct sync *y)
{
	while (!list_empty(&y->head_queue) && y->nheads < SYNC_HEADS) {
		struct head_want *h = container_of(y->head_queue.next, struct head_want, link);

		list_del(&h->link);
		y->nheads_queued--;
		y->nheads++;
		if (h->n->flags & NODE_REMOVED || h->n->remote.key == NULL || !sync_user_get(y)) {
			/* want_end() may start others: it must find the count as it is */
			struct node *n = h->n;

			n->flags &= ~(uint32_t)NODE_HEADING;
			if (n->head_waiters != NULL)
				waiters_rerun(n->head_waiters);
			want_free(h);
			y->nheads--;
			node_unref(y->s, n);
			continue;
		}
		want_submit(h);
	}
	refine_pump(y);
}

void
heads_free(struct sync *y)
{
	while (!list_empty(&y->head_queue))
		want_free(container_of(y->head_queue.next, struct head_want, link));
}

void
head_ask(struct sync *y, struct node *n, bool at_front)
{
	struct head_want *h;

	if (n->flags & NODE_HEADING)
		return;
	h = xcalloc(1, sizeof(*h));
	h->y = y;
	h->n = n;
	h->task.fn = on_answer;
	list_init(&h->link);
	node_ref(n);
	n->flags |= NODE_HEADING;
	y->nheads_queued++;
	if (at_front)
		list_add_head(&y->head_queue, &h->link);
	else
		list_add_tail(&y->head_queue, &h->link);
	heads_start(y);
}

static bool
is_meta_known(const struct node *n)
{
	if (n->remote.key == NULL || n->flags & NODE_REMOVED)
		return true;
	if (n->flags & NODE_META_UNKNOWN)
		return false;
	return !S_ISLNK(n->mode) || n->u.target != NULL;
}

bool
remote_need_meta(struct cw_share *s, struct node *n, struct cw_op *op)
{
	if (s->sync == NULL || s->sync->closing || is_meta_known(n))
		return false;
	if (S_ISDIR(n->mode) && n->flags & NODE_LISTING && n->remote.etag == NULL &&
	    !(n->flags & NODE_LISTED)) {
		/* the listing tells whether there is a marker; mostly there is none */
		list_add_tail(&n->u.dir->waiters, &op->link);
		return true;
	}
	if (n->head_waiters == NULL) {
		n->head_waiters = xmalloc(sizeof(*n->head_waiters));
		list_init(n->head_waiters);
	}
	head_ask(s->sync, n, true);
	list_add_tail(n->head_waiters, &op->link);
	return true;
}

void
remote_prefetch_meta(struct cw_share *s, struct node *dir, uint64_t from_cookie)
{
	struct dir *d = dir->u.dir;
	unsigned int looked = 0;
	uint32_t i;

	if (s->sync == NULL || s->sync->closing)
		return;
	for (i = dir_first_after(d, from_cookie);
	     i < d->n && looked < PREFETCH_MAX && s->sync->nheads_queued < HEAD_QUEUE_MAX; i++) {
		struct node *n = d->entries[i];

		if (n == NULL)
			continue;
		looked++;
		if (!is_meta_known(n))
			head_ask(s->sync, n, false);
	}
}

void
remote_changed(struct cw_share *s, struct node *n)
{
	if (s->sync == NULL || s->sync->closing || n->flags & NODE_REMOVED || n->remote.key == NULL)
		return;
	if (n->dirty_since_ns != 0)
		sync_queue_ready(s->sync, n);
	else
		head_ask(s->sync, n, true);
}

/* --- synchronous, for jobs ---------------------------------------------------------------------- */

static int
target_now(struct sync *y, struct node *n, const char *key)
{
	char *target = xmalloc(CW_SYMLINK_MAX + 1);
	struct objstore_req req = {
	    .op = OBJ_GET, .key = key, .buf = target, .buf_cap = CW_SYMLINK_MAX};
	int err = sync_call(y, &req);

	if (err == 0) {
		target[req.got] = '\0';
		share_lock(y->s);
		if (S_ISLNK(n->mode) && n->u.target == NULL) {
			n->u.target = xstrdup(target);
			n->size = strlen(target);
			node_changed(y->s, n);
		}
		share_unlock(y->s);
	}
	objstore_req_clear(&req);
	free(target);
	return err;
}

int
head_now(struct sync *y, struct node *n)
{
	char key[CW_KEY_MAX + 2] = "";
	struct objstore_req req = {.op = OBJ_HEAD, .key = key, .want_meta = true};
	bool needs_target;
	int err;

	share_lock(y->s);
	if (n->remote.key != NULL)
		snprintf(key, sizeof(key), "%s", n->remote.key);
	share_unlock(y->s);
	if (key[0] == '\0')
		return 0;
	err = sync_call(y, &req);
	share_lock(y->s);
	if (err == -ENOENT && S_ISDIR(n->mode))
		err = head_gone(y->s, n, key);
	else if (err == 0 && (n->remote.etag == NULL || strcmp(n->remote.etag, req.etag) == 0))
		err = head_apply(y->s, n, &req);
	else if (err == 0)
		err = -ERR_PRECONDITION; /* changed behind our back: sync_resolve() */
	needs_target = err == 0 && S_ISLNK(n->mode) && n->u.target == NULL;
	share_unlock(y->s);
	objstore_req_clear(&req);
	return needs_target ? target_now(y, n, key) : err;
}
