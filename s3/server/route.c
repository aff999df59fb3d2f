/* SPDX-License-Identifier: Apache-2.0 */
/* route.c - method, bucket, key and sub-resource say which operation it is. */
#include <string.h>

#include "s3/server/req.h"

static const struct {
	const char *name;
	enum op_class op_class;
	enum s3e (*run)(struct s3d_req *rq);
} ops[OP_MAX] = {[OP_NONE] = {"None", CLASS_READ, NULL},
#define X(name, class) [OP_##name] = {#name, CLASS_##class, op_##name},
    S3D_OP_TABLE(X)
#undef X
};

const char *
op_name(enum s3d_op op)
{
	return ops[op].name;
}

enum op_class
op_class_of(enum s3d_op op)
{
	return ops[op].op_class;
}

enum s3e
op_run(struct s3d_req *rq)
{
	return ops[rq->op].run(rq);
}

/* Sub-resources that S3 has and we have not: better refused than taken for something else. */
static bool
names_unknown_subresource(const struct s3d_req *rq)
{
	static const char *const names[] = {"accelerate", "analytics", "attributes", "cors",
	    "encryption", "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "logging",
	    "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus",
	    "publicAccessBlock", "replication", "requestPayment", "restore", "retention", "select",
	    "torrent", "versions", "website"};
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (req_param(rq, names[i]) != NULL)
			return true;
	return false;
}

static enum s3d_op
route_bucket(const struct s3d_req *rq)
{
	const char *m = rq->method;

	if (strcmp(m, "GET") == 0) {
		if (req_param(rq, "location") != NULL)
			return OP_GetBucketLocation;
		if (req_param(rq, "versioning") != NULL)
			return OP_GetBucketVersioning;
		if (req_param(rq, "tagging") != NULL)
			return OP_NONE;
		if (req_param(rq, "acl") != NULL)
			return OP_GetBucketAcl;
		if (req_param(rq, "uploads") != NULL)
			return OP_ListMultipartUploads;
		if (req_param(rq, "list-type") != NULL)
			return strcmp(req_param(rq, "list-type"), "2") == 0 ? OP_ListObjectsV2
									    : OP_NONE;
		return OP_ListObjects;
	}
	if (strcmp(m, "HEAD") == 0)
		return OP_HeadBucket;
	if (strcmp(m, "POST") == 0 && req_param(rq, "delete") != NULL)
		return OP_DeleteObjects;
	if (req_param(rq, "acl") != NULL || req_param(rq, "versioning") != NULL)
		return OP_NONE;
	if (strcmp(m, "PUT") == 0)
		return OP_CreateBucket;
	return strcmp(m, "DELETE") == 0 ? OP_DeleteBucket : OP_NONE;
}

static enum s3d_op
route_object(const struct s3d_req *rq)
{
	bool has_upload = req_param(rq, "uploadId") != NULL;
	bool is_copy = req_header(rq, "x-amz-copy-source") != NULL;
	const char *m = rq->method;

	if (strcmp(m, "GET") == 0) {
		if (req_param(rq, "acl") != NULL)
			return OP_GetObjectAcl;
		if (req_param(rq, "tagging") != NULL)
			return OP_GetObjectTagging;
		return has_upload ? OP_ListParts : OP_GetObject;
	}
	if (strcmp(m, "HEAD") == 0)
		return OP_HeadObject;
	if (strcmp(m, "PUT") == 0) {
		if (req_param(rq, "acl") != NULL)
			return OP_PutObjectAcl;
		if (has_upload)
			return is_copy ? OP_UploadPartCopy : OP_UploadPart;
		return is_copy ? OP_CopyObject : OP_PutObject;
	}
	if (strcmp(m, "POST") == 0) {
		if (req_param(rq, "uploads") != NULL)
			return OP_CreateMultipartUpload;
		return has_upload ? OP_CompleteMultipartUpload : OP_NONE;
	}
	if (strcmp(m, "DELETE") == 0)
		return has_upload ? OP_AbortMultipartUpload : OP_DeleteObject;
	return OP_NONE;
}

enum s3e
route(struct s3d_req *rq)
{
	const char *version = req_param(rq, "versionId");

	/* tags cannot be set, so asking for them is answered (with none) and nothing else */
	if (req_param(rq, "tagging") != NULL && strcmp(rq->method, "GET") != 0)
		return S3E_NotImplemented;
	if (names_unknown_subresource(rq) ||
	    (version != NULL && *version != '\0' && strcmp(version, "null") != 0))
		return S3E_NotImplemented;
	if (rq->bucket_name == NULL)
		rq->op = strcmp(rq->method, "GET") == 0 ? OP_ListBuckets : OP_NONE;
	else if (rq->key == NULL)
		rq->op = route_bucket(rq);
	else
		rq->op = route_object(rq);
	return rq->op == OP_NONE ? S3E_MethodNotAllowed : S3E_OK;
}
