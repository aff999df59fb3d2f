/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/osfile.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gateway/base/strbuf.h"

struct osfile {
	int fd;
	atomic_bool no_nowait; /* the file system answers EOPNOTSUPP to RWF_NOWAIT (tmpfs) */
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
	*out = f;
	return 0;
}

static void
posix_close(struct osfile *f)
{
	close(f->fd);
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
posix_pwrite(struct osfile *f, const void *buf, size_t len, uint64_t off)
{
	const uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = pwrite(f->fd, p, len, (off_t)off);

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
posix_sync(struct osfile *f)
{
	return fdatasync(f->fd) < 0 ? -errno : 0;
}

static void
posix_start_writeback(struct osfile *f, uint64_t off, uint64_t len)
{
	(void)sync_file_range(f->fd, (off_t)off, (off_t)len, SYNC_FILE_RANGE_WRITE);
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

static int
posix_truncate(struct osfile *f, uint64_t len)
{
	return ftruncate(f->fd, (off_t)len) < 0 ? -errno : 0;
}

const struct osfile_ops osfile_posix = {
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .sync = posix_sync,
    .start_writeback = posix_start_writeback,
    .punch = posix_punch,
    .size = posix_size,
    .truncate = posix_truncate,
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
