/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote_list.c - names of one directory from the bucket.
 *
 * A directory is listed where its names are: at remote.key as long as a rename has not been carried
 * out, else at the key its path gives.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define SLICE 200 /* entries folded in under the lock in one go */

int
remote_err_for_client(int err)
{
	switch (-err) {
	case ERR_OFFLINE:
	case ERR_THROTTLED:
	case ECANCELED:
	case EAGAIN:
	case EBUSY:
		return -ERR_OFFLINE;
	case ENOENT:
	case ERR_STORE:
	case ERR_CREDENTIALS:
	case ERR_CLOCK_SKEW:
	case ERR_NO_BUCKET:
	case ERR_PRECONDITION:
	case ERR_CHECKSUM:
	case ERR_ARCHIVED:
		return err;
	default:
		return -EIO;
	}
}

void
waiters_rerun(struct list *waiters)
{
	while (!list_empty(waiters)) {
		struct cw_op *op = container_of(waiters->next, struct cw_op, link);

		list_del(&op->link);
		op_rerun(op);
	}
}

void
waiters_fail(struct list *waiters, int err)
{
	while (!list_empty(waiters)) {
		struct cw_op *op = container_of(waiters->next, struct cw_op, link);

		list_del(&op->link);
		op_fail(op, err);
	}
}

void
waiters_delay(struct list *waiters)
{
	while (!list_empty(waiters)) {
		struct cw_op *op = container_of(waiters->next, struct cw_op, link);

		list_del(&op->link);
		if (!op_delay(op))
			op_fail(op, -ERR_OFFLINE);
	}
}

void
list_dir_key(const struct cw_share *s, const struct node *dir, char *buf)
{
	if (dir->parent != NULL && dir->remote.key != NULL)
		memcpy(buf, dir->remote.key, strlen(dir->remote.key) + 1);
	else if (node_key(s, dir, buf) < 0)
		buf[0] = '\0';
}

struct listing {
	struct sync *y;
	struct node *dir;
	struct fold fold;
	char key[CW_KEY_MAX + 2];
	bool saw_marker;
};

/* fold_one - one entry of a page. locked */
static void
fold_one(struct listing *l, const struct objstore_entry *e)
{
	size_t plen = strlen(l->key), len;

	if (strncmp(e->key, l->key, plen) != 0 || strlen(e->key) > CW_KEY_MAX)
		return; /* not what was asked for */
	len = strlen(e->key + plen);
	if (len == 0) {
		l->saw_marker = true;
		fold_marker(&l->fold, l->dir, l->key, e);
	} else if (e->key[plen + len - 1] == '/') {
		(void)fold_entry(&l->fold, l->dir, e->key + plen, len - 1, e->key, NULL);
	} else {
		(void)fold_entry(&l->fold, l->dir, e->key + plen, len, e->key, e);
	}
}

/* fold_page - result: 0, or -ESTALE when the directory is no longer what is being listed */
static int
fold_page(struct listing *l, const struct objstore_list *list)
{
	struct cw_share *s = l->y->s;
	char key[CW_KEY_MAX + 2];
	size_t i, end;

	for (i = 0; i < list->n; i = end) {
		end = i + SLICE < list->n ? i + SLICE : list->n;
		share_lock(s);
		list_dir_key(s, l->dir, key);
		if (l->dir->flags & NODE_REMOVED || strcmp(key, l->key) != 0) {
			share_unlock(s);
			return -ESTALE;
		}
		for (size_t k = i; k < end; k++)
			fold_one(l, &list->entries[k]);
		share_unlock(s);
	}
	metric_add(l->y->m_down_bytes, (int64_t)list->n);
	return 0;
}

static int
list_pages(struct listing *l)
{
	char *token = NULL;
	int err;

	for (;;) {
		struct objstore_req req = {.op = OBJ_LIST,
		    .prefix = l->key,
		    .delimiter = "/",
		    .token = token,
		    .max_keys = 1000};

		err = sync_call(l->y, &req);
		if (err == 0)
			err = fold_page(l, &req.list);
		free(token);
		token = err == 0 && req.list.truncated && req.list.next_token != NULL
			    ? xstrdup(req.list.next_token)
			    : NULL;
		objstore_req_clear(&req);
		if (token == NULL)
			return err;
	}
}

void
listing_begin(struct sync *y)
{
	y->nlisting++;
}

void
listing_end(struct sync *y)
{
	y->listed_ms = clock_mono_ms();
	if (--y->nlisting > 0)
		return;
	keymap_clear(&y->recent, free);
	if (y->refine_n > y->refine_at)
		sync_kick(y);
}

static int
list_once(struct sync *y, struct node *dir, uint64_t *changed)
{
	struct listing *l = xcalloc(1, sizeof(*l));
	struct cw_share *s = y->s;
	char key[CW_KEY_MAX + 2];
	int err;

	l->y = y;
	l->dir = dir;
	fold_init(&l->fold, s);
	share_lock(s);
	listing_begin(y);
	list_dir_key(s, dir, l->key);
	share_unlock(s);
	err = list_pages(l);
	share_lock(s);
	list_dir_key(s, dir, key);
	if (err == 0 && (dir->flags & NODE_REMOVED || strcmp(key, l->key) != 0))
		err = -ESTALE;
	if (err == 0) {
		fold_missing(&l->fold, dir, l->key);
		if (!l->saw_marker)
			fold_marker(&l->fold, dir, l->key, NULL);
		dir->flags |= NODE_LISTED;
		dir->u.dir->listed_at_ms = clock_mono_ms();
		node_changed(s, dir);
	}
	if (changed != NULL)
		*changed += l->fold.changed;
	listing_end(y);
	share_unlock(s);
	fold_free(&l->fold);
	free(l);
	return err;
}

static bool
is_removed(struct sync *y, const struct node *dir)
{
	bool r;

	share_lock(y->s);
	r = dir->flags & NODE_REMOVED;
	share_unlock(y->s);
	return r;
}

int
list_dir(struct sync *y, struct node *dir, uint64_t *changed)
{
	int err = -ESTALE, i;

	for (i = 0; i < 4 && err == -ESTALE && !is_removed(y, dir); i++)
		err = list_once(y, dir, changed);
	return err == -ESTALE ? -EAGAIN : err;
}

/* --- for ops ------------------------------------------------------------------------------------ */

struct list_work {
	struct work work;
	struct sync *y;
	struct node *dir;
	bool is_ahead;
};

static void
list_run(struct work *w)
{
	struct list_work *lw = container_of(w, struct list_work, work);
	struct sync *y = lw->y;
	struct cw_share *s = y->s;
	struct node *dir = lw->dir;
	int err = list_dir(y, dir, NULL);

	if (err < 0) {
		(void)sync_trouble(y, err);
		log_warn("gateway.sync", "list-failed", "share=%s ino=%llu err=\"%s\"",
		    s->conf.name, (unsigned long long)dir->ino, err_str(err));
	}
	share_lock(s);
	dir->flags &= ~(uint32_t)NODE_LISTING;
	if (lw->is_ahead) {
		y->nahead--;
		if (err == 0)
			ahead_listed(y, dir);
	}
	if (err < 0 && !(dir->flags & (NODE_LISTED | NODE_REMOVED))) {
		waiters_fail(&dir->u.dir->waiters, remote_err_for_client(err));
	} else {
		/* A stale listing is better than none: look again after the same time. */
		dir->u.dir->listed_at_ms = clock_mono_ms();
		waiters_rerun(&dir->u.dir->waiters);
	}
	node_unref(s, dir);
	share_unlock(s);
	free(lw);
	sync_user_put(y);
}

/* is_fresh - are the names known, and not past the share's time to live? */
static bool
is_fresh(const struct cw_share *s, const struct node *dir)
{
	char key[CW_KEY_MAX + 2];

	if (!(dir->flags & NODE_LISTED))
		return false;
	if (s->conf.cache_stale_timeout_s == 0 ||
	    clock_mono_ms() - dir->u.dir->listed_at_ms < s->conf.cache_stale_timeout_s * 1000ull)
		return true;
	/* Where a rename is still being carried out, the bucket's names are in two places. */
	return node_key(s, dir, key) < 0 || key_may_be_unwalked(s->sync, key) ||
	       (dir->parent != NULL &&
		   (dir->remote.key == NULL || strcmp(key, dir->remote.key) != 0));
}

bool
list_start(struct sync *y, struct node *dir, bool is_ahead)
{
	struct list_work *lw;

	if (!sync_user_get(y))
		return false;
	lw = xcalloc(1, sizeof(*lw));
	lw->y = y;
	lw->dir = dir;
	lw->is_ahead = is_ahead;
	lw->work.fn = list_run;
	y->nahead += is_ahead;
	dir->flags |= NODE_LISTING;
	node_ref(dir);
	workq_submit(y->core->lists, &lw->work);
	return true;
}

bool
remote_need_listing(struct cw_share *s, struct node *dir, struct cw_op *op)
{
	if (dir->flags & NODE_REMOVED || s->sync == NULL || is_fresh(s, dir))
		return false;
	if (!(dir->flags & NODE_LISTING) && !list_start(s->sync, dir, false))
		return false;
	list_add_tail(&dir->u.dir->waiters, &op->link);
	return true;
}
