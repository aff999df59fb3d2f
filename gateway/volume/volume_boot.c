/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_boot.c - a stored volume gets complete: from a raw image (BOOTSTRAPPING), or from the bucket
 * (RESTORING).  One thread, while I/O is served.
 *
 * BOOTSTRAPPING.  The copier goes through the image from front to back and writes what is not zero into
 * blocks that hold nothing yet; they are DIRTY and get uploaded like what clients write.  How far it came
 * is in the row, in the transaction of the blocks.  What it has not reached is read from the image, but
 * never kept (it is not the bucket's, so it cannot be CLEAN).  Writes take turns with it, range by range;
 * one that covers a part of a block takes that block over first.  Ranges that were zeroed are remembered
 * until the copier has passed them ("skips").
 *
 * RESTORING.  What the base maps and is not here is read, which keeps it.  When a walk finds nothing
 * missing and a commit has named it all, the volume is complete, and the bucket is not read any more.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/volume/volume_int.h"

#define IN_BLOCK ((uint64_t)VOLUME_BLOCK - 1)
#define STEP_BYTES (1u << 20)
#define RESTORE_BYTES (4u << 20)
#define RETRY_MS 1000u

static uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* --- the image ---------------------------------------------------------------------------------------- */

int
volume_image_open(struct cw_volume *v)
{
	struct stat st;
	int fd = open(v->row.image_path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
		close(fd);
		return -EINVAL;
	}
	v->image_fd = fd;
	v->image_size = (uint64_t)lseek(fd, 0, SEEK_END); /* of a block device, too */
	return 0;
}

void
volume_image_close(struct cw_volume *v)
{
	if (v->image_fd >= 0)
		close(v->image_fd);
	v->image_fd = -1;
}

/* image_read - all of it; zeros behind the image's end. */
static int
image_read(const struct cw_volume *v, uint64_t off, size_t len, char *buf)
{
	while (len > 0) {
		ssize_t n = pread(v->image_fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			log_err("volume", "image-failed", "volume=%s path=%s off=%llu err=\"%s\"",
			    v->conf.id, v->row.image_path, (unsigned long long)off,
			    err_str(-errno));
			return -EIO;
		}
		if (n == 0) {
			memset(buf, 0, len);
			break;
		}
		buf += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

struct image_job {
	struct work work;
	struct cw_volume *v;
	struct cache_fetch *f;
	uint64_t off;
	uint32_t len;
	void *buf;
};

static void
image_job_run(struct work *w)
{
	struct image_job *j = container_of(w, struct image_job, work);
	int err = image_read(j->v, j->off, j->len, j->buf);

	cache_fetch_done(j->f, err == 0 ? CACHE_FETCH_ONCE : err);
	free(j);
}

void
volume_image_fetch(
    struct cw_volume *v, uint64_t off, uint32_t len, void *buf, struct cache_fetch *f)
{
	struct image_job *j = xcalloc(1, sizeof(*j));

	j->work.fn = image_job_run;
	j->v = v;
	j->f = f;
	j->off = off;
	j->len = len;
	j->buf = buf;
	workq_submit(cache_workq(v->cache), &j->work);
}

/* --- waiting for the cache ------------------------------------------------------------------------------ */

struct io_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
};

static void
io_done(struct cw_io *io)
{
	struct io_wait *w = io->ctx;

	pthread_mutex_lock(&w->lock);
	w->is_done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void
fill_written(struct cw_io *io)
{
	volume_changed(io->file->owner);
}

/* io_call - one request to the cache, waited for. */
static int
io_call(struct cw_volume *v, enum cw_io_op op, uint64_t off, uint32_t len, void *buf,
    unsigned int flags)
{
	struct io_wait w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	struct cw_io io = {.op = op,
	    .flags = flags,
	    .file = &v->file,
	    .off = off,
	    .len = len,
	    .buf = buf,
	    .size = v->size,
	    .written = fill_written,
	    .done = io_done,
	    .ctx = &w};
	int r = op == CW_IO_READ ? cache_read(&io) : cache_write(&io);

	if (r != -EINPROGRESS)
		return r;
	pthread_mutex_lock(&w.lock);
	while (!w.is_done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return io.result;
}

/* --- taking over --------------------------------------------------------------------------------------- */

static bool
is_zero(const char *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* fill - image bytes [off, off+len) into blocks that hold nothing; zeros are left out. */
static int
fill(struct cw_volume *v, uint64_t off, size_t len, char *buf, unsigned int flags)
{
	size_t at = 0, n;
	int err = 0;

	while (at < len && err == 0) {
		if (is_zero(buf + at, VOLUME_BLOCK)) {
			at += VOLUME_BLOCK;
			continue;
		}
		for (n = VOLUME_BLOCK; at + n < len && !is_zero(buf + at + n, VOLUME_BLOCK);)
			n += VOLUME_BLOCK;
		err = io_call(v, CW_IO_WRITE, off + at, (uint32_t)n, buf + at, CW_IO_FILL | flags);
		at += n;
	}
	return err;
}

/* take_over - [off, end), held exclusively, as far as it is still in the image. */
static int
take_over(struct cw_volume *v, uint64_t off, uint64_t end, char *buf, unsigned int flags)
{
	uint64_t stop;
	bool is_there;
	int err = 0;

	for (; off < end && err == 0; off = stop) {
		stop = end;
		cache_space_lock(v->space);
		is_there = volume_uncopied(v, off, &stop);
		cache_space_unlock(v->space);
		if (!is_there)
			continue;
		err = image_read(v, off, stop - off, buf);
		if (err == 0)
			err = fill(v, off, stop - off, buf, flags);
	}
	return err;
}

int
volume_copy_up(struct cw_volume *v, uint64_t off, uint64_t len)
{
	uint64_t first = off & ~IN_BLOCK, last = (off + len - 1) & ~IN_BLOCK;
	char block[CACHE_BLOCK_SIZE];
	int err = 0;

	/* others wait for this worker: they hear at once that there is no room */
	if (off != first || off + len < first + VOLUME_BLOCK)
		err = take_over(v, first, first + VOLUME_BLOCK, block, CW_IO_NO_PARK);
	if (err == 0 && last != first && off + len != last + VOLUME_BLOCK)
		err = take_over(v, last, last + VOLUME_BLOCK, block, CW_IO_NO_PARK);
	return err;
}

/* --- the copier's turn ------------------------------------------------------------------------------------ */

struct turn {
	struct cw_vio vio;
	struct io_wait w;
};

static void
turn_granted(struct work *work)
{
	struct turn *t = container_of(container_of(work, struct cw_vio, work), struct turn, vio);

	pthread_mutex_lock(&t->w.lock);
	t->w.is_done = true;
	pthread_cond_signal(&t->w.cond);
	pthread_mutex_unlock(&t->w.lock);
}

static void
turn_take(struct cw_volume *v, struct turn *t, uint64_t off, uint64_t len)
{
	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->w.lock, NULL);
	pthread_cond_init(&t->w.cond, NULL);
	t->vio.op = CW_VIO_ZERO;
	t->vio.off = off;
	t->vio.len = len;
	t->vio.work.fn = turn_granted;
	if (volume_range_enter(v, &t->vio))
		return;
	pthread_mutex_lock(&t->w.lock);
	while (!t->w.is_done)
		pthread_cond_wait(&t->w.cond, &t->w.lock);
	pthread_mutex_unlock(&t->w.lock);
}

/* passed - the copier is at `to` now. locked */
static void
passed(struct cw_volume *v, uint64_t to)
{
	struct volume_row *r = &v->row;
	unsigned int n = 0;

	r->image_copied = to;
	while (n < r->nskips && r->skips[n].end <= to)
		n++;
	r->nskips -= n;
	memmove(r->skips, r->skips + n, r->nskips * sizeof(r->skips[0]));
	volume_row_changed(v);
}

/* next_data - where the image goes on with something, at or behind off. */
static uint64_t
next_data(const struct cw_volume *v, uint64_t off, uint64_t size)
{
	off_t at = lseek(v->image_fd, (off_t)off, SEEK_DATA);

	if (at < 0)
		return errno == ENXIO ? size : off; /* nothing more; or not to be known */
	return min_u64((uint64_t)at & ~IN_BLOCK, size);
}

static int
copy_step(struct cw_volume *v, char *buf)
{
	uint64_t size = v->size, limit = min_u64(size, (v->image_size + IN_BLOCK) & ~IN_BLOCK);
	uint64_t off = v->row.image_copied, from = next_data(v, off, limit), to;
	struct turn t;
	int err;

	/* what is skipped is a hole of the image: nothing changes there but who answers for it */
	if (from >= limit)
		from = to = size;
	else
		to = min_u64(from + STEP_BYTES, limit);
	turn_take(v, &t, off, to - off);
	err = from < to ? take_over(v, from, to, buf, 0) : 0;
	if (err == 0) {
		cache_space_lock(v->space);
		passed(v, to);
		cache_space_unlock(v->space);
	}
	volume_range_leave(v, &t.vio);
	return err;
}

/* image_done - all is taken over, and that is durable. */
static int
image_done(struct cw_volume *v)
{
	char *path;
	int err;

	cache_space_lock(v->space);
	path = v->row.image_path;
	v->row.image_path = NULL;
	v->row.nskips = 0;
	v->row.is_complete = true;
	volume_row_changed(v);
	cache_space_unlock(v->space);
	err = cache_commit_sync(v->space);
	v->is_boot = false;
	log_info("volume", "image-taken-over", "volume=%s path=%s", v->conf.id, path);
	free(path);
	return err;
}

/* --- restoring ----------------------------------------------------------------------------------------------- */

/* restore_walk - once over all; *missed: something was not here. result: 0 or why it cannot go on */
static int
restore_walk(struct cw_volume *v, char *buf, bool *missed)
{
	uint64_t off = 0, end = v->size, len;
	bool found;
	int err = 0;

	*missed = false;
	while (off < end && err == 0 && !v->is_closing) {
		cache_space_lock(v->space);
		found = cache_missing(&v->file, &off, end, &len);
		if (off >= v->file.base_limit)
			off = end;
		cache_space_unlock(v->space);
		if (!found)
			continue;
		*missed = true;
		len = min_u64(RESTORE_BYTES, end - off);
		err = io_call(v, CW_IO_READ, off, (uint32_t)len, buf, CW_IO_NO_READAHEAD);
		off += err == 0 ? len : 0;
		pthread_mutex_lock(&v->sched_lock);
		v->progress = (double)off / (double)end;
		pthread_mutex_unlock(&v->sched_lock);
	}
	return err != 0 ? err : v->is_closing ? -ECANCELED : 0;
}

static int
restore_step(struct cw_volume *v, char *buf, bool *is_done)
{
	bool missed;
	int err;

	if (v->remote == NULL)
		return -ERR_OFFLINE;
	err = restore_walk(v, buf, &missed);
	if (err == 0)
		err = cache_commit_all(v->space); /* all that is here is named */
	if (err != 0 || missed)
		return err;
	cache_space_lock(v->space);
	v->row.is_complete = true;
	volume_row_changed(v);
	cache_space_unlock(v->space);
	*is_done = true;
	volume_event(v, "volume-restored", "{}");
	return cache_commit_sync(v->space);
}

/* --- the thread -------------------------------------------------------------------------------------------------- */

static void
set_progress(struct cw_volume *v, double p)
{
	pthread_mutex_lock(&v->sched_lock);
	v->progress = p;
	pthread_mutex_unlock(&v->sched_lock);
}

static void *
copier_main(void *arg)
{
	struct cw_volume *v = arg;
	char *buf = xmalloc(RESTORE_BYTES);
	bool is_done = false;
	int err;

	while (!is_done && !v->is_closing) {
		if (v->is_boot) {
			err = copy_step(v, buf);
			set_progress(v, (double)v->row.image_copied / (double)v->size);
			is_done = err == 0 && v->row.image_copied >= v->size;
			if (is_done)
				err = image_done(v);
		} else {
			err = restore_step(v, buf, &is_done);
		}
		for (unsigned int ms = 0; err != 0 && ms < RETRY_MS && !v->is_closing; ms += 50)
			clock_sleep_ms(50);
	}
	if (is_done)
		set_progress(v, -1);
	free(buf);
	return NULL;
}

int
volume_copier_start(struct cw_volume *v)
{
	int err;

	if (v->row.image_path == NULL && (v->conf.mode != CW_VOLUME_STORED || v->row.is_complete))
		return 0;
	v->progress = 0;
	err = pthread_create(&v->copier, NULL, copier_main, v);
	v->has_copier = err == 0;
	return -err;
}

void
volume_copier_stop(struct cw_volume *v)
{
	if (v->has_copier)
		pthread_join(v->copier, NULL);
	v->has_copier = false;
}
