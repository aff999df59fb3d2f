/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object.c - one object: its file, its metadata, its row in the index.
 *
 * O1  An object is one inode: the metadata is attached to it before the rename that names it.
 * O2  The index entry changes under the bucket's write lock, in the same hold as the rename.
 * O3  A sidecar is written before its inode gets its name, and the old inode stays open until its
 *     own sidecar is gone, so that an inode number is never shared by two of them.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"
#include "s3/server/keypath.h"
#include "s3/server/store.h"

static const char xattr_name[] = "user.causeway.s3d";

char *
store_sidecar_path(const struct bucket *b, uint64_t ino)
{
	char name[32];

	snprintf(name, sizeof name, "%" PRIu64, ino);
	return store_path(b, "meta", name);
}

static int64_t
stat_mtime_ns(const struct stat *sb)
{
	return (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
}

int
store_meta_write(
    struct bucket *b, const char *key, int fd, const struct objmeta *m, bool *has_sidecar)
{
	size_t len;
	char *text = meta_encode(m, key, &len), *path;
	struct stat sb;
	int err = 0;

	*has_sidecar = false;
	if (!b->st->has_xattr || fsetxattr(fd, xattr_name, text, len, 0) != 0) {
		/* No extended attributes here, or this one is too large for them. */
		*has_sidecar = true;
		if (b->st->has_xattr)
			fremovexattr(fd, xattr_name);
		err = fstat(fd, &sb) == 0 ? 0 : -errno;
		if (err == 0) {
			path = store_sidecar_path(b, sb.st_ino);
			err = store_write_small(b->st, path, text, len);
			free(path);
			path = store_path(b, "meta", NULL);
			if (err == 0)
				err = store_sync_dir(b->st, path);
			free(path);
		}
	}
	free(text);
	return err;
}

static int
read_sidecar(struct bucket *b, const char *key, int fd, struct objmeta *m)
{
	char *path, *text = NULL, *named = NULL;
	struct stat sb;
	size_t len;
	int err;

	if (fstat(fd, &sb) != 0)
		return -errno;
	path = store_sidecar_path(b, sb.st_ino);
	err = osfile_read_all(path, META_TEXT_MAX, &text, &len);
	free(path);
	if (err != 0)
		return err;
	err = meta_decode(text, len, m, &named);
	if (err == 0 && (named == NULL || strcmp(named, key) != 0)) {
		meta_free(m);
		err = -ENODATA;
	}
	free(named);
	free(text);
	return err;
}

int
store_meta_read(struct bucket *b, const char *key, int fd, bool has_sidecar, struct objmeta *m)
{
	char text[META_TEXT_MAX];
	ssize_t n;

	memset(m, 0, sizeof *m);
	if (has_sidecar)
		return read_sidecar(b, key, fd, m);
	n = fgetxattr(fd, xattr_name, text, sizeof text);
	if (n < 0)
		return -errno;
	return meta_decode(text, (size_t)n, m, NULL);
}

void
store_index(struct bucket *b, const char *key, size_t len, const struct objmeta *m, bool is_alt,
    bool has_sidecar)
{
	struct kent *e = keyset_put(b->keys, key, len);
	int sclass = meta_sclass(meta_get(m, "x-amz-storage-class"));

	e->size = m->size;
	e->mtime_ns = m->mtime_ns;
	snprintf(e->etag, sizeof e->etag, "%s", m->etag);
	e->sclass = sclass < 0 ? 0 : (uint8_t)sclass;
	e->is_alt = is_alt;
	e->has_sidecar = has_sidecar;
}

static enum s3e
check_cond(const struct kent *e, const struct cond *c)
{
	if (c == NULL)
		return S3E_OK;
	if (c->if_none_match && e != NULL)
		return S3E_PreconditionFailed;
	if (c->if_match == NULL)
		return S3E_OK;
	if (e == NULL)
		return S3E_NoSuchKey;
	if (strcmp(c->if_match, "*") != 0 && strcmp(c->if_match, e->etag) != 0)
		return S3E_PreconditionFailed;
	return S3E_OK;
}

/* A file stands where a directory must be: it is an object, which moves to its %f name. */
static int
make_way(struct bucket *b, const char *full, const char *rel)
{
	char key[KEYPATH_KEY_MAX + 1], *alt;
	struct kent *e;
	bool is_alt;
	int n = keypath_decode(rel, key, &is_alt), err = 0;

	if (n < 0 || is_alt)
		return -ENOTDIR;
	e = keyset_find(b->keys, key, (size_t)n);
	alt = xasprintf("%s%%f", full);
	if (rename(full, alt) != 0)
		err = -errno;
	else if (e != NULL)
		e->is_alt = true;
	free(alt);
	return err;
}

/* mkdir -p for the parents of rel, below the bucket's directory. */
static int
make_parents(struct bucket *b, const char *rel)
{
	char *full = store_path(b, NULL, rel), *start = full + strlen(full) - strlen(rel), *p;
	struct stat sb;
	int err = 0;

	for (p = strchr(start, '/'); p != NULL && err == 0; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(full, 0755) != 0) {
			err = -errno;
			if (err == -EEXIST)
				err = lstat(full, &sb) != 0 ? -errno : 0;
			if (err == 0 && !S_ISDIR(sb.st_mode)) {
				err = make_way(b, full, start);
				if (err == 0 && mkdir(full, 0755) != 0)
					err = -errno;
			}
		}
		*p = '/';
	}
	free(full);
	return err;
}

/* fsync the directory of rel and, when parents were made, those above it up to the store's. */
static int
sync_parents(struct bucket *b, const char *rel, bool made_parents)
{
	char *full, *slash;
	size_t floor;
	int err = 0;

	if (!b->st->do_fsync)
		return 0;
	full = store_path(b, NULL, rel);
	floor = strlen(full) - strlen(rel) - 1;
	while (
	    err == 0 && (slash = strrchr(full, '/')) != NULL && (size_t)(slash - full) >= floor) {
		*slash = '\0';
		err = osfile_sync_dir(full);
		if (err == -ENOENT) /* removed meanwhile with its last object: the parent knows */
			err = 0;
		else if (!made_parents)
			break;
	}
	free(full);
	return err;
}

static int
rename_to(struct bucket *b, const char *from, const char *rel)
{
	char *full = store_path(b, NULL, rel);
	int err = rename(from, full) == 0 ? 0 : -errno;

	free(full);
	return err;
}

/* Rename the temporary to the key's path; finds out by trying what is in the way. */
static int
place(struct bucket *b, const char *key, const char *from, char *rel, bool *is_alt, bool *made)
{
	int err, n, tries;

	*made = false;
	n = keypath_encode(key, strlen(key), *is_alt, rel);
	if (n < 0)
		return n;
	for (tries = 0; tries < 3; tries++) {
		err = rename_to(b, from, rel);
		if (err == -ENOENT || err == -ENOTDIR) {
			err = make_parents(b, rel);
			*made = true;
			if (err != 0)
				return err;
		} else if (err == -EISDIR && !*is_alt) {
			*is_alt = true;
			n = keypath_encode(key, strlen(key), true, rel);
			if (n < 0)
				return n;
		} else {
			return err;
		}
	}
	return err;
}

/* Hold the inode that is about to be replaced or removed, if it has a sidecar (O3). */
static int
hold_old(struct bucket *b, const struct kent *e)
{
	char rel[KEYPATH_MAX], *full;
	int fd;

	if (e == NULL || !e->has_sidecar || keypath_encode(e->key, e->key_len, e->is_alt, rel) < 0)
		return -1;
	full = store_path(b, NULL, rel);
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	free(full);
	return fd;
}

static void
drop_old(struct bucket *b, int fd)
{
	struct stat sb;
	char *path;

	if (fd < 0)
		return;
	if (fstat(fd, &sb) == 0) {
		path = store_sidecar_path(b, sb.st_ino);
		unlink(path);
		free(path);
	}
	close(fd);
}

static enum s3e
put_locked(struct bucket *b, const char *key, struct tmpfile *t, const struct objmeta *m,
    const struct cond *cond, bool has_sidecar, char *rel, bool *made)
{
	struct kent *e = keyset_find(b->keys, key, strlen(key));
	bool is_alt = e != NULL && e->is_alt;
	enum s3e res = b->is_gone ? S3E_NoSuchBucket : check_cond(e, cond);
	int err, old_fd;

	if (res != S3E_OK)
		return res;
	old_fd = hold_old(b, e);
	err = place(b, key, t->path, rel, &is_alt, made);
	if (err != 0) {
		if (old_fd >= 0)
			close(old_fd);
		log_err("s3d.store", "put-failed", "bucket=%s err=\"%s\"", b->name, err_str(err));
		return S3E_InternalError;
	}
	drop_old(b, old_fd);
	store_index(b, key, strlen(key), m, is_alt, has_sidecar);
	return S3E_OK;
}

enum s3e
store_put(struct bucket *b, const char *key, struct tmpfile *t, struct objmeta *m,
    const struct cond *cond)
{
	char rel[KEYPATH_MAX];
	bool has_sidecar = false, made = false;
	struct stat sb;
	enum s3e res;
	int err = 0;

	if (fstat(t->fd, &sb) != 0)
		err = -errno;
	m->size = (uint64_t)sb.st_size;
	m->file_mtime_ns = stat_mtime_ns(&sb);
	/* Whole seconds are all that HTTP dates carry; LIST must say the same as HEAD. */
	m->mtime_ns = clock_real_ns() / 1000000 * 1000000;
	if (err == 0)
		err = store_meta_write(b, key, t->fd, m, &has_sidecar);
	if (err == 0 && b->st->do_fsync && fsync(t->fd) != 0)
		err = -errno;
	if (err != 0) {
		log_err("s3d.store", "put-failed", "bucket=%s err=\"%s\"", b->name, err_str(err));
		return S3E_InternalError;
	}
	pthread_rwlock_wrlock(&b->lock);
	res = put_locked(b, key, t, m, cond, has_sidecar, rel, &made);
	pthread_rwlock_unlock(&b->lock);
	if (res != S3E_OK) {
		if (has_sidecar) {
			char *path = store_sidecar_path(b, sb.st_ino);

			unlink(path);
			free(path);
		}
		return res;
	}
	close(t->fd);
	t->fd = -1;
	t->path[0] = '\0';
	return sync_parents(b, rel, made) == 0 ? S3E_OK : S3E_InternalError;
}

static enum s3e
open_locked(struct bucket *b, const char *key, int flags, int *fd, struct kent **out)
{
	char rel[KEYPATH_MAX], *full;
	struct kent *e = keyset_find(b->keys, key, strlen(key));

	*out = e;
	if (b->is_gone)
		return S3E_NoSuchBucket;
	if (e == NULL || keypath_encode(e->key, e->key_len, e->is_alt, rel) < 0)
		return S3E_NoSuchKey;
	full = store_path(b, NULL, rel);
	*fd = open(full, flags | O_CLOEXEC | O_NOFOLLOW);
	free(full);
	if (*fd >= 0)
		return S3E_OK;
	log_warn(
	    "s3d.store", "object-unreadable", "bucket=%s err=\"%s\"", b->name, err_str(-errno));
	return errno == ENOENT ? S3E_NoSuchKey : S3E_InternalError;
}

enum s3e
store_get(struct bucket *b, const char *key, int *fd_out, struct objmeta *m)
{
	struct kent *e;
	enum s3e res;
	int fd = -1, err;

	memset(m, 0, sizeof *m);
	pthread_rwlock_rdlock(&b->lock);
	res = open_locked(b, key, O_RDONLY, &fd, &e);
	if (res == S3E_OK) {
		err = store_meta_read(b, key, fd, e->has_sidecar, m);
		if (err != 0) {
			log_err("s3d.store", "metadata-unreadable", "bucket=%s err=\"%s\"", b->name,
			    err_str(err));
			res = S3E_InternalError;
		}
	}
	pthread_rwlock_unlock(&b->lock);
	if (res == S3E_OK && fd_out != NULL)
		*fd_out = fd;
	else if (fd >= 0)
		close(fd);
	return res;
}

/* Directories that hold nothing any more go away, up to the bucket's own. */
static void
remove_empty_parents(struct bucket *b, char *rel)
{
	char *full = store_path(b, NULL, rel), *slash;
	size_t floor = strlen(full) - strlen(rel) - 1;

	while ((slash = strrchr(full, '/')) != NULL && (size_t)(slash - full) > floor) {
		*slash = '\0';
		if (rmdir(full) != 0)
			break;
	}
	free(full);
}

enum s3e
store_delete(struct bucket *b, const char *key, const struct cond *cond)
{
	char rel[KEYPATH_MAX], *full;
	enum s3e res;
	struct kent *e;
	int old_fd;

	pthread_rwlock_wrlock(&b->lock);
	e = keyset_find(b->keys, key, strlen(key));
	res = b->is_gone ? S3E_NoSuchBucket : check_cond(e, cond);
	if (res == S3E_NoSuchKey) /* a conditional delete of what is not there */
		res = S3E_PreconditionFailed;
	if (res != S3E_OK || e == NULL || keypath_encode(e->key, e->key_len, e->is_alt, rel) < 0) {
		pthread_rwlock_unlock(&b->lock);
		return res;
	}
	old_fd = hold_old(b, e);
	full = store_path(b, NULL, rel);
	if (unlink(full) != 0 && errno != ENOENT)
		res = S3E_InternalError;
	free(full);
	if (res == S3E_OK) {
		drop_old(b, old_fd);
		keyset_remove(b->keys, key, strlen(key));
		remove_empty_parents(b, rel);
	} else if (old_fd >= 0) {
		close(old_fd);
	}
	pthread_rwlock_unlock(&b->lock);
	if (res == S3E_OK && sync_parents(b, rel, false) != 0)
		res = S3E_InternalError;
	return res;
}

enum s3e
store_set_header(struct bucket *b, const char *key, const char *name, const char *value)
{
	struct objmeta m = {0};
	bool has_sidecar;
	struct kent *e;
	enum s3e res;
	int fd = -1;

	pthread_rwlock_wrlock(&b->lock);
	res = open_locked(b, key, O_RDWR, &fd, &e);
	if (res == S3E_OK && store_meta_read(b, key, fd, e->has_sidecar, &m) == 0) {
		meta_set(&m, name, value);
		if (store_meta_write(b, key, fd, &m, &has_sidecar) == 0)
			e->has_sidecar = has_sidecar;
		else
			res = S3E_InternalError;
		if (b->st->do_fsync && fsync(fd) != 0)
			res = S3E_InternalError;
	} else if (res == S3E_OK) {
		res = S3E_InternalError;
	}
	pthread_rwlock_unlock(&b->lock);
	meta_free(&m);
	if (fd >= 0)
		close(fd);
	return res;
}
