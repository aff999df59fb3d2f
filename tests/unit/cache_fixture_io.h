/* SPDX-License-Identifier: Apache-2.0 */
/* cache_fixture_io.h - second half of cache_fixture.h: requests, uploads and what must hold. */
#ifndef TESTS_CACHE_FIXTURE_IO_H
#define TESTS_CACHE_FIXTURE_IO_H

#include "tests/unit/cache_fixture.h"

/* --- synchronous I/O ------------------------------------------------------------------------------------- */

struct fx_io {
	struct cw_io io;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
};

static inline void
fx_io_done(struct cw_io *io)
{
	struct fx_io *fi = container_of(io, struct fx_io, io);

	pthread_mutex_lock(&fi->lock);
	fi->is_done = true;
	pthread_cond_signal(&fi->cond);
	pthread_mutex_unlock(&fi->lock);
}

static inline void
fx_written(struct cw_io *io)
{
	struct fx_file *f = io->file->owner;

	/* a volume has nothing to say about a write: its commits are of chunks alone */
	if (!((const struct fx *)io->file->space->owner)->is_volume || io->off + io->len > f->size)
		f->is_changed = true;
	f->size = max64(f->size, io->off + io->len);
}

static inline int
fx_io_wait(struct fx_io *fi, int err)
{
	if (err == -EINPROGRESS) {
		pthread_mutex_lock(&fi->lock);
		while (!fi->is_done)
			pthread_cond_wait(&fi->cond, &fi->lock);
		pthread_mutex_unlock(&fi->lock);
		err = fi->io.result;
	}
	return err;
}

static inline void
fx_io_init(
    struct fx_io *fi, struct fx_file *f, enum cw_io_op op, uint64_t off, uint32_t len, void *buf)
{
	memset(fi, 0, sizeof(*fi));
	fi->io.op = op;
	fi->io.file = &f->cf;
	fi->io.off = off;
	fi->io.len = len;
	fi->io.buf = buf;
	cache_space_lock(f->cf.space);
	fi->io.size = f->size;
	cache_space_unlock(f->cf.space);
	fi->io.written = fx_written;
	fi->io.done = fx_io_done;
	pthread_mutex_init(&fi->lock, NULL);
	pthread_cond_init(&fi->cond, NULL);
}

static inline int
fx_read(struct fx_file *f, uint64_t off, uint32_t len, void *buf, unsigned int flags)
{
	struct fx_io fi;

	fx_io_init(&fi, f, CW_IO_READ, off, len, buf);
	fi.io.flags = flags;
	return fx_io_wait(&fi, cache_read(&fi.io));
}

static inline int
fx_write(struct fx_file *f, uint64_t off, uint32_t len, const void *buf, unsigned int flags)
{
	struct fx_io fi;
	int err;

	fx_io_init(&fi, f, CW_IO_WRITE, off, len, (void *)(uintptr_t)buf);
	fi.io.flags = flags;
	err = fx_io_wait(&fi, cache_write(&fi.io));
	if (err == 0 && f->oracle != NULL)
		memcpy(f->oracle + off, buf, len);
	return err;
}

/* fx_wait_landed - a read ends before its bytes are in the data file. */
static inline void
fx_wait_landed(struct fx_file *f)
{
	bool is_idle = false;

	while (!is_idle) {
		cache_space_lock(f->cf.space);
		is_idle = f->cf.nio == 0;
		cache_space_unlock(f->cf.space);
		usleep(1000);
	}
}

static inline void
fx_fill(uint64_t *rnd, unsigned char *p, size_t len)
{
	unsigned char tag = (unsigned char)(fx_random(rnd) | 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)(tag + i / 61 + (i & 3));
}

/* fx_zero - whole blocks, in as many steps as it takes. */
static inline void
fx_zero(struct fx *fx, struct fx_file *f, uint64_t off, uint64_t len)
{
	struct cache_zero z = {.file = &f->cf, .off = off, .end = off + len};
	int r;

	do {
		cache_space_lock(fx->space);
		r = cache_zero(&z);
		cache_space_unlock(fx->space);
	} while (r == 1);
	cache_zero_end(&z);
	assert_int_equal(r, 0);
	if (f->oracle != NULL)
		memset(f->oracle + off, 0, len);
}

static inline void
fx_truncate(struct fx *fx, struct fx_file *f, uint64_t size)
{
	cache_space_lock(fx->space);
	assert_int_equal(cache_truncate(&f->cf, f->size, size), 0);
	if (size < f->size)
		memset(f->oracle + size, 0, f->size - size);
	f->size = size;
	f->is_changed = true;
	cache_space_unlock(fx->space);
	cache_mark(fx->space);
}

/* fx_check_range - the cache agrees with the oracle, byte by byte. */
static inline void
fx_check_range(struct fx_file *f, uint64_t off, uint32_t len, unsigned int flags)
{
	unsigned char *buf = xmalloc(len);

	memset(buf, 0xee, len);
	assert_int_equal(fx_read(f, off, len, buf, flags), 0);
	/* at once: byte by byte takes minutes in a race checker */
	if (memcmp(buf, f->oracle + off, len) == 0) {
		free(buf);
		return;
	}
	for (uint32_t i = 0; i < len; i++) {
		if (buf[i] == f->oracle[off + i])
			continue;
		print_error("file %llu byte %llu: %02x, should be %02x (size %llu)\n",
		    (unsigned long long)f->cf.id, (unsigned long long)(off + i), buf[i],
		    f->oracle[off + i], (unsigned long long)f->size);
		fail();
	}
}

/* --- upload ------------------------------------------------------------------------------------------------ */

/* fx_seal - freeze; the oracle's present content is what must reach the bucket. */
static inline void
fx_seal(struct fx *fx, struct fx_file *f)
{
	struct fx_bytes *v = &fx->versions[++fx->nversions];

	assert_true(fx->nversions < FX_VERSIONS - 1);
	v->len = f->size;
	v->p = xmalloc(f->size + 1);
	memcpy(v->p, f->oracle, f->size);
	cache_space_lock(fx->space);
	assert_int_equal(cache_seal(&f->cf, f->size, NULL, NULL), 0);
	f->sealed_version = fx->nversions;
	f->is_changed = true;
	cache_space_unlock(fx->space);
	cache_mark(fx->space);
}

/* fx_check_sealed - the sealed view is the moment of the seal, whatever came after. */
static inline void
fx_check_sealed(struct fx *fx, struct fx_file *f)
{
	const struct fx_bytes *v = &fx->versions[f->sealed_version];
	unsigned char *buf = xmalloc(v->len + 1);

	assert_int_equal(f->cf.sealed_size, v->len);
	if (v->len > 0)
		assert_int_equal(fx_read(f, 0, (uint32_t)v->len, buf, CW_IO_SEALED), 0);
	assert_memory_equal(buf, v->p, v->len);
	free(buf);
}

static inline void
fx_seal_done(struct fx *fx, struct fx_file *f)
{
	if (cache_settle(&f->cf) != 0) {
		assert_true(fx->may_lose_power);
		return;
	}
	cache_space_lock(fx->space);
	assert_true(cache_is_settled(&f->cf));
	cache_seal_done(&f->cf);
	f->version = f->sealed_version;
	f->is_changed = true;
	cache_space_unlock(fx->space);
	cache_mark(fx->space);
}

/* fx_check_runs - the sealed runs are exactly what differs from the base, and zeros are told apart. */
static inline void
fx_check_runs(struct fx *fx, struct fx_file *f)
{
	static const unsigned char zeros[CACHE_BLOCK_SIZE];
	const struct fx_bytes *now = &fx->versions[f->sealed_version],
			      *base = &fx->versions[f->version];
	struct cache_run *runs;
	uint64_t at = 0;
	size_t n;

	cache_sealed_runs(&f->cf, &runs, &n);
	for (size_t i = 0; i <= n; i++) {
		uint64_t off = i < n ? runs[i].off : now->len;

		assert_true(off >= at && off % CACHE_BLOCK_SIZE == 0);
		for (; at < off; at++) { /* between the runs it is as it was */
			if (now->p[at] != (at < base->len ? base->p[at] : 0))
				fail_msg(
				    "byte %llu changed, but is not sealed", (unsigned long long)at);
		}
		if (i == n)
			break;
		for (; at < off + runs[i].len; at += CACHE_BLOCK_SIZE) {
			if (runs[i].is_zero)
				assert_memory_equal(now->p + at, zeros, CACHE_BLOCK_SIZE);
		}
	}
	free(runs);
}

/* fx_check_clean - P2 in memory: every CLEAN block is the bucket's. */
static inline void
fx_check_clean(struct fx *fx, struct fx_file *f)
{
	const struct fx_bytes *v = &fx->versions[f->version];
	unsigned char block[CACHE_BLOCK_SIZE], want[CACHE_BLOCK_SIZE];
	struct chunk *ch;
	uint32_t pos = 0;

	cache_space_lock(fx->space);
	while ((ch = cachei_chunk_next(&f->cf, &pos)) != NULL) {
		for (uint32_t b = 0; b < CACHE_CHUNK_BLOCKS; b++) {
			uint64_t off =
			    ((uint64_t)ch->no << CACHE_CHUNK_SHIFT) + b * CACHE_BLOCK_SIZE;

			if ((ch->clean >> b & 1) == 0)
				continue;
			memset(want, 0, sizeof(want));
			if (off < v->len)
				memcpy(want, v->p + off, min64(sizeof(want), v->len - off));
			assert_int_equal(
			    fx->cache->os->pread(fx->space->file, block, sizeof(block),
				slot_off(ch->clean_slot) + b * CACHE_BLOCK_SIZE, false),
			    0);
			if (memcmp(block, want, sizeof(block)) != 0) {
				print_error(
				    "file %llu block %llu: CLEAN but not the bucket's bytes\n",
				    (unsigned long long)f->cf.id, (unsigned long long)(off >> 12));
				fail();
			}
		}
	}
	cache_space_unlock(fx->space);
}

#endif
