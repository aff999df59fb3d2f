/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_fixture.h - a small owner for cache tests: files with rows in the index, a bucket in memory
 * that keeps every version of every object, and a byte-exact oracle of what files hold.
 */
#ifndef TESTS_CACHE_FIXTURE_H
#define TESTS_CACHE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/cache_int.h"
#include "cache/redo.h"
#include "tests/lib/osfile_crash.h"
#include "tests/lib/testdir.h"

#define FX_FILES 6
#define FX_MAX (1536u << 10) /* biggest file of the oracle */
#define FX_VERSIONS 4096

struct fx_bytes {
	unsigned char *p;
	uint64_t len;
};

struct fx_file {
	struct cache_file cf;
	uint64_t size;
	uint64_t version; /* object the base limits talk about: index into versions, 0 = none */
	uint64_t sealed_version; /* what the seal will become */
	bool is_changed, is_collecting;
	unsigned char *oracle; /* FX_MAX bytes, zeros past size */
};

struct fx {
	char dir[64], index_path[160];
	const char *data_dirs[1];
	struct cache_conf conf;
	struct cache *cache;
	struct cache_space *space;
	struct fx_file files[FX_FILES];
	bool
	    is_volume; /* files of one size, holes in the base, no truncation; set by fx_new_volume */
	bool may_lose_power;  /* errors of what needs the disk are to be expected */
	uint64_t redo_row_ns; /* 0: few blocks ride as redo rows, whatever a sync takes here */
	bool is_pinned;	      /* and all of it stays here: a fetch is a mistake */
	struct fx_bytes
	    versions[FX_VERSIONS]; /* the bucket, never forgets; never changes once set */
	uint64_t nversions;
	_Atomic int fetch_error;
	uint64_t damaged_off; /* fetches with this byte fail, slowly; 0 = none */
	_Atomic unsigned int nfetches, nverifier_changes;
	_Atomic bool hold_fetches;
	unsigned int linger_ms; /* fetch() returns so late, when all may be over */
	struct cache_fetch *held[64];
	struct work *held_work[64];
	_Atomic unsigned int nheld;
};

static inline uint64_t
fx_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline void
fx_node_row(const struct fx_file *f, struct index_node *row)
{
	memset(row, 0, sizeof(*row));
	row->ino = f->cf.id;
	row->space = 1;
	row->name = "f";
	row->size = f->size;
	row->base_limit = f->cf.base_limit;
	row->sealed_limit = f->cf.sealed_limit;
	row->sealed_size = f->cf.sealed_size;
	row->has_sealed = f->cf.has_sealed;
	row->remote_data_seq = f->version;
	row->data_seq = f->sealed_version;
}

static inline void
fx_collect(void *owner, struct index_txn *txn)
{
	struct fx *fx = owner;
	struct index_node row;

	for (int i = 0; i < FX_FILES; i++) {
		struct fx_file *f = &fx->files[i];

		if (!f->is_changed)
			continue;
		f->is_changed = false;
		f->is_collecting = true;
		fx_node_row(f, &row);
		index_txn_put_node(txn, &row);
	}
}

static inline void
fx_collected(void *owner, int err)
{
	struct fx *fx = owner;

	cache_space_lock(fx->space);
	for (int i = 0; i < FX_FILES; i++) {
		if (fx->files[i].is_collecting && err != 0)
			fx->files[i].is_changed = true;
		fx->files[i].is_collecting = false;
	}
	cache_space_unlock(fx->space);
}

struct fx_get {
	struct work work;
	struct fx *fx;
	struct cache_fetch *ft;
	uint64_t version, off;
	uint32_t len;
	unsigned char *buf;
};

static inline void
fx_get_run(struct work *w)
{
	struct fx_get *g = container_of(w, struct fx_get, work);
	const struct fx_bytes *v = &g->fx->versions[g->version];
	uint64_t damaged = g->fx->damaged_off;
	int err = g->fx->fetch_error;
	struct cache_fetch *ft = g->ft;

	if (damaged != 0 && damaged >= g->off && damaged - g->off < g->len) {
		err = -ERR_CHECKSUM;
		usleep(20000); /* somebody comes to want some of it */
	}
	memset(g->buf, 0, g->len);
	if (g->off < v->len)
		memcpy(g->buf, v->p + g->off, min64(g->len, v->len - g->off));
	free(g);
	cache_fetch_done(ft, err);
}

static inline void
fx_fetch(
    void *owner, void *file_owner, uint64_t off, uint32_t len, void *buf, struct cache_fetch *ft)
{
	struct fx *fx = owner;
	struct fx_file *f = file_owner;
	struct fx_get *g = xcalloc(1, sizeof(*g));
	unsigned int linger_ms = fx->linger_ms;

	fx->nfetches++;
	g->work.fn = fx_get_run;
	g->fx = fx;
	g->ft = ft;
	cache_space_lock(fx->space);
	g->version = f->version;
	cache_space_unlock(fx->space);
	g->off = off;
	g->len = len;
	g->buf = buf;
	if (fx->hold_fetches)
		fx->held_work[fx->nheld++] = &g->work;
	else
		workq_submit(cache_workq(fx->cache), &g->work);
	if (linger_ms > 0)
		usleep(linger_ms * 1000);
}

static inline void
fx_release_fetches(struct fx *fx)
{
	fx->hold_fetches = false;
	while (fx->nheld > 0)
		workq_submit(cache_workq(fx->cache), fx->held_work[--fx->nheld]);
}

/* fx_hole - is the base all zeros from off on? What volumes have: the bucket keeps no zeros. */
static inline bool
fx_hole(void *owner, void *file_owner, uint64_t off, uint64_t *end)
{
	static const unsigned char zeros[CACHE_BLOCK_SIZE];
	const struct fx *fx = owner;
	const struct fx_file *f = file_owner;
	const struct fx_bytes *v = &fx->versions[f->version];
	bool is_hole = false;

	for (uint64_t at = off; at < *end; at += CACHE_BLOCK_SIZE) {
		bool here = at >= v->len ||
			    memcmp(v->p + at, zeros, min64(sizeof(zeros), v->len - at)) == 0;

		if (at == off)
			is_hole = here;
		else if (here != is_hole)
			*end = at;
	}
	return is_hole;
}

static inline void
fx_sealed(void *owner, void *file_owner)
{
	(void)owner;
	((struct fx_file *)file_owner)->is_changed = true;
}

static inline void
fx_verifier_changed(void *owner)
{
	((struct fx *)owner)->nverifier_changes++;
}

static const struct cache_owner_ops fx_ops = {
    .collect = fx_collect,
    .collected = fx_collected,
    .fetch = fx_fetch,
    .sealed = fx_sealed,
    .verifier_changed = fx_verifier_changed,
};

static const struct cache_owner_ops fx_volume_ops = {
    .collect = fx_collect,
    .collected = fx_collected,
    .fetch = fx_fetch,
    .hole = fx_hole,
    .sealed = fx_sealed,
    .verifier_changed = fx_verifier_changed,
};

/* --- life ---------------------------------------------------------------------------------------------- */

static inline struct cache_file *
fx_resolve(void *owner, uint64_t id)
{
	struct fx *fx = owner;

	return id >= 100 && id < 100 + FX_FILES ? &fx->files[id - 100].cf : NULL;
}

static inline int
fx_load_node(void *arg, const struct index_node *n)
{
	struct fx *fx = arg;
	struct fx_file *f = &fx->files[n->ino - 100];

	cache_file_init(&f->cf, fx->space, n->ino, f, n->base_limit);
	f->cf.sealed_limit = n->sealed_limit;
	f->cf.sealed_size = n->sealed_size;
	f->cf.has_sealed = n->has_sealed;
	f->size = n->size;
	f->version = n->remote_data_seq;
	f->sealed_version = n->data_seq;
	return 0;
}

static inline void
fx_open(struct fx *fx)
{
	char text[512];
	int err;

	cachei_redo_row_ns = fx->redo_row_ns;
	err = cache_open(&fx->conf, &fx->cache, text, sizeof(text));
	if (err != 0)
		print_error("cache_open: %s\n", text);
	assert_int_equal(err, 0);
	if (fx->is_pinned)
		err =
		    cache_space_open_pinned(fx->cache, 1, fx->dir, &fx_volume_ops, fx, &fx->space);
	else
		err = cache_space_open(
		    fx->cache, 1, fx->is_volume ? &fx_volume_ops : &fx_ops, fx, &fx->space);
	assert_int_equal(err, 0);
	for (int i = 0; i < FX_FILES; i++) {
		struct fx_file *f = &fx->files[i];

		cache_file_init(&f->cf, fx->space, 100 + (uint64_t)i, f, 0);
		f->size = fx->is_volume ? FX_MAX : 0;
		f->version = f->sealed_version = 0;
		f->is_changed = f->is_collecting = false;
	}
	assert_int_equal(index_each_node(cache_index(fx->cache), 1, fx_load_node, fx), 0);
	assert_int_equal(cache_space_load(fx->space, fx_resolve), 0);
	assert_int_equal(cache_start(fx->cache), 0);
}

static inline void
fx_close(struct fx *fx)
{
	cache_space_close(fx->space);
	cache_close(fx->cache);
}

static inline struct fx *
fx_new_volume(const struct osfile_ops *os, uint64_t capacity, bool is_volume, bool is_pinned)
{
	struct fx *fx = xcalloc(1, sizeof(*fx));

	fx->is_volume = is_volume;
	fx->is_pinned = is_pinned;
	snprintf(fx->dir, sizeof(fx->dir), "/tmp/cw-cache-test-XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	snprintf(fx->index_path, sizeof(fx->index_path), "%s/index.db", fx->dir);
	fx->data_dirs[0] = fx->dir;
	fx->conf = (struct cache_conf){.index_path = fx->index_path,
	    .data_dirs = fx->data_dirs,
	    .ndata_dirs = 1,
	    .capacity_bytes = capacity,
	    .flush_interval_ms = 50,
	    .workers = 4,
	    .os = os};
	for (int i = 0; i < FX_FILES; i++)
		fx->files[i].oracle = xcalloc(1, FX_MAX);
	fx_open(fx);
	return fx;
}

static inline struct fx *
fx_new(const struct osfile_ops *os, uint64_t capacity)
{
	return fx_new_volume(os, capacity, false, false);
}

static inline void
fx_free(struct fx *fx)
{
	testdir_remove(fx->dir);
	for (uint64_t i = 0; i <= fx->nversions; i++)
		free(fx->versions[i].p);
	for (int i = 0; i < FX_FILES; i++)
		free(fx->files[i].oracle);
	osfile_crash_reset();
	free(fx);
}

#include "tests/unit/cache_fixture_io.h"

#endif
