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
};

/* index_err - what an SQLite result code means here. */
int index_err(struct index *ix, int rc, const char *what);
/* index_wal_init - take over checkpoints of an open database. */
void index_wal_init(struct index *ix);
/* index_ballast_drop - give the reserve up. result: there was one, try again. lock held */
bool index_ballast_drop(struct index *ix);
/* index_stmt - the kept prepared statement of an op. lock held. NULL: error was logged */
sqlite3_stmt *index_stmt(struct index *ix, enum index_op op);
/* index_reserve - part of a transaction under way: reserve more numbers when half are used. */
int index_reserve(struct index *ix, uint64_t *new_limit);

#endif
