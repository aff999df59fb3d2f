/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_sign.h - AWS Signature Version 4, both ways: the client signs with it, the embedded server and
 * the API verify with it.  Pure functions of their input.
 * source: "Authenticating Requests (AWS Signature Version 4)", S3 API Reference
 */
#ifndef S3_SIGN_H
#define S3_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

struct s3_header {
	const char *name; /* any case */
	const char *value;
};

struct s3_sign_request {
	const char *method;
	const char *path;     /* decoded for S3 (it is encoded once here); as sent otherwise */
	bool path_is_encoded; /* take path as the canonical URI verbatim */
	const char *query;    /* raw query string without '?', still encoded; may be NULL */
	const struct s3_header *headers;
	size_t nheaders;
	const char *signed_headers; /* verify: the list as sent; sign: NULL = all of headers */
	const char *payload_hash;   /* hex, or UNSIGNED-PAYLOAD, STREAMING-... */
	const char *amz_date;	    /* YYYYMMDDTHHMMSSZ */
	const char *region, *service;
	const char *drop_query_param; /* presigned: "X-Amz-Signature" is left out */
};

/* s3_sign - hex signature over r with secret.
 * args:   r, secret borrowed; sig receives 64 hex digits and a NUL; signed_list may be NULL, else
 *         receives a malloced ';' list of the headers signed
 * result: 0, -EINVAL if a named header is missing or a field is malformed
 * ctx:    any thread */
int s3_sign(const struct s3_sign_request *r, const char *secret, char sig[65],
    char **signed_list) CW_MUST_CHECK;

/* s3_sign_with_key - s3_sign() with a key kept from s3_signing_key(); a key lasts for its day. */
int s3_sign_with_key(const struct s3_sign_request *r, const uint8_t key[32], char sig[65],
    char **signed_list) CW_MUST_CHECK;

/* s3_signing_key - the derived key for date (YYYYMMDD), region and service. */
void s3_signing_key(
    const char *secret, const char *date, const char *region, const char *service, uint8_t key[32]);

/* s3_sign_chunk - signature of one aws-chunked chunk (STREAMING-AWS4-HMAC-SHA256-PAYLOAD). */
void s3_sign_chunk(const uint8_t key[32], const char *amz_date, const char *scope,
    const char *prev_sig, const char *chunk_sha256_hex, char sig[65]);

struct s3_auth { /* a parsed Authorization header or presigned query; strings lie in `text` */
	char text[2048];
	const char *access_key, *date, *region, *service, *signed_headers, *signature;
};

/* s3_auth_parse - split "AWS4-HMAC-SHA256 Credential=.../Signature=..." ; -EINVAL if malformed. */
int s3_auth_parse(const char *authorization, struct s3_auth *out) CW_MUST_CHECK;

/* s3_uri_encode - RFC 3986 unreserved kept; '/' kept if keep_slash. Malloced. */
char *s3_uri_encode(const char *s, bool keep_slash);
/* s3_uri_decode - percent-decoding, '+' as it is. Malloced; NULL when malformed or with a NUL. */
char *s3_uri_decode(const char *s, size_t len);

#endif
