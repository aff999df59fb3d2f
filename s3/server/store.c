/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - opening the store, buckets, and the small file helpers. */
#include "s3/server/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"
#include "s3/server/upload.h"

bool
store_bucket_name_ok(const char *name)
{
	size_t len = strlen(name), i;

	if (len < 3 || len > BUCKET_NAME_MAX)
		return false;
	for (i = 0; i < len; i++) {
		char c = name[i];
		bool is_alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!is_alnum && c != '-' && c != '.')
			return false;
		if (!is_alnum && (i == 0 || i == len - 1))
			return false;
		if (c == '.' && name[i + 1] == '.')
			return false;
	}
	return true;
}

/* DIR/BUCKET[/rel] for sub NULL, DIR/.causeway/BUCKET/sub[/rel] otherwise. */
char *
store_path(const struct bucket *b, const char *sub, const char *rel)
{
	const char *slash = rel != NULL ? "/" : "";

	if (rel == NULL)
		rel = "";
	if (sub == NULL)
		return xasprintf("%s/%s%s%s", b->st->dir, b->name, slash, rel);
	return xasprintf("%s/.causeway/%s/%s%s%s", b->st->dir, b->name, sub, slash, rel);
}

int
store_sync_dir(const struct store *st, const char *path)
{
	return st->do_fsync ? osfile_sync_dir(path) : 0;
}

int
store_tmp(struct store *st, struct tmpfile *t)
{
	int n = snprintf(t->path, sizeof t->path, "%s/.causeway/tmp/%llx", st->dir,
	    (unsigned long long)atomic_fetch_add(&st->tmp_counter, 1));

	t->fd = -1;
	if (n < 0 || (size_t)n >= sizeof t->path) {
		t->path[0] = '\0';
		return -ENAMETOOLONG;
	}
	t->fd = open(t->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (t->fd < 0) {
		t->path[0] = '\0';
		return -errno;
	}
	return 0;
}

void
store_tmp_drop(struct tmpfile *t)
{
	if (t->path[0] == '\0')
		return;
	if (t->fd >= 0)
		close(t->fd);
	unlink(t->path);
	t->fd = -1;
	t->path[0] = '\0';
}

static int
write_all(int fd, const char *p, size_t len)
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
	return 0;
}

int
store_write_small(struct store *st, const char *path, const void *data, size_t len)
{
	struct tmpfile t;
	int err = store_tmp(st, &t);

	if (err != 0)
		return err;
	err = write_all(t.fd, data, len);
	if (err == 0 && st->do_fsync && fsync(t.fd) != 0)
		err = -errno;
	if (err == 0 && rename(t.path, path) != 0)
		err = -errno;
	if (err != 0) {
		store_tmp_drop(&t);
		return err;
	}
	close(t.fd);
	return 0;
}

static int
remove_entries(int dirfd_, int depth)
{
	DIR *d = fdopendir(dirfd_);
	struct dirent *e;
	int err = 0, fd;

	if (d == NULL) {
		err = -errno;
		close(dirfd_);
		return err;
	}
	while (err == 0 && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) == 0)
			continue;
		fd = depth > 0 ? openat(dirfd(d), e->d_name,
				     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
			       : -1;
		if (fd < 0)
			continue;
		err = remove_entries(fd, depth - 1);
		if (err == 0 && unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) != 0)
			err = -errno;
	}
	closedir(d);
	return err;
}

int
store_remove_tree(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), err;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	err = remove_entries(fd, 4);
	if (err == 0 && rmdir(path) != 0)
		err = -errno;
	return err;
}

static int
bucket_order(const void *a, const void *b)
{
	const struct bucket *x = *(struct bucket *const *)a, *y = *(struct bucket *const *)b;

	return strcmp(x->name, y->name);
}

/* The directories of a bucket, metadata first: DIR/NAME is what makes it exist. */
static int
bucket_dirs(struct bucket *b)
{
	char *up = store_path(b, "uploads", NULL), *meta = store_path(b, "meta", NULL);
	char *data = store_path(b, NULL, NULL);
	int err = osfile_mkdir_p(up, 0755);

	if (err == 0)
		err = osfile_mkdir_p(meta, 0755);
	if (err == 0 && mkdir(data, 0755) != 0 && errno != EEXIST)
		err = -errno;
	if (err == 0)
		err = store_sync_dir(b->st, b->st->dir);
	free(up);
	free(meta);
	free(data);
	return err;
}

static void
bucket_free(struct bucket *b)
{
	upload_free_all(b);
	keyset_free(b->keys);
	pthread_rwlock_destroy(&b->lock);
	pthread_mutex_destroy(&b->up_lock);
	pthread_cond_destroy(&b->up_cond);
	free(b);
}

static int
bucket_open(struct store *st, const char *name, struct bucket **out)
{
	struct bucket *b = xcalloc(1, sizeof *b);
	struct stat sb;
	char *path;
	int err;

	b->st = st;
	snprintf(b->name, sizeof b->name, "%s", name);
	pthread_rwlock_init(&b->lock, NULL);
	pthread_mutex_init(&b->up_lock, NULL);
	pthread_cond_init(&b->up_cond, NULL);
	list_init(&b->uploads);
	b->keys = keyset_new();
	err = bucket_dirs(b);
	path = xasprintf("%s/.causeway/%s", st->dir, name);
	b->created_ns =
	    stat(path, &sb) == 0 ? (int64_t)sb.st_mtim.tv_sec * 1000000000 : clock_real_ns();
	free(path);
	if (err == 0)
		err = store_scan(b);
	if (err == 0)
		err = upload_scan(b);
	if (err != 0) {
		bucket_free(b);
		return err;
	}
	*out = b;
	return 0;
}

static void
add_bucket(struct store *st, struct bucket *b)
{
	st->buckets = xrealloc(st->buckets, (st->nbuckets + 1) * sizeof *st->buckets);
	st->buckets[st->nbuckets++] = b;
	qsort(st->buckets, st->nbuckets, sizeof *st->buckets, bucket_order);
}

struct bucket *
store_bucket(struct store *st, const char *name)
{
	struct bucket *found = NULL;
	size_t i;

	pthread_rwlock_rdlock(&st->lock);
	for (i = 0; i < st->nbuckets && found == NULL; i++)
		if (!st->buckets[i]->is_gone && strcmp(st->buckets[i]->name, name) == 0)
			found = st->buckets[i];
	pthread_rwlock_unlock(&st->lock);
	return found;
}

enum s3e
store_bucket_create(struct store *st, const char *name)
{
	enum s3e e = S3E_OK;
	struct bucket *b;
	size_t i;
	int err;

	if (!store_bucket_name_ok(name))
		return S3E_InvalidBucketName;
	pthread_rwlock_wrlock(&st->lock);
	for (i = 0; i < st->nbuckets && e == S3E_OK; i++)
		if (!st->buckets[i]->is_gone && strcmp(st->buckets[i]->name, name) == 0)
			e = S3E_BucketAlreadyOwnedByYou;
	if (e == S3E_OK) {
		err = bucket_open(st, name, &b);
		if (err == 0) {
			add_bucket(st, b);
		} else {
			log_err("s3d.store", "create-bucket-failed", "bucket=%s err=\"%s\"", name,
			    err_str(err));
			e = S3E_InternalError;
		}
	}
	pthread_rwlock_unlock(&st->lock);
	return e;
}

enum s3e
store_bucket_delete(struct store *st, struct bucket *b)
{
	char *data = store_path(b, NULL, NULL), *side;
	enum s3e e = S3E_OK;

	pthread_rwlock_wrlock(&st->lock);
	pthread_mutex_lock(&b->up_lock);
	pthread_rwlock_wrlock(&b->lock);
	if (b->is_gone) {
		e = S3E_NoSuchBucket;
	} else if (keyset_count(b->keys) > 0 || !list_empty(&b->uploads)) {
		e = S3E_BucketNotEmpty;
	} else if (rmdir(data) != 0 && errno != ENOENT) {
		e = errno == ENOTEMPTY || errno == EEXIST ? S3E_BucketNotEmpty : S3E_InternalError;
	} else {
		side = xasprintf("%s/.causeway/%s", st->dir, b->name);
		if (store_remove_tree(side) != 0 || store_sync_dir(st, st->dir) != 0)
			log_warn("s3d.store", "bucket-leftovers", "path=%s", side);
		free(side);
		b->is_gone = true;
	}
	pthread_rwlock_unlock(&b->lock);
	pthread_mutex_unlock(&b->up_lock);
	pthread_rwlock_unlock(&st->lock);
	free(data);
	return e;
}

/* Does the file system keep user extended attributes as large as ours may be? */
static bool
probe_xattr(struct store *st)
{
	struct tmpfile t;
	bool ok;

	if (store_tmp(st, &t) != 0)
		return false;
	ok = fsetxattr(t.fd, "user.causeway.probe", "1", 1, 0) == 0;
	store_tmp_drop(&t);
	return ok;
}

static int
prepare_dir(struct store *st, char *err_text, size_t cap)
{
	char *meta = xasprintf("%s/.causeway", st->dir), *tmp = xasprintf("%s/tmp", meta);
	char *lock = xasprintf("%s/lock", meta);
	int err = osfile_mkdir_p(meta, 0755);

	if (err == 0) {
		st->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (st->lock_fd < 0)
			err = -errno;
	}
	if (err != 0) {
		snprintf(err_text, cap, "cannot use directory %s: %s", st->dir, err_str(err));
	} else if (flock(st->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		err = -errno;
		snprintf(err_text, cap, "directory %s is in use by another causeway-s3d", st->dir);
	} else {
		err = store_remove_tree(tmp);
		if (err == 0)
			err = osfile_mkdir_p(tmp, 0755);
		if (err != 0)
			snprintf(err_text, cap, "cannot write in %s: %s", tmp, err_str(err));
	}
	free(meta);
	free(tmp);
	free(lock);
	return err;
}

static int
open_buckets(struct store *st, char *err_text, size_t cap)
{
	DIR *d = opendir(st->dir);
	struct bucket *b;
	struct dirent *e;
	int err = 0;

	if (d == NULL) {
		err = -errno;
		snprintf(err_text, cap, "cannot read %s: %s", st->dir, err_str(err));
		return err;
	}
	while (err == 0 && (e = readdir(d)) != NULL) {
		char *path = xasprintf("%s/%s", st->dir, e->d_name);
		struct stat sb;

		if (store_bucket_name_ok(e->d_name) && lstat(path, &sb) == 0 &&
		    S_ISDIR(sb.st_mode)) {
			err = bucket_open(st, e->d_name, &b);
			if (err == 0)
				add_bucket(st, b);
			else
				snprintf(err_text, cap, "cannot open bucket %s: %s", e->d_name,
				    err_str(err));
		}
		free(path);
	}
	closedir(d);
	return err;
}

int
store_open(
    const char *dir, bool do_fsync, bool no_xattr, struct store **out, char *err_text, size_t cap)
{
	struct store *st = xcalloc(1, sizeof *st);
	int err;

	*out = NULL;
	st->dir = xstrdup(dir);
	st->do_fsync = do_fsync;
	st->lock_fd = -1;
	atomic_init(&st->tmp_counter, 1);
	pthread_rwlock_init(&st->lock, NULL);
	err = prepare_dir(st, err_text, cap);
	if (err == 0) {
		st->has_xattr = !no_xattr && probe_xattr(st);
		err = open_buckets(st, err_text, cap);
	}
	if (err != 0) {
		store_close(st);
		return err;
	}
	*out = st;
	return 0;
}

void
store_close(struct store *st)
{
	size_t i;

	if (st == NULL)
		return;
	for (i = 0; i < st->nbuckets; i++)
		bucket_free(st->buckets[i]);
	free(st->buckets);
	if (st->lock_fd >= 0)
		close(st->lock_fd);
	pthread_rwlock_destroy(&st->lock);
	free(st->dir);
	free(st);
}
