/* SPDX-License-Identifier: Apache-2.0 */
/* index_int.h - private to index.c, index_txn.c and index_read.c, the only users of SQLite. */
#ifndef CACHE_INDEX_INT_H
#define CACHE_INDEX_INT_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "cache/index.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define CHUNK_NO_BITS 27
#define CHUNK_NO_MASK ((1u << CHUNK_NO_BITS) - 1)
#define EVENTS_KEPT 10000
#define REPLIES_KEPT 8192
#define REPLIES_SPARE 256 /* trimmed by so many at a time */
#define INO_FIRST 16u
#define INO_RESERVE (1u << 16) /* numbers handed out are reserved durably ahead by so many */

enum index_op {
	OP_PUT_NODE,
	OP_DEL_NODE,
	OP_PUT_CHUNK,
	OP_DEL_CHUNK,
	OP_DEL_FILE_CHUNKS,
	OP_PUT_SEAL,
	OP_DEL_SEAL,
	OP_PUT_TOMB,
	OP_DEL_TOMB,
	OP_PUT_UPLOAD,
	OP_DEL_UPLOAD,
	OP_ADD_REPLY,
	OP_TRIM_REPLIES,
	OP_PUT_KV,
	OP_DEL_KV,
	OP_ADD_EVENT,
	OP_TRIM_EVENTS,
	OP_PUT_REDO,
	OP_CLEAR_REDO,
	OP_CLEAR_REDO_SLOT,
	OP_DEL_SPACE_NODES,
	OP_DEL_SPACE_CHUNKS,
	OP_DEL_SPACE_SEALS,
	OP_DEL_SPACE_TOMBS,
	OP_DEL_SPACE_UPLOADS,
	OP_DEL_SPACE_REPLIES,
	OP_SET_META,
	OP_NODE_SIZE,
	OP_BEGIN,
	OP_COMMIT,
	OP_ROLLBACK,
	OP_MAX
};

extern const char *const index_sql[OP_MAX];

#define REDO_BLOCK 4096u

struct redo_row {
	uint32_t space, block;
	int64_t slot;
	const void *data;
};

struct kv_row {
	const char *ns, *key, *value;
};

struct event_row {
	int64_t time_ns;
	const char *type, *json;
};

struct id_row {
	int64_t a, b;
};

struct op {
	enum index_op code;
	union {
		const struct index_node *node;
		struct index_chunk chunk;
		struct index_seal seal;
		struct index_tomb tomb;
		struct index_upload upload;
		struct index_reply reply;
		struct kv_row kv;
		struct event_row event;
		struct redo_row redo;
		struct id_row id;
	} u;
};

struct arena { /* what ops point at */
	struct arena *next;
	size_t used, cap;
	char mem[];
};

struct index_txn {
	struct op *ops;
	size_t nops, cap;
	struct arena *arena;
};

struct index_log {		   /* see index_log.c. under the index's lock */
	int fd;			   /* -1: not there (yet) */
	bool is_broken;		   /* no more records before the next start */
	_Atomic uint64_t retry_ms; /* making it, or taking it in, failed: not again before */
	_Atomic uint64_t tail;	   /* bytes of records that the database does not hold */
	uint64_t gen, seq;
	struct index_txn *pending; /* those records; NULL: none */
	char *buf;		   /* for one record */
};

struct index {
	sqlite3 *db;
	char *path;
	pthread_mutex_t lock; /* the connection; recursive, so that a row callback may read more */
	sqlite3_stmt *stmts[OP_MAX];
	uint32_t incarnation;
	_Atomic uint64_t next_ino, ino_limit; /* numbers below ino_limit are reserved durably */
	bool is_read_only;
	_Atomic int wal_pages; /* in the log since the last checkpoint */
	_Atomic bool is_short; /* see index_ballast.c */
	bool has_ballast;      /* under lock, as is the next */
	uint64_t ballast_retry_ms;
	struct index_log log;
};

/* index_err - what an SQLite result code means here. */
int index_err(struct index *ix, int rc, const char *what);
/* index_wal_init - take over checkpoints of an open database. */
void index_wal_init(struct index *ix);
/* index_ballast_drop - give the reserve up. result: there was one, try again. lock held */
bool index_ballast_drop(struct index *ix);
/* index_stmt - the kept prepared statement of an op. lock held. NULL: error was logged */
sqlite3_stmt *index_stmt(struct index *ix, enum index_op op);
/* index_add_op - one more at the end of t. index_copy_op - the same, with a copy of what op points at; of
 * the kinds that go through the commit log */
struct op *index_add_op(struct index_txn *t, enum index_op code);
void index_copy_op(struct index_txn *t, const struct op *op);
/* index_undone (index_ops.c) - which ops of t are undone or replaced by later ones of t, or of the lists behind it:
 * those of chunks and of redo rows. Good as long as all of them are done together. result: one for each, caller frees */
bool *index_undone(const struct index_txn *t, struct index_txn *const *later, size_t nlater);
/* index_op_len - of op in a record; 0: not of a kind that goes into the log. index_op_encode - result: the same.
 * index_ops_decode - result: false: not what index_op_encode() wrote; out has some of them then */
size_t index_op_len(const struct op *op);
size_t index_op_encode(const struct op *op, char *out);
bool index_ops_decode(const char *p, size_t len, struct index_txn *out);
/* index_absorb - what is pending goes into the database, durably, and the log is empty. lock held
 * result: 0, -ENOSPC, -EIO */
int index_absorb(struct index *ix) CW_MUST_CHECK;
/* index_log_open - read the records back that the database does not hold: they are pending then. lock held
 * result: 0, -EUCLEAN (of a newer program, or damaged), -EIO */
int index_log_open(struct index *ix, uint64_t gen) CW_MUST_CHECK;
/* index_log_put - make the lists durable in the log, and pending. lock held
 * result: false: not with these, or not now; nothing was changed */
bool index_log_put(struct index *ix, struct index_txn **txns, size_t n);
/* index_log_emptied - the database holds it all, and says the next generation. lock held */
void index_log_emptied(struct index *ix);
void index_log_close(struct index *ix);
#define INDEX_LOG_SIZE (16u << 20)
#define INDEX_LOG_FULL                                                                             \
	(12u << 20) /* from here on: a commit with an fdatasync, and all into the database */
#define INDEX_LOG_RETRY_MS 60000
#define INDEX_LOG_TIDY (6u << 20) /* worth it when nobody commits */
/* index_put_meta - a row of meta, in the transaction under way, or as one. lock held. result: 0 or negative errno */
int index_put_meta(struct index *ix, const char *key, int64_t value) CW_MUST_CHECK;
/* index_reserve - part of a transaction under way: reserve more numbers when half are used. */
int index_reserve(struct index *ix, uint64_t *new_limit);

#endif
