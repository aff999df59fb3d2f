/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_slots.c - slots are used again before they are punched, within bounds, and punching makes way for I/O. */
#include "tests/unit/cache_steps.h"

#include "gateway/base/clock.h"

static struct {
	_Atomic uint64_t bytes, ns;
	_Atomic unsigned int slow_us; /* a slot */
	_Atomic int64_t held;	      /* what the file seems to take; 0 = what it does */
} disk;

static int
count_punch(struct osfile *f, uint64_t off, uint64_t len)
{
	uint64_t start = clock_mono_ns();
	int err = osfile_posix.punch(f, off, len);

	usleep((unsigned int)(disk.slow_us * (len >> CACHE_CHUNK_SHIFT)));
	disk.bytes += len;
	disk.ns += clock_mono_ns() - start;
	return err;
}

static int64_t
tell_held(struct osfile *f)
{
	return disk.held != 0 ? disk.held : osfile_posix.held(f);
}

static struct fx *
start_disk(uint64_t capacity)
{
	static struct osfile_ops ops;

	ops = osfile_posix;
	ops.punch = count_punch;
	ops.held = tell_held;
	disk.bytes = disk.ns = 0;
	disk.slow_us = 0;
	disk.held = 0;
	return fx_new(&ops, capacity);
}

/* take, give - n slots. locked */
static void
take(struct fx *fx, int32_t *slots, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		slots[i] = cachei_slot_alloc(fx->space, NO_SLOT);
}

static void
give(struct fx *fx, const int32_t *slots, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		cachei_slot_free(fx->space, slots[i]);
}

static unsigned int
count_below(const int32_t *slots, unsigned int n, int32_t limit)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < n; i++)
		count += slots[i] < limit;
	return count;
}

static void
wait_punched(struct fx *fx)
{
	bool is_left = true;

	for (int i = 0; i < 5000 && is_left; i++) {
		clock_sleep_ms(1);
		cache_space_lock(fx->space);
		is_left = fx->space->slots.nready > 0 || fx->space->npunching > 0;
		cache_space_unlock(fx->space);
	}
	assert_false(is_left);
}

static void
what_was_given_back_is_used_first(void **state)
{
	struct fx *fx = start_disk(1024 * MIB);
	int32_t a[64], b[64];

	(void)state;
	cache_space_lock(fx->space);
	take(fx, a, 64);
	give(fx, a, 64);
	take(fx, b, 64);
	assert_int_equal(count_below(b, 64, 64), 64);
	assert_int_equal(fx->space->slots.n, 64);
	assert_int_equal(fx->space->slots.nstale, 64);
	assert_int_equal(fx->cache->nstale, 64);
	assert_int_equal(fx->cache->nready, 0);
	for (unsigned int i = 1; i < 64; i++)
		assert_int_equal(b[i], b[i - 1] == 63 ? 0 : b[i - 1] + 1); /* side by side */
	/* a hint counts more, and the same is true of it */
	give(fx, b, 64);
	assert_int_equal(cachei_slot_alloc(fx->space, 17), 17);
	assert_int_equal(fx->cache->nstale, 1);
	cachei_slot_free(fx->space, 17);
	cache_space_unlock(fx->space);
	wait_punched(fx);
	assert_int_equal(disk.bytes, 64ull << CACHE_CHUNK_SHIFT);
	assert_int_equal(fx->cache->nstale, 0);
	assert_int_equal(fx->cache->nready, 0);
	cache_space_lock(fx->space);
	take(fx, a, 64);
	assert_int_equal(fx->space->slots.nstale, 0);
	give(fx, a, 64);
	cache_space_unlock(fx->space);
	end(fx);
}

static void
only_so_many_are_stale(void **state)
{
	struct fx *fx = start_disk(16 * MIB); /* 64 slots: 8 may be */
	int32_t a[32], b[32], c[8];

	(void)state;
	cache_space_lock(fx->space);
	take(fx, a, 32);
	give(fx, a, 32);
	take(fx, b, 32);
	assert_int_equal(count_below(b, 32, 32), 8);
	assert_int_equal(fx->cache->nstale, 8);
	for (unsigned int i = 0; i < 4; i++) /* those were written all over */
		cachei_slot_whole(fx->space, b[i]);
	assert_int_equal(fx->cache->nstale, 4);
	take(fx, c, 8);
	assert_int_equal(count_below(c, 8, 32), 4);
	assert_int_equal(fx->cache->nstale, 8);
	assert_int_equal(cachei_slot_alloc(fx->space, a[31]), 32 + 24 + 4); /* no hint helps */
	cachei_slot_free(fx->space, 32 + 24 + 4);
	give(fx, b, 32);
	give(fx, c, 8);
	assert_int_equal(fx->cache->nstale, 0);
	cache_space_unlock(fx->space);
	wait_punched(fx);
	end(fx);
}

/* work - ms of I/O by somebody. result: how much of the time was spent on punching */
static double
work(struct fx *fx, unsigned int ms)
{
	uint64_t start = clock_mono_ns(), before = disk.ns;

	while (clock_mono_ns() - start < ms * 1000000ull) {
		cache_space_lock(fx->space);
		fx->space->nios++;
		cache_space_unlock(fx->space);
		clock_sleep_ms(1);
	}
	return (double)(disk.ns - before) / (double)(clock_mono_ns() - start);
}

static void
a_chunk_that_is_written_all_over_is_not_stale(void **state)
{
	struct fx *fx = start_disk(1024 * MIB);
	struct fx_file *f = &fx->files[0];
	int32_t slots[8];

	(void)state;
	disk.slow_us = 100000; /* the evictor comes to one of them, and no further */
	(void)work(fx, 10);
	cache_space_lock(fx->space);
	take(fx, slots, 8);
	give(fx, slots, 8);
	fx->space->nios++;
	cache_space_unlock(fx->space);
	assert_int_equal(fx_write(f, 0, 4096, buf, 0), 0);
	assert_int_equal(fx->cache->nstale, 1);
	assert_int_equal(fx_write(f, 4096, CACHE_CHUNK_SIZE - 4096, buf, 0), 0);
	assert_int_equal(fx->cache->nstale, 0);
	end(fx);
}

static void
punching_makes_way_for_io(void **state)
{
	struct fx *fx = start_disk(4ull << 30);
	static int32_t slots[2000], every[1000];
	uint32_t left;
	double share;

	(void)state;
	disk.slow_us = 3000;
	(void)work(fx, 10);
	cache_space_lock(fx->space);
	fx->space->nios++;
	take(fx, slots, 2000);
	for (unsigned int i = 0; i < 1000; i++)
		every[i] = slots[2 * i]; /* none beside another */
	give(fx, every, 1000);
	cache_space_unlock(fx->space);
	share = work(fx, 1500);
	left = fx->space->slots.nready;
	print_message("%.2f of the time; %u of 1,000 left\n", share, left);
	assert_true(share > 0.02 && share < 0.25);
	assert_true(left > 800);
	disk.slow_us = 100;
	wait_punched(fx); /* nobody is there any more */
	end(fx);
}

static void
a_pinned_space_is_punched_for_half_of_the_time(void **state)
{
	static struct osfile_ops ops;
	static int32_t slots[2000], every[1000];
	struct fx *fx;
	double share;

	(void)state;
	ops = osfile_posix;
	ops.punch = count_punch;
	disk.slow_us = 3000;
	fx = fx_new_volume(&ops, 4ull << 30, true, true);
	(void)work(fx, 10);
	cache_space_lock(fx->space);
	fx->space->nios++;
	take(fx, slots, 2000);
	for (unsigned int i = 0; i < 1000; i++)
		every[i] = slots[2 * i];
	give(fx, every, 1000);
	assert_int_equal(fx->cache->nready, 0); /* its disk is none of the cache's */
	cache_space_unlock(fx->space);
	share = work(fx, 500);
	print_message("%.2f of the time\n", share);
	assert_true(share > 0.25 && share < 0.75);
	disk.slow_us = 10;
	wait_punched(fx);
	assert_int_equal(fx->cache->nready, 0);
	end(fx);
}

static void
what_is_beyond_the_capacity_goes_at_once(void **state)
{
	struct fx *fx = start_disk(256 * MIB); /* and a sixteenth: 1,088 slots */
	static int32_t slots[2600], every[1300];

	(void)state;
	disk.slow_us =
	    2000; /* 0.4 s for what is too much; a tenth of the time would make 4 s of it */
	(void)work(fx, 10);
	cache_space_lock(fx->space);
	fx->space->nios++;
	take(fx, slots, 2600);
	for (unsigned int i = 0; i < 1300; i++)
		every[i] = slots[2 * i];
	give(fx, every, 1300);
	cache_space_unlock(fx->space);
	for (int i = 0; i < 25 && fx->space->slots.nready > 1088; i++)
		(void)work(fx, 100);
	assert_in_range(fx->space->slots.nready, 1000, 1088); /* and no more than that */
	disk.slow_us = 0;
	end(fx);
}

static void
what_is_stale_displaces_clean_data(void **state)
{
	struct fx *fx = start_disk(10 * MIB); /* 5 slots may be stale */
	int32_t slots[5];
	int64_t clean;

	(void)state;
	for (int i = 0; i < FX_FILES; i++) {
		assert_int_equal(fx_write(&fx->files[i], 0, FX_MAX, buf, 0), 0);
		upload(fx, &fx->files[i]);
	}
	assert_int_equal(cache_commit_sync(fx->space), 0);
	wait_punched(fx);
	clean = fx->cache->clean_bytes;
	assert_in_range(clean, 10 * MIB / 100 * 85, 10 * MIB / 100 * 95);
	cache_space_lock(fx->space);
	take(fx, slots, 5);
	give(fx, slots, 5);
	take(fx, slots, 5);
	assert_int_equal(fx->cache->nstale, 5);
	cache_space_unlock(fx->space);
	disk.held = clean + MIB + (256 << 10); /* it shows */
	cachei_evict_kick(fx->cache);
	for (int i = 0; i < 5000 && fx->cache->clean_bytes > 10 * MIB / 100 * 90 - MIB; i++)
		clock_sleep_ms(1);
	assert_in_range(fx->cache->clean_bytes, 7 * MIB, 10 * MIB / 100 * 90 - MIB);
	cache_space_lock(fx->space);
	give(fx, slots, 5);
	cache_space_unlock(fx->space);
	for (int i = 0; i < FX_FILES; i++)
		fx_check_range(&fx->files[i], 0, FX_MAX, 0);
	end(fx);
}

static void
after_a_restart_the_disk_tells_what_is_stale(void **state)
{
	struct fx *fx = start_disk(16 * MIB);

	(void)state;
	for (unsigned int i = 0; i < FX_FILES; i++)
		assert_int_equal(fx_write(&fx->files[i], 0, 65536, buf, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	fx_close(fx);
	fx_open(fx);
	assert_int_equal(fx->cache->nstale, 0);
	fx_close(fx);
	disk.held = 256 * MIB;
	fx_open(fx);
	assert_int_equal(fx->cache->nstale, FX_FILES);
	fx_close(fx);
	disk.held = 0;
	fx_open(fx);
	assert_int_equal(fx->cache->nstale, 0);
	end(fx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_given_back_is_used_first),
	    cmocka_unit_test(only_so_many_are_stale),
	    cmocka_unit_test(a_chunk_that_is_written_all_over_is_not_stale),
	    cmocka_unit_test(punching_makes_way_for_io),
	    cmocka_unit_test(a_pinned_space_is_punched_for_half_of_the_time),
	    cmocka_unit_test(what_is_beyond_the_capacity_goes_at_once),
	    cmocka_unit_test(what_is_stale_displaces_clean_data),
	    cmocka_unit_test(after_a_restart_the_disk_tells_what_is_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
