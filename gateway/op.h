/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op.h - the one way in for file front ends: NFS, FUSE, the model test and later SMB fill a struct
 * cw_op and submit it.
 *
 * An op that memory can answer is answered on the submitter's stack.  One that needs the bucket, the
 * disk or a commit is parked and completed later.  An op that must wait for the bucket is *re-run*
 * from its start when the answer is there, so each op's code is one straight line that changes
 * nothing before everything it needs is present.
 */
#ifndef GATEWAY_OP_H
#define GATEWAY_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "cache/cache.h"
#include "gateway/base/loop.h"
#include "gateway/base/workq.h"

#define CW_NAME_MAX 255
#define CW_KEY_MAX 1024
#define CW_SYMLINK_MAX 4095
#define CW_GROUPS_MAX 32
#define CW_REPLY_TAG_LEN 16u

struct cw_share;
struct recall_holder;

struct cw_cred { /* after squashing */
	uint32_t uid, gid;
	uint32_t ngroups;
	uint32_t groups[CW_GROUPS_MAX];
};

struct cw_attr {
	uint64_t ino;
	uint32_t gen;
	uint32_t mode; /* st_mode: type and permission bits */
	uint32_t nlink, uid, gid;
	uint64_t size, used_bytes;
	int64_t atime_ns, mtime_ns, ctime_ns;
	uint32_t share_id; /* fsid */
};

#define CW_SET_MODE 1u
#define CW_SET_UID 2u
#define CW_SET_GID 4u
#define CW_SET_SIZE 8u
#define CW_SET_ATIME 16u
#define CW_SET_MTIME 32u
#define CW_SET_ATIME_NOW 64u
#define CW_SET_MTIME_NOW 128u

struct cw_sattr {
	uint32_t mask;
	uint32_t mode, uid, gid;
	uint64_t size;
	int64_t atime_ns, mtime_ns;
};

struct cw_wcc { /* RFC 1813 2.6: what a directory or file was before and is after the op */
	bool has_pre, has_post;
	uint64_t pre_size;
	int64_t pre_mtime_ns, pre_ctime_ns;
	struct cw_attr post;
};

enum cw_opcode {
	CW_GETATTR,  /* node -> attr */
	CW_SETATTR,  /* node, sattr, guard_ctime -> wcc[0] */
	CW_LOOKUP,   /* dir, name ("." and ".." too) -> attr; wcc[0].post = dir */
	CW_ACCESS,   /* node, access mask -> access granted, attr */
	CW_READLINK, /* node -> target in buf, count; attr */
	CW_READ,     /* node, offset, count, buf -> count, eof, attr */
	CW_WRITE,    /* node, offset, count, buf, stable -> count, wcc[0] */
	CW_CREATE,   /* dir, name, sattr, create_mode, verf -> attr, wcc[0] = dir */
	CW_MKDIR,    /* dir, name, sattr -> attr, wcc[0] */
	CW_SYMLINK,  /* dir, name, target in name2, sattr -> attr, wcc[0] */
	CW_REMOVE,   /* dir, name -> wcc[0] */
	CW_RMDIR,    /* dir, name -> wcc[0] */
	CW_RENAME,   /* dir, name -> dir2, name2; wcc[0] = dir, wcc[1] = dir2 */
	CW_READDIR,  /* dir, cookie, emit -> eof, attr = dir, dir_verf */
	CW_STATFS,   /* node -> statfs, attr */
	CW_COMMIT,   /* node (offset, count advisory) -> wcc[0] */
	CW_OPEN,     /* node: keeps an unlinked file alive until CW_RELEASE; access mask checked */
	CW_RELEASE,  /* node */
	CW_OP_MAX
};

#define CW_MAY_READ 1u
#define CW_MAY_WRITE 2u
#define CW_MAY_EXEC 4u	 /* execute a file, search a directory */
#define CW_MAY_DELETE 8u /* ACCESS3_DELETE: remove entries of a directory */

enum cw_create_mode { CW_CREATE_UNCHECKED, CW_CREATE_GUARDED, CW_CREATE_EXCLUSIVE };

struct cw_dirent {
	uint64_t ino, cookie;
	const char *name;
	size_t name_len;
	const struct cw_attr *attr; /* NULL unless want_attrs and they are known */
};

struct cw_statfs {
	uint64_t total_bytes, free_bytes, total_files, free_files;
};

struct cw_op {
	/* --- request: everything pointed at stays the caller's and valid until completion --- */
	enum cw_opcode code;
	struct cw_share *share;
	struct cw_cred cred;
	uint64_t ino;  /* the object, or the directory */
	uint32_t gen;  /* of ino; 0 = do not check (FUSE) */
	uint64_t ino2; /* RENAME target directory */
	uint32_t gen2;
	const char *name, *name2; /* NUL-terminated; may not hold '/'; checked here.
				   * SYMLINK: name2 is the target */
	struct cw_sattr sattr;
	bool
	    has_guard; /* SETATTR: guard_ctime_ns must match, else -ESTALE class ERR: result -ETIME */
	int64_t guard_ctime_ns;
	enum cw_create_mode create_mode;
	uint64_t verf;
	uint32_t access;
	uint64_t offset;
	uint32_t count; /* READ, WRITE: at most 1 MiB + 4 KiB */
	void *buf;	/* READ, READLINK destination; WRITE source */
	bool stable;	/* WRITE: reply only when durable */
	bool
	    is_owner_ok; /* READ, WRITE, SETATTR of the size: the file's owner may, whatever the mode
			   * (NFS has no open) */
	uint64_t cookie; /* READDIR: entries behind it; 0 = from the start, "." and ".." first */
	bool want_attrs;
	bool
	    is_bulk; /* READDIR with want_attrs: many names at once, so attributes that are most likely may
		       * be given before the bucket confirms them (remote_ahead.c) */
	bool is_leased; /* READDIR with want_attrs: the client keeps what it gets; recall.h */
	/* holder - the front end's, if its client keeps anything: what the client does itself is not
	 * called back from it. */
	struct recall_holder *holder;
	/* reply_tag - names the request, if it is one that must not run twice and whose sender repeats it
	 * when the answer is lost: kept with the change, in one transaction. Should it come again after a
	 * restart it is answered as done: result 0, without pre-op attributes, and for what it made
	 * without attr if that is gone. (Within a life of the daemon the front end knows what it answered.)
	 * Heeded by GUARDED CREATE, MKDIR, SYMLINK, REMOVE, RMDIR, RENAME, SETATTR with a guard. */
	bool has_reply_tag;
	uint8_t reply_tag[CW_REPLY_TAG_LEN];
	/* emit - called for each entry, locked: encode and return true, or false when full (entry is
	 * not consumed). Must not block or submit. On a re-run it starts again after emit_reset. */
	bool (*emit)(struct cw_op *op, const struct cw_dirent *e);
	void (*emit_reset)(struct cw_op *op);
	/* send - READ, may be NULL: the data, all of it, as memory to send from without a copy; count_done,
	 * eof and attr are final. Called at most once, unlocked: with a loop inside cw_submit(), without one
	 * on any thread before done(). iov is for system calls only. Returns the bytes taken from the start:
	 * only the rest comes in buf. After taking some the op may still fail. */
	uint32_t (*send)(struct cw_op *op, struct iovec *iov, unsigned int n);
	struct loop
	    *loop; /* where done() runs; NULL = any thread, and blocking on disk is allowed */
	void (*done)(struct cw_op *op);
	void *ctx;

	/* --- result --- */
	int result; /* 0 or negative errno: -ENOENT -EEXIST -EACCES -EPERM -ESTALE -ENOTDIR -EISDIR
		     * -ENOTEMPTY -ENAMETOOLONG -EROFS -EINVAL -EFBIG -ENOSPC -EIO -EXDEV -ENOTSUP
		     * -ETIME (guard), -EBADCOOKIE, -ERR_BACKPRESSURE / -ERR_OFFLINE (ask again later) */
	struct cw_attr attr;
	bool has_attr;
	struct cw_wcc wcc[2];
	uint32_t count_done;
	bool eof;
	bool is_sent; /* READ: send() took at least a part */
	struct cw_statfs statfs;
	uint64_t write_verf;

	/* --- private to the gateway --- */
	struct list link;
	struct loop_task task;
	struct loop_timer timer;
	struct work work;
	struct cache_waiter waiter;
	struct cw_io io;
	void *node; /* pinned while I/O is in flight */
	uint64_t started_ns;
	unsigned int runs, stage, delays;
	uint32_t base_gen; /* of the file when the I/O began */
	int pending_result;
	uint64_t recall_seq; /* the last recall that it caused; 0 = none */
	void *call;	     /* cw_call()'s */
};

#define EBADCOOKIE 10100 /* private: cookie of no entry that ever was */

/* cw_submit - run op.
 * args:   op filled in; stays the caller's
 * result: true: complete, results are in op, done() will not be called; false: done() will be
 *         called exactly once, later, on op->loop
 * ctx:    op->loop's thread, or any thread when op->loop is NULL */
bool cw_submit(struct cw_op *op);

/* cw_call - submit and wait. ctx: threads that may block (tests, CLI helpers); op->loop = NULL. */
int cw_call(struct cw_op *op);

#endif
