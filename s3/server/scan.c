/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan.c - the index of a bucket is rebuilt from its files at start.  A file without valid metadata
 * (somebody put it there, or edited it) is adopted: its ETag is computed and stored.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "s3/server/keypath.h"
#include "s3/server/store.h"

struct scan {
	struct bucket *b;
	char rel[KEYPATH_MAX];
};

static int
md5_of(int fd, char out[ETAG_CAP])
{
	struct digest *d = digest_new("MD5");
	uint8_t md5[MD5_LEN];
	char buf[65536];
	ssize_t n;

	while ((n = read(fd, buf, sizeof buf)) > 0)
		digest_update(d, buf, (size_t)n);
	digest_final(d, md5);
	digest_hex(md5, sizeof md5, out);
	return n < 0 ? -errno : 0;
}

static int
adopt(struct scan *s, const char *key, int fd, const struct stat *sb, struct objmeta *m,
    bool *has_sidecar)
{
	int err;

	memset(m, 0, sizeof *m);
	m->size = (uint64_t)sb->st_size;
	m->mtime_ns = m->file_mtime_ns =
	    (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
	err = md5_of(fd, m->etag);
	if (err == 0)
		err = store_meta_write(s->b, key, fd, m, has_sidecar);
	log_debug("s3d.scan", "file-adopted", "bucket=%s path=\"%s\"", s->b->name, s->rel);
	return err;
}

static bool
is_valid(const struct objmeta *m, const struct stat *sb)
{
	return m->size == (uint64_t)sb->st_size &&
	       m->file_mtime_ns == (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
}

static int
scan_file(struct scan *s, int dir_fd, const char *name)
{
	char key[KEYPATH_KEY_MAX + 1];
	struct objmeta m = {0};
	bool is_alt, has_sidecar = false;
	struct stat sb;
	int fd, err, n = keypath_decode(s->rel, key, &is_alt);

	if (n < 0) {
		log_warn("s3d.scan", "file-ignored", "bucket=%s path=\"%s\"", s->b->name, s->rel);
		return 0;
	}
	if (keyset_find(s->b->keys, key, (size_t)n) != NULL) {
		log_warn("s3d.scan", "file-doubled", "bucket=%s path=\"%s\"", s->b->name, s->rel);
		return 0;
	}
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &sb) != 0) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	err = store_meta_read(s->b, key, fd, false, &m);
	if (err != 0) {
		has_sidecar = true;
		err = store_meta_read(s->b, key, fd, true, &m);
	}
	if (err != 0 || !is_valid(&m, &sb)) {
		meta_free(&m);
		err = adopt(s, key, fd, &sb, &m, &has_sidecar);
	}
	if (err == 0)
		store_index(s->b, key, (size_t)n, &m, is_alt, has_sidecar);
	meta_free(&m);
	close(fd);
	return err;
}

static int
scan_dir(struct scan *s, int fd, size_t rel_len)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;
	struct stat sb;
	int err = 0, sub;

	if (d == NULL) {
		err = -errno;
		close(fd);
		return err;
	}
	while (err == 0 && (e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name), at = rel_len;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (rel_len + n + 2 > sizeof s->rel)
			continue;
		if (at > 0)
			s->rel[at++] = '/';
		memcpy(s->rel + at, e->d_name, n + 1);
		if (fstatat(dirfd(d), e->d_name, &sb, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (S_ISREG(sb.st_mode)) {
			err = scan_file(s, dirfd(d), e->d_name);
		} else if (S_ISDIR(sb.st_mode)) {
			sub = openat(
			    dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			err = sub < 0 ? -errno : scan_dir(s, sub, at + n);
		}
	}
	closedir(d);
	return err;
}

/* Sidecars whose inode no object has are leftovers of a crash. */
static void
drop_stray_sidecars(struct bucket *b)
{
	char *path = store_path(b, "meta", NULL), *text, *key, *one;
	DIR *d = opendir(path);
	struct dirent *e;
	struct kent *k;
	struct objmeta m;
	size_t len;
	int fd;

	free(path);
	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			continue;
		text = xcalloc(1, META_TEXT_MAX);
		len = (size_t)(read(fd, text, META_TEXT_MAX) + 1);
		close(fd);
		k = NULL;
		if (len > 1 && meta_decode(text, len - 1, &m, &key) == 0) {
			k = key != NULL ? keyset_find(b->keys, key, strlen(key)) : NULL;
			meta_free(&m);
			free(key);
		}
		free(text);
		if (k != NULL && k->has_sidecar) {
			struct stat sb;
			char rel[KEYPATH_MAX];
			bool is_own = false;

			if (keypath_encode(k->key, k->key_len, k->is_alt, rel) > 0) {
				one = store_path(b, NULL, rel);
				is_own = stat(one, &sb) == 0 &&
					 sb.st_ino == strtoull(e->d_name, NULL, 10);
				free(one);
			}
			if (is_own)
				continue;
		}
		unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
}

int
store_scan(struct bucket *b)
{
	struct scan s = {.b = b};
	char *path = store_path(b, NULL, NULL);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), err;

	free(path);
	if (fd < 0)
		return -errno;
	err = scan_dir(&s, fd, 0);
	if (err == 0)
		drop_stray_sidecars(b);
	return err;
}
