/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote_fold.c - what the bucket holds, folded into the tree.
 *
 * The tree wins wherever it has a duty: the reconciler will find out about conflicts itself, with
 * conditions.  Here only facts about names without a duty change.  All functions are locked.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

void
fold_init(struct fold *f, struct cw_share *s)
{
	memset(f, 0, sizeof(*f));
	f->s = s;
	f->started_ms = clock_mono_ms();
}

void
fold_free(struct fold *f)
{
	inoset_free(&f->seen);
}

bool
fold_name_ok(const char *name, size_t len)
{
	return len > 0 && len <= CW_NAME_MAX && memchr(name, '/', len) == NULL &&
	       memchr(name, '\0', len) == NULL && !(len == 1 && name[0] == '.') &&
	       !(len == 2 && name[0] == '.' && name[1] == '.');
}

/* is_in_flux - something of ours is about to happen, or just happened, at key: what a LIST says of it
 * may be old. */
static bool
is_in_flux(const struct fold *f, const char *key)
{
	struct sync *y = f->s->sync;

	if (f->is_sure)
		return false;
	return keymap_get(&y->tombs, key) != NULL || keymap_get(&y->displaced, key) != NULL ||
	       keymap_get(&y->recent, key) != NULL || key_is_held(y, key);
}

static bool
is_busy(const struct node *n)
{
	return n->dirty_since_ns != 0 || (n->job != NULL && n->job->is_running) ||
	       (S_ISREG(n->mode) && n->u.file != NULL &&
		   (n->u.file->has_sealed || n->u.file->dirty_bytes > 0));
}

/* --- out ---------------------------------------------------------------------------------------- */

int
fold_remove(struct cw_share *s, struct node *n)
{
	struct node *dir = n->parent;

	if (dir == NULL)
		return -EBUSY;
	displaced_del(s->sync, n);
	list_del(&n->sync_link);
	if (n->job != NULL && !n->job->is_running)
		sync_job_drop(n);
	duty_end(s, n);
	node_touch(dir, true); /* clients look at these to know that the names changed */
	node_changed(s, dir);
	if (n->head_waiters != NULL)
		waiters_rerun(n->head_waiters);
	if (S_ISDIR(n->mode))
		waiters_rerun(&n->u.dir->waiters);
	node_remove(s, n);
	return 0;
}

bool
fold_gone(struct cw_share *s, struct node *n)
{
	bool all = !is_busy(n);

	if (S_ISDIR(n->mode)) {
		struct dir *d = n->u.dir;
		uint64_t cookie = 0;
		uint32_t i;

		while ((i = dir_first_after(d, cookie)) < d->n) {
			cookie = d->cookies[i];
			if (!fold_gone(s, d->entries[i]))
				all = false;
		}
		if (!all && n->dirty_since_ns == 0 && !(n->flags & NODE_NO_MARKER)) {
			/* what stays in it is ours and will make it a common prefix again */
			n->flags |= NODE_NO_MARKER;
			remote_set(s, n, n->remote.key, NULL);
			node_changed(s, n);
		}
	}
	if (all)
		(void)fold_remove(s, n);
	return all;
}

void
fold_missing(struct fold *f, struct node *dir, const char *list_key)
{
	struct dir *d = dir->u.dir;
	size_t plen = strlen(list_key);
	uint64_t cookie = 0;
	uint32_t i;

	while ((i = dir_first_after(d, cookie)) < d->n) {
		struct node *n = d->entries[i];

		cookie = d->cookies[i];
		if (n->remote.key == NULL || is_busy(n) || inoset_has(&f->seen, n->ino) ||
		    n->changed_ms >= f->started_ms ||
		    n->flags & (NODE_SUBTREE_MOVED | NODE_HEADING))
			continue;
		/* only what would have been seen, had it been there */
		if (strncmp(n->remote.key, list_key, plen) != 0 ||
		    strncmp(n->remote.key + plen, n->name, n->name_len) != 0 ||
		    is_in_flux(f, n->remote.key))
			continue;
		if (fold_gone(f->s, n))
			f->changed++;
	}
}

/* --- in ----------------------------------------------------------------------------------------- */

static void
set_defaults(const struct cw_share *s, struct node *n, int64_t mtime_ns)
{
	n->uid = s->conf.owner_id;
	n->gid = s->conf.group_id;
	if (mtime_ns != 0)
		n->atime_ns = n->mtime_ns = n->ctime_ns = mtime_ns;
}

static struct node *
make(struct fold *f, struct node *dir, const char *name, size_t len, const char *key,
    const struct objstore_entry *e)
{
	struct cw_share *s = f->s;
	bool is_dir = e == NULL;
	struct node *n =
	    node_new(s, is_dir ? S_IFDIR | s->conf.dir_mode : S_IFREG | s->conf.file_mode);
	char own[CW_KEY_MAX + 2];

	set_defaults(s, n, is_dir ? dir->mtime_ns : e->mtime_ns);
	n->changed_ms = 0;
	n->flags |= NODE_META_UNKNOWN | (is_dir ? NODE_NO_MARKER : 0);
	node_attach(s, dir, n, name, len);
	remote_set(s, n, key, is_dir ? NULL : e->etag);
	if (!is_dir) {
		n->size = n->remote.size = e->size;
		n->remote.mtime_ns = e->mtime_ns;
	}
	n->remote.data_seq = n->data_seq;
	n->remote.attr_seq = n->attr_seq;
	node_changed(s, n);
	if (dir->flags & NODE_LISTED)
		node_touch(dir, true); /* clients look at these to know that the names changed */
	node_changed(s, dir);
	if (node_key(s, n, own) >= 0 && strcmp(own, key) != 0)
		sync_queue_ready(s->sync, n); /* listed at the old place of a renamed directory */
	f->changed++;
	return n;
}

void
fold_replace(struct fold *f, struct node *n, const char *etag, uint64_t size, int64_t mtime_ns)
{
	remote_set(f->s, n, n->remote.key, etag);
	n->remote.size = n->size = size;
	n->remote.mtime_ns = mtime_ns;
	n->mtime_ns = mtime_ns;
	node_touch(n, false);
	n->flags |= NODE_META_UNKNOWN;
	n->data_seq++;
	n->remote.data_seq = n->data_seq;
	if (S_ISREG(n->mode) && n->u.file != NULL)
		cache_file_drop_clean(n->u.file, size);
	if (S_ISLNK(n->mode)) {
		free(n->u.target);
		n->u.target = NULL;
	}
	node_changed(f->s, n);
	f->changed++;
}

/* update_known - a file we have, seen at the key where we have it. */
static void
update_known(struct fold *f, struct node *n, const struct objstore_entry *e)
{
	if (is_busy(n) || n->changed_ms >= f->started_ms)
		return;
	if (n->remote.etag == NULL || strcmp(n->remote.etag, e->etag) != 0) {
		fold_replace(f, n, e->etag, e->size, e->mtime_ns);
		return;
	}
	if (n->remote.mtime_ns / 1000000000 == e->mtime_ns / 1000000000)
		return;
	if (n->remote.mtime_ns != 0) { /* same bytes, written again: the attributes may differ */
		n->flags |= NODE_META_UNKNOWN;
		f->changed++;
	}
	n->remote.mtime_ns = e->mtime_ns;
	node_changed(f->s, n);
}

struct node *
fold_entry(struct fold *f, struct node *dir, const char *name, size_t len, const char *key,
    const struct objstore_entry *e)
{
	struct cw_share *s = f->s;
	bool is_dir = e == NULL;
	struct node *n;

	if (!fold_name_ok(name, len))
		return NULL;
	if (dir == s->root &&
	    ((len == strlen(SYNC_TMP_NAME) && memcmp(name, SYNC_TMP_NAME, len) == 0) ||
		(len > strlen(SYNC_PROBE_NAME) &&
		    memcmp(name, SYNC_PROBE_NAME, strlen(SYNC_PROBE_NAME)) == 0)))
		return NULL;
	n = node_child(s, dir, name, len);
	if (n != NULL && S_ISDIR(n->mode) != is_dir) {
		/* One name, an object and a prefix: the directory is shown, or else what is below it
		 * could not be reached. */
		if (!is_dir || !fold_gone(s, n))
			return NULL;
		n = NULL;
	}
	if (n == NULL) {
		if (!node_key_fits(s, dir, len, is_dir))
			return NULL;
		if (is_in_flux(f, key) || (is_dir && key_in_flux_below(s->sync, key))) {
			inoset_add(&s->sync->relist, dir->ino);
			return NULL;
		}
		n = make(f, dir, name, len, key, e);
	} else if (!is_dir && n->remote.key != NULL && strcmp(n->remote.key, key) == 0 &&
		   !is_in_flux(f, key)) {
		update_known(f, n, e);
	}
	inoset_add(&f->seen, n->ino);
	return n;
}

void
fold_marker(struct fold *f, struct node *dir, const char *key, const struct objstore_entry *e)
{
	if (is_busy(dir) || is_in_flux(f, key) || dir->changed_ms >= f->started_ms ||
	    dir->remote.key == NULL || strcmp(dir->remote.key, key) != 0)
		return;
	if (e == NULL) {
		if (dir->remote.etag != NULL) { /* the marker was deleted; the names in it remain */
			remote_set(f->s, dir, key, NULL);
			dir->flags |= NODE_NO_MARKER;
			node_changed(f->s, dir);
		}
		if (dir->flags & NODE_META_UNKNOWN && !(dir->flags & NODE_HEADING)) {
			/* there is no object that could carry attributes */
			dir->flags &= ~(uint32_t)(NODE_META_UNKNOWN | NODE_SHOWN);
			dir->flags |= NODE_NO_MARKER;
			node_changed(f->s, dir);
			evidence_add(f->s->sync, false);
		}
		return;
	}
	if (dir->remote.etag != NULL && strcmp(dir->remote.etag, e->etag) == 0 &&
	    (dir->remote.mtime_ns == 0 ||
		dir->remote.mtime_ns / 1000000000 == e->mtime_ns / 1000000000)) {
		dir->remote.mtime_ns = e->mtime_ns;
		return;
	}
	remote_set(f->s, dir, key, e->etag);
	dir->remote.mtime_ns = e->mtime_ns;
	dir->flags = (dir->flags & ~(uint32_t)NODE_NO_MARKER) | NODE_META_UNKNOWN;
	node_changed(f->s, dir);
}
