/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.h - a file share: its settings, its tree, its store.
 *
 * The whole tree of names and attributes lives in memory (DESIGN.md says what a million files cost);
 * the index is the truth behind it.  Directories that were never listed are listed from the bucket
 * when first looked at.
 */
#ifndef GATEWAY_SHARE_H
#define GATEWAY_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/cache.h"
#include "gateway/op.h"
#include "s3/objstore.h"

enum cw_squash { CW_SQUASH_ROOT, CW_SQUASH_NONE, CW_SQUASH_ALL };
enum cw_conflict_policy { CW_CONFLICT_REMOTE_WINS, CW_CONFLICT_LOCAL_WINS };

struct cw_client_net { /* one ClientList entry; IPv4 or IPv6 */
	bool is_v6;
	uint8_t addr[16];
	unsigned int prefix_bits;
};

/* Settings of a share; strings owned by the struct. Defaults as the AWS API has them. */
struct cw_share_conf {
	char *name; /* export is /name */
	char *bucket;
	char *prefix;		     /* "" or ends in '/' */
	char *default_storage_class; /* as S3 wants it: STANDARD, INTELLIGENT_TIERING, ... */
	char *object_acl;	     /* canned ACL, default "private" */
	char *sse;		     /* NULL, "AES256", "aws:kms", "aws:kms:dsse" */
	char *sse_kms_key;
	bool read_only, guess_mime_type, requester_pays;
	enum cw_squash squash;
	struct cw_client_net *clients; /* nclients 0 = everybody */
	size_t nclients;
	uint32_t file_mode, dir_mode; /* permission bits for objects without metadata: 0666, 0777 */
	uint32_t owner_id, group_id;  /* 65534 */
	uint32_t cache_stale_timeout_s; /* 0 = off */
	uint32_t settle_ms;		/* quiet time before an upload; 0 = default 1,000 */
	uint32_t max_age_ms;	  /* dirty longer than this is uploaded although busy; 0 = 60,000 */
	uint32_t notify_settle_s; /* NotificationPolicy; 0 = no upload events */
	enum cw_conflict_policy conflict_policy;
	bool no_early_parts; /* nothing of a file is sent before it is settled */
	bool meta_4digit;    /* write file-permissions as 0644, not 0100644 */
};

void cw_share_conf_init(struct cw_share_conf *c); /* defaults */
void cw_share_conf_free(struct cw_share_conf *c);
int cw_share_conf_copy(struct cw_share_conf *to, const struct cw_share_conf *from);
/* cw_share_conf_check - are the settings a share can be made of? err_text says which is not. */
int cw_share_conf_check(const struct cw_share_conf *c, char *err_text, size_t err_cap);

struct cw_share_env { /* what a share lives in; wired by the engine */
	struct cache *cache;
	struct objstore *store;	  /* owned by the share from cw_share_open on */
	const char *appliance_id; /* marks our own uploads */
	void (*event)(void *arg, struct cw_share *s, const char *type, const char *json);
	void *event_arg;
};

/* cw_share_open - open share `id`: load its rows, resume its duties, start its sync.
 * args:   conf copied; env copied, env->store taken (also on error)
 * result: 0, -EINVAL, -EIO, -ENOMEM. An unreachable bucket is no error: the share serves what it has.
 * ctx:    control thread */
int cw_share_open(uint32_t id, const struct cw_share_conf *conf, const struct cw_share_env *env,
    struct cw_share **out) CW_MUST_CHECK;
/* cw_share_close - stop: no new ops, wait for those under way, commit. Nothing is lost; uploads go on
 * at the next open. control thread */
void cw_share_close(struct cw_share *s);
/* cw_share_destroy - close and forget all local state of the share. control thread */
void cw_share_destroy(struct cw_share *s);
/* cw_share_reconfigure - change settings that may change (not name of bucket or prefix). */
int cw_share_reconfigure(struct cw_share *s, const struct cw_share_conf *conf);
/* cw_share_replace_store - new credentials or endpoint; the old store is closed. */
void cw_share_replace_store(struct cw_share *s, struct objstore *store);

uint32_t cw_share_id(const struct cw_share *s);
const struct cw_share_conf *cw_share_conf(
    const struct cw_share *s);			  /* valid while caller holds a ref */
uint64_t cw_share_root(const struct cw_share *s); /* ino of the root directory */
uint32_t cw_share_root_gen(const struct cw_share *s);
uint64_t cw_share_write_verf(const struct cw_share *s);

/* cw_share_find, _by_name - borrowed reference counted: put it back. NULL if there is none. any thread */
struct cw_share *cw_share_find(uint32_t id);
struct cw_share *cw_share_by_name(const char *name);
void cw_share_get(struct cw_share *s);
void cw_share_put(struct cw_share *s);
/* cw_share_each - call fn for every open share. */
void cw_share_each(void (*fn)(void *arg, struct cw_share *s), void *arg);

/* --- access by network peers (export.c) ------------------------------------------------------- */
struct sockaddr;
/* cw_export_allows - may this peer use the share at all? any thread */
bool cw_export_allows(const struct cw_share *s, const struct sockaddr *peer);
/* cw_export_squash - apply the share's squash to what AUTH_SYS claimed. any thread */
void cw_export_squash(const struct cw_share *s, const struct cw_cred *claimed, struct cw_cred *out);
/* cw_client_net_parse - "10.0.0.0/16", "10.1.2.3", "2001:db8::/32". 0 or -EINVAL */
int cw_client_net_parse(const char *text, struct cw_client_net *out);

/* --- sync: what the control plane asks (sync.c) ------------------------------------------------- */
struct cw_share_status {
	bool available;	  /* store answers */
	char reason[256]; /* why not */
	uint64_t nodes, files;
	uint64_t pending_files; /* nodes with a duty: content, attributes, name, deletion */
	uint64_t pending_bytes; /* content that only the cache has, in whole blocks */
	int64_t
	    oldest_dirty_ns; /* real time since when the oldest duty stands, to the second; 0 = none */
	uint64_t failing_files;
	uint64_t uploaded_bytes, uploaded_objects; /* since start */
	uint64_t conflicts;
};
void cw_share_get_status(struct cw_share *s, struct cw_share_status *out);

struct cw_upload_info {
	const char *path;
	const char *what; /* "put", "multipart", "copy", "delete", "attributes" */
	uint64_t size, done_bytes;
	int64_t since_ns;
	int last_error;
	unsigned int tries;
};
/* cw_share_each_upload - pending duties, oldest first, at most max; fn runs on a snapshot. */
void cw_share_each_upload(struct cw_share *s, unsigned int max,
    void (*fn)(void *arg, const struct cw_upload_info *u), void *arg);

/* cw_share_refresh - re-list folders (paths from the root, "/" = all) and fold the differences in.
 * done(arg, err, changed) is called on a worker. result: 0 or -EBUSY (two are running) */
int cw_share_refresh(struct cw_share *s, const char *const *folders, size_t n, bool recursive,
    void (*done)(void *arg, int err, uint64_t changed), void *arg);
/* cw_share_notify_uploaded - done(arg) once everything written before this call is in the bucket. */
int cw_share_notify_uploaded(struct cw_share *s, void (*done)(void *arg), void *arg);
/* cw_share_drain - kick all pending duties now, ignoring settle. any thread */
void cw_share_drain(struct cw_share *s);

#endif
