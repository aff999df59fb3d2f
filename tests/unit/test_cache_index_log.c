/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_index_log.c - the commit log: what it acknowledged is in the index that the next start finds, in the
 * order of the commits; what it did not is there whole or not at all. CW_SEED repeats a run. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "cache/index_int.h"
#include "gateway/base/digest.h"
#include "tests/unit/index_place.h"

#define BLOCK 4096u

static void
put_chunk(struct index *ix, uint64_t file_id, uint64_t mask)
{
	struct index_txn *t = index_txn_new();
	struct index_chunk c = {.file_id = file_id,
	    .chunk_no = 3,
	    .space = 1,
	    .clean_slot = -1,
	    .sealed_slot = -1,
	    .dirty_slot = (int64_t)file_id,
	    .dirty_mask = mask};

	index_txn_put_chunk(t, &c);
	apply(ix, t);
}

/* --- what an index says -------------------------------------------------------------------------------------- */

static int
say_chunk(void *arg, const struct index_chunk *c)
{
	fprintf(arg, "chunk %llu/%u %lld:%llx %lld:%llx %lld:%llx %llx %llx\n",
	    (unsigned long long)c->file_id, c->chunk_no, (long long)c->clean_slot,
	    (unsigned long long)c->clean_mask, (long long)c->sealed_slot,
	    (unsigned long long)c->sealed_mask, (long long)c->dirty_slot,
	    (unsigned long long)c->dirty_mask, (unsigned long long)c->sealed_zero,
	    (unsigned long long)c->dirty_zero);
	return 0;
}

static int
say_seal(void *arg, const struct index_seal *s)
{
	fprintf(arg, "seal %llu %llu\n", (unsigned long long)s->file_id,
	    (unsigned long long)s->base_limit);
	return 0;
}

static int
say_redo(void *arg, int64_t slot, uint32_t block, const void *data)
{
	fprintf(arg, "redo %lld/%u %08x\n", (long long)slot, block, digest_crc32c(0, data, BLOCK));
	return 0;
}

/* says - all that records may concern, as text; caller frees */
static char *
says(struct index *ix)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	for (uint32_t space = 1; space <= 2; space++) {
		fprintf(f, "space %u\n", space);
		assert_int_equal(index_each_chunk(ix, space, say_chunk, f), 0);
		assert_int_equal(index_each_seal(ix, space, say_seal, f), 0);
		assert_int_equal(index_each_redo(ix, space, say_redo, f), 0);
	}
	fclose(f);
	return text;
}

/* check_copy - what the next start would find is what `want` says. */
static void
check_copy(const struct place *p, const char *want)
{
	struct index *ix;
	char *text;

	testdir_copy_db(p->path, p->copy);
	ix = open_ok(p->copy);
	text = says(ix);
	if (strcmp(text, want) != 0)
		print_error("found:\n%s\nshould be:\n%s\n", text, want);
	assert_string_equal(text, want);
	free(text);
	index_close(ix);
	testdir_copy_db("/dev/null", p->copy);
	remove(p->copy);
}

/* --- as if each had gone into the database ------------------------------------------------------------------- */

static void
random_op(struct index_txn *t, uint64_t *rnd)
{
	static char block[BLOCK];
	uint32_t space = 1 + (uint32_t)(fx_random(rnd) % 2);
	uint64_t file_id = space * 100 + fx_random(rnd) % 3;
	struct index_chunk c = {.file_id = file_id,
	    .chunk_no = (uint32_t)(fx_random(rnd) % 5),
	    .space = space,
	    .clean_slot = (int64_t)(fx_random(rnd) % 9),
	    .clean_mask = fx_random(rnd),
	    .sealed_slot = -1,
	    .dirty_slot = (int64_t)(fx_random(rnd) % 9),
	    .dirty_mask = fx_random(rnd),
	    .dirty_zero = fx_random(rnd)};
	struct index_seal s = {file_id, space, fx_random(rnd) >> 1};
	int64_t slot = (int64_t)(fx_random(rnd) % 4);

	switch (fx_random(rnd) % 12) {
	case 0:
		index_txn_del_chunk(t, file_id, c.chunk_no);
		break;
	case 1:
		index_txn_del_file_chunks(t, file_id);
		break;
	case 2:
		index_txn_put_seal(t, &s);
		break;
	case 3:
		index_txn_del_seal(t, file_id);
		break;
	case 4:
		index_txn_clear_redo_slot(t, space, slot);
		break;
	case 5:
		if (fx_random(rnd) % 4 == 0)
			index_txn_clear_redo(t, space);
		break;
	case 6:
	case 7:
	case 8:
		memset(block, (int)fx_random(rnd), sizeof(block));
		index_txn_put_redo(t, space, slot, (uint32_t)(fx_random(rnd) % 3), block);
		break;
	default:
		index_txn_put_chunk(t, &c);
		break;
	}
}

static void
records_are_as_good_as_transactions(void **state)
{
	const char *seed = getenv("CW_SEED");
	uint64_t rnd = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	struct place *p = *state;
	struct index *ix = open_ok(p->path), *plain;
	char plain_path[96], *want;
	unsigned int nrecords = 0;

	print_message("CW_SEED=%llu\n", (unsigned long long)rnd);
	snprintf(plain_path, sizeof(plain_path), "%s/plain.db", p->dir);
	plain = open_ok(plain_path);
	plain->log.is_broken = true;
	for (unsigned int i = 0; i < 1500; i++) {
		struct index_txn *t = index_txn_new();

		for (uint64_t n = 1 + fx_random(&rnd) % 4; n-- > 0;)
			random_op(t, &rnd);
		if (fx_random(&rnd) % 40 == 0)
			index_txn_put_kv(t, "share", "a", "{}");
		assert_int_equal(index_apply(ix, t), 0);
		assert_int_equal(index_apply(plain, t), 0);
		index_txn_free(t);
		nrecords = max64(nrecords, ix->log.seq);
		if (fx_random(&rnd) % 60 != 0)
			continue;
		want = says(plain);
		check_copy(p, want);
		free(want);
		if (fx_random(&rnd) % 8 == 0) { /* and once it was closed in order */
			index_close(ix);
			ix = open_ok(p->path);
			assert_int_equal(ix->log.tail, 0);
		}
	}
	assert_true(nrecords > 20);
	assert_int_equal(plain->log.seq, 0);
	index_close(ix);
	index_close(plain);
}

/* --- what is not to be believed ------------------------------------------------------------------------------ */

static void
patch(const char *path, uint64_t off, const void *data, size_t len)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, (off_t)off), len);
	close(fd);
}

/* check_found - what a copy says of which the log was changed. */
static void
check_found(const struct place *p, uint64_t off, const void *data, size_t len, const char *want)
{
	char log[110], *text;
	struct index *ix;

	testdir_copy_db(p->path, p->copy);
	snprintf(log, sizeof(log), "%s-log", p->copy);
	patch(log, off, data, len);
	ix = open_ok(p->copy);
	text = says(ix);
	assert_string_equal(text, want);
	free(text);
	index_close(ix);
}

#define CHUNK(id, mask) "chunk " id "/3 -1:0 -1:0 " id ":" mask " 0 0\n"

static void
a_torn_or_foreign_record_ends_the_log(void **state)
{
	static const char zeros[512];
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	uint64_t gen = 1;
	uint32_t other = 1;

	put_chunk(ix, 1, 1);
	put_chunk(ix, 2, 2);
	assert_int_equal(ix->log.tail, 2 * BLOCK);
	check_copy(p, "space 1\n" CHUNK("1", "1") CHUNK("2", "2") "space 2\n");
	/* a sector of the second, its generation, its number; an incarnation; the first: then neither counts */
	check_found(p, BLOCK, zeros, sizeof(zeros), "space 1\n" CHUNK("1", "1") "space 2\n");
	check_found(p, BLOCK + 16, &gen, 8, "space 1\n" CHUNK("1", "1") "space 2\n");
	check_found(p, BLOCK + 24, zeros, 8, "space 1\n" CHUNK("1", "1") "space 2\n");
	check_found(p, BLOCK + 12, &other, 4, "space 1\n" CHUNK("1", "1") "space 2\n");
	check_found(p, 40, "x", 1, "space 1\nspace 2\n");
	index_close(ix);
}

static void
records_of_a_generation_that_was_taken_in_do_not_count(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	char *text;

	put_chunk(ix, 1, 1);
	put_chunk(ix, 2, 2);
	text = says(ix); /* takes them in */
	free(text);
	assert_int_equal(ix->log.tail, 0);
	put_chunk(ix, 1, 8); /* over the first; the second, of before, lies behind it */
	put_chunk(ix, 2, 16);
	text = says(ix);
	free(text);
	put_chunk(ix, 3, 4);
	check_copy(p, "space 1\n" CHUNK("1", "8") CHUNK("2", "10") CHUNK("3", "4") "space 2\n");
	index_close(ix);
}

static void
the_log_of_another_index_does_not_count(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	char wal[110], *text;

	put_chunk(ix, 1, 1);
	testdir_copy_db(p->path, p->copy);
	index_close(ix);
	assert_int_equal(remove(p->copy), 0); /* the database is lost, or moved away as advised */
	snprintf(wal, sizeof(wal), "%s-wal", p->copy);
	assert_int_equal(remove(wal), 0);
	ix = open_ok(p->copy);
	text = says(ix);
	assert_string_equal(text, "space 1\nspace 2\n");
	free(text);
	index_close(ix);
}

static void
a_record_of_a_newer_program_is_refused(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path), *copy;
	char log[110], text[512], head[32 + 8];
	uint32_t crc, len;
	FILE *f;

	put_chunk(ix, 1, 1);
	testdir_copy_db(p->path, p->copy);
	snprintf(log, sizeof(log), "%s-log", p->copy);
	f = fopen(log, "rb");
	assert_non_null(f);
	assert_int_equal(fread(head, 1, sizeof(head), f), sizeof(head));
	memcpy(&len, head + 8, sizeof(len));
	assert_int_equal(len, 32 + 8 + 11 * 8);
	fclose(f);
	len = sizeof(head);
	memcpy(head + 8, &len, sizeof(len));
	head[32] = 99;
	crc = digest_crc32c(0, head + 8, sizeof(head) - 8);
	memcpy(head + 4, &crc, sizeof(crc));
	patch(log, 0, head, sizeof(head));
	assert_int_equal(try_open(p->copy, &copy, text, sizeof(text)), -EUCLEAN);
	assert_non_null(strstr(text, "damaged"));
	index_close(ix);
}

/* --- a log that cannot be written ---------------------------------------------------------------------------- */

static void
a_log_that_fails_is_left_for_the_database(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	int full = open("/dev/full", O_RDWR | O_CLOEXEC);

	put_chunk(ix, 1, 1);
	assert_true(full >= 0);
	assert_true(dup2(full, ix->log.fd) >= 0);
	put_chunk(ix, 2, 2);
	assert_int_equal(ix->log.tail, 0);
	put_chunk(ix, 1, 4);
	assert_int_equal(ix->log.tail, 0);
	check_copy(p, "space 1\n" CHUNK("1", "4") CHUNK("2", "2") "space 2\n");
	index_close(ix);
	close(full);
	ix = open_ok(p->path); /* it may be good again */
	put_chunk(ix, 3, 4);
	assert_int_equal(ix->log.tail, BLOCK);
	check_copy(p, "space 1\n" CHUNK("1", "4") CHUNK("2", "2") CHUNK("3", "4") "space 2\n");
	index_close(ix);
}

static void
a_transaction_that_fails_leaves_what_was_pending(void **state)
{
	static char value[60000];
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	struct index_txn *t = index_txn_new();
	struct index_chunk c = {.file_id = 1,
	    .chunk_no = 3,
	    .space = 1,
	    .clean_slot = -1,
	    .sealed_slot = -1,
	    .dirty_slot = 1,
	    .dirty_mask = 4};
	char *text;

	put_chunk(ix, 1, 1);
	memset(value, 'x', sizeof(value) - 1);
	index_txn_put_chunk(t, &c); /* would replace the pending row */
	index_txn_put_kv(t, "share", "a", value);
	assert_int_equal(
	    sqlite3_exec(ix->db, "PRAGMA max_page_count=1", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(index_apply(ix, t), -ENOSPC);
	assert_int_equal(
	    sqlite3_exec(ix->db, "PRAGMA max_page_count=1000000", NULL, NULL, NULL), SQLITE_OK);
	check_copy(p, "space 1\n" CHUNK("1", "1") "space 2\n");
	text = says(ix);
	assert_string_equal(text, "space 1\n" CHUNK("1", "1") "space 2\n");
	free(text);
	apply(ix, t);
	check_copy(p, "space 1\n" CHUNK("1", "4") "space 2\n");
	index_close(ix);
}

static void
a_place_without_room_for_a_log_needs_none(void **state)
{
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	char log[110];

	snprintf(log, sizeof(log), "%s-log", p->path);
	assert_int_equal(mkdir(log, 0700), 0); /* cannot be opened for writing */
	put_chunk(ix, 1, 1);
	put_chunk(ix, 2, 2);
	assert_int_equal(ix->log.seq, 0);
	assert_int_equal(rmdir(log), 0);
	check_copy(p, "space 1\n" CHUNK("1", "1") CHUNK("2", "2") "space 2\n");
	index_close(ix);
}

static void
a_full_log_goes_into_the_database(void **state)
{
	static char block[BLOCK];
	struct place *p = *state;
	struct index *ix = open_ok(p->path);
	unsigned int nempty = 0;

	assert_true(index_has_redo_room(ix));
	for (unsigned int i = 0; i < 2600 && nempty < 2; i++) {
		struct index_txn *t = index_txn_new();

		memset(block, (int)i, sizeof(block));
		index_txn_put_redo(t, 1, i % 7, 5, block);
		if (!index_has_redo_room(ix))
			index_txn_clear_redo(t, 1);
		apply(ix, t);
		nempty += ix->log.tail == 0;
		assert_true(ix->log.tail <= INDEX_LOG_SIZE);
	}
	assert_true(nempty > 0);
	assert_false(index_wants_tidy(ix) && ix->log.tail < INDEX_LOG_TIDY);
	index_close(ix);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(records_are_as_good_as_transactions, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_torn_or_foreign_record_ends_the_log, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		records_of_a_generation_that_was_taken_in_do_not_count, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		the_log_of_another_index_does_not_count, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_record_of_a_newer_program_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_log_that_fails_is_left_for_the_database, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_transaction_that_fails_leaves_what_was_pending, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_place_without_room_for_a_log_needs_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_log_goes_into_the_database, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
