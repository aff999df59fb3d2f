/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a file that is still written: used when they are right, thrown away when they may not be. */
#include <stdatomic.h>

#include "tests/unit/sync_fixture.h"

#define MIB (1u << 20)
#define SIZE (72 * MIB + 4321)
#define PARTS 10 /* of SIZE */

static void
pattern(uint8_t *buf, size_t len, uint64_t off, uint8_t salt)
{
	uint64_t word;
	size_t i, n, in;

	/* word by word: byte by byte takes minutes in a race checker */
	for (i = 0; i < len; i += n) {
		in = (off + i) % sizeof(word);
		n = len - i < sizeof(word) - in ? len - i : sizeof(word) - in;
		word = ((off + i) / sizeof(word) * 11400714819323198485ull >> 13) ^
		       (salt * 0x0101010101010101ull);
		memcpy(buf + i, (const uint8_t *)&word + in, n);
	}
}

static void
write_pattern(struct sx *sx, uint64_t ino, uint64_t off, size_t len, uint8_t salt)
{
	uint8_t *buf = xmalloc(MIB);
	size_t n;

	for (; len > 0; len -= n, off += n) {
		n = len < MIB ? len : MIB;
		pattern(buf, n, off, salt);
		assert_int_equal(fx_write(&sx->fx, &fx_root, ino, off, buf, (uint32_t)n), 0);
	}
	free(buf);
}

/* assert_object - key is `size` bytes of salt 0, but [off, off+len) of salt. */
static void
assert_object(struct sx *sx, const char *key, size_t size, uint64_t off, size_t len, uint8_t salt)
{
	uint8_t *want = xmalloc(size);
	size_t got_len = 0;
	char *got = objstore_mem_get(sx->bucket, key, &got_len, NULL);

	assert_non_null(got);
	assert_int_equal(got_len, size);
	pattern(want, size, 0, 0);
	pattern(want + off, len, off, salt);
	assert_true(memcmp(got, want, size) == 0);
	free(got);
	free(want);
}

static uint64_t
parts(struct sx *sx)
{
	return objstore_mem_count(sx->bucket, OBJ_MPU_PART);
}

static void
wait_parts(struct sx *sx, uint64_t n)
{
	for (int i = 0; i < 4000 && parts(sx) < n; i++)
		clock_sleep_ms(5);
	assert_true(parts(sx) >= n);
}

static void
wait_no_uploads(struct sx *sx)
{
	for (int i = 0; i < 4000 && objstore_mem_uploads(sx->bucket) > 0; i++)
		clock_sleep_ms(5);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
}

/* A disk whose fdatasync, or next write, fails. */
static struct osfile_ops bad_os;
static atomic_bool sync_fails, write_tears;

static int
bad_sync(struct osfile *f)
{
	return atomic_load(&sync_fails) ? -EIO : osfile_posix.sync(f);
}

static int
bad_pwrite(struct osfile *f, const void *buf, size_t len, uint64_t off)
{
	if (len > CACHE_BLOCK_SIZE && atomic_exchange(&write_tears, false)) {
		(void)osfile_posix.pwrite(f, buf, CACHE_BLOCK_SIZE, off);
		return -EIO;
	}
	return osfile_posix.pwrite(f, buf, len, off);
}

static void
probe(struct sx *sx)
{
	if (fx_lookup(&sx->fx, &fx_root, sx->fx.root, "probe") < 0)
		(void)sx_file(sx, sx->fx.root, "probe", "x");
	sx_sync(sx);
}

static void
use_bad_disk(struct sx *sx)
{
	bad_os = osfile_posix;
	bad_os.sync = bad_sync;
	bad_os.pwrite = bad_pwrite;
	sx->os = &bad_os;
	sx_restart(sx);
}

/* begin - a file of SIZE of which parts were sent before anything asked for it. */
static uint64_t
begin(struct sx *sx, const char *name)
{
	uint64_t ino, before;

	probe(sx);
	before = parts(sx);
	ino = fx_create_ok(&sx->fx, sx->fx.root, name);
	write_pattern(sx, ino, 0, SIZE, 0);
	wait_parts(sx, before + 4);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 1);
	assert_int_equal(objstore_mem_objects(sx->bucket), 1);
	return ino;
}

static void
parts_go_while_the_file_is_written_and_each_goes_once(void **state)
{
	struct sx *sx = *state;
	uint64_t before, ino;
	char mtime[32];

	probe(sx);
	before = parts(sx);
	ino = begin(sx, "big");
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE, 0, 0, 0);
	assert_int_equal(parts(sx) - before, PARTS);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	assert_int_equal(fx_getattr(&sx->fx, ino), 0);
	snprintf(mtime, sizeof(mtime), "%lldns", (long long)sx->fx.op.attr.mtime_ns);
	sx_assert_meta(sx, "p/big", "file-mtime", mtime); /* not that of the beginning */
	sx_restart(sx);
	assert_int_equal(sx_pending(sx), 0);
}

static void
an_overwrite_of_what_was_sent_throws_it_away(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = begin(sx, "big"), before = parts(sx);

	write_pattern(sx, ino, 9 * MIB + 17, 100, 7);
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE, 9 * MIB + 17, 100, 7);
	assert_true(parts(sx) - before >= PARTS);
	wait_no_uploads(sx);
}

static void
an_overwrite_of_what_was_not_sent_costs_nothing(void **state)
{
	struct sx *sx = *state;
	uint64_t ino, before;

	probe(sx);
	before = parts(sx);
	ino = begin(sx, "big");
	write_pattern(sx, ino, SIZE - 100, 100, 7);
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE, SIZE - 100, 100, 7);
	assert_int_equal(parts(sx) - before, PARTS);
}

static void
a_truncation_throws_it_away(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = begin(sx, "big");

	assert_int_equal(fx_truncate(&sx->fx, &fx_root, ino, 20 * MIB + 5), 0);
	assert_int_equal(fx_truncate(&sx->fx, &fx_root, ino, 40 * MIB), 0);
	write_pattern(sx, ino, 20 * MIB + 5, 20 * MIB - 5, 3);
	sx_sync(sx);
	assert_object(sx, "p/big", 40 * MIB, 20 * MIB + 5, 20 * MIB - 5, 3);
	wait_no_uploads(sx);
}

static void
a_truncation_to_little_is_one_put(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = begin(sx, "big");

	assert_int_equal(fx_truncate(&sx->fx, &fx_root, ino, 1000), 0);
	sx_sync(sx);
	assert_object(sx, "p/big", 1000, 0, 0, 0);
	wait_no_uploads(sx);
	sx_restart(sx);
	assert_int_equal(sx_pending(sx), 0);
}

static void
a_rename_throws_it_away(void **state)
{
	struct sx *sx = *state;

	(void)begin(sx, "big");
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "big", sx->fx.root, "new"), 0);
	sx_sync(sx);
	assert_object(sx, "p/new", SIZE, 0, 0, 0);
	assert_false(sx_exists(sx, "p/big"));
	wait_no_uploads(sx);
}

static void
an_unlink_throws_it_away(void **state)
{
	struct sx *sx = *state;

	(void)begin(sx, "big");
	assert_int_equal(fx_unlink(&sx->fx, CW_REMOVE, &fx_root, sx->fx.root, "big"), 0);
	sx_sync(sx);
	wait_no_uploads(sx);
	assert_int_equal(objstore_mem_objects(sx->bucket), 1);
}

/* The parts of an earlier life may be of bytes that were never durable. */
static void
after_a_restart_nothing_of_it_is_used(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = begin(sx, "big"), before;

	sx_restart(sx);
	before = parts(sx);
	ino = sx_ino(sx, sx->fx.root, "big");
	write_pattern(sx, ino, 3 * MIB, 4096, 5);
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE, 3 * MIB, 4096, 5);
	assert_true(parts(sx) - before >= PARTS);
	wait_no_uploads(sx);
}

static void
count_completes(struct objstore_req *req, void *ctx)
{
	if (req->op == OBJ_MPU_COMPLETE)
		atomic_fetch_add((atomic_uint *)ctx, 1);
}

/* seal_and_cut - the seal is durable, all parts are there, Complete does not get through; a restart. */
static void
seal_and_cut(struct sx *sx)
{
	atomic_uint completes = 0;

	objstore_mem_before(sx->bucket, count_completes, &completes);
	objstore_mem_fail_next(sx->bucket, OBJ_MPU_COMPLETE, -ERR_OFFLINE, false, 1000);
	cw_share_drain(sx->fx.s);
	for (int i = 0; i < 4000 && atomic_load(&completes) == 0; i++)
		clock_sleep_ms(5);
	assert_true(atomic_load(&completes) > 0);
	sx_restart(sx);
	objstore_mem_before(sx->bucket, NULL, NULL);
	objstore_mem_fail_next(sx->bucket, OBJ_MPU_COMPLETE, 0, false, 0);
}

static void
after_the_seal_it_is_resumed_over_a_restart(void **state)
{
	struct sx *sx = *state;
	uint64_t before;

	(void)begin(sx, "big");
	seal_and_cut(sx);
	before = parts(sx);
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE, 0, 0, 0);
	assert_true(parts(sx) - before <= 1); /* the probe's */
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
}

static void
a_change_behind_the_seal_is_the_next_object(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = begin(sx, "big");

	seal_and_cut(sx);
	ino = sx_ino(sx, sx->fx.root, "big");
	write_pattern(sx, ino, 1 * MIB, 4096, 5);
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE, 1 * MIB, 4096, 5);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
}

static void
a_lost_reply_to_complete_is_no_second_upload(void **state)
{
	struct sx *sx = *state;
	uint64_t before;

	probe(sx);
	before = parts(sx);
	(void)begin(sx, "big");
	objstore_mem_fail_next(sx->bucket, OBJ_MPU_COMPLETE, -ERR_STORE, true, 1);
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE, 0, 0, 0);
	assert_int_equal(parts(sx) - before, PARTS);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	assert_false(sx_has_event(sx, "conflict", ""));
}

static void
parts_that_fail_are_sent_again(void **state)
{
	struct sx *sx = *state;
	uint64_t ino;

	probe(sx);
	objstore_mem_fail_next(sx->bucket, OBJ_MPU_PART, -ERR_STORE, false, 2);
	ino = fx_create_ok(&sx->fx, sx->fx.root, "big");
	write_pattern(sx, ino, 0, SIZE, 0);
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE, 0, 0, 0);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
}

static void
a_torn_write_throws_it_away(void **state)
{
	struct sx *sx = *state;
	uint8_t buf[16384];
	uint64_t ino, before;

	use_bad_disk(sx);
	ino = begin(sx, "big");
	before = parts(sx);
	pattern(buf, sizeof(buf), 2 * MIB, 9);
	atomic_store(&write_tears, true);
	assert_int_equal(fx_write(&sx->fx, &fx_root, ino, 2 * MIB, buf, sizeof(buf)), -EIO);
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE, 2 * MIB, CACHE_BLOCK_SIZE, 9);
	assert_true(parts(sx) - before >= PARTS);
	wait_no_uploads(sx);
}

static void
a_failed_sync_throws_it_away(void **state)
{
	struct sx *sx = *state;
	uint64_t ino, before;

	use_bad_disk(sx);
	ino = begin(sx, "big");
	before = parts(sx);
	atomic_store(&sync_fails, true);
	write_pattern(sx, ino, SIZE, MIB, 0); /* more than rides along in the index */
	assert_int_equal(fx_commit(&sx->fx, ino), -EIO);
	atomic_store(&sync_fails, false);
	sx_sync(sx);
	assert_object(sx, "p/big", SIZE + MIB, 0, 0, 0);
	assert_true(parts(sx) - before >= PARTS);
	wait_no_uploads(sx);
}

/* assert_late - nothing of such a file goes before it is asked for. */
static void
assert_late(struct sx *sx, const char *name)
{
	uint64_t ino, before;

	probe(sx);
	before = parts(sx);
	ino = fx_create_ok(&sx->fx, sx->fx.root, name);
	write_pattern(sx, ino, 0, SIZE, 0);
	clock_sleep_ms(100);
	assert_true(parts(sx) - before <= 1); /* the probe's */
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	sx_sync(sx);
}

static void
nothing_goes_early_where_it_would_be_dear(void **state)
{
	struct sx *sx = *state;

	assert_late(sx, ".big.Xy3a");
	assert_late(sx, "big.part");
	sx->bucket->keeps_versions = true;
	sx_restart(sx);
	assert_late(sx, "big");
}

/* A second writer of the same file while its parts are on their way. */
static void
writes_beside_it_never_mix(void **state)
{
	struct sx *sx = *state;
	uint64_t ino, off;
	unsigned int round;

	probe(sx);
	for (round = 0; round < 6; round++) {
		char name[16], key[24];

		snprintf(name, sizeof(name), "big%u", round);
		snprintf(key, sizeof(key), "p/%s", name);
		ino = fx_create_ok(&sx->fx, sx->fx.root, name);
		off = (uint64_t)round * 5 * MIB + 123;
		write_pattern(sx, ino, 0, 40 * MIB, 0);
		write_pattern(sx, ino, 40 * MIB, round * MIB, 0);
		write_pattern(sx, ino, off, 5000, 1);
		cw_share_drain(sx->fx.s);
		write_pattern(sx, ino, off, 5000, 2);
		sx_sync(sx);
		assert_object(sx, key, (40 + round) * MIB, off, 5000, 2);
		wait_no_uploads(sx);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, sx_setup, sx_teardown)
	    T(parts_go_while_the_file_is_written_and_each_goes_once),
	    T(an_overwrite_of_what_was_sent_throws_it_away),
	    T(an_overwrite_of_what_was_not_sent_costs_nothing),
	    T(a_truncation_throws_it_away),
	    T(a_truncation_to_little_is_one_put),
	    T(a_rename_throws_it_away),
	    T(an_unlink_throws_it_away),
	    T(after_a_restart_nothing_of_it_is_used),
	    T(after_the_seal_it_is_resumed_over_a_restart),
	    T(a_change_behind_the_seal_is_the_next_object),
	    T(a_lost_reply_to_complete_is_no_second_upload),
	    T(parts_that_fail_are_sent_again),
	    T(a_torn_write_throws_it_away),
	    T(a_failed_sync_throws_it_away),
	    T(nothing_goes_early_where_it_would_be_dear),
	    T(writes_beside_it_never_mix),
	};

	if (getenv("SYNC_TEST") != NULL)
		cmocka_set_test_filter(getenv("SYNC_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
