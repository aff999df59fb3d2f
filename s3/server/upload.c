/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upload.c - multipart uploads.  A part is one file whose name carries number and MD5, so that one
 * rename makes it; joining copies inside the kernel where it can.  While an upload is being joined
 * (is_busy) other requests for it wait.
 */
#include "s3/server/upload.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"
#include "s3/server/copy.h"

struct upload {
	struct list node;
	char id[UPLOAD_ID_LEN + 1];
	char *key;
	struct objmeta attrs;	   /* mtime_ns = when it was initiated */
	struct upload_part *parts; /* in order of number */
	size_t nparts;
	bool is_busy;
};

static char *
upload_path(struct bucket *b, const char *id, const char *name)
{
	char *rel = name != NULL ? xasprintf("%s/%s", id, name) : xstrdup(id);
	char *path = store_path(b, "uploads", rel);

	free(rel);
	return path;
}

static char *
part_path(struct bucket *b, const char *id, const struct upload_part *p)
{
	char name[64];

	snprintf(name, sizeof name, "%05u-%s", p->number, p->etag);
	return upload_path(b, id, name);
}

static void
upload_free(struct upload *u)
{
	list_del(&u->node);
	free(u->key);
	free(u->parts);
	meta_free(&u->attrs);
	free(u);
}

void
upload_free_all(struct bucket *b)
{
	while (!list_empty(&b->uploads))
		upload_free(container_of(b->uploads.next, struct upload, node));
}

/* Find and wait until nobody is joining it; up_lock held. */
static struct upload *
find(struct bucket *b, const char *key, const char *id)
{
	struct upload *u;
	struct list *pos;

again:
	list_for_each(pos, &b->uploads)
	{
		u = container_of(pos, struct upload, node);
		if (strcmp(u->id, id) != 0 || strcmp(u->key, key) != 0)
			continue;
		if (!u->is_busy)
			return u;
		pthread_cond_wait(&b->up_cond, &b->up_lock);
		goto again;
	}
	return NULL;
}

enum s3e
upload_create(
    struct bucket *b, const char *key, const struct objmeta *attrs, char id[UPLOAD_ID_LEN + 1])
{
	struct upload *u = xcalloc(1, sizeof *u);
	uint8_t rnd[UPLOAD_ID_LEN / 2];
	char *dir, *path, *text, *up;
	enum s3e res = S3E_OK;
	size_t len;
	int err = 0;

	random_bytes(rnd, sizeof rnd);
	digest_hex(rnd, sizeof rnd, u->id);
	u->key = xstrdup(key);
	meta_copy(&u->attrs, attrs);
	snprintf(u->attrs.etag, sizeof u->attrs.etag, "-");
	u->attrs.mtime_ns = clock_real_ns();
	list_init(&u->node);
	dir = upload_path(b, u->id, NULL);
	path = upload_path(b, u->id, "upload");
	up = store_path(b, "uploads", NULL);
	text = meta_encode(&u->attrs, key, &len);
	pthread_mutex_lock(&b->up_lock);
	if (b->is_gone)
		res = S3E_NoSuchBucket;
	else if (mkdir(dir, 0755) != 0)
		err = -errno;
	else
		err = store_write_small(b->st, path, text, len);
	if (err == 0 && res == S3E_OK)
		err = store_sync_dir(b->st, dir);
	if (err == 0 && res == S3E_OK)
		err = store_sync_dir(b->st, up);
	if (err != 0) {
		log_err(
		    "s3d.upload", "create-failed", "bucket=%s err=\"%s\"", b->name, err_str(err));
		res = S3E_InternalError;
	}
	if (res == S3E_OK) {
		memcpy(id, u->id, sizeof u->id);
		list_add_tail(&b->uploads, &u->node);
	} else {
		upload_free(u);
	}
	pthread_mutex_unlock(&b->up_lock);
	free(dir);
	free(path);
	free(up);
	free(text);
	return res;
}

/* The slot of a part number, made if need be. */
static struct upload_part *
part_slot(struct upload *u, unsigned int number, bool *is_new)
{
	size_t lo = 0, hi = u->nparts;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (u->parts[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	*is_new = lo == u->nparts || u->parts[lo].number != number;
	if (*is_new) {
		u->parts = xrealloc(u->parts, (u->nparts + 1) * sizeof *u->parts);
		memmove(&u->parts[lo + 1], &u->parts[lo], (u->nparts - lo) * sizeof *u->parts);
		memset(&u->parts[lo], 0, sizeof u->parts[lo]);
		u->parts[lo].number = number;
		u->nparts++;
	}
	return &u->parts[lo];
}

static enum s3e
put_part_locked(struct bucket *b, struct upload *u, const struct upload_part *p, struct tmpfile *t)
{
	char *path = part_path(b, u->id, p), *old;
	struct upload_part *slot;
	bool is_new;

	if (rename(t->path, path) != 0) {
		free(path);
		return S3E_InternalError;
	}
	slot = part_slot(u, p->number, &is_new);
	if (!is_new && strcmp(slot->etag, p->etag) != 0) {
		old = part_path(b, u->id, slot);
		unlink(old);
		free(old);
	}
	*slot = *p;
	free(path);
	close(t->fd);
	t->fd = -1;
	t->path[0] = '\0';
	return S3E_OK;
}

enum s3e
upload_put_part(struct bucket *b, const char *key, const char *id, unsigned int number,
    struct tmpfile *t, const char *md5)
{
	struct upload_part p = {.number = number, .mtime_ns = clock_real_ns()};
	struct upload *u;
	struct stat sb;
	char *dir;
	enum s3e res;

	snprintf(p.etag, sizeof p.etag, "%s", md5);
	if (fstat(t->fd, &sb) != 0 || (b->st->do_fsync && fsync(t->fd) != 0))
		return S3E_InternalError;
	p.size = (uint64_t)sb.st_size;
	pthread_mutex_lock(&b->up_lock);
	u = find(b, key, id);
	res = u == NULL ? S3E_NoSuchUpload : put_part_locked(b, u, &p, t);
	pthread_mutex_unlock(&b->up_lock);
	if (res == S3E_OK) {
		dir = upload_path(b, id, NULL);
		/* Gone if another request has finished the upload meanwhile. */
		if (store_sync_dir(b->st, dir) != 0 && access(dir, F_OK) == 0)
			res = S3E_InternalError;
		free(dir);
	}
	return res;
}

static void
remove_upload(struct bucket *b, struct upload *u)
{
	char *dir = upload_path(b, u->id, NULL), *up = store_path(b, "uploads", NULL), *first;

	/* Without its "upload" file a directory is a leftover: that goes first. */
	first = upload_path(b, u->id, "upload");
	unlink(first);
	if (store_remove_tree(dir) != 0)
		log_warn("s3d.upload", "leftovers", "path=%s", dir);
	store_sync_dir(b->st, up);
	upload_free(u);
	free(first);
	free(dir);
	free(up);
}

enum s3e
upload_abort(struct bucket *b, const char *key, const char *id)
{
	struct upload *u;

	pthread_mutex_lock(&b->up_lock);
	u = find(b, key, id);
	if (u != NULL)
		remove_upload(b, u);
	pthread_mutex_unlock(&b->up_lock);
	return u != NULL ? S3E_OK : S3E_NoSuchUpload;
}

enum s3e
upload_exists(struct bucket *b, const char *key, const char *id)
{
	struct upload *u;

	pthread_mutex_lock(&b->up_lock);
	u = find(b, key, id);
	pthread_mutex_unlock(&b->up_lock);
	return u != NULL ? S3E_OK : S3E_NoSuchUpload;
}

static enum s3e
check_parts(const struct upload *u, const struct upload_part *want, size_t n, char etag[ETAG_CAP])
{
	struct digest *d = digest_new("MD5");
	uint8_t md5[MD5_LEN], all[MD5_LEN];
	enum s3e res = n > 0 ? S3E_OK : S3E_MalformedXML;
	size_t i, j = 0;

	for (i = 1; i < n && res == S3E_OK; i++)
		if (want[i].number <= want[i - 1].number)
			res = S3E_InvalidPartOrder;
	for (i = 0; i < n && res == S3E_OK; i++) {
		while (j < u->nparts && u->parts[j].number < want[i].number)
			j++;
		if (j == u->nparts || u->parts[j].number != want[i].number ||
		    strcmp(u->parts[j].etag, want[i].etag) != 0)
			res = S3E_InvalidPart;
		else if (i + 1 < n && u->parts[j].size < UPLOAD_PART_MIN_BYTES)
			res = S3E_EntityTooSmall;
		else if (digest_hex_decode(want[i].etag, md5, sizeof md5) == MD5_LEN)
			digest_update(d, md5, sizeof md5);
	}
	digest_final(d, all);
	digest_hex(all, sizeof all, etag);
	snprintf(etag + 32, ETAG_CAP - 32, "-%u", (unsigned int)(n % 100000));
	return res;
}

static int
join(struct bucket *b, const char *id, const struct upload_part *want, size_t n, struct tmpfile *t)
{
	int err = store_tmp(b->st, t), fd;
	char *path;
	size_t i;

	for (i = 0; i < n && err == 0; i++) {
		path = part_path(b, id, &want[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		err = fd < 0 ? -errno : copy_bytes(fd, 0, UINT64_MAX, t->fd, NULL);
		if (fd >= 0)
			close(fd);
		free(path);
	}
	return err;
}

enum s3e
upload_complete(struct bucket *b, const char *key, const char *id, const struct upload_part *want,
    size_t n, const struct cond *cond, struct objmeta *m)
{
	struct tmpfile t = {.fd = -1};
	struct upload *u;
	enum s3e res;

	memset(m, 0, sizeof *m);
	pthread_mutex_lock(&b->up_lock);
	u = find(b, key, id);
	if (u == NULL) {
		pthread_mutex_unlock(&b->up_lock);
		return S3E_NoSuchUpload;
	}
	meta_copy(m, &u->attrs);
	res = check_parts(u, want, n, m->etag);
	u->is_busy = true;
	pthread_mutex_unlock(&b->up_lock);
	if (res == S3E_OK && join(b, id, want, n, &t) != 0)
		res = S3E_InternalError;
	if (res == S3E_OK)
		res = store_put(b, key, &t, m, cond);
	store_tmp_drop(&t);
	pthread_mutex_lock(&b->up_lock);
	u->is_busy = false;
	if (res == S3E_OK)
		remove_upload(b, u);
	else
		meta_free(m);
	pthread_cond_broadcast(&b->up_cond);
	pthread_mutex_unlock(&b->up_lock);
	return res;
}

static int
info_order(const void *a, const void *b)
{
	const struct upload_info *x = a, *y = b;
	int c = strcmp(x->key, y->key);

	if (c != 0)
		return c;
	if (x->initiated_ns != y->initiated_ns)
		return x->initiated_ns < y->initiated_ns ? -1 : 1;
	return strcmp(x->id, y->id);
}

size_t
upload_list(struct bucket *b, struct upload_info **out)
{
	struct upload_info *list = NULL;
	struct list *pos;
	size_t n = 0;

	pthread_mutex_lock(&b->up_lock);
	list_for_each(pos, &b->uploads)
	{
		struct upload *u = container_of(pos, struct upload, node);
		int sclass = meta_sclass(meta_get(&u->attrs, "x-amz-storage-class"));

		list = xrealloc(list, (n + 1) * sizeof *list);
		list[n].key = xstrdup(u->key);
		memcpy(list[n].id, u->id, sizeof u->id);
		list[n].initiated_ns = u->attrs.mtime_ns;
		list[n].sclass = sclass < 0 ? 0 : (unsigned int)sclass;
		n++;
	}
	pthread_mutex_unlock(&b->up_lock);
	if (n > 0)
		qsort(list, n, sizeof *list, info_order);
	*out = list;
	return n;
}

void
upload_list_free(struct upload_info *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		free(list[i].key);
	free(list);
}

enum s3e
upload_parts(struct bucket *b, const char *key, const char *id, struct upload_part **out, size_t *n,
    struct objmeta *attrs)
{
	struct upload *u;

	*out = NULL;
	*n = 0;
	pthread_mutex_lock(&b->up_lock);
	u = find(b, key, id);
	if (u != NULL) {
		*out = xcalloc(u->nparts + 1, sizeof **out);
		if (u->nparts > 0)
			memcpy(*out, u->parts, u->nparts * sizeof **out);
		*n = u->nparts;
		meta_copy(attrs, &u->attrs);
	}
	pthread_mutex_unlock(&b->up_lock);
	return u != NULL ? S3E_OK : S3E_NoSuchUpload;
}

/* A part replaced in the moment of a crash leaves two files of one number: the newer counts. */
static void
scan_part(struct upload *u, int dir_fd, const char *name)
{
	struct upload_part p = {0}, *slot;
	struct stat sb;
	char *end;
	bool is_new;

	p.number = (unsigned int)strtoul(name, &end, 10);
	if (*end != '-' || strlen(end + 1) != 32 || p.number < 1 || p.number > UPLOAD_PART_MAX ||
	    fstatat(dir_fd, name, &sb, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(sb.st_mode))
		return;
	memcpy(p.etag, end + 1, 33);
	p.size = (uint64_t)sb.st_size;
	p.mtime_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
	slot = part_slot(u, p.number, &is_new);
	if (is_new || slot->mtime_ns < p.mtime_ns)
		*slot = p;
}

static int
scan_upload(struct bucket *b, const char *id)
{
	char *path = upload_path(b, id, "upload"), *dir = upload_path(b, id, NULL), *text = NULL;
	struct upload *u = xcalloc(1, sizeof *u);
	struct dirent *e;
	size_t len;
	DIR *d;
	int err;

	list_init(&u->node);
	memcpy(u->id, id, UPLOAD_ID_LEN);
	err = osfile_read_all(path, META_TEXT_MAX, &text, &len);
	if (err == 0)
		err = meta_decode(text, len, &u->attrs, &u->key);
	free(text);
	d = err == 0 && u->key != NULL ? opendir(dir) : NULL;
	if (d == NULL) {
		upload_free(u);
		err = store_remove_tree(dir); /* never announced, or already over */
	} else {
		while ((e = readdir(d)) != NULL)
			scan_part(u, dirfd(d), e->d_name);
		closedir(d);
		list_add_tail(&b->uploads, &u->node);
	}
	free(path);
	free(dir);
	return err;
}

int
upload_scan(struct bucket *b)
{
	char *path = store_path(b, "uploads", NULL);
	DIR *d = opendir(path);
	struct dirent *e;
	int err = 0;

	free(path);
	if (d == NULL)
		return -errno;
	while (err == 0 && (e = readdir(d)) != NULL)
		if (strlen(e->d_name) == UPLOAD_ID_LEN)
			err = scan_upload(b, e->d_name);
	closedir(d);
	return err;
}
