/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.c - who signed this request, and is it so?  Header and presigned forms of Signature V4.
 * source: S3 API Reference, "Authenticating Requests (AWS Signature Version 4)"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "gateway/base/clock.h"
#include "s3/server/creds.h"
#include "s3/server/req.h"

#define SKEW_S (15 * 60)
#define PRESIGNED_MAX_S (7 * 86400)

static bool
parse_amz_date(const char *s, time_t *out)
{
	struct tm tm = {0};
	const char *end;

	if (s == NULL || strlen(s) != 16)
		return false;
	end = strptime(s, "%Y%m%dT%H%M%SZ", &tm);
	if (end == NULL || *end != '\0')
		return false;
	*out = timegm(&tm);
	return true;
}

/* The time of a header-signed request: x-amz-date, else Date; amz receives the first form. */
static bool
request_time(struct s3d_req *rq, time_t *out)
{
	const char *amz = req_header(rq, "x-amz-date"), *date = req_header(rq, "Date");
	struct tm tm = {0};

	if (amz != NULL) {
		snprintf(rq->auth.amz_date, sizeof rq->auth.amz_date, "%.16s", amz);
		return parse_amz_date(amz, out);
	}
	if (date == NULL || strptime(date, "%a, %d %b %Y %H:%M:%S", &tm) == NULL)
		return false;
	*out = timegm(&tm);
	return strftime(rq->auth.amz_date, sizeof rq->auth.amz_date, "%Y%m%dT%H%M%SZ", &tm) == 16;
}

static bool
list_has(const char *list, const char *name)
{
	size_t n = strlen(name), len;

	for (; *list != '\0'; list += len + (list[len] == ';')) {
		len = strcspn(list, ";");
		if (len == n && strncasecmp(list, name, n) == 0)
			return true;
	}
	return false;
}

/* Whatever changes the meaning of the request must be signed. */
static bool
covers_amz_headers(const struct s3d_req *rq, const char *signed_headers)
{
	size_t i;

	if (!list_has(signed_headers, "host"))
		return false;
	for (i = 0; i < rq->nheaders; i++)
		if (strncasecmp(rq->headers[i].name, "x-amz-", 6) == 0 &&
		    strcasecmp(rq->headers[i].name, "x-amz-content-sha256") != 0 &&
		    !list_has(signed_headers, rq->headers[i].name))
			return false;
	return true;
}

static bool
signature_holds(struct s3d_req *rq, const struct s3_auth *a, const char *secret, bool is_presigned)
{
	struct s3_sign_request r = {
	    .method = rq->method,
	    .path = rq->raw_path,
	    .path_is_encoded = true,
	    .query = rq->query,
	    .headers = rq->headers,
	    .nheaders = rq->nheaders,
	    .signed_headers = a->signed_headers,
	    .payload_hash = rq->auth.payload_hash,
	    .amz_date = rq->auth.amz_date,
	    .region = a->region,
	    .service = a->service,
	    .drop_query_param = is_presigned ? "X-Amz-Signature" : NULL,
	};
	char sig[65], *decoded;
	bool ok;

	if (strlen(a->signature) != 64)
		return false;
	ok = s3_sign(&r, secret, sig, NULL) == 0 && digest_equal(sig, a->signature, 64);
	if (!ok) {
		/* Some clients put a differently escaped path on the wire than they signed. */
		decoded = s3_uri_decode(rq->raw_path, strlen(rq->raw_path));
		r.path = decoded;
		r.path_is_encoded = false;
		ok = decoded != NULL && s3_sign(&r, secret, sig, NULL) == 0 &&
		     digest_equal(sig, a->signature, 64);
		free(decoded);
	}
	return ok;
}

static enum s3e
check_signature(struct s3d_req *rq, const struct s3_auth *a, const char *token, bool is_presigned)
{
	struct cred cred;

	if (!creds_find(rq->srv->creds, a->access_key, &cred))
		return S3E_InvalidAccessKeyId;
	if (strcmp(a->service, "s3") != 0)
		return req_fail(rq, S3E_AuthorizationHeaderMalformed,
		    "The authorization header is malformed; incorrect service, expecting 's3'.");
	if (strcmp(a->region, rq->srv->region) != 0)
		return req_fail(rq, S3E_AuthorizationHeaderMalformed,
		    "The authorization header is malformed; the region is wrong.");
	if (strncmp(rq->auth.amz_date, a->date, 8) != 0)
		return req_fail(rq, S3E_AuthorizationHeaderMalformed,
		    "The authorization header is malformed; its date is not that of the request.");
	if (!covers_amz_headers(rq, a->signed_headers))
		return req_fail(rq, S3E_AccessDenied,
		    "There were headers present in the request which were not signed");
	if (strcmp(token != NULL ? token : "", cred.token) != 0)
		return S3E_InvalidToken;
	if (!signature_holds(rq, a, cred.secret, is_presigned))
		return S3E_SignatureDoesNotMatch;
	snprintf(rq->auth.key_id, sizeof rq->auth.key_id, "%s", a->access_key);
	snprintf(rq->auth.scope, sizeof rq->auth.scope, "%.8s/%.64s/s3/aws4_request", a->date,
	    a->region);
	memcpy(rq->auth.seed_sig, a->signature, 65);
	s3_signing_key(cred.secret, a->date, a->region, "s3", rq->auth.key);
	return S3E_OK;
}

/* Signature V2, which newer AWS regions refuse in these words too. */
static enum s3e
refuse_old_signature(struct s3d_req *rq)
{
	return req_fail(rq, S3E_InvalidRequest,
	    "The authorization mechanism that you have provided is not supported. Please use "
	    "AWS4-HMAC-SHA256.");
}

static enum s3e
check_header_auth(struct s3d_req *rq, const char *authorization)
{
	const char *hash = req_header(rq, "x-amz-content-sha256");
	struct s3_auth a;
	time_t when, now = (time_t)(clock_real_ns() / 1000000000);

	if (strncmp(authorization, "AWS4-HMAC-SHA256", 16) != 0)
		return refuse_old_signature(rq);
	if (s3_auth_parse(authorization, &a) != 0)
		return S3E_AuthorizationHeaderMalformed;
	if (!request_time(rq, &when))
		return req_fail(rq, S3E_AccessDenied,
		    "AWS authentication requires a valid Date or x-amz-date header");
	if (when > now + SKEW_S || when < now - SKEW_S)
		return S3E_RequestTimeTooSkewed;
	if (hash == NULL)
		return req_fail(rq, S3E_InvalidRequest,
		    "Missing required header for this request: x-amz-content-sha256");
	if (strlen(hash) >= sizeof rq->auth.payload_hash)
		return S3E_InvalidArgument;
	snprintf(rq->auth.payload_hash, sizeof rq->auth.payload_hash, "%s", hash);
	return check_signature(rq, &a, req_header(rq, "x-amz-security-token"), false);
}

static enum s3e
check_presigned(struct s3d_req *rq)
{
	const char *cred = req_param(rq, "X-Amz-Credential"), *date = req_param(rq, "X-Amz-Date");
	const char *list = req_param(rq, "X-Amz-SignedHeaders");
	const char *sig = req_param(rq, "X-Amz-Signature"), *alg = req_param(rq, "X-Amz-Algorithm");
	time_t when, now = (time_t)(clock_real_ns() / 1000000000);
	unsigned int expires;
	struct s3_auth a;
	char *text;
	int err;

	if (cred == NULL || list == NULL || sig == NULL || !parse_amz_date(date, &when) ||
	    strcmp(alg, "AWS4-HMAC-SHA256") != 0 ||
	    req_param_uint(rq, "X-Amz-Expires", 0, UINT32_MAX, &expires) != 0 || expires == 0 ||
	    expires > PRESIGNED_MAX_S)
		return S3E_AuthorizationQueryParametersError;
	if (when > now + SKEW_S)
		return req_fail(rq, S3E_AccessDenied, "Request is not yet valid");
	if (now > when + (time_t)expires)
		return req_fail(rq, S3E_AccessDenied, "Request has expired");
	snprintf(rq->auth.amz_date, sizeof rq->auth.amz_date, "%s", date);
	text = xasprintf(
	    "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s", cred, list, sig);
	err = s3_auth_parse(text, &a);
	free(text);
	if (err != 0)
		return S3E_AuthorizationQueryParametersError;
	snprintf(rq->auth.payload_hash, sizeof rq->auth.payload_hash, "UNSIGNED-PAYLOAD");
	return check_signature(rq, &a, req_param(rq, "X-Amz-Security-Token"), true);
}

enum s3e
auth_check(struct s3d_req *rq)
{
	const char *authorization = req_header(rq, "Authorization");

	if (authorization != NULL)
		return check_header_auth(rq, authorization);
	if (req_param(rq, "X-Amz-Algorithm") != NULL)
		return check_presigned(rq);
	if (req_param(rq, "AWSAccessKeyId") != NULL)
		return refuse_old_signature(rq);
	return S3E_AccessDenied;
}
