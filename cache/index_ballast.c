/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_ballast.c - a little of the disk kept back, so that a full one can be emptied again.
 *
 * Blocks of the data file are given back only after a transaction that un-names them, and on a disk that
 * is full to the last block the write-ahead log cannot grow by that transaction: nothing could ever be
 * evicted.  So a file of BALLAST bytes lies beside the index.  A transaction that finds no room takes it
 * away and is tried once more.  From then on the index is *short*: the cache takes no new blocks, so that
 * what the ballast left serves transactions alone, until evicting has made room for another one.
 * A file system that cannot reserve has none and is never short.
 *
 * Redo rows are data: they lie in the log, and in the database when that was checkpointed, many times what a
 * ballast holds.  Near the end of the disk there are none, or a log full of them could not be checkpointed
 * with what the ballast gives back, and nothing would ever be committed again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cache/index_int.h"
#include "gateway/base/clock.h"

#define BALLAST (4u << 20)
#define ROOM (1ull * BALLAST) /* free besides, so that it does not come and go */
#define RETRY_MS 1000
#define REDO_ROOM                                                                                  \
	(128ull << 20) /* free: for all redo rows in the log, and once more in the database */

/* reserve - result: 0 it is there, -ENOSPC, other errno: never will be */
static int
reserve(const struct index *ix)
{
	char *path = xasprintf("%s-ballast", ix->path);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), err = 0;
	struct statvfs vfs;
	struct stat st;

	free(path);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0 || fstatvfs(fd, &vfs) != 0)
		err = -errno;
	else if ((uint64_t)st.st_blocks * 512 >= BALLAST)
		err = 0;
	else if ((uint64_t)vfs.f_bavail * vfs.f_frsize < BALLAST + ROOM)
		err = -ENOSPC;
	else if (fallocate(fd, 0, 0, BALLAST) != 0)
		err = -errno;
	close(fd);
	return err;
}

void
index_ballast_fill(struct index *ix, bool is_urgent)
{
	uint64_t now = clock_mono_ms();
	int err;

	pthread_mutex_lock(&ix->lock);
	if (!ix->has_ballast && !ix->is_read_only && (is_urgent || now >= ix->ballast_retry_ms)) {
		ix->ballast_retry_ms = now + RETRY_MS;
		err = reserve(ix);
		ix->has_ballast = err == 0;
		ix->is_short = err == -ENOSPC;
	}
	pthread_mutex_unlock(&ix->lock);
}

bool
index_ballast_drop(struct index *ix)
{
	char *path;
	int r;

	if (!ix->has_ballast)
		return false;
	path = xasprintf("%s-ballast", ix->path);
	r = truncate(path, 0);
	ix->has_ballast = false;
	ix->is_short = true;
	ix->ballast_retry_ms = clock_mono_ms() + RETRY_MS;
	log_warn("cache.index", "disk-full",
	    "path=%s: the reserve of %u KiB is used; no new data until there is room for another",
	    path, BALLAST >> 10);
	free(path);
	return r == 0;
}

void
index_ballast_lend(struct index *ix)
{
	pthread_mutex_lock(&ix->lock);
	(void)index_ballast_drop(ix);
	pthread_mutex_unlock(&ix->lock);
}

bool
index_is_short(const struct index *ix)
{
	return ix->is_short;
}

bool
index_has_redo_room(const struct index *ix)
{
	struct statvfs vfs;

	return ix->log.tail < INDEX_LOG_FULL && statvfs(ix->path, &vfs) == 0 &&
	       (uint64_t)vfs.f_bavail * vfs.f_frsize >= REDO_ROOM;
}
