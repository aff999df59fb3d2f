/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote.h - the remote image of one volume: a log-structured image in a bucket (FORMAT.md), how
 * it is kept and recovered (DESIGN.md).
 *
 * The image moves from epoch to epoch.  An epoch is uploaded by vol_remote_put_epoch() and becomes the
 * one that is read by vol_remote_apply().  Offsets and lengths are bytes, multiples of 4,096.
 *
 * Threads.  worker: a thread that may wait for the store; put_epoch, tick, snapshot_create,
 * snapshot_delete and release may be called from several, they take turns inside.  Between a
 * put_epoch that returned 0 and its apply, tick does nothing and the others return -EBUSY.
 * any: memory only, under a leaf lock that is never held over I/O.
 *
 * Errors of the store (-ERR_OFFLINE, -ERR_THROTTLED, -ERR_CREDENTIALS, -EACCES, -ERR_STORE, ...) come back as
 * they are; whatever returned one may be called again.  -ERR_CHECKSUM: something in the bucket is not
 * what was written; the log names it.  -ESTALE: another owner has the volume.
 */
#ifndef VOLUME_VOL_REMOTE_H
#define VOLUME_VOL_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"
#include "gateway/volume.h"
#include "s3/objstore.h"

#define VOL_BLOCK 4096u

struct vol_remote;
struct vol_tune; /* vol_int.h; tests */

struct vol_remote_conf { /* copied, but for the store */
	const char *volume_id, *prefix, *appliance_id;
	uint64_t size_bytes;
	uint32_t block_bytes; /* logical block, for volume.json only */
	bool is_compressed, has_key;
	uint8_t key[32];
	const char *local_path;	     /* stem of the local map files: <stem>, <stem>.log, ... */
	uint32_t recovery_keep_s;    /* 0 = no recovery points but the newest */
	struct objstore *store;	     /* borrowed */
	const struct vol_tune *tune; /* NULL = the defaults */
	/* open_bucket: */
	bool is_epoch_known; /* the image must be of one of these two, or it is not opened */
	uint64_t epoch, sealed_epoch; /* 0: no such */
	bool is_doubted;	      /* the bucket was wrong before: look at the image first */
};

/* --- life ---------------------------------------------------------------------------------------- */
/* vol_remote_create - volume.json, owner, first checkpoint (empty, or the image of the origin), epoch 0.
 * Called again after an error or a crash it continues.
 * args:   origin NULL, or source EMPTY and IMAGE = an empty image; SNAPSHOT and VOLUME = a clone, which
 *         must have the same key as its source (a smaller size, or 0, becomes the source's); BUCKET is
 *         -EINVAL (open_bucket)
 * result: 0, -EEXIST (a volume of this id with a history is there), -ENOENT (no such source, snapshot or
 *         recovery point), -EKEYREJECTED (another key than the source's), -EINVAL, the store's errors
 * ctx:    worker */
int vol_remote_create(const struct vol_remote_conf *c, const struct cw_volume_origin *origin,
    struct vol_remote **out, char *err_text, size_t err_cap) CW_MUST_CHECK;

/* vol_remote_open_local - from the local map files; no store access.
 * args:   committed_epoch what the durable index row says
 * result: 0; -ENOENT (no local files), -EUCLEAN (damaged, or older than committed_epoch): open_bucket
 *         is the way on; -EKEYREJECTED (wrong key). vol_remote_epoch() may be committed_epoch + 1: it was
 *         applied, but its row was not durable; put_epoch of it is 0 at once, then apply as ever */
int vol_remote_open_local(const struct vol_remote_conf *c, uint64_t committed_epoch,
    struct vol_remote **out) CW_MUST_CHECK;

/* vol_remote_open_bucket - take ownership (term + 1), rebuild the map, write a checkpoint and the
 * local files. vol_remote_epoch() is then the committed epoch found, vol_remote_size() its size.
 * With an epoch that is known, or doubts, the image is looked at before: unless it is good, the bucket and whoever owns
 * the volume there are left as they are.
 * result: 0, -ENOENT (no such volume), -EKEYREJECTED (wrong key), -ERR_CHECKSUM (damaged: err_text names
 *         the object), -EUCLEAN (another epoch than the known ones), -EBUSY (another one took it at the same
 *         moment), the store's errors
 * ctx:    worker */
int vol_remote_open_bucket(const struct vol_remote_conf *c, struct vol_remote **out, char *err_text,
    size_t err_cap) CW_MUST_CHECK;

/* vol_remote_close - waits for fetches under way; keeps ownership and the local files. control thread,
 * with no other call under way */
void vol_remote_close(struct vol_remote *r);

/* vol_remote_forget_local - remove the local map files of a volume that is closed. any thread that may
 * use the disk */
void vol_remote_forget_local(const char *local_path);

/* vol_remote_replace_store - use this one from now on; waits for fetches under way. control thread, with
 * no worker's call under way */
void vol_remote_replace_store(struct vol_remote *r, struct objstore *store);

/* vol_remote_set - these settings are others from now on. An epoch that was begun ends as it began; what a longer
 * recovery_keep_s came too late for stays gone. any */
void vol_remote_set(struct vol_remote *r, bool is_compressed, uint32_t recovery_keep_s);

/* vol_remote_release - give up ownership in the bucket (DetachVolume): the owner object names nobody, a
 * checkpoint at the committed epoch is there. Afterwards put_epoch is -ESTALE.
 * result: 0, -EBUSY, -ESTALE, the store's errors. ctx: worker */
int vol_remote_release(struct vol_remote *r) CW_MUST_CHECK;

/* vol_remote_destroy - delete what the bucket holds of a volume that is closed, but for what its
 * snapshots and clones need; those keep it readable. The next call, once they are gone, takes the rest; the
 * end of a clone is such a call for its sources. Takes ownership, but not from another appliance. Idempotent.
 * args:   c volume_id, prefix, appliance_id, store
 * result: 0 (also: nothing is there), 1 (snapshots or clones keep a part), -ESTALE (another appliance's:
 *         nothing is touched), -ERR_CHECKSUM (the owner object is damaged: the same), the store's errors
 * ctx:    worker */
int vol_remote_destroy(const struct vol_remote_conf *c) CW_MUST_CHECK;
/* vol_remote_snapshot_drop - delete a snapshot of a volume that is not open here, whoever has it; its owner
 * notices. Of a volume that was deleted the rest goes as well, when nothing else needs it. Idempotent.
 * args:   c as for vol_remote_destroy
 * result: 0 (also: it is not there), -ENOENT (no such ids), the store's errors. ctx: worker */
int vol_remote_snapshot_drop(const struct vol_remote_conf *c, const char *id) CW_MUST_CHECK;

/* Who owns a volume, for the one who asks before he attaches it. */
struct vol_remote_owner {
	char appliance_id[64]; /* "" = nobody */
	uint32_t term;
	int64_t time_ns; /* taken or renewed */
};
/* vol_remote_read_owner - result: 0, -ENOENT (no such volume), the store's errors. ctx: worker */
int vol_remote_read_owner(
    const struct vol_remote_conf *c, struct vol_remote_owner *out) CW_MUST_CHECK;

/* --- the committed image ------------------------------------------------------------------------- */
uint64_t vol_remote_epoch(const struct vol_remote *r); /* any */
uint64_t vol_remote_size(const struct vol_remote *r);  /* image size at that epoch; any */

/* vol_remote_hole - is the image unmapped at off?
 * args:   *end in: how far to look (> off); out: how far the answer, yes or no, holds
 * ctx:    any */
bool vol_remote_hole(struct vol_remote *r, uint64_t off, uint64_t *end);
/* vol_remote_mapped_bytes - how much of the image is mapped. any */
uint64_t vol_remote_mapped_bytes(const struct vol_remote *r);

/* vol_remote_fetch - [off, off + len) of the committed image, every byte verified; holes are zeros.
 * args:   buf valid until done; done exactly once, on any thread, maybe on the caller's stack (nothing
 *         but holes); must not block
 * result: to done: 0, -ERR_CHECKSUM (damaged), -EIO (an object is gone), the store's errors,
 *         -ECANCELED
 * ctx:    any */
void vol_remote_fetch(struct vol_remote *r, uint64_t off, uint32_t len, void *buf,
    void (*done)(void *arg, int result), void *arg);

/* --- epochs -------------------------------------------------------------------------------------- */
struct vol_run {
	uint64_t off, len;
	bool is_zero;
};
/* vol_remote_put_epoch - upload the sealed runs. What was uploaded before a restart is found and adopted.
 * args:   epoch vol_remote_epoch() + 1; size_bytes the image's from this epoch on, never smaller than
 *         before; time_ns of the seal, the same in every call for this epoch, as are the runs: ascending,
 *         disjoint, below size_bytes; read gives bytes of the sealed moment, at most 64 KiB a call, on
 *         the calling thread; result 0 or negative errno
 * result: 0: in the bucket, still ours, and the header journal is locally durable: apply() is next;
 *         -ESTALE: not the owner any more, nothing of this epoch counts; -EINVAL; read's errors;
 *         -EIO and -ENOSPC of the local files; the store's errors. Call again after any but -ESTALE.
 *         An epoch that was applied already (same number and time): 0 at once
 * ctx:    worker */
int vol_remote_put_epoch(struct vol_remote *r, uint64_t epoch, uint64_t size_bytes, int64_t time_ns,
    const struct vol_run *runs, size_t nruns,
    int (*read)(void *arg, uint64_t off, uint32_t len, void *buf), void *arg) CW_MUST_CHECK;
/* vol_remote_apply - the map of that epoch is current. Called in the section that does cache_seal_done,
 * the space locked. Short (regions were prepared by put_epoch), memory only. */
void vol_remote_apply(struct vol_remote *r, uint64_t epoch);

/* vol_remote_tick - renew ownership, checkpoint, compact, delete: what is due, a bounded piece of it.
 * args:   *next_ms when to call again (0 = at once, more is due)
 * result: 0, -ESTALE, the store's errors: try again at next_ms
 * ctx:    worker; called every few seconds, and after each epoch */
int vol_remote_tick(struct vol_remote *r, uint64_t *next_ms);

/* --- snapshots, recovery points ------------------------------------------------------------------ */
struct vol_snapshot {
	const char *id, *description; /* borrowed during the call */
	uint64_t epoch, size_bytes;
	int64_t time_ns;
	bool is_clone; /* not a snapshot: a clone of this id holds that epoch */
};
/* vol_remote_snapshot_create - of the committed epoch: a checkpoint of it, then the manifest. Idempotent.
 * args:   time_ns when it was asked for; description may be NULL
 * result: 0 (also: it is there, of that time_ns or epoch), -EEXIST (the id is taken), -EINVAL (bad id), -EBUSY, -ESTALE, the store's errors
 * ctx:    worker */
int vol_remote_snapshot_create(
    struct vol_remote *r, const char *id, const char *description, int64_t time_ns) CW_MUST_CHECK;
/* vol_remote_snapshot_delete - the manifest goes now, objects with the ticks that follow.
 * result: 0, -ENOENT, -EBUSY, -ESTALE, the store's errors. ctx: worker */
int vol_remote_snapshot_delete(struct vol_remote *r, const char *id) CW_MUST_CHECK;
/* vol_remote_snapshot_each - snapshots and clones, oldest epoch first, as of the last look at the bucket;
 * the first tick looks. fn must not call back. any */
void vol_remote_snapshot_each(
    struct vol_remote *r, void (*fn)(void *arg, const struct vol_snapshot *s), void *arg);
/* vol_remote_point_each - committed epochs that can be restored, newest first, at most max. fn must not
 * call back. any */
void vol_remote_point_each(struct vol_remote *r, size_t max,
    void (*fn)(void *arg, uint64_t epoch, int64_t time_ns, uint64_t size_bytes), void *arg);

/* --- status -------------------------------------------------------------------------------------- */
struct vol_remote_stats {
	uint64_t epoch, term;
	int64_t point_ns;	     /* time of the committed epoch's seal; 0 = none yet */
	uint64_t extents, map_bytes; /* in memory */
	uint64_t objects, bytes;     /* log objects of ours in the bucket, known */
	uint64_t live_bytes;	     /* of them, what the committed image refers to */
	uint64_t mapped_bytes;	     /* of the image */
	uint64_t uploaded_bytes,
	    uploaded_objects; /* of this process: all PUTs of log objects and maps */
	uint64_t moved_bytes; /* of these, by compaction */
	uint64_t deleted_objects;
	uint64_t checkpoint_epoch;
	bool is_owner;
	bool is_takeover_unsafe; /* the store has no conditional PUT */
	char reason[256];	 /* why it is not the owner, or what is damaged; "" */
};
void vol_remote_get_stats(struct vol_remote *r, struct vol_remote_stats *out); /* any */

#endif
