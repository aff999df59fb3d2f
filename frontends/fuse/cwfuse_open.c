/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse_open.c - files while they are open: create, open, read, write, fsync, release.
 *
 * Permission is checked by open(2) and never again (POSIX), so what follows runs as the superuser.
 * A handle holds the epoch of its session and nothing else: it survives a restart of the daemon.
 */
#include <fcntl.h>
#include <string.h>

#include "frontends/fuse/cwfuse_int.h"

#define OPEN_FOR_EXEC 0x20 /* __FMODE_EXEC: the kernel opens a program to run it */

static uint32_t
access_of(int flags)
{
	if (flags & OPEN_FOR_EXEC)
		return CW_MAY_EXEC;
	switch (flags & O_ACCMODE) {
	case O_RDONLY:
		return CW_MAY_READ;
	case O_WRONLY:
		return CW_MAY_WRITE;
	default:
		return CW_MAY_READ | CW_MAY_WRITE;
	}
}

/* The core forgets that the file is open. Nobody waits for it. */
static void
released(struct cwfuse_req *r)
{
	cwfuse_end(r);
}

static void
undo_open(struct cwfuse_req *r)
{
	cwfuse_as_opener(r);
	cwfuse_next(r, CW_RELEASE, r->open_attr.ino);
	cwfuse_submit(r, released);
}

static void
reply_open(struct cwfuse_req *r)
{
	struct fuse_entry_param e;
	int err;

	r->fi.fh = r->s->epoch;
	/* Pages of the last opener may be older than what NFS clients wrote since. */
	r->fi.keep_cache = 0;
	cwfuse_answering(r);
	if (r->is_create) {
		cwfuse_fill_entry(r->s, &r->open_attr, &e);
		err = fuse_reply_create(r->req, &e, &r->fi);
	} else {
		err = fuse_reply_open(r->req, &r->fi);
	}
	if (err == -ENOENT) /* interrupted: there will be no RELEASE */
		undo_open(r);
	else
		cwfuse_end(r);
}

static void
cut_undone(struct cwfuse_req *r)
{
	cwfuse_reply_err(r, r->open_err);
}

static void
cut(struct cwfuse_req *r)
{
	if (r->op.result < 0) {
		r->open_err = r->op.result;
		cwfuse_next(r, CW_RELEASE, r->open_attr.ino);
		cwfuse_submit(r, cut_undone);
		return;
	}
	if (r->op.has_attr)
		r->open_attr = r->op.attr;
	else if (r->op.wcc[0].has_post)
		r->open_attr = r->op.wcc[0].post;
	reply_open(r);
}

static void
opened(struct cwfuse_req *r)
{
	if (r->op.result < 0) {
		cwfuse_reply_err(r, r->op.result);
		return;
	}
	if ((r->flags & O_TRUNC) == 0 || r->is_new) {
		reply_open(r);
		return;
	}
	cwfuse_as_opener(r);
	cwfuse_next(r, CW_SETATTR, r->open_attr.ino);
	r->op.sattr.mask = CW_SET_SIZE;
	cwfuse_submit(r, cut);
}

static void
open_file(struct cwfuse_req *r)
{
	uint32_t access = access_of(r->flags);

	if (r->flags & O_TRUNC)
		access |= CW_MAY_WRITE;
	cwfuse_next(r, CW_OPEN, r->open_attr.ino);
	r->op.access = r->is_new ? 0 : access; /* a creator may open what he may not open again */
	cwfuse_submit(r, opened);
}

static void
found(struct cwfuse_req *r)
{
	if (r->op.result < 0) {
		cwfuse_reply_err(r, r->op.result);
		return;
	}
	r->open_attr = r->op.attr;
	if (S_ISREG(r->open_attr.mode)) {
		open_file(r);
		return;
	}
	cwfuse_reply_err(r, S_ISDIR(r->open_attr.mode) ? -EISDIR : -ELOOP);
}

static void
created(struct cwfuse_req *r)
{
	if (r->op.result == -EEXIST && ((r->flags & O_EXCL) == 0 || r->is_replay)) {
		/* An NFS client was faster than our kernel's lookup (or we were, before a crash). */
		uint64_t dir = r->op.ino;
		const char *name = r->op.name;

		cwfuse_next(r, CW_LOOKUP, dir);
		r->op.name = name;
		cwfuse_submit(r, found);
		return;
	}
	if (r->op.result < 0) {
		cwfuse_reply_err(r, r->op.result);
		return;
	}
	r->open_attr = r->op.attr;
	r->is_new = true;
	open_file(r);
}

void
cwfuse_op_create(
    fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct cwfuse_req *r = cwfuse_begin(req, dir, CW_CREATE);

	if (r == NULL)
		return;
	r->fi = *fi;
	r->flags = fi->flags;
	r->is_create = true;
	r->is_new = false;
	r->op.name = name;
	r->op.create_mode = CW_CREATE_GUARDED;
	r->op.sattr.mask = CW_SET_MODE;
	r->op.sattr.mode = mode & 07777;
	cwfuse_submit(r, created);
}

void
cwfuse_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_OPEN);

	if (r == NULL)
		return;
	r->fi = *fi;
	r->flags = fi->flags;
	r->is_create = false;
	r->is_new = false;
	r->open_attr.ino = r->op.ino;
	open_file(r);
}

static void
release_done(struct cwfuse_req *r)
{
	cwfuse_reply_err(r, 0); /* the kernel ignores it */
}

void
cwfuse_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_RELEASE);

	if (r == NULL)
		return;
	if (fi->fh !=
	    r->s->epoch) { /* opened with an earlier daemon: this one has no count of it */
		cwfuse_reply_err(r, 0);
		return;
	}
	cwfuse_as_opener(r);
	cwfuse_submit(r, release_done);
}

/* send_data - what is read lies in memory: the kernel takes it from there. */
static uint32_t
send_data(struct cw_op *op, struct iovec *iov, unsigned int n)
{
	struct cwfuse_req *r = op->ctx;

	/* whatever comes of it, the request is gone then */
	fuse_reply_iov(r->req, iov, (int)n);
	return op->count_done;
}

static void
read_done(struct cwfuse_req *r)
{
	if (r->op.is_sent) {
		cwfuse_end(r);
		return;
	}
	if (r->op.result < 0) {
		cwfuse_reply_err(r, r->op.result);
		return;
	}
	fuse_reply_buf(r->req, r->op.buf, r->op.count_done);
	cwfuse_end(r);
}

void
cwfuse_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_READ);

	(void)fi;
	if (r == NULL)
		return;
	cwfuse_as_opener(r);
	r->op.offset = (uint64_t)off;
	r->op.count = size < CWFUSE_DATA ? (uint32_t)size : CWFUSE_DATA;
	r->op.buf = cwfuse_data(r);
	r->op.send = send_data;
	cwfuse_submit(r, read_done);
}

static void
write_done(struct cwfuse_req *r)
{
	bool is_logged;

	if (r->op.result < 0) {
		cwfuse_reply_err(r, r->op.result);
		return;
	}
	is_logged = !r->op.stable && r->op.wcc[0].has_post;
	if (is_logged)
		cwfuse_log_reserve(r, r->op.wcc[0].post.ctime_ns);
	cwfuse_answering(r);
	fuse_reply_write(r->req, r->op.count_done);
	if (is_logged)
		cwfuse_end_logged(r);
	else
		cwfuse_end(r);
}

void
cwfuse_op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_WRITE);

	if (r == NULL)
		return;
	cwfuse_as_opener(r);
	r->op.offset = (uint64_t)off;
	r->op.count = (uint32_t)size;
	r->op.buf = (void *)(uintptr_t)buf; /* lies in the journal until the answer */
	r->op.stable = (fi->flags & O_DSYNC) != 0;
	cwfuse_submit(r, write_done);
}

static void
fsync_done(struct cwfuse_req *r)
{
	if (r->op.result == 0) {
		cwfuse_log_committed(r->s, r->nodeid, r->log_mark, false);
		if (cwfuse_log_was_lost(r->s, r->nodeid))
			r->op.result = -EIO;
	}
	cwfuse_reply_err(r, r->op.result);
}

void
cwfuse_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct cwfuse_req *r = cwfuse_begin(req, ino, CW_COMMIT);

	if (r != NULL) {
		r->nodeid = ino;
		r->log_mark = cwfuse_log_mark(r->s);
	}
	(void)datasync; /* attributes ride in the same commit */
	(void)fi;
	if (r == NULL)
		return;
	cwfuse_as_opener(r);
	cwfuse_submit(r, fsync_done);
}
