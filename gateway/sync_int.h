/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_int.h - folder-private: the reconciler's own state.  SYNC.md has the rules and the reasons.
 *
 * Threads: one scheduler loop for the process decides what starts; jobs run as straight-line code on
 * a pool of threads of their own, so that waiting for the bucket costs a thread of ours and nothing
 * of anybody else's.  Everything in struct sync is guarded by the share's lock unless it says else.
 */
#ifndef GATEWAY_SYNC_INT_H
#define GATEWAY_SYNC_INT_H

#include <pthread.h>

#include "gateway/base/metrics.h"
#include "gateway/base/workq.h"
#include "gateway/meta_map.h"
#include "gateway/node.h"

#define SYNC_TRIES 3 /* of the store, below ours */
#define SYNC_JOBS_MIN 2
#define SYNC_JOBS_START 16
#define SYNC_JOBS_MAX 64
#define SYNC_BODY_MAX (128u << 20) /* memory for bodies, whole process */
#define SYNC_BODY_KEEP_MIN (1u << 20)
#define SYNC_SMALL_MAX (16u << 20) /* one PUT up to here */
#define SYNC_PART_MIN (8u << 20)
#define SYNC_PART_SMALL (5u << 20) /* over a base object: less is sent for a scattered change */
#define SYNC_PARTS_MAX 10000u
#define SYNC_COPY_MAX (5ull << 30)
#define SYNC_COPY_PART (512ull << 20)
#define SYNC_LISTS 16
#define SYNC_HEADS 48
#define SYNC_WHEEL 64 /* seconds; no back-off is longer */
#define SYNC_TMP_NAME ".causeway-tmp"
#define SYNC_PROBE_NAME ".causeway-probe-"

/* --- keymap.c: string -> pointer; keys are borrowed from the values ----------------------------- */
struct keymap_entry;
struct keymap {
	struct keymap_entry **buckets;
	size_t nbuckets, n;
	uint64_t seed; /* random, set with the first key */
};
void *keymap_get(const struct keymap *m, const char *key);
/* keymap_put - key must not be in m. */
void keymap_put(struct keymap *m, const char *key, void *value);
/* keymap_del - result: the value that was there, or NULL */
void *keymap_del(struct keymap *m, const char *key);
void keymap_each(struct keymap *m, void (*fn)(void *arg, void *value), void *arg);
/* keymap_clear - free_value may be NULL. */
void keymap_clear(struct keymap *m, void (*free_value)(void *value));

/* A set of inode numbers. */
struct inoset {
	uint64_t *slots;
	size_t cap, n;
};
void inoset_add(struct inoset *set, uint64_t ino);
bool inoset_has(const struct inoset *set, uint64_t ino);
void inoset_free(struct inoset *set);

/* --- the process-wide part ---------------------------------------------------------------------- */
struct sync_core {
	unsigned int refs;
	struct loop *loop;
	struct workq *jobs;  /* uploads, copies, deletes */
	struct workq *lists; /* what clients wait for, and walks: never behind uploads */
	pthread_mutex_t body_mutex;
	pthread_cond_t body_freed;
	size_t body_used;
	struct kept_body *kept; /* memory of parts, for the next ones; none when nothing is used */
	uint64_t boot;		/* random; part of the mark on our own uploads */
};

/* body memory; blocks until there is room. Never more than SYNC_BODY_MAX at a time. jobs threads */
void *sync_body_get(struct sync_core *core, size_t len);
void sync_body_put(struct sync_core *core, void *body, size_t len);
/* _try - NULL instead of waiting. */
void *sync_body_try(struct sync_core *core, size_t len);

struct keylock { /* requests on one key under way, and who waits for it */
	char *key;
	bool is_held;
	struct list waiters; /* node.sync_link */
};

struct moved { /* a renamed directory whose subtree is still to be walked */
	struct list link;
	uint64_t ino, due_ms;
	char
	    *old_prefix; /* where its names were in the bucket; NULL = not known, may be anywhere */
};

struct notice { /* "upload" event that waits for the settling time of the notification policy */
	struct list link;
	uint64_t ino, due_ms;
	uint64_t data_seq;
};

/* sync_age.c: duties by the second in which they began */
struct duty_ages {
	struct {
		int64_t second; /* real time */
		uint64_t count;
	} * v; /* sorted */
	size_t n, cap, nempty;
	uint64_t total;
};

struct barrier;

/* The unfinished business of one node; n->job. Lives while a job runs, fails or has a seal. */
struct sync_job {
	struct sync *y;
	struct cw_share *s;
	struct node *n;
	struct work work;
	struct list running_link;
	bool replan; /* another job is needed for it, with other keys; nothing to wait for */
	bool is_running, again, told_failure;
	unsigned int tries, rounds;
	uint64_t not_before_ms;
	int last_error;
	const char *what;
	uint64_t total_bytes, done_bytes; /* done: atomic */
	/* keys held while it runs */
	char *key, *old_key;
	/* the sealed moment being uploaded */
	bool has_seal;
	bool seal_is_durable;
	uint64_t seal_seq;
	/* what the next write of key expects to find there, when the bucket told us better than we knew */
	bool has_expect;
	char expect[OBJSTORE_ETAG_MAX]; /* "" = nothing */
	bool park_in_tmp;		/* break a cycle: copy the object to its temporary key */
	bool no_part_copy; /* the base is not what the clean blocks came from: read, do not copy */
	bool has_mpu_attr_seq; /* attributes that the multipart upload was begun with */
	uint64_t mpu_attr_seq;
	bool has_early_mark; /* its mark says early_mark in place of seal_seq */
	uint64_t early_mark;
	struct list
	    unsure_link; /* y->unsure: a write to unsure_key failed, and yet may have happened */
	char *unsure_key;
	const char *copy_from, *copy_etag; /* while mpu_copy() runs */
};

struct sync {
	struct cw_share *s;
	struct sync_core *core;
	struct loop_task kick_task, stop_task;
	struct loop_timer timer;
	bool kick_posted, closing, stopped;
	uint64_t wake_at_ms; /* what the timer is armed for; UINT64_MAX = nothing */

	struct list settling, soon, sooner, ready, after_walk; /* node.sync_link */
	struct list wheel[SYNC_WHEEL]; /* failing nodes by second of not_before_ms */
	uint64_t wheel_at_s;
	unsigned int nwheel;

	struct duty_ages ages;
	struct list running; /* sync_job.running_link */
	struct list unsure;  /* sync_job.unsure_link */
	uint64_t nunsure;    /* nodes with NODE_UNSURE */
	unsigned int njobs, limit;
	unsigned int credit;	 /* successes since the limit was last raised */
	uint64_t slowed_ms;	 /* when it was last lowered */
	unsigned int nsick;	 /* failures that speak of a sick store since the last success */
	uint64_t pause_until_ms; /* no job starts before */
	struct keymap locks;	 /* struct keylock */
	struct keymap displaced; /* remote.key -> node that is to leave it */
	struct keymap tombs;	 /* struct tomb by key */
	struct keymap held; /* key of a tombstone -> removed node that may yet read the object */
	struct list tomb_queue;	   /* tomb.link, by not_before_ms (about) */
	struct list tomb_rows;	   /* struct tomb_row: changes for the next commit */
	struct list tomb_rows_out; /* ... in the commit under way */
	bool tombs_running, sweeping;
	bool has_no_part_copy; /* the store does not know UploadPartCopy */
	struct list moved;     /* struct moved */
	bool walking;
	uint64_t walk_not_before_ms;
	unsigned int walk_tries;
	unsigned int nlisting;
	struct inoset
	    relist; /* directories to be listed again when no rename or deletion is left */
	struct keymap
	    recent; /* keys written or deleted while a LIST runs: its answer is old news */

	bool unavailable, probing;
	char reason[256];
	uint64_t probe_at_ms;
	unsigned int probe_tries;
	pthread_mutex_t probe_mutex;
	struct objstore *probed_store; /* under probe_mutex */

	struct list notices; /* by due_ms */
	struct list barriers;
	unsigned int nrefresh;

	struct list head_queue; /* struct head_want */
	unsigned int nheads, nheads_queued;
	uint64_t nattrs, nbare; /* answers of HEAD with and without attributes */
	uint64_t *refine;	/* inodes shown unconfirmed: HEADs to come */
	size_t refine_at, refine_n, refine_cap;
	unsigned int nahead; /* listings that nobody asked for */
	uint64_t listed_ms;  /* when the last listing ended */

	struct list earlies;  /* struct early */
	int64_t early_credit; /* bytes that may yet be sent in vain */
	bool has_no_copy;     /* the store does not know CopyObject */

	struct list uploads;	     /* struct upload_row: multipart uploads under way */
	struct list upload_rows;     /* changes for the next commit */
	struct list upload_rows_out; /* ... in the commit under way */

	unsigned int users; /* jobs, listings, heads under way; sync_close() waits for 0 */
	pthread_mutex_t users_mutex;
	pthread_cond_t users_gone;

	uint64_t uploaded_bytes, uploaded_objects, conflicts, nfailing;
	struct metric *m_up_bytes, *m_up_objects, *m_down_bytes, *m_conflicts, *m_failures,
	    *m_copies, *m_deletes;
};

/* --- sync.c: queues and scheduler --------------------------------------------------------------- */
/* sync_user_get - count a piece of work that needs the share to stay; false when closing. locked */
bool sync_user_get(struct sync *y);
void sync_user_put(struct sync *y); /* last touch of y; unlocked */
/* sync_kick - have the scheduler look soon. locked */
void sync_kick(struct sync *y);
/* sync_settle_ms - quiet time before an upload; sync_soon_ms - after a COMMIT: 15 % of it;
 * sync_sooner_ms - after the COMMIT of a large file's first content: 3 %. */
uint64_t sync_settle_ms(const struct cw_share *s);
uint64_t sync_soon_ms(const struct cw_share *s);
uint64_t sync_sooner_ms(const struct cw_share *s);
/* sync_duty - n has something to do in the bucket from now on. locked */
void sync_duty(struct cw_share *s, struct node *n);
/* sync_queue_ready - n is to be looked at as soon as there is room. locked */
void sync_queue_ready(struct sync *y, struct node *n);
/* sync_in_sync - does the bucket hold n as it is? locked */
bool sync_in_sync(const struct cw_share *s, const struct node *n);
/* sync_settled - duty done (or moot): take n out of all queues. locked */
void sync_settled(struct cw_share *s, struct node *n);
struct sync_job *sync_job_of(struct sync *y, struct node *n);
void sync_job_drop(struct node *n); /* locked */
/* sync_job_unsure, _sure - what j->key holds is not, is known. locked */
void sync_job_unsure(struct sync_job *j);
void sync_job_sure(struct sync_job *j);
/* sync_each_duty - every node with a duty: those whose job runs, and those that wait; until fn
 * returns false. locked */
void sync_each_duty(struct sync *y, bool (*fn)(void *arg, struct node *n), void *arg);
/* duty_begin, duty_end - n->dirty_since_ns is set nowhere else; duty_count - it was in the row. locked */
void duty_begin(struct cw_share *s, struct node *n, int64_t since_ns);
void duty_end(struct cw_share *s, struct node *n);
void duty_count(struct sync *y, const struct node *n);
/* duty_oldest_ns - since when the oldest stands, to the second; 0: there is none. locked */
int64_t duty_oldest_ns(const struct sync *y);
/* sync_call - one request, waiting. jobs and lists threads, unlocked. result: req->result */
int sync_call(struct sync *y, struct objstore_req *req);
/* sync_call_many - n requests, at most width at a time, waiting for all. */
void sync_call_many(struct sync *y, struct objstore_req *reqs, size_t n, unsigned int width);
/* sync_is_ours - was the object at key written there by this appliance with this index? */
bool sync_is_ours(const struct sync *y, const struct meta_facts *m, const char *key);
/* sync_trouble - does err speak of the store and not of one object? Then the share is marked. any */
bool sync_trouble(struct sync *y, int err);
/* sync_event - JSON detail is built from pairs (name, value, ..., NULL); a name that starts with '#'
 * has a number as value (given as text). unlocked */
void sync_event(struct cw_share *s, const char *type, ...) __attribute__((sentinel));

/* sync_sched.c */
void sync_sched_run(struct sync *y); /* loop thread, unlocked */
uint32_t sync_jitter_ms(unsigned int tries);
void sync_job_finish(struct sync_job *j, int err); /* jobs thread, unlocked */

/* --- sync_key.c: who may touch which key; all locked -------------------------------------------- */
bool key_is_held(struct sync *y, const char *key);
void key_hold(struct sync *y, const char *key);
/* key_release - and put everybody who waits for it back in line. */
void key_release(struct sync *y, const char *key);
void key_wake(struct sync *y, const char *key);
void key_wait(struct sync *y, const char *key, struct node *n);
/* key_touched - a request changed what lies at key: listings under way must not believe theirs. */
void key_touched(struct sync *y, const char *key);
void displaced_add(struct sync *y, struct node *n);
void displaced_del(struct sync *y, struct node *n);
/* node_at_key - the live node whose path gives key, or NULL. */
struct node *node_at_key(struct cw_share *s, const char *key);
/* key_may_be_unwalked - may key belong to a node below a renamed directory that was not walked yet? */
bool key_may_be_unwalked(const struct sync *y, const char *key);
/* key_calm - are all renames and deletions carried out? Then what a listing left out is shown. */
void key_calm(struct sync *y);
/* key_in_flux_below - is something of ours about to leave (or being put) below this prefix? */
bool key_in_flux_below(struct sync *y, const char *prefix);
/* remote_set - replace n's remote key and ETag (copied); keeps `displaced` right. NULL key: nothing. */
void remote_set(struct cw_share *s, struct node *n, const char *key, const char *etag);

/* --- sync_tomb.c -------------------------------------------------------------------------------- */
/* tomb_add - key is to be deleted if it still holds etag (NULL: if it is ours). locked */
void tomb_add(struct sync *y, const char *key, const char *etag);
struct tomb *tomb_find(struct sync *y, const char *key);
void tomb_drop(struct sync *y, struct tomb *t);
/* tomb_hold - n is removed, but open, and may have to read its object yet: that stays until
 * sync_released(). locked */
void tomb_hold(struct sync *y, struct node *n);
bool tomb_is_held(const struct sync *y, const struct tomb *t);
bool tombs_due(const struct sync *y, uint64_t now_ms);
uint64_t tombs_next_ms(const struct sync *y);
void tombs_start(struct sync *y); /* locked, scheduler */
void tombs_collect(struct sync *y, struct index_txn *txn);
void tombs_collected(struct sync *y, int err);
int tombs_load(struct sync *y);
void tombs_free(struct sync *y);

/* --- sync_node.c, sync_put.c, sync_mpu.c, sync_copy.c: what a job does; jobs thread, unlocked ------ */
void sync_node_run(struct work *w);
/* sync_probe_once - what the store can do is asked once for each store, before the first write. */
int sync_probe_once(struct sync *y);
/* the facts of a write that succeeded */
struct written {
	const char *key, *etag;
	uint64_t size, data_seq, attr_seq;
	bool is_sealed; /* the sealed moment of j->n was written */
};
void sync_record(struct sync_job *j, const struct written *w); /* unlocked */

struct put_attrs { /* headers of an object, with the memory behind them */
	struct objstore_attrs attrs;
	struct meta_set meta;
	char content_type[128], storage_class[32], acl[48], sse[16], *kms;
	uint64_t attr_seq;
};
/* put_attrs_fill - as n and the share are now. locked */
void put_attrs_fill(struct sync_job *j, uint64_t data_seq, struct put_attrs *a);
void put_attrs_free(struct put_attrs *a);
/* job_expect - set the conditions of a write to j->key. locked; buf holds the ETag */
void job_expect(struct sync_job *j, struct objstore_req *req, char buf[OBJSTORE_ETAG_MAX]);
/* job_check_expect - for stores without conditional writes: HEAD, and compare by hand. */
int job_check_expect(struct sync_job *j, const struct objstore_req *req, bool has_condition);

int put_content(struct sync_job *j);	  /* regular file */
int put_small_object(struct sync_job *j); /* marker, symlink */
int put_multipart(struct sync_job *j, uint64_t size);
/* mpu_copy - copy an object that is too large for one request. etag: the new one's */
int mpu_copy(struct sync_job *j, const char *from, const char *from_etag, uint64_t size,
    const struct objstore_attrs *attrs, char etag[OBJSTORE_ETAG_MAX]);
/* put_seal_durable - the seal and its data_seq survive a crash from here on. */
int put_seal_durable(struct sync_job *j);
/* put_read_sealed - [off, off+len) of the sealed moment into buf. *missing += bytes of a lost base */
int put_read_sealed(struct sync_job *j, uint64_t off, size_t len, void *buf, uint64_t *missing);
/* put_read - [off, off+len) of a file into buf, waiting; flags of struct cw_io. */
int put_read(struct cache_file *f, unsigned int flags, uint64_t off, size_t len, void *buf);
int copy_object(struct sync_job *j, const char *to); /* rename, attributes, temporary key */

struct upload_row { /* a multipart upload, or (no id) only the data_seq of a seal */
	struct list link;
	bool is_del; /* in lists of changes */
	uint64_t ino, data_seq, part_size;
	char *key, *upload_id;
};
struct upload_row *upload_find(struct sync *y, uint64_t ino);
void upload_add(struct sync *y, uint64_t ino, const char *key, const char *upload_id,
    uint64_t data_seq, uint64_t part_size);
void upload_del(struct sync *y, struct upload_row *u);
/* upload_forget - drop the row of j's node, abort what it names. unlocked */
void upload_forget(struct sync_job *j);
/* upload_abort - unlocked */
void upload_abort(struct sync *y, const char *key, const char *upload_id);
void uploads_collect(struct sync *y, struct index_txn *txn);
void uploads_collected(struct sync *y, int err);
int uploads_load(struct sync *y);
void uploads_free(struct sync *y);
/* uploads_sweep - abort uploads of nodes that are gone. lists thread */
void uploads_sweep(struct sync *y);
bool uploads_abandoned(const struct sync *y); /* locked */

/* --- sync_unsure.c: unrecorded writes of an earlier life; locked --------------------------------- */
/* unsure_load - mark the nodes that may have some; start-up. _clear - n's key is known after all. */
void unsure_load(struct sync *y);
void unsure_clear(struct sync *y, struct node *n);

/* --- sync_litter.c --- */
/* sync_litter_sweep - delete what an earlier life left under hidden names. jobs thread */
void sync_litter_sweep(struct sync *y);

/* --- sync_walk.c -------------------------------------------------------------------------------- */
void moved_add(struct sync *y, struct node *dir, const char *old_prefix);
/* walk_due_ms - when the next walk is to start; UINT64_MAX: none, or one is under way */
uint64_t walk_due_ms(const struct sync *y);
void walk_start(struct sync *y); /* locked, scheduler */
void moved_free(struct sync *y);

/* --- sync_notify.c ------------------------------------------------------------------------------ */
void barriers_check(struct sync *y); /* locked; cheap */
void notice_add(struct sync *y, struct node *n);
uint64_t notices_next_ms(const struct sync *y);
void notices_run(struct sync *y, uint64_t now_ms); /* loop thread, unlocked */
void notify_free(struct sync *y);

/* parent_relist - another writer's object lies at a key whose name we gave up: show it. locked */
void parent_relist(struct cw_share *s, const char *key);

/* --- conflict.c --------------------------------------------------------------------------------- */
/* sync_resolve - the bucket did not hold what we expected (or a reply was lost): look, decide.
 * result: 0 decided, plan again; 1 our own write was found and recorded; negative errno.
 * jobs thread, unlocked */
int sync_resolve(struct sync_job *j, bool wrote_sealed, uint64_t size);

#include "gateway/remote_int.h"
#include "gateway/sync_early.h"

#endif
