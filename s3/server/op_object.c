/* SPDX-License-Identifier: Apache-2.0 */
/* op_object.c - put, get, head, delete, copy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "s3/server/copy.h"
#include "s3/server/range.h"
#include "s3/server/req.h"
#include "s3/server/xml.h"

static void
echo_sse(struct s3d_req *rq, const struct objmeta *m)
{
	static const char *const names[] = {"x-amz-server-side-encryption",
	    "x-amz-server-side-encryption-aws-kms-key-id",
	    "x-amz-server-side-encryption-customer-algorithm",
	    "x-amz-server-side-encryption-customer-key-md5"};
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (meta_get(m, names[i]) != NULL)
			reply_header(&rq->reply, names[i], "%s", meta_get(m, names[i]));
}

/* Checksums that were promised and verified are kept with the object. */
static void
keep_checksums(struct s3d_req *rq, struct objmeta *m)
{
	static const char *const names[] = {
	    "x-amz-checksum-crc32", "x-amz-checksum-crc32c", "x-amz-checksum-sha256"};
	size_t i, j;

	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *v = req_header(rq, names[i]);

		for (j = 0; j < rq->body.ntrailers && v == NULL; j++)
			if (strcasecmp(rq->body.trailers[j].name, names[i]) == 0)
				v = rq->body.trailers[j].value;
		if (v == NULL)
			continue;
		meta_set(m, names[i], v);
		reply_header(&rq->reply, names[i], "%s", v);
	}
}

enum s3e
op_PutObject(struct s3d_req *rq)
{
	struct objmeta m = {0};
	char etag[ETAG_CAP];
	struct bucket *b;
	struct cond cond;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		e = op_read_cond(rq, &cond, etag);
	if (e == S3E_OK)
		e = op_read_attrs(rq, &m);
	if (e == S3E_OK) {
		keep_checksums(rq, &m);
		snprintf(m.etag, sizeof m.etag, "%s", rq->body.md5_hex);
		e = store_put(b, rq->key, &rq->body.tmp, &m, &cond);
	}
	if (e == S3E_OK) {
		reply_header(&rq->reply, "ETag", "\"%s\"", m.etag);
		echo_sse(rq, &m);
	}
	meta_free(&m);
	return e;
}

/* response-content-type=... of the query replace headers of the reply. */
static void
override_headers(struct s3d_req *rq)
{
	static const char *const names[] = {"content-type", "content-language", "expires",
	    "cache-control", "content-disposition", "content-encoding"};
	struct reply *rp = &rq->reply;
	char param[64];
	size_t i, j;

	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *v;

		snprintf(param, sizeof param, "response-%s", names[i]);
		v = req_param(rq, param);
		if (v == NULL || strpbrk(v, "\r\n") != NULL)
			continue;
		for (j = 0; j < rp->nheaders && strcasecmp(rp->headers[j].name, names[i]) != 0; j++)
			;
		if (j == rp->nheaders) {
			reply_header(rp, names[i], "%s", v);
		} else {
			free(rp->headers[j].value);
			rp->headers[j].value = xstrdup(v);
		}
	}
}

static enum s3e
get_or_head(struct s3d_req *rq)
{
	struct objmeta m = {0};
	uint64_t off, len;
	struct bucket *b;
	int fd = -1, ranged = 0;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		e = store_get(b, rq->key, &fd, &m);
	if (e == S3E_OK)
		e = op_check_ssec(rq, "x-amz-", &m);
	if (e == S3E_OK) {
		e = op_read_conditions(rq, "", &m);
		if (e == S3E_NotModified)
			reply_header(&rq->reply, "ETag", "\"%s\"", m.etag);
	}
	if (e == S3E_OK && meta_is_archived(&m) && !rq->is_head)
		e = S3E_InvalidObjectState;
	if (e == S3E_OK) {
		ranged = range_parse(req_header(rq, "Range"), m.size, &off, &len);
		if (ranged < 0)
			e = S3E_InvalidRange;
	}
	if (e == S3E_OK) {
		op_meta_headers(rq, &m);
		override_headers(rq);
		rq->reply.off = off;
		rq->reply.len = len;
		if (ranged == 1) {
			rq->reply.status = 206;
			reply_header(&rq->reply, "Content-Range", "bytes %llu-%llu/%llu",
			    (unsigned long long)off, (unsigned long long)(off + len - 1),
			    (unsigned long long)m.size);
		}
		if (!rq->is_head && len > 0) {
			rq->reply.fd = fd;
			fd = -1;
		}
	}
	if (fd >= 0)
		close(fd);
	meta_free(&m);
	return e;
}

enum s3e
op_GetObject(struct s3d_req *rq)
{
	return get_or_head(rq);
}

enum s3e
op_HeadObject(struct s3d_req *rq)
{
	return get_or_head(rq);
}

enum s3e
op_DeleteObject(struct s3d_req *rq)
{
	const char *match = req_header(rq, "If-Match");
	struct cond cond = {0};
	char etag[ETAG_CAP];
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	if (match != NULL) {
		op_strip_quotes(match, etag, sizeof etag);
		cond.if_match = etag;
	}
	if (e == S3E_OK)
		e = store_delete(b, rq->key, &cond);
	rq->reply.status = 204;
	return e;
}

static void
delete_result(struct s3d_req *rq, const char *key, enum s3e e, bool is_quiet)
{
	struct strbuf *x = &rq->reply.body;
	const struct s3err_info *i = s3err_info(e);

	if (e == S3E_OK && is_quiet)
		return;
	strbuf_adds(x, e == S3E_OK ? "<Deleted>" : "<Error>");
	xml_element(x, "Key", key);
	if (e != S3E_OK) {
		xml_element(x, "Code", i->code);
		xml_element(x, "Message", i->text);
	}
	strbuf_adds(x, e == S3E_OK ? "</Deleted>" : "</Error>");
}

enum s3e
op_DeleteObjects(struct s3d_req *rq)
{
	struct xml_delete_item *items;
	bool is_quiet;
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);
	int i, n;

	if (e != S3E_OK)
		return e;
	n = xml_parse_delete(strbuf_str(&rq->body.mem), rq->body.mem.len, &items, &is_quiet);
	if (n < 0)
		return S3E_MalformedXML;
	reply_xml(&rq->reply);
	strbuf_adds(
	    &rq->reply.body, "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (i = 0; i < n; i++) {
		struct cond cond = {.if_match = items[i].etag[0] != '\0' ? items[i].etag : NULL};

		delete_result(rq, items[i].key, store_delete(b, items[i].key, &cond), is_quiet);
	}
	strbuf_adds(&rq->reply.body, "</DeleteResult>");
	xml_delete_free(items, n);
	return S3E_OK;
}

/* Attributes of the copy: the source's, or those of the request. */
static enum s3e
copy_attrs(struct s3d_req *rq, const struct objmeta *src, struct objmeta *m, bool *is_replace)
{
	const char *d = req_header(rq, "x-amz-metadata-directive");
	static const char *const own[] = {"x-amz-storage-class", "x-amz-acl",
	    "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
	    "x-amz-server-side-encryption-customer-algorithm",
	    "x-amz-server-side-encryption-customer-key-md5"};
	struct objmeta given = {0};
	enum s3e e;
	size_t i;

	*is_replace = d != NULL && strcmp(d, "REPLACE") == 0;
	if (d != NULL && !*is_replace && strcmp(d, "COPY") != 0)
		return S3E_InvalidArgument;
	if (*is_replace) {
		for (i = 0; i < src->nheaders; i++)
			if (strncmp(src->headers[i].name, "x-amz-checksum-", 15) == 0)
				meta_set(m, src->headers[i].name, src->headers[i].value);
		return op_read_attrs(rq, m);
	}
	meta_copy(m, src);
	e = op_read_attrs(rq, &given);
	/* Storage class, ACL and encryption never come along; they are the request's. */
	for (i = 0; i < sizeof own / sizeof own[0] && e == S3E_OK; i++)
		meta_set(m, own[i], meta_get(&given, own[i]));
	meta_free(&given);
	return e;
}

/* Bytes and ETag: a multipart source gets the plain MD5 that a single copy has. */
static enum s3e
copy_data(struct s3d_req *rq, int fd, const struct objmeta *src, struct objmeta *m)
{
	bool is_plain = strchr(src->etag, '-') == NULL;
	struct digest *md5 = is_plain ? NULL : digest_new("MD5");
	uint8_t sum[MD5_LEN];
	int err = store_tmp(rq->srv->store, &rq->body.tmp);

	if (err == 0)
		err = copy_bytes(fd, 0, src->size, rq->body.tmp.fd, md5);
	snprintf(m->etag, sizeof m->etag, "%s", src->etag);
	if (md5 != NULL) {
		digest_final(md5, sum);
		digest_hex(sum, sizeof sum, m->etag);
	}
	return err == 0 ? S3E_OK : S3E_InternalError;
}

static void
copy_reply(struct s3d_req *rq, const char *element, const char *etag, int64_t mtime_ns)
{
	char quoted[ETAG_CAP + 2];

	snprintf(quoted, sizeof quoted, "\"%s\"", etag);
	reply_xml(&rq->reply);
	strbuf_addf(
	    &rq->reply.body, "<%s xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", element);
	xml_time(&rq->reply.body, "LastModified", mtime_ns);
	xml_element(&rq->reply.body, "ETag", quoted);
	strbuf_addf(&rq->reply.body, "</%s>", element);
}

enum s3e
op_CopyObject(struct s3d_req *rq)
{
	struct objmeta src = {0}, m = {0};
	struct bucket *from = NULL, *b;
	char etag[ETAG_CAP], *key = NULL;
	bool is_replace = false;
	struct cond cond;
	int fd = -1;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		e = op_read_cond(rq, &cond, etag);
	if (e == S3E_OK)
		e = op_copy_source(rq, &from, &key, &fd, &src);
	if (e == S3E_OK)
		e = copy_attrs(rq, &src, &m, &is_replace);
	if (e == S3E_OK && from == b && strcmp(key, rq->key) == 0 && !is_replace &&
	    req_header(rq, "x-amz-storage-class") == NULL &&
	    req_header(rq, "x-amz-server-side-encryption") == NULL)
		e = req_fail(rq, S3E_InvalidRequest,
		    "This copy request is illegal because it is trying to copy an object to itself "
		    "without changing the object's metadata, storage class, website redirect "
		    "location or encryption attributes.");
	if (e == S3E_OK)
		e = copy_data(rq, fd, &src, &m);
	if (e == S3E_OK)
		e = store_put(b, rq->key, &rq->body.tmp, &m, &cond);
	if (e == S3E_OK) {
		copy_reply(rq, "CopyObjectResult", m.etag, m.mtime_ns);
		echo_sse(rq, &m);
	}
	if (fd >= 0)
		close(fd);
	free(key);
	meta_free(&src);
	meta_free(&m);
	return e;
}
