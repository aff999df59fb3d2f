/* SPDX-License-Identifier: Apache-2.0 */
/* op_common.c - what several operations need: attributes, conditions, copy sources. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "s3/server/keypath.h"
#include "s3/server/req.h"

#define USER_METADATA_MAX 2048

enum s3e
op_bucket(struct s3d_req *rq, struct bucket **b)
{
	*b = store_bucket(rq->srv->store, rq->bucket_name);
	return *b != NULL ? S3E_OK : S3E_NoSuchBucket;
}

void
op_strip_quotes(const char *in, char *out, size_t cap)
{
	size_t len = strlen(in);

	if (len >= 2 && in[0] == '"' && in[len - 1] == '"') {
		in++;
		len -= 2;
	}
	snprintf(out, cap, "%.*s", (int)(len < cap ? len : cap - 1), in);
}

static bool
has_control(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 && *s != '\t')
			return true;
	return false;
}

/* Content-Encoding without the "aws-chunked" that only described the transfer. */
static void
set_content_encoding(struct objmeta *m, const char *value)
{
	struct strbuf b = STRBUF_INIT;
	size_t len;

	while (*value != '\0') {
		value += strspn(value, ", ");
		len = strcspn(value, ",");
		if (len > 0 && (len < 11 || strncasecmp(value, "aws-chunked", 11) != 0))
			strbuf_addf(&b, "%s%.*s", b.len > 0 ? "," : "", (int)len, value);
		value += len;
	}
	if (b.len > 0)
		meta_set(m, "content-encoding", strbuf_str(&b));
	strbuf_free(&b);
}

static bool
is_known_acl(const char *acl)
{
	static const char *const names[] = {"private", "public-read", "public-read-write",
	    "authenticated-read", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control",
	    "log-delivery-write"};
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i], acl) == 0)
			return true;
	return false;
}

static enum s3e
read_system_attrs(struct s3d_req *rq, struct objmeta *m)
{
	static const char *const plain[] = {"content-type", "cache-control", "content-disposition",
	    "content-language", "expires", "x-amz-acl", "x-amz-website-redirect-location",
	    "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
	    "x-amz-server-side-encryption-customer-algorithm",
	    "x-amz-server-side-encryption-customer-key-md5"};
	const char *v, *sc = req_header(rq, "x-amz-storage-class"),
		       *acl = req_header(rq, "x-amz-acl");
	const char *sse = req_header(rq, "x-amz-server-side-encryption");
	size_t i;

	for (i = 0; i < sizeof plain / sizeof plain[0]; i++) {
		v = req_header(rq, plain[i]);
		if (v == NULL)
			continue;
		if (has_control(v) || strlen(v) > 1024)
			return S3E_InvalidArgument;
		meta_set(m, plain[i], v);
	}
	v = req_header(rq, "content-encoding");
	if (v != NULL && !has_control(v) && strlen(v) < 256)
		set_content_encoding(m, v);
	if (sc != NULL && meta_sclass(sc) < 0)
		return S3E_InvalidStorageClass;
	if (sc != NULL && meta_sclass(sc) > 0)
		meta_set(m, "x-amz-storage-class", sc);
	if (acl != NULL && !is_known_acl(acl))
		return S3E_InvalidArgument;
	if (sse != NULL && strcmp(sse, "AES256") != 0 && strcmp(sse, "aws:kms") != 0 &&
	    strcmp(sse, "aws:kms:dsse") != 0)
		return S3E_InvalidArgument;
	return S3E_OK;
}

enum s3e
op_read_attrs(struct s3d_req *rq, struct objmeta *m)
{
	size_t i, total = 0;
	enum s3e e = read_system_attrs(rq, m);

	for (i = 0; i < rq->nheaders && e == S3E_OK; i++) {
		const char *name = rq->headers[i].name, *value = rq->headers[i].value;
		char lower[256], *p;
		const char *old;

		if (strncasecmp(name, "x-amz-meta-", 11) != 0)
			continue;
		total += strlen(name) - 11 + strlen(value);
		if (total > USER_METADATA_MAX || strlen(name) >= sizeof lower)
			return S3E_MetadataTooLarge;
		if (has_control(value) || strchr(name, ' ') != NULL)
			return S3E_InvalidArgument;
		snprintf(lower, sizeof lower, "%s", name);
		for (p = lower; *p != '\0'; p++)
			*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
		old = meta_get(m, lower);
		if (old != NULL) { /* repeated headers are one list */
			char *both = xasprintf("%s,%s", old, value);

			meta_set(m, lower, both);
			free(both);
		} else {
			meta_set(m, lower, value);
		}
	}
	return e;
}

enum s3e
op_read_cond(struct s3d_req *rq, struct cond *c, char etag[ETAG_CAP])
{
	const char *match = req_header(rq, "If-Match"), *none = req_header(rq, "If-None-Match");

	memset(c, 0, sizeof *c);
	if (match != NULL && none != NULL)
		return S3E_NotImplemented;
	if (none != NULL) {
		if (strcmp(none, "*") != 0)
			return S3E_NotImplemented;
		c->if_none_match = true;
	}
	if (match != NULL) {
		op_strip_quotes(match, etag, ETAG_CAP);
		c->if_match = etag;
	}
	return S3E_OK;
}

void
op_meta_headers(struct s3d_req *rq, const struct objmeta *m)
{
	time_t t = (time_t)(m->mtime_ns / 1000000000);
	const char *mode = req_header(rq, "x-amz-checksum-mode");
	char date[64];
	struct tm tm;
	size_t i;

	gmtime_r(&t, &tm);
	strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	reply_header(&rq->reply, "ETag", "\"%s\"", m->etag);
	reply_header(&rq->reply, "Last-Modified", "%s", date);
	reply_header(&rq->reply, "Accept-Ranges", "bytes");
	if (meta_get(m, "content-type") == NULL)
		reply_header(&rq->reply, "Content-Type", "binary/octet-stream");
	for (i = 0; i < m->nheaders; i++) {
		const char *name = m->headers[i].name;

		if (strcmp(name, "x-amz-acl") == 0)
			continue;
		if (strncmp(name, "x-amz-checksum-", 15) == 0 &&
		    (mode == NULL || strcasecmp(mode, "ENABLED") != 0))
			continue;
		reply_header(&rq->reply, name, "%s", m->headers[i].value);
	}
}

static bool
etag_list_has(const char *list, const char *etag)
{
	char one[ETAG_CAP + 2];
	size_t len;

	for (; *list != '\0'; list += len) {
		list += strspn(list, ", ");
		len = strcspn(list, ",");
		if (len == 1 && *list == '*')
			return true;
		if (len < sizeof one) {
			char bare[ETAG_CAP + 2];

			snprintf(one, sizeof one, "%.*s", (int)len, list);
			op_strip_quotes(one, bare, sizeof bare);
			if (strcmp(bare, etag) == 0)
				return true;
		}
	}
	return false;
}

static bool
http_date(const char *text, time_t *out)
{
	struct tm tm = {0};

	if (text == NULL || (strptime(text, "%a, %d %b %Y %H:%M:%S", &tm) == NULL &&
				strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL))
		return false;
	*out = timegm(&tm);
	return true;
}

static const char *
prefixed(struct s3d_req *rq, const char *prefix, const char *name)
{
	char full[96];

	snprintf(full, sizeof full, "%s%s", prefix, name);
	return req_header(rq, full);
}

enum s3e
op_read_conditions(struct s3d_req *rq, const char *prefix, const struct objmeta *m)
{
	const char *match = prefixed(rq, prefix, "If-Match");
	const char *none = prefixed(rq, prefix, "If-None-Match");
	enum s3e unchanged = *prefix != '\0' ? S3E_PreconditionFailed : S3E_NotModified;
	time_t since, mtime = (time_t)(m->mtime_ns / 1000000000);

	if (match != NULL && !etag_list_has(match, m->etag))
		return S3E_PreconditionFailed;
	if (match == NULL && http_date(prefixed(rq, prefix, "If-Unmodified-Since"), &since) &&
	    mtime > since)
		return S3E_PreconditionFailed;
	if (none != NULL && etag_list_has(none, m->etag))
		return unchanged;
	if (none == NULL && http_date(prefixed(rq, prefix, "If-Modified-Since"), &since) &&
	    mtime <= since)
		return unchanged;
	return S3E_OK;
}

/* Objects stored "with a customer's key" ask for that key again, as S3 does. */
enum s3e
op_check_ssec(struct s3d_req *rq, const char *prefix, const struct objmeta *m)
{
	const char *want = meta_get(m, "x-amz-server-side-encryption-customer-key-md5"), *have;

	if (want == NULL)
		return S3E_OK;
	have = prefixed(rq, prefix, "server-side-encryption-customer-key-md5");
	if (have == NULL)
		return req_fail(rq, S3E_InvalidRequest,
		    "The object was stored using a form of Server Side Encryption. The correct "
		    "parameters must be provided to retrieve the object.");
	return strcmp(want, have) == 0 ? S3E_OK : S3E_AccessDenied;
}

enum s3e
op_copy_source(struct s3d_req *rq, struct bucket **b, char **key, int *fd, struct objmeta *m)
{
	const char *src = req_header(rq, "x-amz-copy-source"), *end, *slash;
	char *decoded, *name;
	enum s3e e;

	*key = NULL;
	if (*src == '/')
		src++;
	end = strstr(src, "?versionId=");
	decoded = s3_uri_decode(src, end != NULL ? (size_t)(end - src) : strlen(src));
	slash = decoded != NULL ? strchr(decoded, '/') : NULL;
	if (slash == NULL || slash[1] == '\0' || strlen(slash + 1) > KEYPATH_KEY_MAX) {
		free(decoded);
		return req_fail(rq, S3E_InvalidArgument,
		    "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
	}
	name = xstrndup(decoded, (size_t)(slash - decoded));
	*b = store_bucket(rq->srv->store, name);
	free(name);
	e = *b == NULL ? S3E_NoSuchBucket : store_get(*b, slash + 1, fd, m);
	if (e == S3E_OK)
		e = op_read_conditions(rq, "x-amz-copy-source-", m);
	if (e == S3E_OK)
		e = op_check_ssec(rq, "x-amz-copy-source-", m);
	if (e == S3E_OK && meta_is_archived(m))
		e = S3E_InvalidObjectState;
	if (e == S3E_OK)
		*key = xstrdup(slash + 1);
	free(decoded);
	return e;
}
