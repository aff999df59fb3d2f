/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_model.c - thousands of random operations against a byte array; CW_SEED repeats a run. */
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
		fx_seal_done(fx, f);
	}
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
run_model(const struct osfile_ops *os, uint64_t capacity, uint64_t seed, unsigned int nops)
{
	struct fx *fx = fx_new(os, capacity);
	uint64_t rnd = seed;

	for (unsigned int i = 0; i < nops && fx->nversions < FX_VERSIONS - 2; i++) {
		struct fx_file *f = &fx->files[fx_random(&rnd) % FX_FILES];
		unsigned int what = (unsigned int)(fx_random(&rnd) % 100);

		if (what < 40)
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
	run_model(&osfile_posix, 64u << 20, get_seed(), get_ops(3000));
}

static void
random_operations_match_in_a_cache_that_must_evict(void **state)
{
	(void)state;
	/* dirty data may fill it: the six files have 9 MiB, two layers of them fit in dirty_max */
	run_model(&osfile_crash, 26u << 20, get_seed() + 1, get_ops(3000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_operations_match_a_byte_array),
	    cmocka_unit_test(random_operations_match_in_a_cache_that_must_evict),
	};

	cachei_big_fetch = 128u << 10; /* so that some are large, see buffer.c */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
