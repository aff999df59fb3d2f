/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_crash.c - power cuts at every failpoint of commit, seal, evict, punch and redo.
 *
 * A life is some random operations, a few syncs that fail among them; at a random failpoint, or between two operations, the data file
 * loses what was not synced (osfile_crash) and the index is copied as it lies on disk.  The next life
 * opens the copies and must find: every byte acknowledged by a commit, or what came later; the sealed
 * moment exact (P4); CLEAN blocks equal to the bucket (P2); and an index that checks clean (P1, P3).
 * CW_SEED repeats a run; CW_BREAK=nosync makes syncs lie and must make the test fail.
 */
#include <time.h>

#include "cache/index_int.h"
#include "tests/unit/cache_fixture.h"

#define REACH (420u << 10) /* files stay below this */
#define HISTORY 64

struct snapshot {
	unsigned char *p;
	uint64_t size;
};

struct history { /* states a file may be found in: the last acknowledged one and all later ones */
	struct snapshot v[HISTORY];
	unsigned int n;
};

static struct fx *fx_now;
static struct history histories[FX_FILES];
static _Atomic int countdown; /* failpoints until the cut; < 0: none is due */
static _Atomic bool has_cut;
static _Atomic uint64_t cut_seed;
static char cut_index[128];
static const char *_Atomic cut_at;
static unsigned char big[FX_MAX];

/* tear_log - of a record that was not synced any sectors may be missing. */
static void
tear_log(void)
{
	static const char zeros[512];
	uint64_t at = cache_index(fx_now->cache)->log.tail, rnd = cut_seed;
	char *path = xasprintf("%s-log", cut_index);
	FILE *f = fopen(path, "r+b");

	if (f == NULL)
		abort();
	for (unsigned int i = 0; i < 600; i++) {
		if (fx_random(&rnd) % 4 == 0 &&
		    (fseek(f, (long)(at + i * sizeof(zeros)), SEEK_SET) != 0 ||
			fwrite(zeros, sizeof(zeros), 1, f) != 1))
			abort();
	}
	fclose(f);
	free(path);
}

/* cut_here - runs with the index locked: no transaction or checkpoint is under way. */
static int
cut_here(void *arg, const char *key, const char *value)
{
	(void)key;
	(void)value;
	cut_at = arg;
	has_cut = true;
	osfile_crash_cut(cut_seed);
	testdir_copy_db(fx_now->conf.index_path, cut_index);
	if (strcmp(arg, "log-before-sync") == 0)
		tear_log();
	return 0;
}

static void
cut_power(const char *where)
{
	/* there is one such row, and it is read with the lock held */
	if (index_each_kv(
		cache_index(fx_now->cache), "space", cut_here, (void *)(uintptr_t)where) != 0)
		abort();
}

static void
at_failpoint(const char *name)
{
	if (countdown >= 0 && atomic_fetch_sub(&countdown, 1) == 0)
		cut_power(name);
}

/* --- what may be found --------------------------------------------------------------------------------- */

/* spare - buffers go round: fresh pages are what costs most in a race checker. */
static struct history spare;

/* spare_get - zeros from `size` on. */
static struct snapshot
spare_get(uint64_t size)
{
	struct snapshot v = {NULL, 0};

	if (spare.n > 0)
		v = spare.v[--spare.n];
	else
		v.p = xcalloc(1, REACH * 2);
	v.size = min64(v.size, REACH * 2);
	if (size < v.size)
		memset(v.p + size, 0, v.size - size);
	v.size = size;
	return v;
}

static void
spare_put(const struct snapshot *v)
{
	if (spare.n < HISTORY)
		spare.v[spare.n++] = *v;
	else
		free(v->p);
}

static void
history_push(int i, uint64_t size)
{
	struct fx_file *f = &fx_now->files[i];
	struct history *h = &histories[i];

	assert_true(h->n < HISTORY);
	h->v[h->n] = spare_get(min64(size, REACH * 2));
	memcpy(h->v[h->n].p, f->oracle, h->v[h->n].size);
	h->v[h->n].size = size;
	h->n++;
}

static void
history_start(int i)
{
	struct history *h = &histories[i];

	while (h->n > 0)
		spare_put(&h->v[--h->n]);
	history_push(i, fx_now->files[i].size);
}

static void
print_layers(const struct fx_file *f, uint64_t at)
{
	const struct chunk *ch = cachei_chunk_find(&f->cf, (uint32_t)(at >> CACHE_CHUNK_SHIFT));
	unsigned int b = at >> CACHE_BLOCK_SHIFT & 63;

	print_error("  version %llu base_limit %llu seal %d %llu/%llu/%llu\n",
	    (unsigned long long)f->version, (unsigned long long)f->cf.base_limit, f->cf.has_sealed,
	    (unsigned long long)f->cf.sealed_size, (unsigned long long)f->cf.sealed_limit,
	    (unsigned long long)f->cf.seal_base_limit);
	if (ch != NULL)
		print_error("  block %u dirty %d sealed %d clean %d\n", b,
		    (int)(ch->dirty >> b & 1), (int)(ch->sealed >> b & 1),
		    (int)(ch->clean >> b & 1));
}

/* is_one_state - most blocks are those of one state; only others are looked at byte by byte. */
static bool
is_one_state(const struct history *h, uint64_t off, uint64_t len)
{
	for (unsigned int k = h->n; k-- > 0;) {
		if (memcmp(big + off, h->v[k].p + off, len) == 0)
			return true;
	}
	return false;
}

static void
check_history(int i)
{
	struct fx_file *f = &fx_now->files[i];
	struct history *h = &histories[i];
	bool size_ok = false;

	for (unsigned int k = 0; k < h->n; k++)
		size_ok = size_ok || h->v[k].size == f->size;
	if (!size_ok)
		print_error("file %d: size %llu was never right\n", i, (unsigned long long)f->size);
	assert_true(size_ok);
	memset(big, 0xee, REACH * 2);
	assert_int_equal(fx_read(f, 0, REACH * 2, big, 0), 0);
	for (uint64_t b = 0; b < REACH * 2; b++) {
		bool ok = b >= f->size && big[b] == 0;

		if (b % CACHE_BLOCK_SIZE == 0 && is_one_state(h, b, CACHE_BLOCK_SIZE)) {
			b += CACHE_BLOCK_SIZE - 1;
			continue;
		}
		for (unsigned int k = 0; k < h->n && !ok; k++)
			ok = big[b] == h->v[k].p[b];
		if (ok)
			continue;
		print_error("file %d byte %llu: %02x was never right; cut at %s; size %llu\n", i,
		    (unsigned long long)b, big[b], cut_at, (unsigned long long)f->size);
		print_layers(f, b);
		for (unsigned int k = 0; k < h->n; k++)
			print_error("  state %u: size %llu byte %02x\n", k,
			    (unsigned long long)h->v[k].size, h->v[k].p[b]);
		fail();
	}
	memset(f->oracle, 0, FX_MAX);
	memcpy(f->oracle, big, f->size);
}

/* --- one life -------------------------------------------------------------------------------------------- */

static void
life_write(int i, uint64_t *rnd)
{
	struct fx_file *f = &fx_now->files[i];
	uint64_t off = fx_random(rnd) % REACH;
	uint32_t len = (uint32_t)(1 + fx_random(rnd) % (fx_random(rnd) % 5 == 0 ? 200000 : 6000));

	if (fx_random(rnd) % 3 == 0)
		off = min64(f->size, REACH);
	if (fx_now->is_volume && fx_random(rnd) % 2 == 0)
		off &= ~511ull;
	fx_fill(rnd, big, len);
	/* the state after it may be found even if the cut comes in the middle */
	memcpy(f->oracle + off, big, len);
	history_push(i, max64(f->size, off + len));
	fx_write(f, off, len, big, fx_random(rnd) % 2 == 0 ? CW_IO_NOWAIT : 0);
}

static void
life_truncate(int i, uint64_t *rnd)
{
	struct fx_file *f = &fx_now->files[i];
	uint64_t size = fx_random(rnd) % REACH;

	fx_truncate(fx_now, f, size);
	history_push(i, size);
}

static void
life_zero(int i, uint64_t *rnd)
{
	struct fx_file *f = &fx_now->files[i];
	uint64_t off = fx_random(rnd) % (REACH >> CACHE_BLOCK_SHIFT) << CACHE_BLOCK_SHIFT;
	uint64_t len = (1 + fx_random(rnd) % 60) << CACHE_BLOCK_SHIFT;

	memset(f->oracle + off, 0, len);
	history_push(i, f->size);
	fx_zero(fx_now, f, off, len);
}

static void
life_discard(int i)
{
	struct fx_file *f = &fx_now->files[i];

	cache_space_lock(fx_now->space);
	if (f->cf.nio == 0) {
		memset(f->oracle, 0, FX_MAX);
		f->size = 0;
		f->version = f->sealed_version = 0;
		f->is_changed = true;
		cache_file_discard(&f->cf);
		history_push(i, 0);
	}
	cache_space_unlock(fx_now->space);
}

static void
life_commit(void)
{
	if (cache_commit_sync(fx_now->space) != 0 || has_cut)
		return;
	for (int i = 0; i < FX_FILES; i++)
		history_start(i);
}

static void
life_op(uint64_t *rnd)
{
	int i = (int)(fx_random(rnd) % FX_FILES);
	struct fx_file *f = &fx_now->files[i];
	unsigned int what = (unsigned int)(fx_random(rnd) % 100);

	if (histories[i].n >= HISTORY - 2 || what < 30)
		life_commit();
	else if (what < 60)
		life_write(i, rnd);
	else if (what < 67 && fx_now->is_volume)
		life_zero(i, rnd);
	else if (what < 67)
		life_truncate(i, rnd);
	else if (what < 77 && !f->cf.has_sealed)
		fx_seal(fx_now, f);
	else if (what < 84 && f->cf.has_sealed)
		fx_seal_done(fx_now, f);
	else if (what < 88)
		cache_evict_all(fx_now->cache);
	else if (what < 90 && !fx_now->is_volume)
		life_discard(i);
	else if (what < 92)
		osfile_crash_fail_syncs(1);
	else if (what < 96)
		(void)cache_drop_behind(&f->cf, fx_random(rnd) % REACH, REACH);
	else
		fx_read(f, fx_random(rnd) % REACH, 40000, big, 0);
}

static void
no_problem(void *arg, const char *line)
{
	(void)arg;
	print_error("check: %s\n", line);
}

/* next_life - open what the cut left, or close cleanly when there was none. */
static void
next_life(int life)
{
	struct cache_check_report report;
	int found;

	if (!has_cut)
		cut_power("between operations");
	countdown = -1;
	fx_close(fx_now); /* whatever it still does has no effect */
	osfile_crash_fail_syncs(0);
	snprintf(fx_now->index_path, sizeof(fx_now->index_path), "%s", cut_index);
	snprintf(cut_index, sizeof(cut_index), "%s/index-%d.db", fx_now->dir, life + 1);
	found = cache_check(&fx_now->conf, no_problem, NULL, &report);
	if (found != 0)
		print_error("cache_check found %d after a cut at %s\n", found, cut_at);
	assert_int_equal(found, 0);
	fx_now->redo_row_ns = life % 2 == 0 ? 1000000000 : 0; /* few blocks: synced, or as rows */
	fx_open(fx_now);
	for (int i = 0; i < FX_FILES; i++) {
		fx_check_clean(fx_now, &fx_now->files[i]);
		check_history(i);
		if (fx_now->files[i].cf.has_sealed)
			fx_check_sealed(fx_now, &fx_now->files[i]);
		history_start(i);
	}
}

static void
run_lives(bool is_volume, bool is_pinned)
{
	const char *text = getenv("CW_SEED"), *lives_text = getenv("CW_LIVES");
	uint64_t rnd = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	int lives = lives_text != NULL ? atoi(lives_text) : 60;

	print_message("CW_SEED=%llu\n", (unsigned long long)rnd);
	countdown = -1;
	cache_failpoint =
	    at_failpoint; /* before there are threads that look at it, until they are gone */
	fx_now = fx_new_volume(&osfile_crash, 64u << 20, is_volume, is_pinned);
	fx_now->may_lose_power = true;
	fx_now->conf.flush_interval_ms = 5;
	snprintf(cut_index, sizeof(cut_index), "%s/index-0.db", fx_now->dir);
	for (int i = 0; i < FX_FILES; i++)
		history_start(i);
	for (int life = 0; life < lives && fx_now->nversions < FX_VERSIONS - 200; life++) {
		unsigned int nops = (unsigned int)(fx_random(&rnd) % 120);

		if (getenv("CW_BREAK") != NULL)
			osfile_crash_ignore_syncs(true);
		has_cut = false;
		cut_seed = fx_random(&rnd);
		countdown = fx_random(&rnd) % 4 == 0 ? -1 : (int)(fx_random(&rnd) % 200);
		for (unsigned int k = 0; k < nops && !has_cut; k++)
			life_op(&rnd);
		next_life(life);
		if (is_pinned)
			assert_int_equal(fx_now->nfetches, 0);
	}
	countdown = -1;
	fx_close(fx_now);
	for (int i = 0; i < FX_FILES; i++) {
		while (histories[i].n > 0)
			spare_put(&histories[i].v[--histories[i].n]);
	}
	while (spare.n > 0)
		free(spare.v[--spare.n].p);
	fx_free(fx_now);
	cache_failpoint = NULL;
}

static void
every_promise_survives_power_cuts(void **state)
{
	(void)state;
	run_lives(false, false);
}

static void
zeros_and_holes_survive_power_cuts(void **state)
{
	(void)state;
	run_lives(true, false);
}

static void
a_pinned_space_survives_power_cuts_whole(void **state)
{
	(void)state;
	run_lives(true, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_promise_survives_power_cuts),
	    cmocka_unit_test(zeros_and_holes_survive_power_cuts),
	    cmocka_unit_test(a_pinned_space_survives_power_cuts_whole),
	};

	cachei_big_fetch = 128u << 10; /* so that some are large, see buffer.c */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
