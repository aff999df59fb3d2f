/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_rename.c - RENAME, of which POSIX says much.
 * source: POSIX.1-2017 rename(); RFC 1813 3.3.14
 */
#include <string.h>
#include <sys/stat.h>

#include "gateway/dir.h"
#include "gateway/op_int.h"
#include "gateway/perm.h"

struct renaming {
	struct node *dir, *dir2, *from, *to;
	size_t len2;
};

static int
rename_names(struct cw_op *op)
{
	int r = op_name_check(op->name);

	if (r == 0)
		r = op_name_check(op->name2);
	return r == -EEXIST ? -EINVAL : r; /* "." and ".." stay where they are */
}

/* rename_begin - find everybody. wcc of both directories begin. */
static int
rename_begin(struct cw_op *op, struct renaming *m)
{
	int r = op_dir(op, op->ino, op->gen, &m->dir);

	if (r != 0)
		return r;
	r = op_dir(op, op->ino2, op->gen2, &m->dir2);
	if (r != 0)
		return r;
	op_wcc_begin(op, 0, m->dir);
	op_wcc_begin(op, 1, m->dir2);
	r = op_writable(op);
	if (r == 0)
		r = perm_check(m->dir, &op->cred, CW_MAY_EXEC);
	if (r == 0)
		r = perm_check(m->dir2, &op->cred, CW_MAY_EXEC);
	if (r == 0)
		r = rename_names(op);
	if (r < 0)
		return r;
	m->len2 = strlen(op->name2);
	r = op_find(op, m->dir, op->name, &m->from);
	if (r != 0)
		return r;
	if (m->from == NULL || (m->dir2->flags & NODE_REMOVED))
		return -ENOENT;
	return op_find(op, m->dir2, op->name2, &m->to);
}

static bool
is_inside(const struct node *n, const struct node *top)
{
	for (; n != NULL; n = n->parent)
		if (n == top)
			return true;
	return false;
}

/* rename_fits - would every key below the new name keep within the limit? */
static bool
rename_fits(struct cw_op *op, const struct renaming *m)
{
	bool is_dir = S_ISDIR(m->from->mode);
	size_t base = node_key_len(op->share, m->dir2) + m->len2 + (is_dir ? 1 : 0);

	if (base > CW_KEY_MAX)
		return false;
	if (!is_dir || base + m->from->u.dir->max_below <= CW_KEY_MAX)
		return true;
	/* The figure only grows; look at what is really there. */
	return base + dir_recount_max_below(m->from) <= CW_KEY_MAX;
}

/* rename_replaces - may `to` give way to `from`? */
static int
rename_replaces(struct cw_op *op, const struct renaming *m)
{
	struct node *from = m->from, *to = m->to;

	if (S_ISDIR(from->mode) && !S_ISDIR(to->mode))
		return -ENOTDIR;
	if (!S_ISDIR(from->mode) && S_ISDIR(to->mode))
		return -EISDIR;
	if (!S_ISDIR(to->mode))
		return 0;
	if (to->u.dir->nchildren == 0 && remote_need_listing(op->share, to, op))
		return OP_PENDING;
	return to->u.dir->nchildren > 0 ? -ENOTEMPTY : 0;
}

static int
rename_check(struct cw_op *op, const struct renaming *m)
{
	int r = perm_check_delete(m->dir, m->from, &op->cred);

	if (r < 0)
		return r;
	r = m->to != NULL ? perm_check_delete(m->dir2, m->to, &op->cred)
			  : perm_check(m->dir2, &op->cred, CW_MAY_WRITE | CW_MAY_EXEC);
	if (r < 0)
		return r;
	/* A directory that moves gets another "..": that is a write to it. */
	if (S_ISDIR(m->from->mode) && m->dir != m->dir2)
		r = perm_check(m->from, &op->cred, CW_MAY_WRITE);
	if (r < 0)
		return r;
	if (S_ISDIR(m->from->mode) && is_inside(m->dir2, m->from))
		return -EINVAL;
	return rename_fits(op, m) ? 0 : -ENAMETOOLONG;
}

int
op_rename(struct cw_op *op)
{
	struct cw_share *s = op->share;
	struct renaming m = {0};
	int r = rename_begin(op, &m);

	if (r != 0)
		return r;
	if (m.from == m.to)
		return 0;
	r = rename_check(op, &m);
	if (r == 0 && m.to != NULL)
		r = rename_replaces(op, &m);
	if (r != 0)
		return r;
	if (m.to != NULL) {
		node_touch(m.to, false);
		sync_removed(s, m.to);
		node_remove(s, m.to);
	}
	sync_leaving(s, m.from);
	node_detach(s, m.from);
	node_attach(s, m.dir2, m.from, op->name2, m.len2);
	node_touch(m.from, false);
	node_changed(s, m.from);
	op_entries_changed(s, m.dir);
	if (m.dir2 != m.dir)
		op_entries_changed(s, m.dir2);
	sync_renamed(s, m.from);
	op_wcc_end(op, 0, m.dir);
	op_wcc_end(op, 1, m.dir2);
	op_set_attr(op, m.from);
	return OP_DURABLE;
}
