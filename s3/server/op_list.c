/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_list.c - ListObjects, both versions.  An item is an object or a common prefix; the page resumes
 * behind the last item given, and skipping a common prefix costs one seek, not its objects.
 */
#include <stdlib.h>
#include <string.h>

#include "s3/server/req.h"
#include "s3/server/xml.h"

struct page {
	const char *prefix, *delimiter;
	char *after; /* items up to and including this one were given; NULL = from the start */
	unsigned int max_keys;
	bool is_url, with_owner;
	/* result */
	struct strbuf items, prefixes;
	unsigned int count;
	bool is_truncated;
	char *last;
};

static void
add_object(struct page *pg, const struct kent *e)
{
	struct strbuf *x = &pg->items;

	strbuf_adds(x, "<Contents>");
	xml_key(x, "Key", e->key, pg->is_url);
	xml_time(x, "LastModified", e->mtime_ns);
	strbuf_addf(x,
	    "<ETag>&quot;%s&quot;</ETag><Size>%llu</Size><StorageClass>%s</StorageClass>", e->etag,
	    (unsigned long long)e->size, meta_sclass_name(e->sclass));
	if (pg->with_owner)
		strbuf_adds(
		    x, "<Owner><ID>causeway</ID><DisplayName>causeway</DisplayName></Owner>");
	strbuf_adds(x, "</Contents>");
}

/* The common prefix that e rolls up into: its length, or 0. */
static size_t
common_prefix(const struct page *pg, const struct kent *e)
{
	size_t plen = strlen(pg->prefix), dlen = strlen(pg->delimiter);
	const char *d;

	if (dlen == 0)
		return 0;
	d = strstr(e->key + plen, pg->delimiter);
	return d != NULL ? (size_t)(d - e->key) + dlen : 0;
}

static struct kent *
first_entry(struct keyset *keys, const struct page *pg)
{
	size_t plen = strlen(pg->prefix);

	if (pg->after != NULL && strcmp(pg->after, pg->prefix) >= 0)
		return keyset_seek(keys, pg->after, strlen(pg->after), true);
	return keyset_seek(keys, pg->prefix, plen, false);
}

static void
fill(struct keyset *keys, struct page *pg)
{
	size_t plen = strlen(pg->prefix), clen;
	struct kent *e = first_entry(keys, pg);
	char *cp;

	while (e != NULL && e->key_len >= plen && memcmp(e->key, pg->prefix, plen) == 0) {
		clen = common_prefix(pg, e);
		cp = clen > 0 ? xstrndup(e->key, clen) : NULL;
		if (cp != NULL && pg->after != NULL && strcmp(cp, pg->after) == 0) {
			/* The previous page ended with this prefix. */
			e = keyset_seek_past_prefix(keys, cp, clen);
			free(cp);
			continue;
		}
		if (pg->count == pg->max_keys) {
			pg->is_truncated = true;
			free(cp);
			break;
		}
		pg->count++;
		free(pg->last);
		if (cp != NULL) {
			strbuf_adds(&pg->prefixes, "<CommonPrefixes>");
			xml_key(&pg->prefixes, "Prefix", cp, pg->is_url);
			strbuf_adds(&pg->prefixes, "</CommonPrefixes>");
			e = keyset_seek_past_prefix(keys, cp, clen);
			pg->last = cp;
		} else {
			add_object(pg, e);
			pg->last = xstrdup(e->key);
			e = keyset_next(e);
		}
	}
	if (pg->max_keys == 0)
		pg->is_truncated = false;
}

static enum s3e
read_common(struct s3d_req *rq, struct page *pg)
{
	const char *encoding = req_param(rq, "encoding-type");

	pg->prefix = req_param(rq, "prefix");
	pg->delimiter = req_param(rq, "delimiter");
	if (pg->prefix == NULL)
		pg->prefix = "";
	if (pg->delimiter == NULL)
		pg->delimiter = "";
	if (req_param_uint(rq, "max-keys", 1000, 1000, &pg->max_keys) != 0)
		return S3E_InvalidArgument;
	if (encoding != NULL && strcmp(encoding, "url") != 0)
		return S3E_InvalidArgument;
	pg->is_url = encoding != NULL;
	return S3E_OK;
}

static void
begin_xml(struct s3d_req *rq, const struct page *pg)
{
	struct strbuf *x = &rq->reply.body;

	reply_xml(&rq->reply);
	strbuf_adds(x, "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	xml_element(x, "Name", rq->bucket_name);
	xml_key(x, "Prefix", pg->prefix, pg->is_url);
	if (pg->delimiter[0] != '\0')
		xml_key(x, "Delimiter", pg->delimiter, pg->is_url);
	if (pg->is_url)
		xml_element(x, "EncodingType", "url");
	strbuf_addf(x, "<MaxKeys>%u</MaxKeys><IsTruncated>%s</IsTruncated>", pg->max_keys,
	    pg->is_truncated ? "true" : "false");
}

static void
end_xml(struct s3d_req *rq, struct page *pg)
{
	struct strbuf *x = &rq->reply.body;

	strbuf_add(x, strbuf_str(&pg->items), pg->items.len);
	strbuf_add(x, strbuf_str(&pg->prefixes), pg->prefixes.len);
	strbuf_adds(x, "</ListBucketResult>");
	strbuf_free(&pg->items);
	strbuf_free(&pg->prefixes);
	free(pg->after);
	free(pg->last);
}

static void
run_page(struct bucket *b, struct page *pg)
{
	pthread_rwlock_rdlock(&b->lock);
	fill(b->keys, pg);
	pthread_rwlock_unlock(&b->lock);
}

enum s3e
op_ListObjects(struct s3d_req *rq)
{
	const char *marker = req_param(rq, "marker");
	struct strbuf *x = &rq->reply.body;
	struct page pg = {.with_owner = true};
	struct bucket *b;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		e = read_common(rq, &pg);
	if (e != S3E_OK)
		return e;
	if (marker != NULL && *marker != '\0')
		pg.after = xstrdup(marker);
	run_page(b, &pg);
	begin_xml(rq, &pg);
	xml_key(x, "Marker", marker != NULL ? marker : "", pg.is_url);
	if (pg.is_truncated && pg.delimiter[0] != '\0')
		xml_key(x, "NextMarker", pg.last, pg.is_url);
	end_xml(rq, &pg);
	return S3E_OK;
}

/* A token is the last item, in hex, so that nobody takes it for a key. */
static char *
decode_token(const char *token)
{
	size_t len = strlen(token);
	char *s = xcalloc(1, len / 2 + 1);

	if (len == 0 || len > 4096 || digest_hex_decode(token, (uint8_t *)s, len / 2) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

enum s3e
op_ListObjectsV2(struct s3d_req *rq)
{
	const char *start = req_param(rq, "start-after"), *owner = req_param(rq, "fetch-owner");
	const char *token = req_param(rq, "continuation-token");
	struct strbuf *x = &rq->reply.body;
	struct page pg = {0};
	struct bucket *b;
	char *hex;
	enum s3e e = op_bucket(rq, &b);

	if (e == S3E_OK)
		e = read_common(rq, &pg);
	if (e != S3E_OK)
		return e;
	pg.with_owner = owner != NULL && strcmp(owner, "true") == 0;
	if (token != NULL)
		pg.after = decode_token(token);
	else if (start != NULL && *start != '\0')
		pg.after = xstrdup(start);
	if (token != NULL && pg.after == NULL)
		return req_fail(
		    rq, S3E_InvalidArgument, "The continuation token provided is incorrect");
	run_page(b, &pg);
	begin_xml(rq, &pg);
	strbuf_addf(x, "<KeyCount>%u</KeyCount>", pg.count);
	if (start != NULL)
		xml_key(x, "StartAfter", start, pg.is_url);
	if (token != NULL)
		xml_element(x, "ContinuationToken", token);
	if (pg.is_truncated) {
		hex = xmalloc(2 * strlen(pg.last) + 1);
		digest_hex((const uint8_t *)pg.last, strlen(pg.last), hex);
		xml_element(x, "NextContinuationToken", hex);
		free(hex);
	}
	end_xml(rq, &pg);
	return S3E_OK;
}
