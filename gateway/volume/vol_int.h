/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_int.h - folder-private: what vol_remote_*.c share.  DESIGN.md says how it works together.
 *
 * Locks: `work` lets worker calls take turns and is held over I/O; `lock` is a leaf, for memory only.
 * The image is changed under both (vol_remote_apply: under `lock`, while an uploaded epoch keeps all
 * workers away), so a worker reads it without `lock`, everybody else with it.
 */
#ifndef VOLUME_VOL_INT_H
#define VOLUME_VOL_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "gateway/base/osfile.h"
#include "gateway/volume/vol_json.h"
#include "gateway/volume/vol_remote.h"
#include "gateway/volume/vol_replay.h"

struct vol_tune {		       /* 0 = the default */
	uint32_t object_bytes;	       /* plain bytes of a log object: 8 MiB */
	uint32_t width;		       /* log objects in flight: 8 */
	uint64_t checkpoint_min_bytes; /* of log, or of garbage, between checkpoints: 64 MiB */
	uint32_t checkpoint_ratio;     /* log bytes per checkpoint byte: 20 */
	uint32_t checkpoint_age_s;     /* 3,600 */
	uint32_t waste_percent;	       /* compact when object bytes get more of live bytes: 143 */
	uint64_t waste_min_bytes;      /* and so much could be saved: 64 MiB */
	uint64_t compact_bytes;	       /* moved by one tick: 64 MiB */
	uint32_t renew_ms;	       /* of ownership: 60,000 */
};

struct vol_part {   /* a log object of the epoch that is being uploaded */
	size_t run; /* where its extents begin: run, offset in it */
	uint64_t off;
	struct vol_log log;
	bool is_put;
};

struct vol_pending { /* the epoch behind the committed one */
	struct vol_point at;
	struct vol_part *parts;
	size_t nparts, cap;
	bool is_planned;    /* parts are all that there will be */
	bool is_compressed; /* all of it: a part that is built again is the same bytes (V3) */
	bool is_uploaded;   /* waits for vol_remote_apply */
	struct vol_update *update;
	uint64_t bytes;
};

struct vol_map_name { /* a checkpoint in the bucket */
	uint32_t term;
	uint64_t epoch;
};

struct vol_remote {
	/* fixed */
	char *id, *prefix, *appliance, *stem; /* stem NULL: nothing is kept locally */
	uint8_t key[32];
	struct vol_tune tune;
	struct vol_info info;
	struct objstore *store; /* changed with both locks */
	/* settings; any time, any thread */
	_Atomic bool is_compressed;
	_Atomic uint32_t keep_s;

	pthread_mutex_t work;
	/* with `work` */
	uint32_t term;
	uint64_t next_seq; /* incarnation << 32 | count */
	uint32_t incarnation;
	bool is_incarnation_durable;
	bool is_adopt_due; /* opened from local files: the bucket may hold the next epoch */
	bool is_polite;	   /* takes no ownership from another appliance */
	char owner_etag[OBJSTORE_ETAG_MAX];
	char nonce[33];
	uint64_t owner_checked_ms, owner_renewed_ms;
	bool is_owner_known;	     /* etag and nonce are those of the object */
	struct vol_pending *pending; /* with `lock` as well, from the moment it is uploaded */
	struct vol_log *moved;	     /* uploaded by compaction, to be named by the next commit */
	size_t nmoved;
	uint8_t *is_moving; /* by ordinal: its live part is in them */
	uint32_t nmoving;
	struct vol_log *next; /* the next epoch as the local journal has it */
	size_t nnext;
	struct vol_map_name *maps;
	size_t nmaps;
	bool are_maps_known, are_pins_known, is_sweep_due;
	bool is_pin_damaged; /* one of the manifests: nothing may be deleted */
	uint64_t pins_look_ms;
	uint64_t log_since;   /* bytes of epochs behind the last checkpoint */
	uint64_t epoch_bytes; /* of what clients wrote in the last epoch */
	uint64_t map_bytes, map_epoch;
	int64_t map_time_ns;
	bool is_source_free[VOL_SOURCES_MAX + 1]; /* our pin there was removed */
	uint64_t renewed_objects;		  /* uploaded_objects when ownership was renewed */
	struct osfile *journal;
	uint64_t journal_len;

	pthread_mutex_t lock;
	pthread_cond_t idle;
	/* with `lock` */
	struct vol_image im;
	struct vol_pending *spent; /* applied; freed by the next worker, with the old regions */
	struct vol_pin *pins;
	size_t npins;
	unsigned int fetches[2], fetch_turn; /* by the store they use: it may be replaced */
	bool is_closing;
	bool is_owner;
	char reason[256];
	uint64_t uploaded_bytes, uploaded_objects, moved_bytes, deleted_objects;
};

/* voli_place - where this volume's image lies; source 0 is the volume. result: false: no such source */
bool voli_place(const struct vol_remote *r, uint32_t source, struct vol_place *pl);
/* voli_seq - the next seq; makes the incarnation durable first. result: 0, errors of the local files */
int voli_seq(struct vol_remote *r, uint64_t *seq) CW_MUST_CHECK;
void voli_uploaded(struct vol_remote *r, uint64_t bytes, bool is_moved);
void voli_reason(struct vol_remote *r, const char *fmt, ...) CW_PRINTF(2, 3);
/* voli_is_waiting - an uploaded epoch waits for its apply: workers keep away. With `work` */
bool voli_is_waiting(struct vol_remote *r);
/* voli_done_with - free what the last apply left behind. */
void voli_done_with(struct vol_remote *r);

/* --- ownership (vol_remote_owner.c); all with `work` ----------------------------------------------- */
/* voli_owner_take - with the next term. result: 0, -EBUSY (another one took it at the same moment), -ESTALE
 * (polite, and it is another appliance's), -ERR_CHECKSUM, the store's */
int voli_owner_take(struct vol_remote *r) CW_MUST_CHECK;
/* voli_owner_check - is it still ours, in the bucket, now? result: 0, -ESTALE, the store's */
int voli_owner_check(struct vol_remote *r) CW_MUST_CHECK;
/* voli_owner_renew - when it is due. */
int voli_owner_renew(struct vol_remote *r) CW_MUST_CHECK;
int voli_owner_release(struct vol_remote *r) CW_MUST_CHECK;

/* --- local files (vol_remote_local.c) --------------------------------------------------------------- */
/* voli_local_save - the image and an empty journal. */
int voli_local_save(struct vol_remote *r, const void *ckpt, size_t len) CW_MUST_CHECK;
int voli_local_info(struct vol_remote *r) CW_MUST_CHECK;
int voli_local_start(struct vol_remote *r) CW_MUST_CHECK; /* the incarnation */
int voli_local_epoch(
    struct vol_remote *r, const struct vol_log *const *logs, size_t n) CW_MUST_CHECK;
int voli_local_load(struct vol_remote *r, uint64_t committed_epoch) CW_MUST_CHECK;
void voli_local_close(struct vol_remote *r);

/* --- epochs (vol_remote_put.c) ---------------------------------------------------------------------- */
void voli_pending_free(struct vol_pending *p);
void voli_moved_free(struct vol_remote *r);

/* --- reading (vol_remote_read.c) -------------------------------------------------------------------- */
struct vol_want { /* a piece, the object it lies in, and where its bytes go */
	struct vol_piece piece;
	uint32_t source, term;
	uint64_t seq;
	uint32_t bytes;
	bool is_sealed;
	uint8_t *to;
};
/* voli_want - fill in but for `to`. The image must not change meanwhile */
void voli_want(const struct vol_remote *r, const struct vol_piece *p, struct vol_want *w);
/* voli_read - all of them, verified; wants is sorted. done on any thread, maybe on the caller's stack.
 * wants valid until then */
void voli_read(struct vol_remote *r, struct objstore *store, struct vol_want *wants, size_t n,
    void (*done)(void *arg, int result), void *arg);
/* voli_reader_start - the threads that decode, shared by all volumes; started once. */
void voli_reader_start(void);
int voli_read_wait(struct vol_remote *r, struct vol_want *wants, size_t n) CW_MUST_CHECK;

/* --- checkpoints and garbage (vol_remote_gc.c, vol_remote_compact.c) -------------------------------- */
/* voli_checkpoint - of the committed epoch, in the bucket and locally; checks ownership behind it. */
int voli_checkpoint(struct vol_remote *r) CW_MUST_CHECK;
/* voli_load_maps, voli_load_pins - what the bucket has now. */
int voli_load_maps(struct vol_remote *r) CW_MUST_CHECK;
int voli_load_pins(struct vol_remote *r) CW_MUST_CHECK;
bool voli_is_pinned(const struct vol_remote *r, const struct vol_object *o);
/* voli_collect - delete what nobody needs. *is_more: it stopped early */
int voli_collect(struct vol_remote *r, bool *is_more) CW_MUST_CHECK;
bool voli_compact_due(const struct vol_remote *r);
int voli_compact(struct vol_remote *r) CW_MUST_CHECK;
uint64_t voli_floor(const struct vol_remote *r);

/* --- life (vol_remote.c) ----------------------------------------------------------------------------- */
/* voli_reap - take what is left of a volume that was deleted, if nothing needs it any more; after a pin of it
 * was given up. Errors are logged. ctx: worker */
void voli_reap(const struct vol_remote *r, const char *prefix, const char *id);
struct vol_remote *voli_new(const struct vol_remote_conf *c);
void voli_free(struct vol_remote *r);
/* voli_open_bucket - c NULL: the key does not matter */
int voli_open_bucket(
    struct vol_remote *r, const struct vol_remote_conf *c, struct vol_err *e) CW_MUST_CHECK;
int voli_check_key(const struct vol_remote_conf *c, const struct vol_info *info, struct vol_err *e);

#endif
