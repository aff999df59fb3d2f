/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.h - a block volume: its settings, its blocks, its snapshots.
 *
 * A volume is one cache space with one cache_file in it.  Block front ends (SCSI) fill a struct cw_vio
 * and submit it; they know bytes, never chunks, epochs or objects.  What the bucket holds of it is a
 * log-structured image (volume/FORMAT.md); how it follows the local blocks is volume/DESIGN.md.
 *
 * Threads: "any" means any thread, no lock of the caller's held over a wait.
 */
#ifndef GATEWAY_VOLUME_H
#define GATEWAY_VOLUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/cache.h"
#include "gateway/base/err.h"
#include "gateway/base/loop.h"
#include "gateway/base/workq.h"
#include "s3/objstore.h"

#define CW_VOLUME_ID_MAX 24   /* "vol-" and 8 or 17 hex digits, and NUL */
#define CW_SNAPSHOT_ID_MAX 24 /* "snap-" ... */
#define CW_VOLUME_SIZE_MIN (1ull << 30)
#define CW_VOLUME_CACHED_MAX (32ull << 40)
#define CW_VOLUME_STORED_MAX (16ull << 40)
#define CW_VIO_LEN_MAX (16u << 20) /* READ, WRITE, COMPARE_WRITE: bytes of one request */

struct cw_volume;

enum cw_volume_mode { CW_VOLUME_CACHED, CW_VOLUME_STORED };

struct cw_volume_conf { /* strings owned by the struct */
	char id[CW_VOLUME_ID_MAX];
	char *target_name;    /* what follows the naming authority in the IQN */
	char *iqn;	      /* the whole name */
	char *listen_address; /* NetworkInterfaceId; NULL or "" = every address that is served */
	enum cw_volume_mode mode;
	uint64_t size_bytes;  /* a multiple of 4,096 */
	uint32_t block_bytes; /* logical block: 512 or 4,096 */
	bool is_read_only;
	char *data_dir;	 /* STORED: where its data file lies; NULL = a cache directory */
	char *bucket;	 /* of its remote image */
	char *prefix;	 /* "" or ends in '/'; all keys are <prefix><id>/... */
	char *key_id;	 /* NULL = not encrypted; else a name in the configuration's keys */
	uint8_t key[32]; /* AES-256, when key_id */
	bool is_compressed;
	uint32_t seal_interval_ms; /* a barrier at least so often while dirty; 0 = 15,000 */
	uint64_t seal_bytes;	   /* or when so much is dirty; 0 = 256 MiB */
	uint32_t recovery_keep_s;  /* recovery points of so long are kept; 0 = 86,400 */
};

void cw_volume_conf_init(struct cw_volume_conf *c);
void cw_volume_conf_free(struct cw_volume_conf *c);
int cw_volume_conf_copy(struct cw_volume_conf *to, const struct cw_volume_conf *from);
int cw_volume_conf_check(const struct cw_volume_conf *c, char *err_text, size_t err_cap);

struct cw_chap { /* who may log in, see target.c below; strings owned by whoever holds the struct */
	char initiator[224];
	char secret_initiator[128]; /* authenticates the initiator to us */
	char secret_target[128];    /* "" = one-way */
};

struct volume_tune; /* volume/volume_int.h; tests */

struct cw_volume_env { /* what a volume lives in; wired by the control plane */
	struct cache *cache;
	struct objstore *store; /* of conf.bucket; owned by the volume from cw_volume_open on */
	const char *appliance_id;
	const struct cw_chap *chaps; /* copied; in force from the first moment */
	size_t nchaps;
	void (*event)(void *arg, struct cw_volume *v, const char *type, const char *json);
	void *event_arg;
	const struct volume_tune *tune; /* copied; NULL = the defaults */
};

/* Where a new volume's content comes from. */
enum cw_volume_source {
	CW_SOURCE_EMPTY,
	CW_SOURCE_SNAPSHOT,
	CW_SOURCE_VOLUME,
	CW_SOURCE_IMAGE,
	CW_SOURCE_BUCKET
};
struct cw_volume_origin {
	enum cw_volume_source source;
	const char *volume_id;	 /* SNAPSHOT, VOLUME: whose image; BUCKET: its own */
	const char *prefix;	 /* of that volume */
	const char *snapshot_id; /* SNAPSHOT */
	int64_t time_ns;	 /* VOLUME: newest recovery point not after this; 0 = the latest */
	const char *image_path;	 /* IMAGE (STORED, PreservedExistingData): raw image to take over */
};

/* cw_volume_create - make the local rows of a volume that does not exist here yet, then open it.
 * result: as cw_volume_open; -EEXIST */
int cw_volume_create(uint32_t space_id, const struct cw_volume_conf *conf,
    const struct cw_volume_env *env, const struct cw_volume_origin *origin, struct cw_volume **out,
    char *err_text, size_t err_cap) CW_MUST_CHECK;
/* cw_volume_open - load its rows, resume its duties. Serves at once; an unreachable bucket is no error.
 * args: conf copied; env copied, env->store taken (also on error). ctx: control thread */
int cw_volume_open(uint32_t space_id, const struct cw_volume_conf *conf,
    const struct cw_volume_env *env, struct cw_volume **out, char *err_text,
    size_t err_cap) CW_MUST_CHECK;
/* cw_volume_close - no new I/O, wait for what is under way, commit. Nothing is lost. control thread */
void cw_volume_close(struct cw_volume *v);
/* cw_volume_destroy - close, forget all local state. The bucket is left as it is. control thread */
void cw_volume_destroy(struct cw_volume *v);

/* A volume in its bucket, not open here. All borrowed. */
struct cw_volume_place {
	const char *id, *prefix, *appliance_id;
	struct objstore *store;
};
/* cw_volume_destroy_remote - delete its objects, those that no snapshot or clone needs. Idempotent.
 * result: 0; -ESTALE: another appliance has it, nothing was touched; -ERR_CHECKSUM: whose it is cannot be read, the
 *         same; the store's errors: not done, or not all. ctx: worker */
int cw_volume_destroy_remote(const struct cw_volume_place *p) CW_MUST_CHECK;
/* cw_snapshot_destroy_remote - delete a snapshot, and with the last one of a deleted volume what is left of
 * that. result: 0 (also: it is not there), the store's errors. ctx: worker */
int cw_snapshot_destroy_remote(
    const struct cw_volume_place *p, const char *snapshot_id) CW_MUST_CHECK;
/* cw_volume_detach - upload everything, give up ownership in the bucket, forget local state (DetachVolume).
 * is_forced: do not wait for the upload. result: 0, -ERR_OFFLINE... ; then the volume is closed only on 0 */
int cw_volume_detach(struct cw_volume *v, bool is_forced);
/* cw_volume_resize - grow online; sessions get CAPACITY DATA HAS CHANGED. result: 0, -EINVAL (smaller, limits) */
int cw_volume_resize(struct cw_volume *v, uint64_t size_bytes);
/* cw_volume_change - take over from conf, at once, what may change while the volume is open: is_compressed,
 * seal_interval_ms, seal_bytes, recovery_keep_s (0 as in struct cw_volume_conf). An epoch under way ends as it began. any */
void cw_volume_change(struct cw_volume *v, const struct cw_volume_conf *conf);
void cw_volume_replace_store(struct cw_volume *v, struct objstore *store);

const char *cw_volume_id(const struct cw_volume *v);
const struct cw_volume_conf *cw_volume_conf(
    const struct cw_volume *v); /* as it was opened; valid while a ref is held */
uint64_t cw_volume_size(const struct cw_volume *v); /* any */

/* cw_volume_by_iqn, by_id - counted reference: put it back. NULL if there is none. any */
struct cw_volume *cw_volume_by_iqn(const char *iqn); /* not if it is retired */
struct cw_volume *cw_volume_by_id(const char *id);
void cw_volume_get(struct cw_volume *v);
void cw_volume_put(struct cw_volume *v);
/* cw_volume_each - all that are targets: open and not retired. any */
void cw_volume_each(void (*fn)(void *arg, struct cw_volume *v), void *arg);

/* --- I/O ---------------------------------------------------------------------------------------- */
enum cw_vio_op {
	CW_VIO_READ,  /* off, len -> buf */
	CW_VIO_WRITE, /* off, len, buf, is_fua */
	CW_VIO_SYNC,  /* everything completed before is durable on disk */
	CW_VIO_ZERO, /* off, len (up to the volume's size): reads as zeros; frees what it can; is_fua */
	CW_VIO_COMPARE_WRITE, /* buf holds len bytes to compare and then len bytes to write: atomic against
			       * every other WRITE, ZERO and COMPARE_WRITE of the range */
};

/* Completed exactly once: cw_volume_submit() returns true (complete, done() is not called) or done() runs
 * later on vio->loop. off and len: multiples of 512 (the volume merges partial 4 KiB blocks). */
struct cw_vio {
	enum cw_vio_op op;
	struct cw_volume *volume;
	uint64_t off, len;
	void *buf;	   /* valid until completion */
	bool is_fua;	   /* durable before completion */
	struct loop *loop; /* where done() runs, and the submitter's own: its stack must not block.
			    * NULL = any thread, and blocking on disk is allowed */
	void (*done)(struct cw_vio *vio);
	void *ctx;
	/* READ with a loop, may be NULL: as cw_io.send: all of it as memory, to send from. Only inside submit. */
	uint32_t (*send)(struct cw_vio *vio, struct iovec *iov, unsigned int n);
	int result; /* 0, -EIO, -ENOSPC, -EINVAL (range), -EROFS, -ERR_BACKPRESSURE / -ERR_OFFLINE (ask again:
			 * SCSI BUSY), -ECANCELED (closing), -EILSEQ (COMPARE_WRITE: miscompare) */
	uint64_t miscompare_off; /* -EILSEQ: first differing byte, from off */
	/* private */
	struct cw_io io;
	struct cache_waiter waiter;
	struct loop_task task;
	struct work work;
	struct list link;
	unsigned int stage;
};
bool cw_volume_submit(struct cw_vio *vio);
/* cw_volume_call - submit and wait; threads that may block. */
int cw_volume_call(struct cw_vio *vio);

/* cw_volume_provisioned - is [off, *end) mapped (holds data here or in the bucket)? *end: how far the answer
 * holds, at most off + len. For GET LBA STATUS. any; memory only */
bool cw_volume_provisioned(struct cw_volume *v, uint64_t off, uint64_t len, uint64_t *end);

/* --- status, recovery points, snapshots (volume/...) ------------------------------------------- */
struct cw_volume_status {
	const char *
	    state; /* AWS VolumeStatus: CREATING AVAILABLE RESTORING BOOTSTRAPPING IRRECOVERABLE ... */
	double progress; /* 0..1 while RESTORING or BOOTSTRAPPING; negative = none */
	bool is_store_reachable, is_owner;
	char reason[256];		 /* why it is not as it should be; "" */
	uint64_t size_bytes, used_bytes; /* used: provisioned */
	uint64_t dirty_bytes, local_bytes;
	int64_t oldest_dirty_ns, recovery_point_ns; /* real time; 0 = none */
	uint64_t epoch, uploaded_bytes, uploaded_objects, remote_bytes, remote_live_bytes;
	uint64_t read_bytes, write_bytes, hit_bytes;
};
void cw_volume_get_status(struct cw_volume *v, struct cw_volume_status *out);
/* cw_volume_drain - seal and upload now. done(arg, err) on a worker once all written before is in the bucket; may be NULL */
void cw_volume_drain(struct cw_volume *v, void (*done)(void *arg, int err), void *arg);

enum cw_snapshot_state { CW_SNAPSHOT_PENDING, CW_SNAPSHOT_COMPLETED, CW_SNAPSHOT_ERROR };
struct cw_snapshot_info {
	char id[CW_SNAPSHOT_ID_MAX], volume_id[CW_VOLUME_ID_MAX];
	uint64_t size_bytes, epoch;
	int64_t time_ns;
	enum cw_snapshot_state state;
	const char *description; /* borrowed during the call */
};
/* cw_snapshot_create - a snapshot of everything completed before this call (is_now), or of the newest
 * recovery point that is in the bucket already, which a clone has from its making on. Pending until its
 * manifest is there; survives restarts. id: chosen by the caller, unique. result: 0, -EEXIST, -ENOENT (no recovery point), -EIO */
int cw_snapshot_create(
    struct cw_volume *v, const char *id, const char *description, bool is_now) CW_MUST_CHECK;
/* cw_snapshot_delete - its manifest goes; objects that nobody needs any more follow. result: 0, -ENOENT */
int cw_snapshot_delete(struct cw_volume *v, const char *id) CW_MUST_CHECK;
/* cw_snapshot_each - oldest first; on a copy. */
void cw_snapshot_each(
    struct cw_volume *v, void (*fn)(void *arg, const struct cw_snapshot_info *s), void *arg);
/* cw_snapshot_is_due - is one wanted, or to be deleted, and that is not done in the bucket yet? Whoever destroys the
 * volume would forget it. any */
bool cw_snapshot_is_due(struct cw_volume *v);
/* cw_volume_each_recovery_point - committed epochs that can be restored, newest first, at most max. */
void cw_volume_each_recovery_point(struct cw_volume *v, unsigned int max,
    void (*fn)(void *arg, uint64_t epoch, int64_t time_ns), void *arg);

/* --- who may log in, who is logged in (target.c) ------------------------------------------------- */
/* cw_target_needs_chap - has the volume credentials for anybody? Then nobody else gets in. any */
bool cw_target_needs_chap(struct cw_volume *v);
/* cw_target_chap - credentials of this initiator. result: 0, -ENOENT. any */
int cw_target_chap(struct cw_volume *v, const char *initiator, struct cw_chap *out);
/* cw_target_set_chap - replace (secret_initiator "" deletes); logs out the sessions of that initiator. Durable
 * rows are the control plane's. */
void cw_target_set_chap(struct cw_volume *v, const struct cw_chap *c);
/* A logged-in session, registered by the transport. */
struct cw_target_session {
	struct list link;
	const char *initiator; /* iqn; owned by the transport */
	char peer[64];
	/* end - log the session out (asynchronous logout request, then close). any thread, must not block */
	void (*end)(struct cw_target_session *s);
	/* changed - capacity or mode changed: raise the unit attention. any thread, must not block */
	void (*changed)(struct cw_target_session *s);
};
/* cw_target_retire - nobody finds it as a target from now on (cw_volume_by_iqn, cw_volume_each); sessions end.
 * It goes on uploading and can be read, for a deletion that has to wait. Until it is closed. any */
void cw_target_retire(struct cw_volume *v);
/* cw_target_session_add - result: 0, -ESHUTDOWN when the volume is closing, or retired */
int cw_target_session_add(struct cw_volume *v, struct cw_target_session *s);
void cw_target_session_del(struct cw_volume *v, struct cw_target_session *s);
void cw_target_each_session(
    struct cw_volume *v, void (*fn)(void *arg, const struct cw_target_session *s), void *arg);
/* cw_target_pr_load, _save - persistent reservations that survive power loss (APTPL): opaque text of the SCSI
 * layer, durable when save returns 0. load: malloced or NULL. worker or any thread that may block */
char *cw_target_pr_load(struct cw_volume *v);
int cw_target_pr_save(struct cw_volume *v, const char *text) CW_MUST_CHECK;

#endif
