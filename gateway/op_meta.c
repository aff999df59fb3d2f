/* SPDX-License-Identifier: Apache-2.0 */
/* op_meta.c - ops on one object's attributes: GETATTR SETATTR LOOKUP ACCESS READLINK STATFS. */
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/op_int.h"
#include "gateway/perm.h"

#define STATFS_BYTES (1ull << 50) /* the bucket has no end; clients divide by this */
#define STATFS_FILES (1ull << 40)

int
op_getattr(struct cw_op *op)
{
	struct node *n;
	int r = op_node_meta(op, op->ino, op->gen, &n);

	if (r != 0)
		return r;
	op_set_attr(op, n);
	return 0;
}

/* --- SETATTR ----------------------------------------------------------------------------------- */

/* check_owner_change - POSIX chown: only root gives files away; an owner may choose among own groups. */
static int
check_owner_change(const struct cw_op *op, const struct node *n)
{
	const struct cw_sattr *a = &op->sattr;
	const struct cw_cred *c = &op->cred;

	if (c->uid == 0)
		return 0;
	if ((a->mask & (CW_SET_UID | CW_SET_GID)) == 0)
		return 0;
	if (c->uid != n->uid)
		return -EPERM;
	if ((a->mask & CW_SET_UID) && a->uid != n->uid)
		return -EPERM;
	if ((a->mask & CW_SET_GID) && a->gid != n->gid && !perm_in_group(c, a->gid))
		return -EPERM;
	return 0;
}

static int
check_times(const struct cw_op *op, const struct node *n)
{
	const struct cw_cred *c = &op->cred;

	if (c->uid == 0 || c->uid == n->uid)
		return 0;
	if (op->sattr.mask & (CW_SET_ATIME | CW_SET_MTIME))
		return -EPERM;
	if (op->sattr.mask & (CW_SET_ATIME_NOW | CW_SET_MTIME_NOW))
		return perm_check(n, c, CW_MAY_WRITE);
	return 0;
}

static int
check_size(const struct cw_op *op, const struct node *n)
{
	if (!(op->sattr.mask & CW_SET_SIZE))
		return 0;
	if (S_ISDIR(n->mode))
		return -EISDIR;
	if (!S_ISREG(n->mode))
		return -EINVAL;
	if (op->sattr.size > OP_FILE_MAX)
		return -EFBIG;
	return perm_check_io(n, &op->cred, CW_MAY_WRITE, op->is_owner_ok);
}

static int
setattr_check(const struct cw_op *op, const struct node *n)
{
	int r;

	if (op->has_guard && op->guard_ctime_ns != n->ctime_ns)
		return -ETIME;
	if ((op->sattr.mask & CW_SET_MODE) && op->cred.uid != 0 && op->cred.uid != n->uid)
		return -EPERM;
	r = check_owner_change(op, n);
	if (r == 0)
		r = check_times(op, n);
	if (r == 0)
		r = check_size(op, n);
	return r;
}

/* sattr_apply - everything but the size; the caller checked. result: did anything change? */
bool
sattr_apply(struct node *n, const struct cw_sattr *a, const struct cw_cred *c)
{
	int64_t now = clock_real_ns();

	if ((a->mask & (CW_SET_UID | CW_SET_GID)) && S_ISREG(n->mode) && (n->mode & 0111))
		n->mode = perm_drop_suid(n->mode);
	if (a->mask & CW_SET_UID)
		n->uid = a->uid;
	if (a->mask & CW_SET_GID)
		n->gid = a->gid;
	if ((a->mask & CW_SET_MODE) && !S_ISLNK(n->mode)) {
		n->mode = (n->mode & S_IFMT) | (a->mode & 07777);
		if (c->uid != 0 && !S_ISDIR(n->mode) && !perm_in_group(c, n->gid))
			n->mode &= ~(uint32_t)S_ISGID;
	}
	if (a->mask & CW_SET_ATIME)
		n->atime_ns = a->atime_ns;
	else if (a->mask & CW_SET_ATIME_NOW)
		n->atime_ns = now;
	if (a->mask & CW_SET_MTIME)
		n->mtime_ns = a->mtime_ns;
	else if (a->mask & CW_SET_MTIME_NOW)
		n->mtime_ns = now;
	return (a->mask & ~CW_SET_SIZE) != 0;
}

int
op_setattr(struct cw_op *op)
{
	struct cw_share *s = op->share;
	struct node *n;
	int r = op_node_meta(op, op->ino, op->gen, &n);

	if (r != 0)
		return r;
	op_wcc_begin(op, 0, n);
	r = op_writable(op);
	if (r == 0)
		r = setattr_check(op, n);
	if (r < 0)
		return r;
	if (op->sattr.mask & CW_SET_SIZE) {
		r = op_truncate(op, n, op->sattr.size);
		if (r != 0)
			return r;
	}
	if (sattr_apply(n, &op->sattr, &op->cred)) {
		node_touch(n, false);
		op_attr_changed(s, n);
	}
	op_wcc_end(op, 0, n);
	op_set_attr(op, n);
	return op->sattr.mask != 0 ? OP_DURABLE : 0;
}

/* --- LOOKUP, ACCESS, READLINK, STATFS ---------------------------------------------------------- */

int
op_lookup(struct cw_op *op)
{
	struct node *dir, *n;
	int r = op_dir(op, op->ino, op->gen, &dir);

	if (r != 0)
		return r;
	op_wcc_begin(op, 0, dir);
	r = perm_check(dir, &op->cred, CW_MAY_EXEC);
	if (r < 0)
		return r;
	r = op_name_check(op->name);
	if (r == -EEXIST) {
		n = dir;
		if (op->name[1] == '.' && dir->parent != NULL)
			n = dir->parent;
		r = op_need_meta(op, n);
	} else if (r == 0) {
		r = op_find(op, dir, op->name, &n);
		if (r == 0 && n == NULL)
			r = -ENOENT;
	} else if (r == -EINVAL && op->name != NULL && op->name[0] != '\0') {
		r = -ENOENT; /* no entry can have such a name */
	}
	if (r != 0)
		return r;
	op_set_attr(op, n);
	return 0;
}

int
op_access(struct cw_op *op)
{
	uint32_t granted;
	struct node *n;
	int r = op_node_meta(op, op->ino, op->gen, &n);

	if (r != 0)
		return r;
	granted = perm_granted(n, &op->cred);
	if (S_ISDIR(n->mode) && (granted & CW_MAY_WRITE) && (granted & CW_MAY_EXEC))
		granted |= CW_MAY_DELETE;
	if (op_writable(op) < 0)
		granted &= ~(CW_MAY_WRITE | CW_MAY_DELETE);
	op->access &= granted;
	op_set_attr(op, n);
	return 0;
}

int
op_readlink(struct cw_op *op)
{
	struct node *n;
	size_t len;
	int r = op_node_meta(op, op->ino, op->gen, &n);

	if (r != 0)
		return r;
	op_set_attr(op, n);
	if (!S_ISLNK(n->mode))
		return -EINVAL;
	if (n->u.target == NULL) /* a link whose object could not be read as one */
		return remote_need_meta(op->share, n, op) ? OP_PENDING : -EIO;
	len = strlen(n->u.target);
	if (len > op->count)
		return -ENAMETOOLONG;
	memcpy(op->buf, n->u.target, len);
	op->count_done = (uint32_t)len;
	return 0;
}

int
op_statfs(struct cw_op *op)
{
	struct node *n;
	int r = op_node_meta(op, op->ino, op->gen, &n);

	if (r != 0)
		return r;
	op_set_attr(op, n);
	op->statfs.total_bytes = op->statfs.free_bytes = STATFS_BYTES;
	op->statfs.total_files = STATFS_FILES;
	op->statfs.free_files = STATFS_FILES - op->share->nnodes;
	return 0;
}
