/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_model.c - thousands of random operations against a byte array; CW_SEED repeats a run,
 * CW_TEST names one of the tests. */
#include <time.h>

#include "tests/unit/cache_fixture.h"

static unsigned char big[FX_MAX];

static void
one_write(struct fx *fx, struct fx_file *f, uint64_t *rnd)
{
	uint64_t off = fx_random(rnd) % (FX_MAX - 1);
	uint32_t len = (uint32_t)(1 + fx_random(rnd) % (fx_random(rnd) % 4 == 0 ? 600000 : 9000));

	(void)fx;
	switch (fx_random(rnd) % 4) {
	case 0:
		off &= ~(uint64_t)4095;
		break;
	case 1:
		off = f->size; /* append */
		break;
	default:
		break;
	}
	if (off >= FX_MAX)
		off = 0;
	len = (uint32_t)min64(len, FX_MAX - off);
	fx_fill(rnd, big, len);
	assert_int_equal(fx_write(f, off, len, big, fx_random(rnd) % 2 == 0 ? CW_IO_NOWAIT : 0), 0);
}

static void
one_check(struct fx_file *f, uint64_t *rnd)
{
	uint64_t off = fx_random(rnd) % FX_MAX;
	uint32_t len = (uint32_t)min64(1 + fx_random(rnd) % 300000, FX_MAX - off);

	if (fx_random(rnd) % 8 == 0)
		(void)cache_drop_behind(&f->cf, off, off + len);
	fx_check_range(f, off, len, fx_random(rnd) % 2 == 0 ? CW_IO_NOWAIT : 0);
}

static void
one_upload_step(struct fx *fx, struct fx_file *f, uint64_t *rnd)
{
	if (!f->cf.has_sealed) {
		fx_seal(fx, f);
	} else if (fx_random(rnd) % 2 == 0) {
		fx_check_sealed(fx, f);
	} else {
		fx_check_sealed(fx, f);
		if (fx->is_volume)
			fx_check_runs(fx, f);
		fx_seal_done(fx, f);
	}
}

static void
one_zero(struct fx *fx, struct fx_file *f, uint64_t *rnd)
{
	uint64_t off = fx_random(rnd) % (FX_MAX / CACHE_BLOCK_SIZE);
	uint64_t n = 1 + fx_random(rnd) % (fx_random(rnd) % 4 == 0 ? 300 : 10);

	n = min64(n, FX_MAX / CACHE_BLOCK_SIZE - off);
	fx_zero(fx, f, off * CACHE_BLOCK_SIZE, n * CACHE_BLOCK_SIZE);
}

/* one_fill - what a copier does: it stores only where nothing is. */
static void
one_fill(struct fx *fx, struct fx_file *f, uint64_t *rnd)
{
	static unsigned char data[64 * CACHE_BLOCK_SIZE];
	uint64_t off = fx_random(rnd) % (FX_MAX / CACHE_BLOCK_SIZE), n = 1 + fx_random(rnd) % 64,
		 end;
	struct fx_io fi;

	n = min64(n, FX_MAX / CACHE_BLOCK_SIZE - off);
	off *= CACHE_BLOCK_SIZE;
	n *= CACHE_BLOCK_SIZE;
	fx_fill(rnd, data, n);
	cache_space_lock(fx->space);
	for (uint64_t at = off; at < off + n; at += CACHE_BLOCK_SIZE) {
		const struct chunk *ch =
		    cachei_chunk_find(&f->cf, (uint32_t)(at >> CACHE_CHUNK_SHIFT));
		unsigned int b = at >> CACHE_BLOCK_SHIFT & 63;

		end = at + CACHE_BLOCK_SIZE;
		if ((ch == NULL || ((ch->dirty | ch->sealed | ch->clean) >> b & 1) == 0))
			memcpy(f->oracle + at, data + (at - off), end - at);
	}
	cache_space_unlock(fx->space);
	fx_io_init(&fi, f, CW_IO_WRITE, off, (uint32_t)n, data);
	fi.io.flags = CW_IO_FILL;
	assert_int_equal(fx_io_wait(&fi, cache_write(&fi.io)), 0);
}

/* one_look - what is provisioned, and what is missing, is so. */
static void
one_look(struct fx *fx, struct fx_file *f, uint64_t *rnd)
{
	static const unsigned char zeros[CACHE_BLOCK_SIZE];
	uint64_t off = fx_random(rnd) % (FX_MAX / CACHE_BLOCK_SIZE) * CACHE_BLOCK_SIZE, end, len;
	bool has_data;

	cache_space_lock(fx->space);
	has_data = cache_provisioned(&f->cf, off, FX_MAX, &end);
	assert_true(end > off && end <= FX_MAX && end % CACHE_BLOCK_SIZE == 0);
	for (uint64_t at = off; !has_data && at < end; at += CACHE_BLOCK_SIZE)
		assert_memory_equal(f->oracle + at, zeros, CACHE_BLOCK_SIZE);
	if (has_data)
		end = off;
	for (off = 0; off < FX_MAX; off += len) {
		if (!cache_missing(&f->cf, &off, FX_MAX, &len))
			break;
		assert_false(fx->is_pinned);
		assert_true(len > 0 && off + len <= FX_MAX);
	}
	cache_space_unlock(fx->space);
}

static void
one_drop(struct fx *fx, struct fx_file *f, uint64_t *rnd)
{
	cache_space_lock(fx->space);
	if (f->cf.nio > 0) {
		cache_space_unlock(fx->space);
		return;
	}
	if (!f->cf.has_sealed && f->cf.dirty_bytes == 0 && f->version != 0 &&
	    f->size == fx->versions[f->version].len && f->cf.base_limit == f->size) {
		cache_file_drop_clean(&f->cf, f->size);
	} else if (fx_random(rnd) % 4 == 0) {
		cache_file_discard(&f->cf);
		memset(f->oracle, 0, FX_MAX);
		f->size = 0;
		f->version = f->sealed_version = 0;
		f->is_changed = true;
	}
	cache_space_unlock(fx->space);
	cache_mark(fx->space);
}

static void
check_all(struct fx *fx)
{
	for (int i = 0; i < FX_FILES; i++) {
		fx_check_clean(fx, &fx->files[i]);
		fx_check_range(&fx->files[i], 0, FX_MAX, 0);
		if (fx->files[i].cf.has_sealed)
			fx_check_sealed(fx, &fx->files[i]);
	}
}

static void
no_problem(void *arg, const char *line)
{
	(void)arg;
	print_error("check: %s\n", line);
}

static void
reopen(struct fx *fx)
{
	struct cache_check_report report;

	fx_close(fx);
	assert_int_equal(cache_check(&fx->conf, no_problem, NULL, &report), 0);
	fx_open(fx);
	check_all(fx);
}

static void
one_volume_op(struct fx *fx, struct fx_file *f, unsigned int what, uint64_t *rnd)
{
	if (what < 35)
		one_write(fx, f, rnd);
	else if (what < 50)
		one_zero(fx, f, rnd);
	else if (what < 53)
		one_fill(fx, f, rnd);
	else if (what < 68)
		one_check(f, rnd);
	else if (what < 72)
		one_look(fx, f, rnd);
	else if (what < 88)
		one_upload_step(fx, f, rnd);
	else if (what < 92)
		assert_int_equal(cache_commit_sync(fx->space), 0);
	else if (what < 95)
		assert_int_equal(cache_evict_all(fx->cache), 0);
	else if (what < 98)
		check_all(fx);
	else if (fx_random(rnd) % 4 == 0)
		reopen(fx);
	if (fx->is_pinned)
		assert_int_equal(fx->nfetches, 0);
}

static void
run_model(const struct osfile_ops *os, uint64_t capacity, uint64_t seed, unsigned int nops,
    bool is_volume, bool is_pinned)
{
	struct fx *fx = fx_new_volume(os, capacity, is_volume, is_pinned);
	uint64_t rnd = seed;

	for (unsigned int i = 0; i < nops && fx->nversions < FX_VERSIONS - 2; i++) {
		struct fx_file *f = &fx->files[fx_random(&rnd) % FX_FILES];
		unsigned int what = (unsigned int)(fx_random(&rnd) % 100);

		if (is_volume)
			one_volume_op(fx, f, what, &rnd);
		else if (what < 40)
			one_write(fx, f, &rnd);
		else if (what < 62)
			one_check(f, &rnd);
		else if (what < 72)
			fx_truncate(fx, f, fx_random(&rnd) % FX_MAX);
		else if (what < 88)
			one_upload_step(fx, f, &rnd);
		else if (what < 92)
			assert_int_equal(cache_commit_sync(fx->space), 0);
		else if (what < 95)
			assert_int_equal(cache_evict_all(fx->cache), 0);
		else if (what < 98)
			one_drop(fx, f, &rnd);
		else if (what < 99)
			check_all(fx);
		else if (fx_random(&rnd) % 4 == 0)
			reopen(fx);
	}
	check_all(fx);
	reopen(fx);
	fx_close(fx);
	fx_free(fx);
}

static uint64_t
get_seed(void)
{
	const char *text = getenv("CW_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

	print_message("CW_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

#ifdef __SANITIZE_THREAD__
#define ZERO_OPS 1000 /* minutes each; in full under AddressSanitizer */
#else
#define ZERO_OPS 3000
#endif

static unsigned int
get_ops(unsigned int usual)
{
	const char *text = getenv("CW_OPS");

	return text != NULL ? (unsigned int)atoi(text) : usual;
}

static void
random_operations_match_a_byte_array(void **state)
{
	(void)state;
	run_model(&osfile_posix, 64u << 20, get_seed(), get_ops(3000), false, false);
}

static void
random_operations_match_in_a_cache_that_must_evict(void **state)
{
	(void)state;
	/* dirty data may fill it: the six files have 9 MiB, two layers of them fit in dirty_max */
	run_model(&osfile_crash, 26u << 20, get_seed() + 1, get_ops(3000), false, false);
}

static void
zeros_and_holes_match_in_a_cache_that_must_evict(void **state)
{
	(void)state;
	run_model(&osfile_crash, 26u << 20, get_seed() + 2, get_ops(ZERO_OPS), true, false);
}

static void
a_pinned_space_never_asks_the_bucket(void **state)
{
	(void)state;
	/* its CLEAN data does not count: dirty_max has to hold two layers of 9 MiB */
	run_model(&osfile_crash, 26u << 20, get_seed() + 3, get_ops(ZERO_OPS), true, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_operations_match_a_byte_array),
	    cmocka_unit_test(random_operations_match_in_a_cache_that_must_evict),
	    cmocka_unit_test(zeros_and_holes_match_in_a_cache_that_must_evict),
	    cmocka_unit_test(a_pinned_space_never_asks_the_bucket),
	};

	cmocka_set_test_filter(getenv("CW_TEST"));
	cachei_big_fetch = 128u << 10; /* so that some are large, see buffer.c */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
