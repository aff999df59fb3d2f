/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_cache.c - what the cache costs by itself: bench_cache DIR [seconds]
 *
 * hit:     4 KiB random reads of cached data, one thread, ns each
 * write:   4 KiB random overwrites in place, and 1 MiB sequential writes with one commit at the end
 * commit:  groups of 32 small files (one 4 KiB block and a row each), files per second
 * load:    a million rows of nodes and chunks: bytes per chunk, seconds to open
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/cache.h"
#include "cache/index.h"
#include "gateway/base/clock.h"
#include "gateway/base/strbuf.h"

#define BIG (256u << 20)
#define GROUP 32
#define MANY 1000000u

static uint64_t
cpu_ns(clockid_t which)
{
	struct timespec ts;

	clock_gettime(which, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static struct cache *cache;
static struct cache_space *space;
static struct cache_file big, *small;
static uint64_t next_row, nsmall, row_limit;

static uint64_t
random64(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void
collect(void *owner, struct index_txn *txn)
{
	char name[32];

	(void)owner;
	for (; next_row < row_limit; next_row++) {
		snprintf(name, sizeof(name), "file-%llu", (unsigned long long)next_row);
		struct index_node n = {.ino = 1000 + next_row,
		    .space = 1,
		    .parent = 2,
		    .name = name,
		    .mode = 0100644,
		    .size = 4096,
		    .mtime_ns = 1,
		    .ctime_ns = 1,
		    .data_seq = 1};

		index_txn_put_node(txn, &n);
	}
}

static void
no_fetch(
    void *owner, void *file_owner, uint64_t off, uint32_t len, void *buf, struct cache_fetch *f)
{
	(void)owner;
	(void)file_owner;
	(void)off;
	memset(buf, 0, len);
	cache_fetch_done(f, 0);
}

static const struct cache_owner_ops ops = {.collect = collect, .fetch = no_fetch};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static unsigned int npending;

static void
one_done(void)
{
	pthread_mutex_lock(&lock);
	if (--npending == 0)
		pthread_cond_signal(&cond);
	pthread_mutex_unlock(&lock);
}

static void
io_done(struct cw_io *io)
{
	(void)io;
	one_done();
}

static void
wait_all(void)
{
	pthread_mutex_lock(&lock);
	while (npending > 0)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
}

static void
die(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, err_str(err));
	exit(1);
}

static void
run_io(struct cache_file *f, enum cw_io_op op, uint64_t off, uint32_t len, void *buf)
{
	struct cw_io io = {.op = op,
	    .flags = CW_IO_NOWAIT,
	    .file = f,
	    .off = off,
	    .len = len,
	    .buf = buf,
	    .size = BIG,
	    .done = io_done};
	int r;

	npending = 1;
	r = op == CW_IO_READ ? cache_read(&io) : cache_write(&io);
	if (r == -EINPROGRESS) {
		wait_all();
		r = io.result;
	}
	if (r != 0)
		die("io", r);
}

static void
open_cache(const char *dir, struct cache_file *(*resolve)(void *owner, uint64_t id))
{
	char text[512], *path = xasprintf("%s/index.db", dir);
	struct cache_conf conf = {
	    .index_path = path, .data_dirs = &dir, .ndata_dirs = 1, .capacity_bytes = 8ull << 30};
	int err = cache_open(&conf, &cache, text, sizeof(text));

	if (err != 0)
		die(text, err);
	err = cache_space_open(cache, 1, &ops, NULL, &space);
	if (err == 0)
		err = cache_space_load(space, resolve);
	if (err == 0)
		err = cache_start(cache);
	if (err != 0)
		die("open", err);
	free(path);
}

static struct cache_file *
no_file(void *owner, uint64_t id)
{
	(void)owner;
	(void)id;
	return NULL;
}

static void
bench_big(double seconds)
{
	unsigned char *buf = xcalloc(1, 1 << 20);
	uint64_t t0, c0, n = 0;

	memset(buf, 7, 1 << 20);
	cache_file_init(&big, space, 900, NULL, 0);
	t0 = clock_mono_ns();
	for (uint64_t off = 0; off < BIG; off += 1 << 20)
		run_io(&big, CW_IO_WRITE, off, 1 << 20, buf);
	printf(
	    "sequential 1 MiB writes   %8.0f MB/s\n", BIG / ((double)(clock_mono_ns() - t0) / 1e3));
	if (cache_commit_sync(space) != 0)
		die("commit", -EIO);
	printf(
	    "  with its commit         %8.0f MB/s\n", BIG / ((double)(clock_mono_ns() - t0) / 1e3));
	c0 = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
	for (t0 = clock_mono_ns(); clock_mono_ns() - t0 < (uint64_t)(seconds * 1e9);) {
		for (int i = 0; i < 100; i++, n++)
			run_io(&big, CW_IO_READ, random64() % (BIG / 4096) * 4096, 4096, buf);
	}
	printf("4 KiB cached read         %8.0f ns, %.0f ns of CPU\n",
	    (double)(clock_mono_ns() - t0) / (double)n,
	    (double)(cpu_ns(CLOCK_THREAD_CPUTIME_ID) - c0) / (double)n);
	n = 0;
	c0 = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
	for (t0 = clock_mono_ns(); clock_mono_ns() - t0 < (uint64_t)(seconds * 1e9);) {
		for (int i = 0; i < 100; i++, n++)
			run_io(&big, CW_IO_WRITE, random64() % (BIG / 4096) * 4096, 4096, buf);
	}
	printf("4 KiB overwrite in place  %8.0f ns, %.0f ns of CPU\n",
	    (double)(clock_mono_ns() - t0) / (double)n,
	    (double)(cpu_ns(CLOCK_THREAD_CPUTIME_ID) - c0) / (double)n);
	if (cache_commit_sync(space) != 0)
		die("commit", -EIO);
	free(buf);
}

static void
waiter_done(struct cache_waiter *w, int err)
{
	(void)w;
	if (err != 0)
		die("commit", err);
	one_done();
}

static void
bench_small(double seconds)
{
	struct cache_waiter w[GROUP];
	struct cache_stats before, after;
	unsigned char buf[4096] = {3};
	uint64_t t0 = clock_mono_ns(), c0 = cpu_ns(CLOCK_PROCESS_CPUTIME_ID), n = 0;
	double s;

	cache_get_stats(cache, &before);
	while (clock_mono_ns() - t0 < (uint64_t)(seconds * 1e9) && nsmall + GROUP < MANY) {
		for (int i = 0; i < GROUP; i++) {
			cache_file_init(&small[nsmall], space, 1000 + nsmall, NULL, 0);
			run_io(&small[nsmall], CW_IO_WRITE, 0, 4096, buf);
			nsmall++;
		}
		cache_space_lock(space);
		row_limit = nsmall;
		cache_space_unlock(space);
		npending = GROUP;
		for (int i = 0; i < GROUP; i++) {
			w[i].done = waiter_done;
			cache_commit(space, &w[i]);
		}
		wait_all();
		n += GROUP;
	}
	s = (double)(clock_mono_ns() - t0) / 1e9;
	cache_get_stats(cache, &after);
	printf("small files, groups of %d %8.0f files/s, %.0f us of CPU a file, %llu fdatasyncs\n",
	    GROUP, (double)n / s, (double)(cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - c0) / 1e3 / (double)n,
	    (unsigned long long)(after.fdatasyncs - before.fdatasyncs));
}

static struct cache_file *
resolve_small(void *owner, uint64_t id)
{
	(void)owner;
	if (id == 900)
		return &big;
	return id >= 1000 && id < 1000 + MANY ? &small[id - 1000] : NULL;
}

static int
count_node(void *arg, const struct index_node *n)
{
	(*(uint64_t *)arg) += n->name != NULL;
	return 0;
}

static uint64_t
resident(void)
{
	unsigned long size = 0, rss = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%lu %lu", &size, &rss) != 2)
		rss = 0;
	if (f != NULL)
		fclose(f);
	return (uint64_t)rss * 4096;
}

static void
bench_load(const char *dir)
{
	struct index_txn *t = index_txn_new();
	uint64_t t0, rows = 0, before;
	int err;

	cache_space_lock(space);
	row_limit = MANY;
	cache_space_unlock(space);
	for (uint32_t i = (uint32_t)nsmall; i < MANY; i++) {
		struct index_chunk c = {.file_id = 1000 + i,
		    .space = 1,
		    .clean_slot = -1,
		    .sealed_slot = -1,
		    .dirty_slot = (int64_t)i + 5000,
		    .dirty_mask = 1};

		index_txn_put_chunk(t, &c);
	}
	t0 = clock_mono_ns();
	err = cache_commit_sync(space);
	if (err == 0)
		err = index_apply(cache_index(cache), t);
	if (err != 0)
		die("fill", err);
	index_txn_free(t);
	printf("million rows written      %8.2f s\n", (double)(clock_mono_ns() - t0) / 1e9);
	cache_space_close(space);
	cache_close(cache);
	for (uint32_t i = 0; i < MANY; i++)
		cache_file_init(&small[i], NULL, 1000 + i, NULL, 0);
	before = resident();
	t0 = clock_mono_ns();
	{
		char text[512], *path = xasprintf("%s/index.db", dir);
		struct cache_conf conf = {.index_path = path,
		    .data_dirs = &dir,
		    .ndata_dirs = 1,
		    .capacity_bytes = 8ull << 30};

		err = cache_open(&conf, &cache, text, sizeof(text));
		free(path);
	}
	if (err == 0)
		err = cache_space_open(cache, 1, &ops, NULL, &space);
	printf("open with check           %8.2f s\n", (double)(clock_mono_ns() - t0) / 1e9);
	if (err == 0)
		err = index_each_node(cache_index(cache), 1, count_node, &rows);
	printf("nodes read (%llu)   %8.2f s since start\n", (unsigned long long)rows,
	    (double)(clock_mono_ns() - t0) / 1e9);
	for (uint32_t i = 0; i < MANY; i++)
		small[i].space = space;
	big.space = space;
	if (err == 0)
		err = cache_space_load(space, resolve_small);
	printf("chunks loaded             %8.2f s since start, %llu bytes per file above the "
	       "cache_file\n",
	    (double)(clock_mono_ns() - t0) / 1e9,
	    (unsigned long long)((resident() - before) / MANY));
	if (err != 0)
		die("load", err);
	err = cache_start(cache);
	if (err != 0)
		die("start", err);
	cache_space_close(space);
	cache_close(cache);
}

int
main(int argc, char **argv)
{
	double seconds = argc > 2 ? atof(argv[2]) : 2;
	char *dir;

	if (argc < 2) {
		fprintf(stderr, "usage: bench_cache DIR [seconds]\n");
		return 2;
	}
	dir = xasprintf("%s/bench-cache-XXXXXX", argv[1]);
	if (mkdtemp(dir) == NULL)
		die(dir, -errno);
	small = xcalloc(MANY, sizeof(*small));
	open_cache(dir, no_file);
	bench_big(seconds);
	bench_small(seconds);
	bench_load(dir);
	free(small);
	fflush(stdout);
	return execlp("rm", "rm", "-rf", dir, (char *)NULL);
}
