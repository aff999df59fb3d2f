/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - folder-private: nodes of a share's tree and the share itself. Only gateway/ includes it.
 *
 * Everything here is guarded by the share's lock (= its cache space's lock, share_lock()).
 *
 * Desired state: parent, name, attributes, content.  Remote state: struct remote.  The reconciler
 * (sync*.c) makes the bucket follow: a node is in sync when its remote key equals the key its path
 * gives, remote.data_seq == data_seq and remote.attr_seq == attr_seq.
 */
#ifndef GATEWAY_NODE_H
#define GATEWAY_NODE_H

#include "cache/cache.h"
#include "cache/index.h"
#include "gateway/base/list.h"
#include "gateway/op.h"
#include "gateway/share.h"

enum node_flags {
	/* persistent (index_node.flags) */
	NODE_LISTED = 1u << 0,	     /* directory: every name of the bucket is known */
	NODE_META_UNKNOWN = 1u << 1, /* attributes are LIST's and defaults; HEAD has not told yet */
	NODE_SUBTREE_MOVED =
	    1u << 2,		  /* directory renamed: keys below may differ from their paths */
	NODE_NO_MARKER = 1u << 3, /* directory known from a common prefix only: no "dir/" object */
	NODE_CONFLICT = 1u << 4,  /* a conflict copy */
	NODE_PERSISTENT = (1u << 8) - 1,
	/* memory only */
	NODE_CHANGED = 1u << 8,	   /* on share->changed: row goes into the next commit */
	NODE_REMOVED = 1u << 9,	   /* out of the tree; kept for an open handle, I/O or sync */
	NODE_HEADING = 1u << 10,   /* HEAD under way */
	NODE_LISTING = 1u << 11,   /* LIST under way */
	NODE_STORED = 1u << 12,	   /* a row exists in the index */
	NODE_DYING = 1u << 13,	   /* removed; its memory goes when the cache lets go of its file */
	NODE_DISCARDED = 1u << 14, /* removed; its local data were given back */
	NODE_SHOWN = 1u << 16,	   /* a listing showed attributes that no HEAD has confirmed */
	NODE_EARLY = 1u << 17,	   /* parts of it are sent although it is still written */
	NODE_NOT_EARLY = 1u << 18, /* ... was tried, and in vain */
	NODE_LEASED =
	    1u << 19, /* a client keeps what it was told: recall_node() before it changes */
	NODE_UNSURE = 1u << 15, /* an earlier life may have written its key, unrecorded */
};

struct remote {	   /* what the bucket holds for the node, as far as we know */
	char *key; /* NULL = nothing */
	char *etag;
	uint64_t size;
	int64_t mtime_ns;
	uint64_t data_seq, attr_seq;
};

struct dir {		       /* the part only directories have */
	struct node **entries; /* sorted by cookie; NULL = hole left by a removal */
	uint64_t *cookies;     /* of entries, holes too, so that a search needs no node */
	uint32_t n, cap, nholes;
	uint32_t max_below; /* no key below is longer than the directory's own plus this */
	uint32_t nchildren, nsubdirs;
	uint64_t next_cookie;
	uint64_t listed_at_ms; /* clock_mono_ms of the last full listing, for the TTL */
	struct list waiters;   /* cw_op waiting for the listing */
};

struct sync_job;

struct node {
	uint64_t ino;
	struct node *ino_next;	/* share->by_ino */
	struct node *name_next; /* share->by_name: (parent, name) */
	struct node *parent;	/* NULL: root or removed */
	char *name;
	uint8_t name_len;
	uint32_t gen;
	uint32_t flags;
	uint32_t mode, uid, gid;
	uint32_t nopen; /* CW_OPEN without CW_RELEASE */
	uint32_t nrefs; /* I/O or sync holds it */
	uint64_t size;
	uint64_t cookie; /* place in the parent's entries */
	int64_t atime_ns, mtime_ns, ctime_ns;
	uint64_t verf;
	uint64_t data_seq, attr_seq;
	int64_t dirty_since_ns; /* real time; 0 = in sync */
	uint64_t changed_ms;	/* mono time of the last change, for the settle delay */
	struct remote remote;
	union {
		struct dir *dir; /* S_ISDIR */
		struct cache_file
		    *file;    /* S_ISREG; NULL = no local data and base_limit = remote.size */
		char *target; /* S_ISLNK; NULL = not fetched yet */
	} u;
	struct list changed_link;  /* share->changed */
	struct list sync_link;	   /* share->sync queues; self-linked when in sync */
	struct list *head_waiters; /* cw_op waiting for HEAD; allocated on demand */
	struct sync_job *job;	   /* under way in the reconciler */
};

struct tomb {
	uint64_t id;
	char *key, *etag;
	struct tomb *key_next; /* share->tombs by key */
	struct list link;
	bool is_stored, is_busy;
	unsigned int tries;
	uint64_t not_before_ms;
};

struct sync; /* sync_int.h */

struct replies {	/* reply.c */
	uint8_t *fresh; /* tags of changes that the next commit takes */
	size_t nfresh, cap;
	uint8_t *known; /* sorted: what earlier lives of the daemon did */
	size_t nknown;
	uint64_t known_until_ms; /* mono time */
};

struct cw_share {
	uint32_t id;
	struct cw_share_conf conf;
	struct cw_share_env env;
	struct cache_space *space;
	struct objstore *store;
	struct node *root;
	uint64_t root_ino; /* root's, readable without the lock */
	uint32_t root_gen;
	struct node **by_ino, **by_name;
	uint32_t nbuckets_ino, nbuckets_name;
	uint64_t nnodes, nfiles; /* all; regular files that have a name */
	struct list changed;	 /* nodes whose rows go into the next commit */
	struct list collecting;	 /* nodes whose rows are in the commit under way */
	struct list dead;	 /* removed nodes whose deletion is to be written */
	struct list orphans;	 /* removed, nothing left to write, but somebody holds them */
	uint64_t write_verf;
	struct replies replies;
	struct sync *sync;
	unsigned int nrefs, nops, nfetching; /* atomic */
	bool closing;			     /* atomic; set locked: no op parks afterwards */
	uint64_t hash_seed;
	/* Of the locked section: the holder that asked for what is done in it, and the last recall that must
	 * be heard before it is answered. A change waits for earlier recalls, too: one of them may be the
	 * node's, on its way. */
	const struct recall_holder *recall_by;
	uint64_t recall_seq;
	uint64_t recall_asked; /* the last one of all */
	/* Settings by version: `conf` borrows the strings of the newest; older ones are kept until the
	 * share is freed, because their readers take no lock. The same goes for replaced stores. */
	struct share_conf_version *versions;
	struct share_old_store *old_stores;
	struct list share_link;
};

static inline void
share_lock(struct cw_share *s)
{
	cache_space_lock(s->space);
}

static inline void
share_unlock(struct cw_share *s)
{
	cache_space_unlock(s->space);
}

/* --- node.c: the tree; all locked -------------------------------------------------------------- */
struct node *node_by_ino(struct cw_share *s, uint64_t ino);
struct node *node_child(struct cw_share *s, struct node *dir, const char *name, size_t len);
/* node_new - a node that is in no directory yet; ino from the index, times now, refs 0. */
struct node *node_new(struct cw_share *s, uint32_t mode);
/* node_attach, node_detach - enter into / take out of a directory (hash, entries, counts). Times and
 * sequence numbers are the caller's business. */
void node_attach(
    struct cw_share *s, struct node *dir, struct node *n, const char *name, size_t len);
void node_detach(struct cw_share *s, struct node *n);
/* node_remove - detach n for good: NODE_REMOVED, its row is deleted by the next commit, its memory
 * freed when nopen, nrefs and I/O are gone. Duties in the bucket are sync_removed()'s. */
void node_remove(struct cw_share *s, struct node *n);
/* node_ref, node_unref - keep a node's memory while the lock is let go. */
void node_ref(struct node *n);
void node_unref(struct cw_share *s, struct node *n);
/* node_changed - row must be written by the next commit. */
void node_changed(struct cw_share *s, struct node *n);
/* recall_node - n, NODE_LEASED, changes or is about to leave its directory: tell who keeps it (recall.c). */
void recall_node(struct cw_share *s, struct node *n);
/* node_key - key in the bucket that n's path gives: prefix + path, directories end in '/'.
 * result: length, or -ENAMETOOLONG past CW_KEY_MAX; buf has CW_KEY_MAX + 2 */
int node_key(const struct cw_share *s, const struct node *n, char *buf);
/* node_key_fits - would name below dir keep within CW_KEY_MAX? */
bool node_key_fits(const struct cw_share *s, const struct node *dir, size_t name_len, bool is_dir);
int node_path(const struct node *n, char *buf, size_t cap); /* "/a/b" for people */
void node_attr(const struct cw_share *s, const struct node *n, struct cw_attr *out);
/* node_touch - stamp ctime, strictly later than before, and mtime with it when with_mtime. */
void node_touch(struct node *n, bool with_mtime);
/* node_maybe_free - free a removed node that nobody holds any more. */
void node_maybe_free(struct cw_share *s, struct node *n);
/* dir_first_after - index into dir->entries of the first live entry with a cookie > cookie; dir->n when
 * there is none. */
uint32_t dir_first_after(const struct dir *d, uint64_t cookie);
/* node_file - the cache file of a regular node, made on demand. */
struct cache_file *node_file(struct cw_share *s, struct node *n);
/* node_load - rebuild the tree from the index; start-up. */
int node_load(struct cw_share *s);
void node_free_all(struct cw_share *s);
/* share_store - the store in use now; any lock state. */
struct objstore *share_store(struct cw_share *s);
/* share_cut_store - end what is under way with -ECANCELED and refuse what comes: the share closes and
 * has waited long enough. unlocked; may be called again. */
void share_cut_store(struct cw_share *s);
/* share_fail_parked - complete every parked op with err (the share closes). */
void share_fail_parked(struct cw_share *s, int err);
extern const struct cache_owner_ops share_cache_ops; /* share_cache.c: collect, fetch, ... */

/* --- what ops ask of the bucket (remote_list.c, remote_head.c); locked -------------------------- */
/* remote_need_listing - is dir's listing absent or past its TTL? Then op is parked on it, a LIST is
 * started if none is under way, and true is returned: the op ends with "pending". */
bool remote_need_listing(struct cw_share *s, struct node *dir, struct cw_op *op);
/* remote_need_meta - are n's attributes (or a symlink's target) unknown? Same way. */
bool remote_need_meta(struct cw_share *s, struct node *n, struct cw_op *op);
/* remote_prefetch_meta - start HEADs for children with unknown attributes (READDIRPLUS). */
void remote_prefetch_meta(struct cw_share *s, struct node *dir, uint64_t from_cookie);
/* remote_need_sample - before a bulk listing: must some names be HEADed to know whether objects here
 * carry attributes? Same way. _may_show - have they none, so that LIST's facts and the defaults may be
 * shown before HEAD confirms them? _shown - that was done: the HEAD follows in the background. */
bool remote_need_sample(struct cw_share *s, struct node *dir, struct cw_op *op);
bool remote_may_show(const struct cw_share *s);
void remote_shown(struct cw_share *s, struct node *n);
/* remote_look_ahead - dir is read: list the directories that a walk of the tree will want next. */
void remote_look_ahead(struct cw_share *s, struct node *dir);
/* remote_changed - a GET or HEAD showed that n's object is not what we knew: fetch facts anew and
 * fold them in (P9); parked readers are re-run. */
void remote_changed(struct cw_share *s, struct node *n);
/* op_rerun - put a parked op back to work on its loop (or a worker). Any lock state. */
void op_rerun(struct cw_op *op);
/* op_delay - the bucket holds another object than the tree knows and the reconciler is deciding: run op
 * again a little later. Any lock state.
 * result: false: it waited long enough, or has no loop (its caller can wait): -ERR_OFFLINE is its result */
bool op_delay(struct cw_op *op) CW_MUST_CHECK;
/* op_fail - complete a parked op with an error. */
void op_fail(struct cw_op *op, int err);

/* --- what ops tell the reconciler (sync.c); locked ---------------------------------------------- */
void sync_data_changed(struct cw_share *s, struct node *n); /* after n->data_seq++ */
/* sync_wrote - [off, off+len) was written, in the cache's section that made it so; sync_tore - what lies at
 * off and behind it may have changed in another way. */
void sync_wrote(struct cw_share *s, struct node *n, uint64_t off, uint64_t len);
void sync_tore(struct cw_share *s, struct node *n, uint64_t off);
void sync_attr_changed(struct cw_share *s, struct node *n); /* after n->attr_seq++ */
void sync_created(struct cw_share *s, struct node *n);
void sync_removed(
    struct cw_share *s, struct node *n); /* before node_remove(): leaves a tombstone */
/* sync_released - n is removed and nobody has it open any more. */
void sync_released(struct cw_share *s, struct node *n);
void sync_leaving(struct cw_share *s, struct node *n); /* before a rename takes it off its place */
void sync_renamed(struct cw_share *s, struct node *n); /* after it hangs at its new place */
/* sync_committed - COMMIT, a stable write or the last close said the client wants it kept: settle sooner. */
void sync_committed(struct cw_share *s, struct node *n);
/* sync_collect - tombstones, uploads: rows for the commit. */
void sync_collect(struct cw_share *s, struct index_txn *txn);
void sync_collected(struct cw_share *s, int err); /* unlocked */
int sync_open(
    struct cw_share *s); /* start-up, after node_load: duties re-queued, threads started */
void sync_close(struct cw_share *s); /* stop, waiting for requests under way */

#endif
