/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_tomb.c - keys to be deleted from the bucket.
 *
 * A tombstone is durable before its key is deleted: a rename's old object goes only when the index
 * says that the node lives at the new key.  A key is deleted only if it still holds what we knew
 * (ETag), or something this appliance wrote for a node that is no more; anything else belongs to
 * another writer and stays (P9).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define BATCH_MAX 1000
#define LIST_FROM 32 /* tombstones in a batch from which a LIST is cheaper than HEADs */
#define HEAD_WIDTH 32

struct tomb_row { /* a change for the index */
	struct list link;
	bool is_del;
	uint64_t id;
	char *key, *etag;
};

static void
row_free(struct tomb_row *r)
{
	list_del(&r->link);
	free(r->key);
	free(r->etag);
	free(r);
}

static void
row_add(struct sync *y, const struct tomb *t, bool is_del)
{
	struct tomb_row *r = xcalloc(1, sizeof(*r));

	r->is_del = is_del;
	r->id = t->id;
	if (!is_del) {
		r->key = xstrdup(t->key);
		r->etag = t->etag != NULL ? xstrdup(t->etag) : NULL;
	}
	list_add_tail(&y->tomb_rows, &r->link);
	cache_mark(y->s->space);
}

struct tomb *
tomb_find(struct sync *y, const char *key)
{
	return keymap_get(&y->tombs, key);
}

void
tomb_add(struct sync *y, const char *key, const char *etag)
{
	struct tomb *t = tomb_find(y, key);

	if (t == NULL) {
		t = xcalloc(1, sizeof(*t));
		t->id = index_next_ino(cache_index(y->s->env.cache));
		t->key = xstrdup(key);
		list_init(&t->link);
		t->not_before_ms = clock_mono_ms() + sync_settle_ms(y->s);
		keymap_put(&y->tombs, t->key, t);
	} else if (etag == NULL || (t->etag != NULL && strcmp(t->etag, etag) == 0)) {
		return;
	}
	free(t->etag);
	t->etag = etag != NULL ? xstrdup(etag) : NULL;
	row_add(y, t, false);
}

static void
tomb_free(void *value)
{
	struct tomb *t = value;

	list_del(&t->link);
	free(t->key);
	free(t->etag);
	free(t);
}

bool
tomb_is_held(const struct sync *y, const struct tomb *t)
{
	return keymap_get(&y->held, t->key) != NULL;
}

void
tomb_hold(struct sync *y, struct node *n)
{
	struct tomb *t;

	if (!S_ISREG(n->mode) || n->remote.key == NULL || n->remote.etag == NULL ||
	    n->remote.size == 0)
		return;
	t = tomb_find(y, n->remote.key);
	if (t != NULL && !tomb_is_held(y, t))
		keymap_put(&y->held, t->key, n);
}

void
sync_released(struct cw_share *s, struct node *n)
{
	struct sync *y = s->sync;
	struct tomb *t;

	if (y == NULL || n->remote.key == NULL || keymap_get(&y->held, n->remote.key) != n)
		return;
	t = tomb_find(y, n->remote.key);
	keymap_del(&y->held, n->remote.key);
	t->not_before_ms = 0;
	if (t->is_stored && !t->is_busy && list_empty(&t->link))
		list_add_head(&y->tomb_queue, &t->link);
	sync_kick(y);
}

void
tomb_drop(struct sync *y, struct tomb *t)
{
	row_add(y, t, true);
	(void)keymap_del(&y->held, t->key);
	keymap_del(&y->tombs, t->key);
	tomb_free(t);
}

void
tombs_collect(struct sync *y, struct index_txn *txn)
{
	struct list *l;

	list_for_each(l, &y->tomb_rows)
	{
		struct tomb_row *r = container_of(l, struct tomb_row, link);
		struct index_tomb row = {
		    .id = r->id, .space = y->s->id, .key = r->key, .etag = r->etag};

		if (r->is_del)
			index_txn_del_tomb(txn, r->id);
		else
			index_txn_put_tomb(txn, &row);
	}
	list_splice_tail(&y->tomb_rows_out, &y->tomb_rows);
}

void
tombs_collected(struct sync *y, int err)
{
	if (err < 0) { /* once more, before what came since */
		list_splice_tail(&y->tomb_rows_out, &y->tomb_rows);
		list_splice_tail(&y->tomb_rows, &y->tomb_rows_out);
		return;
	}
	while (!list_empty(&y->tomb_rows_out)) {
		struct tomb_row *r = container_of(y->tomb_rows_out.next, struct tomb_row, link);
		struct tomb *t = r->is_del ? NULL : tomb_find(y, r->key);

		if (t != NULL && t->id == r->id && !t->is_stored) {
			t->is_stored = true;
			if (tomb_is_held(y, t))
				; /* sync_released() puts it in line */
			else if (t->not_before_ms <= clock_mono_ms())
				list_add_head(&y->tomb_queue, &t->link);
			else
				list_add_tail(&y->tomb_queue, &t->link);
			sync_kick(y);
		}
		row_free(r);
	}
}

static int
load_one(void *arg, const struct index_tomb *b)
{
	struct sync *y = arg;
	struct tomb *t;

	if (b->key == NULL || b->key[0] == '\0' || tomb_find(y, b->key) != NULL)
		return 0;
	t = xcalloc(1, sizeof(*t));
	t->id = b->id;
	t->key = xstrdup(b->key);
	t->etag = b->etag != NULL ? xstrdup(b->etag) : NULL;
	t->is_stored = true;
	keymap_put(&y->tombs, t->key, t);
	list_add_tail(&y->tomb_queue, &t->link);
	return 0;
}

int
tombs_load(struct sync *y)
{
	return index_each_tomb(cache_index(y->s->env.cache), y->s->id, load_one, y);
}

void
tombs_free(struct sync *y)
{
	keymap_clear(&y->held, NULL);
	keymap_clear(&y->tombs, tomb_free);
	while (!list_empty(&y->tomb_rows))
		row_free(container_of(y->tomb_rows.next, struct tomb_row, link));
	while (!list_empty(&y->tomb_rows_out))
		row_free(container_of(y->tomb_rows_out.next, struct tomb_row, link));
}

bool
tombs_due(const struct sync *y, uint64_t now_ms)
{
	return tombs_next_ms(y) <= now_ms && y->njobs < y->limit + 1;
}

uint64_t
tombs_next_ms(const struct sync *y)
{
	if (y->tombs_running || list_empty(&y->tomb_queue))
		return UINT64_MAX;
	return container_of(y->tomb_queue.next, struct tomb, link)->not_before_ms;
}

/* --- one batch ---------------------------------------------------------------------------------- */

enum verdict { V_UNKNOWN, V_DELETE, V_GONE, V_FOREIGN, V_ERROR };

struct item {
	char *key, *etag; /* copies */
	uint64_t id;
	enum verdict verdict;
	int err;
};

struct tomb_batch {
	struct work work;
	struct sync *y;
	size_t n;
	struct item items[];
};

/* is_wanted - a live node is about to write this key: it takes the tombstone over. */
static bool
is_wanted(struct sync *y, const char *key)
{
	const struct node *n = node_at_key(y->s, key);

	return n != NULL && n->parent != NULL && n->dirty_since_ns != 0;
}

/* is_in_use - a live node has its object there: the tombstone is a mistake, not an order. */
static bool
is_in_use(struct sync *y, const char *key)
{
	const struct node *n = node_at_key(y->s, key);

	if (n == NULL)
		n = keymap_get(&y->displaced, key);
	return n != NULL && n->remote.key != NULL && n->remote.etag != NULL &&
	       strcmp(n->remote.key, key) == 0;
}

static int
by_key(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->key, ((const struct item *)b)->key);
}

static void
decide_by_head(struct sync *y, struct item *it, const struct objstore_req *req)
{
	struct meta_facts m;

	it->err = req->result;
	if (req->result == -ENOENT) {
		it->verdict = V_GONE;
	} else if (req->result < 0) {
		it->verdict = V_ERROR;
	} else if (it->etag != NULL && strcmp(it->etag, req->etag) == 0) {
		it->verdict = V_DELETE;
	} else {
		meta_parse(req->meta != NULL ? req->meta->items : NULL,
		    req->meta != NULL ? req->meta->n : 0, &m);
		it->verdict = sync_is_ours(y, &m, it->key) ? V_DELETE : V_FOREIGN;
	}
}

static void
verify_by_heads(struct tomb_batch *b)
{
	struct objstore_req *reqs = xcalloc(b->n, sizeof(*reqs));
	struct item **asked = xcalloc(b->n, sizeof(*asked));
	size_t i, n = 0;

	for (i = 0; i < b->n; i++) {
		if (b->items[i].verdict != V_UNKNOWN)
			continue;
		reqs[n].op = OBJ_HEAD;
		reqs[n].key = b->items[i].key;
		reqs[n].want_meta = true;
		asked[n++] = &b->items[i];
	}
	sync_call_many(b->y, reqs, n, HEAD_WIDTH);
	for (i = 0; i < n; i++) {
		decide_by_head(b->y, asked[i], &reqs[i]);
		objstore_req_clear(&reqs[i]);
	}
	free(asked);
	free(reqs);
}

/* merge_page - both sides are sorted by key. result: index of the first item behind the page */
static size_t
merge_page(struct tomb_batch *b, size_t at, const struct objstore_req *req)
{
	size_t e = 0;
	int c = 0;

	while (at < b->n) {
		struct item *it = &b->items[at];

		while (e < req->list.n && (c = strcmp(req->list.entries[e].key, it->key)) < 0)
			e++;
		if (e == req->list.n) {
			if (req->list.truncated)
				return at;
			it->verdict = V_GONE;
		} else if (c > 0) {
			it->verdict = V_GONE;
		} else if (it->etag != NULL && strcmp(it->etag, req->list.entries[e].etag) == 0) {
			it->verdict = V_DELETE;
		} /* else: the HEAD will tell whose it is */
		at++;
	}
	return at;
}

/* verify_by_list - the ETags of many keys for a few requests; gives up where keys lie far apart. */
static void
verify_by_list(struct tomb_batch *b)
{
	size_t common = strlen(b->items[0].key), at = 0, max_pages = 2 + b->n / 250, page;
	const char *first = b->items[0].key, *last = b->items[b->n - 1].key;
	char *prefix, *token = NULL, *after;

	for (size_t i = 0; i < common; i++)
		if (first[i] != last[i])
			common = i;
	prefix = xstrndup(first, common);
	after = xstrdup(first);
	after[strlen(after) -
	      1]--; /* sorts before the first key, and not far: keys are no control bytes */
	for (page = 0; page < max_pages && at < b->n; page++) {
		struct objstore_req req = {
		    .op = OBJ_LIST, .prefix = prefix, .token = token, .max_keys = 1000};

		if (token == NULL && strncmp(after, prefix, common) == 0)
			req.start_after = after;
		if (sync_call(b->y, &req) < 0) {
			objstore_req_clear(&req);
			break;
		}
		at = merge_page(b, at, &req);
		free(token);
		token = req.list.next_token != NULL ? xstrdup(req.list.next_token) : NULL;
		objstore_req_clear(&req);
		if (token == NULL)
			break;
	}
	free(token);
	free(after);
	free(prefix);
}

static void
delete_verified(struct tomb_batch *b)
{
	const char **keys = xcalloc(b->n, sizeof(*keys));
	int *errs = xcalloc(b->n, sizeof(*errs));
	struct item **which = xcalloc(b->n, sizeof(*which));
	size_t i, n = 0;
	int r;

	for (i = 0; i < b->n; i++) {
		if (b->items[i].verdict == V_DELETE) {
			which[n] = &b->items[i];
			keys[n++] = b->items[i].key;
		}
	}
	if (n > 0) {
		struct objstore_req req = {.op = n == 1 ? OBJ_DELETE : OBJ_DELETE_MANY,
		    .key = keys[0],
		    .keys = keys,
		    .key_errs = errs,
		    .nkeys = n};

		r = sync_call(b->y, &req);
		for (i = 0; i < n; i++) {
			which[i]->err = r < 0 ? r : n == 1 ? 0 : errs[i];
			if (which[i]->err < 0 && which[i]->err != -ENOENT)
				which[i]->verdict = V_ERROR;
		}
		objstore_req_clear(&req);
	}
	free(which);
	free(errs);
	free(keys);
}

void
parent_relist(struct cw_share *s, const char *key)
{
	char dir[CW_KEY_MAX + 2];
	size_t len = strlen(key);
	struct node *n;

	if (len == 0 || len > CW_KEY_MAX)
		return;
	memcpy(dir, key, len + 1);
	dir[len - 1] = '\0'; /* a directory's own slash does not count */
	while (len > 0 && dir[len - 1] != '/')
		dir[--len] = '\0';
	n = node_at_key(s, dir);
	if (n != NULL && S_ISDIR(n->mode)) {
		n->flags &= ~(uint32_t)NODE_LISTED;
		node_changed(s, n);
	}
}

/* settle_item - locked. result: the store's trouble, or 0 */
static int
settle_item(struct sync *y, struct item *it)
{
	struct tomb *t = tomb_find(y, it->key);
	int err = 0;

	key_touched(y, it->key);
	if (t != NULL && t->id == it->id) {
		t->is_busy = false;
		if (it->verdict == V_ERROR) {
			err = it->err;
			t->not_before_ms = clock_mono_ms() + sync_jitter_ms(t->tries++);
			list_add_tail(&y->tomb_queue, &t->link);
		} else {
			if (it->verdict == V_FOREIGN) {
				parent_relist(y->s, it->key);
				if (it->etag != NULL) { /* else we never knew of an object there */
					y->conflicts++;
					metric_add(y->m_conflicts, 1);
				}
			} else if (it->verdict == V_DELETE) {
				metric_add(y->m_deletes, 1);
			}
			tomb_drop(y, t);
		}
	}
	key_release(y, it->key);
	return err;
}

static void
tombs_run(struct work *w)
{
	struct tomb_batch *b = container_of(w, struct tomb_batch, work);
	struct sync *y = b->y;
	size_t i;
	int err = 0, r;

	qsort(b->items, b->n, sizeof(b->items[0]), by_key);
	if (b->n >= LIST_FROM)
		verify_by_list(b);
	verify_by_heads(b);
	delete_verified(b);
	for (i = 0; i < b->n; i++) {
		share_lock(y->s);
		r = settle_item(y, &b->items[i]);
		share_unlock(y->s);
		if (r < 0)
			err = r;
		if (b->items[i].verdict == V_FOREIGN && b->items[i].etag != NULL)
			sync_event(y->s, "conflict", "share", y->s->conf.name, "object-key",
			    b->items[i].key, "kind", "removed-here-changed-there", "kept", "bucket",
			    (char *)NULL);
	}
	(void)sync_trouble(y, err);
	share_lock(y->s);
	y->tombs_running = false;
	y->njobs--;
	barriers_check(y);
	sync_kick(y);
	share_unlock(y->s);
	for (i = 0; i < b->n; i++) {
		free(b->items[i].key);
		free(b->items[i].etag);
	}
	free(b);
	sync_user_put(y);
}

void
tombs_start(struct sync *y)
{
	struct tomb_batch *b = xcalloc(1, sizeof(*b) + BATCH_MAX * sizeof(b->items[0]));
	uint64_t now = clock_mono_ms();
	struct list *l, *next;
	size_t looked = 0;

	list_for_each_safe(l, next, &y->tomb_queue)
	{
		struct tomb *t = container_of(l, struct tomb, link);

		if (t->not_before_ms > now || b->n == BATCH_MAX || looked++ == 2 * BATCH_MAX)
			break;
		list_del(&t->link);
		if (tomb_is_held(y, t))
			continue;
		if (key_is_held(y, t->key) || is_wanted(y, t->key)) {
			t->not_before_ms = now + 500;
			list_add_tail(&y->tomb_queue, &t->link);
			continue;
		}
		if (is_in_use(y, t->key)) {
			log_err("gateway.sync", "tomb-in-use", "share=%s key=\"%s\": not deleted",
			    y->s->conf.name, t->key);
			tomb_drop(y, t);
			continue;
		}
		t->is_busy = true;
		key_hold(y, t->key);
		b->items[b->n].key = xstrdup(t->key);
		b->items[b->n].etag = t->etag != NULL ? xstrdup(t->etag) : NULL;
		b->items[b->n++].id = t->id;
	}
	if (b->n == 0 || !sync_user_get(y)) {
		free(b);
		return;
	}
	b->y = y;
	b->work.fn = tombs_run;
	y->tombs_running = true;
	y->njobs++;
	workq_submit(y->core->jobs, &b->work);
}
