/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.h - the durable truth: one SQLite database (WAL) with nodes, chunks, duties and state.
 * The only user of sqlite3.h is index*.c.  Only the committer thread writes (through an index_txn);
 * start-up code reads rows in bulk.  Layout and versions: cache/FORMAT.md.
 */
#ifndef CACHE_INDEX_H
#define CACHE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

struct index;
struct index_txn; /* a list of row changes copied from memory, durable all together */

/* One file, directory or symlink of a share. NULL strings are SQL NULL. Times in ns since 1970. */
struct index_node {
	uint64_t ino;
	uint32_t space;
	uint32_t gen;
	uint64_t parent; /* 0 = root, or an orphan kept for an open handle */
	const char *name;
	uint64_t cookie;
	uint32_t mode, uid, gid;
	uint64_t size;
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint32_t flags;		     /* enum node_flags that persist */
	uint64_t verf;		     /* verifier of an EXCLUSIVE create, 0 = none */
	uint64_t data_seq, attr_seq; /* bumped by each change of content, of attributes */
	int64_t dirty_since_ns;	     /* 0 = in sync */
	/* local data limits, see cache.h */
	uint64_t base_limit, sealed_limit, sealed_size;
	bool has_sealed;
	/* what the bucket holds; remote_key NULL = nothing */
	const char *remote_key, *remote_etag;
	uint64_t remote_size;
	int64_t remote_mtime_ns;
	uint64_t remote_data_seq, remote_attr_seq; /* which of ours it holds */
	const char *target;			   /* symlink */
};

struct index_chunk {
	uint64_t file_id;
	uint32_t chunk_no;
	uint32_t space;
	int64_t clean_slot, sealed_slot, dirty_slot; /* -1 = none */
	uint64_t clean_mask, sealed_mask, dirty_mask;
	uint64_t sealed_zero, dirty_zero; /* of those masks: zeros, without bytes in the slot */
};

struct index_seal { /* what only a seal under way needs: see struct cache_file.seal_base_limit */
	uint64_t file_id;
	uint32_t space;
	uint64_t base_limit;
};

struct index_tomb { /* a key to be deleted from the bucket */
	uint64_t id;
	uint32_t space;
	const char *key;
	const char *etag; /* what we last knew there; NULL unknown */
};

struct index_upload { /* a multipart upload under way */
	uint64_t ino;
	uint32_t space;
	const char *key, *upload_id;
	uint64_t data_seq; /* of the seal it uploads */
	uint64_t part_size;
};

#define INDEX_REPLY_TAG_LEN 16u

/* Requests whose changes are in the index: should one come again, it is not to be run. */
struct index_reply {
	uint32_t space;
	int64_t time_ns;
	const uint8_t *tags; /* INDEX_REPLY_TAG_LEN bytes each: their maker's business */
	size_t ntags;
};

/* --- transactions: building is pure memory, any thread; strings are copied --------------------- */
void index_txn_put_node(struct index_txn *t, const struct index_node *n);
void index_txn_del_node(struct index_txn *t, uint64_t ino);
void index_txn_put_chunk(struct index_txn *t, const struct index_chunk *c);
void index_txn_del_chunk(struct index_txn *t, uint64_t file_id, uint32_t chunk_no);
void index_txn_del_file_chunks(struct index_txn *t, uint64_t file_id);
void index_txn_put_seal(struct index_txn *t, const struct index_seal *s);
void index_txn_del_seal(struct index_txn *t, uint64_t file_id);
void index_txn_put_tomb(struct index_txn *t, const struct index_tomb *b);
void index_txn_del_tomb(struct index_txn *t, uint64_t id);
void index_txn_put_upload(struct index_txn *t, const struct index_upload *u);
void index_txn_del_upload(struct index_txn *t, uint64_t ino);
/* reply - one row for all of a transaction, since each row costs some microseconds; appended; some 8,192
 * of the newest tags are kept, over all spaces. */
void index_txn_add_reply(struct index_txn *t, const struct index_reply *r);
/* kv - small named state: ns such as "share", "gateway", "tag"; value is text (JSON), NULL deletes. */
void index_txn_put_kv(struct index_txn *t, const char *ns, const char *key, const char *value);
/* events - appended; the newest 10,000 are kept. json is one object without newline. */
void index_txn_add_event(struct index_txn *t, int64_t time_ns, const char *type, const char *json);
/* redo - block contents that ride in the transaction instead of an fdatasync of the data file. */
void index_txn_put_redo(
    struct index_txn *t, uint32_t space, int64_t slot, uint32_t block, const void *data);
void index_txn_clear_redo(struct index_txn *t, uint32_t space);
void index_txn_clear_redo_slot(struct index_txn *t, uint32_t space, int64_t slot);
void index_txn_del_space(struct index_txn *t, uint32_t space); /* every row of it */

struct index_txn *index_txn_new(void);
void index_txn_free(struct index_txn *t);
bool index_txn_empty(const struct index_txn *t);

/* index_apply - all of t, durably: a record in the commit log where t holds nothing but chunks, seals and redo
 * rows, else one SQLite transaction (synchronous=FULL).
 * result: 0, -EIO, -ENOSPC; on error nothing of t is in the index. ctx: committer (or start-up) */
int index_apply(struct index *ix, struct index_txn *t) CW_MUST_CHECK;
/* index_apply_many - the same for n lists in order, all in one record or transaction. */
int index_apply_many(struct index *ix, struct index_txn **txns, size_t n) CW_MUST_CHECK;

/* index_wants_tidy - has so much gathered in the logs that it is worth taking it into the database? any
 * index_tidy - make it: for moments without commits, it takes tens of milliseconds.
 * result: 0, -EIO, -ENOSPC; nothing is lost by an error. ctx: committer */
bool index_wants_tidy(const struct index *ix);
int index_tidy(struct index *ix);

/* index_is_short - the disk was full and nothing is kept back for transactions: no new data now. any
 * index_ballast_fill - keep a reserve again, if there is room; not is_urgent: at most once a second. any;
 * waits for a transaction under way */
bool index_is_short(const struct index *ix);
void index_ballast_fill(struct index *ix, bool is_urgent);
/* index_ballast_lend - take the reserve away for a small file beside the index; it is short then. any; waits as above */
void index_ballast_lend(struct index *ix);
/* index_has_redo_room - is the disk so far from full, and the commit log too, that redo rows may take some of it?
 * any */
bool index_has_redo_room(const struct index *ix);

/* --- life: cache.c and check.c only --------------------------------------------------------------- */
/* index_open - open or create; the file stays locked against other processes until index_close().
 * args:   is_new is set when an empty index was created; err_text gets what is wrong and what to do
 * result: 0, -EUCLEAN (damaged, foreign or newer), -EBUSY (another process), -ENOSPC, other errno
 * ctx:    start-up thread */
int index_open(const char *path, bool create, struct index **out, bool *is_new, char *err_text,
    size_t err_cap) CW_MUST_CHECK;
void index_close(struct index *ix);
/* index_check_integrity - full integrity_check. say() per finding. result: findings or negative errno */
int index_check_integrity(struct index *ix, void (*say)(void *arg, const char *line), void *arg);

/* --- reading: start-up thread, CLI, or any worker (own connection under a lock) ----------------- */
int index_each_node(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_node *n), void *arg);
/* index_node_size - result: 0, -ENOENT without such a node, -EIO, -EUCLEAN */
int index_node_size(struct index *ix, uint64_t ino, uint64_t *out) CW_MUST_CHECK;
int index_each_chunk(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_chunk *c), void *arg);
int index_each_seal(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_seal *s), void *arg);
int index_each_tomb(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_tomb *b), void *arg);
int index_each_upload(struct index *ix, uint32_t space,
    int (*fn)(void *arg, const struct index_upload *u), void *arg);
/* oldest first */
int index_each_reply(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_reply *r), void *arg);
int index_each_kv(struct index *ix, const char *ns,
    int (*fn)(void *arg, const char *key, const char *value), void *arg);
/* index_get_kv - malloced value or NULL. */
char *index_get_kv(struct index *ix, const char *ns, const char *key);
/* newest first, at most max; type NULL = all */
int index_each_event(struct index *ix, const char *type, unsigned int max,
    int (*fn)(void *arg, uint64_t id, int64_t time_ns, const char *type, const char *json),
    void *arg);
int index_each_redo(struct index *ix, uint32_t space,
    int (*fn)(void *arg, int64_t slot, uint32_t block, const void *data), void *arg);

/* index_next_ino - a number never used before in this index's life; any thread. Numbers are reserved
 * in the index by thousands; a crash skips some. */
uint64_t index_next_ino(struct index *ix);
/* index_incarnation - random number made when the index was created: part of file handles, so that
 * handles of an index that was lost are refused. */
uint32_t index_incarnation(const struct index *ix);

#endif
