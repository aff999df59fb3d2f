/* SPDX-License-Identifier: Apache-2.0 */
/* mem_bucket.h - a bucket in memory: S3's semantics, one caller at a time, no time passes. */
#ifndef S3_MEM_BUCKET_H
#define S3_MEM_BUCKET_H

#include "s3/objstore.h"

struct mem_object {
	char *key;
	char *data;
	size_t len;
	int64_t mtime_ns;
	char etag[OBJSTORE_ETAG_MAX];
	char *content_type, *storage_class; /* NULL = the default */
	struct objstore_meta *meta;	    /* strings owned */
	size_t nmeta;
};

struct mem_bucket {
	struct mem_object **objects; /* sorted by key */
	size_t nobjects, cap;
	struct mem_upload *uploads;
	size_t nuploads;
	uint64_t next_id;
	bool ignores_conditions;
};

/* mem_bucket_run - carry out req: fills its results, req->result among them. */
void mem_bucket_run(struct mem_bucket *b, struct objstore_req *req);
/* mem_bucket_free - everything in it; b itself is the caller's. */
void mem_bucket_free(struct mem_bucket *b);

/* mem_bucket_find - NULL if there is none. Borrowed until the next change. */
struct mem_object *mem_bucket_find(const struct mem_bucket *b, const char *key);
/* mem_bucket_put - store a copy of data as key. result: the object, borrowed */
struct mem_object *mem_bucket_put(struct mem_bucket *b, const char *key, const void *data,
    size_t len, const struct objstore_attrs *attrs);
bool mem_bucket_delete(struct mem_bucket *b, const char *key);

#endif
