/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_threads.c - writers that share blocks, an uploader, an evictor and commits, all at once.
 *
 * Each writer owns a stripe of bytes in every file, cut so that neighbours share blocks, and checks its
 * bytes after writing.  The uploader seals under load, reads the sealed moment twice (it must not
 * change), puts it into the bucket and finishes the seal.
 */
#include "tests/unit/cache_fixture.h"

#define WRITERS 4
#define OWN 131072u
#define OWN_AT 786432u /* behind the stripes */
#define STRIPE 150007u /* odd: stripes meet inside blocks */

static struct fx *fx_now;
static _Atomic bool stop;
static unsigned int rounds = 150;

struct writer {
	pthread_t thread;
	int no;
	unsigned char mine[2][STRIPE]; /* what my stripe of each file holds */
	unsigned char blocks[OWN];     /* whole blocks of file 0 that nobody else touches */
};

static void
need(bool ok, const char *what)
{
	if (!ok) { /* cmocka's asserts may only be used on the test's thread */
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

static int
io_sync(
    struct fx_file *f, enum cw_io_op op, uint64_t off, uint32_t len, void *p, unsigned int flags)
{
	struct fx_io fi;
	int err;

	fx_io_init(&fi, f, op, off, len, p);
	fi.io.flags = flags;
	err = fx_io_wait(&fi, op == CW_IO_READ ? cache_read(&fi.io) : cache_write(&fi.io));
	return err;
}

/* own_blocks - zero, write and read blocks of our own; a volume's range lock keeps others out so. */
static void
own_blocks(struct writer *w, uint64_t *rnd, unsigned char *got)
{
	struct fx_file *f = &fx_now->files[0];
	uint32_t off = (uint32_t)(fx_random(rnd) % 32) * CACHE_BLOCK_SIZE;
	uint32_t len = (uint32_t)min64((1 + fx_random(rnd) % 8) * CACHE_BLOCK_SIZE, OWN - off);
	uint64_t base = OWN_AT + (uint64_t)w->no * OWN;
	struct cache_zero z = {.file = &f->cf, .off = base + off, .end = base + off + len};
	int r;

	if (fx_random(rnd) % 2 == 0) {
		fx_fill(rnd, w->blocks + off, len);
		need(io_sync(f, CW_IO_WRITE, base + off, len, w->blocks + off, CW_IO_NOWAIT) == 0,
		    "write of blocks failed");
	} else {
		do {
			cache_space_lock(fx_now->space);
			r = cache_zero(&z);
			cache_space_unlock(fx_now->space);
		} while (r != 0);
		cache_zero_end(&z);
		memset(w->blocks + off, 0, len);
	}
	need(io_sync(f, CW_IO_READ, base, OWN, got, 0) == 0, "read of blocks failed");
	need(memcmp(got, w->blocks, OWN) == 0, "blocks of its own are not what a writer left");
}

static void *
writer_main(void *arg)
{
	struct writer *w = arg;
	uint64_t rnd = (uint64_t)w->no + 5, base = (uint64_t)w->no * STRIPE;
	unsigned char *got = xmalloc(STRIPE);

	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int k = (unsigned int)(fx_random(&rnd) % 2);
		struct fx_file *f = &fx_now->files[k];
		uint32_t off = (uint32_t)(fx_random(&rnd) % STRIPE);
		uint32_t len = (uint32_t)min64(1 + fx_random(&rnd) % 30000, STRIPE - off);

		fx_fill(&rnd, w->mine[k] + off, len);
		need(io_sync(f, CW_IO_WRITE, base + off, len, w->mine[k] + off,
			 i % 2 == 0 ? CW_IO_NOWAIT : 0) == 0,
		    "write failed");
		need(io_sync(f, CW_IO_READ, base + off, len, got, i % 3 == 0 ? CW_IO_NOWAIT : 0) ==
			 0,
		    "read failed");
		need(
		    memcmp(got, w->mine[k] + off, len) == 0, "a writer does not see its own bytes");
		if (fx_now->is_volume)
			own_blocks(w, &rnd, got);
		if (i % 16 == 0)
			need(cache_commit_sync(fx_now->space) == 0, "commit failed");
	}
	free(got);
	return NULL;
}

struct seal_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
};

static void
sealed(void *arg)
{
	struct seal_wait *sw = arg;

	pthread_mutex_lock(&sw->lock);
	sw->is_done = true;
	pthread_cond_signal(&sw->cond);
	pthread_mutex_unlock(&sw->lock);
}

static void
seal_and_wait(struct fx_file *f)
{
	struct seal_wait sw = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	int r;

	cache_space_lock(fx_now->space);
	r = cache_seal(&f->cf, f->size, sealed, &sw);
	cache_space_unlock(fx_now->space);
	need(r == 0 || r == -EINPROGRESS, "seal refused");
	pthread_mutex_lock(&sw.lock);
	while (r == -EINPROGRESS && !sw.is_done)
		pthread_cond_wait(&sw.cond, &sw.lock);
	pthread_mutex_unlock(&sw.lock);
}

static void *
uploader_main(void *arg)
{
	unsigned char *again = xmalloc(FX_MAX);
	unsigned int i = 0;

	(void)arg;
	while (!stop) {
		struct fx_file *f = &fx_now->files[i++ % 2];
		struct fx_bytes *v = &fx_now->versions[fx_now->nversions + 1];

		if (fx_now->nversions > FX_VERSIONS - 3)
			break;
		seal_and_wait(f);
		v->len = f->cf.sealed_size;
		v->p = xmalloc(v->len + 1);
		need(io_sync(f, CW_IO_READ, 0, (uint32_t)v->len, v->p, CW_IO_SEALED) == 0,
		    "sealed read");
		need(io_sync(f, CW_IO_READ, 0, (uint32_t)v->len, again, CW_IO_SEALED) == 0,
		    "sealed read");
		need(memcmp(v->p, again, v->len) == 0, "a sealed moment changed");
		do { /* a fetch may land in between */
			need(cache_settle(&f->cf) == 0, "settling failed");
			cache_space_lock(fx_now->space);
			if (cache_is_settled(&f->cf))
				break;
			cache_space_unlock(fx_now->space);
		} while (true);
		cache_seal_done(&f->cf);
		f->version = ++fx_now->nversions;
		f->is_changed = true;
		cache_space_unlock(fx_now->space);
		if (i % 5 == 0)
			need(cache_evict_all(fx_now->cache) == 0, "evict failed");
	}
	free(again);
	return NULL;
}

static void
run_threads(void)
{
	struct writer *w = xcalloc(WRITERS, sizeof(*w));
	pthread_t uploader;
	unsigned char *got = xmalloc(STRIPE);

	stop = false;
	for (int i = 0; i < WRITERS; i++) {
		w[i].no = i;
		pthread_create(&w[i].thread, NULL, writer_main, &w[i]);
	}
	pthread_create(&uploader, NULL, uploader_main, NULL);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(w[i].thread, NULL);
	stop = true;
	pthread_join(uploader, NULL);
	for (int again = 0; again < 2; again++) {
		for (int i = 0; i < WRITERS * 2; i++) {
			struct fx_file *f = &fx_now->files[i % 2];

			assert_int_equal(
			    io_sync(f, CW_IO_READ, (uint64_t)(i / 2) * STRIPE, STRIPE, got, 0), 0);
			assert_memory_equal(got, w[i / 2].mine[i % 2], STRIPE);
			fx_check_clean(fx_now, f);
		}
		fx_close(fx_now);
		fx_open(fx_now);
	}
	free(got);
	free(w);
}

static void
run_mode(bool is_volume, bool is_pinned)
{
	fx_now = fx_new_volume(&osfile_crash, 64u << 20, is_volume, is_pinned);
	for (int i = 0; i < FX_FILES; i++) { /* the oracle is per thread here */
		free(fx_now->files[i].oracle);
		fx_now->files[i].oracle = NULL;
	}
	run_threads();
	if (is_pinned)
		assert_int_equal(fx_now->nfetches, 0);
	fx_close(fx_now);
	fx_free(fx_now);
}

static void
writers_uploads_evictions_and_commits_do_not_disturb_each_other(void **state)
{
	(void)state;
	run_mode(false, false);
}

static void
nor_do_zeros(void **state)
{
	(void)state;
	run_mode(true, false);
}

static void
nor_in_a_pinned_space(void **state)
{
	(void)state;
	run_mode(true, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writers_uploads_evictions_and_commits_do_not_disturb_each_other),
	    cmocka_unit_test(nor_do_zeros),
	    cmocka_unit_test(nor_in_a_pinned_space),
	};

	if (getenv("CW_OPS") != NULL)
		rounds = (unsigned int)atoi(getenv("CW_OPS"));
	cachei_big_fetch = 128u << 10; /* so that some are large, see buffer.c */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
