/* SPDX-License-Identifier: Apache-2.0 */
/* SigV4 against the examples that AWS publishes, and the parsers around it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "s3/s3_sign.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define S3_SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SUITE_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

static void
assert_signature(const struct s3_sign_request *r, const char *secret, const char *want)
{
	char sig[65];

	assert_int_equal(s3_sign(r, secret, sig, NULL), 0);
	assert_string_equal(sig, want);
}

/* source: S3 API Reference, "Signature Calculations for the Authorization Header" */
static void
get_object_example(void **state)
{
	struct s3_header h[] = {{"Host", "examplebucket.s3.amazonaws.com"}, {"Range", "bytes=0-9"},
	    {"x-amz-content-sha256", EMPTY}, {"x-amz-date", "20130524T000000Z"}};
	struct s3_sign_request r = {.method = "GET",
	    .path = "/test.txt",
	    .headers = h,
	    .nheaders = 4,
	    .payload_hash = EMPTY,
	    .amz_date = "20130524T000000Z",
	    .region = "us-east-1",
	    .service = "s3"};
	char sig[65], *list;

	(void)state;
	assert_int_equal(s3_sign(&r, S3_SECRET, sig, &list), 0);
	assert_string_equal(
	    sig, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	assert_string_equal(list, "host;range;x-amz-content-sha256;x-amz-date");
	free(list);
}

static void
put_object_example(void **state)
{
	static const char hash[] =
	    "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
	struct s3_header h[] = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
	    {"Host", "examplebucket.s3.amazonaws.com"}, {"x-amz-date", "20130524T000000Z"},
	    {"x-amz-storage-class", "REDUCED_REDUNDANCY"}, {"x-amz-content-sha256", hash}};
	struct s3_sign_request r = {.method = "PUT",
	    .path = "/test$file.text",
	    .headers = h,
	    .nheaders = 5,
	    .payload_hash = hash,
	    .amz_date = "20130524T000000Z",
	    .region = "us-east-1",
	    .service = "s3"};

	(void)state;
	assert_signature(
	    &r, S3_SECRET, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void
subresource_and_list_examples(void **state)
{
	struct s3_header h[] = {{"Host", "examplebucket.s3.amazonaws.com"},
	    {"x-amz-date", "20130524T000000Z"}, {"x-amz-content-sha256", EMPTY}};
	struct s3_sign_request r = {.method = "GET",
	    .path = "/",
	    .query = "lifecycle",
	    .headers = h,
	    .nheaders = 3,
	    .payload_hash = EMPTY,
	    .amz_date = "20130524T000000Z",
	    .region = "us-east-1",
	    .service = "s3"};

	(void)state;
	assert_signature(
	    &r, S3_SECRET, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	r.query = "prefix=J&max-keys=2";
	assert_signature(
	    &r, S3_SECRET, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

/* source: S3 API Reference, "Authenticating Requests: Using Query Parameters" */
static void
presigned_example(void **state)
{
	struct s3_header h[] = {{"host", "examplebucket.s3.amazonaws.com"}};
	struct s3_sign_request r = {.method = "GET",
	    .path = "/test.txt",
	    .query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F"
		     "20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&"
		     "X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=deadbeef",
	    .headers = h,
	    .nheaders = 1,
	    .signed_headers = "host",
	    .payload_hash = "UNSIGNED-PAYLOAD",
	    .amz_date = "20130524T000000Z",
	    .region = "us-east-1",
	    .service = "s3",
	    .drop_query_param = "X-Amz-Signature"};

	(void)state;
	assert_signature(
	    &r, S3_SECRET, "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

/* source: S3 API Reference, "Transferring Payload in Multiple Chunks" */
static void
chunk_examples(void **state)
{
	static const char seed[] =
	    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
	static const char scope[] = "20130524/us-east-1/s3/aws4_request";
	static const size_t sizes[] = {65536, 1024, 0};
	static const char *const want[] = {
	    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
	    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
	    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"};
	char prev[65], sig[65], hex[65], *data = xmalloc(65536);
	uint8_t key[32], digest[32];

	(void)state;
	memset(data, 'a', 65536);
	memcpy(prev, seed, 65);
	s3_signing_key(S3_SECRET, "20130524", "us-east-1", "s3", key);
	for (int i = 0; i < 3; i++) {
		digest_sha256(data, sizes[i], digest);
		digest_hex(digest, 32, hex);
		s3_sign_chunk(key, "20130524T000000Z", scope, prev, hex, sig);
		assert_string_equal(sig, want[i]);
		memcpy(prev, sig, 65);
	}
	free(data);
}

/* source: the "aws-sig-v4-test-suite" and the IAM ListUsers example of the General Reference */
static void
test_suite_vectors(void **state)
{
	struct s3_header h[] = {
	    {"Host", "example.amazonaws.com"}, {"X-Amz-Date", "20150830T123600Z"}};
	struct s3_header iam[] = {
	    {"content-type", "application/x-www-form-urlencoded; charset=utf-8"},
	    {"host", "iam.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}};
	struct s3_sign_request r = {.method = "GET",
	    .path = "/",
	    .headers = h,
	    .nheaders = 2,
	    .payload_hash = EMPTY,
	    .amz_date = "20150830T123600Z",
	    .region = "us-east-1",
	    .service = "service"};

	(void)state;
	assert_signature(
	    &r, SUITE_SECRET, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
	r.query = "Param2=value2&Param1=value1";
	assert_signature(
	    &r, SUITE_SECRET, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
	r.query = "Action=ListUsers&Version=2010-05-08";
	r.headers = iam;
	r.nheaders = 3;
	r.service = "iam";
	assert_signature(
	    &r, SUITE_SECRET, "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

static void
blanks_and_case_of_headers_do_not_matter(void **state)
{
	struct s3_header a[] = {{"Host", "h"}, {"X-Amz-Meta-Name", "  a   b "}};
	struct s3_header b[] = {{"x-amz-meta-name", "a b"}, {"host", "h"}};
	struct s3_sign_request r = {.method = "GET",
	    .path = "/",
	    .headers = a,
	    .nheaders = 2,
	    .payload_hash = EMPTY,
	    .amz_date = "20150830T123600Z",
	    .region = "us-east-1",
	    .service = "s3"};
	char sig[65];

	(void)state;
	assert_int_equal(s3_sign(&r, "secret", sig, NULL), 0);
	r.headers = b;
	assert_signature(&r, "secret", sig);
}

static void
malformed_requests_are_refused(void **state)
{
	struct s3_header h[] = {{"host", "h"}};
	struct s3_sign_request r = {.method = "GET",
	    .path = "/",
	    .headers = h,
	    .nheaders = 1,
	    .signed_headers = "host;x-amz-date",
	    .payload_hash = EMPTY,
	    .amz_date = "20150830T123600Z",
	    .region = "r",
	    .service = "s3"};
	char sig[65];

	(void)state;
	assert_int_equal(s3_sign(&r, "s", sig, NULL), -EINVAL);
	r.signed_headers = "host";
	assert_int_equal(s3_sign(&r, "s", sig, NULL), 0);
	r.query = "a=%zz";
	assert_int_equal(s3_sign(&r, "s", sig, NULL), -EINVAL);
	r.query = "a=%4";
	assert_int_equal(s3_sign(&r, "s", sig, NULL), -EINVAL);
	r.query = NULL;
	r.amz_date = "20150830 123600Z";
	assert_int_equal(s3_sign(&r, "s", sig, NULL), -EINVAL);
	r.amz_date = "2015";
	assert_int_equal(s3_sign(&r, "s", sig, NULL), -EINVAL);
}

static void
authorization_is_taken_apart(void **state)
{
	static const char good[] =
	    "AWS4-HMAC-SHA256 Credential=a/b/20130524/us-east-1/s3/aws4_request, "
	    "SignedHeaders=host;range,Signature=" EMPTY;
	static const char *const bad[] = {"", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ",
	    "AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request",
	    "AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws5_request, SignedHeaders=a, "
	    "Signature=" EMPTY,
	    "AWS4-HMAC-SHA256 Credential=/20130524/r/s3/aws4_request, SignedHeaders=a, "
	    "Signature=" EMPTY,
	    "AWS4-HMAC-SHA256 Credential=a/2013/r/s3/aws4_request, SignedHeaders=a, "
	    "Signature=" EMPTY,
	    "AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request, SignedHeaders=a, "
	    "Signature=12",
	    "AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request, SignedHeaders=, "
	    "Signature=" EMPTY,
	    "AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request, SignedHeaders=a, "
	    "Signature=" EMPTY " x"};
	struct s3_auth auth;
	char *huge = xmalloc(5001);

	(void)state;
	assert_int_equal(s3_auth_parse(good, &auth), 0);
	assert_string_equal(auth.access_key, "a/b");
	assert_string_equal(auth.date, "20130524");
	assert_string_equal(auth.region, "us-east-1");
	assert_string_equal(auth.service, "s3");
	assert_string_equal(auth.signed_headers, "host;range");
	assert_string_equal(auth.signature, EMPTY);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(s3_auth_parse(bad[i], &auth), -EINVAL);
	memset(huge, 'x', 5000);
	huge[5000] = '\0';
	assert_int_equal(s3_auth_parse(huge, &auth), -EINVAL);
	free(huge);
}

static void
uri_coding_round_trips(void **state)
{
	char all[256], *enc, *dec;

	(void)state;
	for (int i = 1; i < 256; i++)
		all[i - 1] = (char)i;
	all[255] = '\0';
	enc = s3_uri_encode(all, false);
	dec = s3_uri_decode(enc, strlen(enc));
	assert_string_equal(dec, all);
	assert_null(strpbrk(enc, " /+=&\"<>"));
	free(enc);
	free(dec);
	enc = s3_uri_encode("/a b/\xc3\xa4~", true);
	assert_string_equal(enc, "/a%20b/%C3%A4~");
	free(enc);
	dec = s3_uri_decode("a+b%2f", 6);
	assert_string_equal(dec, "a+b/");
	free(dec);
	assert_null(s3_uri_decode("%00", 3));
	assert_null(s3_uri_decode("a%2", 3));
	assert_null(s3_uri_decode("a%", 2));
	assert_null(s3_uri_decode("%g1", 3));
	assert_null(s3_uri_decode("%1\0", 3));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(get_object_example),
	    cmocka_unit_test(put_object_example), cmocka_unit_test(subresource_and_list_examples),
	    cmocka_unit_test(presigned_example), cmocka_unit_test(chunk_examples),
	    cmocka_unit_test(test_suite_vectors),
	    cmocka_unit_test(blanks_and_case_of_headers_do_not_matter),
	    cmocka_unit_test(malformed_requests_are_refused),
	    cmocka_unit_test(authorization_is_taken_apart),
	    cmocka_unit_test(uri_coding_round_trips)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
