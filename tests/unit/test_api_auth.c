/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures that botocore made, and every way to spoil one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/api/api_int.h"

#define NOW 1795424400 /* 2026-11-23T09:00:00Z */
#define BODY "{\"Limit\": 5}"
#define AUTH(signed, signature)                                                                    \
	"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/storagegateway/aws4_request, " \
	"SignedHeaders=" signed ", Signature=" signature
#define PLAIN_SIG "d16f1f3d9819e6b852d4ea8b75f72f10daba24ccc5968e923884cfb805a3dce2"
#define TOKEN_SIG "c345b22fe4844b4301017125ffafc30f43234a88d94a6eea6ea8f87d0ab0135e"
#define QUERY_SIG "7690d7adc85bfe0b61166f9c175b173e2a5ed62ad7a06f5fa6cc9f5d415e941d"

static char access_key[] = "AKIDEXAMPLE", secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
static char token[] = "TOKEN/+=", no_token[] = "";
static struct api_key keys[] = {{access_key, secret, NULL}};

/* A request as the AWS CLI sends it; header i of it can be replaced. */
static struct api_request
request(const char *authorization)
{
	struct api_request r = {
	    .method = "POST", .path = "/", .query = "", .body = BODY, .body_len = strlen(BODY)};

	r.headers[0] = (struct s3_header){"HOST", "127.0.0.1:8080"};
	r.headers[1] = (struct s3_header){"Content-Type", "application/x-amz-json-1.1"};
	r.headers[2] = (struct s3_header){"X-Amz-Target", "StorageGateway_20130630.ListGateways"};
	r.headers[3] = (struct s3_header){"x-amz-date", "20261123T090000Z"};
	r.headers[4] = (struct s3_header){"Authorization", authorization};
	r.nheaders = 5;
	return r;
}

static void
refused(const struct api_request *r, int64_t now, const char *type, const char *text)
{
	struct control_error e = {0};

	assert_int_equal(api_auth_verify(keys, 1, r, "storagegateway", now, &e), -EINVAL);
	assert_string_equal(e.type, type);
	if (strstr(e.message, text) == NULL)
		fail_msg("\"%s\" does not hold \"%s\"", e.message, text);
}

static const char good[] = AUTH("content-type;host;x-amz-date;x-amz-target", PLAIN_SIG);

static void
a_known_good_signature_passes(void **state)
{
	struct control_error e = {0};
	struct api_request r = request(good);

	(void)state;
	assert_int_equal(api_auth_verify(keys, 1, &r, "storagegateway", NOW, &e), 0);
	assert_int_equal(api_auth_verify(keys, 1, &r, "storagegateway", NOW + 899, &e), 0);
	assert_int_equal(api_auth_verify(keys, 1, &r, "storagegateway", NOW - 899, &e), 0);
}

static void
a_query_is_part_of_the_signature(void **state)
{
	struct control_error e = {0};
	struct api_request r = request(AUTH("host;x-amz-date", QUERY_SIG));

	(void)state;
	r.headers[2] = (struct s3_header){"Accept", "*/*"};
	r.method = "GET";
	r.path = "/v1/events";
	r.query = "type=refresh-complete&max=10";
	r.body_len = 0;
	assert_int_equal(api_auth_verify(keys, 1, &r, "storagegateway", NOW, &e), 0);
	r.query = "type=refresh-complete&max=11";
	refused(&r, NOW, "InvalidSignatureException", "does not match");
	r.query = "type=refresh-complete&max=10";
	r.path = "/v1/status";
	refused(&r, NOW, "InvalidSignatureException", "does not match");
}

static void
any_change_is_noticed(void **state)
{
	struct api_request r = request(good);

	(void)state;
	r.body = "{\"Limit\": 6}";
	refused(&r, NOW, "InvalidSignatureException", "does not match");
	r = request(good);
	r.headers[2].value = "StorageGateway_20130630.DeleteGateway";
	refused(&r, NOW, "InvalidSignatureException", "does not match");
	r = request(good);
	r.headers[0].value = "127.0.0.1:8081";
	refused(&r, NOW, "InvalidSignatureException", "does not match");
	r = request(good);
	r.method = "PUT";
	refused(&r, NOW, "InvalidSignatureException", "does not match");
}

static void
what_matters_must_be_signed(void **state)
{
	struct api_request r = request(AUTH("content-type;host;x-amz-date", PLAIN_SIG));

	(void)state;
	refused(&r, NOW, "InvalidSignatureException", "'x-amz-target' must be");
	r = request(AUTH("content-type;x-amz-date;x-amz-target", PLAIN_SIG));
	refused(&r, NOW, "InvalidSignatureException", "'host' must be");
	r = request(AUTH("content-type;host;x-amz-target", PLAIN_SIG));
	refused(&r, NOW, "InvalidSignatureException", "'x-amz-date' must be");
}

static void
old_and_early_requests_are_refused(void **state)
{
	struct api_request r = request(good);

	(void)state;
	refused(&r, NOW + 901, "InvalidSignatureException",
	    "Signature expired: 20261123T090000Z is now earlier than 20261123T090001Z");
	refused(&r, NOW - 901, "InvalidSignatureException", "Signature not yet current");
	r.headers[3].value = "20261124T090000Z";
	refused(&r, NOW, "InvalidSignatureException", "Date in Credential scope");
	r.headers[3].value = "Mon, 23 Nov 2026";
	refused(&r, NOW, "IncompleteSignatureException", "Date must be");
}

static void
strangers_and_fragments_are_refused(void **state)
{
	struct api_request r = request(good);

	(void)state;
	r.nheaders = 4;
	refused(&r, NOW, "MissingAuthenticationTokenException", "Missing");
	r = request("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE");
	refused(&r, NOW, "IncompleteSignatureException", "Authorization header requires");
	r = request("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	refused(&r, NOW, "IncompleteSignatureException", "Authorization header requires");
	r = request("");
	refused(&r, NOW, "IncompleteSignatureException", "Authorization header requires");
	r = request(
	    "AWS4-HMAC-SHA256 Credential=NOBODY/20261123/us-east-1/storagegateway/aws4_request, "
	    "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=" PLAIN_SIG);
	refused(&r, NOW, "UnrecognizedClientException", "security token");
	r = request(
	    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/s3/aws4_request, "
	    "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=" PLAIN_SIG);
	refused(&r, NOW, "InvalidSignatureException", "correct service: 'storagegateway'");
	r = request(AUTH("content-type;host;x-amz-date;x-amz-target", TOKEN_SIG));
	refused(&r, NOW, "InvalidSignatureException", "does not match");
}

static void
a_session_token_must_be_there_and_right(void **state)
{
	struct api_key with[] = {{access_key, secret, token}},
		       without[] = {{access_key, secret, no_token}};
	struct api_request r = request(
	    AUTH("content-type;host;x-amz-date;x-amz-security-token;x-amz-target", TOKEN_SIG));
	struct control_error e = {0};

	(void)state;
	r.headers[r.nheaders++] = (struct s3_header){"X-Amz-Security-Token", "TOKEN/+="};
	assert_int_equal(api_auth_verify(with, 1, &r, "storagegateway", NOW, &e), 0);
	assert_int_equal(api_auth_verify(without, 1, &r, "storagegateway", NOW, &e), -EINVAL);
	assert_string_equal(e.type, "UnrecognizedClientException");
	r.headers[5].value = "TOKEN/+-";
	assert_int_equal(api_auth_verify(with, 1, &r, "storagegateway", NOW, &e), -EINVAL);
	assert_string_equal(e.type, "UnrecognizedClientException");
	r = request(good);
	assert_int_equal(api_auth_verify(with, 1, &r, "storagegateway", NOW, &e), -EINVAL);
}

static void
credentials_files_are_read_leniently(void **state)
{
	struct api_key *k;
	int n = api_keys_parse("# mine\n[default]\naws_access_key_id = A\n"
			       "aws_secret_access_key = b=c;d\nregion = x\n\n"
			       "[half]\naws_access_key_id = B\n"
			       "[other]\naws_secret_access_key=s\naws_access_key_id=C\n"
			       "aws_session_token = t\n",
	    &k);

	(void)state;
	assert_int_equal(n, 2);
	assert_string_equal(k[0].access_key, "A");
	assert_string_equal(k[0].secret_key, "b=c;d");
	assert_string_equal(k[1].access_key, "C");
	assert_string_equal(k[1].session_token, "t");
	api_keys_free(k, 2);
	assert_int_equal(api_keys_parse("nonsense", &k), -EINVAL);
}

static void
write_file(const char *path, const char *secret_text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = %s\n",
	    secret_text);
	fclose(f);
}

static void
a_changed_file_is_read_again(void **state)
{
	char path[] = "/tmp/cw-test-credentials-XXXXXX";
	struct api_request r = request(good);
	struct control_error e = {0};
	struct api_auth *a;

	(void)state;
	close(mkstemp(path));
	write_file(path, "wrong");
	a = api_auth_new(path);
	assert_int_equal(api_auth_check(a, &r, "storagegateway", NOW, &e), -EINVAL);
	write_file(path, secret);
	assert_int_equal(api_auth_check(a, &r, "storagegateway", NOW, &e), 0);
	unlink(path); /* gone for a moment: what was known stands */
	assert_int_equal(api_auth_check(a, &r, "storagegateway", NOW, &e), 0);
	api_auth_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_known_good_signature_passes),
	    cmocka_unit_test(a_query_is_part_of_the_signature),
	    cmocka_unit_test(any_change_is_noticed),
	    cmocka_unit_test(what_matters_must_be_signed),
	    cmocka_unit_test(old_and_early_requests_are_refused),
	    cmocka_unit_test(strangers_and_fragments_are_refused),
	    cmocka_unit_test(a_session_token_must_be_there_and_right),
	    cmocka_unit_test(credentials_files_are_read_leniently),
	    cmocka_unit_test(a_changed_file_is_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
