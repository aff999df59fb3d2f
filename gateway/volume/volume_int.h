/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_int.h - folder-private: what a volume is made of (LOCAL.md says why).
 *
 * Locks, in this order: space (cache_space_lock: the row, the file), then one of the leaves
 * range_lock, sched_lock, target_lock.  Functions are named volume_ where they cross files.
 */
#ifndef VOLUME_VOLUME_INT_H
#define VOLUME_VOLUME_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/index.h"
#include "gateway/base/clock.h"
#include "gateway/base/list.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume.h"
#include "gateway/volume/vol_remote.h"

#define VOLUME_BLOCK CACHE_BLOCK_SIZE
#define VOLUME_SKIPS_MAX 512u

struct volume_snap { /* wanted and not in the bucket yet, or to be deleted there */
	struct list link;
	char id[CW_SNAPSHOT_ID_MAX];
	char *description;
	int64_t time_ns;
	uint64_t epoch;	 /* the epoch it is of */
	bool is_delete;	 /* its manifest is to be deleted */
	bool has_failed; /* for good: CW_SNAPSHOT_ERROR */
};

struct volume_skip { /* [off, end) of an image is not to be taken over: it was zeroed */
	uint64_t off, end;
};

/* What the index keeps of a volume: its node row (size, limits) and a row of kv "volume-state". locked */
struct volume_row {
	uint64_t committed_epoch, sealed_epoch; /* sealed_epoch 0: no seal under way */
	int64_t committed_time_ns, sealed_time_ns;
	bool is_created;     /* the remote image is there, and committed_epoch is one of its */
	bool is_complete;    /* STORED: all that the base maps is local */
	char *irrecoverable; /* why; NULL = it is not */
	/* origin; strings may be NULL */
	enum cw_volume_source source;
	char *origin_volume, *origin_prefix, *origin_snapshot;
	int64_t origin_time_ns;
	/* taking over an image: NULL when done */
	char *image_path;
	uint64_t image_copied;			    /* all below this is taken over */
	struct volume_skip skips[VOLUME_SKIPS_MAX]; /* at or above it, in order */
	unsigned int nskips;
	struct list snaps; /* struct volume_snap, in order of their making */
	char *pr;	   /* persistent reservations, opaque; NULL = none */
};

struct volume_tune { /* 0 = the default */
	unsigned int
	    lost_tries; /* the bucket is not believed that it lost a volume before it said so this often: 5 */
	uint32_t lost_ms;  /* and for so long: 30,000 */
	uint32_t retry_ms; /* after the first error, then doubling: 1,000 */
	uint32_t look_ms;  /* at an irrecoverable volume's bucket, then doubling: 60,000 */
};

struct cw_volume {
	struct list link; /* registry */
	unsigned int refs;
	struct cw_volume_conf conf; /* as it was opened, but for `now` */
	struct {		    /* changed with sched_lock; read without */
		_Atomic bool is_compressed;
		_Atomic uint32_t seal_interval_ms, recovery_keep_s;
		_Atomic uint64_t seal_bytes;
	} now;
	struct cw_volume_env env; /* appliance_id is ours; chaps, nchaps not kept */
	struct volume_tune tune;  /* no member is 0 */
	char *appliance_id;
	uint32_t space_id;
	struct cache *cache;
	struct cache_space *space;
	struct cache_file file;
	_Atomic uint64_t size;
	struct objstore *store;		   /* a door to the store of the day */
	struct vol_remote *_Atomic remote; /* NULL until it was created or opened; set once */

	/* row, locked */
	struct volume_row row;
	bool is_row_changed, is_row_collecting;

	/* what a SYNC need not wait for: changes counted, locked; read without */
	_Atomic uint64_t change_seq, synced_seq;
	uint64_t collect_seq;

	/* requests under way */
	_Atomic unsigned int nio;
	_Atomic bool is_closing, is_irrecoverable, is_detaching, is_retired;
	int image_fd; /* -1 = none */
	uint64_t image_size;
	struct workq *boot_wq; /* requests that may wait for the copier's sake; NULL = none */
	_Atomic bool is_boot;  /* an image is being taken over: writes take turns with the copier */
	pthread_mutex_t range_lock;
	pthread_cond_t quiet;
	bool is_quiet;		     /* range_lock: closing, and the last request has left */
	struct list ranges, waiting; /* struct cw_vio.link: under way; queued in order */
	unsigned int nexclusive;     /* of both lists */

	/* seal.c: one thread */
	pthread_t thread, copier;
	struct {	 /* that thread's: what the bucket says again and again */
		int err; /* 0: nothing such */
		unsigned int tries;
		uint64_t since_ns;
	} doubt;
	bool has_thread, has_copier;
	pthread_mutex_t sched_lock;
	pthread_cond_t sched;
	bool is_kicked, is_stopping, is_retry_now;
	bool is_probed;		/* sched_lock: the store of the day */
	struct list drains;	/* struct volume_drain, sched_lock */
	int64_t dirty_since_ns; /* locked; real time; 0 = nothing is dirty */
	bool is_seal_kicked;	/* locked: seal_bytes was passed and told */
	int last_err;		/* sched_lock: of the last thing asked of the store */
	bool is_damage_told;	/* atomic: the event went out */
	int upkeep_err;		/* sched_lock: what keeps upkeep from its work, and nothing else */
	char reason[200];	/* sched_lock */
	double progress;	/* sched_lock; negative: none */
	bool is_fenced;		/* sched_lock */

	/* target.c */
	pthread_mutex_t target_lock;
	struct cw_chap *chaps;
	size_t nchaps;
	struct list sessions;

	_Atomic uint64_t read_bytes, write_bytes, hit_bytes;
};

struct volume_drain {
	struct list link;
	struct work work;
	uint64_t epoch; /* done when this one is committed */
	void (*done)(void *arg, int err);
	void *arg;
	int err;
};

/* --- volume.c: requests counted in and out ------------------------------------------------------ */
/* volume_enter - false: it closes. Whoever entered may use space and remote. any */
bool volume_enter(struct cw_volume *v);
void volume_leave(struct cw_volume *v);
void volume_event(struct cw_volume *v, const char *type, const char *fmt, ...) CW_PRINTF(3, 4);

/* volume_workq - where requests go that must not run on the submitter's stack. any */
struct workq *volume_workq(struct cw_volume *v);

/* --- volume_row.c ------------------------------------------------------------------------------- */
void volume_row_init(struct volume_row *r);
void volume_row_free(struct volume_row *r);
/* volume_row_load - result: 0, -ENOENT, -EUCLEAN, -EIO. Sets file (needs space), size, row. */
int volume_row_load(struct cw_volume *v);
/* volume_row_exists - is there such a volume here? */
bool volume_row_exists(struct cache *c, const char *id);
/* volume_row_collect - into txn. locked */
void volume_row_collect(struct cw_volume *v, struct index_txn *txn);
/* volume_row_forget - result: 0 or as index_apply() */
int volume_row_forget(struct cache *c, const char *id);
void volume_row_changed(struct cw_volume *v); /* locked */
struct volume_snap *volume_snap_new(const char *id, const char *description);
void volume_snap_free(struct volume_snap *s);

/* --- volume_cache.c: what a volume does for the cache ------------------------------------------- */
extern const struct cache_owner_ops volume_cache_ops;
/* volume_changed - content changed: SYNC has something to do, and a seal will be due. locked */
void volume_changed(struct cw_volume *v);
/* volume_uncopied - must [off, *end) come from the image that is being taken over? *end, in and out. locked */
bool volume_uncopied(const struct cw_volume *v, uint64_t off, uint64_t *end);

/* --- volume_range.c: who may write where at the same time ---------------------------------------- */
#define VIO_EXCLUSIVE 0x100u /* in vio->stage: like ZERO and COMPARE_WRITE */
#define VIO_STAGE 0xffu
/* volume_range_enter - result: true: go on; false: queued, vio->work is submitted when it may. any */
bool volume_range_enter(struct cw_volume *v, struct cw_vio *vio);
void volume_range_leave(struct cw_volume *v, struct cw_vio *vio);

/* --- volume_io.c ----------------------------------------------------------------------------------- */
/* volume_traffic - bytes that clients of all volumes of this process read and wrote, ever. any */
uint64_t volume_traffic(void);
void volume_vio_complete(struct cw_vio *vio, int result);

/* --- volume_boot.c: bring the base here ------------------------------------------------------------ */
/* volume_image_open - the image file. result: 0 or negative errno */
int volume_image_open(struct cw_volume *v);
void volume_image_close(struct cw_volume *v);
/* volume_copy_up - take over the blocks of [off, off+len) that are still in the image. The range is held
 * exclusively. worker; waits for the disk. result: 0, -EIO, -ERR_BACKPRESSURE... */
int volume_copy_up(struct cw_volume *v, uint64_t off, uint64_t len);
/* volume_copier_start - if the volume has something to bring here. Joined by volume_copier_stop(). */
int volume_copier_start(struct cw_volume *v);
void volume_copier_stop(struct cw_volume *v);
void volume_image_fetch(
    struct cw_volume *v, uint64_t off, uint32_t len, void *buf, struct cache_fetch *f);

/* --- volume_seal.c ------------------------------------------------------------------------------------ */
int volume_thread_start(struct cw_volume *v);
void volume_thread_stop(struct cw_volume *v); /* its store must be shut, or it waits for that */
void volume_kick(struct cw_volume *v);	      /* look again what is due. any lock state */
void volume_say(
    struct cw_volume *v, int err, const char *what); /* status.reason; err 0 clears it */
/* volume_barrier - enter a wanted snapshot; is_now: of this very moment, unless a seal is under way: then of
 * the next one. Else of what is committed. locked, lets go of the lock. result: its epoch */
uint64_t volume_barrier(struct cw_volume *v, bool is_now, struct volume_snap *s);
/* volume_next_epoch - the epoch that will hold everything written until now. locked */
uint64_t volume_next_epoch(const struct cw_volume *v);

/* volume_is_stopping - is the thread to end? any */
bool volume_is_stopping(struct cw_volume *v);
/* volume_is_awaited - does somebody wait for an epoch that is not committed? sched_lock and space held */
bool volume_is_awaited(struct cw_volume *v);
/* volume_is_cache_full - dirty data takes so much room that uploading must not wait. any */
bool volume_is_cache_full(const struct cw_volume *v);

/* --- volume_pace.c: an upload beside clients that need the same CPUs and disks -------------------------- */
struct volume_pace {
	struct cw_volume *volume;
	uint64_t bytes, done; /* of the epoch; read for it so far */
	int64_t begin_ns, end_ns;
	uint64_t traffic;   /* when it was looked at last */
	int64_t traffic_ns; /* when it was last seen to grow */
};
/* volume_pace_window_ns - in which an epoch goes up while clients are busy. any */
uint64_t volume_pace_window_ns(const struct cw_volume *v);
/* volume_pace_barrier_ns - the age at which dirty data is sealed, to be in the bucket a whole interval after it was
 * written, at the latest. any */
uint64_t volume_pace_barrier_ns(const struct cw_volume *v);
void volume_pace_begin(struct volume_pace *p, struct cw_volume *v, uint64_t bytes);
/* volume_pace_wait - before len more bytes are read: until it is their turn. volume's thread, no locks */
void volume_pace_wait(struct volume_pace *p, uint32_t len);

/* --- volume_remote.c: create or open the remote image --------------------------------------------------- */
/* volume_remote_conf - strings borrowed from v, but *path, which is malloced. */
void volume_remote_conf(struct cw_volume *v, struct vol_remote_conf *c, char **path);
char *volume_map_path(struct cw_volume *v); /* stem of the local map files; malloced */
/* volume_remote_set - what of `now` is the image's. sched_lock; remote may be NULL */
void volume_remote_set(struct cw_volume *v);
/* volume_remote_open_local - at open, without the store. */
void volume_remote_open_local(struct cw_volume *v);
/* volume_remote_connect - create it, or open it from the bucket, also of a volume that is irrecoverable. volume's
 * thread. result: 0 or negative */
int volume_remote_connect(struct cw_volume *v);

/* --- target.c ------------------------------------------------------------------------------------------------ */
void volume_target_init(struct cw_volume *v, const struct cw_chap *chaps, size_t n);
void volume_target_free(struct cw_volume *v);
void volume_target_changed(struct cw_volume *v);
void volume_target_end_all(struct cw_volume *v);

#endif
