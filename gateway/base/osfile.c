/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/osfile.h"

#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gateway/base/strbuf.h"

#define PAGE 4096u
#define VIEW_MAX (4u << 20)
#define MAPPING_MIN (1ull << 30)

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5; the number is the same everywhere */
#endif

struct mapping {	       /* of the first len bytes, whether the file is that long or not */
	struct mapping *older; /* shorter ones: somebody may still look through them */
	uint8_t *start;
	uint64_t len;
};

struct osfile {
	int fd;
	int direct_fd;	       /* the same file with O_DIRECT; -1 where there is no such thing */
	atomic_bool no_direct; /* it was refused */
	atomic_bool no_nowait; /* the file system answers EOPNOTSUPP to RWF_NOWAIT (tmpfs) */
	atomic_bool no_cachestat;
	_Atomic(struct mapping *) mapping;
	pthread_mutex_t lock; /* changes of mapping */
};

static int
posix_open(const char *path, struct osfile **out)
{
	struct osfile *f;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	*out = NULL;
	if (fd < 0)
		return -errno;
	/* Random access: without it the kernel reads ahead what our own read-ahead already did. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	f = xcalloc(1, sizeof(*f));
	f->fd = fd;
	f->direct_fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	pthread_mutex_init(&f->lock, NULL);
	*out = f;
	return 0;
}

static void
posix_close(struct osfile *f)
{
	struct mapping *m = atomic_load(&f->mapping), *older;

	for (; m != NULL; m = older) {
		older = m->older;
		munmap(m->start, m->len);
		free(m);
	}
	close(f->fd);
	if (f->direct_fd >= 0)
		close(f->direct_fd);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static int
posix_pread(struct osfile *f, void *buf, size_t len, uint64_t off, bool nowait)
{
	uint8_t *p = buf;

	while (len > 0) {
		struct iovec iov = {p, len};
		bool ask = nowait && !atomic_load_explicit(&f->no_nowait, memory_order_relaxed);
		ssize_t n = preadv2(f->fd, &iov, 1, (off_t)off, ask ? RWF_NOWAIT : 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && ask && errno == EOPNOTSUPP) {
			atomic_store_explicit(&f->no_nowait, true, memory_order_relaxed);
			continue;
		}
		if (n < 0)
			return -errno;
		if (n == 0) { /* end of file; with NOWAIT it may also mean "not now" */
			if (ask) {
				nowait = false;
				continue;
			}
			memset(p, 0, len);
			return 0;
		}
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

static int
write_all(int fd, const void *buf, size_t len, uint64_t off)
{
	const uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

static int
posix_pwrite(struct osfile *f, const void *buf, size_t len, uint64_t off)
{
	return write_all(f->fd, buf, len, off);
}

static int
posix_pwrite_direct(struct osfile *f, const void *buf, size_t len, uint64_t off)
{
	int err = -EINVAL;

	if (f->direct_fd >= 0 && !atomic_load_explicit(&f->no_direct, memory_order_relaxed)) {
		err = write_all(f->direct_fd, buf, len, off);
		if (err != -EINVAL)
			return err;
		atomic_store_explicit(&f->no_direct, true, memory_order_relaxed);
	}
	return write_all(f->fd, buf, len, off);
}

static int
posix_sync(struct osfile *f)
{
	return fdatasync(f->fd) < 0 ? -errno : 0;
}

static void
posix_start_writeback(struct osfile *f, uint64_t off, uint64_t len)
{
	(void)sync_file_range(f->fd, (off_t)off, (off_t)len, SYNC_FILE_RANGE_WRITE);
}

static void
posix_drop(struct osfile *f, uint64_t off, uint64_t len)
{
	(void)posix_fadvise(f->fd, (off_t)off, (off_t)len, POSIX_FADV_DONTNEED);
}

static int
posix_punch(struct osfile *f, uint64_t off, uint64_t len)
{
	if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) <
	    0)
		return -errno;
	return 0;
}

static int64_t
posix_size(struct osfile *f)
{
	struct stat st;

	return fstat(f->fd, &st) < 0 ? -errno : st.st_size;
}

static int64_t
posix_held(struct osfile *f)
{
	struct stat st;

	return fstat(f->fd, &st) < 0 ? -errno : (int64_t)st.st_blocks * 512;
}

static int
posix_truncate(struct osfile *f, uint64_t len)
{
	return ftruncate(f->fd, (off_t)len) < 0 ? -errno : 0;
}

/* --- views -------------------------------------------------------------------------------------- */

/* find_mapping - one that covers [0, end), made when there is none. NULL: the address space is used up */
static const struct mapping *
find_mapping(struct osfile *f, uint64_t end)
{
	struct mapping *m = atomic_load(&f->mapping), *bigger;
	uint64_t len = MAPPING_MIN;

	if (m != NULL && m->len >= end)
		return m;
	while (len < end)
		len *= 2;
	pthread_mutex_lock(&f->lock);
	m = atomic_load(&f->mapping);
	if (m == NULL || m->len < end) {
		void *start = mmap(NULL, len, PROT_READ, MAP_SHARED, f->fd, 0);

		bigger = NULL;
		if (start != MAP_FAILED) {
			bigger = xmalloc(sizeof(*bigger));
			*bigger = (struct mapping){m, start, len};
			atomic_store(&f->mapping, bigger);
		}
		m = bigger;
	}
	pthread_mutex_unlock(&f->lock);
	return m;
}

/* is_cached - are all pages of a range in the page cache? */
static bool
is_cached(struct osfile *f, const uint8_t *p, uint64_t off, size_t len)
{
	struct {
		uint64_t off, len;
	} range = {off, len};
	struct {
		uint64_t cached, dirty, writeback, evicted, recently_evicted;
	} stat = {0};
	unsigned char pages[VIEW_MAX / PAGE];

	if (!atomic_load_explicit(&f->no_cachestat, memory_order_relaxed)) {
		if (syscall(SYS_cachestat, f->fd, &range, &stat, 0) == 0)
			return stat.cached >= len / PAGE;
		atomic_store_explicit(&f->no_cachestat, true, memory_order_relaxed);
	}
	if (mincore((void *)(uintptr_t)p, len, pages) < 0)
		return false;
	for (size_t i = 0; i < len / PAGE; i++) {
		if ((pages[i] & 1) == 0)
			return false;
	}
	return true;
}

static const void *
posix_view(struct osfile *f, uint64_t off, size_t len)
{
	uint64_t first = off & ~(uint64_t)(PAGE - 1);
	uint64_t end = (off + len + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	const struct mapping *m;

	if (end - first > VIEW_MAX)
		return NULL;
	m = find_mapping(f, end);
	if (m == NULL || !is_cached(f, m->start + first, first, end - first))
		return NULL;
	return m->start + off;
}

/* The page-table entries go at once: they are cheap to make again, and with them the process would
 * seem to own as much memory as the page cache holds of the file. */
static void
posix_view_end(struct osfile *f, const void *p, size_t len)
{
	uintptr_t first = (uintptr_t)p & ~(uintptr_t)(PAGE - 1);
	uintptr_t end = ((uintptr_t)p + len + PAGE - 1) & ~(uintptr_t)(PAGE - 1);

	(void)f;
	(void)madvise((void *)first, end - first, MADV_DONTNEED);
}

const struct osfile_ops osfile_posix = {
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .pwrite_direct = posix_pwrite_direct,
    .sync = posix_sync,
    .start_writeback = posix_start_writeback,
    .drop = posix_drop,
    .punch = posix_punch,
    .size = posix_size,
    .held = posix_held,
    .truncate = posix_truncate,
    .view = posix_view,
    .view_end = posix_view_end,
};

int
osfile_mkdir_p(const char *path, unsigned int mode)
{
	char *copy = xstrdup(path);
	struct stat st;
	int err = 0;

	for (char *p = copy + 1; err == 0; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			err = -errno;
		*p = c;
		if (c == '\0')
			break;
	}
	free(copy);
	if (err == 0 && stat(path, &st) < 0)
		err = -errno;
	else if (err == 0 && !S_ISDIR(st.st_mode))
		err = -ENOTDIR;
	return err;
}

int
osfile_sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return err;
}

int
osfile_read_all(const char *path, size_t max, char **out, size_t *len_out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct strbuf b = STRBUF_INIT;
	char part[8192];
	ssize_t n;
	int err = 0;

	*out = NULL;
	if (len_out != NULL)
		*len_out = 0;
	if (fd < 0)
		return -errno;
	while ((n = read(fd, part, sizeof(part))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err = -errno;
			break;
		}
		if (b.len + (size_t)n > max) {
			err = -EFBIG;
			break;
		}
		strbuf_add(&b, part, (size_t)n);
	}
	close(fd);
	if (err < 0) {
		strbuf_free(&b);
		return err;
	}
	if (len_out != NULL)
		*len_out = b.len;
	*out = strbuf_take(&b);
	return 0;
}

static int
write_fd(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int
osfile_write_atomic(const char *path, const void *data, size_t len, unsigned int mode)
{
	char *tmp = xasprintf("%s.tmp-%d", path, (int)getpid());
	char *copy = xstrdup(path);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	int err = fd < 0 ? -errno : 0;

	if (err == 0) {
		err = write_fd(fd, data, len);
		close(fd);
		if (err == 0 && rename(tmp, path) < 0)
			err = -errno;
		if (err < 0)
			unlink(tmp);
	}
	if (err == 0)
		err = osfile_sync_dir(dirname(copy));
	free(copy);
	free(tmp);
	return err;
}
