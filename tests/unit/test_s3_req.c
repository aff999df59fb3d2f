/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as they go on the wire, endpoints, headers of answers, times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_int.h"
#include "s3/s3_time.h"

static const struct s3_req_conf plain = {.bucket = "bkt"};

/* show - method, path, query, headers in order and body of a request, as one text. */
static char *
show(const struct s3_req_conf *conf, const struct objstore_req *req)
{
	struct strbuf b = STRBUF_INIT;
	struct s3_wire w;

	if (s3_wire_build(conf, req, &w) < 0)
		return xstrdup("refused");
	strbuf_addf(&b, "%s %s?%s\n", w.method, w.key, w.query);
	for (size_t i = 0; i < w.nheaders; i++)
		strbuf_addf(&b, "%s: %s\n", w.headers[i].name, w.headers[i].value);
	if (w.has_body)
		strbuf_addf(
		    &b, "%.*s", (int)w.body_len, w.body != NULL ? (const char *)w.body : "");
	s3_wire_free(&w);
	return strbuf_take(&b);
}

static void
assert_shows(const struct s3_req_conf *conf, const struct objstore_req *req, const char *want)
{
	char *got = show(conf, req);

	assert_string_equal(got, want);
	free(got);
}

static void
object_requests(void **state)
{
	struct objstore_meta meta = {"file-mtime", "1ns"};
	struct objstore_attrs attrs = {.content_type = "text/plain",
	    .storage_class = "STANDARD_IA",
	    .acl = "bucket-owner-full-control",
	    .sse = "aws:kms",
	    .sse_kms_key = "k1",
	    .meta = &meta,
	    .nmeta = 1};
	struct s3_req_conf payer = {.bucket = "bkt", .requester_pays = true};

	(void)state;
	assert_shows(&plain,
	    &(struct objstore_req){
		.op = OBJ_GET, .key = "a b/c?", .range_off = 5, .range_len = 10, .if_match = "e1"},
	    "GET a%20b/c%3F?\nif-match: \"e1\"\nrange: bytes=5-14\n");
	assert_shows(&plain, &(struct objstore_req){.op = OBJ_GET, .key = "k", .range_off = 7},
	    "GET k?\nrange: bytes=7-\n");
	assert_shows(&payer, &(struct objstore_req){.op = OBJ_HEAD, .key = "k"},
	    "HEAD k?\nx-amz-request-payer: requester\n");
	assert_shows(&plain,
	    &(struct objstore_req){.op = OBJ_PUT,
		.key = "k",
		.body = "data",
		.body_len = 4,
		.attrs = &attrs,
		.if_none_match = true},
	    "PUT k?\ncontent-type: text/plain\nx-amz-storage-class: STANDARD_IA\n"
	    "x-amz-acl: bucket-owner-full-control\nx-amz-server-side-encryption: aws:kms\n"
	    "x-amz-server-side-encryption-aws-kms-key-id: k1\nx-amz-meta-file-mtime: 1ns\n"
	    "if-none-match: *\ndata");
	assert_shows(&plain, &(struct objstore_req){.op = OBJ_DELETE, .key = "k"}, "DELETE k?\n");
	assert_shows(&plain,
	    &(struct objstore_req){
		.op = OBJ_COPY, .key = "new", .src_key = "old \xc3\xa4", .src_if_match = "e"},
	    "PUT new?\nx-amz-copy-source: /bkt/old%20%C3%A4\nx-amz-copy-source-if-match: \"e\"\n");
}

static void
customer_keys_go_with_object_and_source(void **state)
{
	struct s3_req_conf conf = {
	    .bucket = "bkt", .sse_c_key_base64 = "KEY", .sse_c_key_md5_base64 = "MD5"};
	char *text =
	    show(&conf, &(struct objstore_req){.op = OBJ_COPY, .key = "n", .src_key = "o"});

	(void)state;
	assert_non_null(strstr(text, "x-amz-server-side-encryption-customer-key: KEY\n"));
	assert_non_null(
	    strstr(text, "x-amz-copy-source-server-side-encryption-customer-key-MD5: MD5\n"));
	free(text);
}

static void
bucket_and_multipart_requests(void **state)
{
	struct objstore_part parts[] = {{.number = 1, .etag = "e1"}, {.number = 2, .etag = "e2"}};
	const char *keys[] = {"a<b", "\x01", "c"};
	char *text;

	(void)state;
	assert_shows(&plain,
	    &(struct objstore_req){.op = OBJ_LIST,
		.prefix = "p/ q",
		.delimiter = "/",
		.start_after = "p/x",
		.max_keys = 9},
	    "GET ?list-type=2&encoding-type=url&prefix=p%2F%20q&delimiter=%2F&start-after=p%2Fx&"
	    "max-keys=9\n");
	assert_shows(&plain,
	    &(struct objstore_req){.op = OBJ_LIST, .start_after = "ignored", .token = "t+/="},
	    "GET ?list-type=2&encoding-type=url&continuation-token=t%2B%2F%3D\n");
	assert_shows(
	    &plain, &(struct objstore_req){.op = OBJ_MPU_CREATE, .key = "k"}, "POST k?uploads=\n");
	assert_shows(&plain,
	    &(struct objstore_req){.op = OBJ_MPU_PART,
		.key = "k",
		.upload_id_in = "u+1",
		.part_number = 3,
		.body = "xy",
		.body_len = 2},
	    "PUT k?partNumber=3&uploadId=u%2B1\nxy");
	assert_shows(&plain,
	    &(struct objstore_req){.op = OBJ_MPU_PART_COPY,
		.key = "k",
		.upload_id_in = "u",
		.part_number = 3,
		.src_key = "s",
		.range_off = 0,
		.range_len = 5},
	    "PUT k?partNumber=3&uploadId=u\nx-amz-copy-source: /bkt/s\n"
	    "x-amz-copy-source-range: bytes=0-4\n");
	assert_shows(&plain,
	    &(struct objstore_req){.op = OBJ_MPU_COMPLETE,
		.key = "k",
		.upload_id_in = "u",
		.parts = parts,
		.nparts = 2,
		.if_match = "old"},
	    "POST k?uploadId=u\nif-match: old\n"
	    "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
	    "<Part><PartNumber>1</PartNumber><ETag>&quot;e1&quot;</ETag></Part>"
	    "<Part><PartNumber>2</PartNumber><ETag>&quot;e2&quot;</ETag></Part>"
	    "</CompleteMultipartUpload>");
	text =
	    show(&plain, &(struct objstore_req){.op = OBJ_DELETE_MANY, .keys = keys, .nkeys = 3});
	assert_non_null(strstr(text, "content-md5: "));
	assert_non_null(strstr(text, "<Object><Key>a&lt;b</Key></Object><Object><Key>c</Key>"));
	free(text);
}

static void
what_http_cannot_carry_is_refused(void **state)
{
	struct objstore_meta newline = {"a", "x\r\nEvil: 1"}, name = {"a b", "x"};
	struct objstore_attrs attrs = {.meta = &newline, .nmeta = 1};
	struct objstore_req req = {.op = OBJ_PUT, .key = "k", .attrs = &attrs};
	char long_key[OBJSTORE_KEY_MAX + 2];

	(void)state;
	assert_shows(&plain, &req, "refused");
	attrs.meta = &name;
	assert_shows(&plain, &req, "refused");
	attrs.nmeta = 0;
	attrs.content_type = "a\nb";
	assert_shows(&plain, &req, "refused");
	req = (struct objstore_req){.op = OBJ_PUT, .key = ""};
	assert_shows(&plain, &req, "refused");
	memset(long_key, 'k', sizeof(long_key));
	long_key[sizeof(long_key) - 1] = '\0';
	req.key = long_key;
	assert_shows(&plain, &req, "refused");
	req = (struct objstore_req){.op = OBJ_MPU_PART, .key = "k", .part_number = 1};
	assert_shows(&plain, &req, "refused");
	req.upload_id_in = "u";
	req.part_number = 10001;
	assert_shows(&plain, &req, "refused");
	req = (struct objstore_req){
	    .op = OBJ_GET, .key = "k", .range_off = UINT64_MAX, .range_len = 2};
	assert_shows(&plain, &req, "refused");
	req = (struct objstore_req){.op = OBJ_MPU_COMPLETE, .key = "k", .upload_id_in = "u"};
	assert_shows(&plain, &req, "refused");
}

static void
many_metadata_fit_or_are_refused(void **state)
{
	struct objstore_meta meta[100];
	struct objstore_attrs attrs = {.meta = meta};
	struct objstore_req req = {.op = OBJ_PUT, .key = "k", .attrs = &attrs};
	struct s3_wire w;

	(void)state;
	for (int i = 0; i < 100; i++)
		meta[i] = (struct objstore_meta){"n", "v"};
	attrs.nmeta = 32;
	assert_int_equal(s3_wire_build(&plain, &req, &w), 0);
	s3_wire_free(&w);
	attrs.nmeta = 100;
	assert_int_equal(s3_wire_build(&plain, &req, &w), -EINVAL);
}

static void
assert_endpoint(
    const char *url, const char *region, const char *bucket, bool path, const char *want)
{
	struct s3_endpoint e;
	const char *why = "";
	char *got;

	if (s3_endpoint_parse(url, region, bucket, path, &e, &why) < 0) {
		assert_true(why[0] != '\0');
		assert_string_equal("refused", want);
		return;
	}
	got = xasprintf("%s://%s %s%s", e.scheme, e.authority, e.is_virtual ? "virtual" : "path",
	    e.is_loopback ? " loopback" : "");
	assert_string_equal(got, want);
	free(got);
	s3_endpoint_free(&e);
}

static void
endpoints(void **state)
{
	(void)state;
	assert_endpoint(
	    NULL, "eu-west-1", "bkt", false, "https://bkt.s3.eu-west-1.amazonaws.com virtual");
	assert_endpoint(NULL, NULL, "b.k.t", false, "https://s3.us-east-1.amazonaws.com path");
	assert_endpoint(
	    NULL, "cn-north-1", "bkt", true, "https://s3.cn-north-1.amazonaws.com.cn path");
	assert_endpoint(
	    "http://127.0.0.1:9000", NULL, "bkt", false, "http://127.0.0.1:9000 path loopback");
	assert_endpoint(
	    "http://[::1]:9000/", NULL, "bkt", false, "http://[::1]:9000 path loopback");
	assert_endpoint("http://[2001:db8::1]", NULL, "bkt", true, "http://[2001:db8::1] path");
	assert_endpoint(
	    "https://s3.example.com:443", NULL, "bkt", false, "https://bkt.s3.example.com virtual");
	assert_endpoint(
	    "http://s3.example.com:80", NULL, "bkt", true, "http://s3.example.com path");
	assert_endpoint("ftp://x", NULL, "bkt", true, "refused");
	assert_endpoint("http://", NULL, "bkt", true, "refused");
	assert_endpoint("http://x:0", NULL, "bkt", true, "refused");
	assert_endpoint("http://x:99999", NULL, "bkt", true, "refused");
	assert_endpoint("http://x:8a", NULL, "bkt", true, "refused");
	assert_endpoint("http://[::1", NULL, "bkt", true, "refused");
	assert_endpoint("http://[nonsense]", NULL, "bkt", true, "refused");
	assert_endpoint("http://u@x", NULL, "bkt", true, "refused");
	assert_endpoint("http://x/path", NULL, "bkt", true, "refused");
	assert_endpoint("http://x y", NULL, "bkt", true, "refused");
	assert_endpoint("http://x", NULL, "b/kt", true, "refused");
	assert_endpoint("http://x", NULL, "..x", true, "refused");
	assert_endpoint("http://x", "a\r\nb", "bkt", true, "refused");
}

static void
take(struct s3_resp *r, const char *line, struct objstore_meta_buf *meta)
{
	s3_resp_header(r, line, strlen(line), meta);
}

static void
headers_of_answers(void **state)
{
	struct objstore_meta_buf meta = {.n = 0};
	struct s3_resp r;

	(void)state;
	take(&r, "HTTP/1.1 206 Partial Content", &meta);
	assert_int_equal(r.status, 206);
	take(&r, "ETag: \"abc-2\"", &meta);
	take(&r, "last-modified:  Mon, 12 Oct 2009 17:50:30 GMT ", &meta);
	take(&r, "Content-Range: bytes 5-14/100", &meta);
	take(&r, "Content-Length: 10", &meta);
	take(&r, "X-Amz-Meta-File-Mtime: 12ns", &meta);
	take(&r, "x-amz-meta-empty:", &meta);
	take(&r, "x-amz-storage-class: GLACIER", &meta);
	assert_string_equal(r.etag, "abc-2");
	assert_true(r.mtime_s == 1255369830);
	assert_true(
	    r.has_range && r.range_first == 5 && r.range_last == 14 && r.range_total == 100);
	assert_true(r.has_length && r.content_length == 10);
	assert_int_equal(meta.n, 2);
	assert_string_equal(meta.items[0].name, "file-mtime");
	assert_string_equal(meta.items[0].value, "12ns");
	assert_string_equal(meta.items[1].value, "");
	assert_string_equal(r.storage_class, "GLACIER");
	take(&r, "HTTP/1.1 200 OK", &meta);
	assert_true(r.etag[0] == '\0' && meta.n == 0);
	take(&r, "Content-Range: bytes 5-4/100", &meta);
	take(&r, "Content-Range: bytes 5-100/100", &meta);
	take(&r, "Content-Range: bytes */100", &meta);
	take(&r, "Content-Range: bytes 5-14/99999999999999999999999", &meta);
	assert_false(r.has_range);
	take(&r, "Content-Length: 10x", &meta);
	take(&r, "Content-Length: 99999999999999999999999", &meta);
	assert_false(r.has_length);
	take(&r, "no colon", &meta);
	take(&r, ": no name", &meta);
	take(&r, "Retry-After: 99999999", &meta);
	assert_int_equal(r.retry_after_s, 3600);
}

static void
too_much_metadata_is_cut_not_overrun(void **state)
{
	struct objstore_meta_buf meta = {.n = 0};
	struct s3_resp r = {0};
	char line[3000];

	(void)state;
	memset(line, 'v', sizeof(line));
	memcpy(line, "x-amz-meta-a:", 13);
	for (int i = 0; i < 5; i++)
		s3_resp_header(&r, line, sizeof(line), &meta);
	assert_int_equal(meta.n, 1);
	for (int i = 0; i < 100; i++)
		take(&r, "x-amz-meta-b:1", &meta);
	assert_int_equal(meta.n, 32);
}

static void
times(void **state)
{
	char text[17];
	int64_t t;

	(void)state;
	assert_int_equal(s3_time_http("Fri, 24 May 2013 00:00:00 GMT", &t), 0);
	assert_true(t == 1369353600);
	s3_time_amz(t, text);
	assert_string_equal(text, "20130524T000000Z");
	assert_int_equal(s3_time_http("Fri, 24 Mey 2013 00:00:00 GMT", &t), -EINVAL);
	assert_int_equal(s3_time_http("Fri, 24 ayJ 2013 00:00:00 GMT", &t), -EINVAL);
	assert_int_equal(s3_time_http("", &t), -EINVAL);
	assert_int_equal(s3_time_http("Fri, 24 M", &t), -EINVAL);
	assert_int_equal(s3_time_iso("2013-05-24T00:00:00Z", &t), 0);
	assert_true(t == 1369353600000000000);
	assert_int_equal(s3_time_iso("2013-05-24T00:00:00.123456789123Z", &t), 0);
	assert_true(t == 1369353600123456789);
	assert_int_equal(s3_time_iso("2013-13-24T00:00:00Z", &t), -EINVAL);
	assert_int_equal(s3_time_iso("9999-05-24T00:00:00Z", &t), -EINVAL);
	assert_int_equal(s3_time_iso("2013-05-24T00:00:00Zx", &t), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(object_requests),
	    cmocka_unit_test(customer_keys_go_with_object_and_source),
	    cmocka_unit_test(bucket_and_multipart_requests),
	    cmocka_unit_test(what_http_cannot_carry_is_refused),
	    cmocka_unit_test(many_metadata_fit_or_are_refused), cmocka_unit_test(endpoints),
	    cmocka_unit_test(headers_of_answers),
	    cmocka_unit_test(too_much_metadata_is_cut_not_overrun), cmocka_unit_test(times)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
