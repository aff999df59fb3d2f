/* SPDX-License-Identifier: Apache-2.0 */
/* index_read.c - rows in bulk at start-up, and the few look-ups that the control plane makes. */
#include "cache/index_int.h"

#include <stdlib.h>
#include <string.h>

static const char *
text_at(sqlite3_stmt *st, int i)
{
	return (const char *)sqlite3_column_text(st, i);
}

static uint64_t
u64_at(sqlite3_stmt *st, int i)
{
	return (uint64_t)sqlite3_column_int64(st, i);
}

static uint32_t
u32_at(sqlite3_stmt *st, int i)
{
	return (uint32_t)sqlite3_column_int64(st, i);
}

/* A row handler turns the current row into a struct and hands it on. */
struct each {
	int (*row)(struct each *e, sqlite3_stmt *st);
	void *fn_arg;
	bool is_logged; /* of a table whose changes may be pending in the commit log */
	union {
		int (*node)(void *arg, const struct index_node *n);
		int (*chunk)(void *arg, const struct index_chunk *c);
		int (*seal)(void *arg, const struct index_seal *s);
		int (*tomb)(void *arg, const struct index_tomb *b);
		int (*upload)(void *arg, const struct index_upload *u);
		int (*reply)(void *arg, const struct index_reply *r);
		int (*kv)(void *arg, const char *key, const char *value);
		int (*event)(
		    void *arg, uint64_t id, int64_t time_ns, const char *type, const char *json);
		int (*redo)(void *arg, int64_t slot, uint32_t block, const void *data);
	} fn;
};

/* each_row - run sql with up to two bound parameters (text if not NULL, else the integer). */
static int
each_row(struct index *ix, const char *sql, const char *text1, int64_t int1, int64_t int2,
    struct each *e)
{
	sqlite3_stmt *st = NULL;
	int rc, err = 0;

	pthread_mutex_lock(&ix->lock);
	if (e->is_logged)
		err = index_absorb(ix);
	if (err != 0) {
		pthread_mutex_unlock(&ix->lock);
		return err;
	}
	rc = sqlite3_prepare_v2(ix->db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK) {
		if (text1 != NULL)
			sqlite3_bind_text(st, 1, text1, -1, SQLITE_STATIC);
		else if (sqlite3_bind_parameter_count(st) > 0)
			sqlite3_bind_int64(st, 1, int1);
		if (sqlite3_bind_parameter_count(st) > 1)
			sqlite3_bind_int64(st, 2, int2);
		while (err == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW)
			err = e->row(e, st);
	}
	if (err == 0)
		err = index_err(ix, rc, sql);
	sqlite3_finalize(st);
	pthread_mutex_unlock(&ix->lock);
	return err;
}

static int
node_row(struct each *e, sqlite3_stmt *st)
{
	struct index_node n = {
	    .ino = u64_at(st, 0),
	    .space = u32_at(st, 1),
	    .gen = u32_at(st, 2),
	    .parent = u64_at(st, 3),
	    .name = text_at(st, 4),
	    .cookie = u64_at(st, 5),
	    .mode = u32_at(st, 6),
	    .uid = u32_at(st, 7),
	    .gid = u32_at(st, 8),
	    .size = u64_at(st, 9),
	    .atime_ns = sqlite3_column_int64(st, 10),
	    .mtime_ns = sqlite3_column_int64(st, 11),
	    .ctime_ns = sqlite3_column_int64(st, 12),
	    .btime_ns = sqlite3_column_int64(st, 13),
	    .flags = u32_at(st, 14),
	    .verf = u64_at(st, 15),
	    .data_seq = u64_at(st, 16),
	    .attr_seq = u64_at(st, 17),
	    .dirty_since_ns = sqlite3_column_int64(st, 18),
	    .base_limit = u64_at(st, 19),
	    .sealed_limit = u64_at(st, 20),
	    .sealed_size = u64_at(st, 21),
	    .has_sealed = sqlite3_column_int(st, 22) != 0,
	    .remote_key = text_at(st, 23),
	    .remote_etag = text_at(st, 24),
	    .remote_size = u64_at(st, 25),
	    .remote_mtime_ns = sqlite3_column_int64(st, 26),
	    .remote_data_seq = u64_at(st, 27),
	    .remote_attr_seq = u64_at(st, 28),
	    .target = text_at(st, 29),
	};

	return e->fn.node(e->fn_arg, &n);
}

int
index_each_node(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_node *n), void *arg)
{
	struct each e = {.row = node_row, .fn_arg = arg, .fn.node = fn};

	return each_row(ix, "SELECT * FROM node WHERE space=?1", NULL, space, 0, &e);
}

int
index_node_size(struct index *ix, uint64_t ino, uint64_t *out)
{
	sqlite3_stmt *st;
	int rc, err = -EIO;

	*out = 0;
	pthread_mutex_lock(&ix->lock);
	st = index_stmt(ix, OP_NODE_SIZE);
	if (st != NULL) {
		sqlite3_bind_int64(st, 1, (sqlite3_int64)ino);
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW)
			*out = u64_at(st, 0);
		err = rc == SQLITE_DONE ? -ENOENT : index_err(ix, rc, "node size");
		sqlite3_reset(st);
	}
	pthread_mutex_unlock(&ix->lock);
	return err;
}

static int
chunk_row(struct each *e, sqlite3_stmt *st)
{
	uint64_t id = u64_at(st, 0);
	struct index_chunk c = {
	    .file_id = id >> CHUNK_NO_BITS,
	    .chunk_no = (uint32_t)id & CHUNK_NO_MASK,
	    .space = u32_at(st, 1),
	    .clean_slot = sqlite3_column_int64(st, 2),
	    .clean_mask = u64_at(st, 3),
	    .sealed_slot = sqlite3_column_int64(st, 4),
	    .sealed_mask = u64_at(st, 5),
	    .dirty_slot = sqlite3_column_int64(st, 6),
	    .dirty_mask = u64_at(st, 7),
	    .sealed_zero = u64_at(st, 8),
	    .dirty_zero = u64_at(st, 9),
	};

	return e->fn.chunk(e->fn_arg, &c);
}

int
index_each_chunk(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_chunk *c), void *arg)
{
	struct each e = {.is_logged = true, .row = chunk_row, .fn_arg = arg, .fn.chunk = fn};

	return each_row(ix, "SELECT * FROM chunk WHERE space=?1 ORDER BY id", NULL, space, 0, &e);
}

static int
seal_row(struct each *e, sqlite3_stmt *st)
{
	struct index_seal s = {u64_at(st, 0), u32_at(st, 1), u64_at(st, 2)};

	return e->fn.seal(e->fn_arg, &s);
}

int
index_each_seal(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_seal *s), void *arg)
{
	struct each e = {.is_logged = true, .row = seal_row, .fn_arg = arg, .fn.seal = fn};

	return each_row(
	    ix, "SELECT * FROM seal WHERE space=?1 ORDER BY file_id", NULL, space, 0, &e);
}

static int
tomb_row(struct each *e, sqlite3_stmt *st)
{
	struct index_tomb b = {u64_at(st, 0), u32_at(st, 1), text_at(st, 2), text_at(st, 3)};

	return e->fn.tomb(e->fn_arg, &b);
}

int
index_each_tomb(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_tomb *b), void *arg)
{
	struct each e = {.row = tomb_row, .fn_arg = arg, .fn.tomb = fn};

	return each_row(ix, "SELECT * FROM tomb WHERE space=?1 ORDER BY id", NULL, space, 0, &e);
}

static int
upload_row(struct each *e, sqlite3_stmt *st)
{
	struct index_upload u = {u64_at(st, 0), u32_at(st, 1), text_at(st, 2), text_at(st, 3),
	    u64_at(st, 4), u64_at(st, 5)};

	return e->fn.upload(e->fn_arg, &u);
}

int
index_each_upload(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_upload *u), void *arg)
{
	struct each e = {.row = upload_row, .fn_arg = arg, .fn.upload = fn};

	return each_row(ix, "SELECT * FROM upload WHERE space=?1 ORDER BY ino", NULL, space, 0, &e);
}

static int
reply_row(struct each *e, sqlite3_stmt *st)
{
	struct index_reply r = {.space = u32_at(st, 1),
	    .time_ns = sqlite3_column_int64(st, 2),
	    .tags = sqlite3_column_blob(st, 3),
	    .ntags = (size_t)sqlite3_column_bytes(st, 3) / INDEX_REPLY_TAG_LEN};

	return e->fn.reply(e->fn_arg, &r);
}

int
index_each_reply(
    struct index *ix, uint32_t space, int (*fn)(void *arg, const struct index_reply *r), void *arg)
{
	struct each e = {.row = reply_row, .fn_arg = arg, .fn.reply = fn};

	return each_row(ix, "SELECT * FROM reply WHERE space=?1 ORDER BY seq", NULL, space, 0, &e);
}

static int
kv_row(struct each *e, sqlite3_stmt *st)
{
	return e->fn.kv(e->fn_arg, text_at(st, 0), text_at(st, 1));
}

int
index_each_kv(struct index *ix, const char *ns,
    int (*fn)(void *arg, const char *key, const char *value), void *arg)
{
	struct each e = {.row = kv_row, .fn_arg = arg, .fn.kv = fn};

	return each_row(ix, "SELECT key,value FROM kv WHERE ns=?1 ORDER BY key", ns, 0, 0, &e);
}

char *
index_get_kv(struct index *ix, const char *ns, const char *key)
{
	sqlite3_stmt *st = NULL;
	char *value = NULL;
	int rc;

	pthread_mutex_lock(&ix->lock);
	rc = sqlite3_prepare_v2(
	    ix->db, "SELECT value FROM kv WHERE ns=?1 AND key=?2", -1, &st, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_bind_text(st, 1, ns, -1, SQLITE_STATIC);
		sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW && text_at(st, 0) != NULL)
			value = xstrdup(text_at(st, 0));
	}
	index_err(ix, rc, "get kv");
	sqlite3_finalize(st);
	pthread_mutex_unlock(&ix->lock);
	return value;
}

static int
event_row(struct each *e, sqlite3_stmt *st)
{
	return e->fn.event(
	    e->fn_arg, u64_at(st, 0), sqlite3_column_int64(st, 1), text_at(st, 2), text_at(st, 3));
}

int
index_each_event(struct index *ix, const char *type, unsigned int max,
    int (*fn)(void *arg, uint64_t id, int64_t time_ns, const char *type, const char *json),
    void *arg)
{
	struct each e = {.row = event_row, .fn_arg = arg, .fn.event = fn};

	if (type != NULL)
		return each_row(ix,
		    "SELECT id,time,type,json FROM event WHERE type=?1 ORDER BY id DESC LIMIT ?2",
		    type, 0, max, &e);
	return each_row(
	    ix, "SELECT id,time,type,json FROM event ORDER BY id DESC LIMIT ?1", NULL, max, 0, &e);
}

static int
redo_row(struct each *e, sqlite3_stmt *st)
{
	if (sqlite3_column_bytes(st, 2) != 4096)
		return -EUCLEAN;
	return e->fn.redo(
	    e->fn_arg, sqlite3_column_int64(st, 0), u32_at(st, 1), sqlite3_column_blob(st, 2));
}

int
index_each_redo(struct index *ix, uint32_t space,
    int (*fn)(void *arg, int64_t slot, uint32_t block, const void *data), void *arg)
{
	struct each e = {.is_logged = true, .row = redo_row, .fn_arg = arg, .fn.redo = fn};

	return each_row(ix, "SELECT slot,block,data FROM redo WHERE space=?1", NULL, space, 0, &e);
}
