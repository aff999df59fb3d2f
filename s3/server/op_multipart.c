/* SPDX-License-Identifier: Apache-2.0 */
/* op_multipart.c - the multipart operations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "s3/server/copy.h"
#include "s3/server/range.h"
#include "s3/server/req.h"
#include "s3/server/upload.h"
#include "s3/server/xml.h"

#define XMLNS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

enum s3e
op_CreateMultipartUpload(struct s3d_req *rq)
{
	struct strbuf *x = &rq->reply.body;
	struct objmeta m = {0};
	char id[UPLOAD_ID_LEN + 1];
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		e = op_read_attrs(rq, &m);
	if (e == S3E_OK)
		e = upload_create(b, rq->key, &m, id);
	meta_free(&m);
	if (e != S3E_OK)
		return e;
	reply_xml(&rq->reply);
	strbuf_adds(x, "<InitiateMultipartUploadResult" XMLNS ">");
	xml_element(x, "Bucket", rq->bucket_name);
	xml_element(x, "Key", rq->key);
	xml_element(x, "UploadId", id);
	strbuf_adds(x, "</InitiateMultipartUploadResult>");
	return S3E_OK;
}

static enum s3e
part_target(struct s3d_req *rq, struct bucket **b, unsigned int *number)
{
	enum s3e e = op_bucket(rq, b);

	if (e != S3E_OK)
		return e;
	if (req_param_uint(rq, "partNumber", 0, UINT32_MAX, number) != 0 || *number < 1 ||
	    *number > UPLOAD_PART_MAX)
		return req_fail(rq, S3E_InvalidArgument,
		    "Part number must be an integer between 1 and 10000, inclusive");
	return upload_exists(*b, rq->key, req_param(rq, "uploadId"));
}

enum s3e
op_UploadPart(struct s3d_req *rq)
{
	unsigned int number;
	struct bucket *b;
	enum s3e e = part_target(rq, &b, &number);

	if (e == S3E_OK)
		e = upload_put_part(
		    b, rq->key, req_param(rq, "uploadId"), number, &rq->body.tmp, rq->body.md5_hex);
	if (e == S3E_OK)
		reply_header(&rq->reply, "ETag", "\"%s\"", rq->body.md5_hex);
	return e;
}

static enum s3e
copy_part(struct s3d_req *rq, int fd, const struct objmeta *src, char md5_hex[33])
{
	const char *range = req_header(rq, "x-amz-copy-source-range");
	struct digest *md5;
	uint8_t sum[MD5_LEN];
	uint64_t off = 0, len = src->size;
	int err = range != NULL ? range_parse_copy(range, src->size, &off, &len) : 0;

	if (err != 0)
		return err == -EINVAL ? S3E_InvalidArgument : S3E_InvalidRange;
	md5 = digest_new("MD5");
	err = store_tmp(rq->srv->store, &rq->body.tmp);
	if (err == 0)
		err = copy_bytes(fd, off, len, rq->body.tmp.fd, md5);
	digest_final(md5, sum);
	digest_hex(sum, sizeof sum, md5_hex);
	return err == 0 ? S3E_OK : S3E_InternalError;
}

enum s3e
op_UploadPartCopy(struct s3d_req *rq)
{
	struct strbuf *x = &rq->reply.body;
	struct objmeta src = {0};
	struct bucket *b, *from;
	unsigned int number;
	char md5_hex[33], *key = NULL;
	int fd = -1;
	enum s3e e = part_target(rq, &b, &number);

	if (e == S3E_OK)
		e = op_copy_source(rq, &from, &key, &fd, &src);
	if (e == S3E_OK)
		e = copy_part(rq, fd, &src, md5_hex);
	if (e == S3E_OK)
		e = upload_put_part(
		    b, rq->key, req_param(rq, "uploadId"), number, &rq->body.tmp, md5_hex);
	if (e == S3E_OK) {
		reply_xml(&rq->reply);
		strbuf_adds(x, "<CopyPartResult" XMLNS ">");
		xml_time(x, "LastModified", src.mtime_ns);
		strbuf_addf(x, "<ETag>&quot;%s&quot;</ETag></CopyPartResult>", md5_hex);
	}
	if (fd >= 0)
		close(fd);
	free(key);
	meta_free(&src);
	return e;
}

enum s3e
op_CompleteMultipartUpload(struct s3d_req *rq)
{
	struct strbuf *x = &rq->reply.body;
	struct upload_part *want;
	char etag[ETAG_CAP];
	struct objmeta m;
	struct bucket *b;
	struct cond cond;
	enum s3e e = op_bucket(rq, &b);
	int n;

	if (e == S3E_OK)
		e = op_read_cond(rq, &cond, etag);
	if (e != S3E_OK)
		return e;
	n = xml_parse_complete(strbuf_str(&rq->body.mem), rq->body.mem.len, &want);
	if (n < 0)
		return S3E_MalformedXML;
	e = upload_complete(b, rq->key, req_param(rq, "uploadId"), want, (size_t)n, &cond, &m);
	free(want);
	if (e != S3E_OK)
		return e;
	reply_xml(&rq->reply);
	strbuf_adds(x, "<CompleteMultipartUploadResult" XMLNS ">");
	strbuf_adds(x, "<Location>/");
	xml_text(x, rq->bucket_name);
	strbuf_adds(x, "/");
	xml_text(x, rq->key);
	strbuf_adds(x, "</Location>");
	xml_element(x, "Bucket", rq->bucket_name);
	xml_element(x, "Key", rq->key);
	strbuf_addf(x, "<ETag>&quot;%s&quot;</ETag></CompleteMultipartUploadResult>", m.etag);
	meta_free(&m);
	return S3E_OK;
}

enum s3e
op_AbortMultipartUpload(struct s3d_req *rq)
{
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	rq->reply.status = 204;
	return e == S3E_OK ? upload_abort(b, rq->key, req_param(rq, "uploadId")) : e;
}

enum s3e
op_ListParts(struct s3d_req *rq)
{
	struct strbuf *x = &rq->reply.body, items = STRBUF_INIT;
	unsigned int marker, max, count = 0, last = 0;
	struct upload_part *parts;
	struct objmeta attrs = {0};
	bool is_truncated = false;
	struct bucket *b;
	int sclass;
	size_t i, n;
	enum s3e e = op_bucket(rq, &b);

	if (e != S3E_OK)
		return e;
	if (req_param_uint(rq, "part-number-marker", 0, UINT32_MAX, &marker) != 0 ||
	    req_param_uint(rq, "max-parts", 1000, 1000, &max) != 0)
		return S3E_InvalidArgument;
	e = upload_parts(b, rq->key, req_param(rq, "uploadId"), &parts, &n, &attrs);
	if (e != S3E_OK)
		return e;
	for (i = 0; i < n; i++) {
		if (parts[i].number <= marker)
			continue;
		if (count == max) {
			is_truncated = max > 0;
			break;
		}
		count++;
		last = parts[i].number;
		strbuf_addf(&items, "<Part><PartNumber>%u</PartNumber>", last);
		xml_time(&items, "LastModified", parts[i].mtime_ns);
		strbuf_addf(&items, "<ETag>&quot;%s&quot;</ETag><Size>%llu</Size></Part>",
		    parts[i].etag, (unsigned long long)parts[i].size);
	}
	sclass = meta_sclass(meta_get(&attrs, "x-amz-storage-class"));
	reply_xml(&rq->reply);
	strbuf_adds(x, "<ListPartsResult" XMLNS ">");
	xml_element(x, "Bucket", rq->bucket_name);
	xml_element(x, "Key", rq->key);
	xml_element(x, "UploadId", req_param(rq, "uploadId"));
	strbuf_addf(x,
	    "<StorageClass>%s</StorageClass><PartNumberMarker>%u</PartNumberMarker>"
	    "<NextPartNumberMarker>%u</NextPartNumberMarker><MaxParts>%u</MaxParts>"
	    "<IsTruncated>%s</IsTruncated>",
	    meta_sclass_name(sclass < 0 ? 0 : (unsigned int)sclass), marker, last, max,
	    is_truncated ? "true" : "false");
	strbuf_add(x, strbuf_str(&items), items.len);
	strbuf_adds(x, "</ListPartsResult>");
	strbuf_free(&items);
	free(parts);
	meta_free(&attrs);
	return S3E_OK;
}

struct upload_page {
	const char *prefix, *delimiter, *key_marker, *id_marker;
	unsigned int max, count;
	bool is_url, is_truncated;
	struct strbuf items, prefixes;
	const char *last_key, *last_id;
	char *last_prefix;
};

/* Was this upload given on an earlier page? */
static bool
is_before(const struct upload_page *pg, const struct upload_info *u, bool *saw_marker)
{
	int c;

	if (pg->key_marker[0] == '\0')
		return false;
	c = strcmp(u->key, pg->key_marker);
	if (c != 0)
		return c < 0;
	if (pg->id_marker[0] == '\0' || *saw_marker)
		return pg->id_marker[0] == '\0';
	*saw_marker = strcmp(u->id, pg->id_marker) == 0;
	return true;
}

static void
add_upload(struct upload_page *pg, const struct upload_info *u)
{
	struct strbuf *x = &pg->items;

	strbuf_adds(x, "<Upload>");
	xml_key(x, "Key", u->key, pg->is_url);
	xml_element(x, "UploadId", u->id);
	strbuf_adds(x, "<Initiator><ID>causeway</ID><DisplayName>causeway</DisplayName></Initiator>"
		       "<Owner><ID>causeway</ID><DisplayName>causeway</DisplayName></Owner>");
	xml_element(x, "StorageClass", meta_sclass_name(u->sclass));
	xml_time(x, "Initiated", u->initiated_ns);
	strbuf_adds(x, "</Upload>");
	pg->last_key = u->key;
	pg->last_id = u->id;
}

static void
fill_uploads(struct upload_page *pg, const struct upload_info *list, size_t n)
{
	size_t i, plen = strlen(pg->prefix);
	bool saw_marker = false;
	const char *d;

	for (i = 0; i < n; i++) {
		const struct upload_info *u = &list[i];

		if (strncmp(u->key, pg->prefix, plen) != 0 || is_before(pg, u, &saw_marker))
			continue;
		d = pg->delimiter[0] != '\0' ? strstr(u->key + plen, pg->delimiter) : NULL;
		if (d != NULL && pg->last_prefix != NULL &&
		    strncmp(u->key, pg->last_prefix, strlen(pg->last_prefix)) == 0)
			continue;
		if (pg->count == pg->max) {
			pg->is_truncated = pg->max > 0;
			return;
		}
		pg->count++;
		if (d == NULL) {
			add_upload(pg, u);
			continue;
		}
		free(pg->last_prefix);
		pg->last_prefix = xstrndup(u->key, (size_t)(d - u->key) + strlen(pg->delimiter));
		strbuf_adds(&pg->prefixes, "<CommonPrefixes>");
		xml_key(&pg->prefixes, "Prefix", pg->last_prefix, pg->is_url);
		strbuf_adds(&pg->prefixes, "</CommonPrefixes>");
		/* Behind every upload below the prefix: the markers name the last key seen. */
		pg->last_key = u->key;
		pg->last_id = u->id;
	}
}

static const char *
param_or_empty(const struct s3d_req *rq, const char *name)
{
	const char *v = req_param(rq, name);

	return v != NULL ? v : "";
}

enum s3e
op_ListMultipartUploads(struct s3d_req *rq)
{
	struct strbuf *x = &rq->reply.body;
	struct upload_page pg = {.prefix = param_or_empty(rq, "prefix"),
	    .delimiter = param_or_empty(rq, "delimiter"),
	    .key_marker = param_or_empty(rq, "key-marker"),
	    .id_marker = param_or_empty(rq, "upload-id-marker"),
	    .is_url = strcmp(param_or_empty(rq, "encoding-type"), "url") == 0};
	struct upload_info *list;
	struct bucket *b;
	size_t n;
	enum s3e e = op_bucket(rq, &b);

	if (e != S3E_OK)
		return e;
	if (req_param_uint(rq, "max-uploads", 1000, 1000, &pg.max) != 0)
		return S3E_InvalidArgument;
	n = upload_list(b, &list);
	fill_uploads(&pg, list, n);
	reply_xml(&rq->reply);
	strbuf_adds(x, "<ListMultipartUploadsResult" XMLNS ">");
	xml_element(x, "Bucket", rq->bucket_name);
	xml_key(x, "KeyMarker", pg.key_marker, pg.is_url);
	xml_element(x, "UploadIdMarker", pg.id_marker);
	xml_key(x, "Prefix", pg.prefix, pg.is_url);
	if (pg.delimiter[0] != '\0')
		xml_key(x, "Delimiter", pg.delimiter, pg.is_url);
	if (pg.is_url)
		xml_element(x, "EncodingType", "url");
	if (pg.is_truncated) {
		xml_key(x, "NextKeyMarker", pg.last_key, pg.is_url);
		xml_element(x, "NextUploadIdMarker", pg.last_id);
	}
	strbuf_addf(x, "<MaxUploads>%u</MaxUploads><IsTruncated>%s</IsTruncated>", pg.max,
	    pg.is_truncated ? "true" : "false");
	strbuf_add(x, strbuf_str(&pg.items), pg.items.len);
	strbuf_add(x, strbuf_str(&pg.prefixes), pg.prefixes.len);
	strbuf_adds(x, "</ListMultipartUploadsResult>");
	strbuf_free(&pg.items);
	strbuf_free(&pg.prefixes);
	free(pg.last_prefix);
	upload_list_free(list, n);
	return S3E_OK;
}
