/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_zero.c - zeros without bytes, holes of the base, and spaces that keep all they have. */
#include "gateway/base/clock.h"
#include "tests/unit/cache_steps.h"

static void
zeroing_an_empty_tebibyte_does_nothing_at_all(void **state)
{
	struct fx *fx = new_volume_fx(64 * MIB, false);
	struct fx_file *f = &fx->files[0];
	struct cache_zero z = {.file = &f->cf, .end = 1ull << 40};
	uint64_t end;

	(void)state;
	cache_space_lock(fx->space);
	assert_int_equal(cache_zero(&z), 0); /* one step */
	cache_zero_end(&z);
	assert_int_equal(f->cf.nchunks, 0);
	assert_int_equal(f->cf.dirty_zeros, 0);
	assert_false(cache_provisioned(&f->cf, 0, 1ull << 40, &end));
	assert_int_equal(end, 1ull << 40);
	cache_space_unlock(fx->space);
	/* two chunks far apart: two steps of work, not four million */
	assert_int_equal(fx_write(f, 0, 4096, buf, 0), 0);
	assert_int_equal(fx_write(f, MIB, 4096, buf, 0), 0);
	z = (struct cache_zero){.file = &f->cf, .end = 1ull << 40};
	cache_space_lock(fx->space);
	assert_int_equal(cache_zero(&z), 0);
	cache_zero_end(&z);
	assert_int_equal(f->cf.nchunks, 0); /* nothing lies below: what was DIRTY is just gone */
	assert_int_equal(f->cf.dirty_bytes, 0);
	cache_space_unlock(fx->space);
	memset(f->oracle, 0, FX_MAX);
	fx_check_range(f, 0, FX_MAX, 0);
	fx_close(fx);
	fx_free(fx);
}

static void
zeros_need_no_bytes_and_become_a_hole_of_the_base(void **state)
{
	struct fx *fx = new_volume_fx(64 * MIB, false);
	struct fx_file *f = make_remote(fx, 0, MIB);

	(void)state;
	fx_zero(fx, f, 4096, MIB / 2);
	assert_int_equal(f->cf.dirty_bytes, 0);
	assert_int_equal(f->cf.dirty_zeros, MIB / 2 / 4096);
	assert_int_equal(
	    fx_write(f, 8192 + 512, 512, buf2, CW_IO_NOWAIT), 0); /* into a zero block */
	assert_int_equal(fx->nfetches, 0);
	assert_int_equal(f->cf.dirty_bytes, 4096);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	fx_close(fx);
	fx_open(fx);
	assert_int_equal(f->cf.dirty_zeros, MIB / 2 / 4096 - 1);
	fx_seal(fx, f);
	fx_check_runs(fx, f);
	fx_check_sealed(fx, f);
	fx_seal_done(fx, f);
	assert_int_equal(f->cf.sealed_zeros + f->cf.dirty_zeros, 0);
	assert_int_equal(cache_evict_all(fx->cache), 0);
	fx->nfetches = 0;
	fx_check_range(f, 16384, MIB / 2 - 16384, CW_IO_NO_READAHEAD); /* is a hole now */
	assert_int_equal(fx->nfetches, 0);
	fx_check_range(f, 0, FX_MAX, 0);
	end(fx);
}

static void
holes_of_the_base_are_read_without_fetch_or_memory(void **state)
{
	struct fx *fx = new_volume_fx(64 * MIB, false);
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, MIB, 8192, buf, 0), 0);
	upload(fx, f);
	assert_int_equal(cache_evict_all(fx->cache), 0);
	fx->nfetches = 0;
	fx_check_range(f, 0, MIB, CW_IO_NOWAIT | CW_IO_NO_READAHEAD);
	assert_int_equal(fx->nfetches, 0);
	assert_int_equal(f->cf.nchunks, 0);
	for (uint32_t off = 0; off < FX_MAX;
	     off += 65536) /* reading ahead fetches no hole either */
		fx_check_range(f, off, 65536, 0);
	assert_int_equal(fx->nfetches, 1);
	fx_wait_landed(f);
	assert_int_equal(f->cf.clean_bytes, 8192);
	/* an edge in a hole needs nothing */
	assert_int_equal(fx_write(f, 12345, 600000, buf2, CW_IO_NOWAIT), 0);
	assert_int_equal(fx->nfetches, 1);
	fx_check_range(f, 0, FX_MAX, 0);
	end(fx);
}

static void
a_pinned_space_is_neither_counted_nor_evicted(void **state)
{
	struct fx *fx = new_volume_fx(4 * MIB, true);
	struct cache_stats st;
	uint64_t used, dirty;

	(void)state;
	for (int i = 0; i < FX_FILES; i++) {
		assert_int_equal(fx_write(&fx->files[i], 0, FX_MAX, buf, 0), 0);
		upload(fx, &fx->files[i]);
	}
	for (int i = 0; i < FX_FILES; i++) { /* few blocks over many: the slots are put together */
		assert_int_equal(fx_write(&fx->files[i], 100 * 512, 512, buf2, 0), 0);
		fx_zero(fx, &fx->files[i], 40960, 8192);
		upload(fx, &fx->files[i]);
	}
	assert_int_equal(cache_evict_all(fx->cache), 0);
	cache_get_stats(fx->cache, &st);
	assert_int_equal(st.used_bytes, 0);
	assert_int_equal(st.evicted_bytes, 0);
	cache_space_get_stats(fx->space, &used, &dirty);
	assert_int_equal(used, FX_FILES * (FX_MAX - 8192));
	fx_close(fx);
	fx_open(fx);
	for (int i = 0; i < FX_FILES; i++)
		fx_check_range(&fx->files[i], 0, FX_MAX, 0);
	assert_int_equal(fx->nfetches, 0);
	end(fx);
}

static void
reading_ahead_does_not_ask_for_what_a_seal_holds(void **state)
{
	struct fx *fx = new_volume_fx(64 * MIB, true);
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, MIB, buf, 0), 0);
	upload(fx, f);
	assert_int_equal(fx_write(f, 65536, 8192, buf2, 0), 0);
	fx_seal(fx, f);
	fx_check_range(f, 0, 65536, 0); /* in order: what follows is read ahead */
	fx_wait_landed(f);
	assert_int_equal(fx->nfetches, 0);
	fx_seal_done(fx, f);
	fx_check_range(f, 0, FX_MAX, 0);
	assert_int_equal(fx->nfetches, 0);
	end(fx);
}

static void
a_pinned_space_lies_where_its_owner_wants_it(void **state)
{
	struct fx *fx = fx_new(&osfile_posix, 64 * MIB);
	struct cache_space *s;
	char dir[128], path[160];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/other/place", fx->dir);
	snprintf(path, sizeof(path), "%s/space-9.data", dir);
	assert_int_equal(cache_space_open_pinned(fx->cache, 9, dir, &fx_volume_ops, fx, &s), 0);
	assert_int_equal(access(path, F_OK), 0);
	cache_space_close(s);
	assert_int_equal(cache_space_open_pinned(fx->cache, 9, NULL, &fx_volume_ops, fx, &s), 0);
	assert_int_equal(cache_space_destroy(s), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	end(fx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(zeroing_an_empty_tebibyte_does_nothing_at_all),
	    cmocka_unit_test(zeros_need_no_bytes_and_become_a_hole_of_the_base),
	    cmocka_unit_test(holes_of_the_base_are_read_without_fetch_or_memory),
	    cmocka_unit_test(a_pinned_space_is_neither_counted_nor_evicted),
	    cmocka_unit_test(reading_ahead_does_not_ask_for_what_a_seal_holds),
	    cmocka_unit_test(a_pinned_space_lies_where_its_owner_wants_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
