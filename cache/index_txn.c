/* SPDX-License-Identifier: Apache-2.0 */
/* index_txn.c - lists of row changes, and their application in one SQLite transaction. */
#include "cache/index_int.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_SIZE (64u << 10)

const char *const index_sql[OP_MAX] = {
    [OP_PUT_NODE] = "INSERT OR REPLACE INTO node VALUES("
		    "?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,"
		    "?21,?22,?23,?24,?25,?26,?27,?28,?29,?30)",
    [OP_DEL_NODE] = "DELETE FROM node WHERE ino=?1",
    [OP_PUT_CHUNK] = "INSERT OR REPLACE INTO chunk VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    [OP_DEL_CHUNK] = "DELETE FROM chunk WHERE id=?1",
    [OP_DEL_FILE_CHUNKS] = "DELETE FROM chunk WHERE id BETWEEN ?1 AND ?2",
    [OP_PUT_SEAL] = "INSERT OR REPLACE INTO seal VALUES(?1,?2,?3)",
    [OP_DEL_SEAL] = "DELETE FROM seal WHERE file_id=?1",
    [OP_PUT_TOMB] = "INSERT OR REPLACE INTO tomb VALUES(?1,?2,?3,?4)",
    [OP_DEL_TOMB] = "DELETE FROM tomb WHERE id=?1",
    [OP_PUT_UPLOAD] = "INSERT OR REPLACE INTO upload VALUES(?1,?2,?3,?4,?5,?6)",
    [OP_DEL_UPLOAD] = "DELETE FROM upload WHERE ino=?1",
    [OP_ADD_REPLY] = "INSERT INTO reply SELECT ifnull(max(seq),0)+?4,?1,?2,?3 FROM reply",
    [OP_TRIM_REPLIES] = "DELETE FROM reply WHERE seq<=?1",
    [OP_PUT_KV] = "INSERT OR REPLACE INTO kv VALUES(?1,?2,?3)",
    [OP_DEL_KV] = "DELETE FROM kv WHERE ns=?1 AND key=?2",
    [OP_ADD_EVENT] = "INSERT INTO event(time,type,json) VALUES(?1,?2,?3)",
    [OP_TRIM_EVENTS] = "DELETE FROM event WHERE id<=?1",
    [OP_PUT_REDO] = "INSERT OR REPLACE INTO redo VALUES(?1,?2,?3,?4)",
    [OP_CLEAR_REDO] = "DELETE FROM redo WHERE space=?1",
    [OP_CLEAR_REDO_SLOT] = "DELETE FROM redo WHERE space=?1 AND slot=?2",
    [OP_DEL_SPACE_NODES] = "DELETE FROM node WHERE space=?1",
    [OP_DEL_SPACE_CHUNKS] = "DELETE FROM chunk WHERE space=?1",
    [OP_DEL_SPACE_SEALS] = "DELETE FROM seal WHERE space=?1",
    [OP_DEL_SPACE_TOMBS] = "DELETE FROM tomb WHERE space=?1",
    [OP_DEL_SPACE_UPLOADS] = "DELETE FROM upload WHERE space=?1",
    [OP_DEL_SPACE_REPLIES] = "DELETE FROM reply WHERE space=?1",
    [OP_SET_META] = "INSERT OR REPLACE INTO meta VALUES(?1,?2)",
    [OP_NODE_SIZE] = "SELECT size FROM node WHERE ino=?1",
    [OP_BEGIN] = "BEGIN IMMEDIATE",
    [OP_COMMIT] = "COMMIT",
    [OP_ROLLBACK] = "ROLLBACK",
};

/* --- building ------------------------------------------------------------------------------------------ */

struct index_txn *
index_txn_new(void)
{
	return xcalloc(1, sizeof(struct index_txn));
}

void
index_txn_free(struct index_txn *t)
{
	struct arena *a;

	while ((a = t->arena) != NULL) {
		t->arena = a->next;
		free(a);
	}
	free(t->ops);
	free(t);
}

bool
index_txn_empty(const struct index_txn *t)
{
	return t->nops == 0;
}

static void *
arena_alloc(struct index_txn *t, size_t n)
{
	struct arena *a = t->arena;
	size_t cap;
	void *p;

	n = (n + 7) & ~(size_t)7;
	if (a == NULL || a->cap - a->used < n) {
		cap = n > ARENA_SIZE ? n : ARENA_SIZE;
		a = xmalloc(sizeof(*a) + cap);
		a->next = t->arena;
		a->used = 0;
		a->cap = cap;
		t->arena = a;
	}
	p = a->mem + a->used;
	a->used += n;
	return p;
}

static void *
arena_copy(struct index_txn *t, const void *data, size_t n)
{
	return memcpy(arena_alloc(t, n), data, n);
}

static const char *
arena_str(struct index_txn *t, const char *s)
{
	return s == NULL ? NULL : arena_copy(t, s, strlen(s) + 1);
}

struct op *
index_add_op(struct index_txn *t, enum index_op code)
{
	struct op *op;

	if (t->nops == t->cap) {
		t->cap = t->cap == 0 ? 32 : t->cap * 2;
		t->ops = xrealloc(t->ops, t->cap * sizeof(*t->ops));
	}
	op = &t->ops[t->nops++];
	memset(op, 0, sizeof(*op));
	op->code = code;
	return op;
}

static void
add_id(struct index_txn *t, enum index_op code, int64_t a, int64_t b)
{
	struct op *op = index_add_op(t, code);

	op->u.id.a = a;
	op->u.id.b = b;
}

void
index_txn_put_node(struct index_txn *t, const struct index_node *n)
{
	struct index_node *copy = arena_copy(t, n, sizeof(*n));

	copy->name = arena_str(t, n->name);
	copy->remote_key = arena_str(t, n->remote_key);
	copy->remote_etag = arena_str(t, n->remote_etag);
	copy->target = arena_str(t, n->target);
	index_add_op(t, OP_PUT_NODE)->u.node = copy;
}

void
index_txn_del_node(struct index_txn *t, uint64_t ino)
{
	add_id(t, OP_DEL_NODE, (int64_t)ino, 0);
}

void
index_txn_put_chunk(struct index_txn *t, const struct index_chunk *c)
{
	index_add_op(t, OP_PUT_CHUNK)->u.chunk = *c;
}

static int64_t
chunk_id(uint64_t file_id, uint32_t chunk_no)
{
	return (int64_t)(file_id << CHUNK_NO_BITS | chunk_no);
}

void
index_txn_del_chunk(struct index_txn *t, uint64_t file_id, uint32_t chunk_no)
{
	add_id(t, OP_DEL_CHUNK, chunk_id(file_id, chunk_no), 0);
}

void
index_txn_del_file_chunks(struct index_txn *t, uint64_t file_id)
{
	add_id(t, OP_DEL_FILE_CHUNKS, chunk_id(file_id, 0), chunk_id(file_id, CHUNK_NO_MASK));
}

void
index_txn_put_seal(struct index_txn *t, const struct index_seal *s)
{
	index_add_op(t, OP_PUT_SEAL)->u.seal = *s;
}

void
index_txn_del_seal(struct index_txn *t, uint64_t file_id)
{
	add_id(t, OP_DEL_SEAL, (int64_t)file_id, 0);
}

void
index_txn_put_tomb(struct index_txn *t, const struct index_tomb *b)
{
	struct op *op = index_add_op(t, OP_PUT_TOMB);

	op->u.tomb = *b;
	op->u.tomb.key = arena_str(t, b->key);
	op->u.tomb.etag = arena_str(t, b->etag);
}

void
index_txn_del_tomb(struct index_txn *t, uint64_t id)
{
	add_id(t, OP_DEL_TOMB, (int64_t)id, 0);
}

void
index_txn_put_upload(struct index_txn *t, const struct index_upload *u)
{
	struct op *op = index_add_op(t, OP_PUT_UPLOAD);

	op->u.upload = *u;
	op->u.upload.key = arena_str(t, u->key);
	op->u.upload.upload_id = arena_str(t, u->upload_id);
}

void
index_txn_del_upload(struct index_txn *t, uint64_t ino)
{
	add_id(t, OP_DEL_UPLOAD, (int64_t)ino, 0);
}

void
index_txn_add_reply(struct index_txn *t, const struct index_reply *r)
{
	struct op *op = index_add_op(t, OP_ADD_REPLY);

	op->u.reply = *r;
	op->u.reply.tags = arena_copy(t, r->tags, r->ntags * INDEX_REPLY_TAG_LEN);
}

void
index_txn_put_kv(struct index_txn *t, const char *ns, const char *key, const char *value)
{
	struct op *op = index_add_op(t, value == NULL ? OP_DEL_KV : OP_PUT_KV);

	op->u.kv.ns = arena_str(t, ns);
	op->u.kv.key = arena_str(t, key);
	op->u.kv.value = arena_str(t, value);
}

void
index_txn_add_event(struct index_txn *t, int64_t time_ns, const char *type, const char *json)
{
	struct op *op = index_add_op(t, OP_ADD_EVENT);

	op->u.event.time_ns = time_ns;
	op->u.event.type = arena_str(t, type);
	op->u.event.json = arena_str(t, json);
}

void
index_txn_put_redo(
    struct index_txn *t, uint32_t space, int64_t slot, uint32_t block, const void *data)
{
	struct op *op = index_add_op(t, OP_PUT_REDO);

	op->u.redo.space = space;
	op->u.redo.slot = slot;
	op->u.redo.block = block;
	op->u.redo.data = arena_copy(t, data, REDO_BLOCK);
}

void
index_copy_op(struct index_txn *t, const struct op *op)
{
	struct op *copy = index_add_op(t, op->code);

	*copy = *op;
	if (op->code == OP_PUT_REDO)
		copy->u.redo.data = arena_copy(t, op->u.redo.data, REDO_BLOCK);
}

void
index_txn_clear_redo(struct index_txn *t, uint32_t space)
{
	add_id(t, OP_CLEAR_REDO, space, 0);
}

void
index_txn_clear_redo_slot(struct index_txn *t, uint32_t space, int64_t slot)
{
	add_id(t, OP_CLEAR_REDO_SLOT, space, slot);
}

void
index_txn_del_space(struct index_txn *t, uint32_t space)
{
	add_id(t, OP_DEL_SPACE_NODES, space, 0);
	add_id(t, OP_DEL_SPACE_CHUNKS, space, 0);
	add_id(t, OP_DEL_SPACE_SEALS, space, 0);
	add_id(t, OP_DEL_SPACE_TOMBS, space, 0);
	add_id(t, OP_DEL_SPACE_UPLOADS, space, 0);
	add_id(t, OP_DEL_SPACE_REPLIES, space, 0);
	add_id(t, OP_CLEAR_REDO, space, 0);
}

/* --- binding -------------------------------------------------------------------------------------------- */

static void
bind_str(sqlite3_stmt *st, int i, const char *s)
{
	if (s == NULL)
		sqlite3_bind_null(st, i);
	else
		sqlite3_bind_text(st, i, s, -1, SQLITE_STATIC);
}

static void
bind_ints(sqlite3_stmt *st, int first, const int64_t *v, int n)
{
	for (int i = 0; i < n; i++)
		sqlite3_bind_int64(st, first + i, v[i]);
}

static void
bind_node(sqlite3_stmt *st, const struct index_node *n)
{
	const int64_t head[] = {(int64_t)n->ino, n->space, n->gen, (int64_t)n->parent};
	const int64_t attrs[] = {(int64_t)n->cookie, n->mode, n->uid, n->gid, (int64_t)n->size,
	    n->atime_ns, n->mtime_ns, n->ctime_ns, n->btime_ns, n->flags, (int64_t)n->verf,
	    (int64_t)n->data_seq, (int64_t)n->attr_seq, n->dirty_since_ns, (int64_t)n->base_limit,
	    (int64_t)n->sealed_limit, (int64_t)n->sealed_size, n->has_sealed};
	const int64_t remote[] = {(int64_t)n->remote_size, n->remote_mtime_ns,
	    (int64_t)n->remote_data_seq, (int64_t)n->remote_attr_seq};

	bind_ints(st, 1, head, 4);
	bind_str(st, 5, n->name);
	bind_ints(st, 6, attrs, 18);
	bind_str(st, 24, n->remote_key);
	bind_str(st, 25, n->remote_etag);
	bind_ints(st, 26, remote, 4);
	bind_str(st, 30, n->target);
}

static void
bind_chunk(sqlite3_stmt *st, const struct index_chunk *c)
{
	const int64_t v[] = {chunk_id(c->file_id, c->chunk_no), c->space, c->clean_slot,
	    (int64_t)c->clean_mask, c->sealed_slot, (int64_t)c->sealed_mask, c->dirty_slot,
	    (int64_t)c->dirty_mask, (int64_t)c->sealed_zero, (int64_t)c->dirty_zero};

	bind_ints(st, 1, v, 10);
}

static void
bind_upload(sqlite3_stmt *st, const struct index_upload *u)
{
	sqlite3_bind_int64(st, 1, (sqlite3_int64)u->ino);
	sqlite3_bind_int64(st, 2, u->space);
	bind_str(st, 3, u->key);
	bind_str(st, 4, u->upload_id);
	sqlite3_bind_int64(st, 5, (sqlite3_int64)u->data_seq);
	sqlite3_bind_int64(st, 6, (sqlite3_int64)u->part_size);
}

static void
bind_redo(sqlite3_stmt *st, const struct redo_row *r)
{
	sqlite3_bind_int64(st, 1, r->space);
	sqlite3_bind_int64(st, 2, r->slot);
	sqlite3_bind_int64(st, 3, r->block);
	sqlite3_bind_blob(st, 4, r->data, REDO_BLOCK, SQLITE_STATIC);
}

static void
bind_op(sqlite3_stmt *st, const struct op *op)
{
	switch (op->code) {
	case OP_PUT_NODE:
		bind_node(st, op->u.node);
		break;
	case OP_PUT_CHUNK:
		bind_chunk(st, &op->u.chunk);
		break;
	case OP_PUT_SEAL:
		sqlite3_bind_int64(st, 1, (sqlite3_int64)op->u.seal.file_id);
		sqlite3_bind_int64(st, 2, op->u.seal.space);
		sqlite3_bind_int64(st, 3, (sqlite3_int64)op->u.seal.base_limit);
		break;
	case OP_PUT_TOMB:
		sqlite3_bind_int64(st, 1, (sqlite3_int64)op->u.tomb.id);
		sqlite3_bind_int64(st, 2, op->u.tomb.space);
		bind_str(st, 3, op->u.tomb.key);
		bind_str(st, 4, op->u.tomb.etag);
		break;
	case OP_PUT_UPLOAD:
		bind_upload(st, &op->u.upload);
		break;
	case OP_ADD_REPLY:
		sqlite3_bind_int64(st, 1, op->u.reply.space);
		sqlite3_bind_int64(st, 2, op->u.reply.time_ns);
		sqlite3_bind_blob64(st, 3, op->u.reply.tags,
		    op->u.reply.ntags * INDEX_REPLY_TAG_LEN, SQLITE_STATIC);
		sqlite3_bind_int64(st, 4, (sqlite3_int64)op->u.reply.ntags);
		break;
	case OP_PUT_KV:
		bind_str(st, 3, op->u.kv.value);
		__attribute__((fallthrough));
	case OP_DEL_KV:
		bind_str(st, 1, op->u.kv.ns);
		bind_str(st, 2, op->u.kv.key);
		break;
	case OP_ADD_EVENT:
		sqlite3_bind_int64(st, 1, op->u.event.time_ns);
		bind_str(st, 2, op->u.event.type);
		bind_str(st, 3, op->u.event.json);
		break;
	case OP_PUT_REDO:
		bind_redo(st, &op->u.redo);
		break;
	case OP_CLEAR_REDO_SLOT:
	case OP_DEL_FILE_CHUNKS:
		sqlite3_bind_int64(st, 2, op->u.id.b);
		__attribute__((fallthrough));
	default:
		sqlite3_bind_int64(st, 1, op->u.id.a);
		break;
	}
}

/* --- applying ------------------------------------------------------------------------------------------- */

static int
step_op(struct index *ix, enum index_op code, const struct op *op)
{
	sqlite3_stmt *st = index_stmt(ix, code);
	int rc;

	if (st == NULL)
		return -EIO;
	if (op != NULL)
		bind_op(st, op);
	rc = sqlite3_step(st);
	sqlite3_reset(st);
	return index_err(ix, rc, index_sql[code]);
}

static int
trim_events(struct index *ix)
{
	struct op op = {.code = OP_TRIM_EVENTS};

	op.u.id.a = sqlite3_last_insert_rowid(ix->db) - EVENTS_KEPT;
	return op.u.id.a <= 0 ? 0 : step_op(ix, OP_TRIM_EVENTS, &op);
}

/* trim_replies - n were added. */
static int
trim_replies(struct index *ix, size_t n)
{
	struct op op = {.code = OP_TRIM_REPLIES};
	int64_t seq = sqlite3_last_insert_rowid(ix->db);

	if (seq / REPLIES_SPARE == (seq - (int64_t)n) / REPLIES_SPARE)
		return 0;
	op.u.id.a = seq - REPLIES_KEPT;
	return step_op(ix, OP_TRIM_REPLIES, &op);
}

static int
apply_ops(struct index *ix, const struct index_txn *t, const bool *undone)
{
	int err = 0;

	for (size_t i = 0; i < t->nops && err == 0; i++) {
		if (undone != NULL && undone[i])
			continue;
		err = step_op(ix, t->ops[i].code, &t->ops[i]);
		if (err == 0 && t->ops[i].code == OP_ADD_EVENT)
			err = trim_events(ix);
		if (err == 0 && t->ops[i].code == OP_ADD_REPLY)
			err = trim_replies(ix, t->ops[i].u.reply.ntags);
	}
	return err;
}

/* apply_once - what is pending, then the lists. result: 0 or the error, then nothing of it is in the database.
 * lock held */
static int
apply_once(struct index *ix, struct index_txn **txns, size_t n, const bool *undone)
{
	bool has_log = ix->log.tail > 0;
	uint64_t ino_limit = 0;
	int err = step_op(ix, OP_BEGIN, NULL);

	if (err != 0)
		return err;
	if (ix->log.pending != NULL)
		err = apply_ops(ix, ix->log.pending, undone);
	for (size_t i = 0; i < n && err == 0; i++)
		err = apply_ops(ix, txns[i], NULL);
	if (err == 0 && has_log) /* no record counts any more */
		err = index_put_meta(ix, "log_gen", (int64_t)ix->log.gen + 1);
	if (err == 0)
		err = index_reserve(ix, &ino_limit);
	if (err == 0)
		err = step_op(ix, OP_COMMIT, NULL);
	if (err == 0)
		ix->ino_limit = ino_limit;
	else if (sqlite3_get_autocommit(ix->db) == 0)
		step_op(ix, OP_ROLLBACK, NULL);
	if (err == 0 && has_log)
		index_log_emptied(ix);
	return err;
}

/* apply_locked - one transaction, with the reserve of a full disk. */
static int
apply_locked(struct index *ix, struct index_txn **txns, size_t n)
{
	bool *undone = NULL;
	int err;

	if (ix->log.pending != NULL)
		undone = index_undone(ix->log.pending, txns, n);
	err = apply_once(ix, txns, n, undone);
	if (err == -ENOSPC && index_ballast_drop(ix))
		err = apply_once(ix, txns, n, undone);
	else if (err == 0)
		index_ballast_fill(ix, false);
	free(undone);
	return err == 0 || err == -ENOSPC ? err : -EIO;
}

int
index_absorb(struct index *ix)
{
	return ix->log.pending == NULL ? 0 : apply_locked(ix, NULL, 0);
}

int
index_apply_many(struct index *ix, struct index_txn **txns, size_t n)
{
	int err = 0;

	pthread_mutex_lock(&ix->lock);
	if (!index_log_put(ix, txns, n))
		err = apply_locked(ix, txns, n);
	pthread_mutex_unlock(&ix->lock);
	return err;
}

int
index_apply(struct index *ix, struct index_txn *t)
{
	return index_apply_many(ix, &t, 1);
}
