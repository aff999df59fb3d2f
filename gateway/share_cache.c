/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share_cache.c - what a share does for the cache: rows for a commit, bytes of the base object.
 *
 * A fetch reads with If-Match on the ETag that the tree knows.  When the object is another one, there
 * are two cases.  Our own upload replaced it meanwhile: what we ask for is equal in both (the blocks
 * that differ are local), so the fetch asks again for the new one.  Somebody else did: remote_changed()
 * finds out what is there now, and the reader gets -ERR_PRECONDITION and is run again.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/node_row.h"
#include "gateway/reply.h"
#include "gateway/share_int.h"
#include "s3/objstore.h"

#define FETCH_TRIES 4u

static void
share_collect(void *owner, struct index_txn *txn)
{
	struct cw_share *s = owner;
	struct index_node row;
	struct list *l;
	struct node *n;

	list_for_each(l, &s->changed)
	{
		n = container_of(l, struct node, changed_link);
		node_to_row(s, n, &row);
		index_txn_put_node(txn, &row);
		n->flags = (n->flags & ~(uint32_t)NODE_CHANGED) | NODE_STORED;
	}
	list_splice_tail(&s->collecting, &s->changed);
	list_for_each(l, &s->dead)
	    index_txn_del_node(txn, container_of(l, struct node, changed_link)->ino);
	list_splice_tail(&s->collecting, &s->dead);
	reply_collect(s, txn);
	sync_collect(s, txn);
}

static void
share_collected(void *owner, int err)
{
	struct cw_share *s = owner;
	struct list done = LIST_INIT(done);
	struct node *n;

	share_lock(s);
	list_splice_tail(&done, &s->collecting);
	while (!list_empty(&done)) {
		n = container_of(done.next, struct node, changed_link);
		list_del(&n->changed_link);
		if (n->flags & NODE_REMOVED) {
			list_add_tail(err < 0 ? &s->dead : &s->orphans, &n->changed_link);
			if (err == 0) {
				n->flags &= ~(uint32_t)NODE_STORED;
				node_maybe_free(s, n);
			}
		} else if (err < 0) {
			n->flags |= NODE_CHANGED;
			list_add_tail(&s->changed, &n->changed_link);
		}
	}
	share_unlock(s);
	sync_collected(s, err);
}

struct fetching {
	struct objstore_req req;
	struct cw_share *s;
	struct node *n;
	struct cache_fetch *f;
	uint64_t off;
	uint32_t len;
	uint8_t *buf;
	unsigned int tries;
	char key[CW_KEY_MAX + 2];
	char etag[OBJSTORE_ETAG_MAX];
};

static void
fetch_finish(struct fetching *g, int result)
{
	struct cache_fetch *f = g->f;

	objstore_req_clear(&g->req);
	free(g);
	cache_fetch_done(f, result);
}

static void fetch_done(struct objstore_req *req);

/* fetch_prepare - fill the request from what the tree knows now. result: false when all is zeros */
static bool
fetch_prepare(struct fetching *g)
{
	struct cw_share *s = g->s;
	const struct remote *r = &g->n->remote;
	uint64_t want = g->len;

	share_lock(s);
	if (r->key == NULL || r->size <= g->off) {
		share_unlock(s);
		memset(g->buf, 0, g->len);
		return false;
	}
	if (want > r->size - g->off)
		want = r->size - g->off;
	strncpy(g->key, r->key, sizeof(g->key) - 1);
	g->etag[0] = '\0';
	if (r->etag != NULL)
		strncpy(g->etag, r->etag, sizeof(g->etag) - 1);
	share_unlock(s);
	memset(g->buf + want, 0, g->len - want);
	g->req.op = OBJ_GET;
	g->req.key = g->key;
	g->req.range_off = g->off;
	g->req.range_len = want;
	g->req.buf = g->buf;
	g->req.buf_cap = want;
	g->req.if_match = g->etag[0] != '\0' ? g->etag : NULL;
	g->req.done = fetch_done;
	g->req.ctx = g;
	return true;
}

static void
fetch_start(struct fetching *g)
{
	struct cw_share *s = g->s;

	if (!fetch_prepare(g)) {
		fetch_finish(g, 0);
		return;
	}
	__atomic_add_fetch(&s->nfetching, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&s->closing, __ATOMIC_SEQ_CST)) {
		__atomic_sub_fetch(&s->nfetching, 1, __ATOMIC_SEQ_CST);
		fetch_finish(g, -ERR_OFFLINE);
		return;
	}
	objstore_submit(share_store(s), &g->req);
	__atomic_sub_fetch(&s->nfetching, 1, __ATOMIC_SEQ_CST);
}

/* is_ours - did the node move on to another object while we asked for the old one? locked */
static bool
is_ours(const struct fetching *g)
{
	const struct remote *r = &g->n->remote;

	if (r->key == NULL || strcmp(r->key, g->key) != 0)
		return true;
	return r->etag != NULL && strcmp(r->etag, g->etag) != 0;
}

static void
fetch_done(struct objstore_req *req)
{
	struct fetching *g = req->ctx;
	struct cw_share *s = g->s;
	int result = req->result;
	bool again;

	if (result == 0 && req->got < req->range_len)
		result = -ERR_PROTOCOL;
	if (result == -ENOENT || result == -ERR_PRECONDITION || result == -ERR_INVALID_RANGE) {
		share_lock(s);
		again = is_ours(g) && ++g->tries < FETCH_TRIES;
		if (!again)
			remote_changed(s, g->n);
		share_unlock(s);
		if (again) {
			objstore_req_clear(&g->req);
			fetch_start(g);
			return;
		}
		result = -ERR_PRECONDITION;
	}
	if (result == -ECANCELED)
		result = -ERR_OFFLINE;
	fetch_finish(g, result);
}

static void
share_fetch(
    void *owner, void *file_owner, uint64_t off, uint32_t len, void *buf, struct cache_fetch *f)
{
	struct fetching *g = xcalloc(1, sizeof(*g));

	g->s = owner;
	g->n = file_owner;
	g->f = f;
	g->off = off;
	g->len = len;
	g->buf = buf;
	fetch_start(g);
}

static void
share_sealed(void *owner, void *file_owner)
{
	node_changed(owner, file_owner);
}

static void
share_verifier_changed(void *owner)
{
	struct cw_share *s = owner;
	uint64_t verf;

	random_bytes(&verf, sizeof(verf));
	__atomic_store_n(&s->write_verf, verf, __ATOMIC_RELEASE);
	log_warn(
	    "gateway.share", "verifier-changed", "share=%u: un-synced writes may be lost", s->id);
}

const struct cache_owner_ops share_cache_ops = {
    .collect = share_collect,
    .collected = share_collected,
    .fetch = share_fetch,
    .sealed = share_sealed,
    .verifier_changed = share_verifier_changed,
};
