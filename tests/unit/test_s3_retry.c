/* SPDX-License-Identifier: Apache-2.0 */
/* What answers mean: every row that the design promises, and the rules across rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "s3/s3_retry.h"

struct row {
	enum objstore_opcode op;
	bool is_conditional;
	enum s3_net net;
	bool was_sent;
	int status;
	const char *code;
	int err;
	enum s3_action action;
	bool maybe_applied, is_throttled;
};

#define OK S3_NET_OK

static const struct row rows[] = {
    {OBJ_PUT, false, OK, true, 200, "", 0, S3_DONE, false, false},
    {OBJ_GET, false, OK, true, 206, "", 0, S3_DONE, false, false},
    {OBJ_DELETE, false, OK, true, 204, "", 0, S3_DONE, false, false},
    /* missing things */
    {OBJ_GET, false, OK, true, 404, "NoSuchKey", -ENOENT, S3_DONE, false, false},
    {OBJ_HEAD, false, OK, true, 404, "", -ENOENT, S3_DONE, false, false},
    {OBJ_BUCKET_HEAD, false, OK, true, 404, "", -ERR_NO_BUCKET, S3_DONE, false, false},
    {OBJ_GET, false, OK, true, 404, "NoSuchBucket", -ERR_NO_BUCKET, S3_DONE, false, false},
    {OBJ_MPU_PART, false, OK, true, 404, "", -ERR_NO_UPLOAD, S3_DONE, false, false},
    {OBJ_MPU_COMPLETE, false, OK, true, 404, "NoSuchUpload", -ERR_NO_UPLOAD, S3_DONE, false, false},
    {OBJ_DELETE, false, OK, true, 404, "NoSuchKey", 0, S3_DONE, false, false},
    {OBJ_COPY, false, OK, true, 404, "NoSuchKey", -ENOENT, S3_DONE, false, false},
    {OBJ_HEAD, false, OK, true, 400, "", -ERR_CREDENTIALS, S3_FIX_CREDENTIALS, false, false},
    {OBJ_GET, false, OK, true, 400, "", -EINVAL, S3_DONE, false, false},
    /* conditions */
    {OBJ_PUT, true, OK, true, 412, "PreconditionFailed", -ERR_PRECONDITION, S3_DONE, false, false},
    {OBJ_PUT, true, OK, true, 404, "NoSuchKey", -ERR_PRECONDITION, S3_DONE, false, false},
    {OBJ_PUT, true, OK, true, 409, "ConditionalRequestConflict", -ERR_PRECONDITION, S3_RETRY, false,
	false},
    {OBJ_PUT, true, OK, true, 409, "", -ERR_PRECONDITION, S3_RETRY, false, false},
    {OBJ_GET, true, OK, true, 412, "", -ERR_PRECONDITION, S3_DONE, false, false},
    /* overload */
    {OBJ_PUT, false, OK, true, 503, "SlowDown", -ERR_THROTTLED, S3_RETRY, false, true},
    {OBJ_PUT, false, OK, true, 503, "", -ERR_THROTTLED, S3_RETRY, true, true},
    {OBJ_GET, false, OK, true, 503, "", -ERR_THROTTLED, S3_RETRY, false, true},
    {OBJ_GET, false, OK, true, 429, "TooManyRequests", -ERR_THROTTLED, S3_RETRY, false, true},
    /* faults over there */
    {OBJ_PUT, false, OK, true, 500, "InternalError", -ERR_STORE, S3_RETRY, true, false},
    {OBJ_GET, false, OK, true, 500, "InternalError", -ERR_STORE, S3_RETRY, false, false},
    {OBJ_PUT, false, OK, true, 502, "", -ERR_OFFLINE, S3_RETRY_FRESH, true, true},
    {OBJ_PUT, false, OK, true, 504, "", -ERR_OFFLINE, S3_RETRY_FRESH, true, true},
    {OBJ_PUT, false, OK, true, 599, "", -ERR_STORE, S3_RETRY, true, false},
    {OBJ_PUT, false, OK, true, 400, "RequestTimeout", -ERR_OFFLINE, S3_RETRY_FRESH, false, false},
    {OBJ_MPU_COMPLETE, false, OK, true, 200, "InternalError", -ERR_STORE, S3_RETRY, true, false},
    {OBJ_MPU_COMPLETE, false, OK, true, 200, "Unheard", -ERR_STORE, S3_RETRY, true, false},
    {OBJ_COPY, false, OK, true, 200, "SlowDown", -ERR_THROTTLED, S3_RETRY, false, true},
    {OBJ_PUT, false, OK, true, 400, "BadDigest", -ERR_CHECKSUM, S3_RETRY_FRESH, false, false},
    /* us */
    {OBJ_PUT, false, OK, true, 403, "RequestTimeTooSkewed", -ERR_CLOCK_SKEW, S3_FIX_CLOCK, false,
	false},
    {OBJ_PUT, false, OK, true, 400, "ExpiredToken", -ERR_CREDENTIALS, S3_FIX_CREDENTIALS, false,
	false},
    {OBJ_PUT, false, OK, true, 403, "InvalidAccessKeyId", -ERR_CREDENTIALS, S3_FIX_CREDENTIALS,
	false, false},
    {OBJ_PUT, false, OK, true, 403, "AccessDenied", -EACCES, S3_DONE, false, false},
    {OBJ_GET, false, OK, true, 301, "PermanentRedirect", -EINVAL, S3_FIX_REGION, false, false},
    {OBJ_GET, false, OK, true, 307, "", -EINVAL, S3_FIX_REGION, false, false},
    {OBJ_GET, false, OK, true, 400, "AuthorizationHeaderMalformed", -ERR_CREDENTIALS, S3_FIX_REGION,
	false, false},
    {OBJ_PUT, false, OK, true, 400, "InvalidArgument", -EINVAL, S3_DONE, false, false},
    {OBJ_GET, false, OK, true, 416, "InvalidRange", -ERR_INVALID_RANGE, S3_DONE, false, false},
    {OBJ_GET, false, OK, true, 403, "InvalidObjectState", -ERR_ARCHIVED, S3_DONE, false, false},
    {OBJ_PUT, false, OK, true, 501, "NotImplemented", -ENOSYS, S3_DONE, false, false},
    {OBJ_BUCKET_CREATE, false, OK, true, 409, "BucketAlreadyOwnedByYou", 0, S3_DONE, false, false},
    {OBJ_BUCKET_CREATE, false, OK, true, 409, "BucketAlreadyExists", -EEXIST, S3_DONE, false,
	false},
    /* no HTTP at all */
    {OBJ_PUT, false, OK, true, 0, "", -ERR_PROTOCOL, S3_RETRY_FRESH, true, false},
    {OBJ_PUT, false, OK, true, 600, "", -ERR_PROTOCOL, S3_RETRY_FRESH, true, false},
    {OBJ_PUT, false, S3_NET_UNREACHABLE, false, 0, "", -ERR_OFFLINE, S3_RETRY_FRESH, false, true},
    {OBJ_PUT, false, S3_NET_LOST, true, 0, "", -ERR_OFFLINE, S3_RETRY_FRESH, true, false},
    {OBJ_PUT, false, S3_NET_LOST, false, 0, "", -ERR_OFFLINE, S3_RETRY_FRESH, false, false},
    {OBJ_GET, false, S3_NET_LOST, true, 200, "", -ERR_OFFLINE, S3_RETRY_FRESH, false, false},
    {OBJ_PUT, false, S3_NET_TIMEOUT, true, 0, "", -ERR_OFFLINE, S3_RETRY_FRESH, true, true},
    {OBJ_PUT, false, S3_NET_TLS, false, 0, "", -ERR_PROTOCOL, S3_DONE, false, false},
    {OBJ_LIST, false, S3_NET_MALFORMED, true, 200, "", -ERR_PROTOCOL, S3_RETRY_FRESH, false, false},
    {OBJ_MPU_COMPLETE, false, S3_NET_MALFORMED, true, 200, "", -ERR_PROTOCOL, S3_RETRY_FRESH, true,
	false},
    {OBJ_GET, false, S3_NET_TOO_BIG, true, 200, "", -EFBIG, S3_DONE, false, false},
    {OBJ_LIST, false, S3_NET_TOO_BIG, true, 200, "", -ERR_PROTOCOL, S3_DONE, false, false},
};

static void
answers_mean_what_the_table_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct s3_outcome o = {.op = r->op,
		    .is_conditional = r->is_conditional,
		    .net = r->net,
		    .was_sent = r->was_sent,
		    .status = r->status,
		    .code = r->code};
		struct s3_verdict v = s3_retry_judge(&o);

		if (v.err != r->err || v.action != r->action ||
		    v.maybe_applied != r->maybe_applied || v.is_throttled != r->is_throttled)
			fail_msg(
			    "row %zu (status %d code %s): err %d action %d maybe %d throttled %d",
			    i, r->status, r->code, v.err, (int)v.action, v.maybe_applied,
			    v.is_throttled);
	}
}

static void
nothing_succeeds_but_what_did(void **state)
{
	(void)state;
	for (int status = 0; status < 700; status++) {
		struct s3_outcome o = {
		    .op = OBJ_PUT, .was_sent = true, .status = status, .code = "NeverHeardOf"};
		struct s3_verdict v = s3_retry_judge(&o);

		assert_true(v.err < 0);
		o.code = "";
		v = s3_retry_judge(&o);
		assert_true((v.err == 0) == (status >= 200 && status < 300));
	}
	for (int net = S3_NET_UNREACHABLE; net < S3_NET_MAX; net++) {
		struct s3_outcome o = {
		    .op = OBJ_PUT, .net = (enum s3_net)net, .status = 200, .code = ""};

		assert_true(s3_retry_judge(&o).err < 0);
	}
}

static void
reads_are_never_maybe_applied(void **state)
{
	(void)state;
	for (int op = 0; op < OBJ_OP_MAX; op++) {
		struct s3_outcome o = {.op = (enum objstore_opcode)op,
		    .net = S3_NET_LOST,
		    .was_sent = true,
		    .code = ""};

		assert_true(s3_retry_judge(&o).maybe_applied ==
			    s3_retry_is_write((enum objstore_opcode)op));
	}
	assert_true(s3_retry_is_write(OBJ_PUT));
	assert_true(s3_retry_is_write(OBJ_MPU_COMPLETE));
	assert_false(s3_retry_is_write(OBJ_GET));
	assert_false(s3_retry_is_write(OBJ_MPU_PARTS));
}

static void
delays_grow_and_stay_bounded(void **state)
{
	(void)state;
	assert_int_equal(s3_retry_delay_ms(1, 0), 0);
	assert_int_equal(s3_retry_delay_ms(1, UINT32_MAX), 199);
	assert_int_equal(s3_retry_delay_ms(2, UINT32_MAX), 399);
	assert_int_equal(s3_retry_delay_ms(20, UINT32_MAX), 19999);
	assert_int_equal(s3_retry_delay_ms(4000000000u, UINT32_MAX), 19999);
	assert_int_equal(s3_retry_delay_ms(7, UINT32_MAX / 2), 6399);
}

static void
key_errors_of_a_batch(void **state)
{
	(void)state;
	assert_int_equal(s3_retry_key_error("NoSuchKey"), 0);
	assert_int_equal(s3_retry_key_error("AccessDenied"), -EACCES);
	assert_int_equal(s3_retry_key_error("Unheard"), -EIO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(answers_mean_what_the_table_says),
	    cmocka_unit_test(nothing_succeeds_but_what_did),
	    cmocka_unit_test(reads_are_never_maybe_applied),
	    cmocka_unit_test(delays_grow_and_stay_bounded),
	    cmocka_unit_test(key_errors_of_a_batch)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
