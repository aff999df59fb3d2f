/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_space.c - one behaviour of the cache per test: sealing, fetching, limits, failures. */
#include "gateway/base/clock.h"
#include "tests/unit/cache_steps.h"

static void
write_during_upload_stays_dirty(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, 10000, buf, 0), 0);
	fx_seal(fx, f);
	assert_int_equal(fx_write(f, 5000, 100, buf2, 0), 0);
	fx_check_sealed(fx, f);
	assert_int_equal(f->cf.dirty_bytes, CACHE_BLOCK_SIZE);
	fx_seal_done(fx, f);
	assert_int_equal(f->cf.dirty_bytes, CACHE_BLOCK_SIZE);
	fx_check_range(f, 0, 20000, 0);
	fx_check_clean(fx, f);
	end(fx);
}

static void
a_truncation_during_an_upload_is_remembered_over_a_restart(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = make_remote(fx, 0, MIB);

	(void)state;
	assert_int_equal(fx_write(f, 0, 4096, buf2, 0), 0);
	fx_seal(fx, f);
	fx_truncate(fx, f, 300000);
	assert_int_equal(cache_evict_all(fx->cache), 0);
	fx_close(fx);
	fx_open(fx);
	fx_check_sealed(fx, f); /* the uploader fetches what clients cannot see any more */
	fx_wait_landed(f);
	fx_seal_done(fx, f);
	fx_truncate(fx, f, MIB); /* zeros from now on */
	fx_seal(fx, f);
	fx_seal_done(fx, f);
	fx_check_clean(fx, f);
	fx_check_range(f, 0, MIB, 0);
	end(fx);
}

/* --- a write in flight when the seal is asked for ---------------------------------------------------------- */

static struct fx_file *seal_in_flight; /* pwrite asks for a seal of it, once */
static _Atomic bool seal_is_there;

static void
seal_there(void *arg)
{
	(void)arg;
	seal_is_there = true;
}

static int
pwrite_and_seal(struct osfile *file, const void *p, size_t len, uint64_t off)
{
	struct fx_file *f = seal_in_flight;

	if (f != NULL) {
		seal_in_flight = NULL;
		cache_space_lock(f->cf.space);
		assert_int_equal(cache_seal(&f->cf, f->size, seal_there, NULL), -EINPROGRESS);
		cache_space_unlock(f->cf.space);
	}
	return osfile_posix.pwrite(file, p, len, off);
}

/* an upload must not cost what the cache holds, whichever of the two slots stays */
static void
after_an_upload_a_chunk_is_as_local_as_before(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, 2 * CACHE_CHUNK_SIZE, buf, 0), 0);
	upload(fx, f);
	for (uint64_t off = 0; off < CACHE_CHUNK_SIZE; off += 4 * CACHE_BLOCK_SIZE) {
		/* of the first chunk more than half, of the second less */
		assert_int_equal(fx_write(f, off, 3 * CACHE_BLOCK_SIZE, buf2, 0), 0);
		assert_int_equal(fx_write(f, CACHE_CHUNK_SIZE + off, CACHE_BLOCK_SIZE, buf2, 0), 0);
	}
	upload(fx, f);
	assert_int_equal(cache_commit_sync(fx->space), 0); /* un-names what is to be refilled */
	fx_wait_landed(f);
	assert_int_equal(f->cf.clean_bytes, 2 * CACHE_CHUNK_SIZE);
	fx_check_range(f, 0, 2 * CACHE_CHUNK_SIZE, 0);
	assert_int_equal(fx->nfetches, 0);
	fx_check_clean(fx, f);
	fx_close(fx);
	fx_open(fx);
	assert_int_equal(f->cf.clean_bytes, 2 * CACHE_CHUNK_SIZE);
	fx_check_clean(fx, f);
	end(fx);
}

static void
a_seal_waits_for_a_write_that_makes_the_file_longer_and_has_its_size(void **state)
{
	struct osfile_ops os = osfile_posix;
	struct fx *fx;
	struct fx_file *f;

	(void)state;
	os.pwrite = pwrite_and_seal;
	fx = fx_new(&os, 64 * MIB);
	f = &fx->files[0];
	assert_int_equal(fx_write(f, 0, 10000, buf, 0), 0);
	seal_is_there = false;
	seal_in_flight = f;
	assert_int_equal(fx_write(f, 8000, 30000, buf2, 0), 0);
	while (!seal_is_there)
		clock_sleep_ms(1);
	assert_true(f->cf.has_sealed);
	assert_int_equal(f->cf.sealed_size, 38000);
	f->sealed_version = ++fx->nversions;
	fx->versions[f->sealed_version].len = 38000;
	fx->versions[f->sealed_version].p = xmalloc(38000);
	memcpy(fx->versions[f->sealed_version].p, f->oracle, 38000);
	fx_check_sealed(fx, f);
	fx_seal_done(fx, f);
	fx_check_clean(fx, f);
	end(fx);
}

static void
a_second_seal_is_refused_while_one_is_under_way(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = &fx->files[0];

	(void)state;
	assert_int_equal(fx_write(f, 0, 100, buf, 0), 0);
	fx_seal(fx, f);
	cache_space_lock(fx->space);
	assert_int_equal(cache_seal(&f->cf, f->size, NULL, NULL), -EALREADY);
	cache_space_unlock(fx->space);
	end(fx);
}

static void
two_readers_of_one_block_cause_one_fetch(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = make_remote(fx, 0, 300000);
	struct fx_io a, b;
	unsigned char pa[100], pb[100];
	int ra, rb;

	(void)state;
	fx->hold_fetches = true;
	fx_io_init(&a, f, CW_IO_READ, 200000, 100, pa);
	fx_io_init(&b, f, CW_IO_READ, 200000, 100, pb);
	a.io.flags = b.io.flags = CW_IO_NO_READAHEAD;
	ra = cache_read(&a.io);
	rb = cache_read(&b.io);
	assert_int_equal(ra, -EINPROGRESS);
	assert_int_equal(rb, -EINPROGRESS);
	fx_release_fetches(fx);
	assert_int_equal(fx_io_wait(&a, ra), 0);
	assert_int_equal(fx_io_wait(&b, rb), 0);
	assert_int_equal(fx->nfetches, 1);
	assert_memory_equal(pa, f->oracle + 200000, 100);
	assert_memory_equal(pb, f->oracle + 200000, 100);
	/* a random read takes its neighbourhood, not the object */
	fx_wait_landed(f);
	assert_int_equal(f->cf.clean_bytes, 64 << 10);
	end(fx);
}

static void
a_reader_in_order_is_fetched_ahead_of(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = make_remote(fx, 0, FX_MAX);
	unsigned int after_half;

	(void)state;
	for (uint32_t off = 0; off < FX_MAX / 2; off += 65536)
		fx_check_range(f, off, 65536, 0);
	after_half = fx->nfetches;
	for (uint32_t off = FX_MAX / 2; off < FX_MAX; off += 65536)
		fx_check_range(f, off, 65536, 0);
	assert_true(after_half >= 2 && fx->nfetches <= 10); /* 24 reads, windows that double */
	fx->nfetches = 0;
	fx_check_range(f, 0, FX_MAX, 0);
	assert_int_equal(fx->nfetches, 0);
	end(fx);
}

static void
an_unaligned_write_over_a_remote_base_fetches_only_its_edges(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = make_remote(fx, 0, 1000000);

	(void)state;
	assert_int_equal(fx_write(f, 4096 * 3, 4096 * 5, buf2, CW_IO_NOWAIT), 0);
	assert_int_equal(fx->nfetches, 0); /* whole blocks need no old content */
	assert_int_equal(fx_write(f, 100001, 600000, buf2, CW_IO_NOWAIT), 0);
	assert_int_equal(fx->nfetches, 2);
	fx_check_range(f, 0, 1000001, 0);
	end(fx);
}

static void
a_fetch_error_fails_who_waits_and_nobody_later(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = make_remote(fx, 0, 100000);
	unsigned char b[10];

	(void)state;
	fx->fetch_error = -ERR_PRECONDITION;
	assert_int_equal(fx_read(f, 50, 10, b, 0), -ERR_PRECONDITION);
	assert_int_equal(fx_write(f, 50, 10, b, 0), -ERR_PRECONDITION);
	fx->fetch_error = 0;
	fx_check_range(f, 0, 100000, 0);
	end(fx);
}

static void
what_was_read_ahead_fails_nobody_who_wants_other_bytes(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = make_remote(fx, 0, FX_MAX);
	const uint64_t bad = 900000, unit = 65536;
	unsigned char b[4096];

	(void)state;
	fx->damaged_off = bad;
	for (uint64_t off = 0; off < FX_MAX; off += sizeof(b)) {
		int err = fx_read(f, off, sizeof(b), b, 0);

		if (off / unit == bad / unit) {
			assert_int_equal(err, -ERR_CHECKSUM);
			continue;
		}
		assert_int_equal(err, 0);
		assert_memory_equal(b, f->oracle + off, sizeof(b));
	}
	end(fx);
}

static void
few_bytes_are_committed_without_fdatasync_and_survive(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = &fx->files[2];
	struct cache_stats before, st;
	char after[128];

	(void)state;
	cache_get_stats(fx->cache, &before);
	assert_int_equal(fx_write(f, 100, 5000, buf, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	cache_get_stats(fx->cache, &st);
	assert_int_equal(st.fdatasyncs, before.fdatasyncs);
	assert_int_equal(st.redo_bytes, 8192);
	/* power off: the data file never saw a sync; the old instance's close has no effect */
	snprintf(after, sizeof(after), "%s/after.db", fx->dir);
	testdir_copy_db(fx->index_path, after);
	for (uint64_t seed = 0; seed < 3; seed++)
		osfile_crash_cut(seed);
	fx_close(fx);
	snprintf(fx->index_path, sizeof(fx->index_path), "%s", after);
	fx_open(fx);
	fx_check_range(f, 0, 9000, 0);
	end(fx);
}

static void
redo_rows_are_used_where_a_sync_takes_longer(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = &fx->files[0];
	struct cache_stats before, after;

	(void)state;
	cachei_redo_row_ns = 1000000000; /* no disk is that slow */
	cache_get_stats(fx->cache, &before);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fx_write(f, (uint64_t)i * 8192, 4096, buf, 0), 0);
		assert_int_equal(cache_commit_sync(fx->space), 0);
	}
	cache_get_stats(fx->cache, &after);
	assert_int_equal(after.fdatasyncs, before.fdatasyncs + 3);
	assert_int_equal(after.redo_bytes, 0);
	assert_true(fx->space->sync_ns > 0);
	cachei_redo_row_ns = 1000;
	cachei_redo_sync_took(fx->space, 1); /* whatever this one takes */
	fx->space->sync_ns = 8000;	     /* seven blocks are cheaper as rows */
	assert_int_equal(fx_write(f, 64 << 10, 8 * 4096, buf, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	cache_get_stats(fx->cache, &before);
	assert_int_equal(before.redo_bytes, 0);
	fx->space->sync_ns = 8000;
	assert_int_equal(fx_write(f, 128 << 10, 7 * 4096, buf, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	cache_get_stats(fx->cache, &after);
	assert_int_equal(after.redo_bytes, 7 * 4096);
	assert_int_equal(after.fdatasyncs, before.fdatasyncs);
	end(fx);
}

static void
what_a_sync_takes_is_seen_again_and_one_slow_one_says_little(void **state)
{
	struct cache_space s = {0};

	(void)state;
	cachei_redo_row_ns = 1000;
	assert_false(cachei_redo_pays(&s, 4096)); /* not known yet */
	cachei_redo_sync_took(&s, 10000);
	assert_true(cachei_redo_pays(&s, 9 * 4096));
	assert_false(cachei_redo_pays(&s, 10 * 4096));
	cachei_redo_sync_took(&s, 1000000000); /* met something else */
	assert_false(cachei_redo_pays(&s, 20 * 4096));
	for (int i = 0; i < 40; i++) /* and another disk is slow for good */
		cachei_redo_sync_took(&s, 1000000);
	assert_true(cachei_redo_pays(&s, 64 * 4096));
	for (int i = 0; i < 20; i++)
		cachei_redo_sync_took(&s, 10000);
	assert_false(cachei_redo_pays(&s, 20 * 4096));
	assert_true(cachei_redo_pays(&s, 4096));
	s.sync_seen_ns -= 2000000000; /* too long ago */
	assert_false(cachei_redo_pays(&s, 4096));
	s.redo_bytes = 4096; /* a sync would write what the rows hold, too, and tell nothing */
	assert_true(cachei_redo_pays(&s, 4096));
}

static void
what_takes_long_is_done_when_nobody_commits(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = &fx->files[0];
	struct cache_stats st;

	(void)state;
	for (int i = 0; i < 40; i++) { /* 5 MiB in redo rows, far from their limit */
		assert_int_equal(fx_write(f, 0, 128 << 10, buf + i, 0), 0);
		assert_int_equal(cache_commit_sync(fx->space), 0);
	}
	for (int i = 0; i < 5000 && (index_wants_tidy(cache_index(fx->cache)) || i == 0); i++)
		usleep(2000);
	assert_false(index_wants_tidy(cache_index(fx->cache)));
	cache_get_stats(fx->cache, &st);
	assert_true(st.fdatasyncs > 0); /* the redo rows were too few for a commit to ask for it */
	osfile_crash_forget_cached();
	fx_check_range(f, 0, 128 << 10, 0);
	end(fx);
}

static void
many_bytes_are_committed_by_one_fdatasync(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct cache_stats before, after;

	(void)state;
	cache_get_stats(fx->cache, &before);
	assert_int_equal(fx_write(&fx->files[0], 0, FX_MAX, buf, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	cache_get_stats(fx->cache, &after);
	assert_int_equal(after.fdatasyncs, before.fdatasyncs + 1);
	assert_int_equal(after.redo_bytes, before.redo_bytes);
	assert_int_equal(cache_commit_sync(fx->space), 0); /* nothing changed: nothing is synced */
	cache_get_stats(fx->cache, &before);
	assert_int_equal(after.fdatasyncs, before.fdatasyncs);
	end(fx);
}

static void
clean_data_is_evicted_before_the_capacity_is_passed(void **state)
{
	struct fx *fx = new_crash_fx(4 * MIB);
	struct cache_stats st;

	(void)state;
	for (int i = 0; i < FX_FILES; i++) {
		assert_int_equal(fx_write(&fx->files[i], 0, FX_MAX, buf, 0), 0);
		upload(fx, &fx->files[i]);
	}
	for (int i = 0; i < FX_FILES; i++)
		fx_check_range(&fx->files[i], 0, FX_MAX, 0);
	cache_get_stats(fx->cache, &st);
	assert_true(st.evicted_bytes > 4 * MIB);
	assert_true(st.used_bytes <= st.capacity_bytes + FETCH_MAX);
	end(fx);
}

static void
a_write_waits_for_room_and_goes_on_when_an_upload_makes_it(void **state)
{
	struct fx *fx = new_crash_fx(2 * MIB); /* dirty_max 1.5 MiB */
	struct fx_io io;
	struct cache_stats st;
	int r;

	(void)state;
	assert_int_equal(fx_write(&fx->files[0], 0, FX_MAX, buf, 0), 0);
	fx_io_init(&io, &fx->files[1], CW_IO_WRITE, 0, 100000, buf2);
	r = cache_write(&io.io);
	assert_int_equal(r, -EINPROGRESS);
	cache_get_stats(fx->cache, &st);
	assert_int_equal(st.parked_writes, 1);
	upload(fx, &fx->files[0]);
	assert_int_equal(fx_io_wait(&io, r), 0);
	memcpy(fx->files[1].oracle, buf2, 100000);
	fx_check_range(&fx->files[1], 0, 100000, 0);
	fx_check_range(&fx->files[0], 0, FX_MAX, 0);
	end(fx);
}

static _Atomic uint64_t clock_offset;

static uint64_t
jumping_mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec + clock_offset;
}

static int64_t
plain_real(void)
{
	return 0;
}

static void
a_write_that_finds_no_room_gives_up_with_backpressure(void **state)
{
	static const struct clock_ops ops = {jumping_mono, plain_real};
	struct fx *fx;
	struct fx_io io;
	int r;

	(void)state;
	clock_install(&ops);
	fx = new_crash_fx(2 * MIB);
	assert_int_equal(fx_write(&fx->files[0], 0, FX_MAX, buf, 0), 0);
	fx_io_init(&io, &fx->files[1], CW_IO_WRITE, 0, 100000, buf2);
	r = cache_write(&io.io);
	assert_int_equal(r, -EINPROGRESS);
	clock_offset += 11ull * 1000000000;
	assert_int_equal(fx_io_wait(&io, r), -ERR_BACKPRESSURE);
	fx_check_range(&fx->files[0], 0, FX_MAX, 0);
	assert_int_equal(fx->files[1].size, 0);
	end(fx);
	clock_install(NULL);
}

static void
a_full_disk_loses_nothing_and_says_try_later(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);

	(void)state;
	assert_int_equal(fx_write(&fx->files[0], 0, 400000, buf, 0), 0);
	upload(fx, &fx->files[0]);
	assert_int_equal(fx_write(&fx->files[1], 0, 400000, buf2, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	osfile_crash_limit(osfile_crash_pages() + 10);
	/* there is clean data to give up: this works */
	assert_int_equal(fx_write(&fx->files[2], 0, 300000, buf, 0), 0);
	/* now there is not */
	assert_int_equal(fx_write(&fx->files[3], 0, 800000, buf, 0), -ERR_BACKPRESSURE);
	osfile_crash_limit(0);
	memset(fx->files[3].oracle, 0, FX_MAX);
	for (int i = 0; i < 4; i++)
		fx_check_range(&fx->files[i], 0, FX_MAX, 0);
	end(fx);
}

static void
reads_and_writes_meet_in_a_file_with_holes(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = &fx->files[0];

	(void)state;
	for (uint32_t i = 0; i < 40; i++) /* more segments than one read takes at a time */
		assert_int_equal(fx_write(f, i * 8192 + 10, 50, buf + i, CW_IO_NOWAIT), 0);
	fx_check_range(f, 0, 40 * 8192, CW_IO_NOWAIT);
	fx_truncate(fx, f, 8192 + 30);
	fx_truncate(fx, f, 400000);
	fx_check_range(f, 0, 400000, 0);
	end(fx);
}

static uint32_t send_take, send_calls;
static unsigned char send_got[FX_MAX];

static uint32_t
take_memory(struct cw_io *io, struct iovec *iov, unsigned int n)
{
	FILE *f = tmpfile();
	uint32_t take = send_take < io->len ? send_take : io->len;

	send_calls++;
	assert_non_null(f); /* a system call looks at the memory, as a socket would */
	assert_int_equal(pwritev(fileno(f), iov, (int)n, 0), io->len);
	assert_int_equal(pread(fileno(f), send_got, take, 0), take);
	fclose(f);
	return take;
}

static void
read_and_take(struct fx_file *f, uint64_t off, uint32_t len, uint32_t take, uint32_t want_calls)
{
	struct fx_io fi;

	memset(send_got, 0xee, sizeof(send_got));
	memset(buf2, 0xee, len);
	send_take = take;
	send_calls = 0;
	fx_io_init(&fi, f, CW_IO_READ, off, len, buf2);
	fi.io.flags = CW_IO_NOWAIT;
	fi.io.send = take_memory;
	assert_int_equal(fx_io_wait(&fi, cache_read(&fi.io)), 0);
	assert_int_equal(send_calls, want_calls);
	if (want_calls == 0)
		take = 0;
	memcpy(send_got + take, buf2 + take, len - take);
	assert_memory_equal(send_got, f->oracle + off, len);
}

static void
a_reader_may_take_cached_data_as_memory(void **state)
{
	struct fx *fx = fx_new(NULL, 64 * MIB);
	struct fx_file *f = &fx->files[0];
	uint64_t rnd = 3;

	(void)state;
	fx_fill(&rnd, buf, sizeof(buf));
	assert_int_equal(fx_write(f, 0, 700000, buf, 0), 0);
	for (uint32_t take = 0; take <= 600000; take += 100000)
		read_and_take(f, 12345, 600000, take, 1);
	fx_truncate(fx, f, 1200000); /* with zeros at its end it is put together in the buffer */
	read_and_take(f, 600000, 300000, 300000, 0);
	upload(fx, f);
	assert_int_equal(fx_write(f, 300000, 5000, buf + 7, 0), 0); /* DIRTY between CLEAN */
	read_and_take(f, 0, 700000, 450000, 1);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	upload(fx, f);
	assert_int_equal(cache_evict_all(fx->cache), 0);
	read_and_take(f, 0, 700000, 700000, 0); /* first it has to come */
	read_and_take(f, 0, 700000, 700000, 1);
	end(fx);
}

static void
unchanged_ranges_of_a_seal_are_told_apart(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = make_remote(fx, 0, 1000000);

	(void)state;
	assert_int_equal(fx_write(f, 512 * 1024, 4096, buf2, 0), 0);
	fx_seal(fx, f);
	cache_space_lock(fx->space);
	assert_false(cache_sealed_in(&f->cf, 0, 512 * 1024));
	assert_true(cache_sealed_in(&f->cf, 0, 512 * 1024 + 1));
	assert_false(cache_sealed_in(&f->cf, 516 * 1024, 1000000 - 516 * 1024));
	assert_true(cache_sealed_in(&f->cf, 900000, 100001));
	assert_true(cache_sealed_local(&f->cf, 512 * 1024, 4096));
	assert_false(cache_sealed_local(&f->cf, 512 * 1024, 4097));
	assert_true(cache_sealed_local(&f->cf, 1000000, 5000));
	cache_space_unlock(fx->space);
	end(fx);
}

static _Atomic bool idle_called;

static void
note_idle(void *arg)
{
	(void)arg;
	idle_called = true;
}

static void
idle_is_told_when_the_last_read_ends(void **state)
{
	struct fx *fx = new_crash_fx(64 * MIB);
	struct fx_file *f = make_remote(fx, 0, 100000);
	struct fx_io a;
	unsigned char p[10];
	int r;

	(void)state;
	idle_called = false;
	fx->hold_fetches = true;
	fx_io_init(&a, f, CW_IO_READ, 0, 10, p);
	r = cache_read(&a.io);
	cache_space_lock(fx->space);
	cache_when_idle(&f->cf, note_idle, NULL);
	cache_space_unlock(fx->space);
	workq_drain(cache_workq(fx->cache));
	assert_false(idle_called);
	fx_release_fetches(fx);
	assert_int_equal(fx_io_wait(&a, r), 0);
	fx_close(fx); /* waits for all I/O */
	fx_open(fx);
	assert_true(idle_called);
	end(fx);
}

static void
count_line(void *arg, const char *line)
{
	(void)line;
	(*(unsigned int *)arg)++;
}

static void
check_finds(struct fx *fx, void (*plant)(struct index_txn *t), const char *what)
{
	struct cache_check_report report;
	struct index_txn *t = index_txn_new();
	unsigned int lines = 0;
	struct index *ix;
	char text[200];
	bool is_new;

	assert_int_equal(index_open(fx->index_path, true, &ix, &is_new, text, sizeof(text)), 0);
	plant(t);
	assert_int_equal(index_apply(ix, t), 0);
	index_txn_free(t);
	index_close(ix);
	if (cache_check(&fx->conf, count_line, &lines, &report) <= 0)
		print_error("%s was not found\n", what);
	assert_true(report.problems > 0);
	assert_true(lines > 0 && report.problems == lines);
}

static void
plant_double_slot(struct index_txn *t)
{
	struct index_chunk c = {.file_id = 101,
	    .space = 1,
	    .clean_slot = 0,
	    .sealed_slot = -1,
	    .dirty_slot = -1,
	    .clean_mask = 1};

	index_txn_put_chunk(t, &c);
}

static void
plant_past_end(struct index_txn *t)
{
	struct index_chunk c = {.file_id = 101,
	    .space = 1,
	    .clean_slot = -1,
	    .sealed_slot = -1,
	    .dirty_slot = 1,
	    .dirty_mask = 1};

	index_txn_put_chunk(t, &c);
}

static void
plant_far_slot(struct index_txn *t)
{
	struct index_chunk c = {.file_id = 101,
	    .space = 1,
	    .clean_slot = 99999,
	    .sealed_slot = -1,
	    .dirty_slot = -1,
	    .clean_mask = 1};

	index_txn_put_chunk(t, &c);
}

static void
plant_zero(struct index_txn *t)
{
	struct index_chunk c = {.file_id = 101,
	    .space = 1,
	    .clean_slot = -1,
	    .sealed_slot = -1,
	    .dirty_slot = -1,
	    .dirty_mask = 1,
	    .dirty_zero = 3};

	index_txn_put_chunk(t, &c);
}

static void
plant_redo(struct index_txn *t)
{
	static const char block[4096];

	index_txn_put_redo(t, 1, 5, 64, block);
}

static void
check_finds_planted_damage(void **state)
{
	static const struct {
		void (*fn)(struct index_txn *t);
		const char *what;
	} plants[] = {{plant_double_slot, "a slot named twice"},
	    {plant_past_end, "a dirty block past the end of its file"},
	    {plant_far_slot, "a slot past the end"}, {plant_zero, "a zero block that is not dirty"},
	    {plant_redo, "a redo row for a block that cannot be"}};

	(void)state;
	for (size_t i = 0; i < sizeof(plants) / sizeof(plants[0]); i++) {
		struct fx *fx = new_crash_fx(64 * MIB);

		assert_int_equal(fx_write(&fx->files[0], 0, 5000, buf, 0), 0);
		fx->files[1].is_changed = true;
		fx_close(fx);
		check_finds(fx, plants[i].fn, plants[i].what);
		fx_free(fx);
	}
}

static void
a_destroyed_space_leaves_no_row_and_no_file(void **state)
{
	struct fx *fx = fx_new(&osfile_posix, 64 * MIB);
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/space-1.data", fx->dir);
	assert_int_equal(fx_write(&fx->files[0], 0, 5000, buf, 0), 0);
	assert_int_equal(cache_commit_sync(fx->space), 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(cache_space_destroy(fx->space), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	cache_close(fx->cache);
	fx_open(fx);
	assert_int_equal(fx->files[0].size, 0);
	memset(fx->files[0].oracle, 0, FX_MAX);
	fx_check_range(&fx->files[0], 0, 10000, 0);
	end(fx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(write_during_upload_stays_dirty),
	    cmocka_unit_test(a_truncation_during_an_upload_is_remembered_over_a_restart),
	    cmocka_unit_test(after_an_upload_a_chunk_is_as_local_as_before),
	    cmocka_unit_test(a_seal_waits_for_a_write_that_makes_the_file_longer_and_has_its_size),
	    cmocka_unit_test(a_second_seal_is_refused_while_one_is_under_way),
	    cmocka_unit_test(two_readers_of_one_block_cause_one_fetch),
	    cmocka_unit_test(a_reader_in_order_is_fetched_ahead_of),
	    cmocka_unit_test(an_unaligned_write_over_a_remote_base_fetches_only_its_edges),
	    cmocka_unit_test(a_fetch_error_fails_who_waits_and_nobody_later),
	    cmocka_unit_test(what_was_read_ahead_fails_nobody_who_wants_other_bytes),
	    cmocka_unit_test(few_bytes_are_committed_without_fdatasync_and_survive),
	    cmocka_unit_test(redo_rows_are_used_where_a_sync_takes_longer),
	    cmocka_unit_test(what_a_sync_takes_is_seen_again_and_one_slow_one_says_little),
	    cmocka_unit_test(what_takes_long_is_done_when_nobody_commits),
	    cmocka_unit_test(many_bytes_are_committed_by_one_fdatasync),
	    cmocka_unit_test(clean_data_is_evicted_before_the_capacity_is_passed),
	    cmocka_unit_test(a_write_waits_for_room_and_goes_on_when_an_upload_makes_it),
	    cmocka_unit_test(a_write_that_finds_no_room_gives_up_with_backpressure),
	    cmocka_unit_test(a_full_disk_loses_nothing_and_says_try_later),
	    cmocka_unit_test(reads_and_writes_meet_in_a_file_with_holes),
	    cmocka_unit_test(a_reader_may_take_cached_data_as_memory),
	    cmocka_unit_test(unchanged_ranges_of_a_seal_are_told_apart),
	    cmocka_unit_test(idle_is_told_when_the_last_read_ends),
	    cmocka_unit_test(check_finds_planted_damage),
	    cmocka_unit_test(a_destroyed_space_leaves_no_row_and_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
