/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_int.h - folder-private: chunks, slots, spaces, the committer.  Functions are named cachei_
 * where they cross files; "locked" means the space's lock.
 *
 * Lock order: space->lock, then cache->commit_lock or queue_lock.  No lock is held over I/O, but for
 * cache_truncate(), which zeroes at most one block in the page cache.
 */
#ifndef CACHE_INT_H
#define CACHE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/buffer.h"
#include "cache/cache.h"
#include "cache/index.h"
#include "cache/slot.h"
#include "cache/vec.h"
#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define NO_SLOT (-1)
#define BLOCKS_ALL UINT64_MAX
#define FETCH_MAX (4u << 20)				/* one GET */
#define FETCH_CHUNKS (FETCH_MAX / CACHE_CHUNK_SIZE + 1) /* chunks one GET can touch */
#define FETCH_UNIT (64u << 10)				/* random misses are rounded to this */
#define REDO_GROUP_MAX (256u << 10)  /* more un-synced bytes than this: fdatasync */
#define REDO_TOTAL_MAX (32u << 20)   /* redo rows kept before an fdatasync clears them */
#define REDO_TIDY (4u << 20)	     /* so many are cleared when nobody commits */
#define TIDY_IDLE_NS 20000000ull     /* time without commits after which that is so */
#define LAZY_MAX (256u << 20)	     /* fetched, not yet named bytes that force a flush */
#define WRITE_INLINE_MAX (64u << 10) /* biggest pwrite on a loop's stack */
#define PARK_TIMEOUT_NS (10ull * 1000000000)

#define CACHE_FAILPOINT(name)                                                                      \
	do {                                                                                       \
		if (cache_failpoint != NULL)                                                       \
			cache_failpoint(name);                                                     \
	} while (0)

/* --- chunks (chunk.c) ------------------------------------------------------------------------ */
enum chunk_flags {
	CHUNK_REF = 1u << 0,	 /* used since the evictor looked last */
	CHUNK_ROW = 1u << 1,	 /* the row must be written by the next commit */
	CHUNK_STORED = 1u << 2,	 /* a row may exist in the index */
	CHUNK_DEAD = 1u << 3,	 /* out of its file's table; freed with the last pin */
	CHUNK_QUEUED = 1u << 4,	 /* on space->changed */
	CHUNK_ON_LAZY = 1u << 5, /* on space->lazy (same link) */
	CHUNK_RELOC = 1u << 6,	 /* a sync failed: copy what is un-synced elsewhere first (P6) */
	CHUNK_HOLD = 1u << 7,	 /* that copy is under way: writes wait */
	CHUNK_TAKEN = 1u << 9, /* by the commit under way: what is un-synced then is in its entry */
	CHUNK_SETTLED =
	    1u << 8, /* SEALED bytes lie durably in the CLEAN slot too (pinned spaces) */
};

struct chunk {			 /* see the state matrix in chunk.c */
	struct cache_file *file; /* NULL = free in the slab */
	uint32_t no;
	uint16_t flags;
	uint16_t nwriters; /* pwrites into dirty_slot in flight */
	int32_t clean_slot, sealed_slot, dirty_slot;
	uint32_t pins;	     /* holders of this pointer */
	uint64_t clean;	     /* readable blocks of clean_slot */
	uint64_t clean_lazy; /* of those: not durable in the data file yet, no row may name them */
	uint64_t
	    clean_row;	 /* blocks of clean_slot that a durable row, or one under way, may name */
	uint64_t sealed; /* blocks of sealed_slot */
	uint64_t sealed_zero;	  /* of those: zeros, nothing in the slot */
	uint64_t sealed_unsynced; /* of those with bytes: not durable yet */
	uint64_t dirty, dirty_zero, dirty_unsynced;
	uint64_t busy; /* blocks being written that have no DIRTY bytes yet: other writers wait */
	uint64_t fetching;  /* blocks of the base on their way */
	struct list lru;    /* space->lru while clean_slot >= 0 */
	struct list link;   /* space->changed or space->lazy */
	struct list active; /* file->active while it has DIRTY or SEALED blocks */
};

struct chunk *cachei_chunk_find(const struct cache_file *f, uint32_t no);
struct chunk *cachei_chunk_get(struct cache_file *f, uint32_t no); /* find or make */
/* cachei_chunk_tidy - free slots without blocks, and the chunk itself when nothing is left. locked
 * result: the chunk is gone (a table walk must look at the same position again) */
bool cachei_chunk_tidy(struct chunk *ch);
/* cachei_chunk_unpin - of a dead chunk the file may be gone already. locked */
void cachei_chunk_unpin(struct cache_space *s, struct chunk *ch);
/* cachei_chunk_kill - all slots freed, out of the table; memory goes with the last pin. locked */
void cachei_chunk_kill(struct chunk *ch);
/* cachei_chunk_changed - the row (row true) or only un-synced data belongs into the next commit. */
void cachei_chunk_changed(struct chunk *ch, bool row);
void cachei_chunk_lazy(struct chunk *ch);
/* cachei_chunk_set_* - change a mask and keep all byte counts right. locked */
void cachei_chunk_set_clean(struct chunk *ch, uint64_t mask);
/* zero: those blocks of the mask that are zeros without bytes */
void cachei_chunk_set_sealed(struct chunk *ch, uint64_t mask, uint64_t zero);
void cachei_chunk_set_dirty(struct chunk *ch, uint64_t mask, uint64_t zero);
void cachei_chunk_drop_clean(struct chunk *ch);	 /* frees the CLEAN slot */
void cachei_chunk_check(const struct chunk *ch); /* aborts on a broken invariant */
/* cachei_chunk_next - walk a file's chunks: for (pos = 0; (ch = cachei_chunk_next(f, &pos)) != NULL;) */
struct chunk *cachei_chunk_next(const struct cache_file *f, uint32_t *pos);
uint64_t cachei_mask(uint32_t first, uint32_t n); /* bits [first, first+n) */

/* dirty_data, sealed_data - blocks of the layer that have bytes in its slot. */
static inline uint64_t
dirty_data(const struct chunk *ch)
{
	return ch->dirty & ~ch->dirty_zero;
}

static inline uint64_t
sealed_data(const struct chunk *ch)
{
	return ch->sealed & ~ch->sealed_zero;
}

static inline uint32_t
blocks_of(uint64_t mask)
{
	return (uint32_t)__builtin_popcountll(mask);
}

static inline uint64_t
min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t
max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t
slot_off(int32_t slot)
{
	return (uint64_t)(uint32_t)slot << CACHE_CHUNK_SHIFT;
}

/* --- spaces and the cache ------------------------------------------------------------------- */
struct chunk_key {
	uint64_t file_id;
	uint32_t no;
};

struct seal_op {
	uint64_t file_id, base_limit;
	bool is_delete;
};
struct pend {			/* what the next commit takes besides changed chunks */
	struct vec dead_files;	/* uint64_t */
	struct vec dead_chunks; /* struct chunk_key */
	struct vec seals;	/* struct seal_op, in order */
	struct vec limbo;	/* int32_t slots */
};
struct redo_ref {
	struct chunk *ch; /* pinned */
	int32_t slot;
	uint64_t mask;
};
struct slab_block;

struct cache_space {
	pthread_mutex_t lock;
	struct cache *cache;
	uint32_t id;
	const struct cache_owner_ops *ops;
	void *owner;
	struct osfile *file;
	char *path;
	struct slots slots;
	struct slab_block *slab;
	struct chunk *slab_free;
	struct list changed, lazy, lru;
	struct list bufs, landings; /* buffers that are shown, oldest first; see land_submit() */
	bool is_landing;
	struct pend pend;
	struct vec redo; /* struct redo_ref since the last fdatasync */
	uint64_t redo_bytes;
	bool redo_stale; /* synced, but clearing the rows failed: clear before all else */
	uint64_t sync_ns,
	    sync_seen_ns; /* what an fdatasync takes, and when that was seen. committer */
	uint64_t lazy_bytes;
	uint32_t sync_errors; /* failed syncs: a write that was in flight across one is suspect */
	uint32_t nio;	      /* I/O in flight, parked ones too */
	uint32_t nreloc;      /* chunks with CHUNK_RELOC */
	pthread_cond_t idle;  /* nio, a chunk's nwriters or npunching went down */
	unsigned int nidle_waiters;
	uint32_t npunching;
	uint64_t nios;	 /* requests begun */
	bool flush_lazy; /* next commit syncs and names fetched blocks */
	bool force_sync; /* next commit syncs the data file even if nothing in memory says why */
	bool is_closing;
	bool
	    is_pinned; /* CLEAN blocks are the only local copy: never evicted, not counted as cache */
	uint64_t clean_bytes, sealed_bytes, dirty_bytes;
	/* guarded by cache->spaces_lock */
	struct list link;    /* cache->spaces */
	unsigned int nusers; /* evictor, statistics: must leave before the space goes */
	/* guarded by cache->commit_lock */
	struct list waiters;
	struct list work_link; /* cache->work */
	struct list mark_link; /* cache->marked, by due time */
	struct list tidy_link; /* cache->untidy */
	_Atomic bool is_marked;
	uint64_t mark_due_ns;
	bool in_group; /* the committer is at it */
};

struct cache {
	struct index *index;
	const struct osfile_ops *os;
	struct workq *wq;
	char **dirs;
	size_t ndirs;
	pthread_mutex_t dirs_lock;
	unsigned int flush_interval_ms;
	_Atomic uint64_t capacity, dirty_max;
	_Atomic int64_t clean_bytes, dirty_bytes; /* dirty: DIRTY and SEALED */
	_Atomic int64_t reserved_bytes; /* writes in flight will make so many bytes dirty */
	_Atomic int32_t nready, nstale; /* slots of all spaces that are not pinned: see slot.c */
	_Atomic uint64_t hit_bytes, miss_bytes, fetched_bytes, evicted_bytes;
	_Atomic uint64_t commits, fdatasyncs, redo_bytes, parked_writes;
	_Atomic int64_t readahead_bytes; /* of fetches ahead of readers: under way, or in buffers */
	struct cache_bufs bufs;
	_Atomic bool failing;

	pthread_mutex_t spaces_lock; /* list of spaces; taken before a space's lock */
	pthread_cond_t spaces_cond;  /* a space's nusers became 0 */
	struct list spaces;

	pthread_mutex_t commit_lock;
	pthread_cond_t commit_cond;
	struct list work;   /* spaces with waiters */
	struct list marked; /* spaces that changed and nobody waits */
	struct list untidy; /* spaces with many redo rows */
	uint64_t last_commit_ns;
	bool commit_stop, committer_runs;
	pthread_cond_t group_done; /* a group was finished: close waits for the space to leave it */
	pthread_t committer;

	pthread_mutex_t queue_lock; /* writes that wait for space, evictor's wake-up */
	pthread_cond_t queue_cond;
	struct list queue;
	bool evict_stop, evict_kick, evictor_runs;
	struct { /* the evictor's: punching makes way for I/O */
		uint64_t nios, busy_ns, next_ns;
		uint32_t piece; /* slots */
		int64_t last_id;
	} punch;
	pthread_t evictor;
};

/* --- I/O (read.c, write.c, fetch.c, readahead.c, space queue in evict.c) ----------------------- */
enum io_state { IO_NEW, IO_WAIT_FETCH, IO_WAIT_BLOCK, IO_WAIT_SEAL, IO_WAIT_SPACE, IO_FAILED };

struct segment { /* of a read: bytes from the data file, from a buffer, or zeros */
	uint32_t len;
	int32_t slot;	       /* the first slot of the run; NO_SLOT = from buf, or zeros */
	uint16_t nslots;       /* adjacent slots, all pinned */
	uint64_t at;	       /* in the data file, or in buf */
	struct cache_buf *buf; /* pinned too; NULL = none */
};
#define READ_SEGS 32
/* cachei_plan - what [off, off+len) is made of, up to READ_SEGS segments.
 * result: bytes planned; *miss: stopped because the byte behind them must be fetched. locked */
/* cachei_hole - does the base hold nothing (zeros) at off? *end: how far that holds. locked */
bool cachei_hole(const struct cache_file *f, uint64_t off, uint64_t *end);
uint32_t cachei_plan(const struct cache_file *f, uint64_t off, uint32_t len, uint64_t size,
    unsigned int view, struct segment *segs, unsigned int *nsegs, bool *miss);
#define VIEW_NOW 0u
#define VIEW_SEALED 1u	 /* the sealed moment */
#define VIEW_NO_DIRTY 2u /* what is under the DIRTY blocks */
void cachei_segs_pin(struct cache_space *s, const struct segment *segs, unsigned int n);
void cachei_segs_unpin(struct cache_space *s, const struct segment *segs, unsigned int n);
int cachei_segs_read(
    struct cache_space *s, const struct segment *segs, unsigned int n, void *buf, bool nowait);

/* cachei_fetch_want - start fetching [off, off+len) where it is neither local nor on its way; whole
 * blocks, at most up to the base limit. New fetches are put on `out`. locked */
void cachei_fetch_want(
    struct cache_file *f, uint64_t off, uint64_t len, bool is_readahead, struct list *out);
void cachei_fetch_start(struct list *fetches); /* unlocked */

/* cachei_refill - blocks of a slot that is about to be freed become CLEAN blocks. locked */
void cachei_refill(struct chunk *ch, int32_t src_slot, uint64_t mask);
void cachei_readahead(
    struct cache_file *f, uint64_t off, uint32_t len, uint64_t size, struct list *out);

void cachei_io_enter(struct cw_io *io);			  /* locked */
void cachei_io_leave(struct cache_file *f);		  /* locked */
void cachei_io_park(struct cw_io *io, enum io_state why); /* locked */
/* cachei_wake - parked I/O of a kind goes back to the workers; for IO_WAIT_FETCH only what waits for
 * a byte in [off, off+len); err != 0 completes it with that. locked */
void cachei_wake(struct cache_file *f, enum io_state why, uint64_t off, uint64_t len, int err);
void cachei_read_work(struct work *w);
void cachei_write_work(struct work *w);
/* cachei_quiet_check - a write or seal ended: who waits for that may go on. locked */
void cachei_quiet_check(struct cache_file *f);
/* cachei_idle_signal - counts became 0: wake who waits on space->idle. locked */
void cachei_idle_signal(struct cache_space *s);

/* cachei_space_wait - park a write until need more bytes may become dirty. locked */
void cachei_space_wait(struct cw_io *io, uint64_t need);
void cachei_space_freed(struct cache *c); /* dirty or used bytes went down: writers may go on */
void cachei_evict_kick(struct cache *c);
/* cachei_evict_now - free about `bytes` of clean data of s, or all for UINT64_MAX; no commit. locked */
uint64_t cachei_evict_space(struct cache_space *s, uint64_t bytes, bool force);
/* cachei_evict_bite - the disk is full: forget some CLEAN data of each space, durably, and give its blocks
 * back. unlocked; workers. result: bytes, 0 when there is none left; -ENOSPC, -EIO of the commit */
int64_t cachei_evict_bite(struct cache *c);
int cachei_evictor_start(struct cache *c);
void cachei_evictor_stop(struct cache *c);

/* cachei_zero_tail - the DIRTY block that holds byte `size` gets zeros from there on. locked, or start-up
 * result: 0 or -EIO */
int cachei_zero_tail(struct cache_file *f, uint64_t size);

/* --- seal waits ------------------------------------------------------------------------------ */
struct idle_wait {
	void (*fn)(void *arg);
	void *arg;
	bool is_quiet; /* only writes and seals matter, not reads */
	struct work work;
	struct list link;
};

struct file_waits {
	void (*seal_done)(void *arg);
	void *seal_arg;
	uint64_t seal_size;
	struct list idle; /* struct idle_wait */
	bool has_seal;
};
struct file_waits *cachei_waits(struct cache_file *f);
void cachei_waits_tidy(struct cache_file *f);
void cachei_seal_flip_pending(struct cache_file *f); /* last writer left. locked */
void cachei_seal_note_write(struct cache_file *f, uint64_t end);

/* --- commit.c, commit_snap.c; redo.h ------------------------------------------------------------ */
/* cachei_mark_again - the commit failed: try again some time, even if nobody asks. unlocked */
void cachei_mark_again(struct cache_space *s);
int cachei_committer_start(struct cache *c);
void cachei_committer_stop(struct cache *c);
/* cachei_commit_leave - wait until the committer has nothing to do with s any more. unlocked */
void cachei_commit_leave(struct cache_space *s);

struct commit_space { /* one space's part of the group under way */
	struct cache_space *s;
	struct list waiters;
	struct vec entries; /* struct commit_entry */
	struct pend pend;
	struct index_txn *txn;
	bool want_sync, did_sync, use_redo, clears_redo;
	bool is_tidy; /* nobody waits: sync, so that redo rows can be cleared */
	bool
	    is_sample; /* the sync writes few blocks and nothing else: its time tells what one costs */
	int err;
};
struct commit_entry {	  /* one chunk as the commit took it */
	struct chunk *ch; /* pinned */
	int32_t clean_slot, sealed_slot, dirty_slot;
	uint64_t lazy, sealed_unsynced, dirty_unsynced;
	uint64_t row_clean; /* clean blocks that the row names */
	bool has_row;
};

/* cachei_snap_take - move everything changed into cs, rows into its transaction, and choose between
 * fdatasync and redo rows; *redo_bytes counts what the group puts into redo rows. locks itself */
void cachei_snap_take(struct commit_space *cs, uint64_t *redo_bytes);
void cachei_snap_done(struct commit_space *cs); /* it is durable. locks itself */
void cachei_snap_failed(
    struct commit_space *cs, bool sync_failed); /* put it all back. locks itself */
/* cachei_relocate - after a failed sync: copy what is not durable to fresh slots (P6). unlocked; committer
 * result: 0, -EIO, -ENOSPC */
int cachei_relocate(struct cache_space *s);
void cachei_pend_free(struct pend *p);

/* --- the list of spaces (cache.c) ------------------------------------------------------------- */
/* cachei_space_next - the space with the smallest id above *id, held until put; NULL at the end. */
struct cache_space *cachei_space_next(struct cache *c, int64_t *id);
void cachei_space_put(struct cache_space *s);
void *cachei_slab_chunk(struct cache_space *s);
void cachei_slab_put(struct cache_space *s, struct chunk *ch);
void cachei_slab_free_all(struct cache_space *s);
/* cachei_data_path - where the data file of a space is or should be. malloced, NULL on error */
char *cachei_data_path(struct cache *c, uint32_t id, const char *dir, bool *is_new);

#endif
