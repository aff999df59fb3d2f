/* SPDX-License-Identifier: Apache-2.0 */
/* mem_bucket_int.h - between mem_bucket.c (objects, listings) and mem_upload.c (multipart). */
#ifndef S3_MEM_BUCKET_INT_H
#define S3_MEM_BUCKET_INT_H

#include "s3/mem_bucket.h"

/* mem_fail - note status and S3's code in req. result: err */
int mem_fail(struct objstore_req *req, int err, int status, const char *code);
char *mem_copy_bytes(const void *data, size_t len);

/* mem_object_new - takes data. */
struct mem_object *mem_object_new(
    const char *key, char *data, size_t len, const struct objstore_attrs *attrs);
void mem_object_free(struct mem_object *o);
/* mem_insert - takes o, in place of what has its key. */
void mem_insert(struct mem_bucket *b, struct mem_object *o);

/* mem_check_target - the conditions of a write. */
int mem_check_target(const struct mem_bucket *b, struct objstore_req *req);
/* mem_source_of - the source of a copy, if it is what src_if_match wants. */
int mem_source_of(struct mem_bucket *b, struct objstore_req *req, const struct mem_object **out);
/* mem_range_of - the bytes of o that req asks for. */
int mem_range_of(const struct mem_object *o, struct objstore_req *req, size_t *off, size_t *len);

int mem_upload_create(struct mem_bucket *b, struct objstore_req *req);
/* mem_upload_part - takes data. */
int mem_upload_part(struct mem_bucket *b, struct objstore_req *req, char *data, size_t len);
int mem_upload_part_copy(struct mem_bucket *b, struct objstore_req *req);
int mem_upload_complete(struct mem_bucket *b, struct objstore_req *req);
int mem_upload_abort(struct mem_bucket *b, struct objstore_req *req);
int mem_upload_list(struct mem_bucket *b, struct objstore_req *req);
int mem_upload_parts(struct mem_bucket *b, struct objstore_req *req);
void mem_upload_free_all(struct mem_bucket *b);

#endif
