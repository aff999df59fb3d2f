/* SPDX-License-Identifier: Apache-2.0 */
/*
 * objstore.h - asynchronous object store: one request struct, one submit, one completion.
 *
 * A store is one bucket with one set of credentials.  Implementations: s3 (objstore_s3.c, libcurl),
 * mem (objstore_mem.c, for unit tests), and layers that wrap another store (objstore_fault.c).
 *
 * Conventions: keys are UTF-8 without a leading slash, at most 1,024 bytes; ETags are kept with
 * their quotes stripped; offsets and lengths are bytes; times are nanoseconds since 1970.
 * Everything a request points at is owned by the caller and stays valid until done().
 */
#ifndef S3_OBJSTORE_H
#define S3_OBJSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

#define OBJSTORE_KEY_MAX 1024
#define OBJSTORE_ETAG_MAX 128
#define OBJSTORE_UPLOAD_ID_MAX 512

enum objstore_opcode {
	OBJ_GET,	   /* key, range; body -> buf; if_match */
	OBJ_HEAD,	   /* key */
	OBJ_PUT,	   /* key, body, attrs, if_match / if_none_match */
	OBJ_DELETE,	   /* key */
	OBJ_DELETE_MANY,   /* keys[nkeys] (at most 1,000), per-key result in key_errs */
	OBJ_COPY,	   /* src_key -> key, attrs replace (NULL keeps the source's), src_if_match,
			  * if_match / if_none_match; the source lies in the same bucket */
	OBJ_LIST,	   /* prefix, delimiter, start_after or token, max_keys -> list */
	OBJ_MPU_CREATE,	   /* key, attrs -> upload_id */
	OBJ_MPU_PART,	   /* key, upload_id, part_number, body -> etag */
	OBJ_MPU_PART_COPY, /* key, upload_id, part_number, src_key, range, src_if_match -> etag */
	OBJ_MPU_COMPLETE, /* key, upload_id, parts, if_match / if_none_match -> etag, empty where the
			    * store does not say */
	OBJ_MPU_ABORT,	  /* key, upload_id */
	OBJ_MPU_LIST,	  /* prefix -> list of uploads under way (key, upload_id, initiated) */
	OBJ_MPU_PARTS,	  /* key, upload_id, part_marker -> parts (one page, list.truncated) */
	OBJ_BUCKET_HEAD,  /* does the bucket exist and answer? */
	OBJ_BUCKET_CREATE,
	OBJ_OP_MAX
};

struct objstore_meta {
	const char *name; /* without x-amz-meta-, lower case */
	const char *value;
};

/* What an object is to carry. NULL fields are left out of the request. */
struct objstore_attrs {
	const char *content_type;
	const char *storage_class; /* "STANDARD", "STANDARD_IA", ... */
	const char *acl;	   /* canned ACL */
	const char *sse;	   /* "AES256", "aws:kms", "aws:kms:dsse" */
	const char *sse_kms_key;
	const struct objstore_meta *meta;
	size_t nmeta;
};

struct objstore_part {
	unsigned int number; /* from 1 */
	uint64_t size;	     /* filled by MPU_PARTS */
	char etag[OBJSTORE_ETAG_MAX];
};

struct objstore_entry {	 /* LIST: an object or a common prefix; MPU_LIST: an upload */
	char *key;	 /* owned by the list */
	char *upload_id; /* MPU_LIST only */
	bool is_prefix;
	uint64_t size;
	int64_t mtime_ns; /* LastModified or Initiated */
	char etag[OBJSTORE_ETAG_MAX];
	char storage_class[24];
};

struct objstore_list {
	struct objstore_entry *entries;
	size_t n, cap;
	bool truncated;
	char
	    *next_token; /* continuation token (LIST), key marker (MPU_LIST), part marker as text */
	char *next_upload_marker; /* MPU_LIST */
};

struct objstore_meta_buf { /* user metadata of an answer; strings lie in `text` */
	struct objstore_meta items[32];
	size_t n;
	char text[4096];
	size_t text_len;
};

struct objstore_req {
	enum objstore_opcode op;
	/* request */
	const char *key;
	const char *src_key;
	uint64_t range_off, range_len; /* GET and MPU_PART_COPY; range_len 0 = to the end. An answer
					* is shorter than the range where the object ends */
	const void *body;
	size_t body_len;
	void *buf; /* GET: receives up to buf_cap bytes */
	size_t buf_cap;
	const struct objstore_attrs *attrs;
	const char *if_match;	  /* ETag the target must have */
	bool if_none_match;	  /* target must not exist */
	const char *src_if_match; /* ETag the copy source must have */
	const char *prefix, *delimiter, *start_after, *token, *upload_marker;
	unsigned int max_keys; /* 0 = 1,000 */
	const char *upload_id_in;
	unsigned int part_number;
	struct objstore_part *parts; /* MPU_COMPLETE in; MPU_PARTS out (malloced, caller frees) */
	size_t nparts;
	const char *const *keys;
	int *key_errs;
	size_t nkeys;
	unsigned int max_tries; /* 0 = the store's default; 1 = no retry (probes) */
	bool want_meta;		/* GET, HEAD: fill meta */
	void (*done)(struct objstore_req *req);
	void *ctx;

	/* result, valid in done() */
	int result; /* 0, or: -ENOENT (404), -ERR_PRECONDITION (412, also 409 on conditional writes
		     * and 404 on a write with if_match), -EFBIG (GET: more than buf_cap bytes),
		     * -EINVAL (the store calls the request wrong: InvalidPart, EntityTooSmall, ...),
		     * -ENOSYS (the store does not know such a thing),
		     * -ERR_CREDENTIALS / -EACCES (403), -ERR_NO_BUCKET, -ERR_THROTTLED, -ERR_OFFLINE,
		     * -ERR_CHECKSUM, -ERR_ARCHIVED, -ERR_INVALID_RANGE, -ERR_NO_UPLOAD, -ERR_PROTOCOL,
		     * -ERR_CLOCK_SKEW, -ERR_STORE, -ECANCELED (store closing) */
	int http_status;
	char error_code[64]; /* S3's own, such as "NoSuchKey" */
	size_t got;	     /* GET: bytes in buf */
	uint64_t size;	     /* HEAD, GET: whole object's size */
	int64_t mtime_ns;    /* Last-Modified */
	char etag[OBJSTORE_ETAG_MAX];
	char content_type[128];
	char storage_class[24];
	char upload_id[OBJSTORE_UPLOAD_ID_MAX];
	struct objstore_meta_buf *meta; /* HEAD/GET with want_meta: owned by the request */
	struct objstore_list list;
	bool maybe_applied; /* a write whose reply was lost at least once: it may have happened */

	void *impl; /* private to the store */
};

struct objstore;

struct objstore_ops {
	/* submit - start req; done() is called exactly once, on a thread of the store's, never on
	 * the submitter's stack.  done() must not block. ctx: any thread. Retries, back-off and
	 * re-signing happen below; what is reported is final. */
	void (*submit)(struct objstore *s, struct objstore_req *req);
	/* close - refuse new requests, cancel what is under way (done with -ECANCELED), free. Waits
	 * for the done()s, so never from one; a done() may still submit and gets -ECANCELED. */
	void (*close)(struct objstore *s);
};

struct objstore {
	const struct objstore_ops *ops;
	/* Facts found by objstore_probe(): */
	bool has_conditional_put;      /* If-Match and If-None-Match honoured on PUT */
	bool has_conditional_complete; /* ... on CompleteMultipartUpload */
	bool
	    keeps_versions; /* atomic: an answer to a PUT named a version; every write leaves one */
	const char *label;  /* "bucket@endpoint" for logs; owned by the store */
};

static inline void
objstore_submit(struct objstore *s, struct objstore_req *req)
{
	s->ops->submit(s, req);
}

/* objstore_call - submit and wait. ctx: workers and start-up only, never a loop or a done().
 * result: req->result */
int objstore_call(struct objstore *s, struct objstore_req *req);

/* objstore_req_clear - free what answers allocated (list, meta, parts of MPU_PARTS) and zero all
 * of req. Needed before a request is used again: submit forgets the results of the time before. */
void objstore_req_clear(struct objstore_req *req);

/* objstore_probe - find out by trying whether conditional writes hold; sets the has_ fields.
 * args:   s borrowed; prefix where a probe object may be written (it is deleted again)
 * result: 0, or the store's error; then the has_ fields are false
 * ctx:    worker
 * source: S3 User Guide, "conditional requests" */
int objstore_probe(struct objstore *s, const char *prefix);

const char *objstore_op_name(enum objstore_opcode op); /* "get", "put", ... metrics label */

/* A store in memory for unit tests: same semantics, no network; hooks in objstore_mem.h. */
struct objstore *objstore_mem_new(const char *label);

#endif
