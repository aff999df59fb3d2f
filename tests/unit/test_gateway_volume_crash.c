/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gateway_volume_crash.c - random requests, seals, uploads and power cuts, against what may be found.
 *
 * The oracle keeps, for every sector, the values it may have: the one that the last successful SYNC or FUA
 * made sure of, and every later one.  A life ends at a failpoint of the cache, or between two
 * requests: the data file loses what was not synced, the index stays as it lies on disk, the bucket stays.
 * The next life must find an index that checks clean and a permitted value in every sector.  The image in the
 * bucket must be the volume at one moment between two requests (P4): that of a seal, checked block by block
 * against the states of the byte array.  CW_SEED repeats a run, CW_LIVES and CW_OPS make it longer.
 */
#include <time.h>

#include "tests/unit/volume_fixture.h"

#define SECTOR 512u
#define REACH (768u << 10) /* all is written below this */
#define NSECTORS (REACH / SECTOR)
#define VALUES 24
#define MOMENTS 12000 /* six KiB each */

struct sector { /* a sector is its tag: a number repeated; 0 = zeros */
	uint32_t now, v[VALUES];
	unsigned int n;
};

static struct vx *x;
static struct sector sectors[NSECTORS];
static uint32_t next_tag;
static _Atomic int countdown;
static _Atomic bool has_cut;
static _Atomic uint64_t cut_seed;
static char cut_index[160];
static const char *_Atomic cut_at;
static unsigned char buf[REACH * 2];
/* what the volume held after each request, as tags: an epoch must be one of them. A seal that was durable
 * is uploaded by the next life, so they are kept over a cut */
static uint32_t (*moments)[NSECTORS];
static unsigned int nmoments;
static pthread_mutex_t moments_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned int nwrong;
static _Atomic bool is_looking; /* what the cut left is not known yet */

static int
cut_here(void *arg, const char *key, const char *value)
{
	(void)key;
	(void)value;
	cut_at = arg;
	has_cut = true;
	osfile_crash_cut(cut_seed);
	testdir_copy_db(x->conf.index_path, cut_index);
	/* from now on nothing reaches the bucket either */
	vf.fail_put = -ERR_OFFLINE;
	return 0;
}

static void
cut_power(const char *where)
{
	if (index_each_kv(cache_index(x->cache), "space", cut_here, (void *)(uintptr_t)where) != 0)
		abort();
}

static void
at_failpoint(const char *name)
{
	if (countdown >= 0 && atomic_fetch_sub(&countdown, 1) == 0)
		cut_power(name);
}

/* --- the oracle --------------------------------------------------------------------------------------------- */

static void
add_value(uint32_t s, uint32_t tag)
{
	struct sector *sc = &sectors[s];

	sc->now = tag;
	for (unsigned int i = 0; i < sc->n; i++) {
		if (sc->v[i] == tag)
			return;
	}
	assert_true(sc->n < VALUES);
	sc->v[sc->n++] = tag;
}

static bool
is_full(uint32_t first, uint32_t n)
{
	for (uint32_t s = first; s < first + n; s++) {
		if (sectors[s].n >= VALUES - 1)
			return true;
	}
	return false;
}

static void
made_sure(uint32_t first, uint32_t n)
{
	for (uint32_t s = first; s < first + n; s++) {
		sectors[s].n = 1;
		sectors[s].v[0] = sectors[s].now;
	}
}

static void
note_moment(void)
{
	pthread_mutex_lock(&moments_lock);
	assert_true(nmoments < MOMENTS);
	for (uint32_t s = 0; s < NSECTORS; s++)
		moments[nmoments][s] = sectors[s].now;
	nmoments++;
	pthread_mutex_unlock(&moments_lock);
}

static uint32_t
tag_at(const unsigned char *p)
{
	uint32_t tag;

	memcpy(&tag, p, sizeof(tag));
	for (unsigned int i = 4; i < SECTOR; i += 4) {
		if (memcmp(p + i, &tag, 4) != 0)
			return UINT32_MAX; /* torn inside a sector */
	}
	return tag;
}

static void
put_tag(unsigned char *p, uint32_t tag)
{
	for (unsigned int i = 0; i < SECTOR; i += 4)
		memcpy(p + i, &tag, 4);
}

/* check_image - on the volume's thread: a request may be half applied, but of each moment whole ones only.
 * A single client sends one request after the other, so the image is a moment between two of them, or has
 * the request of the seal's moment in part (its chunks are zeroed or written one by one). */
static void
check_image(const struct vf_image *img)
{
	uint32_t got[NSECTORS];
	bool ok = false;

	while (is_looking)
		clock_sleep_ms(1);
	for (uint32_t s = 0; s < NSECTORS; s++)
		got[s] = tag_at(img->p + s * SECTOR);
	pthread_mutex_lock(&moments_lock);
	for (unsigned int m = nmoments; m-- > 0 && !ok;) {
		ok = true;
		for (uint32_t s = 0; s < NSECTORS && ok; s++)
			ok = got[s] == moments[m][s] ||
			     (m + 1 < nmoments && got[s] == moments[m + 1][s]);
	}
	pthread_mutex_unlock(&moments_lock);
	if (!ok)
		nwrong++;
}

static void
check_all(void)
{
	memset(buf, 0xee, REACH);
	assert_int_equal(vx_call(x, CW_VIO_READ, 0, REACH, buf, false), 0);
	for (uint32_t s = 0; s < NSECTORS; s++) {
		uint32_t got = tag_at(buf + s * SECTOR);
		bool ok = false;

		for (unsigned int i = 0; i < sectors[s].n && !ok; i++)
			ok = sectors[s].v[i] == got;
		if (ok) {
			sectors[s].now = got;
			continue;
		}
		print_error(
		    "sector %u (block %u): %u was never right; cut at %s\n", s, s / 8, got, cut_at);
		for (unsigned int i = 0; i < sectors[s].n; i++)
			print_error("  may be %u\n", sectors[s].v[i]);
		fail();
	}
}

/* --- one life -------------------------------------------------------------------------------------------------- */

static void
pick(uint64_t *rnd, uint32_t *first, uint32_t *n)
{
	*n = 1 + (uint32_t)(fx_random(rnd) % (fx_random(rnd) % 5 == 0 ? 500 : 24));
	*first = (uint32_t)(fx_random(rnd) % (NSECTORS - *n));
	if (fx_random(rnd) % 2 == 0)
		*first &= ~7u;
}

/* learn - a request failed, as a sync did: some of it may have been done. */
static void
learn(uint32_t first, uint32_t n, int err)
{
	if (has_cut)
		return;
	assert_int_equal(err, -EIO);
	for (int tries = 0; tries < 5; tries++) { /* a fetch may hear of the failed sync, too */
		err = vx_call(
		    x, CW_VIO_READ, (uint64_t)first * SECTOR, (uint64_t)n * SECTOR, buf, false);
		if (err == 0 || has_cut)
			break;
	}
	if (has_cut)
		return;
	assert_int_equal(err, 0);
	for (uint32_t s = 0; s < n; s++)
		sectors[first + s].now = tag_at(buf + s * SECTOR);
	note_moment();
}

static void
life_change(uint64_t *rnd)
{
	bool is_zero = fx_random(rnd) % 4 == 0, is_fua = fx_random(rnd) % 8 == 0;
	uint32_t first, n;
	int err;

	pick(rnd, &first, &n);
	if (is_full(first, n)) {
		if (vx_sync(x) == 0 && !has_cut)
			made_sure(0, NSECTORS);
		return;
	}
	next_tag++;
	for (uint32_t s = 0; s < n; s++) {
		put_tag(buf + s * SECTOR, next_tag);
		add_value(first + s, is_zero ? 0 : next_tag);
	}
	note_moment();
	err = vx_call(x, is_zero ? CW_VIO_ZERO : CW_VIO_WRITE, (uint64_t)first * SECTOR,
	    (uint64_t)n * SECTOR, is_zero ? NULL : buf, is_fua);
	if (err == 0 && is_fua && !has_cut)
		made_sure(first, n);
	if (err != 0)
		learn(first, n, err);
}

static void
life_compare(uint64_t *rnd)
{
	uint32_t first, n;
	int err;

	pick(rnd, &first, &n);
	n = n > 16 ? 16 : n;
	if (is_full(first, n))
		return;
	next_tag++;
	for (uint32_t s = 0; s < n; s++) {
		put_tag(buf + s * SECTOR, sectors[first + s].now);
		put_tag(buf + (n + s) * SECTOR, next_tag);
		add_value(first + s, next_tag);
	}
	note_moment();
	err = vx_call(
	    x, CW_VIO_COMPARE_WRITE, (uint64_t)first * SECTOR, (uint64_t)n * SECTOR, buf, false);
	if (err != 0)
		learn(first, n, err);
}

static void
life_op(uint64_t *rnd)
{
	unsigned int what = (unsigned int)(fx_random(rnd) % 100);

	if (what < 55) {
		life_change(rnd);
	} else if (what < 60) {
		life_compare(rnd);
	} else if (what < 75) {
		if (vx_sync(x) == 0 && !has_cut)
			made_sure(0, NSECTORS);
	} else if (what < 85) {
		cw_volume_drain(x->v, NULL, NULL);
		if (fx_random(rnd) % 2 == 0)
			clock_sleep_ms(3);
	} else if (what < 88) {
		if (!has_cut)
			vf.fail_put = vf.fail_put == 0 ? -ERR_OFFLINE : 0;
	} else if (what < 90) {
		(void)cache_evict_all(x->cache);
	} else if (what < 91) {
		osfile_crash_fail_syncs(1);
	} else {
		uint32_t first, n;

		pick(rnd, &first, &n);
		if (vx_call(x, CW_VIO_READ, (uint64_t)first * SECTOR, (uint64_t)n * SECTOR, buf,
			false) != 0 ||
		    has_cut)
			return;
		for (uint32_t s = 0; s < n; s++)
			assert_int_equal(tag_at(buf + s * SECTOR), sectors[first + s].now);
	}
}

static void
next_life(int life)
{
	struct cache_check_report report;

	if (!has_cut)
		cut_power("between requests");
	countdown = -1;
	vx_close(x); /* whatever it still does has no effect */
	osfile_crash_fail_syncs(0);
	vf.fail_put = 0;
	snprintf(x->index_path, sizeof(x->index_path), "%s", cut_index);
	snprintf(cut_index, sizeof(cut_index), "%s/index-%d.db", x->dir, life + 1);
	assert_int_equal(cache_check(&x->conf, vx_no_problem, NULL, &report), 0);
	is_looking = true;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	check_all();
	made_sure(
	    0, NSECTORS); /* what was read once may be read again: it is in the cache's hands */
	note_moment();
	is_looking = false;
	assert_int_equal(vx_sync(x), 0);
}

static void
run_lives(enum cw_volume_mode mode)
{
	const char *text = getenv("CW_SEED"), *lives_text = getenv("CW_LIVES");
	uint64_t rnd = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	int lives = lives_text != NULL ? atoi(lives_text) : 40;

	print_message("CW_SEED=%llu\n", (unsigned long long)rnd);
	countdown = -1;
	next_tag = 0;
	nwrong = 0;
	moments = xcalloc(MOMENTS, sizeof(*moments));
	nmoments = 0;
	memset(sectors, 0, sizeof(sectors));
	made_sure(0, NSECTORS);
	x = vx_init(&osfile_crash, 64u << 20, mode);
	x->conf.flush_interval_ms = 5;
	x->vconf.seal_interval_ms = 20;
	vf.check = check_image;
	cache_failpoint =
	    at_failpoint; /* counts nothing yet; before there are threads that look at it */
	assert_int_equal(vx_try_open(x, NULL, true), 0);
	note_moment();
	snprintf(cut_index, sizeof(cut_index), "%s/index-0.db", x->dir);
	for (int life = 0; life < lives; life++) {
		unsigned int nops = (unsigned int)(fx_random(&rnd) % 150);

		has_cut = false;
		cut_seed = fx_random(&rnd);
		countdown = fx_random(&rnd) % 4 == 0 ? -1 : (int)(fx_random(&rnd) % 300);
		for (unsigned int k = 0; k < nops && !has_cut; k++)
			life_op(&rnd);
		next_life(life);
		assert_int_equal(nwrong, 0);
		if (mode == CW_VOLUME_STORED)
			assert_int_equal(vf.nfetches, 0);
	}
	countdown = -1;
	vx_drain(x);
	assert_int_equal(vx_call(x, CW_VIO_READ, 0, REACH, buf, false), 0);
	pthread_mutex_lock(&vf.lock);
	print_message("epochs %llu, adopted %u, fetches %u\n", (unsigned long long)vf.now.epoch,
	    vf.nadopted, vf.nfetches);
	assert_memory_equal(vf.now.p, buf, REACH);
	pthread_mutex_unlock(&vf.lock);
	vx_end(x);
	cache_failpoint = NULL; /* the threads that look at it are gone */
	free(moments);
}

static void
a_cached_volume_keeps_its_promises_over_power_cuts(void **state)
{
	(void)state;
	run_lives(CW_VOLUME_CACHED);
}

static void
a_stored_volume_keeps_its_promises_over_power_cuts(void **state)
{
	(void)state;
	run_lives(CW_VOLUME_STORED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_cached_volume_keeps_its_promises_over_power_cuts),
	    cmocka_unit_test(a_stored_volume_keeps_its_promises_over_power_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
