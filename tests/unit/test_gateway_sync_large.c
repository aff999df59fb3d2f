/* SPDX-License-Identifier: Apache-2.0 */
/* Large content: parts, unchanged parts copied, resumed after a restart; overlays on a cold base. */
#include <stdatomic.h>

#include "tests/unit/sync_fixture.h"

#define MIB (1u << 20)

static void
pattern(uint8_t *buf, size_t len, uint64_t off, uint8_t salt)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (uint8_t)((off + i) * 2654435761u >> 13) ^ salt;
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

/* assert_object_pattern - key is `size` bytes of salt 0, but [off, off+len) of salt. */
static void
assert_object_pattern(
    struct sx *sx, const char *key, size_t size, uint64_t off, size_t len, uint8_t salt)
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

static void
a_large_file_goes_in_parts_and_a_change_sends_few_of_them(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = fx_create_ok(&sx->fx, sx->fx.root, "big"), parts, copies;

	write_pattern(sx, ino, 0, 41 * MIB + 12345, 0);
	sx_sync(sx);
	assert_object_pattern(sx, "p/big", 41 * MIB + 12345, 0, 0, 0);
	parts = objstore_mem_count(sx->bucket, OBJ_MPU_PART);
	assert_true(parts >= 6); /* and the probe's */
	copies = objstore_mem_count(sx->bucket, OBJ_MPU_PART_COPY);
	assert_int_equal(cache_evict_all(sx->fx.cache), 0);
	write_pattern(sx, ino, 17 * MIB + 5, 4096, 9);
	sx_sync(sx);
	assert_object_pattern(sx, "p/big", 41 * MIB + 12345, 17 * MIB + 5, 4096, 9);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_MPU_PART) - parts, 1);
	assert_true(objstore_mem_count(sx->bucket, OBJ_MPU_PART_COPY) - copies >= 8);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	assert_int_equal(sx_pending(sx), 0);
}

static void
an_append_and_a_truncate_are_exact(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = fx_create_ok(&sx->fx, sx->fx.root, "big");

	write_pattern(sx, ino, 0, 20 * MIB, 0);
	sx_sync(sx);
	write_pattern(sx, ino, 20 * MIB, 777, 0);
	sx_sync(sx);
	assert_object_pattern(sx, "p/big", 20 * MIB + 777, 0, 0, 0);
	assert_int_equal(cache_evict_all(sx->fx.cache), 0);
	assert_int_equal(fx_truncate(&sx->fx, &fx_root, ino, 18 * MIB + 3), 0);
	sx_sync(sx);
	assert_object_pattern(sx, "p/big", 18 * MIB + 3, 0, 0, 0);
	assert_int_equal(fx_truncate(&sx->fx, &fx_root, ino, 1 * MIB + 3), 0);
	sx_sync(sx);
	assert_object_pattern(sx, "p/big", 1 * MIB + 3, 0, 0, 0);
}

static void
a_small_change_of_a_cold_small_file_keeps_the_rest(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = fx_create_ok(&sx->fx, sx->fx.root, "small");

	write_pattern(sx, ino, 0, 300000, 0);
	sx_sync(sx);
	sx_restart(sx);
	assert_int_equal(cache_evict_all(sx->fx.cache), 0);
	ino = sx_ino(sx, sx->fx.root, "small");
	write_pattern(sx, ino, 100001, 10, 5);
	sx_sync(sx);
	assert_object_pattern(sx, "p/small", 300000, 100001, 10, 5);
}

static void
an_upload_is_resumed_after_a_restart(void **state)
{
	struct sx *sx = *state;
	uint64_t ino, before, done;
	int i;

	sx->fx.conf.no_early_parts = true;
	sx_restart(sx);
	(void)sx_file(sx, sx->fx.root, "probe", "x");
	sx_sync(sx); /* the probe is over */
	ino = fx_create_ok(&sx->fx, sx->fx.root, "big");
	write_pattern(sx, ino, 0, 48 * MIB, 0);
	assert_int_equal(fx_commit(&sx->fx, ino), 0);
	before = objstore_mem_count(sx->bucket, OBJ_MPU_PART);
	objstore_mem_hold(sx->bucket, true);
	objstore_mem_release(sx->bucket, 4); /* the marker's HEAD.. or CREATE, and some parts */
	cw_share_drain(sx->fx.s);
	for (i = 0; i < 1000 && objstore_mem_count(sx->bucket, OBJ_MPU_PART) - before < 3; i++)
		clock_sleep_ms(5);
	done = objstore_mem_count(sx->bucket, OBJ_MPU_PART) - before;
	assert_in_range(done, 1, 4);
	objstore_mem_fail_next(sx->bucket, OBJ_OP_MAX, -ERR_OFFLINE, false, 1000);
	objstore_mem_hold(sx->bucket, false);
	sx_restart(sx);
	objstore_mem_fail_next(sx->bucket, OBJ_OP_MAX, 0, false, 0);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 1);
	before = objstore_mem_count(sx->bucket, OBJ_MPU_PART);
	sx_sync(sx);
	assert_object_pattern(sx, "p/big", 48 * MIB, 0, 0, 0);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	/* probe of the new store object: one part */
	assert_true(objstore_mem_count(sx->bucket, OBJ_MPU_PART) - before <= 6 - done + 1);
}

static void
a_lost_reply_to_complete_is_no_second_upload(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "probe", "x"), parts;

	sx_sync(sx);
	ino = fx_create_ok(&sx->fx, sx->fx.root, "big");
	write_pattern(sx, ino, 0, 24 * MIB, 0);
	parts = objstore_mem_count(sx->bucket, OBJ_MPU_PART);
	objstore_mem_fail_next(sx->bucket, OBJ_MPU_COMPLETE, -ERR_STORE, true, 1);
	sx_sync(sx);
	assert_object_pattern(sx, "p/big", 24 * MIB, 0, 0, 0);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_MPU_PART) - parts, 3);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	assert_false(sx_has_event(sx, "conflict", ""));
	assert_int_equal(objstore_mem_objects(sx->bucket), 2);
}

static void
an_abandoned_upload_is_aborted(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "probe", "x");
	int i;

	sx_sync(sx);
	ino = fx_create_ok(&sx->fx, sx->fx.root, "big");
	write_pattern(sx, ino, 0, 24 * MIB, 0);
	objstore_mem_fail_next(sx->bucket, OBJ_MPU_PART, -ERR_STORE, false, 1000);
	cw_share_drain(sx->fx.s);
	for (i = 0; i < 1000 && objstore_mem_uploads(sx->bucket) == 0; i++)
		clock_sleep_ms(5);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 1);
	assert_int_equal(fx_unlink(&sx->fx, CW_REMOVE, &fx_root, sx->fx.root, "big"), 0);
	sx_sync(sx);
	for (i = 0; i < 1000 && objstore_mem_uploads(sx->bucket) > 0; i++)
		clock_sleep_ms(5);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	assert_int_equal(objstore_mem_objects(sx->bucket), 1);
}

/* A disk whose fdatasync can be held back, or fails. */
static struct osfile_ops slow_os;
static atomic_bool sync_held, sync_fails;

static int
slow_sync(struct osfile *f)
{
	while (atomic_load(&sync_held))
		clock_sleep_ms(1);
	return atomic_load(&sync_fails) ? -EIO : osfile_posix.sync(f);
}

static void
use_slow_disk(struct sx *sx)
{
	slow_os = osfile_posix;
	slow_os.sync = slow_sync;
	slow_os.view = NULL;
	sx->os = &slow_os;
	sx_restart(sx);
}

/* wait_count - until n requests of op were carried out since `before`. */
static void
wait_count(struct sx *sx, enum objstore_opcode op, uint64_t before, uint64_t n)
{
	for (int i = 0; i < 4000 && objstore_mem_count(sx->bucket, op) < before + n; i++)
		clock_sleep_ms(5);
	assert_true(objstore_mem_count(sx->bucket, op) >= before + n);
}

static void
parts_go_while_the_disk_syncs_and_complete_waits(void **state)
{
	struct sx *sx = *state;
	uint64_t ino, parts, completes;

	use_slow_disk(sx);
	(void)sx_file(sx, sx->fx.root, "probe", "x");
	sx_sync(sx);
	ino = fx_create_ok(&sx->fx, sx->fx.root, "big");
	atomic_store(&sync_held, true);
	write_pattern(sx, ino, 0, 24 * MIB, 0);
	parts = objstore_mem_count(sx->bucket, OBJ_MPU_PART);
	completes = objstore_mem_count(sx->bucket, OBJ_MPU_COMPLETE);
	cw_share_drain(sx->fx.s);
	wait_count(sx, OBJ_MPU_PART, parts, 3);
	clock_sleep_ms(50);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_MPU_COMPLETE), completes);
	assert_false(sx_exists(sx, "p/big"));
	atomic_store(&sync_held, false);
	sx_sync(sx);
	assert_object_pattern(sx, "p/big", 24 * MIB, 0, 0, 0);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_MPU_PART), parts + 3);
}

static void
a_failed_sync_gives_the_upload_up(void **state)
{
	struct sx *sx = *state;
	uint64_t ino, aborts, parts;

	use_slow_disk(sx);
	(void)sx_file(sx, sx->fx.root, "probe", "x");
	sx_sync(sx);
	ino = fx_create_ok(&sx->fx, sx->fx.root, "big");
	atomic_store(&sync_held, true);
	write_pattern(sx, ino, 0, 24 * MIB, 0);
	parts = objstore_mem_count(sx->bucket, OBJ_MPU_PART);
	aborts = objstore_mem_count(sx->bucket, OBJ_MPU_ABORT);
	cw_share_drain(sx->fx.s);
	wait_count(sx, OBJ_MPU_PART, parts, 3);
	atomic_store(&sync_fails, true);
	atomic_store(&sync_held, false);
	wait_count(sx, OBJ_MPU_ABORT, aborts, 1);
	assert_false(sx_exists(sx, "p/big"));
	atomic_store(&sync_fails, false);
	sx_sync(sx);
	assert_object_pattern(sx, "p/big", 24 * MIB, 0, 0, 0);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	assert_true(objstore_mem_count(sx->bucket, OBJ_MPU_PART) >= parts + 6);
}

static void
a_lost_base_is_told_and_what_is_local_is_kept(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = fx_create_ok(&sx->fx, sx->fx.root, "doc");

	write_pattern(sx, ino, 0, 100000, 0);
	sx_sync(sx);
	assert_int_equal(cache_evict_all(sx->fx.cache), 0);
	write_pattern(sx, ino, 8192, 4096, 3);
	objstore_mem_put(sx->bucket, "p/doc", "theirs", 6, NULL, 0, NULL);
	sx_sync(sx);
	sx_assert_object(sx, "p/doc", "theirs");
	assert_int_equal(objstore_mem_objects(sx->bucket), 2);
	assert_true(sx_has_event(sx, "conflict", "\"missing-bytes\":95904"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, sx_setup, sx_teardown)
	    T(a_large_file_goes_in_parts_and_a_change_sends_few_of_them),
	    T(an_append_and_a_truncate_are_exact),
	    T(a_small_change_of_a_cold_small_file_keeps_the_rest),
	    T(an_upload_is_resumed_after_a_restart),
	    T(a_lost_reply_to_complete_is_no_second_upload),
	    T(an_abandoned_upload_is_aborted),
	    T(parts_go_while_the_disk_syncs_and_complete_waits),
	    T(a_failed_sync_gives_the_upload_up),
	    T(a_lost_base_is_told_and_what_is_local_is_kept),
	};

	if (getenv("SYNC_TEST") != NULL)
		cmocka_set_test_filter(getenv("SYNC_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
