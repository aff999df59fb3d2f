/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - buckets and objects on disk; FORMAT.md is the specification.
 *
 * One rename puts data and metadata in place together, under the bucket's lock, which is also what
 * makes conditions atomic.  Locks: store.lock < bucket.lock; bucket.up_lock (upload.c) is taken
 * before bucket.lock and never inside it.
 */
#ifndef S3D_STORE_H
#define S3D_STORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/list.h"
#include "s3/server/keyset.h"
#include "s3/server/meta.h"
#include "s3/server/s3err.h"

#define BUCKET_NAME_MAX 63

struct store {
	char *dir;
	bool do_fsync;
	bool has_xattr;
	int lock_fd;
	atomic_uint_fast64_t tmp_counter;
	pthread_rwlock_t lock;	 /* guards the array; buckets themselves live until store_close */
	struct bucket **buckets; /* sorted by name among those not gone */
	size_t nbuckets;
};

struct bucket {
	struct store *st;
	char name[BUCKET_NAME_MAX + 1];
	int64_t created_ns;
	pthread_rwlock_t lock; /* guards keys, is_gone and the files they name */
	bool is_gone;
	struct keyset *keys;
	pthread_mutex_t up_lock; /* guards uploads; upload.c */
	pthread_cond_t up_cond;
	struct list uploads;
};

struct tmpfile { /* data on its way in; path "" = none */
	int fd;
	char path[512];
};

struct cond {		      /* what must hold of the present object; NULL and false = nothing */
	const char *if_match; /* an ETag without quotes, or "*" */
	bool if_none_match;
};

/* store_open - lock dir for this process, clean what a crash left, index every object.
 * args:   dir is created if it does not exist; no_xattr = metadata in files always; err_text receives the reason of a failure
 * result: 0 or negative errno
 * ctx:    start-up */
int store_open(const char *dir, bool do_fsync, bool no_xattr, struct store **out, char *err_text,
    size_t cap) CW_MUST_CHECK;
void store_close(struct store *st);

/* store_bucket - by name, NULL if there is none. ctx: any thread; valid until store_close. */
struct bucket *store_bucket(struct store *st, const char *name);
enum s3e store_bucket_create(struct store *st, const char *name);
enum s3e store_bucket_delete(struct store *st, struct bucket *b);
bool store_bucket_name_ok(const char *name);

/* store_tmp - a new, empty, uniquely named file on the store's file system. 0 or negative errno */
int store_tmp(struct store *st, struct tmpfile *t) CW_MUST_CHECK;
/* store_tmp_drop - close and remove, if still there. */
void store_tmp_drop(struct tmpfile *t);

/* store_put - make t the object of key, atomically, if cond holds.
 * args:   t taken on success, else still the caller's; m with etag and headers set, the rest is filled
 * result: S3E_OK, NoSuchBucket, NoSuchKey (if_match without object), PreconditionFailed, InternalError
 * ctx:    any request thread; durable on return unless --no-fsync */
enum s3e store_put(struct bucket *b, const char *key, struct tmpfile *t, struct objmeta *m,
    const struct cond *cond);
/* store_get - open an object; fd belongs to the caller (fd NULL: metadata only). */
enum s3e store_get(struct bucket *b, const char *key, int *fd, struct objmeta *m);
/* store_delete - existed may be NULL; without condition a missing key is S3E_OK. */
enum s3e store_delete(struct bucket *b, const char *key, const struct cond *cond);
/* store_set_header - change one header of an object's metadata in place. */
enum s3e store_set_header(struct bucket *b, const char *key, const char *name, const char *value);

/* Shared with scan.c and upload.c. */
char *store_path(const struct bucket *b, const char *sub, const char *rel);
int store_write_small(struct store *st, const char *path, const void *data, size_t len);
int store_sync_dir(const struct store *st, const char *path);
int store_remove_tree(const char *path);
int store_meta_write(
    struct bucket *b, const char *key, int fd, const struct objmeta *m, bool *has_sidecar);
/* scan.c: fill the bucket's index from its files. */
int store_scan(struct bucket *b);
void store_index(struct bucket *b, const char *key, size_t len, const struct objmeta *m,
    bool is_alt, bool has_sidecar);
/* meta file name of an inode: DIR/.causeway/BUCKET/meta/INO */
char *store_sidecar_path(const struct bucket *b, uint64_t ino);
int store_meta_read(struct bucket *b, const char *key, int fd, bool has_sidecar, struct objmeta *m);

#endif
