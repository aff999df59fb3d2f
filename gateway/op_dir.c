/* SPDX-License-Identifier: Apache-2.0 */
/* op_dir.c - READDIR. */
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/dir.h"
#include "gateway/op_int.h"
#include "gateway/perm.h"
#include "gateway/recall.h"

static bool
emit_one(struct cw_op *op, const struct node *n, const char *name, size_t len, uint64_t cookie,
    bool may_show, bool *is_unknown)
{
	struct cw_dirent e = {.ino = n->ino, .cookie = cookie, .name = name, .name_len = len};
	struct cw_attr attr;

	if (op->want_attrs && (n->flags & NODE_META_UNKNOWN) && !may_show) {
		*is_unknown = true;
	} else if (op->want_attrs) {
		node_attr(op->share, n, &attr);
		e.attr = &attr;
	}
	return op->emit(op, &e);
}

/* emit_entry - as emit_one, for what is in the directory. */
static bool
emit_entry(struct cw_op *op, struct node *n, bool may_show, bool *is_unknown)
{
	if (!emit_one(op, n, n->name, n->name_len, n->cookie, may_show, is_unknown))
		return false;
	if (may_show && n->flags & NODE_META_UNKNOWN)
		remote_shown(op->share, n);
	if (op->is_leased)
		n->flags |= NODE_LEASED;
	return true;
}

/* emit_dots - "." and ".." behind cookie. result: false when full */
static bool
emit_dots(struct cw_op *op, const struct node *dir, bool *is_unknown)
{
	const struct node *up = dir->parent != NULL ? dir->parent : dir;

	if (op->cookie < DIR_COOKIE_DOT &&
	    !emit_one(op, dir, ".", 1, DIR_COOKIE_DOT, false, is_unknown))
		return false;
	if (op->cookie < DIR_COOKIE_DOTDOT &&
	    !emit_one(op, up, "..", 2, DIR_COOKIE_DOTDOT, false, is_unknown))
		return false;
	return true;
}

int
op_readdir(struct cw_op *op)
{
	struct cw_share *s = op->share;
	bool is_unknown = false, dots_unknown = false, may_show;
	struct node *dir, *n;
	struct dir *d;
	uint32_t i;
	int r = op_dir(op, op->ino, op->gen, &dir);

	if (r != 0)
		return r;
	op_set_attr(op, dir);
	r = perm_check(dir, &op->cred, CW_MAY_READ);
	if (r < 0)
		return r;
	d = dir->u.dir;
	if (!(dir->flags & NODE_REMOVED) && remote_need_listing(s, dir, op))
		return OP_PENDING;
	if (op->cookie >= d->next_cookie)
		return -EBADCOOKIE;
	if (op->cookie == 0)
		remote_look_ahead(s, dir);
	if (op->is_bulk && remote_need_sample(s, dir, op))
		return OP_PENDING;
	may_show = op->is_bulk && remote_may_show(s);
	if (op->is_leased)
		op->holder->given_ms = clock_mono_ms();
	if (!emit_dots(op, dir, &dots_unknown))
		return 0;
	for (i = dir_first_after(d, op->cookie); i < d->n; i++) {
		n = d->entries[i];
		if (n != NULL && !emit_entry(op, n, may_show, &is_unknown))
			break;
	}
	op->eof = i == d->n;
	if (is_unknown)
		remote_prefetch_meta(s, dir, op->cookie);
	return 0;
}
