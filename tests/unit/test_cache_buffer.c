/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_buffer.c - reads from the memory of fetches: before, while and after it is landed. */
#include <semaphore.h>

#include "gateway/base/clock.h"
#include "tests/unit/cache_fixture.h"

#define MIB (1u << 20)
#define LEN (1280u << 10) /* five chunks */

static unsigned char buf[FX_MAX], buf2[FX_MAX];
static sem_t landing_reached, landing_may;
static _Atomic bool is_gated;
static _Atomic unsigned int ndirect, nplain;

static void
gate(const char *name)
{
	if (!is_gated || strcmp(name, "fetch-before-write") != 0)
		return;
	sem_post(&landing_reached);
	sem_wait(&landing_may);
}

static int
count_direct(struct osfile *file, const void *p, size_t len, uint64_t off)
{
	ndirect++;
	return osfile_crash.pwrite_direct(file, p, len, off);
}

static int
count_plain(struct osfile *file, const void *p, size_t len, uint64_t off)
{
	nplain++;
	return osfile_crash.pwrite(file, p, len, off);
}

static struct fx *
new_fx(void)
{
	static struct osfile_ops os;
	struct fx *fx;
	uint64_t rnd = 7;

	os = osfile_crash;
	os.pwrite_direct = count_direct;
	os.pwrite = count_plain;
	is_gated = false;
	sem_init(&landing_reached, 0, 0);
	sem_init(&landing_may, 0, 0);
	cache_failpoint = gate;
	fx = fx_new(&os, 64 * MIB);
	fx_fill(&rnd, buf, sizeof(buf));
	fx_fill(&rnd, buf2, sizeof(buf2));
	return fx;
}

static void
end(struct fx *fx)
{
	fx_close(fx);
	fx_free(fx);
}

/* make_remote - a file that is in the bucket and not in the cache. */
static struct fx_file *
make_remote(struct fx *fx, int i)
{
	struct fx_file *f = &fx->files[i];

	assert_int_equal(fx_write(f, 0, LEN, buf, 0), 0);
	fx_seal(fx, f);
	fx_seal_done(fx, f);
	assert_int_equal(cache_evict_all(fx->cache), 0);
	assert_int_equal(f->cf.clean_bytes, 0);
	fx->nfetches = 0;
	ndirect = nplain = 0;
	return f;
}

/* fetch_ahead - as the read-ahead does: one GET. */
static void
fetch_ahead(struct fx *fx, struct fx_file *f, uint64_t off, uint32_t len)
{
	struct list fetches;

	list_init(&fetches);
	cache_space_lock(fx->space);
	cachei_fetch_want(&f->cf, off, len, true, &fetches);
	cache_space_unlock(fx->space);
	cachei_fetch_start(&fetches);
	fx_wait_landed(f);
}

static bool
has_buffer(struct fx *fx, struct fx_file *f)
{
	bool has;

	cache_space_lock(fx->space);
	has = f->cf.bufs != NULL;
	cache_space_unlock(fx->space);
	return has;
}

static void
a_read_does_not_wait_for_the_landing(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = make_remote(fx, 0);

	(void)state;
	is_gated = true;
	fx_check_range(f, 100000, 300000, CW_IO_NO_READAHEAD);
	assert_int_equal(fx->nfetches, 1);
	assert_int_equal(f->cf.clean_bytes, 0);
	sem_wait(&landing_reached);
	/* the next one neither, nor is there another fetch */
	fx_check_range(f, 90000, 320000, CW_IO_NO_READAHEAD);
	assert_int_equal(fx->nfetches, 1);
	is_gated = false;
	sem_post(&landing_may);
	fx_wait_landed(f);
	fx_check_clean(fx, f);
	fx_check_range(f, 90000, 320000, CW_IO_NO_READAHEAD);
	assert_int_equal(fx->nfetches, 1);
	end(fx);
}

static void
a_large_buffer_stays_until_it_was_read_a_small_one_until_it_landed(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = make_remote(fx, 0), *g = make_remote(fx, 1);

	(void)state;
	fx_check_range(g, 0, 4096, CW_IO_NO_READAHEAD);
	fx_wait_landed(g);
	assert_false(has_buffer(fx, g));
	assert_int_equal(ndirect, 0);
	/* one fetch of five chunks, of which the reader asked for a half first */
	fetch_ahead(fx, f, 0, LEN);
	assert_true(has_buffer(fx, f));
	assert_int_equal(f->cf.clean_bytes, LEN);
	assert_true(ndirect > 0);
	assert_int_equal(fx->cache->readahead_bytes, LEN);
	fx_check_clean(fx, f);
	fx_check_range(f, 0, LEN / 2, CW_IO_NO_READAHEAD);
	assert_true(has_buffer(fx, f));
	fx_check_range(f, LEN / 2, LEN / 2, CW_IO_NO_READAHEAD);
	assert_false(has_buffer(fx, f));
	assert_int_equal(fx->cache->readahead_bytes, 0);
	fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
	end(fx);
}

static void
pieces_of_chunks_land_in_the_page_cache(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = make_remote(fx, 0);

	(void)state;
	/* from the middle of the first chunk to the middle of the last: two pieces, three chunks */
	fx_check_range(f, CACHE_CHUNK_SIZE / 2, LEN - CACHE_CHUNK_SIZE, CW_IO_NO_READAHEAD);
	fx_wait_landed(f);
	assert_int_equal(nplain, 2);
	assert_int_equal(ndirect, 1);
	fx_check_clean(fx, f);
	end(fx);
}

static void
a_disk_that_is_full_does_not_fail_a_read(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = make_remote(fx, 0);

	(void)state;
	osfile_crash_limit(1);
	fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
	fx_check_range(f, 5000, 4096, CW_IO_NO_READAHEAD);
	fx_wait_landed(f);
	assert_int_equal(f->cf.clean_bytes, 0);
	osfile_crash_limit(0);
	end(fx);
}

static void
a_cache_that_is_full_is_not_filled_further_by_reads(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = make_remote(fx, 0);

	(void)state;
	cache_set_capacity(fx->cache, LEN / 2, 0);
	for (int i = 0; i < 3; i++) {
		fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
		fx_wait_landed(f);
		assert_true(f->cf.clean_bytes <= LEN / 2);
	}
	end(fx);
}

/* new_object - somebody else put other content into the bucket. */
static void
new_object(struct fx *fx, struct fx_file *f)
{
	uint64_t v = ++fx->nversions;

	fx->versions[v].len = LEN;
	fx->versions[v].p = xmalloc(LEN);
	memcpy(fx->versions[v].p, buf2, LEN);
	memcpy(f->oracle, buf2, LEN);
	cache_space_lock(fx->space);
	f->version = v;
	cache_file_drop_clean(&f->cf, LEN);
	cache_space_unlock(fx->space);
}

static void
a_buffer_goes_when_the_object_is_replaced(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = make_remote(fx, 0);

	(void)state;
	is_gated = true; /* it has not even landed */
	fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
	sem_wait(&landing_reached);
	is_gated = false;
	new_object(fx, f);
	assert_false(has_buffer(fx, f));
	sem_post(&landing_may);
	fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
	fx_wait_landed(f);
	fx_check_clean(fx, f);
	end(fx);
}

static void
a_buffer_does_not_show_what_an_upload_replaced(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = make_remote(fx, 0);

	(void)state;
	fx_check_range(f, 0, LEN / 2, CW_IO_NO_READAHEAD);
	fetch_ahead(fx, f, LEN / 2, LEN / 2);
	assert_true(has_buffer(fx, f));
	assert_int_equal(fx_write(f, LEN - 300000, 200000, buf2, 0), 0);
	fx_check_range(f, LEN - 300000, 200000, CW_IO_NO_READAHEAD);
	fx_seal(fx, f);
	fx_check_sealed(fx, f);
	fx_seal_done(fx, f);
	assert_false(has_buffer(fx, f));
	fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
	fx_check_clean(fx, f);
	end(fx);
}

static void
a_file_cut_short_hides_what_a_buffer_has_behind_its_end(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = make_remote(fx, 0);

	(void)state;
	is_gated = true;
	fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
	sem_wait(&landing_reached);
	fx_truncate(fx, f, 700001);
	assert_int_equal(fx_write(f, 900000, 10, buf2, 0), 0);
	fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
	is_gated = false;
	sem_post(&landing_may);
	fx_wait_landed(f);
	fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
	end(fx);
}

static _Atomic uint64_t clock_offset;

static uint64_t
shifted_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec + clock_offset;
}

static int64_t
real_clock(void)
{
	return 1;
}

static void
what_nobody_reads_is_given_back(void **state)
{
	const struct clock_ops ops = {shifted_clock, real_clock};
	struct fx_file *f;
	struct fx *fx;

	(void)state;
	clock_offset = 0;
	clock_install(&ops);
	fx = new_fx();
	f = make_remote(fx, 0);
	fx_check_range(f, 0, LEN - 100, CW_IO_NO_READAHEAD);
	fx_wait_landed(f);
	assert_true(has_buffer(fx, f));
	clock_offset = 5000000000ull;
	for (int i = 0; i < 5000 && cachei_bufs_any(fx->cache); i++)
		clock_sleep_ms(1);
	assert_false(has_buffer(fx, f));
	assert_false(cachei_bufs_any(fx->cache));
	fx_check_range(f, 0, LEN, CW_IO_NO_READAHEAD);
	assert_int_equal(fx->nfetches, 1);
	end(fx);
	clock_install(NULL);
}

static unsigned char *sent;
static _Atomic unsigned int nsent;

static uint32_t
take_all(struct cw_io *io, struct iovec *iov, unsigned int n)
{
	size_t at = 0;

	nsent++;
	for (unsigned int i = 0; i < n; i++) {
		memcpy(sent + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	assert_int_equal(at, io->len);
	return io->len;
}

static void
a_parked_read_may_be_sent_from_memory(void **state)
{
	struct fx *fx = new_fx();
	struct fx_file *f = make_remote(fx, 0);
	struct fx_io fi;

	(void)state;
	sent = xcalloc(1, LEN);
	nsent = 0;
	fx_io_init(&fi, f, CW_IO_READ, 1000, 400000, buf2); /* buf2 is left alone */
	fi.io.flags = CW_IO_NO_READAHEAD | CW_IO_SEND_ANY;
	fi.io.send = take_all;
	assert_int_equal(fx_io_wait(&fi, cache_read(&fi.io)), 0);
	assert_int_equal(nsent, 1);
	assert_memory_equal(sent, f->oracle + 1000, 400000);
	/* on a loop it may not happen later */
	assert_int_equal(cache_evict_all(fx->cache), 0);
	fx_wait_landed(f);
	assert_int_equal(cache_evict_all(fx->cache), 0);
	fx_io_init(&fi, f, CW_IO_READ, 1000, 400000, buf2);
	fi.io.flags = CW_IO_NO_READAHEAD | CW_IO_NOWAIT;
	fi.io.send = take_all;
	assert_int_equal(fx_io_wait(&fi, cache_read(&fi.io)), 0);
	assert_int_equal(nsent, 1);
	assert_memory_equal(buf2, f->oracle + 1000, 400000);
	free(sent);
	end(fx);
}

static void *
submit(void *arg)
{
	struct fx_io *fi = arg;
	int r = fi->io.op == CW_IO_READ ? cache_read(&fi->io) : cache_write(&fi->io);

	return r == -EINPROGRESS ? NULL : arg;
}

/* It may be the last thing that happens in a space: what the submitter did after it met freed memory. */
static void
a_space_may_be_closed_before_its_fetch_returns(void **state)
{
	static const enum cw_io_op ops[] = {CW_IO_READ, CW_IO_WRITE};

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct fx *fx = new_fx();
		struct fx_file *f = make_remote(fx, 0);
		struct fx_io fi;
		pthread_t thread;
		void *has_failed;

		fx->linger_ms = 500;
		fx_io_init(&fi, f, ops[i], 100, 100,
		    buf2); /* a part of a block: a write fetches the rest */
		assert_int_equal(pthread_create(&thread, NULL, submit, &fi), 0);
		assert_int_equal(fx_io_wait(&fi, -EINPROGRESS), 0);
		fx_close(fx);
		assert_int_equal(pthread_join(thread, &has_failed), 0);
		assert_null(has_failed);
		fx_free(fx);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_read_does_not_wait_for_the_landing),
	    cmocka_unit_test(a_large_buffer_stays_until_it_was_read_a_small_one_until_it_landed),
	    cmocka_unit_test(pieces_of_chunks_land_in_the_page_cache),
	    cmocka_unit_test(a_disk_that_is_full_does_not_fail_a_read),
	    cmocka_unit_test(a_cache_that_is_full_is_not_filled_further_by_reads),
	    cmocka_unit_test(a_buffer_goes_when_the_object_is_replaced),
	    cmocka_unit_test(a_buffer_does_not_show_what_an_upload_replaced),
	    cmocka_unit_test(a_file_cut_short_hides_what_a_buffer_has_behind_its_end),
	    cmocka_unit_test(what_nobody_reads_is_given_back),
	    cmocka_unit_test(a_parked_read_may_be_sent_from_memory),
	    cmocka_unit_test(a_space_may_be_closed_before_its_fetch_returns),
	};

	cachei_big_fetch = 256u << 10;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
