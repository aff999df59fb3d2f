/* SPDX-License-Identifier: Apache-2.0 */
/* cache_steps.h - what several files of cache tests begin and end with. */
#ifndef TESTS_CACHE_STEPS_H
#define TESTS_CACHE_STEPS_H

#include "tests/unit/cache_fixture.h"

#define MIB (1u << 20)

static unsigned char buf[FX_MAX], buf2[FX_MAX];

static inline struct fx *
new_crash_fx(uint64_t capacity)
{
	struct fx *fx = fx_new(&osfile_crash, capacity);
	uint64_t rnd = 7;

	fx->conf.flush_interval_ms = 100000; /* only the commits that tests ask for */
	fx_close(fx);
	fx_open(fx);
	fx_fill(&rnd, buf, sizeof(buf));
	fx_fill(&rnd, buf2, sizeof(buf2));
	return fx;
}

static inline void
end(struct fx *fx)
{
	fx_close(fx);
	fx_free(fx);
}

/* upload - the file's present content becomes its base object. */
static inline void
upload(struct fx *fx, struct fx_file *f)
{
	fx_seal(fx, f);
	fx_check_sealed(fx, f);
	fx_seal_done(fx, f);
}

/* make_remote - a file that is in the bucket and not in the cache. */
static inline struct fx_file *
make_remote(struct fx *fx, int i, uint32_t len)
{
	struct fx_file *f = &fx->files[i];

	assert_int_equal(fx_write(f, 0, len, buf, 0), 0);
	upload(fx, f);
	assert_int_equal(cache_evict_all(fx->cache), 0);
	assert_int_equal(f->cf.clean_bytes, 0);
	fx->nfetches = 0;
	return f;
}

static inline struct fx *
new_volume_fx(uint64_t capacity, bool is_pinned)
{
	struct fx *fx = fx_new_volume(&osfile_crash, capacity, true, is_pinned);
	uint64_t rnd = 7;

	fx->conf.flush_interval_ms = 100000;
	fx_close(fx);
	fx_open(fx);
	fx_fill(&rnd, buf, sizeof(buf));
	fx_fill(&rnd, buf2, sizeof(buf2));
	return fx;
}

#endif
