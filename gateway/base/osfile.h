/* SPDX-License-Identifier: Apache-2.0 */
/*
 * osfile.h - the seam between the cache and the file system under its data files.  Production uses
 * osfile_posix; the crash tests put a layer here that drops, tears and reorders un-synced writes.
 */
#ifndef CW_BASE_OSFILE_H
#define CW_BASE_OSFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

struct osfile; /* one open file */

struct osfile_ops {
	/* open - open or create path read-write. result: 0 or negative errno */
	int (*open)(const char *path, struct osfile **out);
	void (*close)(struct osfile *f);
	/* pread - exactly len bytes; bytes past the end of file read as zeros.
	 * nowait: -EAGAIN when it would wait for the disk (also where the file system cannot tell and
	 * the caller should use a worker is NOT assumed: without support it reads plainly).
	 * result: 0 or negative errno */
	int (*pread)(struct osfile *f, void *buf, size_t len, uint64_t off, bool nowait);
	/* pwrite - exactly len bytes. result: 0 or negative errno */
	int (*pwrite)(struct osfile *f, const void *buf, size_t len, uint64_t off);
	/* pwrite_direct - the same, past the page cache where the file system can do that; buf, len and off
	 * are multiples of 4,096. No more durable than pwrite. May be NULL: not supported. */
	int (*pwrite_direct)(struct osfile *f, const void *buf, size_t len, uint64_t off);
	/* sync - fdatasync. result: 0 or negative errno; after an error nothing written since the last
	 * success may be trusted */
	int (*sync)(struct osfile *f);
	/* start_writeback - hint: begin writing this range out; never waits on purpose */
	void (*start_writeback)(struct osfile *f, uint64_t off, uint64_t len);
	/* drop - hint: this range, all of it durable, need not stay in memory. May be NULL */
	void (*drop)(struct osfile *f, uint64_t off, uint64_t len);
	/* punch - give back the blocks of a range; it reads as zeros afterwards */
	int (*punch)(struct osfile *f, uint64_t off, uint64_t len);
	/* size - current length in bytes, or negative errno */
	int64_t (*size)(struct osfile *f);
	/* held - bytes that the file takes on its disk, or negative errno. May be NULL: not known */
	int64_t (*held)(struct osfile *f);
	/* truncate - set the length. result: 0 or negative errno */
	int (*truncate)(struct osfile *f, uint64_t len);
	/* view - a range as memory, to hand to a system call (send) without a copy in between. Only when
	 * all of it is in the page cache, so that nothing waits for the disk. Never to be touched
	 * directly: where the kernel answers EFAULT (a disk error, pages that went meanwhile) an access
	 * of ours would be a signal. May be NULL: not supported.
	 * result: NULL: read it another way; else to be given back by view_end */
	const void *(*view)(struct osfile *f, uint64_t off, size_t len);
	void (*view_end)(struct osfile *f, const void *p, size_t len);
};

extern const struct osfile_ops osfile_posix;

/* osfile_mkdir_p, osfile_sync_dir - helpers on real directories. result: 0 or negative errno */
int osfile_mkdir_p(const char *path, unsigned int mode);
int osfile_sync_dir(const char *path);
/* osfile_read_all - whole file, NUL-terminated behind len; caller frees. -EFBIG over max. */
int osfile_read_all(const char *path, size_t max, char **out, size_t *len_out);
/* osfile_write_atomic - write to a temporary beside path, fsync, rename, fsync the directory. */
int osfile_write_atomic(const char *path, const void *data, size_t len, unsigned int mode);

#endif
