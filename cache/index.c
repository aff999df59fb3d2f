/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.c - the SQLite database: open, create, check, close.
 *
 * One connection in exclusive locking mode: a second process is refused, and no shared-memory file is
 * needed.  A database that is damaged, foreign or newer is refused with words that say what to do; it
 * is never replaced silently, because it is the only record of what is not yet in the bucket.
 */
#include "cache/index_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "gateway/base/digest.h"

#define APPLICATION_ID 0x43575331 /* "CWS1" */
#define SCHEMA_VERSION 3
#define QUICK_CHECK_NS 1500000000ull

/* Not of the schema proper: an index made before there was one gets it when it is opened, and a
 * program that does not know it loses nothing by leaving it alone. */
static const char reply_table[] =
    "CREATE TABLE IF NOT EXISTS reply(seq INTEGER PRIMARY KEY, space INTEGER NOT NULL,"
    " time INTEGER NOT NULL, tags BLOB NOT NULL)";

/* The meaning of every column: FORMAT.md. */
static const char schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE node(ino INTEGER PRIMARY KEY, space INTEGER NOT NULL, gen INTEGER, parent "
    "INTEGER,"
    " name TEXT, cookie INTEGER, mode INTEGER, uid INTEGER, gid INTEGER, size INTEGER,"
    " atime INTEGER, mtime INTEGER, ctime INTEGER, btime INTEGER, flags INTEGER, verf INTEGER,"
    " data_seq INTEGER, attr_seq INTEGER, dirty_since INTEGER,"
    " base_limit INTEGER, sealed_limit INTEGER, sealed_size INTEGER, has_sealed INTEGER,"
    " remote_key TEXT, remote_etag TEXT, remote_size INTEGER, remote_mtime INTEGER,"
    " remote_data_seq INTEGER, remote_attr_seq INTEGER, target TEXT);"
    "CREATE TABLE chunk(id INTEGER PRIMARY KEY, space INTEGER NOT NULL,"
    " clean_slot INTEGER, clean_mask INTEGER, sealed_slot INTEGER, sealed_mask INTEGER,"
    " dirty_slot INTEGER, dirty_mask INTEGER,"
    " sealed_zero INTEGER NOT NULL DEFAULT 0, dirty_zero INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE seal(file_id INTEGER PRIMARY KEY, space INTEGER NOT NULL, base_limit INTEGER);"
    "CREATE TABLE tomb(id INTEGER PRIMARY KEY, space INTEGER NOT NULL, key TEXT, etag TEXT);"
    "CREATE TABLE upload(ino INTEGER PRIMARY KEY, space INTEGER NOT NULL, key TEXT, upload_id TEXT,"
    " data_seq INTEGER, part_size INTEGER);"
    "CREATE TABLE kv(ns TEXT, key TEXT, value TEXT, PRIMARY KEY(ns, key)) WITHOUT ROWID;"
    "CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER, type TEXT, json TEXT);"
    "CREATE TABLE redo(space INTEGER, slot INTEGER, block INTEGER, data BLOB,"
    " PRIMARY KEY(space, slot, block));";

int
index_err(struct index *ix, int rc, const char *what)
{
	int err;

	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		err = -ENOSPC;
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		err = -EBUSY;
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		err = -EUCLEAN;
		break;
	case SQLITE_NOMEM:
		err = -ENOMEM;
		break;
	case SQLITE_PERM:
	case SQLITE_READONLY:
		err = -EACCES;
		break;
	case SQLITE_CANTOPEN:
		err = -ENOENT;
		break;
	default:
		err = -EIO;
	}
	log_err("cache.index", "sqlite", "path=%s what=\"%s\" rc=%d text=\"%s\"", ix->path, what,
	    rc, ix->db == NULL ? "" : sqlite3_errmsg(ix->db));
	return err;
}

sqlite3_stmt *
index_stmt(struct index *ix, enum index_op op)
{
	int rc;

	if (ix->stmts[op] == NULL) {
		rc = sqlite3_prepare_v3(
		    ix->db, index_sql[op], -1, SQLITE_PREPARE_PERSISTENT, &ix->stmts[op], NULL);
		if (rc != SQLITE_OK) {
			index_err(ix, rc, index_sql[op]);
			return NULL;
		}
	}
	return ix->stmts[op];
}

static int
run_sql(struct index *ix, const char *sql)
{
	return index_err(ix, sqlite3_exec(ix->db, sql, NULL, NULL, NULL), sql);
}

/* get_int - the first column of the first row. result: 0, -ENODATA without a row, other errors */
static int
get_int(struct index *ix, const char *sql, int64_t *out)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(ix->db, sql, -1, &st, NULL), err = 0;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(st, 0);
	else if (rc == SQLITE_DONE)
		err = -ENODATA;
	else
		err = index_err(ix, rc, sql);
	sqlite3_finalize(st);
	return err;
}

/* --- checks ------------------------------------------------------------------------------------------ */

static int
out_of_time(void *arg)
{
	const struct timespec *end = arg;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > end->tv_sec ||
	       (now.tv_sec == end->tv_sec && now.tv_nsec > end->tv_nsec);
}

static int
check_rows(struct index *ix, const char *sql, void (*say)(void *arg, const char *line), void *arg)
{
	sqlite3_stmt *st = NULL;
	const char *text;
	int rc = sqlite3_prepare_v2(ix->db, sql, -1, &st, NULL), found = 0;

	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(st);
		if (rc != SQLITE_ROW)
			break;
		text = (const char *)sqlite3_column_text(st, 0);
		if (text == NULL || strcmp(text, "ok") == 0)
			continue;
		found++;
		if (say != NULL)
			say(arg, text);
	}
	sqlite3_finalize(st);
	if (rc == SQLITE_INTERRUPT)
		return -ETIME;
	if (rc != SQLITE_DONE)
		return index_err(ix, rc, sql);
	return found;
}

/* quick_check - as much as fits in the start-up budget; `causeway check` does it all. */
static int
quick_check(struct index *ix)
{
	struct timespec end;
	int r;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += (long)(QUICK_CHECK_NS % 1000000000);
	end.tv_sec += (time_t)(QUICK_CHECK_NS / 1000000000) + end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	sqlite3_progress_handler(ix->db, 20000, out_of_time, &end);
	r = check_rows(ix, "PRAGMA quick_check(1)", NULL, NULL);
	sqlite3_progress_handler(ix->db, 0, NULL, NULL);
	if (r == -ETIME) {
		log_info("cache.index", "check-cut", "path=%s: too big for the start-up check",
		    ix->path);
		return 0;
	}
	return r > 0 ? -EUCLEAN : r;
}

int
index_check_integrity(struct index *ix, void (*say)(void *arg, const char *line), void *arg)
{
	int r;

	pthread_mutex_lock(&ix->lock);
	r = check_rows(ix, "PRAGMA integrity_check(100)", say, arg);
	pthread_mutex_unlock(&ix->lock);
	return r;
}

/* --- open -------------------------------------------------------------------------------------------- */

int
index_put_meta(struct index *ix, const char *key, int64_t value)
{
	sqlite3_stmt *st = index_stmt(ix, OP_SET_META);
	int rc;

	if (st == NULL)
		return -EIO;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, value);
	rc = sqlite3_step(st);
	sqlite3_reset(st);
	return index_err(ix, rc, key);
}

static int
create_schema(struct index *ix)
{
	uint32_t incarnation = 0;
	char version[96];
	int err;

	while (incarnation == 0)
		random_bytes(&incarnation, sizeof(incarnation));
	snprintf(version, sizeof(version), "PRAGMA application_id=%d; PRAGMA user_version=%d",
	    APPLICATION_ID, SCHEMA_VERSION);
	err = run_sql(ix, "BEGIN IMMEDIATE");
	if (err == 0)
		err = run_sql(ix, schema);
	if (err == 0)
		err = index_put_meta(ix, "incarnation", incarnation);
	if (err == 0)
		err = index_put_meta(ix, "next_ino", INO_FIRST);
	if (err == 0)
		err = run_sql(ix, version);
	if (err == 0)
		err = run_sql(ix, "COMMIT");
	return err;
}

static int
load_meta(struct index *ix)
{
	int64_t value;
	int err;

	err = get_int(ix, "SELECT value FROM meta WHERE key='incarnation'", &value);
	if (err != 0)
		return err == -ENODATA ? -EUCLEAN : err;
	ix->incarnation = (uint32_t)value;
	err = get_int(ix, "SELECT value FROM meta WHERE key='next_ino'", &value);
	if (err != 0)
		return err == -ENODATA ? -EUCLEAN : err;
	ix->next_ino = ix->ino_limit = (uint64_t)value;
	err = get_int(ix, "SELECT value FROM meta WHERE key='log_gen'", &value);
	if (err == -ENODATA)
		value = err = 0; /* there never was a log */
	return err == 0 ? index_log_open(ix, (uint64_t)value) : err;
}

/* upgrade - an index of version 1 gets what version 2 added; its rows mean what they meant. Version 3 may have a
 * commit log beside it, which older programs would not read. */
static int
upgrade(struct index *ix, int64_t version)
{
	int err = run_sql(ix, "BEGIN IMMEDIATE");

	if (err == 0 && version == 1)
		err = run_sql(ix,
		    "ALTER TABLE chunk ADD COLUMN sealed_zero INTEGER NOT NULL DEFAULT 0;"
		    "ALTER TABLE chunk ADD COLUMN dirty_zero INTEGER NOT NULL DEFAULT 0;");
	if (err == 0)
		err = run_sql(ix, "PRAGMA user_version=3; COMMIT");
	if (err == 0)
		log_info("cache.index", "upgraded", "path=%s version=3", ix->path);
	return err;
}

/* identify - is it ours, and can we read it? is_new: nothing in it yet */
static int
identify(struct index *ix, bool *is_new, int64_t *version, char *err_text, size_t err_cap)
{
	int64_t app = 0, tables = 0;
	int err;

	err = get_int(ix, "PRAGMA application_id", &app);
	if (err == 0)
		err = get_int(ix, "PRAGMA user_version", version);
	if (err == 0)
		err = get_int(ix, "SELECT count(*) FROM sqlite_master", &tables);
	if (err != 0)
		return err;
	*is_new = app == 0 && *version == 0 && tables == 0;
	if (*is_new)
		return 0;
	if (app != APPLICATION_ID) {
		snprintf(err_text, err_cap, "%s is an SQLite database, but not a Causeway index",
		    ix->path);
		return -EUCLEAN;
	}
	if (*version < 1 || *version > SCHEMA_VERSION) {
		snprintf(err_text, err_cap, "%s has schema version %lld; this program knows %d",
		    ix->path, (long long)*version, SCHEMA_VERSION);
		return -EUCLEAN;
	}
	return 0;
}

static int
configure(struct index *ix)
{
	static const char *const pragmas[] = {"PRAGMA locking_mode=EXCLUSIVE",
	    "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA cache_size=-65536",
	    "PRAGMA temp_store=MEMORY", "PRAGMA journal_size_limit=67108864",
	    "BEGIN EXCLUSIVE; COMMIT"};
	int err = 0;

	for (size_t i = 0; i < sizeof(pragmas) / sizeof(pragmas[0]) && err == 0; i++)
		err = run_sql(ix, pragmas[i]);
	index_wal_init(ix);
	return err;
}

static void
explain(const char *path, int err, char *text, size_t cap)
{
	if (cap == 0 || text[0] != '\0')
		return;
	if (err == -EUCLEAN)
		snprintf(text, cap,
		    "the index %s is damaged. Restore it, or move it away (with its -wal and -log "
		    "files) to "
		    "start "
		    "anew: files that were in sync come back from the bucket, but data not yet "
		    "uploaded "
		    "would be lost",
		    path);
	else if (err == -EBUSY)
		snprintf(text, cap, "the index %s is in use by another process", path);
	else
		snprintf(text, cap, "the index %s cannot be opened: %s", path, err_str(err));
}

/* refuse_empty - a file that is there but empty lost its content: it is not a fresh start. */
static int
refuse_empty(const char *path, bool *existed)
{
	struct stat st;

	*existed = stat(path, &st) == 0;
	return *existed && st.st_size == 0 ? -EUCLEAN : 0;
}

static int
open_db(struct index *ix, bool create, bool *is_new, char *err_text, size_t err_cap)
{
	int64_t version = SCHEMA_VERSION;
	int rc, err;

	rc = sqlite3_open_v2(ix->path, &ix->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0), NULL);
	if (rc != SQLITE_OK)
		return index_err(ix, rc, "open");
	sqlite3_extended_result_codes(ix->db, 1);
	err = configure(ix);
	if (err == 0)
		err = identify(ix, is_new, &version, err_text, err_cap);
	if (err == 0 && *is_new)
		err = create ? create_schema(ix) : -EUCLEAN;
	else if (err == 0)
		err = quick_check(ix);
	if (err == 0 && !*is_new && version < SCHEMA_VERSION)
		err = upgrade(ix, version);
	if (err == 0 && create)
		err = run_sql(ix, reply_table);
	if (err == 0)
		err = load_meta(ix);
	return err;
}

int
index_open(
    const char *path, bool create, struct index **out, bool *is_new, char *err_text, size_t err_cap)
{
	struct index *ix = xcalloc(1, sizeof(*ix));
	pthread_mutexattr_t attr;
	bool existed;
	int err;

	*out = NULL;
	*is_new = false;
	if (err_cap > 0)
		err_text[0] = '\0';
	ix->path = xstrdup(path);
	ix->log.fd = -1;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&ix->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	err = refuse_empty(path, &existed);
	if (err == 0)
		err = open_db(ix, create, is_new, err_text, err_cap);
	if (err == 0 && *is_new && existed)
		err = -EUCLEAN; /* a database without our tables where our index was */
	if (err == 0) {
		ix->is_read_only = !create;
		index_ballast_fill(ix, true);
		err = index_absorb(ix); /* the end of the last run, if that was sudden */
	}
	if (err == 0 && create)
		err = index_reserve(ix, NULL);
	if (err != 0) {
		explain(path, err, err_text, err_cap);
		ix->is_read_only = true;
		index_close(ix);
		return err;
	}
	*out = ix;
	return 0;
}

void
index_close(struct index *ix)
{
	if (ix->db != NULL && !ix->is_read_only && index_absorb(ix) != 0)
		log_warn("cache.index", "log-kept", "path=%s: the next start reads it", ix->path);
	if (ix->db != NULL && !ix->is_read_only &&
	    index_put_meta(ix, "next_ino", (int64_t)ix->next_ino) !=
		0) /* gives back what was only reserved */
		log_warn("cache.index", "numbers-skipped", "path=%s", ix->path);
	index_log_close(ix);
	for (int i = 0; i < OP_MAX; i++)
		sqlite3_finalize(ix->stmts[i]);
	sqlite3_close(ix->db);
	pthread_mutex_destroy(&ix->lock);
	free(ix->path);
	free(ix);
}

/* --- numbers ----------------------------------------------------------------------------------------- */

uint32_t
index_incarnation(const struct index *ix)
{
	return ix->incarnation;
}

int
index_reserve(struct index *ix, uint64_t *new_limit)
{
	uint64_t limit = ix->next_ino + INO_RESERVE;
	int err;

	if (ix->ino_limit - ix->next_ino > INO_RESERVE / 2 && ix->ino_limit > ix->next_ino) {
		if (new_limit != NULL)
			*new_limit = ix->ino_limit;
		return 0;
	}
	err = index_put_meta(ix, "next_ino", (int64_t)limit);
	if (err != 0)
		return err;
	if (new_limit != NULL)
		*new_limit = limit; /* counts once the transaction is durable */
	else
		ix->ino_limit = limit;
	return 0;
}

uint64_t
index_next_ino(struct index *ix)
{
	uint64_t ino = atomic_fetch_add(&ix->next_ino, 1);

	while (ino >= ix->ino_limit) {
		/* more than half a reserve between two commits: reserve at once. A number that is not
		 * reserved must not be used: it could come a second time after a crash */
		pthread_mutex_lock(&ix->lock);
		if (ino >= ix->ino_limit && index_reserve(ix, NULL) != 0)
			fatal_at(
			    __FILE__, __LINE__, "inode numbers cannot be reserved in the index");
		pthread_mutex_unlock(&ix->lock);
	}
	return ino;
}
