/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_retry.c - two tables: S3's error codes first, since they say more, then bare statuses (answers
 * to HEAD have no body, and what stands before a store has codes of its own).
 */
#include "s3/s3_retry.h"

#include <string.h>

#define DELAY_BASE_MS 100
#define DELAY_CAP_MS 20000

struct code_row {
	const char *code;
	int err;
	enum s3_action action;
	bool is_throttled;
	bool maybe_applied; /* the failure may have come after the deed */
};

static const struct code_row code_rows[] = {
    /* not there */
    {"NoSuchKey", -ENOENT, S3_DONE, false, false},
    {"NoSuchVersion", -ENOENT, S3_DONE, false, false},
    {"NoSuchBucket", -ERR_NO_BUCKET, S3_DONE, false, false},
    {"NoSuchUpload", -ERR_NO_UPLOAD, S3_DONE, false, false},
    /* conditions */
    {"PreconditionFailed", -ERR_PRECONDITION, S3_DONE, false, false},
    {"ConditionalRequestConflict", -ERR_PRECONDITION, S3_RETRY, false, false},
    {"OperationAborted", -EBUSY, S3_RETRY, false, false},
    /* who we are */
    {"AccessDenied", -EACCES, S3_DONE, false, false},
    {"AllAccessDisabled", -EACCES, S3_DONE, false, false},
    {"AccountProblem", -EACCES, S3_DONE, false, false},
    {"InvalidAccessKeyId", -ERR_CREDENTIALS, S3_FIX_CREDENTIALS, false, false},
    {"SignatureDoesNotMatch", -ERR_CREDENTIALS, S3_FIX_CREDENTIALS, false, false},
    {"ExpiredToken", -ERR_CREDENTIALS, S3_FIX_CREDENTIALS, false, false},
    {"InvalidToken", -ERR_CREDENTIALS, S3_FIX_CREDENTIALS, false, false},
    {"TokenRefreshRequired", -ERR_CREDENTIALS, S3_FIX_CREDENTIALS, false, false},
    {"InvalidSecurity", -ERR_CREDENTIALS, S3_DONE, false, false},
    {"RequestTimeTooSkewed", -ERR_CLOCK_SKEW, S3_FIX_CLOCK, false, false},
    {"RequestExpired", -ERR_CLOCK_SKEW, S3_FIX_CLOCK, false, false},
    /* where it is */
    {"AuthorizationHeaderMalformed", -ERR_CREDENTIALS, S3_FIX_REGION, false, false},
    {"PermanentRedirect", -EINVAL, S3_FIX_REGION, false, false},
    {"TemporaryRedirect", -EINVAL, S3_FIX_REGION, false, false},
    {"Redirect", -EINVAL, S3_FIX_REGION, false, false},
    {"IllegalLocationConstraintException", -EINVAL, S3_FIX_REGION, false, false},
    /* too much */
    {"SlowDown", -ERR_THROTTLED, S3_RETRY, true, false},
    {"SlowDownRead", -ERR_THROTTLED, S3_RETRY, true, false},
    {"SlowDownWrite", -ERR_THROTTLED, S3_RETRY, true, false},
    {"ServiceUnavailable", -ERR_THROTTLED, S3_RETRY, true, false},
    {"Throttling", -ERR_THROTTLED, S3_RETRY, true, false},
    {"ThrottlingException", -ERR_THROTTLED, S3_RETRY, true, false},
    {"RequestLimitExceeded", -ERR_THROTTLED, S3_RETRY, true, false},
    {"RequestThrottled", -ERR_THROTTLED, S3_RETRY, true, false},
    {"TooManyRequests", -ERR_THROTTLED, S3_RETRY, true, false},
    {"BandwidthLimitExceeded", -ERR_THROTTLED, S3_RETRY, true, false},
    {"ServerBusy", -ERR_THROTTLED, S3_RETRY, true, false},
    /* it went wrong over there or on the way */
    {"InternalError", -ERR_STORE, S3_RETRY, false, true},
    {"RequestTimeout", -ERR_OFFLINE, S3_RETRY_FRESH, false, false},
    {"IncompleteBody", -ERR_OFFLINE, S3_RETRY_FRESH, false, false},
    {"BadDigest", -ERR_CHECKSUM, S3_RETRY_FRESH, false, false},
    {"InvalidDigest", -ERR_CHECKSUM, S3_RETRY_FRESH, false, false},
    {"XAmzContentSHA256Mismatch", -ERR_CHECKSUM, S3_RETRY_FRESH, false, false},
    {"XAmzContentChecksumMismatch", -ERR_CHECKSUM, S3_RETRY_FRESH, false, false},
    /* what it cannot give */
    {"InvalidRange", -ERR_INVALID_RANGE, S3_DONE, false, false},
    {"InvalidObjectState", -ERR_ARCHIVED, S3_DONE, false, false},
    {"KeyTooLongError", -ENAMETOOLONG, S3_DONE, false, false},
    {"EntityTooLarge", -EFBIG, S3_DONE, false, false},
    {"NotImplemented", -ENOSYS, S3_DONE, false, false},
    {"MethodNotAllowed", -ENOSYS, S3_DONE, false, false},
    {"QuotaExceeded", -ENOSPC, S3_DONE, false, false},
    {"XMinioStorageFull", -ENOSPC, S3_DONE, false, false},
    {"BucketAlreadyExists", -EEXIST, S3_DONE, false, false},
    {"BucketAlreadyOwnedByYou", 0, S3_DONE, false, false},
    {"KMS.DisabledException", -EACCES, S3_DONE, false, false},
    {"KMS.NotFoundException", -EINVAL, S3_DONE, false, false},
};

static const struct {
	int status;
	struct code_row row;
} status_rows[] = {
    {301, {NULL, -EINVAL, S3_FIX_REGION, false, false}},
    {302, {NULL, -EINVAL, S3_FIX_REGION, false, false}},
    {307, {NULL, -EINVAL, S3_FIX_REGION, false, false}},
    {308, {NULL, -EINVAL, S3_FIX_REGION, false, false}},
    {400, {NULL, -EINVAL, S3_DONE, false, false}},
    {401, {NULL, -ERR_CREDENTIALS, S3_FIX_CREDENTIALS, false, false}},
    {403, {NULL, -EACCES, S3_DONE, false, false}},
    {404, {NULL, -ENOENT, S3_DONE, false, false}},
    {405, {NULL, -ENOSYS, S3_DONE, false, false}},
    {408, {NULL, -ERR_OFFLINE, S3_RETRY_FRESH, false, false}},
    {409, {NULL, -EBUSY, S3_RETRY, false, false}},
    {411, {NULL, -EINVAL, S3_DONE, false, false}},
    {412, {NULL, -ERR_PRECONDITION, S3_DONE, false, false}},
    {413, {NULL, -EFBIG, S3_DONE, false, false}},
    {416, {NULL, -ERR_INVALID_RANGE, S3_DONE, false, false}},
    {429, {NULL, -ERR_THROTTLED, S3_RETRY, true, false}},
    {500, {NULL, -ERR_STORE, S3_RETRY, false, true}},
    {501, {NULL, -ENOSYS, S3_DONE, false, false}},
    {502, {NULL, -ERR_OFFLINE, S3_RETRY_FRESH, true, true}},
    {503, {NULL, -ERR_THROTTLED, S3_RETRY, true, true}},
    {504, {NULL, -ERR_OFFLINE, S3_RETRY_FRESH, true, true}},
    {507, {NULL, -ENOSPC, S3_DONE, false, false}},
};

static const struct code_row *
row_of_code(const char *code)
{
	for (size_t i = 0; i < sizeof(code_rows) / sizeof(code_rows[0]); i++)
		if (strcmp(code_rows[i].code, code) == 0)
			return &code_rows[i];
	return NULL;
}

static const struct code_row *
row_of_status(int status)
{
	static const struct code_row unknown_4xx = {NULL, -EINVAL, S3_DONE, false, false};
	static const struct code_row unknown_5xx = {NULL, -ERR_STORE, S3_RETRY, false, true};
	static const struct code_row nonsense = {NULL, -ERR_PROTOCOL, S3_RETRY_FRESH, false, true};

	for (size_t i = 0; i < sizeof(status_rows) / sizeof(status_rows[0]); i++)
		if (status_rows[i].status == status)
			return &status_rows[i].row;
	if (status >= 400 && status < 500)
		return &unknown_4xx;
	return status >= 500 && status < 600 ? &unknown_5xx : &nonsense;
}

bool
s3_retry_is_write(enum objstore_opcode op)
{
	switch (op) {
	case OBJ_GET:
	case OBJ_HEAD:
	case OBJ_LIST:
	case OBJ_MPU_LIST:
	case OBJ_MPU_PARTS:
	case OBJ_BUCKET_HEAD:
		return false;
	default:
		return true;
	}
}

static struct s3_verdict
judge_net(const struct s3_outcome *o)
{
	struct s3_verdict v = {.err = -ERR_OFFLINE, .action = S3_RETRY_FRESH};

	v.maybe_applied = o->was_sent && o->net != S3_NET_UNREACHABLE;
	switch (o->net) {
	case S3_NET_UNREACHABLE:
	case S3_NET_TIMEOUT:
		v.is_throttled = true;
		break;
	case S3_NET_TLS:
		v.action = S3_DONE;
		v.err = -ERR_PROTOCOL;
		break;
	case S3_NET_MALFORMED:
		v.err = -ERR_PROTOCOL;
		break;
	case S3_NET_TOO_BIG:
		v.action = S3_DONE;
		v.err = o->op == OBJ_GET ? -EFBIG : -ERR_PROTOCOL;
		break;
	default:
		break;
	}
	return v;
}

/* missing - a bare 404 means something else for every kind of target. */
static int
missing(const struct s3_outcome *o)
{
	switch (o->op) {
	case OBJ_BUCKET_HEAD:
	case OBJ_LIST:
	case OBJ_MPU_LIST:
		return -ERR_NO_BUCKET;
	case OBJ_MPU_PART:
	case OBJ_MPU_ABORT:
	case OBJ_MPU_PARTS:
		return -ERR_NO_UPLOAD;
	default:
		return -ENOENT;
	}
}

/* refine - what the request was decides what -ENOENT and a conflict mean. */
static void
refine(const struct s3_outcome *o, struct s3_verdict *v)
{
	if (v->err == -ENOENT && o->code[0] == '\0')
		v->err = missing(o);
	if (v->err == -ENOENT && (o->op == OBJ_DELETE || o->op == OBJ_DELETE_MANY))
		v->err = 0; /* gone is what was asked for */
	if (v->err == -ENOENT && o->is_conditional &&
	    (o->op == OBJ_PUT || o->op == OBJ_MPU_COMPLETE))
		v->err = -ERR_PRECONDITION; /* If-Match on a key that is gone */
	/* an answer to HEAD has no body that could say it: an expired token, most likely */
	if (o->status == 400 && o->code[0] == '\0' &&
	    (o->op == OBJ_HEAD || o->op == OBJ_BUCKET_HEAD)) {
		v->err = -ERR_CREDENTIALS;
		v->action = S3_FIX_CREDENTIALS;
	}
	if (v->err == -EBUSY && o->is_conditional && o->status == 409)
		v->err = -ERR_PRECONDITION;
}

struct s3_verdict
s3_retry_judge(const struct s3_outcome *o)
{
	const struct code_row *row = NULL;
	struct s3_verdict v = {0};

	if (o->net != S3_NET_OK) {
		v = judge_net(o);
	} else if (o->status >= 200 && o->status < 300 && o->code[0] == '\0') {
		return v;
	} else {
		if (o->code[0] != '\0')
			row = row_of_code(o->code);
		/* a 200 with an error inside that we do not know is a server's fault */
		if (row == NULL)
			row = row_of_status(o->status >= 200 && o->status < 300 ? 500 : o->status);
		v = (struct s3_verdict){.err = row->err,
		    .action = row->action,
		    .maybe_applied = row->maybe_applied,
		    .is_throttled = row->is_throttled};
		refine(o, &v);
	}
	v.maybe_applied = v.maybe_applied && s3_retry_is_write(o->op);
	return v;
}

int
s3_retry_key_error(const char *code)
{
	const struct code_row *row = row_of_code(code);

	if (row == NULL)
		return -EIO;
	return row->err == -ENOENT ? 0 : row->err;
}

unsigned int
s3_retry_delay_ms(unsigned int tries, uint32_t random)
{
	unsigned int shift = tries > 8 ? 8 : tries;
	unsigned int top = DELAY_BASE_MS << shift;

	if (top > DELAY_CAP_MS)
		top = DELAY_CAP_MS;
	return (unsigned int)(((uint64_t)random * top) >> 32);
}
