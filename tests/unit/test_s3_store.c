/* SPDX-License-Identifier: Apache-2.0 */
/* The S3 store against a server that misbehaves by a script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/base/clock.h"
#include "gateway/base/osfile.h"
#include "s3/objstore_s3.h"
#include "tests/unit/s3_script.h"

#define OK_PUT "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 0\r\n\r\n"
#define OK_TEN "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 10\r\n\r\n0123456789"
#define STEPS(...)                                                                                 \
	(const struct step[])                                                                      \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
#define START(...)                                                                                 \
	script_start(STEPS(__VA_ARGS__), sizeof(STEPS(__VA_ARGS__)) / sizeof(struct step))
#define TEXT(s) ((char *)(uintptr_t)(s))

static struct s3_client *client;

static int
setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERR);
	return s3_client_new(&client);
}

static int
teardown(void **state)
{
	(void)state;
	s3_client_free(client);
	return 0;
}

static struct objstore *
open_store(struct s3_store_conf *conf, const struct script *script)
{
	struct objstore *s;
	char why[128] = "";

	conf->endpoint = TEXT(script->url);
	conf->bucket = TEXT("bkt");
	conf->path_style = true;
	if (conf->cred.source == NULL) {
		conf->cred.access_key = TEXT("AK");
		conf->cred.secret_key = TEXT("SK");
	}
	if (objstore_s3_new(client, conf, &s, why, sizeof(why)) < 0)
		fail_msg("%s", why);
	return s;
}

static struct objstore *
plain_store(const struct script *script)
{
	struct s3_store_conf conf = {0};

	return open_store(&conf, script);
}

static void
end(struct objstore *s, struct script *script)
{
	s->ops->close(s);
	script_stop(script);
}

static struct objstore_req
put_req(void)
{
	return (struct objstore_req){.op = OBJ_PUT, .key = "k", .body = "data", .body_len = 4};
}

static void
overload_is_waited_out(void **state)
{
	struct script *script = START(
	    {REPLY,
		"HTTP/1.1 503 Slow Down\r\nContent-Length: 58\r\n\r\n"
		"<Error><Code>SlowDown</Code><Message>x</Message></Error>  ",
		NULL},
	    {REPLY, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", NULL}, {REPLY, OK_PUT, NULL});
	struct objstore *s = plain_store(script);
	struct objstore_req req = put_req();

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_string_equal(req.etag, "e1");
	assert_int_equal(script->nrequests, 3);
	assert_true(req.maybe_applied); /* the 500 */
	end(s, script);
}

static void
tries_come_to_an_end(void **state)
{
	struct script *script =
	    START({REPLY, "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", NULL});
	struct objstore *s = plain_store(script);
	struct objstore_req req = {.op = OBJ_HEAD, .key = "k", .max_tries = 3};

	(void)state;
	assert_int_equal(objstore_call(s, &req), -ERR_THROTTLED);
	assert_int_equal(script->nrequests, 3);
	assert_int_equal(req.http_status, 503);
	end(s, script);
}

static void
a_lost_reply_is_told(void **state)
{
	struct script *script = START(
	    {CLOSE, NULL, NULL}, {REPLY, "HTTP/1.1 412 No\r\nContent-Length: 0\r\n\r\n", NULL});
	struct objstore *s = plain_store(script);
	struct objstore_req req = put_req();

	(void)state;
	req.if_none_match = true;
	assert_int_equal(objstore_call(s, &req), -ERR_PRECONDITION);
	assert_true(req.maybe_applied);
	end(s, script);
}

/* curl repeats a request by itself when a kept connection ends before the answer's first byte */
static void
a_reply_lost_on_a_kept_connection_is_told_too(void **state)
{
	struct script *script =
	    START({REPLY, OK_PUT, NULL}, {CLOSE, NULL, NULL}, {REPLY, OK_PUT, NULL});
	struct objstore *s = plain_store(script);
	struct objstore_req req = put_req();

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_false(req.maybe_applied);
	assert_int_equal(objstore_call(s, &req), 0);
	assert_true(req.maybe_applied);
	assert_int_equal(script->nrequests, 3);
	end(s, script);
}

static void
nobody_there_is_offline(void **state)
{
	struct script *script = START({REPLY, OK_PUT, NULL});
	struct objstore *s = plain_store(script);
	struct objstore_req req = put_req();

	(void)state;
	script_stop(script);
	req.max_tries = 2;
	assert_int_equal(objstore_call(s, &req), -ERR_OFFLINE);
	assert_false(req.maybe_applied);
	s->ops->close(s);
}

static void
a_torn_body_is_fetched_again(void **state)
{
	struct script *script = START({REPLY_AND_CLOSE,
					  "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 10"
					  "\r\n\r\n01234",
					  NULL},
	    {REPLY, OK_TEN, NULL});
	struct objstore *s = plain_store(script);
	char buf[10];
	struct objstore_req req = {.op = OBJ_GET, .key = "k", .buf = buf, .buf_cap = 10};

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_int_equal(req.got, 10);
	assert_memory_equal(buf, "0123456789", 10);
	assert_int_equal(script->nrequests, 2);
	end(s, script);
}

static void
answers_that_do_not_fit_the_question(void **state)
{
	static const char *const wrong[] = {
	    /* another range, a shorter one, all of it, no length of the whole, no ETag on a HEAD */
	    "HTTP/1.1 206 P\r\nContent-Range: bytes 0-3/10\r\nContent-Length: 4\r\n\r\n0123",
	    "HTTP/1.1 206 P\r\nContent-Range: bytes 2-3/10\r\nContent-Length: 2\r\n\r\n01",
	    "HTTP/1.1 206 P\r\nContent-Length: 4\r\n\r\n0123", OK_TEN, "HTTP/1.1 204 N\r\n\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct script *script = START({REPLY, wrong[i], NULL});
		struct objstore *s = plain_store(script);
		char buf[16];
		struct objstore_req req = {.op = OBJ_GET,
		    .key = "k",
		    .buf = buf,
		    .buf_cap = 16,
		    .range_off = 2,
		    .range_len = 4,
		    .max_tries = 1};

		if (objstore_call(s, &req) != -ERR_PROTOCOL)
			fail_msg("taken: %s", wrong[i]);
		end(s, script);
	}
}

static void
a_store_without_if_match_is_seen_through(void **state)
{
	struct script *script = START({REPLY, OK_TEN, NULL});
	struct objstore *s = plain_store(script);
	char buf[10];
	struct objstore_req req = {
	    .op = OBJ_GET, .key = "k", .buf = buf, .buf_cap = 10, .if_match = "other"};

	(void)state;
	assert_int_equal(objstore_call(s, &req), -ERR_PRECONDITION);
	req.if_match = NULL;
	req.buf_cap = 9;
	assert_int_equal(objstore_call(s, &req), -EFBIG);
	end(s, script);
}

static void
a_wrong_clock_is_put_right(void **state)
{
	struct script *script = START({REPLY,
					  "HTTP/1.1 403 F\r\nDate: Fri, 24 May 2013 00:00:00 "
					  "GMT\r\nContent-Length: 48\r\n\r\n"
					  "<Error><Code>RequestTimeTooSkewed</Code></Error>",
					  NULL},
	    {REPLY, OK_PUT, NULL});
	struct objstore *s = plain_store(script);
	struct objstore_req req = put_req();

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_non_null(strstr(script->requests[1], "x-amz-date: 20130524T0000"));
	end(s, script);
}

static void
a_wrong_clock_is_noticed_without_a_body_too(void **state)
{
	struct script *script =
	    START({REPLY, "HTTP/1.1 403 F\r\nDate: Fri, 24 May 2013 00:00:00 GMT\r\n\r\n", NULL},
		{REPLY, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", NULL});
	struct objstore *s = plain_store(script);
	struct objstore_req req = {.op = OBJ_HEAD, .key = "k"};

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_int_equal(req.size, 5);
	end(s, script);
}

static void
the_region_of_a_bucket_is_learned(void **state)
{
	struct script *script = START({REPLY,
					  "HTTP/1.1 301 M\r\nx-amz-bucket-region: eu-west-1\r\n"
					  "Content-Length: 0\r\n\r\n",
					  NULL},
	    {REPLY, OK_PUT, NULL},
	    {REPLY, "HTTP/1.1 301 M\r\nx-amz-bucket-region: eu-west-2\r\nContent-Length: 0\r\n\r\n",
		NULL});
	struct objstore *s = plain_store(script);
	struct objstore_req req = put_req();

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_non_null(strstr(script->requests[1], "/eu-west-1/s3/aws4_request"));
	/* but it is not chased for ever */
	assert_int_equal(objstore_call(s, &req), -EINVAL);
	assert_int_equal(script->nrequests, 4);
	end(s, script);
}

static char cred_path[64];

static void
write_keys(const char *access_key)
{
	char *text = xasprintf(
	    "[default]\naws_access_key_id=%s\naws_secret_access_key=s\naws_session_token=T%s\n",
	    access_key, access_key);

	CW_ASSERT(osfile_write_atomic(cred_path, text, strlen(text), 0600) == 0);
	free(text);
}

static void
write_new_keys(void)
{
	write_keys("NEW");
}

static void
expired_keys_are_read_again(void **state)
{
	static const char expired[] = "HTTP/1.1 400 B\r\nContent-Length: 40\r\n\r\n"
				      "<Error><Code>ExpiredToken</Code></Error>";
	struct script *script = START({REPLY, OK_PUT, NULL}, {REPLY, expired, write_new_keys},
	    {REPLY, OK_PUT, NULL}, {REPLY, expired, NULL});
	struct s3_store_conf conf = {
	    .cred = {.source = TEXT("profile"), .file = cred_path, .profile = TEXT("default")}};
	struct objstore_req req = put_req();
	struct objstore *s;

	(void)state;
	snprintf(cred_path, sizeof(cred_path), "/tmp/cw-cred-%d", (int)getpid());
	write_keys("OLD");
	s = open_store(&conf, script);
	assert_int_equal(objstore_call(s, &req), 0);
	assert_non_null(strstr(script->requests[0], "Credential=OLD/"));
	assert_int_equal(objstore_call(s, &req), 0);
	assert_non_null(strstr(script->requests[1], "Credential=OLD/"));
	assert_non_null(strstr(script->requests[2], "Credential=NEW/"));
	assert_non_null(strstr(script->requests[2], "x-amz-security-token: TNEW"));
	/* no better ones: reported, after one more try */
	assert_int_equal(objstore_call(s, &req), -ERR_CREDENTIALS);
	assert_string_equal(req.error_code, "ExpiredToken");
	assert_int_equal(script->nrequests, 5);
	end(s, script);
	unlink(cred_path);
}

static void
no_keys_is_an_error_not_a_wait(void **state)
{
	struct script *script = START({REPLY, OK_PUT, NULL});
	struct s3_store_conf conf = {.cred = {.source = TEXT("profile"),
					 .file = TEXT("/nonexistent/x"),
					 .profile = TEXT("default")}};
	struct objstore *s = open_store(&conf, script);
	struct objstore_req req = put_req();

	(void)state;
	assert_int_equal(objstore_call(s, &req), -ERR_CREDENTIALS);
	assert_string_equal(req.error_code, "NoCredentials");
	assert_int_equal(script->nrequests, 0);
	end(s, script);
}

static void
keys_come_from_the_metadata_service(void **state)
{
	struct script *imds =
	    START({REPLY, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nTOK", NULL},
		{REPLY, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmyrole", NULL},
		{REPLY,
		    "HTTP/1.1 200 OK\r\nContent-Length: 98\r\n\r\n"
		    "{\"AccessKeyId\":\"AKI\",\"SecretAccessKey\":\"S\",\"Token\":\"SESSION\","
		    "\"Expiration\":\"2100-01-01T00:00:00Z\"} ",
		    NULL});
	struct script *script = START({REPLY, OK_PUT, NULL});
	struct s3_store_conf conf = {
	    .cred = {.source = TEXT("imds"), .imds_endpoint = TEXT(imds->url)}};
	struct objstore *s = open_store(&conf, script);
	struct objstore_req req = put_req();

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_int_equal(objstore_call(s, &req), 0);
	assert_int_equal(imds->nrequests, 3);
	assert_memory_equal(imds->requests[0], "PUT /latest/api/token", 21);
	assert_non_null(strstr(imds->requests[1], "x-aws-ec2-metadata-token: TOK"));
	assert_non_null(strstr(imds->requests[2], "/security-credentials/myrole "));
	assert_non_null(strstr(script->requests[0], "Credential=AKI/"));
	assert_non_null(strstr(script->requests[1], "x-amz-security-token: SESSION"));
	end(s, script);
	script_stop(imds);
}

static void
an_error_inside_a_200_is_an_error(void **state)
{
	struct script *script = START({REPLY,
					  "HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n"
					  "<Error><Code>InternalError</Code></Error>",
					  NULL},
	    {REPLY,
		"HTTP/1.1 200 OK\r\nContent-Length: 83\r\n\r\n<CompleteMultipartUploadResult><ETag>"
		"\"x-1\"</ETag></CompleteMultipartUploadResult>   ",
		NULL});
	struct objstore *s = plain_store(script);
	struct objstore_part part = {.number = 1, .etag = "e"};
	struct objstore_req req = {
	    .op = OBJ_MPU_COMPLETE, .key = "k", .upload_id_in = "u", .parts = &part, .nparts = 1};

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_string_equal(req.etag, "x-1");
	assert_true(req.maybe_applied);
	assert_int_equal(script->nrequests, 2);
	end(s, script);
}

static void
keys_of_a_batch_fail_alone(void **state)
{
	struct script *script = START({REPLY,
	    "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n<DeleteResult><Error><Key>b</Key><Code>"
	    "AccessDenied</Code></Error></DeleteResult>           ",
	    NULL});
	struct objstore *s = plain_store(script);
	const char *keys[] = {"a", "b", "\x01"};
	int errs[3] = {1, 1, 1};
	struct objstore_req req = {
	    .op = OBJ_DELETE_MANY, .keys = keys, .key_errs = errs, .nkeys = 3};

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_int_equal(errs[0], 0);
	assert_int_equal(errs[1], -EACCES);
	assert_int_equal(errs[2], -EILSEQ);
	end(s, script);
}

static void
count_done(struct objstore_req *req)
{
	atomic_fetch_add((atomic_int *)req->ctx, 1);
}

static void
a_hung_store_delays_nobody_else(void **state)
{
	struct script *hung = START({HANG, NULL, NULL}), *fine = START({REPLY, OK_PUT, NULL});
	struct objstore *a = plain_store(hung), *b = plain_store(fine);
	struct objstore_req stuck[50], req = put_req();
	atomic_int done = 0;

	(void)state;
	for (int i = 0; i < 50; i++) {
		stuck[i] = put_req();
		stuck[i].done = count_done;
		stuck[i].ctx = &done;
		objstore_submit(a, &stuck[i]);
	}
	script_wait(hung, 28); /* all but the connections kept for reads */
	assert_int_equal(objstore_call(b, &req), 0);
	assert_int_equal(done, 0);
	a->ops->close(a);
	assert_int_equal(done, 50);
	for (int i = 0; i < 50; i++)
		assert_int_equal(stuck[i].result, -ECANCELED);
	assert_true(stuck[0].maybe_applied);
	assert_false(stuck[49].maybe_applied);
	script_stop(hung);
	end(b, fine);
}

static void
a_read_gets_past_stuck_writes(void **state)
{
	static const struct step steps[] = {{HANG, NULL, NULL}, {HANG, NULL, NULL},
	    {HANG, NULL, NULL}, {REPLY, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", NULL}};
	struct script *script = script_start(steps, 4);
	struct s3_store_conf conf = {.max_connections = 4};
	struct objstore *s = open_store(&conf, script);
	struct objstore_req writes[20], req = {.op = OBJ_HEAD, .key = "k"};
	atomic_int done = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		writes[i] = put_req();
		writes[i].done = count_done;
		writes[i].ctx = &done;
		objstore_submit(s, &writes[i]);
	}
	script_wait(script, 3);
	assert_int_equal(objstore_call(s, &req), 0);
	assert_int_equal(done, 0);
	end(s, script);
	assert_int_equal(done, 20);
}

static void
silence_ends_a_try(void **state)
{
	struct script *script = START({HANG, NULL, NULL}, {REPLY, OK_PUT, NULL});
	struct s3_store_conf conf = {.timeout_s = 1};
	struct objstore *s = open_store(&conf, script);
	struct objstore_req req = put_req();

	(void)state;
	assert_int_equal(objstore_call(s, &req), 0);
	assert_true(req.maybe_applied);
	end(s, script);
}

static void
hundreds_at_once_share_few_connections(void **state)
{
	enum { N = 500 };
	struct script *script = START({REPLY, OK_TEN, NULL});
	struct s3_store_conf conf = {.max_connections = 6};
	struct objstore *s = open_store(&conf, script);
	struct objstore_req *reqs = xcalloc(N, sizeof(*reqs)), last = put_req();
	char *buf = xmalloc(N * 10);
	atomic_int done = 0;

	(void)state;
	for (int i = 0; i < N; i++) {
		reqs[i] = (struct objstore_req){.op = OBJ_GET,
		    .key = "k",
		    .buf = buf + (size_t)i * 10,
		    .buf_cap = 10,
		    .done = count_done,
		    .ctx = &done};
		objstore_submit(s, &reqs[i]);
	}
	for (int i = 0; i < 10000 && done < N; i++)
		clock_sleep_ms(1);
	assert_int_equal(done, N);
	for (int i = 0; i < N; i++)
		assert_true(reqs[i].result == 0 && reqs[i].got == 10);
	assert_true(script->most_active <= 6);
	assert_true(script->nconns <= 6);
	assert_int_equal(objstore_call(s, &last), 0);
	end(s, script);
	free(reqs);
	free(buf);
}

static void
submit_in_done(struct objstore_req *req)
{
	struct objstore_req *second = req->ctx;

	objstore_submit((struct objstore *)second->impl, second);
}

static void
done_may_submit_even_while_closing(void **state)
{
	struct script *script = START({HANG, NULL, NULL});
	struct objstore *s = plain_store(script);
	struct objstore_req first = put_req(), second = put_req();
	atomic_int done = 0;

	(void)state;
	second.done = count_done;
	second.ctx = &done;
	second.impl = s;
	first.done = submit_in_done;
	first.ctx = &second;
	objstore_submit(s, &first);
	script_wait(script, 1);
	s->ops->close(s);
	assert_int_equal(first.result, -ECANCELED);
	assert_int_equal(second.result, -ECANCELED);
	assert_int_equal(done, 1);
	script_stop(script);
}

static void
bad_configurations_say_why(void **state)
{
	struct s3_store_conf conf = {.endpoint = TEXT("nonsense"), .bucket = TEXT("bkt")};
	struct objstore *s;
	char why[128] = "";

	(void)state;
	assert_int_equal(objstore_s3_new(client, &conf, &s, why, sizeof(why)), -EINVAL);
	assert_string_equal(why, "endpoint must begin with http:// or https://");
	conf.endpoint = TEXT("http://h");
	conf.cred.source = TEXT("magic");
	assert_int_equal(objstore_s3_new(client, &conf, &s, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "source"));
	conf.cred.source = TEXT("static");
	assert_int_equal(objstore_s3_new(client, &conf, &s, why, sizeof(why)), -EINVAL);
	conf.cred.access_key = conf.cred.secret_key = TEXT("x");
	conf.sse_c_key_base64 = TEXT("c2hvcnQ=");
	assert_int_equal(objstore_s3_new(client, &conf, &s, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "SSE-C"));
	conf.sse_c_key_base64 = NULL;
	conf.bucket = NULL;
	assert_int_equal(objstore_s3_new(client, &conf, &s, why, sizeof(why)), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(overload_is_waited_out),
	    cmocka_unit_test(tries_come_to_an_end), cmocka_unit_test(a_lost_reply_is_told),
	    cmocka_unit_test(a_reply_lost_on_a_kept_connection_is_told_too),
	    cmocka_unit_test(nobody_there_is_offline),
	    cmocka_unit_test(a_torn_body_is_fetched_again),
	    cmocka_unit_test(answers_that_do_not_fit_the_question),
	    cmocka_unit_test(a_store_without_if_match_is_seen_through),
	    cmocka_unit_test(a_wrong_clock_is_put_right),
	    cmocka_unit_test(a_wrong_clock_is_noticed_without_a_body_too),
	    cmocka_unit_test(the_region_of_a_bucket_is_learned),
	    cmocka_unit_test(expired_keys_are_read_again),
	    cmocka_unit_test(no_keys_is_an_error_not_a_wait),
	    cmocka_unit_test(keys_come_from_the_metadata_service),
	    cmocka_unit_test(an_error_inside_a_200_is_an_error),
	    cmocka_unit_test(keys_of_a_batch_fail_alone),
	    cmocka_unit_test(a_hung_store_delays_nobody_else),
	    cmocka_unit_test(a_read_gets_past_stuck_writes), cmocka_unit_test(silence_ends_a_try),
	    cmocka_unit_test(hundreds_at_once_share_few_connections),
	    cmocka_unit_test(done_may_submit_even_while_closing),
	    cmocka_unit_test(bad_configurations_say_why)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
