/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_load.c - between a node in memory and its row in the index.
 *
 * The index is read as what it is, a file that lay on a disk: a row whose parent is missing or whose
 * name cannot be is hung below the root under a name of its own, never dropped, since it may be the
 * only trace of data that has not been uploaded.
 */
#include "gateway/node_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/dir.h"

void
node_to_row(const struct cw_share *s, const struct node *n, struct index_node *row)
{
	memset(row, 0, sizeof(*row));
	row->ino = n->ino;
	row->space = s->id;
	row->gen = n->gen;
	row->parent = n->parent != NULL ? n->parent->ino : 0;
	row->name = n->parent != NULL ? n->name : NULL;
	row->cookie = n->cookie;
	row->mode = n->mode;
	row->uid = n->uid;
	row->gid = n->gid;
	row->size = n->size;
	row->atime_ns = n->atime_ns;
	row->mtime_ns = n->mtime_ns;
	row->ctime_ns = n->ctime_ns;
	row->flags = n->flags & NODE_PERSISTENT;
	row->verf = n->verf;
	row->data_seq = n->data_seq;
	row->attr_seq = n->attr_seq;
	row->dirty_since_ns = n->dirty_since_ns;
	row->remote_key = n->remote.key;
	row->remote_etag = n->remote.etag;
	row->remote_size = n->remote.size;
	row->remote_mtime_ns = n->remote.mtime_ns;
	row->remote_data_seq = n->remote.data_seq;
	row->remote_attr_seq = n->remote.attr_seq;
	if (S_ISDIR(n->mode)) {
		row->base_limit = n->u.dir->next_cookie; /* directories have no other use for it */
	} else if (S_ISLNK(n->mode)) {
		row->target = n->u.target;
	} else if (n->u.file != NULL) {
		row->base_limit = n->u.file->base_limit;
		row->sealed_limit = n->u.file->sealed_limit;
		row->sealed_size = n->u.file->sealed_size;
		row->has_sealed = n->u.file->has_sealed;
	} else {
		row->base_limit = n->remote.key != NULL ? n->remote.size : 0;
	}
}

static char *
dup_or_null(const char *s)
{
	return s != NULL ? xstrdup(s) : NULL;
}

static void
load_content(struct cw_share *s, struct node *n, const struct index_node *row)
{
	struct cache_file *f;

	if (S_ISDIR(n->mode)) {
		if (row->base_limit > n->u.dir->next_cookie)
			n->u.dir->next_cookie = row->base_limit;
	} else if (S_ISLNK(n->mode)) {
		n->u.target = dup_or_null(row->target);
	} else if (row->has_sealed || row->base_limit != (row->remote_key ? row->remote_size : 0)) {
		f = node_file(s, n);
		f->base_limit = row->base_limit;
		f->sealed_limit = row->sealed_limit;
		f->sealed_size = row->sealed_size;
		f->has_sealed = row->has_sealed;
	}
}

static struct node *
node_from_row(struct cw_share *s, const struct index_node *row)
{
	struct node *n = node_alloc(s, row->ino, row->mode);

	n->gen = row->gen;
	n->flags = (row->flags & NODE_PERSISTENT) | NODE_STORED;
	n->uid = row->uid;
	n->gid = row->gid;
	n->size = row->size;
	n->cookie = row->cookie;
	n->atime_ns = row->atime_ns;
	n->mtime_ns = row->mtime_ns;
	n->ctime_ns = row->ctime_ns;
	n->verf = row->verf;
	n->data_seq = row->data_seq;
	n->attr_seq = row->attr_seq;
	n->dirty_since_ns = row->dirty_since_ns;
	n->remote.key = dup_or_null(row->remote_key);
	n->remote.etag = dup_or_null(row->remote_etag);
	n->remote.size = row->remote_size;
	n->remote.mtime_ns = row->remote_mtime_ns;
	n->remote.data_seq = row->remote_data_seq;
	n->remote.attr_seq = row->remote_attr_seq;
	load_content(s, n, row);
	return n;
}

struct loading {
	struct cw_share *s;
	struct pending {
		struct node *n;
		uint64_t parent;
	} * rows;
	size_t n, cap;
	uint64_t nbad;
};

static bool
row_name_ok(const char *name)
{
	size_t len = name != NULL ? strlen(name) : 0;

	return len > 0 && len <= CW_NAME_MAX && strchr(name, '/') == NULL &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int
load_row(void *arg, const struct index_node *row)
{
	struct loading *l = arg;
	struct node *n;

	if (node_by_ino(l->s, row->ino) != NULL || row->ino == 0 ||
	    (!S_ISDIR(row->mode) && !S_ISREG(row->mode) && !S_ISLNK(row->mode))) {
		log_err("gateway.tree", "bad-row", "share=%u ino=%llu mode=%o: left out", l->s->id,
		    (unsigned long long)row->ino, row->mode);
		return 0;
	}
	n = node_from_row(l->s, row);
	if (row->parent == 0 && row->name == NULL && S_ISDIR(row->mode) && l->s->root == NULL) {
		l->s->root = n;
		return 0;
	}
	if (row_name_ok(row->name)) {
		n->name = xstrdup(row->name);
		n->name_len = (uint8_t)strlen(row->name);
	}
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 1024 : l->cap * 2;
		l->rows = xrealloc(l->rows, l->cap * sizeof(*l->rows));
	}
	l->rows[l->n].n = n;
	l->rows[l->n++].parent = row->parent;
	return 0;
}

static bool
is_below(const struct node *n, const struct node *top)
{
	for (; n != NULL; n = n->parent)
		if (n == top)
			return true;
	return false;
}

static void
attach_loaded(struct loading *l, struct node *n, uint64_t parent_ino)
{
	struct cw_share *s = l->s;
	struct node *parent = node_by_ino(s, parent_ino);
	uint64_t cookie = n->cookie;
	struct dir *d;
	char lost[48];
	uint32_t i;

	if (parent == NULL || !S_ISDIR(parent->mode) || n->name == NULL ||
	    (S_ISDIR(n->mode) && is_below(parent, n)) ||
	    node_child(s, parent, n->name, n->name_len) != NULL) {
		snprintf(lost, sizeof(lost), ".causeway-lost-%llu", (unsigned long long)n->ino);
		log_err("gateway.tree", "lost-row", "share=%u ino=%llu: shown as /%s", s->id,
		    (unsigned long long)n->ino, lost);
		l->nbad++;
		node_attach(s, s->root, n, lost, strlen(lost));
		node_changed(s, n);
		return;
	}
	d = parent->u.dir;
	i = dir_first_after(d, cookie - 1);
	if (cookie < DIR_COOKIE_FIRST || (i < d->n && d->cookies[i] == cookie)) {
		cookie = d->next_cookie;
		node_changed(s, n);
	}
	node_attach_at(s, parent, n, n->name, n->name_len, cookie);
}

/* by_cookie - so that entries are appended, also where renames mixed the order of inode numbers. */
static int
by_cookie(const void *a, const void *b)
{
	const struct pending *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return x->n->cookie < y->n->cookie ? -1 : x->n->cookie > y->n->cookie;
}

int
node_load(struct cw_share *s)
{
	struct loading l = {.s = s};
	size_t i;
	int r;

	share_lock(s);
	r = index_each_node(cache_index(s->env.cache), s->id, load_row, &l);
	if (r == 0 && s->root == NULL) {
		s->root = node_new(s, S_IFDIR | 0777);
		node_changed(s, s->root);
	}
	if (r == 0 && l.n > 0) {
		qsort(l.rows, l.n, sizeof(*l.rows), by_cookie);
		for (i = 0; i < l.n; i++)
			attach_loaded(&l, l.rows[i].n, l.rows[i].parent);
	}
	share_unlock(s);
	free(l.rows);
	return r;
}
