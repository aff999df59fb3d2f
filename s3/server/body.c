/* SPDX-License-Identifier: Apache-2.0 */
/*
 * body.c - the payload of a request on its way to memory or a temporary file: content coding undone,
 * every hash that anybody promised computed and compared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "s3/server/req.h"

#define MEMORY_MAX (8u << 20)
#define OBJECT_MAX (UINT64_C(5) << 30)

static uint32_t
crc32_update(uint32_t crc, const uint8_t *p, size_t n)
{
	static const uint32_t nibble[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
	    0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8,
	    0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

	crc = ~crc;
	while (n-- > 0) {
		crc = (crc >> 4) ^ nibble[(crc ^ *p) & 15];
		crc = (crc >> 4) ^ nibble[(crc ^ (uint32_t)(*p++ >> 4)) & 15];
	}
	return ~crc;
}

static int
sink(struct body *b, const void *data, size_t n)
{
	const char *p = data;

	b->got += n;
	if (b->got > (b->kind == BODY_FILE ? OBJECT_MAX : MEMORY_MAX)) {
		b->err = S3E_EntityTooLarge;
		return -EFBIG;
	}
	if (b->md5 != NULL)
		digest_update(b->md5, data, n);
	if (b->sha256 != NULL)
		digest_update(b->sha256, data, n);
	if (b->want_crc32c)
		b->crc32c = digest_crc32c(b->crc32c, data, n);
	if (b->want_crc32)
		b->crc32 = crc32_update(b->crc32, data, n);
	if (b->kind == BODY_MEMORY)
		strbuf_add(&b->mem, data, n);
	while (b->kind == BODY_FILE && n > 0) {
		ssize_t w = write(b->tmp.fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0) {
			log_err("s3d.body", "write-failed", "err=\"%s\"", err_str(-errno));
			b->err = S3E_InternalError;
			return -EIO;
		}
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

static int
on_data(void *ctx, const void *p, size_t n)
{
	struct s3d_req *rq = ctx;

	if (rq->body.chunk_sha != NULL)
		digest_update(rq->body.chunk_sha, p, n);
	return sink(&rq->body, p, n);
}

static int
on_chunk_end(void *ctx, const char *sig)
{
	struct s3d_req *rq = ctx;
	struct body *b = &rq->body;
	uint8_t sha[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1], want[65];

	if (!b->is_signed)
		return 0;
	digest_final(b->chunk_sha, sha);
	b->chunk_sha = digest_new("SHA256");
	digest_hex(sha, sizeof sha, hex);
	s3_sign_chunk(rq->auth.key, rq->auth.amz_date, rq->auth.scope, b->prev_sig, hex, want);
	if (strlen(sig) != 64 || !digest_equal(sig, want, 64)) {
		b->err = S3E_SignatureDoesNotMatch;
		return -EACCES;
	}
	memcpy(b->prev_sig, want, 65);
	return 0;
}

/* The trailer's signature covers the other trailers, "name:value\n" each. */
static int
check_trailer_signature(struct s3d_req *rq, const char *sig)
{
	struct body *b = &rq->body;
	struct strbuf s = STRBUF_INIT;
	uint8_t sha[SHA256_LEN], mac[SHA256_LEN];
	char hex[65], want[65];

	digest_sha256(strbuf_str(&b->trailer_text), b->trailer_text.len, sha);
	digest_hex(sha, sizeof sha, hex);
	strbuf_addf(&s, "AWS4-HMAC-SHA256-TRAILER\n%s\n%s\n%s\n%s", rq->auth.amz_date,
	    rq->auth.scope, b->prev_sig, hex);
	digest_hmac_sha256(rq->auth.key, sizeof rq->auth.key, s.s, s.len, mac);
	digest_hex(mac, sizeof mac, want);
	strbuf_free(&s);
	if (strlen(sig) != 64 || !digest_equal(sig, want, 64)) {
		b->err = S3E_SignatureDoesNotMatch;
		return -EACCES;
	}
	b->trailer_was_verified = true;
	return 0;
}

static int
on_trailer(void *ctx, const char *name, const char *value)
{
	struct s3d_req *rq = ctx;
	struct body *b = &rq->body;

	if (!b->has_trailer)
		return -EINVAL;
	if (strcasecmp(name, "x-amz-trailer-signature") == 0)
		return b->is_signed ? check_trailer_signature(rq, value) : 0;
	if (b->ntrailers == CHUNKED_TRAILERS_MAX)
		return -EINVAL;
	strbuf_addf(&b->trailer_text, "%s:%s\n", name, value);
	b->trailers[b->ntrailers].name = xstrdup(name);
	b->trailers[b->ntrailers].value = xstrdup(value);
	b->ntrailers++;
	return 0;
}

static const struct chunked_ops decoder_ops = {
    .data = on_data, .chunk_end = on_chunk_end, .trailer = on_trailer};

static bool
is_hex_sha256(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* What x-amz-content-sha256 says about the form of the body. */
static enum s3e
read_form(struct s3d_req *rq)
{
	const char *hash = rq->auth.payload_hash,
		   *len = req_header(rq, "x-amz-decoded-content-length");
	struct body *b = &rq->body;
	char *end;

	if (strcmp(hash, "UNSIGNED-PAYLOAD") == 0)
		return S3E_OK;
	if (is_hex_sha256(hash)) {
		b->sha256 = digest_new("SHA256");
		return S3E_OK;
	}
	if (strcmp(hash, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD") == 0) {
		b->is_signed = true;
	} else if (strcmp(hash, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") == 0) {
		b->is_signed = b->has_trailer = true;
	} else if (strcmp(hash, "STREAMING-UNSIGNED-PAYLOAD-TRAILER") == 0) {
		b->has_trailer = true;
	} else {
		return req_fail(rq, S3E_InvalidArgument,
		    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-..., or a valid "
		    "sha256 value.");
	}
	if (len == NULL || *len < '0' || *len > '9')
		return S3E_MissingContentLength;
	b->expected = strtoull(len, &end, 10);
	if (*end != '\0')
		return S3E_InvalidArgument;
	b->has_expected = true;
	b->is_chunked = true;
	if (b->is_signed)
		b->chunk_sha = digest_new("SHA256");
	memcpy(b->prev_sig, rq->auth.seed_sig, sizeof b->prev_sig);
	chunked_init(&b->dec, &decoder_ops, rq);
	return S3E_OK;
}

static bool
promises(const struct s3d_req *rq, const char *name)
{
	const char *trailer = req_header(rq, "x-amz-trailer");

	return req_header(rq, name) != NULL ||
	       (trailer != NULL && strcasestr(trailer, name) != NULL);
}

enum s3e
body_begin(struct s3d_req *rq, enum body_kind kind)
{
	struct body *b = &rq->body;
	enum s3e res = read_form(rq);

	b->kind = kind;
	if (res != S3E_OK)
		return res;
	if (kind == BODY_FILE && !rq->has_content_length)
		return S3E_MissingContentLength;
	if (kind == BODY_FILE && rq->content_length > OBJECT_MAX + (OBJECT_MAX >> 8))
		return S3E_EntityTooLarge;
	if (kind == BODY_MEMORY && rq->content_length > MEMORY_MAX)
		return S3E_EntityTooLarge;
	if (kind == BODY_FILE || req_header(rq, "Content-MD5") != NULL)
		b->md5 = digest_new("MD5");
	if (promises(rq, "x-amz-checksum-sha256") && b->sha256 == NULL)
		b->sha256 = digest_new("SHA256");
	b->want_crc32c = promises(rq, "x-amz-checksum-crc32c");
	b->want_crc32 = promises(rq, "x-amz-checksum-crc32");
	if (kind == BODY_FILE && store_tmp(rq->srv->store, &b->tmp) != 0)
		return S3E_InternalError;
	return S3E_OK;
}

void
body_feed(struct s3d_req *rq, const void *data, size_t n)
{
	struct body *b = &rq->body;
	int err;

	if (b->err != S3E_OK)
		return;
	if (!b->is_chunked) {
		if (sink(b, data, n) != 0 && b->err == S3E_OK)
			b->err = S3E_InternalError;
		return;
	}
	err = chunked_feed(&b->dec, data, n);
	if (err != 0 && b->err == S3E_OK) {
		b->err = S3E_InvalidRequest;
		rq->err_text = "The aws-chunked body is malformed.";
	}
}

static const char *
promised_value(const struct s3d_req *rq, const char *name)
{
	const char *v = req_header(rq, name);
	size_t i;

	for (i = 0; i < rq->body.ntrailers && v == NULL; i++)
		if (strcasecmp(rq->body.trailers[i].name, name) == 0)
			v = rq->body.trailers[i].value;
	return v;
}

static enum s3e
compare_base64(const char *text, const uint8_t *have, size_t n)
{
	uint8_t want[64];

	if (text == NULL)
		return S3E_OK;
	if (strlen(text) > 80 || digest_base64_decode(text, want, sizeof want) != (int)n)
		return S3E_InvalidDigest;
	return memcmp(want, have, n) == 0 ? S3E_OK : S3E_BadDigest;
}

static enum s3e
check_crc(const struct s3d_req *rq, const char *name, uint32_t crc)
{
	uint8_t be[4] = {
	    (uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};

	return compare_base64(promised_value(rq, name), be, sizeof be);
}

static enum s3e
check_digests(struct s3d_req *rq)
{
	struct body *b = &rq->body;
	uint8_t md5[MD5_LEN], sha[SHA256_LEN];
	enum s3e res = S3E_OK;

	if (b->md5 != NULL) {
		digest_final(b->md5, md5);
		b->md5 = NULL;
		digest_hex(md5, sizeof md5, b->md5_hex);
		res = compare_base64(req_header(rq, "Content-MD5"), md5, sizeof md5);
	}
	if (b->sha256 != NULL) {
		digest_final(b->sha256, sha);
		b->sha256 = NULL;
		digest_hex(sha, sizeof sha, b->sha256_hex);
		if (is_hex_sha256(rq->auth.payload_hash) &&
		    strcmp(rq->auth.payload_hash, b->sha256_hex) != 0)
			return S3E_XAmzContentSHA256Mismatch;
		if (res == S3E_OK)
			res = compare_base64(
			    promised_value(rq, "x-amz-checksum-sha256"), sha, sizeof sha);
	}
	if (res == S3E_OK && b->want_crc32c)
		res = check_crc(rq, "x-amz-checksum-crc32c", b->crc32c);
	if (res == S3E_OK && b->want_crc32)
		res = check_crc(rq, "x-amz-checksum-crc32", b->crc32);
	return res;
}

enum s3e
body_end(struct s3d_req *rq)
{
	struct body *b = &rq->body;

	if (b->err != S3E_OK)
		return b->err;
	if (b->is_chunked && !chunked_is_done(&b->dec))
		return S3E_IncompleteBody;
	if (b->has_expected && b->got != b->expected)
		return S3E_IncompleteBody;
	if (b->is_signed && b->has_trailer && !b->trailer_was_verified)
		return S3E_SignatureDoesNotMatch;
	return check_digests(rq);
}

void
body_free(struct body *b)
{
	uint8_t sink_bytes[SHA256_LEN];
	size_t i;

	if (b->md5 != NULL)
		digest_final(b->md5, sink_bytes);
	if (b->sha256 != NULL)
		digest_final(b->sha256, sink_bytes);
	if (b->chunk_sha != NULL)
		digest_final(b->chunk_sha, sink_bytes);
	b->md5 = b->sha256 = b->chunk_sha = NULL;
	for (i = 0; i < b->ntrailers; i++) {
		free(b->trailers[i].name);
		free(b->trailers[i].value);
	}
	b->ntrailers = 0;
	strbuf_free(&b->trailer_text);
	strbuf_free(&b->mem);
	store_tmp_drop(&b->tmp);
}
