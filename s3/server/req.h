/* SPDX-License-Identifier: Apache-2.0 */
/*
 * req.h - one request from its first header to its reply, and the server it belongs to.
 * A request lives on the thread of its connection; nothing in it is shared.
 */
#ifndef S3D_REQ_H
#define S3D_REQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "s3/s3_sign.h"
#include "s3/server/chunked.h"
#include "s3/server/fault.h"
#include "s3/server/meta.h"
#include "s3/server/s3err.h"
#include "s3/server/store.h"

struct creds;
struct stats;
struct listener;
struct MHD_Connection;

struct s3d {
	struct store *store;
	struct creds *creds;
	struct faults *faults;
	struct stats *stats;
	struct listener *listener;
	const char *region;
	const char *domain; /* NULL = path style only */
	bool has_admin;
	atomic_bool is_stopping;
	atomic_uint_fast64_t request_ids;
};

enum op_class { CLASS_READ, CLASS_WRITE, CLASS_LIST };

/* name, class; the handler is op_<name> */
#define S3D_OP_TABLE(X)                                                                            \
	X(ListBuckets, LIST)                                                                       \
	X(CreateBucket, WRITE)                                                                     \
	X(HeadBucket, READ)                                                                        \
	X(DeleteBucket, WRITE)                                                                     \
	X(GetBucketLocation, READ)                                                                 \
	X(GetBucketVersioning, READ)                                                               \
	X(GetBucketAcl, READ)                                                                      \
	X(ListObjects, LIST)                                                                       \
	X(ListObjectsV2, LIST)                                                                     \
	X(ListMultipartUploads, LIST)                                                              \
	X(DeleteObjects, WRITE)                                                                    \
	X(PutObject, WRITE)                                                                        \
	X(GetObject, READ)                                                                         \
	X(HeadObject, READ)                                                                        \
	X(DeleteObject, WRITE)                                                                     \
	X(CopyObject, WRITE)                                                                       \
	X(CreateMultipartUpload, WRITE)                                                            \
	X(UploadPart, WRITE)                                                                       \
	X(UploadPartCopy, WRITE)                                                                   \
	X(CompleteMultipartUpload, WRITE)                                                          \
	X(AbortMultipartUpload, WRITE)                                                             \
	X(ListParts, LIST)                                                                         \
	X(GetObjectAcl, READ)                                                                      \
	X(GetObjectTagging, READ)                                                                  \
	X(PutObjectAcl, WRITE)

enum s3d_op {
	OP_NONE,
#define X(name, class) OP_##name,
	S3D_OP_TABLE(X)
#undef X
	    OP_MAX
};

struct param { /* of the query, decoded */
	char *name;
	char *value;
};

struct reply {
	int status;
	struct strbuf body;
	const char *content_type;
	int fd; /* -1, or the body is len bytes of it from off */
	uint64_t off, len;
	struct kv *headers;
	size_t nheaders;
};

enum body_kind { BODY_DISCARD, BODY_MEMORY, BODY_FILE };

struct body {
	enum body_kind kind;
	struct strbuf mem;
	struct tmpfile tmp;
	struct digest *md5, *sha256;
	uint32_t crc32c, crc32;
	bool want_crc32c, want_crc32;
	uint64_t got; /* payload bytes, decoded */
	uint64_t expected;
	bool has_expected;
	bool is_chunked, is_signed, has_trailer;
	bool trailer_was_verified;
	struct chunked dec;
	struct digest *chunk_sha;
	char prev_sig[65];
	struct strbuf trailer_text; /* canonical, for its signature */
	struct kv trailers[CHUNKED_TRAILERS_MAX];
	size_t ntrailers;
	enum s3e err;
	char md5_hex[33], sha256_hex[65];
};

struct auth_state { /* what chunk signatures need */
	char key_id[128];
	char payload_hash[80];
	char amz_date[17];
	char scope[160];
	uint8_t key[32];
	char seed_sig[65];
};

struct s3d_req {
	struct s3d *srv;
	struct MHD_Connection *conn;
	char *uri;		/* as received */
	char *raw_path, *query; /* into a copy of uri; query NULL if none */
	char *uri_copy;
	char method[16];
	struct s3_header *headers;
	size_t nheaders;
	struct param *params;
	size_t nparams;
	char *bucket_name, *key; /* decoded; NULL if absent */
	enum s3d_op op;
	bool is_admin, is_head, has_begun, has_expect;
	uint64_t content_length;
	bool has_content_length;
	struct auth_state auth;
	struct body body;
	struct fault_verdict fault;
	enum s3e err;
	const char *err_text; /* instead of the table's text; NULL = that */
	struct reply reply;
	char id[17];
};

/* req.c */
struct s3d_req *req_new(struct s3d *srv, const char *uri);
void req_free(struct s3d_req *rq);
const char *req_header(const struct s3d_req *rq, const char *name);
const char *req_param(const struct s3d_req *rq, const char *name);
/* req_param_uint - dflt when absent; -EINVAL when not a number up to max. */
int req_param_uint(const struct s3d_req *rq, const char *name, unsigned int dflt, unsigned int max,
    unsigned int *out) CW_MUST_CHECK;
/* req_fail - e with a text of its own (static). */
enum s3e req_fail(struct s3d_req *rq, enum s3e e, const char *text);
/* req_parse_target - split uri into bucket, key and params. */
enum s3e req_parse_target(struct s3d_req *rq);
bool utf8_is_valid(const char *s);

void reply_header(struct reply *rp, const char *name, const char *fmt, ...) CW_PRINTF(3, 4);
void reply_xml(struct reply *rp);

/* route.c */
enum s3e route(struct s3d_req *rq);
const char *op_name(enum s3d_op op);
enum op_class op_class_of(enum s3d_op op);
enum s3e op_run(struct s3d_req *rq);

/* auth.c: verify the signature; fills rq->auth. */
enum s3e auth_check(struct s3d_req *rq);

/* body.c */
enum s3e body_begin(struct s3d_req *rq, enum body_kind kind);
void body_feed(struct s3d_req *rq, const void *data, size_t n);
enum s3e body_end(struct s3d_req *rq);
void body_free(struct body *b);

/* op_*.c: fill rq->reply (status preset to 200) or return the error to answer. */
#define X(name, class) enum s3e op_##name(struct s3d_req *rq);
S3D_OP_TABLE(X)
#undef X

/* common to the ops (op_common.c) */
enum s3e op_bucket(struct s3d_req *rq, struct bucket **b);
enum s3e op_read_attrs(struct s3d_req *rq, struct objmeta *m);
enum s3e op_read_cond(struct s3d_req *rq, struct cond *c, char etag[ETAG_CAP]);
void op_meta_headers(struct s3d_req *rq, const struct objmeta *m);
void op_strip_quotes(const char *in, char *out, size_t cap);
/* the x-amz-copy-source family */
enum s3e op_copy_source(
    struct s3d_req *rq, struct bucket **b, char **key, int *fd, struct objmeta *m);
/* conditions of GET and HEAD (prefix "") or of a copy source (prefix "x-amz-copy-source-") */
enum s3e op_read_conditions(struct s3d_req *rq, const char *prefix, const struct objmeta *m);
enum s3e op_check_ssec(struct s3d_req *rq, const char *prefix, const struct objmeta *m);

/* admin.c */
enum s3e admin_run(struct s3d_req *rq);

#endif
