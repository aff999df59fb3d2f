/* SPDX-License-Identifier: Apache-2.0 */
/* op_name.c - ops that make and remove names: CREATE MKDIR SYMLINK REMOVE RMDIR. */
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/op_int.h"
#include "gateway/perm.h"

/* --- making ------------------------------------------------------------------------------------ */

/* make_begin - directory and old entry for an op that makes op->name. wcc[0] begins.
 * result: 0 with *old the entry of that name or NULL; negative; OP_PENDING */
static int
make_begin(struct cw_op *op, struct node **dir, struct node **old)
{
	int r = op_dir(op, op->ino, op->gen, dir);

	if (r != 0)
		return r;
	op_wcc_begin(op, 0, *dir);
	r = op_writable(op);
	if (r == 0)
		r = perm_check(*dir, &op->cred, CW_MAY_EXEC);
	if (r == 0)
		r = op_name_check(op->name);
	if (r < 0)
		return r;
	if ((*dir)->flags & NODE_REMOVED)
		return -ENOENT;
	return op_find(op, *dir, op->name, old);
}

static int
make_check(struct cw_op *op, const struct node *dir, bool is_dir)
{
	int r = perm_check(dir, &op->cred, CW_MAY_WRITE | CW_MAY_EXEC);

	if (r < 0)
		return r;
	if (!node_key_fits(op->share, dir, strlen(op->name), is_dir))
		return -ENAMETOOLONG;
	return 0;
}

/* make_node - a node owned by the caller, with the attributes asked for as far as it may set them. */
static struct node *
make_node(struct cw_op *op, const struct node *dir, uint32_t type, uint32_t default_perm)
{
	struct node *n = node_new(op->share, type | default_perm);
	struct cw_sattr a = op->sattr;

	n->uid = op->cred.uid;
	n->gid = dir->mode & S_ISGID ? dir->gid : op->cred.gid;
	if (op->cred.uid != 0)
		a.mask &= ~(CW_SET_UID | CW_SET_GID);
	sattr_apply(n, &a, &op->cred);
	if (type == S_IFDIR && (dir->mode & S_ISGID))
		n->mode |= S_ISGID;
	return n;
}

static int
make_finish(struct cw_op *op, struct node *dir, struct node *n)
{
	struct cw_share *s = op->share;

	node_attach(s, dir, n, op->name, strlen(op->name));
	n->data_seq++;
	n->attr_seq++;
	op_entries_changed(s, dir);
	sync_created(s, n);
	node_changed(s, n);
	op_wcc_end(op, 0, dir);
	op_set_attr(op, n);
	return OP_DURABLE;
}

/* create_existing - CREATE where the name is taken. */
static int
create_existing(struct cw_op *op, struct node *n)
{
	int r;

	if (op->create_mode == CW_CREATE_GUARDED)
		return -EEXIST;
	if (op->create_mode == CW_CREATE_EXCLUSIVE) {
		/* The reply to the first try was lost: the node that it made bears its verifier. */
		if (!S_ISREG(n->mode) || n->verf == 0 || n->verf != op->verf)
			return -EEXIST;
		op_set_attr(op, n);
		return OP_DURABLE;
	}
	if (S_ISDIR(n->mode))
		return -EISDIR;
	if (!S_ISREG(n->mode))
		return -EEXIST;
	if (!(op->sattr.mask & CW_SET_SIZE)) {
		op_set_attr(op, n);
		return OP_DURABLE;
	}
	if (op->sattr.size > OP_FILE_MAX)
		return -EFBIG;
	r = perm_check(n, &op->cred, CW_MAY_WRITE);
	if (r == 0)
		r = op_truncate(op, n, op->sattr.size);
	if (r != 0)
		return r;
	op_set_attr(op, n);
	return OP_DURABLE;
}

int
op_create(struct cw_op *op)
{
	struct cw_share *s = op->share;
	struct node *dir, *n;
	uint64_t size = op->sattr.mask & CW_SET_SIZE ? op->sattr.size : 0;
	int r = make_begin(op, &dir, &n);

	if (r != 0)
		return r;
	if (n != NULL)
		return create_existing(op, n);
	r = make_check(op, dir, false);
	if (r < 0)
		return r;
	if (size > OP_FILE_MAX)
		return -EFBIG;
	/* An exclusive create carries no mode; until the client sets one, the file is its owner's. */
	n = make_node(
	    op, dir, S_IFREG, op->create_mode == CW_CREATE_EXCLUSIVE ? 0600 : s->conf.file_mode);
	if (op->create_mode == CW_CREATE_EXCLUSIVE)
		n->verf = op->verf;
	if (size > 0) {
		r = cache_truncate(node_file(s, n), 0, size);
		CW_ASSERT(r != -EAGAIN); /* nobody else knows the node */
		if (r < 0) {
			node_remove(s, n);
			return r;
		}
		n->size = size;
	}
	return make_finish(op, dir, n);
}

int
op_mkdir(struct cw_op *op)
{
	struct node *dir, *n;
	int r = make_begin(op, &dir, &n);

	if (r != 0)
		return r;
	if (n != NULL)
		return -EEXIST;
	r = make_check(op, dir, true);
	if (r < 0)
		return r;
	n = make_node(op, dir, S_IFDIR, op->share->conf.dir_mode);
	n->flags |= NODE_LISTED; /* what was not there cannot hold anything */
	return make_finish(op, dir, n);
}

int
op_symlink(struct cw_op *op)
{
	struct node *dir, *n;
	size_t len;
	int r = make_begin(op, &dir, &n);

	if (r != 0)
		return r;
	if (n != NULL)
		return -EEXIST;
	r = make_check(op, dir, false);
	if (r < 0)
		return r;
	len = op->name2 != NULL ? strlen(op->name2) : 0;
	if (len == 0)
		return -EINVAL;
	if (len > CW_SYMLINK_MAX)
		return -ENAMETOOLONG;
	n = make_node(op, dir, S_IFLNK, 0777);
	n->u.target = xstrdup(op->name2);
	n->size = len;
	return make_finish(op, dir, n);
}

/* --- removing ---------------------------------------------------------------------------------- */

static int
remove_begin(struct cw_op *op, struct node **dir, struct node **n)
{
	int r = op_dir(op, op->ino, op->gen, dir);

	if (r != 0)
		return r;
	op_wcc_begin(op, 0, *dir);
	r = op_writable(op);
	if (r == 0)
		r = perm_check(*dir, &op->cred, CW_MAY_EXEC);
	if (r == 0)
		r = op_name_check(op->name);
	if (r == -EEXIST) /* "." cannot be removed, ".." is not empty: POSIX rmdir() */
		return op->code == CW_REMOVE ? -EISDIR : op->name[1] == '.' ? -ENOTEMPTY : -EINVAL;
	if (r < 0)
		return r;
	r = op_find(op, *dir, op->name, n);
	if (r != 0)
		return r;
	return *n != NULL ? perm_check_delete(*dir, *n, &op->cred) : -ENOENT;
}

static int
remove_finish(struct cw_op *op, struct node *dir, struct node *n)
{
	struct cw_share *s = op->share;

	node_touch(n, false);
	sync_removed(s, n);
	node_remove(s, n);
	op_entries_changed(s, dir);
	op_wcc_end(op, 0, dir);
	return OP_DURABLE;
}

int
op_remove(struct cw_op *op)
{
	struct node *dir, *n;
	int r = remove_begin(op, &dir, &n);

	if (r != 0)
		return r;
	if (S_ISDIR(n->mode))
		return -EISDIR;
	return remove_finish(op, dir, n);
}

int
op_rmdir(struct cw_op *op)
{
	struct node *dir, *n;
	int r = remove_begin(op, &dir, &n);

	if (r != 0)
		return r;
	if (!S_ISDIR(n->mode))
		return -ENOTDIR;
	if (n->u.dir->nchildren == 0 && remote_need_listing(op->share, n, op))
		return OP_PENDING;
	if (n->u.dir->nchildren > 0)
		return -ENOTEMPTY;
	return remove_finish(op, dir, n);
}
