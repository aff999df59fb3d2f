/* SPDX-License-Identifier: Apache-2.0 */
/* control_int.h - private to control*.c. */
#ifndef GATEWAY_CONTROL_INT_H
#define GATEWAY_CONTROL_INT_H

#include <pthread.h>

#include "gateway/base/workq.h"
#include "gateway/control.h"

/* What an event says about its share. Never changes, so it is read without a lock. */
struct share_names {
	struct control *control;
	char *id, *arn, *gateway_arn, *bucket, *location_arn, *prefix;
};

struct control {
	pthread_mutex_t lock;
	const struct cw_config *conf;
	struct cache *cache;
	struct s3_client *s3;
	struct state *state;
	struct workq *workq; /* what waits for the bucket */
	char appliance_id[CONTROL_UUID_LEN];
	uint64_t started_ms;
	uint32_t next_space_id;
	bool closing;
	struct list gateways, shares, volumes, snapshots;
	bool is_deleting_snapshot; /* one at a time: control_snapshot.c */
	struct list jobs;	   /* struct store_job: they end early when we close */
	pthread_t clock;	   /* control_schedule.c */
	pthread_cond_t clock_cond;
	bool has_clock;
	json_t *disks; /* name -> gateway id (cache), or {"Gateway","Use"} */
	/* Promises of a share to call back. A share that closes forgets them, so they are kept here.
	 * The lock is a leaf: callbacks come on threads of the shares'. */
	pthread_mutex_t promises_lock;
	struct list promises;
};

/* One outstanding callback of a share: NotifyWhenUploaded, RefreshCache, a deletion that waits. */
struct promise {
	struct list link;
	struct work work;
	struct control *control;
	char share_id[24], uuid[CONTROL_UUID_LEN];
	int64_t started_ns;
	json_t *folders; /* RefreshCache */
	int err;
	uint64_t changed;
};

/* controli_row_string - member of a row; "" if absent. */
const char *controli_row_string(const json_t *row, const char *name);
struct control_share *controli_share_by_id(struct control *c, const char *id); /* locked */
int controli_gateways_load(struct control *c);
int controli_shares_load(struct control *c);
void controli_shares_close(struct control *c);
void controli_shares_reload(struct control *c); /* locked */
int controli_volumes_load(struct control *c);
void controli_volumes_close(struct control *c);
void controli_volumes_reload(struct control *c); /* locked */
int controli_disks_load(struct control *c);
int controli_notify_load(struct control *c);
/* controli_promise_new - on the list until controli_promise_free(). any lock state */
struct promise *controli_promise_new(struct control *c, const struct control_share *s);
void controli_promise_free(struct promise *p);
/* controli_promise_keep - run fn on the control work queue. any lock state */
void controli_promise_keep(struct promise *p, void (*fn)(struct work *w));
void controli_promises_free(struct control *c); /* those that no share will keep any more */
/* controli_share_event - env.event of every share; takes no lock but the event log's. any lock state */
void controli_share_event(void *arg, struct cw_share *s, const char *type, const char *json);
/* controli_share_detail - json taken, with the share's names put in. Only immutable parts are read. */
json_t *controli_share_detail(const struct share_names *n, json_t *json);
/* controli_submit - run fn(c, id) on the control work queue. any lock state */
void controli_submit(
    struct control *c, const char *id, void (*fn)(struct control *c, const char *id));

/* --- stores (control_store.c) -------------------------------------------------------------------- */
struct store_wish { /* strings borrowed for the call */
	const char *bucket, *label;
	const char *endpoint, *region;	/* NULL or "" = as [s3] says */
	const struct config_cred *cred; /* NULL = source "auto" */
	bool requester_pays;
};
/* controli_store_new - a store made of [s3] and what is wished. locked; no network I/O */
int controli_store_new(struct control *c, const struct store_wish *w, struct objstore **out,
    char *err_text, size_t err_cap) CW_MUST_CHECK;
/* controli_store_ask - one request to a store of its own, which goes with it (taken).  A store that does
 * not answer keeps nobody from stopping.
 * args:   timeout_ms 0 = the store's own patience
 * result: req->result, -ECANCELED when it was given up. unlocked */
int controli_store_ask(
    struct control *c, struct objstore *store, struct objstore_req *req, uint64_t timeout_ms);
/* A job of the work queue with many requests. */
struct store_job {
	struct list link;
	struct objstore *store; /* what they are sent to */
};
/* controli_job_begin - store taken. When we close, every request ends with -ECANCELED. locked */
void controli_job_begin(struct control *c, struct store_job *j, struct objstore *store);
/* controli_job_end - the store goes. unlocked */
void controli_job_end(struct control *c, struct store_job *j);
/* controli_jobs_stop - see controli_job_begin(). unlocked */
void controli_jobs_stop(struct control *c);

#endif
