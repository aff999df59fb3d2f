/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_drop.c - pages are dropped when they are durable and never before: the file layer of these tests
 * loses at once what is dropped too early. */
#include "tests/unit/cache_steps.h"

static struct fx *dropping; /* its first file is dropped at the next failpoint, or write */
static const char *drop_point;
static uint64_t dropped_to;
static uint64_t dropped_bytes;

static void
drop_now(void)
{
	struct fx *fx = dropping;

	dropping = NULL;
	if (fx != NULL)
		dropped_to = cache_drop_behind(&fx->files[0].cf, 0, MIB);
}

static void
at_failpoint(const char *name)
{
	if (drop_point != NULL && strcmp(name, drop_point) == 0)
		drop_now();
}

static void
count_drop(struct osfile *file, uint64_t off, uint64_t len)
{
	dropped_bytes += len;
	osfile_crash.drop(file, off, len);
}

static int
pwrite_and_drop(struct osfile *file, const void *p, size_t len, uint64_t off)
{
	int err = osfile_crash.pwrite(file, p, len, off);

	drop_now();
	return err;
}

static struct fx *
new_fx(void)
{
	static struct osfile_ops os;
	struct fx *fx;
	uint64_t rnd = 7;

	os = osfile_crash;
	os.drop = count_drop;
	os.pwrite = pwrite_and_drop;
	dropped_bytes = 0;
	cache_failpoint = at_failpoint;
	fx = fx_new(&os, 64 * MIB);
	fx->conf.flush_interval_ms = 100000;
	fx_close(fx);
	fx_open(fx);
	fx_fill(&rnd, buf, sizeof(buf));
	fx_fill(&rnd, buf2, sizeof(buf2));
	return fx;
}

static uint64_t
drop(struct fx_file *f, uint64_t off, uint64_t end)
{
	return cache_drop_behind(&f->cf, off, end);
}

static void
check(struct fx *fx)
{
	fx_check_range(&fx->files[0], 0, FX_MAX, 0);
	if (fx->files[0].cf.has_sealed)
		fx_check_sealed(fx, &fx->files[0]);
}

static void
what_was_synced_is_dropped_up_to_what_was_not(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, MIB - 5, buf, 0), 0);
	assert_int_equal(drop(f, 0, MIB), 0);
	check(fx);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	assert_int_equal(drop(f, 0, CACHE_CHUNK_SIZE), CACHE_CHUNK_SIZE);
	assert_int_equal(dropped_bytes, CACHE_CHUNK_SIZE);
	assert_int_equal(fx_write(f, 600000, 10, buf2, 0), 0);
	assert_int_equal(drop(f, CACHE_CHUNK_SIZE, MIB), 2 * CACHE_CHUNK_SIZE);
	assert_int_equal(dropped_bytes, 2 * CACHE_CHUNK_SIZE);
	check(fx);
	/* of the sealed moment and of what came after it, both */
	fx_seal(fx, f);
	assert_int_equal(drop(f, 0, MIB), 2 * CACHE_CHUNK_SIZE);
	assert_int_equal(cache_commit_all(fx->space), 0);
	assert_int_equal(drop(f, 0, MIB), MIB);
	assert_int_equal(fx_write(f, 0, 300000, buf2, 0), 0);
	assert_int_equal(drop(f, 0, MIB), 0);
	assert_int_equal(cache_commit_all(fx->space), 0);
	dropped_bytes = 0;
	assert_int_equal(drop(f, 0, MIB), MIB);
	assert_int_equal(dropped_bytes, 6 * CACHE_CHUNK_SIZE);
	check(fx);
	fx_seal_done(fx, f);
	check(fx);
	end(fx);
	cache_failpoint = NULL;
}

static void
a_commit_under_way_is_not_durable_yet(void **state)
{
	static const char *const points[] = {"commit-before-sync", "commit-before-redo"};

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct fx *fx = new_fx();
		struct fx_file *f = &fx->files[0];

		assert_int_equal(fx_write(f, 0, i == 0 ? 600000 : 9000, buf, 0), 0);
		dropped_to = MIB;
		drop_point = points[i];
		dropping = fx;
		assert_int_equal(cache_commit_sync(fx->space), 0);
		assert_null(dropping);
		assert_int_equal(dropped_to, 0);
		check(fx);
		end(fx);
	}
	cache_failpoint = NULL;
}

static void
bytes_of_redo_rows_are_durable_elsewhere(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, 9000, buf, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	assert_true(fx->space->redo_bytes > 0);
	assert_int_equal(drop(f, 0, MIB), 0);
	check(fx);
	assert_int_equal(cache_commit_all(fx->space), 0);
	assert_int_equal(drop(f, 0, MIB), MIB);
	check(fx);
	end(fx);
	cache_failpoint = NULL;
}

static void
a_failed_sync_keeps_the_pages_that_mend_it(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, 600000, buf, 0), 0);
	osfile_crash_fail_syncs(1);
	assert_int_equal(cache_commit_sync(fx->space), -EIO);
	assert_int_equal(drop(f, 0, MIB), 0);
	check(fx);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	assert_int_equal(drop(f, 0, MIB), MIB);
	osfile_crash_forget_cached();
	check(fx);
	end(fx);
	cache_failpoint = NULL;
}

static void
a_write_under_way_keeps_its_pages(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, 600000, buf, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	dropped_to = MIB;
	dropping = fx;
	assert_int_equal(fx_write(f, 4096, 60000, buf2, 0), 0); /* in place */
	assert_null(dropping);
	assert_int_equal(dropped_to, 0);
	check(fx);
	end(fx);
	cache_failpoint = NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_synced_is_dropped_up_to_what_was_not),
	    cmocka_unit_test(a_commit_under_way_is_not_durable_yet),
	    cmocka_unit_test(bytes_of_redo_rows_are_durable_elsewhere),
	    cmocka_unit_test(a_failed_sync_keeps_the_pages_that_mend_it),
	    cmocka_unit_test(a_write_under_way_keeps_its_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
