/* SPDX-License-Identifier: Apache-2.0 */
/* upload.h - multipart uploads under way, in memory and on disk (FORMAT.md section 4). */
#ifndef S3D_UPLOAD_H
#define S3D_UPLOAD_H

#include "s3/server/store.h"

#define UPLOAD_ID_LEN 32
#define UPLOAD_PART_MAX 10000
#define UPLOAD_PART_MIN_BYTES (UINT64_C(5) << 20)

struct upload_part {
	unsigned int number;
	uint64_t size;
	int64_t mtime_ns;
	char etag[33];
};

struct upload_info { /* a copy for listings */
	char *key;
	char id[UPLOAD_ID_LEN + 1];
	int64_t initiated_ns;
	unsigned int sclass;
};

/* upload_create - args: attrs copied; id receives the upload id. */
enum s3e upload_create(
    struct bucket *b, const char *key, const struct objmeta *attrs, char id[UPLOAD_ID_LEN + 1]);
/* upload_put_part - t is taken on success; md5 is its hex MD5; a part of that number is replaced. */
enum s3e upload_put_part(struct bucket *b, const char *key, const char *id, unsigned int number,
    struct tmpfile *t, const char *md5);
enum s3e upload_abort(struct bucket *b, const char *key, const char *id);
/* upload_complete - join want[0..n) (number and etag filled) into the object.
 * result: S3E_OK with m filled (caller frees), or InvalidPart, InvalidPartOrder, EntityTooSmall,
 *         NoSuchUpload, PreconditionFailed, ...; the upload stays on every error */
enum s3e upload_complete(struct bucket *b, const char *key, const char *id,
    const struct upload_part *want, size_t n, const struct cond *cond, struct objmeta *m);
/* upload_exists - S3E_OK or NoSuchUpload. */
enum s3e upload_exists(struct bucket *b, const char *key, const char *id);
/* upload_list - every upload, ordered by key, then start; caller frees with upload_list_free. */
size_t upload_list(struct bucket *b, struct upload_info **out);
void upload_list_free(struct upload_info *list, size_t n);
/* upload_parts - copy of the parts in order; caller frees *out. */
enum s3e upload_parts(struct bucket *b, const char *key, const char *id, struct upload_part **out,
    size_t *n, struct objmeta *attrs);

/* start and end of a bucket's life */
int upload_scan(struct bucket *b);
void upload_free_all(struct bucket *b);

#endif
