/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_index.c - rows go in, come back, and a bad file is refused. */
#include <fcntl.h>
#include <sys/stat.h>

#include "cache/index_int.h"
#include "tests/unit/index_place.h"

static int
same_node(void *arg, const struct index_node *n)
{
	const struct index_node *want = arg;

	assert_int_equal(n->ino, want->ino);
	assert_int_equal(n->parent, want->parent);
	assert_string_equal(n->name, want->name);
	assert_int_equal(n->cookie, want->cookie);
	assert_int_equal(n->mode, want->mode);
	assert_int_equal(n->size, want->size);
	assert_int_equal(n->mtime_ns, want->mtime_ns);
	assert_int_equal(n->btime_ns, want->btime_ns);
	assert_int_equal(n->verf, want->verf);
	assert_int_equal(n->dirty_since_ns, want->dirty_since_ns);
	assert_int_equal(n->base_limit, want->base_limit);
	assert_int_equal(n->sealed_size, want->sealed_size);
	assert_true(n->has_sealed);
	assert_null(n->remote_key);
	assert_string_equal(n->remote_etag, want->remote_etag);
	assert_int_equal(n->remote_attr_seq, want->remote_attr_seq);
	assert_string_equal(n->target, want->target);
	return 0;
}

static int
same_chunk(void *arg, const struct index_chunk *c)
{
	assert_memory_equal(c, arg, sizeof(*c));
	return 0;
}

static void
rows_survive_a_reopen(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	struct index_txn *t = index_txn_new();
	struct index_node n = {.ino = 77,
	    .space = 3,
	    .gen = 9,
	    .parent = 5,
	    .name = "n\303\244me",
	    .cookie = UINT64_MAX - 1,
	    .mode = 0100644,
	    .uid = UINT32_MAX,
	    .size = 1ull << 44,
	    .mtime_ns = -5,
	    .btime_ns = 6,
	    .verf = 0x8000000000000001ull,
	    .dirty_since_ns = 4,
	    .base_limit = CACHE_LIMIT_NONE,
	    .sealed_size = 12,
	    .has_sealed = true,
	    .remote_etag = "\"e\"",
	    .remote_attr_seq = 8,
	    .target = "t"};
	struct index_chunk c;

	memset(&c, 0, sizeof(c));
	c.file_id = 77;
	c.chunk_no = (1u << 27) - 1;
	c.space = 3;
	c.clean_slot = 1;
	c.sealed_slot = -1;
	c.dirty_slot = 2;
	c.clean_mask = UINT64_MAX;
	c.dirty_mask = 1ull << 63;
	index_txn_put_node(t, &n);
	index_txn_put_chunk(t, &c);
	index_txn_put_kv(t, "share", "a", "{}");
	apply(ix, t);
	index_close(ix);
	ix = open_ok(p->path);
	assert_int_equal(index_each_node(ix, 3, same_node, &n), 0);
	assert_int_equal(index_each_chunk(ix, 3, same_chunk, &c), 0);
	char *v = index_get_kv(ix, "share", "a");
	assert_string_equal(v, "{}");
	free(v);
	assert_null(index_get_kv(ix, "share", "b"));
	index_close(ix);
}

static int
count_chunk(void *arg, const struct index_chunk *c)
{
	(void)c;
	(*(unsigned int *)arg)++;
	return 0;
}

static void
deleting_a_files_chunks_spares_its_neighbours(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	struct index_txn *t = index_txn_new();
	unsigned int n = 0;

	for (uint64_t f = 5; f < 8; f++) {
		struct index_chunk c = {.file_id = f,
		    .chunk_no = (1u << 27) - 1,
		    .space = 1,
		    .clean_slot = -1,
		    .sealed_slot = -1,
		    .dirty_slot = (int64_t)f,
		    .dirty_mask = 1};

		index_txn_put_chunk(t, &c);
		c.chunk_no = 0;
		index_txn_put_chunk(t, &c);
	}
	index_txn_del_file_chunks(t, 6);
	apply(ix, t);
	assert_int_equal(index_each_chunk(ix, 1, count_chunk, &n), 0);
	assert_int_equal(n, 4);
	index_close(ix);
}

static int
count_event(void *arg, uint64_t id, int64_t time_ns, const char *type, const char *json)
{
	(void)id;
	(void)type;
	(void)json;
	if ((*(unsigned int *)arg)++ == 0)
		assert_int_equal(time_ns, 10499);
	return 0;
}

static void
events_keep_the_newest_ten_thousand(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	struct index_txn *t = index_txn_new();
	unsigned int n = 0;

	for (int i = 0; i < 10500; i++)
		index_txn_add_event(t, i, i % 2 == 0 ? "even" : "odd", "{}");
	apply(ix, t);
	assert_int_equal(index_each_event(ix, NULL, 20000, count_event, &n), 0);
	assert_int_equal(n, 10000);
	n = 0;
	assert_int_equal(index_each_event(ix, "odd", 3, count_event, &n), 0);
	assert_int_equal(n, 3);
	index_close(ix);
}

struct replies_seen {
	uint64_t n, first, last;
};

static int
see_reply(void *arg, const struct index_reply *row)
{
	struct replies_seen *seen = arg;
	uint64_t tag[2];

	for (size_t i = 0; i < row->ntags; i++) {
		memcpy(tag, row->tags + i * sizeof(tag), sizeof(tag));
		assert_int_equal(tag[1], 42);
		assert_true(seen->n == 0 || tag[0] == seen->last + 1);
		if (seen->n++ == 0)
			seen->first = tag[0];
		seen->last = tag[0];
		assert_int_equal(row->time_ns, (tag[0] - i) * 10);
	}
	return 0;
}

static void
add_replies(struct index *ix, uint32_t space, uint64_t from, uint64_t to)
{
	struct index_txn *t = index_txn_new();
	uint64_t tags[7][2];
	size_t n;

	while (from < to) { /* some alone, some together */
		const struct index_reply row = {space, (int64_t)from * 10, (uint8_t *)tags,
		    to - from < from % 7 + 1 ? to - from : from % 7 + 1};

		for (n = 0; n < row.ntags; n++) {
			tags[n][0] = from++;
			tags[n][1] = 42;
		}
		index_txn_add_reply(t, &row);
	}
	apply(ix, t);
}

static void
replies_keep_the_newest_of_all_spaces(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	struct replies_seen seen = {0};

	add_replies(ix, 2, 1, 101);
	add_replies(ix, 1, 101, 3001);
	index_close(ix);
	ix = open_ok(p->path);
	assert_int_equal(index_each_reply(ix, 1, see_reply, &seen), 0);
	assert_int_equal(seen.n, 2900);
	assert_int_equal(seen.first, 101);
	assert_int_equal(seen.last, 3000);
	add_replies(ix, 1, 3001, 20001);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(index_each_reply(ix, 1, see_reply, &seen), 0);
	assert_in_range(seen.n, 8192, 8192 + 256);
	assert_int_equal(seen.last, 20000);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(index_each_reply(ix, 2, see_reply, &seen), 0);
	assert_int_equal(seen.n, 0);
	index_close(ix);
}

static void
an_index_from_before_there_were_replies_gets_them(void **state)
{
	struct place *p = *state;
	struct replies_seen seen = {0};
	struct index *ix;
	sqlite3 *db;

	index_close(open_ok(p->path));
	assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "DROP TABLE reply", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	ix = open_ok(p->path);
	add_replies(ix, 1, 1, 3);
	assert_int_equal(index_each_reply(ix, 1, see_reply, &seen), 0);
	assert_int_equal(seen.n, 2);
	index_close(ix);
}

static void
numbers_never_come_twice_even_after_a_crash(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	char copy[128];
	uint64_t last = 0;

	for (int i = 0; i < 200000; i++) { /* far beyond one reserve, with no commit between */
		uint64_t ino = index_next_ino(ix);

		assert_true(ino > last);
		last = ino;
	}
	/* what lies on disk at this moment is what a crash leaves */
	snprintf(copy, sizeof(copy), "%s/copy.db", p->dir);
	testdir_copy_db(p->path, copy);
	struct index *after = open_ok(copy);
	assert_true(index_next_ino(after) > last);
	assert_int_equal(index_incarnation(after), index_incarnation(ix));
	index_close(after);
	index_close(ix);
	ix = open_ok(p->path);
	assert_true(index_next_ino(ix) > last);
	assert_true(index_next_ino(ix) < last + 10); /* a clean end gives the reserve back */
	index_close(ix);
}

static void
refused(const char *path, int want, const char *word)
{
	struct index *ix;
	char text[512];
	bool is_new;

	assert_int_equal(index_open(path, true, &ix, &is_new, text, sizeof(text)), want);
	assert_non_null(strstr(text, word));
}

static void
a_second_opener_is_refused(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);

	refused(p->path, -EBUSY, "in use");
	index_close(ix);
}

static void
damaged_indexes_are_refused_with_advice_and_left_alone(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	struct index_txn *t = index_txn_new();
	struct stat st;
	char name[32];

	for (uint64_t i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "name-%llu", (unsigned long long)i);
		struct index_node n = {.ino = 100 + i, .space = 1, .name = name};

		index_txn_put_node(t, &n);
	}
	apply(ix, t);
	index_close(ix);
	assert_int_equal(stat(p->path, &st), 0);
	assert_int_equal(truncate(p->path, st.st_size / 2 & ~4095), 0);
	refused(p->path, -EUCLEAN, "move it away");
	assert_int_equal(truncate(p->path, 1000), 0);
	refused(p->path, -EUCLEAN, "move it away");
	assert_int_equal(truncate(p->path, 0), 0);
	refused(p->path, -EUCLEAN, "move it away");
	assert_int_equal(stat(p->path, &st), 0);
	assert_int_equal(st.st_size, 0);
	FILE *garbage = fopen(p->path, "w");
	assert_non_null(garbage);
	for (int i = 0; i < 1000; i++)
		fputs("this is no database ", garbage);
	fclose(garbage);
	refused(p->path, -EUCLEAN, "index");
}

static int
count_redo(void *arg, int64_t slot, uint32_t block, const void *data)
{
	(void)slot;
	(void)block;
	(*(unsigned int *)arg) += *(const unsigned char *)data;
	return 0;
}

static void
a_space_goes_with_all_its_rows(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	struct index_txn *t = index_txn_new();
	unsigned char block[4096] = {1};
	unsigned int n = 0;

	for (uint32_t space = 1; space <= 2; space++) {
		struct index_chunk c = {.file_id = space,
		    .space = space,
		    .clean_slot = -1,
		    .sealed_slot = -1,
		    .dirty_slot = 1,
		    .dirty_mask = 1};

		index_txn_put_chunk(t, &c);
		index_txn_put_redo(t, space, 1, 0, block);
		index_txn_put_redo(t, space, 1, 0, block); /* the same block again replaces it */
		index_txn_put_redo(t, space, 2, 0, block);
	}
	index_txn_clear_redo_slot(t, 2, 2);
	index_txn_del_space(t, 1);
	apply(ix, t);
	assert_int_equal(index_each_chunk(ix, 1, count_chunk, &n), 0);
	assert_int_equal(index_each_redo(ix, 1, count_redo, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(index_each_redo(ix, 2, count_redo, &n), 0);
	assert_int_equal(n, 1);
	index_close(ix);
}

static void
sql(const char *path, const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void
an_index_of_version_1_opens_and_keeps_its_rows(void **state)
{
	struct place *p = *state;
	struct index_chunk c = {.file_id = 5,
	    .chunk_no = 2,
	    .space = 3,
	    .clean_slot = 1,
	    .clean_mask = 7,
	    .sealed_slot = -1,
	    .dirty_slot = 4,
	    .dirty_mask = 8};
	struct index_txn *t = index_txn_new();
	struct index *ix = open_ok(p->path);

	index_txn_put_chunk(t, &c);
	assert_int_equal(index_apply(ix, t), 0);
	index_txn_free(t);
	index_close(ix);
	sql(p->path, "ALTER TABLE chunk DROP COLUMN sealed_zero;"
		     "ALTER TABLE chunk DROP COLUMN dirty_zero; PRAGMA user_version=1");
	ix = open_ok(p->path);
	assert_int_equal(index_each_chunk(ix, 3, same_chunk, &c), 0);
	c.dirty_zero = 8;
	c.dirty_slot = -1;
	t = index_txn_new();
	index_txn_put_chunk(t, &c);
	assert_int_equal(index_apply(ix, t), 0);
	index_txn_free(t);
	index_close(ix);
	ix = open_ok(p->path);
	assert_int_equal(index_each_chunk(ix, 3, same_chunk, &c), 0);
	index_close(ix);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(rows_survive_a_reopen, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		deleting_a_files_chunks_spares_its_neighbours, setup, teardown),
	    cmocka_unit_test_setup_teardown(events_keep_the_newest_ten_thousand, setup, teardown),
	    cmocka_unit_test_setup_teardown(replies_keep_the_newest_of_all_spaces, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		an_index_from_before_there_were_replies_gets_them, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		an_index_of_version_1_opens_and_keeps_its_rows, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		numbers_never_come_twice_even_after_a_crash, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_second_opener_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		damaged_indexes_are_refused_with_advice_and_left_alone, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_space_goes_with_all_its_rows, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
