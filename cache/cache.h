/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h - the local copy of file and volume data, and the durable duty to upload it.
 *
 * A *space* is one share or one volume: one sparse data file of 256 KiB slots, one lock.  A *file*
 * is one sequence of bytes in a space: 256 KiB chunks of 64 blocks of 4 KiB.  Each chunk has at most
 * a CLEAN slot (bytes of the base object in the bucket), a SEALED slot (frozen, being uploaded) and
 * a DIRTY slot (taking writes).  A read merges DIRTY over SEALED over CLEAN over the bucket.
 * The state matrix stands at the head of chunk.c; the reasons in DESIGN.md.
 *
 * A *pinned* space is the complete copy of its base (a stored volume): its CLEAN blocks are never
 * evicted and do not count against the capacity; its data file may lie in a directory of its own.
 *
 * Limits, in bytes of the file (they make truncate exact without touching data):
 *   base_limit    bytes of the base object at or past it are not part of the file: they read as 0
 *   sealed_limit  the same for sealed blocks
 *   sealed_size   the file's size at the moment of the seal
 *
 * Locks: cache_space_lock() guards the chunk maps AND whatever the owner keeps under it (a share's
 * tree), so that one commit takes one consistent picture of both.  It is never held over I/O.
 *
 * Threads: functions say "locked" (space lock held), "unlocked" (must not be held) or "any".
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "gateway/base/err.h"
#include "gateway/base/list.h"
#include "gateway/base/osfile.h"
#include "gateway/base/workq.h"

#define CACHE_BLOCK_SHIFT 12
#define CACHE_BLOCK_SIZE (1u << CACHE_BLOCK_SHIFT)
#define CACHE_CHUNK_SHIFT 18
#define CACHE_CHUNK_SIZE (1u << CACHE_CHUNK_SHIFT)
#define CACHE_CHUNK_BLOCKS 64
#define CACHE_LIMIT_NONE UINT64_MAX
#define CACHE_FILE_MAX (1ull << 45) /* 2^27 chunks */

struct cache;
struct cache_space;
struct chunk;
struct index_txn;
struct index;
struct cache_buf;
struct cache_fetch;
struct file_waits;

/* cache_failpoint - tests set it before cache_open(): called with the name of each step of commit,
 * redo, seal, evict and punch just before the step, on the thread that takes it. NULL in production. */
extern void (*cache_failpoint)(const char *name);

struct cache_conf {
	const char *index_path;	      /* SQLite file */
	const char *const *data_dirs; /* directories that take data files, one per cache disk */
	size_t ndata_dirs;
	uint64_t capacity_bytes;  /* most blocks in use, clean and dirty together */
	uint64_t dirty_max_bytes; /* back-pressure starts here; 0 = 75 % of capacity */
	unsigned int
	    flush_interval_ms; /* what nobody waits for is committed at least so often; 0 = 1000 */
	unsigned int workers;  /* 0 = 8 */
	const struct osfile_ops *os; /* NULL = osfile_posix */
};

/* What the owner of a space (share, volume) does for the cache. */
struct cache_owner_ops {
	/* collect - append the owner's changed rows to txn. locked; committer thread; must not block. */
	void (*collect)(void *owner, struct index_txn *txn);
	/* collected - outcome of the commit that took those rows; err < 0: they did not reach the
	 * index and must be offered again. unlocked; committer thread. May be NULL. */
	void (*collected)(void *owner, int err);
	/* fetch - read [off, off+len) of the base object into buf, all of it, and call
	 * cache_fetch_done(f, result). Bytes past the object's end are zeros. unlocked; any thread;
	 * must not block. */
	void (*fetch)(void *owner, void *file_owner, uint64_t off, uint32_t len, void *buf,
	    struct cache_fetch *f);
	/* sealed - the file was sealed just now: what the owner keeps of it (has_sealed, sealed_size and
	 * the limits) must be in the same commit as the chunks, so its row is to be collected. locked;
	 * any thread; must not block. May be NULL. */
	void (*sealed)(void *owner, void *file_owner);
	/* hole - does the base object hold nothing from off on, so that it reads as zeros? off is below
	 * base_limit and block aligned. *end, in and out: the answer, whichever it is, holds for [off, *end);
	 * it may only become smaller. locked; must not block. NULL: never.
	 * The answer for a block may change only by cache_seal_done(), while the block is local, or where its
	 * bytes are zeros either way. */
	bool (*hole)(void *owner, void *file_owner, uint64_t off, uint64_t *end);
	/* verifier_changed - un-synced writes may be lost (failed fsync): NFS write verifier changes. */
	void (*verifier_changed)(void *owner);
};

/* One sequence of bytes. Embedded in or pointed at by its owner; fields locked. */
struct cache_file {
	struct cache_space *space;
	uint64_t id; /* inode number; chunk rows are keyed by it */
	void *owner; /* what fetch() gets */
	uint64_t base_limit, sealed_limit, sealed_size;
	bool has_sealed;       /* a seal is under way */
	bool seal_pending;     /* cache_seal() waits for writers to leave; new writes are parked */
	unsigned int nwriters; /* writes between begin and end */
	unsigned int nio;      /* any I/O in flight: the file must not be freed */
	uint64_t dirty_bytes, sealed_bytes, clean_bytes; /* block-rounded; of blocks with bytes */
	uint64_t dirty_zeros, sealed_zeros;		 /* blocks that are zeros without bytes */
	/* private to the cache: */
	struct chunk **table; /* open hash by chunk number, see chunk.c; NULL without chunks */
	uint32_t table_cap;
	uint32_t nchunks;
	uint64_t
	    seal_base_limit; /* base_limit at the moment of the seal; kept in the index (seal) */
	uint32_t base_gen;   /* bumped when the base object changes: late fetches are dropped */
	struct file_waits *waits;	     /* who waits for seal or idle; NULL when nobody does */
	struct list parked;		     /* cw_io waiting for seal, exclusive block or space */
	struct cache_buf *bufs;		     /* bytes of the base object in memory, see buffer.c */
	struct list active;		     /* chunks with DIRTY or SEALED blocks */
	bool has_cut_base;		     /* CLEAN blocks may lie at or past base_limit */
	uint64_t ra_next, ra_window, ra_end; /* sequential detection */
};

enum cw_io_op { CW_IO_READ, CW_IO_WRITE };
#define CW_IO_NOWAIT 1u /* caller is a loop: do not block on disk on this stack, go to a worker */
#define CW_IO_SEALED                                                                               \
	2u /* READ: the sealed moment of the file (for the uploader), limit sealed_size */
#define CW_IO_NO_READAHEAD 4u
#define CW_IO_SEND_ANY 8u /* READ: send() may be called later and on any thread, see there */
#define CW_IO_FILL 16u	  /* WRITE of whole blocks: blocks that are local already are left alone */
#define CW_IO_NO_PARK 32u /* WRITE: -ERR_BACKPRESSURE at once where it would wait for space */

/*
 * The one data request that travels from front end to cache.  Completed exactly once: either the
 * submit function returns a result other than -EINPROGRESS (then done is NOT called), or done() is
 * called later on a thread of the cache's; it must not block.
 */
struct cw_io {
	enum cw_io_op op;
	unsigned int flags;
	struct cache_file *file;
	uint64_t off;
	uint32_t len;
	void *buf; /* READ: len bytes to fill. WRITE: len bytes to store. Valid until completion */
	uint64_t size; /* READ: file size as the owner knows it; past it zeros. WRITE: current size
			* before this write (blocks at or past it need no old content) */
	/* WRITE: called locked when the data is in place, before completion: owner updates size, times */
	void (*written)(struct cw_io *io);
	/* WRITE, may be NULL: in place of written(), when it failed and may have changed some bytes */
	void (*torn)(struct cw_io *io);
	/* READ, may be NULL: send - all of it is local and cached, here it is as memory for a system call
	 * that takes it from there. At most once, unlocked, the data pinned; iov must not be touched
	 * otherwise and ends with the call. With CW_IO_NOWAIT it is called inside cache_read() only;
	 * with CW_IO_SEND_ANY also on a worker, before done(), and then only for what lies in memory of ours.
	 * result: bytes taken from the start; only what is behind them is put into buf */
	uint32_t (*send)(struct cw_io *io, struct iovec *iov, unsigned int n);
	void (*done)(struct cw_io *io);
	int result; /* 0, -EIO, -ENOSPC, -ERR_BACKPRESSURE (gave up waiting for space), -ERR_OFFLINE,
		     * -ERR_PRECONDITION (base object changed: owner must refresh), -ECANCELED */
	void *ctx;
	/* private to the cache: */
	struct list link;
	struct work work;
	void *impl;
	uint64_t started_ns;
	unsigned int state, npending;
};

/* --- the whole cache --------------------------------------------------------------------- */

/* cache_open - open or create index and data files, check the index, replay the redo rows.
 * args:   conf borrowed during the call, strings copied
 * result: 0; -EUCLEAN index damaged (err_text says what and what to do); -EBUSY held by another
 *         process; -ENOSPC; other errno of open
 * ctx:    start-up thread */
int cache_open(const struct cache_conf *conf, struct cache **out, char *err_text,
    size_t err_cap) CW_MUST_CHECK;
/* cache_start - start committer and evictor, after spaces were loaded. */
int cache_start(struct cache *c) CW_MUST_CHECK;
/* cache_close - commit everything, stop the threads, free. Spaces must be closed before. */
void cache_close(struct cache *c);
struct index *cache_index(struct cache *c);
/* cache_workq - pool for what may block; shared with the owners. */
struct workq *cache_workq(struct cache *c);
/* cache_set_capacity - at run time, when a disk is added. any */
void cache_set_capacity(struct cache *c, uint64_t capacity_bytes, uint64_t dirty_max_bytes);
/* cache_add_data_dir - offer one more directory for the data files of new spaces. any */
int cache_add_data_dir(struct cache *c, const char *dir);

struct cache_stats {
	uint64_t capacity_bytes, used_bytes, dirty_bytes, dirty_max_bytes, clean_bytes;
	uint64_t hit_bytes, miss_bytes, fetched_bytes, evicted_bytes;
	uint64_t commits, fdatasyncs, redo_bytes, parked_writes;
	bool failing; /* last commit failed: clients get errors until one succeeds */
};
void cache_get_stats(struct cache *c, struct cache_stats *out);

/* --- spaces ------------------------------------------------------------------------------ */

/* cache_space_open - open (or create) space `id` and its data file.
 * result: 0, -ENOSPC, -EIO...; ctx: start-up or control thread */
int cache_space_open(struct cache *c, uint32_t id, const struct cache_owner_ops *ops, void *owner,
    struct cache_space **out) CW_MUST_CHECK;
/* cache_space_open_pinned - the same for a pinned space. dir: where a new data file goes, made if need
 * be; NULL: one of the cache's. An existing one is opened where it is. */
int cache_space_open_pinned(struct cache *c, uint32_t id, const char *dir,
    const struct cache_owner_ops *ops, void *owner, struct cache_space **out) CW_MUST_CHECK;
/* cache_space_load - read the chunk rows of the space; resolve(owner, file_id) gives the file a row
 * belongs to, or NULL for an orphan row (its slots are freed). Slots not named are free. */
int cache_space_load(struct cache_space *s,
    struct cache_file *(*resolve)(void *owner, uint64_t file_id)) CW_MUST_CHECK;
/* cache_space_close - wait for I/O in flight, commit, detach. unlocked */
void cache_space_close(struct cache_space *s);
/* cache_space_destroy - close and remove the data file and all its rows (share deleted). */
int cache_space_destroy(struct cache_space *s);
void cache_space_lock(struct cache_space *s);
void cache_space_unlock(struct cache_space *s);
uint32_t cache_space_id(const struct cache_space *s);
/* cache_space_path - its data file; valid as long as the space. any */
const char *cache_space_path(const struct cache_space *s);
void cache_space_get_stats(struct cache_space *s, uint64_t *used_bytes, uint64_t *dirty_bytes);

/* --- files ------------------------------------------------------------------------------- */

/* cache_file_init - a file with no local data. base_limit = size of the base object, 0 for none. locked */
void cache_file_init(
    struct cache_file *f, struct cache_space *s, uint64_t id, void *owner, uint64_t base_limit);
/* cache_file_discard - drop all data and rows (unlink). Slots are freed once that is durable.
 * f may be freed by its owner when f->nio == 0. locked */
void cache_file_discard(struct cache_file *f);
/* cache_file_drop_clean - the base object changed: forget clean blocks; base_limit = new size. Only
 * without dirty or sealed data. locked */
void cache_file_drop_clean(struct cache_file *f, uint64_t new_base_size);
/* cache_truncate - new size smaller or larger than old_size; exact to the byte. locked; may write up
 * to one block of zeros to the page cache. result: 0, -EIO, -EAGAIN (a write or an edge block is in
 * flight or must be fetched first: retry through cache_when_quiet) */
int cache_truncate(struct cache_file *f, uint64_t old_size, uint64_t new_size);
/* cache_when_idle - call fn(arg) once, unlocked, on a worker, when no I/O is in flight on f. locked */
void cache_when_idle(struct cache_file *f, void (*fn)(void *arg), void *arg);

/* cache_when_quiet - the same when no write is in flight and no seal is being waited for; reads may be. */
void cache_when_quiet(struct cache_file *f, void (*fn)(void *arg), void *arg);

/* cache_read, cache_write - see struct cw_io. unlocked.
 * result: 0 or an error at once, or -EINPROGRESS: done() will be called */
int cache_read(struct cw_io *io) CW_MUST_CHECK;
int cache_write(struct cw_io *io) CW_MUST_CHECK;
/* cache_fetch_done - answer of the owner's fetch(). any thread, unlocked
 * args: result 0, a negative errno, or
 *       CACHE_FETCH_ONCE   right to be read as long as the owner calls it no hole and no layer has it, but
 *                          not bytes of the base: nothing is kept
 *       CACHE_FETCH_AGAIN  they are not wanted any more: who waits looks again where they are */
#define CACHE_FETCH_ONCE 1
#define CACHE_FETCH_AGAIN 2
void cache_fetch_done(struct cache_fetch *f, int result);

/* --- zeros and holes (zero.c): what volumes need ----------------------------------------------- */

/* Walk of a cache_zero(). Zeroed; then file, off and end (block aligned) set by the caller. */
struct cache_zero {
	struct cache_file *file;
	uint64_t off, end; /* what is still to do */
	/* private to the cache: */
	uint32_t *nos; /* chunks that exist in the range, in order; NULL: all numbers are tried */
	uint32_t nnos, pos;
	bool is_begun;
};

/* cache_zero - whole blocks read as zeros from now on, and what they held is given up. Where neither
 * the cache nor the base holds anything nothing happens, so it costs what is mapped. Writes that overlap
 * the range must be kept out by the caller. locked; memory only, a bounded step per call
 * result: 0 done (z->off == z->end); 1: let go of the lock and call again; -EAGAIN: a seal waits for
 * writers: again after cache_when_quiet() */
int cache_zero(struct cache_zero *z) CW_MUST_CHECK;
/* cache_zero_end - free what the walk holds; any time, once. */
void cache_zero_end(struct cache_zero *z);
/* cache_provisioned - does the block at off hold data, here or in the base? *end: how far that answer
 * holds, at most to limit, and not always as far as it could. locked */
bool cache_provisioned(
    const struct cache_file *f, uint64_t off, uint64_t limit, uint64_t *end) CW_MUST_CHECK;
/* cache_missing - move *off to the first block before end that only the base holds. locked
 * result: true: there it is, *len bytes long at least; false: none up to *off, which is end, or less when
 * the walk was cut short */
bool cache_missing(
    const struct cache_file *f, uint64_t *off, uint64_t end, uint64_t *len) CW_MUST_CHECK;

/* --- commit ------------------------------------------------------------------------------ */

struct cache_waiter {
	void (*done)(struct cache_waiter *w, int err); /* committer thread; must not block */
	struct list link;			       /* private */
};

/* cache_commit - everything changed in the space before this call (data in place, rows offered by
 * collect) becomes durable; then w->done(w, 0), or a negative errno for all waiters of the group (P6).
 * locked or unlocked; any thread */
void cache_commit(struct cache_space *s, struct cache_waiter *w);
/* cache_mark - rows changed that nobody waits for: part of the next commit, within flush_interval. any */
void cache_mark(struct cache_space *s);
/* cache_commit_sync - cache_commit and wait; workers and tests only. unlocked */
int cache_commit_sync(struct cache_space *s) CW_MUST_CHECK;

/* cache_commit_all - the same, and fetched blocks, which other commits may leave out, are named, too. */
int cache_commit_all(struct cache_space *s) CW_MUST_CHECK;

/* --- upload ------------------------------------------------------------------------------ */

/* cache_sync_errors - how often syncing the space's data failed: bytes read before a failure may differ
 * from what is there after it. locked */
uint32_t cache_sync_errors(const struct cache_space *s);
/* cache_seal - freeze the file as it is now: every DIRTY block becomes SEALED; size is recorded.
 * done(arg) is called, unlocked, on a worker, when no writer is left and the states were flipped; it
 * may be called before this returns only if result is 0 (then done is NOT called).
 * result: 0 sealed now; -EINPROGRESS; -EALREADY has_sealed. locked */
int cache_seal(struct cache_file *f, uint64_t size, void (*done)(void *arg), void *arg);
/* cache_sealed_in - does [off, off+len) of the sealed moment differ from the base object (sealed
 * blocks, or holes/limits that made bytes zero)? False: an UploadPartCopy of the range will do. locked */
bool cache_sealed_in(const struct cache_file *f, uint64_t off, uint64_t len);
/* cache_sealed_local - is every byte of the range readable without the bucket? locked */
bool cache_sealed_local(const struct cache_file *f, uint64_t off, uint64_t len);
struct cache_run {
	uint64_t off, len;
	bool is_zero;
};
/* cache_sealed_runs - what the seal under way consists of, in order of offset, neighbours of one kind
 * joined. It does not change until cache_seal_done(). unlocked; *out is malloced */
void cache_sealed_runs(struct cache_file *f, struct cache_run **out, size_t *n);
/* cache_settle - in a pinned space: make the sealed bytes durable at the place where they stay after
 * cache_seal_done(), which may be called only while cache_is_settled(). At most one thread a file. Other
 * spaces have nothing to do. worker; unlocked. result: 0, or as cache_commit_sync() */
int cache_settle(struct cache_file *f) CW_MUST_CHECK;
bool cache_is_settled(const struct cache_file *f); /* locked */
/* cache_seal_done - the sealed moment is in the bucket as the new base object: SEALED becomes CLEAN,
 * base_limit becomes sealed_limit. Clean blocks of the old base that the seal covered are dropped,
 * the others stay (they are equal in both). The caller changes its remote row in the same locked
 * section, so both reach the index in one transaction. locked */
void cache_seal_done(struct cache_file *f);

/* --- maintenance ------------------------------------------------------------------------- */

/* cache_drop_behind - what was written into [off, end) need not stay in memory: drop the pages of the
 * chunks that it touches, as far as they are durable. A hint: costs readers the disk, and nothing else.
 * result: where it stopped, the first byte that is not durable yet, or end. unlocked; the caller holds f */
uint64_t cache_drop_behind(struct cache_file *f, uint64_t off, uint64_t end);

/* cache_evict_all - drop every clean block (tests, `causeway cache drop`). unlocked */
int cache_evict_all(struct cache *c);
/* cache_lend_room - the owner could not write a small file of its own on the cache's disk, and without it nothing
 * will be uploaded and come free: no new data until there is room again, and a little room at once. any */
void cache_lend_room(struct cache *c);

struct cache_check_report {
	uint64_t files, chunks, slots, dirty_blocks, problems;
};
/* cache_check - prove P1-P3 on an index and data files that no daemon has open; say() gets one line
 * per problem. result: number of problems or negative errno */
int cache_check(const struct cache_conf *conf, void (*say)(void *arg, const char *line), void *arg,
    struct cache_check_report *report);

#endif
