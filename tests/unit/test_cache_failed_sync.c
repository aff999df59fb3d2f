/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_failed_sync.c - a failed sync of the data file: who hears of it, and that nothing it lost is trusted. */
#include "gateway/base/clock.h"
#include "tests/unit/cache_steps.h"

static void
a_failed_fsync_is_told_to_all_and_its_data_is_written_anew(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = &fx->files[0], *g = make_remote(fx, 1, 400000);
	struct cache_stats st;

	(void)state;
	assert_int_equal(fx_write(f, 0, 5000, buf2, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0); /* in redo rows */
	fx_check_range(g, 0, 400000, 0);		   /* fetched, not synced */
	assert_int_equal(fx_write(f, 100, 1000000, buf, 0), 0);
	fx_seal(fx, f);
	assert_int_equal(fx_write(f, 500000, 600000, buf2, 0), 0);
	osfile_crash_fail_syncs(1);
	assert_int_equal(cache_commit_sync(fx->space), -EIO);
	assert_true(fx->nverifier_changes > 0);
	cache_get_stats(fx->cache, &st);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	cache_get_stats(fx->cache, &st);
	assert_false(st.failing);
	/* what the kernel kept only in memory is gone; nothing of ours may depend on it */
	osfile_crash_forget_cached();
	fx_check_range(f, 0, FX_MAX, 0);
	fx_check_sealed(fx, f);
	fx_check_clean(fx, g);
	fx_check_range(g, 0, 400000, 0);
	end(fx);
}

static void
a_failed_commit_is_tried_again_without_being_asked(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	bool is_safe = false;

	(void)state;
	fx->conf.flush_interval_ms = 10;
	fx_close(fx);
	fx_open(fx);
	osfile_crash_fail_syncs(1);
	assert_int_equal(fx_write(&fx->files[0], 0, 600000, buf, 0), 0);
	cache_mark(fx->space);
	for (int i = 0; i < 1000 && !is_safe; i++) {
		clock_sleep_ms(5);
		is_safe = fx->cache->fdatasyncs >= 2 && !fx->cache->failing;
	}
	assert_true(is_safe);
	osfile_crash_forget_cached();
	fx_check_range(&fx->files[0], 0, 600000, 0);
	end(fx);
}

/* seal_ends_after_failed_sync - the sealed bytes may be gone, though they can still be read for a while. */
static void
seal_ends_after_failed_sync(struct fx *fx, struct fx_file *f)
{
	fx_seal(fx, f);
	osfile_crash_fail_syncs(1);
	assert_int_equal(cache_commit_sync(fx->space), -EIO);
	fx_seal_done(fx, f); /* before the next round copies them */
	osfile_crash_forget_cached();
	fx_wait_landed(f);
	fx_check_clean(fx, f);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	fx_check_clean(fx, f);
	fx_check_range(f, 0, FX_MAX, 0);
	fx_close(fx);
	fx_open(fx);
	fx_check_clean(fx, f);
	fx_check_range(f, 0, FX_MAX, 0);
}

static void
an_upload_that_ends_after_a_failed_sync_leaves_no_lost_bytes_as_clean(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, 300000, buf, 0), 0); /* its slot becomes the CLEAN one */
	seal_ends_after_failed_sync(fx, f);
	assert_true(fx->nfetches > 0);
	end(fx);
}

static void
a_refill_after_a_failed_sync_leaves_no_lost_bytes_as_clean(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = make_remote(fx, 0, MIB);

	(void)state;
	fx_check_range(f, 0, FX_MAX, 0);
	fx_wait_landed(f);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	for (uint64_t off = 8192; off < MIB; off += CACHE_CHUNK_SIZE) /* into the CLEAN slots */
		assert_int_equal(fx_write(f, off, 100000, buf2, 0), 0);
	seal_ends_after_failed_sync(fx, f);
	end(fx);
}

static struct fx
    *turning; /* the next pread ends the seal of its first file and begins another one */

static int
pread_and_turn(struct osfile *file, void *p, size_t len, uint64_t off, bool nowait)
{
	struct fx *fx = turning;

	if (fx != NULL) {
		turning = NULL;
		fx_seal_done(fx, &fx->files[0]);
		fx_seal(fx, &fx->files[0]);
	}
	return osfile_crash.pread(file, p, len, off, nowait);
}

static void
dirty_bytes_that_are_sealed_while_sealed_ones_are_copied_are_copied_too(void **state)
{
	struct osfile_ops os = osfile_crash;
	uint64_t rnd = 7;
	struct fx *fx;
	struct fx_file *f;

	(void)state;
	os.pread = pread_and_turn;
	fx = fx_new(&os, 64 * MIB);
	fx->conf.flush_interval_ms = 100000;
	fx_close(fx);
	fx_open(fx);
	fx_fill(&rnd, buf, sizeof(buf));
	fx_fill(&rnd, buf2, sizeof(buf2));
	f = &fx->files[0];
	assert_int_equal(fx_write(f, 0, 300000, buf, 0), 0);
	fx_seal(fx, f);
	assert_int_equal(fx_write(f, 0, 300000, buf2, 0), 0);
	osfile_crash_fail_syncs(1);
	assert_int_equal(cache_commit_sync(fx->space), -EIO);
	turning = fx;
	assert_int_equal(cache_commit_sync(fx->space), 0);
	assert_null(turning);
	osfile_crash_forget_cached();
	fx_check_sealed(fx, f);
	fx_check_range(f, 0, FX_MAX, 0);
	end(fx);
}

static void
a_sync_that_fails_under_zeros_and_a_seal_loses_nothing(void **state)
{
	struct fx *fx = new_volume_fx(64 * MIB, true);
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, MIB, buf, 0), 0);
	upload(fx, f);
	assert_int_equal(fx_write(f, 4096, 8192, buf2, 0), 0); /* few: in redo rows at the commit */
	fx_zero(fx, f, 16384, 65536);
	fx_seal(fx, f);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	assert_int_equal(fx_write(f, 20480 + 512, 1024, buf2, 0), 0);
	osfile_crash_fail_syncs(1);
	assert_int_equal(cache_settle(&f->cf), -EIO);
	cache_space_lock(fx->space);
	assert_false(cache_is_settled(&f->cf));
	cache_space_unlock(fx->space);
	assert_int_equal(cache_settle(&f->cf), 0);
	osfile_crash_forget_cached();
	fx_seal_done(fx, f);
	osfile_crash_fail_syncs(1);
	assert_int_equal(fx_write(f, 600000, 300000, buf2, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), -EIO);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	osfile_crash_forget_cached();
	fx_check_range(f, 0, FX_MAX, 0);
	fx_check_clean(fx, f);
	assert_int_equal(fx->nfetches, 0);
	end(fx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_failed_fsync_is_told_to_all_and_its_data_is_written_anew),
	    cmocka_unit_test(a_failed_commit_is_tried_again_without_being_asked),
	    cmocka_unit_test(an_upload_that_ends_after_a_failed_sync_leaves_no_lost_bytes_as_clean),
	    cmocka_unit_test(a_refill_after_a_failed_sync_leaves_no_lost_bytes_as_clean),
	    cmocka_unit_test(
		dirty_bytes_that_are_sealed_while_sealed_ones_are_copied_are_copied_too),
	    cmocka_unit_test(a_sync_that_fails_under_zeros_and_a_seal_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
