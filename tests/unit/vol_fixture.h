/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_fixture.h - a volume's remote image over the store in memory, and what its blocks must be: an
 * oracle of one version number per block; the bytes of a block follow from block and version.
 */
#ifndef TESTS_VOL_FIXTURE_H
#define TESTS_VOL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_extract.h"
#include "gateway/volume/vol_int.h"
#include "gateway/volume/vol_remote.h"
#include "s3/objstore_mem.h"
#include "tests/lib/testdir.h"

#define VF_BLOCKS_MAX 16384u
/* comparing bytes is what ThreadSanitizer makes slow, and not what it is there for */
#ifdef __SANITIZE_THREAD__
#define VF_CHECK_PART 12u
#else
#define VF_CHECK_PART 1u
#endif

struct vf_image { /* versions; 0 = zeros */
	uint32_t nblocks;
	uint32_t v[VF_BLOCKS_MAX];
};

struct vf {
	char dir[64], stem[96];
	struct objstore *store;
	struct vol_tune tune;
	struct vol_remote_conf conf;
	struct vol_remote *r;
	struct vf_image now;	/* committed */
	struct vf_image sealed; /* the epoch under way */
	struct vol_run *runs;
	size_t nruns;
	uint64_t epoch; /* committed, as an index row would say */
	int64_t time_ns;
	uint32_t version;
	uint64_t seed;
	uint64_t written; /* bytes handed to put_epoch */
	int read_err;
};

static inline uint32_t
vf_rnd(struct vf *f, uint32_t n)
{
	f->seed = f->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(f->seed >> 33) % n;
}

static inline void
vf_block(uint32_t block, uint32_t version, uint8_t *out)
{
	uint64_t x = (uint64_t)block << 32 | version;
	uint64_t *w = (uint64_t *)(void *)out;

	if (version == 0) {
		memset(out, 0, VOL_BLOCK);
		return;
	}
	for (size_t i = 0; i < VOL_BLOCK / 8; i++) {
		x += 0x9e3779b97f4a7c15ull;
		w[i] = version % 3 == 0 ? version : x ^ x >> 29; /* a third compresses well */
	}
}

static inline void
vf_init(struct vf *f, uint32_t nblocks)
{
	memset(f, 0, sizeof(*f));
	log_set_level(LOG_LEVEL_ERR);
	/* nothing here asks what a disk keeps; fsync in memory is quick */
	(void)snprintf(f->dir, sizeof(f->dir), "%s/cw-vol-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->stem, sizeof(f->stem), "%s/volume-1.map", f->dir);
	f->store = objstore_mem_new("vol");
	f->store->has_conditional_put = true;
	f->tune = (struct vol_tune){.object_bytes = 256u << 10,
	    .width = 3,
	    .checkpoint_min_bytes = 64u << 10,
	    .checkpoint_ratio = 20,
	    .waste_min_bytes = 64u << 10,
	    .compact_bytes = 4u << 20};
	f->conf = (struct vol_remote_conf){.volume_id = "vol-0001",
	    .prefix = "p/",
	    .appliance_id = "gw-a",
	    .size_bytes = (uint64_t)nblocks * VOL_BLOCK,
	    .block_bytes = 512,
	    .local_path = f->stem,
	    .store = f->store,
	    .tune = &f->tune};
	f->now.nblocks = f->sealed.nblocks = nblocks;
	f->seed = 7;
	f->time_ns = clock_real_ns();
	f->runs = calloc(VF_BLOCKS_MAX + 1, sizeof(*f->runs));
}

static inline void
vf_create(struct vf *f)
{
	char why[256] = "";

	if (vol_remote_create(&f->conf, NULL, &f->r, why, sizeof(why)) != 0)
		fail_msg("create: %s", why);
	assert_int_equal(vol_remote_epoch(f->r), 0);
}

static inline void
vf_free(struct vf *f)
{
	if (f->r != NULL)
		vol_remote_close(f->r);
	f->store->ops->close(f->store);
	testdir_remove(f->dir);
	free(f->runs);
}

/* ---- epochs ---- */

static inline int
vf_read(void *arg, uint64_t off, uint32_t len, void *buf)
{
	struct vf *f = arg;

	if (f->read_err < 0)
		return f->read_err;
	assert_true(len <= VOL_FRAME_BYTES && off % VOL_BLOCK == 0);
	for (uint32_t i = 0; i < len / VOL_BLOCK; i++) {
		uint32_t block = (uint32_t)(off / VOL_BLOCK) + i;

		vf_block(block, f->sealed.v[block], (uint8_t *)buf + (size_t)i * VOL_BLOCK);
	}
	return 0;
}

/* vf_runs - the runs of what was marked since the last seal: dirty[b] 1 = data, 2 = zeros */
static inline void
vf_runs(struct vf *f, const uint8_t *dirty)
{
	f->nruns = 0;
	for (uint32_t b = 0; b < f->sealed.nblocks; b++) {
		struct vol_run *last = f->nruns > 0 ? &f->runs[f->nruns - 1] : NULL;

		if (dirty[b] == 0)
			continue;
		if (last != NULL && last->off + last->len == (uint64_t)b * VOL_BLOCK &&
		    last->is_zero == (dirty[b] == 2))
			last->len += VOL_BLOCK;
		else
			f->runs[f->nruns++] =
			    (struct vol_run){(uint64_t)b * VOL_BLOCK, VOL_BLOCK, dirty[b] == 2};
		f->written += dirty[b] == 1 ? VOL_BLOCK : 0;
	}
}

/* vf_seal - n random writes (lengths up to max blocks), and now and then zeros. */
static inline void
vf_seal(struct vf *f, uint32_t n, uint32_t max, uint32_t zero_percent)
{
	uint8_t *dirty = calloc(f->now.nblocks, 1);

	f->sealed = f->now;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = 1 + vf_rnd(f, max), b = vf_rnd(f, f->now.nblocks);
		bool is_zero = vf_rnd(f, 100) < zero_percent;

		for (; len > 0 && b < f->now.nblocks; len--, b++) {
			f->sealed.v[b] = is_zero ? 0 : ++f->version;
			dirty[b] = is_zero ? 2 : 1;
		}
	}
	f->time_ns += 1000000;
	vf_runs(f, dirty);
	free(dirty);
}

static inline int
vf_put(struct vf *f)
{
	return vol_remote_put_epoch(f->r, f->epoch + 1, (uint64_t)f->sealed.nblocks * VOL_BLOCK,
	    f->time_ns, f->runs, f->nruns, vf_read, f);
}

static inline void
vf_apply(struct vf *f)
{
	vol_remote_apply(f->r, f->epoch + 1);
	f->epoch++;
	f->now = f->sealed;
}

static inline void
vf_epoch(struct vf *f, uint32_t n, uint32_t max, uint32_t zero_percent)
{
	vf_seal(f, n, max, zero_percent);
	assert_int_equal(vf_put(f), 0);
	vf_apply(f);
	assert_int_equal(vol_remote_epoch(f->r), f->epoch);
}

static inline void
vf_tick(struct vf *f)
{
	uint64_t next;

	do {
		assert_int_equal(vol_remote_tick(f->r, &next), 0);
	} while (next == 0);
}

/* ---- reading ---- */

struct vf_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
	int result;
};

static inline void
vf_done(void *arg, int result)
{
	struct vf_wait *w = arg;

	pthread_mutex_lock(&w->lock);
	assert_false(w->is_done);
	w->is_done = true;
	w->result = result;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static inline int
vf_fetch(struct vol_remote *r, uint64_t off, uint32_t len, void *buf)
{
	struct vf_wait w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	vol_remote_fetch(r, off, len, buf, vf_done, &w);
	pthread_mutex_lock(&w.lock);
	while (!w.is_done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return w.result;
}

static inline void
vf_compare(
    const struct vf_image *want, const uint8_t *got, uint32_t first, uint32_t n, const char *what)
{
	uint8_t block[VOL_BLOCK] __attribute__((aligned(8)));

	for (uint32_t i = 0; i < n; i++) {
		vf_block(first + i, want->v[first + i], block);
		if (memcmp(block, got + (size_t)i * VOL_BLOCK, VOL_BLOCK) != 0)
			fail_msg(
			    "%s: block %u is not version %u", what, first + i, want->v[first + i]);
	}
}

/* vf_check - the whole committed image, through the gateway's reader, and its holes. */
static inline void
vf_check(struct vol_remote *r, const struct vf_image *want)
{
	uint32_t step = 200;
	uint8_t *buf = malloc((size_t)step * VOL_BLOCK);

	assert_int_equal(vol_remote_size(r), (uint64_t)want->nblocks * VOL_BLOCK);
	for (uint32_t b = 0; b < want->nblocks; b += step * VF_CHECK_PART) {
		uint32_t n = want->nblocks - b < step ? want->nblocks - b : step;

		assert_int_equal(vf_fetch(r, (uint64_t)b * VOL_BLOCK, n * VOL_BLOCK, buf), 0);
		vf_compare(want, buf, b, n, "fetch");
	}
	for (uint64_t off = 0; off < (uint64_t)want->nblocks * VOL_BLOCK;) {
		uint64_t end = (uint64_t)want->nblocks * VOL_BLOCK;
		bool is_hole = vol_remote_hole(r, off, &end);

		assert_true(end > off);
		for (; off < end; off += VOL_BLOCK)
			assert_true((want->v[off / VOL_BLOCK] == 0) == is_hole);
	}
	free(buf);
}

static inline void
vf_place(struct vf *f, const char *id, struct vol_place *pl)
{
	struct vol_err e = {""};
	struct vol_info info;

	if (vol_read_info(f->store, f->conf.prefix, id, &info, &e) != 0)
		fail_msg("%s", e.text);
	*pl = (struct vol_place){.store = f->store, .prefix = f->conf.prefix, .id = id};
	memcpy(pl->uuid, info.uuid, VOL_UUID_LEN);
}

/* vf_check_image - an image that was read from the bucket alone. */
static inline void
vf_check_image(struct vf *f, const struct vol_place *pl, const struct vol_image *im,
    const struct vf_image *want, const char *what)
{
	uint32_t n = want->nblocks / VF_CHECK_PART;
	size_t len = (size_t)n * VOL_BLOCK;
	struct vol_err e = {""};
	uint8_t *buf = malloc(len);

	assert_int_equal(im->at.size_bytes, (uint64_t)want->nblocks * VOL_BLOCK);
	if (vol_extract(pl, f->conf.has_key ? f->conf.key : NULL, im, 0, len, buf, &e) != 0)
		fail_msg("%s: %s", what, e.text);
	vf_compare(want, buf, 0, n, what);
	free(buf);
}

/* vf_check_bucket - what a reader without gateway finds is the committed image. */
static inline void
vf_check_bucket(struct vf *f, const char *id, const struct vf_image *want, uint64_t epoch)
{
	struct vol_err e = {""};
	struct vol_found found;
	struct vol_place pl;
	struct vol_image im;

	vf_place(f, id, &pl);
	if (vol_replay_now(&pl, &im, &found, &e) != 0)
		fail_msg("replay: %s", e.text);
	assert_int_equal(im.at.epoch, epoch);
	vf_check_image(f, &pl, &im, want, "bucket");
	vol_image_free(&im);
}

static inline void
vf_check_snapshot(struct vf *f, const char *id, const char *snapshot, const struct vf_image *want)
{
	struct vol_err e = {""};
	struct vol_place pl;
	struct vol_image im;

	vf_place(f, id, &pl);
	if (vol_replay_snapshot(&pl, snapshot, &im, NULL, &e) != 0)
		fail_msg("snapshot: %s", e.text);
	vf_check_image(f, &pl, &im, want, snapshot);
	vol_image_free(&im);
}

/* ---- restarts ---- */

static inline void
vf_reopen_local(struct vf *f)
{
	if (f->r != NULL)
		vol_remote_close(f->r);
	assert_int_equal(vol_remote_open_local(&f->conf, f->epoch, &f->r), 0);
}

static inline void
vf_reopen_bucket(struct vf *f)
{
	char why[256] = "";

	if (f->r != NULL)
		vol_remote_close(f->r);
	f->r = NULL;
	vol_remote_forget_local(f->stem);
	if (vol_remote_open_bucket(&f->conf, &f->r, why, sizeof(why)) != 0)
		fail_msg("open_bucket: %s", why);
}

static inline size_t
vf_count(struct vf *f, const char *part, uint64_t *bytes)
{
	size_t n = 0;
	char *key;

	*bytes = 0;
	for (size_t i = 0; (key = objstore_mem_key_at(f->store, i)) != NULL; i++) {
		if (strstr(key, part) != NULL) {
			size_t len;

			free(objstore_mem_get(f->store, key, &len, NULL));
			*bytes += len;
			n++;
		}
		free(key);
	}
	return n;
}

/* vf_settle - everything that may go is gone: then each log object is one the volume knows and needs. */
static inline void
vf_settle(struct vf *f, const char *id)
{
	struct vol_remote *r = f->r;
	struct vol_names names;
	struct vol_place pl;

	vf_epoch(f, 1, 1, 0);
	assert_int_equal(voli_checkpoint(r), 0);
	r->is_sweep_due = true;
	vf_tick(f);
	vf_tick(f);
	vf_place(f, id, &pl);
	assert_int_equal(vol_list_names(&pl, "log/", 0, 0, &names), 0);
	for (size_t i = 0; i < names.n; i++) {
		uint32_t at = vol_image_find(&r->im, 0, names.v[i].term, names.v[i].seq);

		for (size_t k = 0; at == VOL_NO_OBJECT && k < r->nmoved; k++)
			if (r->moved[k].seq == names.v[i].seq)
				at = 0; /* waits for the next commit */
		if (at == VOL_NO_OBJECT)
			fail_msg("log object %u-%llx: nobody knows it", names.v[i].term,
			    (unsigned long long)names.v[i].seq);
	}
	for (uint32_t i = 0; i < r->im.nobjects; i++) {
		const struct vol_object *o = &r->im.objects[i];

		if (o->bytes != 0 && r->keep_s == 0)
			assert_true(o->live > 0 || voli_is_pinned(r, o));
	}
	vol_names_free(&names);
}

#endif
