/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_wal.c - when the write-ahead log goes into the database.
 *
 * A checkpoint takes tens of milliseconds, and who commits while it runs waits for it.  So it is left
 * to moments in which nobody commits (index_tidy), and only a log that grew to WAL_PAGES_MAX without
 * one is checkpointed by the commit that got it there.  A log that was checkpointed is written again
 * from its start, over blocks that the file system has allocated, which halves the time of an fsync.
 */
#include "cache/index_int.h"
#include "gateway/base/clock.h"

#define WAL_PAGES_MAX 16384 /* 64 MiB, a tenth of a second to read back after a crash */
#define WAL_PAGES_TIDY 1000

/* checkpoint - all of it, as nothing else reads the database. */
static int
checkpoint(struct index *ix)
{
	int rc = sqlite3_wal_checkpoint_v2(ix->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

	ix->wal_pages = 0;
	return rc;
}

static int
on_commit(void *arg, sqlite3 *db, const char *name, int npages)
{
	struct index *ix = arg;

	(void)db;
	(void)name;
	ix->wal_pages = npages;
	if (npages >= WAL_PAGES_MAX && checkpoint(ix) != SQLITE_OK)
		/* the commit itself is durable; the next one tries again */
		log_warn("cache.index", "checkpoint-failed", "path=%s text=\"%s\"", ix->path,
		    sqlite3_errmsg(ix->db));
	return SQLITE_OK;
}

void
index_wal_init(struct index *ix)
{
	sqlite3_wal_hook(ix->db, on_commit, ix);
}

static bool
wants_absorb(const struct index *ix)
{
	return ix->log.tail >= INDEX_LOG_TIDY && clock_mono_ms() >= ix->log.retry_ms;
}

bool
index_wants_tidy(const struct index *ix)
{
	return ix->wal_pages >= WAL_PAGES_TIDY || wants_absorb(ix);
}

int
index_tidy(struct index *ix)
{
	int err = 0;

	pthread_mutex_lock(&ix->lock);
	if (wants_absorb(ix))
		err = index_absorb(ix);
	if (err != 0) /* a full disk, perhaps; whoever commits is told */
		ix->log.retry_ms = clock_mono_ms() + INDEX_LOG_RETRY_MS;
	if (err == 0 && ix->wal_pages >= WAL_PAGES_TIDY)
		err = index_err(ix, checkpoint(ix), "checkpoint");
	pthread_mutex_unlock(&ix->lock);
	return err;
}
