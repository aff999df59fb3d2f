/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote_int.h - private to gateway/: what the bucket says becomes nodes (remote_*.c). Comes in through
 * sync_int.h, whose struct sync it works on.
 */
#ifndef GATEWAY_REMOTE_INT_H
#define GATEWAY_REMOTE_INT_H

#include "gateway/node.h"
#include "s3/objstore.h"

/* --- remote_fold.c: the bucket's facts into the tree; locked ------------------------------------- */
struct fold {
	struct cw_share *s;
	uint64_t started_ms;
	struct inoset seen;
	uint64_t changed;
	bool is_sure; /* this is no LIST: the facts are of this moment */
};
void fold_init(struct fold *f, struct cw_share *s);
void fold_free(struct fold *f);
/* fold_name_ok - can this be a name of ours? */
bool fold_name_ok(const char *name, size_t len);
/* fold_entry - `name` in dir is an object (e) or a directory (e NULL: a common prefix) at key.
 * result: the node that stands for it, or NULL if it is not (or not yet) to be shown */
struct node *fold_entry(struct fold *f, struct node *dir, const char *name, size_t len,
    const char *key, const struct objstore_entry *e);
/* fold_marker - the directory's own object. */
void fold_marker(struct fold *f, struct node *dir, const char *key, const struct objstore_entry *e);
/* fold_missing - remove what dir has and the bucket has no more (not recursive). */
void fold_missing(struct fold *f, struct node *dir, const char *list_key);
/* fold_replace - new facts of a known object without a duty. */
void fold_replace(
    struct fold *f, struct node *n, const char *etag, uint64_t size, int64_t mtime_ns);
/* fold_gone - n's object is gone and nothing of ours is to be kept: out of the tree. false if some of
 * it has a duty and stays. */
bool fold_gone(struct cw_share *s, struct node *n);
/* fold_remove - out of the tree, whatever its duties. -EBUSY: the root */
int fold_remove(struct cw_share *s, struct node *n);

/* --- remote_list.c, remote_head.c ---------------------------------------------------------------- */
/* list_dir - LIST one directory and fold it in. lists thread, unlocked; dir referenced.
 * result: 0 or the store's error */
int list_dir(struct sync *y, struct node *dir, uint64_t *changed);
/* listing_begin, _end - between them, keys that change are remembered. locked */
void listing_begin(struct sync *y);
void listing_end(struct sync *y);
void list_dir_key(const struct cw_share *s, const struct node *dir, char *buf);
/* head_apply - facts of a HEAD that was sent when n had etag `asked`. locked
 * result: 0, -EAGAIN if n changed meanwhile */
int head_apply(struct cw_share *s, struct node *n, struct objstore_req *req);
/* head_ask - have n HEADed; at the front when somebody waits. locked */
void head_ask(struct sync *y, struct node *n, bool at_front);
/* list_start - LIST dir and re-run who waits for it. locked. result: false when closing */
bool list_start(struct sync *y, struct node *dir, bool is_ahead);
void heads_start(struct sync *y); /* locked */
void heads_free(struct sync *y);
/* head_now - HEAD (and a symlink's GET) and apply. jobs thread, unlocked. -ENOENT: gone */
int head_now(struct sync *y, struct node *n);

/* --- remote_ahead.c; locked ----------------------------------------------------------------------- */
void evidence_add(struct sync *y, bool has_attrs);
/* ahead_listed - a listing that nobody asked for is there: sample it now, before somebody waits. */
void ahead_listed(struct sync *y, struct node *dir);
void refine_pump(struct sync *y);
uint64_t refine_next_ms(const struct sync *y);

void waiters_rerun(struct list *waiters);
void waiters_fail(struct list *waiters, int err);
void waiters_delay(struct list *waiters); /* op_delay() or -ERR_OFFLINE */
/* remote_err_for_client - what an op says of a request's error. The front ends know
 * which of the project's own errors to wait out; what else a store may say is -EIO to a client. */
int remote_err_for_client(int err);

#endif
