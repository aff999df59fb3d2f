/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_io.c - requests of block front ends: READ WRITE SYNC ZERO COMPARE_WRITE.
 *
 * A READ that the cache holds, and a WRITE into it, run through on the submitter's stack.  What is
 * exclusive (volume_range.c), and every write while an image is being taken over, runs on a worker, as a
 * chain of steps: stage says which one is under way; none of them waits on a thread for the store.
 *
 *   WRITE          write, sync if FUA
 *   ZERO           write zeros to the cut block at the head, to that at the tail, zero the whole blocks
 *                  between, sync if FUA
 *   COMPARE_WRITE  read, compare, write, sync if FUA
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/volume/volume_int.h"

#define IN_BLOCK ((uint64_t)VOLUME_BLOCK - 1)
#define SECTOR_MASK 511u

enum stage { STAGE_START, STAGE_HEAD, STAGE_TAIL, STAGE_BODY, STAGE_READ, STAGE_WRITE, STAGE_SYNC };

static const char zero_block[CACHE_BLOCK_SIZE];

static _Atomic uint64_t traffic; /* of all volumes: they share the CPUs and the disks */

uint64_t
volume_traffic(void)
{
	return traffic;
}

static void
set_stage(struct cw_vio *vio, enum stage s)
{
	vio->stage = (vio->stage & ~VIO_STAGE) | s;
}

static enum stage
get_stage(const struct cw_vio *vio)
{
	return (enum stage)(vio->stage & VIO_STAGE);
}

/* --- completion ---------------------------------------------------------------------------------------- */

static int
result_of(int err)
{
	switch (err) {
	case 0:
	case -EIO:
	case -ENOSPC:
	case -EINVAL:
	case -EROFS:
	case -ERR_BACKPRESSURE:
	case -ERR_OFFLINE:
	case -ECANCELED:
	case -EILSEQ:
		return err;
	default:
		return -EIO;
	}
}

static void
run_done(struct loop_task *t)
{
	struct cw_vio *vio = container_of(t, struct cw_vio, task);

	vio->done(vio);
}

void
volume_vio_complete(struct cw_vio *vio, int result)
{
	struct cw_volume *v = vio->volume;

	vio->result = result_of(result);
	if (vio->loop != NULL) {
		vio->task.fn = run_done;
		loop_post(vio->loop, &vio->task);
	} else {
		vio->done(vio);
	}
	volume_leave(v);
}

static bool
is_write(const struct cw_vio *vio)
{
	return vio->op == CW_VIO_WRITE || vio->op == CW_VIO_ZERO || vio->op == CW_VIO_COMPARE_WRITE;
}

/* --- a step in the cache ----------------------------------------------------------------------------- */

static void
io_written(struct cw_io *io)
{
	struct cw_vio *vio = io->ctx;

	volume_changed(vio->volume);
}

static void
io_fill(struct cw_vio *vio, enum cw_io_op op, uint64_t off, uint32_t len, const void *buf,
    unsigned int flags)
{
	struct cw_io *io = &vio->io;

	memset(io, 0, sizeof(*io));
	io->op = op;
	io->flags = flags;
	io->file = &vio->volume->file;
	io->off = off;
	io->len = len;
	io->buf = (void *)(uintptr_t)buf;
	io->size = vio->volume->size;
	io->written = io_written;
	io->ctx = vio;
}

/* --- READ ------------------------------------------------------------------------------------------------ */

static void
read_done(struct cw_io *io)
{
	volume_vio_complete(io->ctx, io->result);
}

static uint32_t
read_send(struct cw_io *io, struct iovec *iov, unsigned int n)
{
	struct cw_vio *vio = io->ctx;

	return vio->send(vio, iov, n);
}

static int
read_start(struct cw_vio *vio)
{
	struct cw_volume *v = vio->volume;
	int r;

	io_fill(vio, CW_IO_READ, vio->off, (uint32_t)vio->len, vio->buf,
	    (vio->loop != NULL ? CW_IO_NOWAIT : 0) | (v->is_boot ? CW_IO_NO_READAHEAD : 0));
	if (vio->send != NULL && vio->loop != NULL)
		vio->io.send = read_send;
	vio->io.done = read_done;
	v->read_bytes += vio->len;
	traffic += vio->len;
	r = cache_read(&vio->io);
	if (r == 0)
		v->hit_bytes += vio->len;
	return r;
}

/* --- what every change ends with ---------------------------------------------------------------------- */

static void
sync_done(struct cache_waiter *w, int err)
{
	volume_vio_complete(container_of(w, struct cw_vio, waiter), err);
}

static int
sync_start(struct cw_vio *vio)
{
	struct cw_volume *v = vio->volume;

	if (v->synced_seq == v->change_seq)
		return 0;
	set_stage(vio, STAGE_SYNC);
	vio->waiter.done = sync_done;
	cache_commit(v->space, &vio->waiter);
	return -EINPROGRESS;
}

/* change_end - the range is free again. result: as the step's, or -EINPROGRESS for the sync */
static int
change_end(struct cw_vio *vio, int err)
{
	volume_range_leave(vio->volume, vio);
	if (err == 0 && vio->is_fua)
		return sync_start(vio);
	return err;
}

static int next_step(struct cw_vio *vio, int err);

static void
step_done(struct cw_io *io)
{
	struct cw_vio *vio = io->ctx;
	int r;

	if (vio->volume->boot_wq != NULL) { /* what comes next may wait there */
		workq_submit(vio->volume->boot_wq, &vio->work);
		return;
	}
	r = next_step(vio, io->result);
	if (r != -EINPROGRESS)
		volume_vio_complete(vio, r);
}

/* --- WRITE ---------------------------------------------------------------------------------------------- */

static int
write_run(struct cw_vio *vio, const void *buf, bool is_inline)
{
	struct cw_volume *v = vio->volume;
	int r = 0;

	if (v->is_boot)
		r = volume_copy_up(v, vio->off, vio->len);
	if (r != 0)
		return r;
	set_stage(vio, STAGE_WRITE);
	io_fill(vio, CW_IO_WRITE, vio->off, (uint32_t)vio->len, buf,
	    is_inline && vio->loop != NULL ? CW_IO_NOWAIT : 0);
	vio->io.done = step_done;
	v->write_bytes += vio->len;
	traffic += vio->len;
	return cache_write(&vio->io);
}

/* --- ZERO ------------------------------------------------------------------------------------------------ */

struct zeroing {
	struct cache_zero z;
	struct cw_vio *vio;
};

/* zero_part - zeros into part of a block, unless the block holds nothing anyway. */
static int
zero_part(struct cw_vio *vio, enum stage stage, uint64_t off, uint64_t end)
{
	struct cw_volume *v = vio->volume;
	uint64_t block = off & ~IN_BLOCK, to;
	bool has_data;
	int r = 0;

	set_stage(vio, stage);
	if (off >= end)
		return 0;
	if (v->is_boot)
		r = volume_copy_up(v, off, end - off);
	if (r != 0)
		return r;
	cache_space_lock(v->space);
	has_data = cache_provisioned(&v->file, block, block + VOLUME_BLOCK, &to);
	cache_space_unlock(v->space);
	if (!has_data)
		return 0;
	io_fill(vio, CW_IO_WRITE, off, (uint32_t)(end - off), zero_block, 0);
	vio->io.done = step_done;
	return cache_write(&vio->io);
}

static int zero_loop(struct zeroing *zg);

static void
zero_again(void *arg)
{
	struct zeroing *zg = arg;
	struct cw_vio *vio = zg->vio;
	int r = zero_loop(zg);

	if (r == -EINPROGRESS)
		return;
	r = next_step(vio, r);
	if (r != -EINPROGRESS)
		volume_vio_complete(vio, r);
}

/* zero_loop - step by step, letting go of the lock. result: 0, -EINPROGRESS: goes on in zero_again() */
static int
zero_loop(struct zeroing *zg)
{
	struct cw_volume *v = zg->vio->volume;
	int r;

	do {
		cache_space_lock(v->space);
		r = cache_zero(&zg->z);
		if (r == 0)
			volume_changed(v);
		else if (r == -EAGAIN)
			cache_when_quiet(&v->file, zero_again, zg);
		cache_space_unlock(v->space);
	} while (r == 1);
	if (r == -EAGAIN)
		return -EINPROGRESS;
	cache_zero_end(&zg->z);
	free(zg);
	return r;
}

/* add_skip - an image's blocks there are not to be taken over any more. locked; false: too many */
static bool
add_skip(struct volume_row *r, uint64_t off, uint64_t end)
{
	unsigned int i = 0, n;

	while (i < r->nskips && r->skips[i].end < off)
		i++;
	for (n = 0; i + n < r->nskips && r->skips[i + n].off <= end; n++) {
		off = off < r->skips[i + n].off ? off : r->skips[i + n].off;
		end = end > r->skips[i + n].end ? end : r->skips[i + n].end;
	}
	if (r->nskips - n + 1 > VOLUME_SKIPS_MAX)
		return false;
	memmove(&r->skips[i + 1], &r->skips[i + n], (r->nskips - i - n) * sizeof(r->skips[0]));
	r->skips[i] = (struct volume_skip){off, end};
	r->nskips = r->nskips - n + 1;
	return true;
}

/* skip_image - the part of it that the copier has not reached. locked
 * result: 0, -ERR_BACKPRESSURE: too many such ranges at a time; they go as the copier passes them */
static int
skip_image(struct cw_volume *v, uint64_t off, uint64_t end)
{
	struct volume_row *r = &v->row;

	if (r->image_path == NULL || end <= r->image_copied)
		return 0;
	if (off < r->image_copied)
		off = r->image_copied;
	if (!add_skip(r, off, end))
		return -ERR_BACKPRESSURE;
	volume_row_changed(v);
	return 0;
}

static int
zero_body(struct cw_vio *vio)
{
	struct cw_volume *v = vio->volume;
	uint64_t off = (vio->off + IN_BLOCK) & ~IN_BLOCK, end = (vio->off + vio->len) & ~IN_BLOCK;
	struct zeroing *zg;
	int r;

	set_stage(vio, STAGE_BODY);
	if (off >= end)
		return 0;
	cache_space_lock(v->space);
	r = skip_image(v, off, end);
	cache_space_unlock(v->space);
	if (r != 0)
		return r;
	zg = xcalloc(1, sizeof(*zg));
	zg->vio = vio;
	zg->z = (struct cache_zero){.file = &v->file, .off = off, .end = end};
	return zero_loop(zg);
}

/* --- COMPARE_WRITE ----------------------------------------------------------------------------------------- */

static int
compare_start(struct cw_vio *vio)
{
	set_stage(vio, STAGE_READ);
	io_fill(
	    vio, CW_IO_READ, vio->off, (uint32_t)vio->len, xmalloc(vio->len), CW_IO_NO_READAHEAD);
	vio->io.done = step_done;
	return cache_read(&vio->io);
}

/* compare_read - what was read is there. result: 0: equal; frees it */
static int
compare_read(struct cw_vio *vio, int err)
{
	const unsigned char *want = vio->buf, *got = vio->io.buf;
	uint64_t i = 0;

	if (err == 0 && memcmp(want, got, vio->len) != 0) {
		while (want[i] == got[i])
			i++;
		vio->miscompare_off = i;
		err = -EILSEQ;
	}
	free(vio->io.buf);
	vio->io.buf = NULL;
	return err;
}

/* --- the chain ------------------------------------------------------------------------------------------------ */

/* next_step - a step ended with err. worker. result: of the whole, or -EINPROGRESS */
static int
next_step(struct cw_vio *vio, int err)
{
	const uint64_t end = vio->off + vio->len, block_end = (vio->off | IN_BLOCK) + 1;

	while (err == 0) {
		switch (get_stage(vio)) {
		case STAGE_START:
			if (vio->op == CW_VIO_COMPARE_WRITE)
				err = compare_start(vio);
			else if (vio->op == CW_VIO_WRITE)
				err = write_run(vio, vio->buf, false);
			else if ((vio->off & IN_BLOCK) != 0)
				err = zero_part(
				    vio, STAGE_HEAD, vio->off, end < block_end ? end : block_end);
			else
				set_stage(vio, STAGE_HEAD);
			break;
		case STAGE_HEAD: /* a tail in the head's own block went with it */
			if ((end & IN_BLOCK) != 0 &&
			    ((vio->off & IN_BLOCK) == 0 || end > block_end))
				err = zero_part(vio, STAGE_TAIL, end & ~IN_BLOCK, end);
			else
				set_stage(vio, STAGE_TAIL);
			break;
		case STAGE_TAIL:
			err = zero_body(vio);
			break;
		case STAGE_READ:
			err = compare_read(vio, 0);
			if (err == 0)
				err = write_run(vio, (char *)vio->buf + vio->len, false);
			break;
		default: /* STAGE_BODY, STAGE_WRITE: that was all of it */
			return change_end(vio, 0);
		}
	}
	if (err == -EINPROGRESS)
		return err;
	if (get_stage(vio) == STAGE_READ && vio->io.buf != NULL)
		compare_read(vio, err);
	return change_end(vio, err);
}

static void
vio_work(struct work *w)
{
	struct cw_vio *vio = container_of(w, struct cw_vio, work);
	int r = next_step(vio, get_stage(vio) == STAGE_START ? 0 : vio->io.result);

	if (r != -EINPROGRESS)
		volume_vio_complete(vio, r);
}

static int
change_start(struct cw_vio *vio)
{
	struct cw_volume *v = vio->volume;
	int r;

	vio->work.fn = vio_work;
	if (v->is_boot)
		vio->stage |= VIO_EXCLUSIVE;
	if (!volume_range_enter(v, vio))
		return -EINPROGRESS;
	if (vio->op != CW_VIO_WRITE || (vio->stage & VIO_EXCLUSIVE) != 0) {
		workq_submit(volume_workq(v), &vio->work);
		return -EINPROGRESS;
	}
	r = write_run(vio, vio->buf, true);
	return r == -EINPROGRESS ? r : change_end(vio, r);
}

/* --- submitting ------------------------------------------------------------------------------------------ */

static int
check(const struct cw_vio *vio)
{
	const struct cw_volume *v = vio->volume;
	uint64_t size = v->size;

	if (v->is_irrecoverable)
		return -EIO;
	if (vio->op == CW_VIO_SYNC)
		return 0;
	if (((vio->off | vio->len) & SECTOR_MASK) != 0 || vio->off > size ||
	    vio->len > size - vio->off || (vio->op != CW_VIO_ZERO && vio->len > CW_VIO_LEN_MAX))
		return -EINVAL;
	if (!is_write(vio))
		return 0;
	if (v->conf.is_read_only)
		return -EROFS;
	return v->is_detaching ? -ERR_OFFLINE : 0;
}

bool
cw_volume_submit(struct cw_vio *vio)
{
	struct cw_volume *v = vio->volume;
	int r;

	vio->stage = STAGE_START;
	vio->miscompare_off = 0;
	vio->result = -ECANCELED;
	if (!volume_enter(v))
		return true;
	r = check(vio);
	if (r == 0 && vio->op == CW_VIO_SYNC)
		r = sync_start(vio);
	else if (r == 0 && vio->len > 0)
		r = vio->op == CW_VIO_READ ? read_start(vio) : change_start(vio);
	if (r == -EINPROGRESS)
		return false;
	vio->result = result_of(r);
	volume_leave(v);
	return true;
}

struct call {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
};

static void
call_done(struct cw_vio *vio)
{
	struct call *c = vio->ctx;

	pthread_mutex_lock(&c->lock);
	c->is_done = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

int
cw_volume_call(struct cw_vio *vio)
{
	struct call c = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	void (*done)(struct cw_vio * v) = vio->done;
	struct loop *loop = vio->loop;
	void *ctx = vio->ctx;

	vio->done = call_done;
	vio->loop = NULL;
	vio->ctx = &c;
	if (!cw_volume_submit(vio)) {
		pthread_mutex_lock(&c.lock);
		while (!c.is_done)
			pthread_cond_wait(&c.cond, &c.lock);
		pthread_mutex_unlock(&c.lock);
	}
	vio->done = done;
	vio->loop = loop;
	vio->ctx = ctx;
	return vio->result;
}

bool
cw_volume_provisioned(struct cw_volume *v, uint64_t off, uint64_t len, uint64_t *end)
{
	uint64_t size = v->size, limit = off + len < size ? off + len : size;
	bool has_data = false;

	*end = off + len;
	if (off >= limit || !volume_enter(v))
		return false;
	cache_space_lock(v->space);
	has_data =
	    cache_provisioned(&v->file, off & ~IN_BLOCK, (limit + IN_BLOCK) & ~IN_BLOCK, end);
	cache_space_unlock(v->space);
	volume_leave(v);
	if (*end > off + len)
		*end = off + len;
	return has_data;
}
