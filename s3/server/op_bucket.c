/* SPDX-License-Identifier: Apache-2.0 */
/* op_bucket.c - buckets, their small sub-resources, and ACLs. */
#include <stdlib.h>
#include <string.h>

#include "s3/server/req.h"
#include "s3/server/xml.h"

#define XMLNS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static void
owner(struct strbuf *x)
{
	strbuf_adds(x, "<Owner><ID>causeway</ID><DisplayName>causeway</DisplayName></Owner>");
}

enum s3e
op_ListBuckets(struct s3d_req *rq)
{
	struct store *st = rq->srv->store;
	struct strbuf *x = &rq->reply.body;
	size_t i;

	reply_xml(&rq->reply);
	strbuf_adds(x, "<ListAllMyBucketsResult" XMLNS ">");
	owner(x);
	strbuf_adds(x, "<Buckets>");
	pthread_rwlock_rdlock(&st->lock);
	for (i = 0; i < st->nbuckets; i++) {
		if (st->buckets[i]->is_gone)
			continue;
		strbuf_adds(x, "<Bucket>");
		xml_element(x, "Name", st->buckets[i]->name);
		xml_time(x, "CreationDate", st->buckets[i]->created_ns);
		strbuf_adds(x, "</Bucket>");
	}
	pthread_rwlock_unlock(&st->lock);
	strbuf_adds(x, "</Buckets></ListAllMyBucketsResult>");
	return S3E_OK;
}

enum s3e
op_CreateBucket(struct s3d_req *rq)
{
	enum s3e e = store_bucket_create(rq->srv->store, rq->bucket_name);

	if (e == S3E_OK)
		reply_header(&rq->reply, "Location", "/%s", rq->bucket_name);
	return e;
}

enum s3e
op_HeadBucket(struct s3d_req *rq)
{
	struct bucket *b;

	reply_header(&rq->reply, "x-amz-bucket-region", "%s", rq->srv->region);
	return op_bucket(rq, &b);
}

enum s3e
op_DeleteBucket(struct s3d_req *rq)
{
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	rq->reply.status = 204;
	return e == S3E_OK ? store_bucket_delete(rq->srv->store, b) : e;
}

enum s3e
op_GetBucketLocation(struct s3d_req *rq)
{
	struct strbuf *x = &rq->reply.body;
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	if (e != S3E_OK)
		return e;
	reply_xml(&rq->reply);
	strbuf_adds(x, "<LocationConstraint" XMLNS ">");
	if (strcmp(rq->srv->region, "us-east-1") != 0) /* which is said by silence */
		xml_text(x, rq->srv->region);
	strbuf_adds(x, "</LocationConstraint>");
	return S3E_OK;
}

enum s3e
op_GetBucketVersioning(struct s3d_req *rq)
{
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	if (e != S3E_OK)
		return e;
	reply_xml(&rq->reply);
	strbuf_adds(&rq->reply.body, "<VersioningConfiguration" XMLNS "/>");
	return S3E_OK;
}

static void
grant(struct strbuf *x, const char *group, const char *permission)
{
	strbuf_adds(x, "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" ");
	if (group == NULL)
		strbuf_adds(x, "xsi:type=\"CanonicalUser\"><ID>causeway</ID>"
			       "<DisplayName>causeway</DisplayName>");
	else
		strbuf_addf(x,
		    "xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/global/%s</URI>",
		    group);
	strbuf_addf(x, "</Grantee><Permission>%s</Permission></Grant>", permission);
}

static void
acl_reply(struct s3d_req *rq, const char *acl)
{
	struct strbuf *x = &rq->reply.body;

	reply_xml(&rq->reply);
	strbuf_adds(x, "<AccessControlPolicy" XMLNS ">");
	owner(x);
	strbuf_adds(x, "<AccessControlList>");
	grant(x, NULL, "FULL_CONTROL");
	if (acl != NULL && strncmp(acl, "public-read", 11) == 0)
		grant(x, "AllUsers", "READ");
	if (acl != NULL && strcmp(acl, "public-read-write") == 0)
		grant(x, "AllUsers", "WRITE");
	if (acl != NULL && strcmp(acl, "authenticated-read") == 0)
		grant(x, "AuthenticatedUsers", "READ");
	strbuf_adds(x, "</AccessControlList></AccessControlPolicy>");
}

enum s3e
op_GetBucketAcl(struct s3d_req *rq)
{
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		acl_reply(rq, NULL);
	return e;
}

enum s3e
op_GetObjectAcl(struct s3d_req *rq)
{
	struct objmeta m = {0};
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		e = store_get(b, rq->key, NULL, &m);
	if (e == S3E_OK)
		acl_reply(rq, meta_get(&m, "x-amz-acl"));
	meta_free(&m);
	return e;
}

enum s3e
op_GetObjectTagging(struct s3d_req *rq)
{
	struct objmeta m = {0};
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		e = store_get(b, rq->key, NULL, &m);
	if (e == S3E_OK) {
		reply_xml(&rq->reply);
		strbuf_adds(&rq->reply.body, "<Tagging" XMLNS "><TagSet></TagSet></Tagging>");
	}
	meta_free(&m);
	return e;
}

enum s3e
op_PutObjectAcl(struct s3d_req *rq)
{
	struct objmeta given = {0};
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		e = op_read_attrs(rq, &given); /* validates the name */
	if (e == S3E_OK && meta_get(&given, "x-amz-acl") == NULL)
		e = S3E_NotImplemented; /* grants one by one */
	if (e == S3E_OK)
		e = store_set_header(b, rq->key, "x-amz-acl", meta_get(&given, "x-amz-acl"));
	meta_free(&given);
	return e;
}
