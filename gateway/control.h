/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - the appliance as its owner sees it: activated gateways, their shares, disks, tags,
 * notifications.  The API speaks to this; this speaks to the index, the cache and the shares.
 *
 * Rows are JSON objects with the AWS API's own member names, so that what a client set is what
 * Describe answers.  A row changes in memory only after it is durable.
 *
 * Threads: everything here may wait for the disk, never for the bucket.  The struct's lists and rows
 * are guarded by control_lock(); functions say "locked" or "unlocked".  Lock order: control, then
 * a share's.  What waits for the bucket (probes, closing a share) runs on the control work queue
 * without the lock.
 */
#ifndef GATEWAY_CONTROL_H
#define GATEWAY_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cache/cache.h"
#include "gateway/base/err.h"
#include "gateway/base/list.h"
#include "gateway/config.h"
#include "gateway/share.h"
#include "gateway/state.h"
#include "s3/objstore_s3.h"

#define CONTROL_VERSION "0.1.0"
#define CONTROL_UUID_LEN 37
#define CONTROL_SHARES_MAX 50 /* per gateway, as the AWS quota */

struct control;
struct share_names;
struct workq;

struct control_gateway { /* locked */
	struct list link;
	const char *id, *arn; /* in row */
	json_t *row;
};

enum share_phase { SHARE_CREATING, SHARE_SERVING, SHARE_DELETING, SHARE_FORCE_DELETING };

struct control_share { /* locked */
	struct list link;
	const char *id, *arn, *gateway_arn; /* in row */
	json_t *row;
	uint32_t space_id;
	enum share_phase phase;
	struct share_names *names;
	struct cw_share *share; /* NULL: could not be opened, or is being destroyed */
	int probe_err;		/* last answer of the bucket; -EINPROGRESS = none yet */
	char probe_text[256];
	bool is_probing;
	uint64_t probed_ms;
};

/* What a request did wrong: AWS's exception, its errorCode, and the text. */
struct control_error {
	const char *type; /* "InvalidGatewayRequestException"; NULL = no error */
	const char *code; /* "FileShareNotFound"; static; NULL = none */
	char message[768];
};

/* control_fail - fill e with an InvalidGatewayRequestException. result: -EINVAL, always */
int control_fail(struct control_error *e, const char *code, const char *fmt, ...) CW_PRINTF(3, 4);
/* control_fail_internal - an InternalServerError for err. result: err */
int control_fail_internal(struct control_error *e, int err, const char *what);

/* control_open - read the state, open every share.
 * args:   conf, cache and s3 borrowed until control_close(); cache_start() was called
 * result: 0 or negative errno with a text for people; ctx: start-up thread */
int control_open(const struct cw_config *conf, struct cache *cache, struct s3_client *s3,
    struct control **out, char *err_text, size_t err_cap) CW_MUST_CHECK;
/* control_close - close the shares; nothing is lost. Also marks the stop as clean. start-up thread */
void control_close(struct control *c);
/* control_reload - take over conf (borrowed) and give every share a store with its credentials. */
void control_reload(struct control *c, const struct cw_config *conf);

void control_lock(struct control *c);
void control_unlock(struct control *c);
const struct cw_config *control_config(const struct control *c); /* locked */
struct cache *control_cache(struct control *c);
struct state *control_state(struct control *c);
const char *control_appliance_id(const struct control *c);
uint64_t control_uptime_s(const struct control *c);

/* --- gateways (control_gateway.c); locked ------------------------------------------------------- */
struct list *control_gateways(struct control *c);
/* control_gateway_by_arn - result: borrowed, or NULL with e filled in (GatewayNotFound) */
struct control_gateway *control_gateway_by_arn(
    struct control *c, const char *arn, struct control_error *e);
/* control_gateway_put - store row (a new gateway, or the new row of g). row is taken.
 * result: 0 or negative errno */
int control_gateway_put(struct control *c, struct control_gateway *g, json_t *row) CW_MUST_CHECK;
int control_gateway_del(struct control *c, struct control_gateway *g) CW_MUST_CHECK;
/* control_new_id - "sgw-" or "share-" and 8 upper-case hex digits that no other has. */
void control_new_id(struct control *c, const char *prefix, char out[24]);
/* control_partition - "aws", "aws-cn" or "aws-us-gov" of a region. */
const char *control_partition(const char *region);
void control_uuid(char out[CONTROL_UUID_LEN]);

/* --- shares (control_share.c); locked ------------------------------------------------------------ */
struct list *control_shares(struct control *c);
struct control_share *control_share_by_arn(
    struct control *c, const char *arn, struct control_error *e);
/* control_share_add - make row durable and open the share; its bucket is probed in the background.
 * args: row taken. result: 0 or -EINVAL with e */
int control_share_add(struct control *c, json_t *row, struct control_error *e) CW_MUST_CHECK;
/* control_share_update - new settings; row taken. result: 0 or -EINVAL with e */
int control_share_update(
    struct control *c, struct control_share *s, json_t *row, struct control_error *e) CW_MUST_CHECK;
/* control_share_delete - drain and forget; force: forget at once. result: 0 or -EINVAL with e */
int control_share_delete(
    struct control *c, struct control_share *s, bool force, struct control_error *e) CW_MUST_CHECK;
/* control_share_status - FileShareStatus; asks the bucket again when it was out of reach. */
const char *control_share_status(struct control *c, struct control_share *s);
/* control_share_reason - why it is not available; "" if it is. cap bytes of out */
void control_share_reason(struct control_share *s, char *out, size_t cap);

/* control_share_conf - row to share settings; pure.
 * result: 0, -EINVAL with a text; out is to be freed in both cases */
int control_share_conf(const json_t *row, const struct cw_config *conf, struct cw_share_conf *out,
    char *err_text, size_t err_cap) CW_MUST_CHECK;
/* control_location_parse - LocationARN to bucket and prefix ("" or "a/b/"); pure. Malloced.
 * result: 0, -EINVAL with a text */
int control_location_parse(
    const char *arn, char **bucket, char **prefix, char *err_text, size_t err_cap) CW_MUST_CHECK;

/* --- disks (control_disk.c); locked -------------------------------------------------------------- */
enum control_disk_use { DISK_FREE, DISK_CACHE, DISK_BUFFER, DISK_WORKING, DISK_STORED };
struct control_disk {
	char id[CONTROL_UUID_LEN];
	const char *name, *dir;
	enum control_disk_use use;
	const char *owner;	/* gateway id; NULL: free */
	const char *volume_arn; /* DISK_STORED */
	const char *target_arn;
	bool is_present, is_first; /* first: it holds the cache, so it can hold no volume */
	uint64_t size_bytes;
};
/* control_disk_each - every directory that the configuration offers. */
void control_disk_each(
    struct control *c, void (*fn)(void *arg, const struct control_disk *d), void *arg);
/* control_disk_find - the disk with this id. result: 0 or -EINVAL with e (DiskDoesNotExist) */
int control_disk_find(struct control *c, const char *disk_id, struct control_disk *out,
    struct control_error *e) CW_MUST_CHECK;
/* control_disk_allocate - give a disk to a gateway, as cache, upload buffer or working storage.
 * result: 0 or -EINVAL with e */
int control_disk_allocate(struct control *c, struct control_gateway *g, const char *disk_id,
    enum control_disk_use use, struct control_error *e) CW_MUST_CHECK;
/* control_disk_has - has the gateway a disk for this use? */
bool control_disk_has(struct control *c, const char *gateway_arn, enum control_disk_use use);
/* control_disk_release - a deleted gateway's disks are free again. */
int control_disk_release(struct control *c, const char *gateway_id) CW_MUST_CHECK;

/* --- notifications (control_notify.c); locked ---------------------------------------------------- */
/* control_refresh - RefreshCache: an event "refresh-complete" follows. folders is a JSON array. */
int control_refresh(struct control *c, struct control_share *s, const json_t *folders,
    bool recursive, char uuid[CONTROL_UUID_LEN], struct control_error *e) CW_MUST_CHECK;
/* control_notify_uploaded - event "upload-complete" once all that was written is in the bucket. */
int control_notify_uploaded(struct control *c, struct control_share *s, char uuid[CONTROL_UUID_LEN],
    struct control_error *e) CW_MUST_CHECK;

#endif
