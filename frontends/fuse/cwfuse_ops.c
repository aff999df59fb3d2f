/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse_ops.c - names and attributes: each FUSE operation as one or two ops of the core.
 *
 * Coherence.  NFS clients change the same tree and the kernel is not told, so it may keep nothing for
 * longer than the mount's timeout, 0 s unless `-o cache=` says otherwise: every name is looked up and
 * every attribute asked for again, and the kernel drops cached pages of a file whose mtime or size
 * changed (AUTO_INVAL_DATA) before it answers read(2) from them.  READDIRPLUS is the exception: what it
 * tells may be kept for a moment, and is called back when it changes (cwfuse_lease.c).
 *
 * Left out on purpose, so that libfuse answers ENOSYS once and the kernel never asks again: flush
 * (close(2) promises nothing, errors are fsync's), fsyncdir (metadata replies are durable already),
 * extended attributes, fallocate, copy_file_range, lseek, locks (local ones are the kernel's), poll.
 */
#include <string.h>
#include <unistd.h>

#include "frontends/fuse/cwfuse_int.h"

#define READ_AHEAD_MAX (8u << 20)

static void
init(void *userdata, struct fuse_conn_info *conn)
{
	struct cwfuse_session *s = userdata;

	s->can_expire = (conn->capable & FUSE_CAP_EXPIRE_ONLY) != 0;
	conn->want &= ~(unsigned int)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ |
				      FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
				      FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
				      FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS);
	conn->want |= conn->capable &
		      (FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA |
			  FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO);
	if (s->timeout_s > 0 || cwfuse_lease_may_give(s))
		conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	conn->max_write = CWFUSE_DATA;
	/* The kernel takes the smaller one of this and of what the mount helper set for the mount. */
	conn->max_readahead = READ_AHEAD_MAX;
	conn->max_background = CWFUSE_SLOTS / 2;
	conn->congestion_threshold = CWFUSE_SLOTS / 2;
}

static void
entry_done(struct cwfuse_req *r)
{
	if (r->op.result < 0)
		cwfuse_reply_err(r, r->op.result);
	else
		cwfuse_reply_entry(r, &r->op.attr);
}

static void
attr_done(struct cwfuse_req *r)
{
	if (r->op.result < 0)
		cwfuse_reply_err(r, r->op.result);
	else
		cwfuse_reply_attr(r, &r->op.attr);
}

static void
op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct cwfuse_req *r = cwfuse_begin(req, dir, CW_LOOKUP);

	if (r == NULL)
		return;
	r->op.name = name;
	cwfuse_submit(r, entry_done);
}

static void
op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	(void)ino; /* the core finds nodes by number and counts no references of the kernel's */
	(void)nlookup;
	fuse_reply_none(req);
}

static void
op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	(void)count;
	(void)forgets;
	fuse_reply_none(req);
}

static void
op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_GETATTR);

	(void)fi;
	if (r != NULL)
		cwfuse_submit(r, attr_done);
}

static void
setattr_done(struct cwfuse_req *r)
{
	if (r->op.result < 0) {
		cwfuse_reply_err(r, r->op.result);
	} else if (r->op.wcc[0].has_post) {
		cwfuse_reply_attr(r, &r->op.wcc[0].post);
	} else {
		cwfuse_next(r, CW_GETATTR, r->op.ino);
		cwfuse_submit(r, attr_done);
	}
}

static void
fill_sattr(const struct stat *st, int to_set, struct cw_sattr *out)
{
	static const struct {
		int fuse;
		uint32_t cw;
	} map[] = {
	    {FUSE_SET_ATTR_MODE, CW_SET_MODE},
	    {FUSE_SET_ATTR_UID, CW_SET_UID},
	    {FUSE_SET_ATTR_GID, CW_SET_GID},
	    {FUSE_SET_ATTR_SIZE, CW_SET_SIZE},
	    {FUSE_SET_ATTR_ATIME, CW_SET_ATIME},
	    {FUSE_SET_ATTR_MTIME, CW_SET_MTIME},
	};

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (to_set & map[i].fuse)
			out->mask |= map[i].cw;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		out->mask = (out->mask & ~CW_SET_ATIME) | CW_SET_ATIME_NOW;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		out->mask = (out->mask & ~CW_SET_MTIME) | CW_SET_MTIME_NOW;
	out->mode = st->st_mode & 07777;
	out->uid = st->st_uid;
	out->gid = st->st_gid;
	out->size = (uint64_t)st->st_size;
	out->atime_ns = st->st_atim.tv_sec * 1000000000LL + st->st_atim.tv_nsec;
	out->mtime_ns = st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec;
}

static void
op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_SETATTR);

	if (r == NULL)
		return;
	fill_sattr(st, to_set, &r->op.sattr);
	if (r->op.sattr.mask == 0) { /* ctime alone: the core keeps it */
		r->op.code = CW_GETATTR;
		cwfuse_submit(r, attr_done);
		return;
	}
	if (fi != NULL && r->op.sattr.mask == CW_SET_SIZE) /* ftruncate(2): allowed at open */
		cwfuse_as_opener(r);
	cwfuse_submit(r, setattr_done);
}

static void
readlink_done(struct cwfuse_req *r)
{
	if (r->op.result < 0) {
		cwfuse_reply_err(r, r->op.result);
		return;
	}
	cwfuse_data(r)[r->op.count_done] = '\0';
	fuse_reply_readlink(r->req, (const char *)cwfuse_data(r));
	cwfuse_end(r);
}

static void
op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_READLINK);

	if (r == NULL)
		return;
	r->op.buf = cwfuse_data(r);
	r->op.count = CW_SYMLINK_MAX;
	cwfuse_submit(r, readlink_done);
}

/* The answer to a mkdir, mknod or symlink. One that is run again after a crash may find its own work. */
static void
made(struct cwfuse_req *r)
{
	if (r->op.result == -EEXIST && r->is_replay) {
		uint64_t dir = r->op.ino;
		const char *name = r->op.name;

		cwfuse_next(r, CW_LOOKUP, dir);
		r->op.name = name;
		cwfuse_submit(r, entry_done);
		return;
	}
	entry_done(r);
}

static void
op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	struct cwfuse_req *r = cwfuse_begin(req, dir, CW_CREATE);

	(void)rdev;
	if (r == NULL)
		return;
	if (!S_ISREG(mode)) { /* mknod(2): "does not support the type of node requested" */
		cwfuse_reply_err(r, -EPERM);
		return;
	}
	r->op.name = name;
	r->op.create_mode = CW_CREATE_GUARDED;
	r->op.sattr.mask = CW_SET_MODE;
	r->op.sattr.mode = mode & 07777;
	cwfuse_submit(r, made);
}

static void
op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	struct cwfuse_req *r = cwfuse_begin(req, dir, CW_MKDIR);

	if (r == NULL)
		return;
	r->op.name = name;
	r->op.sattr.mask = CW_SET_MODE;
	r->op.sattr.mode = mode & 07777;
	cwfuse_submit(r, made);
}

static void
op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
	struct cwfuse_req *r = cwfuse_begin(req, dir, CW_SYMLINK);

	if (r == NULL)
		return;
	r->op.name = name;
	r->op.name2 = target;
	r->op.sattr.mask = CW_SET_MODE;
	r->op.sattr.mode = 0777;
	cwfuse_submit(r, made);
}

static void
removed(struct cwfuse_req *r)
{
	cwfuse_reply_err(r, r->op.result == -ENOENT && r->is_replay ? 0 : r->op.result);
}

static void
op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct cwfuse_req *r = cwfuse_begin(req, dir, CW_REMOVE);

	if (r == NULL)
		return;
	r->op.name = name;
	cwfuse_submit(r, removed);
}

static void
op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct cwfuse_req *r = cwfuse_begin(req, dir, CW_RMDIR);

	if (r == NULL)
		return;
	r->op.name = name;
	cwfuse_submit(r, removed);
}

static void
op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t dir2, const char *name2,
    unsigned int flags)
{
	struct cwfuse_req *r = cwfuse_begin(req, dir, CW_RENAME);

	if (r == NULL)
		return;
	if (flags != 0) { /* NOREPLACE and EXCHANGE: callers fall back on EINVAL */
		cwfuse_reply_err(r, -EINVAL);
		return;
	}
	r->op.name = name;
	r->op.ino2 = dir2 == FUSE_ROOT_ID ? r->s->root_ino : dir2;
	r->op.name2 = name2;
	cwfuse_submit(r, removed);
}

static void
op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_GETATTR);

	(void)dir;
	(void)name;
	if (r != NULL) /* link(2): "does not support the creation of hard links" */
		cwfuse_reply_err(r, -EPERM);
}

static void
access_done(struct cwfuse_req *r)
{
	if (r->op.result == 0 && (r->want_access & ~r->op.access) != 0)
		r->op.result = -EACCES;
	cwfuse_reply_err(r, r->op.result);
}

static void
op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_ACCESS);

	if (r == NULL)
		return;
	r->want_access = (mask & R_OK ? CW_MAY_READ : 0) | (mask & W_OK ? CW_MAY_WRITE : 0) |
			 (mask & X_OK ? CW_MAY_EXEC : 0);
	r->op.access = r->want_access;
	cwfuse_submit(r, access_done);
}

static void
opendir_done(struct cwfuse_req *r)
{
	if (r->op.result == 0 && (r->op.access & CW_MAY_READ) == 0)
		r->op.result = -EACCES;
	if (r->op.result < 0) {
		cwfuse_reply_err(r, r->op.result);
		return;
	}
	fuse_reply_open(r->req, &r->fi);
	cwfuse_end(r);
}

static void
op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_ACCESS);

	if (r == NULL)
		return;
	r->fi = *fi;
	r->op.access = CW_MAY_READ;
	cwfuse_submit(r, opendir_done);
}

static void
op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

static bool
emit(struct cw_op *op, const struct cw_dirent *d)
{
	struct cwfuse_req *r = op->ctx;
	char *buf = (char *)cwfuse_data(r) + r->used;
	struct fuse_entry_param e;
	size_t n, left = r->room - r->used;

	memset(&e, 0, sizeof(e));
	if (r->is_plus && d->attr != NULL) {
		cwfuse_fill_entry(r->s, d->attr, &e);
		if (r->op.is_leased)
			e.attr_timeout = e.entry_timeout = RECALL_LEASE_MS / 1000.0;
	} else {
		e.attr.st_ino = d->ino;
		e.attr.st_mode = d->attr != NULL ? d->attr->mode : 0;
	}
	/* The core counts the bytes of a name, libfuse wants a NUL. */
	memcpy(r->name, d->name, d->name_len);
	r->name[d->name_len] = '\0';
	n = r->is_plus ? fuse_add_direntry_plus(r->req, buf, left, r->name, &e, (off_t)d->cookie)
		       : fuse_add_direntry(r->req, buf, left, r->name, &e.attr, (off_t)d->cookie);
	if (n > left)
		return false;
	r->used += n;
	return true;
}

static void
emit_reset(struct cw_op *op)
{
	struct cwfuse_req *r = op->ctx;

	r->used = 0;
}

static void
readdir_done(struct cwfuse_req *r)
{
	if (r->op.result < 0) {
		/* A removed directory that is still open is empty (POSIX readdir). */
		cwfuse_reply_err(r, r->op.result == -ESTALE ? -ENOENT : r->op.result);
		return;
	}
	fuse_reply_buf(r->req, (const char *)cwfuse_data(r), r->used);
	cwfuse_end(r);
}

static void
read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool is_plus)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_READDIR);

	if (r == NULL)
		return;
	cwfuse_as_opener(r);
	r->used = 0;
	r->room = size < CWFUSE_DATA ? size : CWFUSE_DATA;
	r->is_plus = is_plus;
	r->op.cookie = (uint64_t)off;
	r->op.want_attrs = true; /* plain entries tell the type of a name */
	r->op.is_bulk = is_plus;
	r->op.is_leased = is_plus && cwfuse_lease_may_give(r->s);
	r->op.emit = emit;
	r->op.emit_reset = emit_reset;
	cwfuse_submit(r, readdir_done);
}

static void
op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, false);
}

static void
op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, true);
}

static void
statfs_done(struct cwfuse_req *r)
{
	struct statvfs v;

	if (r->op.result < 0) {
		cwfuse_reply_err(r, r->op.result);
		return;
	}
	memset(&v, 0, sizeof(v));
	v.f_bsize = v.f_frsize = 4096;
	v.f_blocks = r->op.statfs.total_bytes / 4096;
	v.f_bfree = v.f_bavail = r->op.statfs.free_bytes / 4096;
	v.f_files = r->op.statfs.total_files;
	v.f_ffree = v.f_favail = r->op.statfs.free_files;
	v.f_namemax = CW_NAME_MAX;
	fuse_reply_statfs(r->req, &v);
	cwfuse_end(r);
}

static void
op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_STATFS);

	if (r != NULL)
		cwfuse_submit(r, statfs_done);
}

const struct fuse_lowlevel_ops cwfuse_ops = {
    .init = init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .symlink = op_symlink,
    .rename = op_rename,
    .link = op_link,
    .create = cwfuse_op_create,
    .open = cwfuse_op_open,
    .read = cwfuse_op_read,
    .write = cwfuse_op_write,
    .fsync = cwfuse_op_fsync,
    .release = cwfuse_op_release,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .releasedir = op_releasedir,
    .statfs = op_statfs,
    .access = op_access,
};
