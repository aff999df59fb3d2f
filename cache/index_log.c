/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_log.c - a commit log in front of the database, for transactions that a volume's synced writes wait for.
 *
 * SQLite makes a transaction durable by writing every page that it touched into its own log: seven pages for one
 * chunk and one block.  A record here is the ops themselves and one block of header, written over blocks that the
 * file system has allocated already, and one fdatasync.  What records say is *pending*: in memory, and taken into the
 * database many at a time, with all that later ones undid left out (index_undone()).
 *
 *   - Records are of a generation and numbered in it.  The transaction that takes in what is pending says the next
 *     generation in the same breath, and the log begins anew: so the database holds all of a generation or nothing.
 *   - A transaction that is not for the log (other kinds of rows, too large, a log that is full) takes in what is
 *     pending before its own rows, so the order of commits is the order of their effects.
 *   - Who reads a table that records may concern takes in what is pending first.
 *   - A record begins on a block of its own: writing it touches none that was acknowledged.  Only the last one can
 *     be torn, and that was not acknowledged.
 *   - Taking in needs room in the database's own log.  So there are no records, and none stay pending, where the
 *     disk is nearly full (index_has_redo_room()).
 *   - Where a write or a sync of the log fails, the same lists go into the database at once, which ends the generation;
 *     there are no more records before the next start.
 *
 * On disk: FORMAT.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/cache_int.h"
#include "cache/index_int.h"
#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/osfile.h"

#define MAGIC 0x474c5743u /* "CWLG" */
#define BLOCK 4096u
#define RECORD_MAX (1u << 20)

struct record {		     /* little-endian, as is everything in it */
	uint32_t magic, crc; /* CRC32C of what follows, to the end of the ops */
	uint32_t len;	     /* of header and ops; the rest of the last block is zeros */
	uint32_t incarnation;
	uint64_t gen, seq;
};

_Static_assert(
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are written as they lie in memory");

static uint32_t
in_blocks(uint32_t len)
{
	return (len + BLOCK - 1) & ~(BLOCK - 1);
}

/* --- writing -------------------------------------------------------------------------------------------- */

/* record_len - of the lists as one record. result: 0: not all of it is of the kinds that go here, or too much */
static size_t
record_len(struct index_txn **txns, size_t n)
{
	size_t len = sizeof(struct record);

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < txns[i]->nops; k++) {
			size_t op_len = index_op_len(&txns[i]->ops[k]);

			len += op_len;
			if (op_len == 0 || len > RECORD_MAX)
				return 0;
		}
	}
	return len;
}

/* build - result: bytes to write, a multiple of blocks */
static uint32_t
build(struct index *ix, struct index_txn **txns, size_t n, size_t len)
{
	struct index_log *l = &ix->log;
	struct record head = {.magic = MAGIC,
	    .len = (uint32_t)len,
	    .incarnation = ix->incarnation,
	    .gen = l->gen,
	    .seq = l->seq};
	char *p = l->buf + sizeof(head);

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < txns[i]->nops; k++)
			p += index_op_encode(&txns[i]->ops[k], p);
	}
	memset(p, 0, in_blocks(head.len) - len);
	memcpy(l->buf, &head, sizeof(head));
	head.crc = digest_crc32c(0, l->buf + 8, len - 8);
	memcpy(l->buf, &head, sizeof(head));
	return in_blocks(head.len);
}

static int
write_all(int fd, const char *p, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t w = pwrite(fd, p, len, (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w == 0 ? -EIO : -errno;
		p += w;
		off += (uint64_t)w;
		len -= (size_t)w;
	}
	return 0;
}

static void
give_up(struct index *ix, int err)
{
	ix->log.is_broken = true;
	log_err("cache.index", "commit-log-failed",
	    "path=%s-log err=\"%s\": commits go into the database until the next start, which is "
	    "slower",
	    ix->path, err_str(err));
}

/* make - all blocks written once: a file system that must note new ones needs more than the data for a sync.
 * result: 0 or negative errno */
static int
make(struct index *ix, const char *path)
{
	char *copy = xstrdup(path);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), err = fd < 0 ? -errno : 0;

	memset(ix->log.buf, 0, RECORD_MAX);
	for (uint64_t off = 0; off < INDEX_LOG_SIZE && err == 0; off += RECORD_MAX)
		err = write_all(fd, ix->log.buf, RECORD_MAX, off);
	if (err == 0 && fsync(fd) != 0)
		err = -errno;
	if (err == 0)
		err = osfile_sync_dir(dirname(copy));
	if (err == 0) {
		ix->log.fd = fd;
	} else if (fd >= 0) {
		(void)ftruncate(fd, 0);
		close(fd);
	}
	free(copy);
	return err;
}

/* have_log - it is made when it is first of use. */
static bool
have_log(struct index *ix)
{
	struct index_log *l = &ix->log;
	char *path;
	int err;

	if (l->is_broken || ix->is_read_only)
		return false;
	if (l->buf == NULL)
		l->buf = xmalloc(RECORD_MAX);
	if (l->fd >= 0)
		return true;
	if (clock_mono_ms() < l->retry_ms)
		return false;
	path = xasprintf("%s-log", ix->path);
	err = make(ix, path);
	free(path);
	if (err != 0) {
		l->retry_ms = clock_mono_ms() + INDEX_LOG_RETRY_MS;
		log_warn("cache.index", "no-commit-log",
		    "path=%s-log err=\"%s\": tried again later", ix->path, err_str(err));
	}
	return err == 0;
}

static void
put_pending(struct index_log *l, struct index_txn **txns, size_t n)
{
	if (l->pending == NULL)
		l->pending = index_txn_new();
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < txns[i]->nops; k++)
			index_copy_op(l->pending, &txns[i]->ops[k]);
	}
}

bool
index_log_put(struct index *ix, struct index_txn **txns, size_t n)
{
	struct index_log *l = &ix->log;
	size_t len = record_len(txns, n);
	uint32_t nbytes;
	int err;

	if (len <= sizeof(struct record) || !index_has_redo_room(ix) ||
	    l->tail + in_blocks((uint32_t)len) > INDEX_LOG_SIZE || !have_log(ix))
		return false;
	nbytes = build(ix, txns, n, len);
	err = write_all(l->fd, l->buf, nbytes, l->tail);
	CACHE_FAILPOINT("log-before-sync");
	if (err == 0 && fdatasync(l->fd) != 0)
		err = -errno;
	if (err != 0) {
		l->tail += BLOCK; /* it may be there or not: the generation must end */
		give_up(ix, err);
		return false;
	}
	CACHE_FAILPOINT("log-after-sync");
	put_pending(l, txns, n);
	l->tail += nbytes;
	l->seq++;
	return true;
}

void
index_log_emptied(struct index *ix)
{
	struct index_log *l = &ix->log;

	if (l->pending != NULL)
		index_txn_free(l->pending);
	l->pending = NULL;
	l->tail = l->seq = 0;
	l->gen++;
}

/* --- reading -------------------------------------------------------------------------------------------- */

static int
read_all(int fd, char *p, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t r = pread(fd, p, len, (off_t)off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r == 0 ? -EIO : -errno;
		p += r;
		off += (uint64_t)r;
		len -= (size_t)r;
	}
	return 0;
}

/* read_record - the next one into buf. result: bytes of header and ops; 0: there is none; -EIO */
static int
read_record(const struct index *ix, int fd, char *buf)
{
	const struct index_log *l = &ix->log;
	struct record head;
	int err;

	if (l->tail >= INDEX_LOG_SIZE)
		return 0;
	err = read_all(fd, buf, BLOCK, l->tail);
	if (err < 0)
		return err;
	memcpy(&head, buf, sizeof(head));
	if (head.magic != MAGIC || head.incarnation != ix->incarnation || head.gen != l->gen ||
	    head.seq != l->seq || head.len <= sizeof(head) || head.len > RECORD_MAX ||
	    in_blocks(head.len) > INDEX_LOG_SIZE - l->tail)
		return 0;
	err = read_all(fd, buf + BLOCK, in_blocks(head.len) - BLOCK, l->tail + BLOCK);
	if (err < 0)
		return err;
	return digest_crc32c(0, buf + 8, head.len - 8) == head.crc ? (int)head.len : 0;
}

/* read_records - result: 0, -EUCLEAN for one that is whole and cannot be understood, -EIO */
static int
read_records(struct index *ix, int fd)
{
	struct index_log *l = &ix->log;
	int len;

	l->buf = xmalloc(RECORD_MAX);
	while ((len = read_record(ix, fd, l->buf)) > 0) {
		if (l->pending == NULL)
			l->pending = index_txn_new();
		if (!index_ops_decode(l->buf + sizeof(struct record),
			(size_t)len - sizeof(struct record), l->pending))
			return -EUCLEAN;
		l->tail += in_blocks((uint32_t)len);
		l->seq++;
	}
	if (l->seq > 0)
		log_info("cache.index", "log-read", "path=%s-log records=%llu", ix->path,
		    (unsigned long long)l->seq);
	return len;
}

int
index_log_open(struct index *ix, uint64_t gen)
{
	char *path = xasprintf("%s-log", ix->path);
	int fd = open(path, O_RDWR | O_CLOEXEC), err = 0;
	struct stat st;

	free(path);
	ix->log.gen = gen;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) != 0)
		err = -errno;
	if (err == 0 &&
	    st.st_size < INDEX_LOG_SIZE) { /* no record was ever written: it is made again */
		close(fd);
		return 0;
	}
	ix->log.fd = fd;
	return err == 0 ? read_records(ix, fd) : err;
}

void
index_log_close(struct index *ix)
{
	if (ix->log.pending != NULL)
		index_txn_free(ix->log.pending);
	if (ix->log.fd >= 0)
		close(ix->log.fd);
	free(ix->log.buf);
}
