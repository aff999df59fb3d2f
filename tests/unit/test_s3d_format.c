/* SPDX-License-Identifier: Apache-2.0 */
/* test_s3d_format.c - key paths, index, ranges, aws-chunked, metadata text, fault rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/base/strbuf.h"
#include "s3/server/chunked.h"
#include "s3/server/fault.h"
#include "s3/server/keypath.h"
#include "s3/server/keyset.h"
#include "s3/server/meta.h"
#include "s3/server/range.h"

static void
path_is(const char *key, bool is_alt, const char *path)
{
	char out[KEYPATH_MAX], back[KEYPATH_KEY_MAX + 1];
	bool alt;

	assert_int_equal(keypath_encode(key, strlen(key), is_alt, out), (int)strlen(path));
	assert_string_equal(out, path);
	assert_int_equal(keypath_decode(out, back, &alt), (int)strlen(key));
	assert_string_equal(back, key);
	assert_int_equal(alt, is_alt);
}

static void
ordinary_keys_are_their_own_paths(void **state)
{
	(void)state;
	path_is("a", false, "a");
	path_is("photos/2024/kitten 1+2.jpg", false, "photos/2024/kitten 1+2.jpg");
	path_is("\xe6\x97\xa5", false, "\xe6\x97\xa5");
}

static void
odd_keys_are_escaped(void **state)
{
	(void)state;
	path_is("dir/", false, "dir/%_");
	path_is("/lead", false, "%_/lead");
	path_is("a//b", false, "a/%_/b");
	path_is("../..", false, "%2e%2e/%2e%2e");
	path_is(".", false, "%2e");
	path_is("...", false, "...");
	path_is("100%", false, "100%25");
	path_is("a", true, "a%f");
	path_is("x\ny", false, "x%0ay");
}

static void
foreign_names_are_not_keys(void **state)
{
	static const char *const bad[] = {"100%", "a/%2E", "%41", "a//b", "/a", "a/", "%_x", "%f",
	    "", "a/../b", "%", "%2", "x%+/y", "a%00b", "%2f"};
	char key[KEYPATH_KEY_MAX + 1];
	bool is_alt;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(keypath_decode(bad[i], key, &is_alt), -EINVAL);
}

static void
long_segments_are_split_between_characters(void **state)
{
	char key[1026], path[KEYPATH_MAX], *p, *rest;
	size_t i;

	(void)state;
	for (i = 0; i + 1 < 1024; i += 2)
		memcpy(key + i, "\xc3\xa9", 2);
	key[1024] = 'x';
	key[1025] = '\0';
	assert_true(keypath_encode(key, 1024, false, path) > 0);
	for (p = strtok_r(path, "/", &rest); p != NULL; p = strtok_r(NULL, "/", &rest)) {
		assert_true(strlen(p) <= 255);
		assert_int_equal((unsigned char)p[0], 0xc3);
	}
	assert_int_equal(keypath_encode(key, 1025, false, path), -ENAMETOOLONG);
	assert_int_equal(keypath_encode("", 0, false, path), -EINVAL);
	assert_int_equal(keypath_encode("a\0b", 3, false, path), -EINVAL);
}

/* The rest of a long segment was once the path component "..", found by fuzzing. */
static void
split_segments_never_leave_a_dot_component(void **state)
{
	char key[300], path[400];

	(void)state;
	memset(key, 'x', 238);
	memset(path, 'x', 238);
	memcpy(key + 238, "..", 3);
	memcpy(path + 238, "%+/%2e.", 8);
	path_is(key, false, path);
	memcpy(key + 238, ".", 2);
	memcpy(path + 238, "%+/%2e", 7);
	path_is(key, false, path);
}

static void
index_agrees_with_a_sorted_array(void **state)
{
	struct keyset *k = keyset_new();
	bool have[1000] = {false};
	char key[16];
	struct kent *e;
	unsigned int x = 1, i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		unsigned int n = (x = x * 1103515245 + 12345) >> 8 & 1023;

		if (n >= 1000)
			continue;
		snprintf(key, sizeof key, "%03u", n);
		if (x & 64) {
			keyset_put(k, key, 3);
			have[n] = true;
		} else {
			assert_int_equal(keyset_remove(k, key, 3), have[n]);
			have[n] = false;
		}
	}
	e = keyset_seek(k, "", 0, false);
	for (i = 0; i < 1000; i++) {
		snprintf(key, sizeof key, "%03u", i);
		assert_int_equal(keyset_find(k, key, 3) != NULL, have[i]);
		if (!have[i])
			continue;
		assert_non_null(e);
		assert_string_equal(e->key, key);
		e = keyset_next(e);
	}
	assert_null(e);
	for (i = 0; i < 10; i++) {
		snprintf(key, sizeof key, "%u", i);
		e = keyset_seek_past_prefix(k, key, 1);
		assert_true(e == NULL || e->key[0] > key[0]);
		assert_ptr_equal(e, keyset_seek(k, (char[]){(char)('0' + i + 1), 0}, 1, false));
	}
	keyset_free(k);
}

static void
ranges_follow_the_rfc(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
		int result;
		uint64_t off, len;
	} t[] = {
	    {"bytes=0-0", 10, 1, 0, 1},
	    {"bytes=2-4", 10, 1, 2, 3},
	    {"bytes=5-", 10, 1, 5, 5},
	    {"bytes=-3", 10, 1, 7, 3},
	    {"bytes=-30", 10, 1, 0, 10},
	    {"bytes=9-18446744073709551600", 10, 1, 9, 1},
	    {"bytes=10-", 10, -ERR_INVALID_RANGE, 0, 0},
	    {"bytes=0-", 0, -ERR_INVALID_RANGE, 0, 0},
	    {"bytes=-0", 10, -ERR_INVALID_RANGE, 0, 0},
	    {"bytes=4-2", 10, 0, 0, 10},
	    {"bytes=1-2,4-5", 10, 0, 0, 10},
	    {"bytes=99999999999999999999-", 10, 0, 0, 10},
	    {"bytes=a-b", 10, 0, 0, 10},
	    {"items=1-2", 10, 0, 0, 10},
	    {NULL, 10, 0, 0, 10},
	};
	uint64_t off, len;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof t / sizeof t[0]; i++) {
		assert_int_equal(range_parse(t[i].text, t[i].size, &off, &len), t[i].result);
		if (t[i].result >= 0) {
			assert_int_equal(off, t[i].off);
			assert_int_equal(len, t[i].len);
		}
	}
	assert_int_equal(range_parse_copy("bytes=0-9", 10, &off, &len), 0);
	assert_int_equal(range_parse_copy("bytes=0-10", 10, &off, &len), -ERR_INVALID_RANGE);
	assert_int_equal(range_parse_copy("bytes=5-", 10, &off, &len), -EINVAL);
}

struct sink {
	struct strbuf data, trailers;
	int ends;
};

static int
on_data(void *ctx, const void *p, size_t n)
{
	strbuf_add(&((struct sink *)ctx)->data, p, n);
	return 0;
}

static int
on_end(void *ctx, const char *sig)
{
	(void)sig;
	((struct sink *)ctx)->ends++;
	return 0;
}

static int
on_trailer(void *ctx, const char *name, const char *value)
{
	strbuf_addf(&((struct sink *)ctx)->trailers, "%s=%s;", name, value);
	return 0;
}

static int
decode(const char *text, size_t step, struct sink *s, bool *is_done)
{
	static const struct chunked_ops ops = {on_data, on_end, on_trailer};
	size_t len = strlen(text), at, n;
	struct chunked c;
	int err = 0;

	memset(s, 0, sizeof *s);
	chunked_init(&c, &ops, s);
	for (at = 0; at < len && err == 0; at += n) {
		n = len - at < step ? len - at : step;
		err = chunked_feed(&c, text + at, n);
	}
	*is_done = chunked_is_done(&c);
	return err;
}

static void
sink_free(struct sink *s)
{
	strbuf_free(&s->data);
	strbuf_free(&s->trailers);
}

static void
chunks_decode_however_they_are_cut(void **state)
{
	struct sink s;
	bool is_done;
	size_t step;

	(void)state;
	for (step = 1; step < 40; step++) {
		assert_int_equal(decode("3\r\nabc\r\n2\r\nde\r\n0\r\nx-a:1\r\nx-b: 2 \r\n\r\n",
				     step, &s, &is_done),
		    0);
		assert_true(is_done);
		assert_string_equal(strbuf_str(&s.data), "abcde");
		assert_string_equal(strbuf_str(&s.trailers), "x-a=1;x-b=2;");
		assert_int_equal(s.ends, 3);
		sink_free(&s);
	}
}

static void
malformed_chunks_are_refused(void **state)
{
	static const char *const bad[] = {"x\r\n", "3\r\nabcd\r\n", "3;x=1\r\n", "\r\n",
	    "ffffffffffffffffff\r\n", "0\r\n\r\nmore", "0\r\nno-colon\r\n\r\n",
	    "3;chunk-signature=short\r\n"};
	struct sink s;
	bool is_done;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(decode(bad[i], 100, &s, &is_done), -EINVAL);
		assert_false(is_done);
		sink_free(&s);
	}
	assert_int_equal(decode("3\r\nabc\r\n0\r\n", 100, &s, &is_done), 0);
	assert_false(is_done);
	sink_free(&s);
}

static void
metadata_survives_its_text(void **state)
{
	struct objmeta m = {.size = 7, .mtime_ns = -1, .file_mtime_ns = 3}, back, cut;
	char *text, *key;
	size_t len;

	(void)state;
	snprintf(m.etag, sizeof m.etag, "d41d8cd98f00b204e9800998ecf8427e-12");
	meta_set(&m, "content-type", "text/plain; charset=x");
	meta_set(&m, "x-amz-meta-empty", "");
	meta_set(&m, "gone", "x");
	meta_set(&m, "gone", NULL);
	text = meta_encode(&m, "a b\n%", &len);
	assert_int_equal(meta_decode(text, len, &back, &key), 0);
	assert_string_equal(key, "a b\n%");
	assert_string_equal(back.etag, m.etag);
	assert_int_equal(back.size, 7);
	assert_true(back.mtime_ns == -1 && back.file_mtime_ns == 3);
	assert_int_equal(back.nheaders, 2);
	assert_string_equal(meta_get(&back, "content-type"), "text/plain; charset=x");
	assert_string_equal(meta_get(&back, "x-amz-meta-empty"), "");
	assert_int_equal(meta_decode(text, len - 1, &cut, NULL), -EINVAL);
	meta_free(&m);
	free(key);
	free(text);
	meta_free(&back);
}

static void
fault_rules_fire_as_told(void **state)
{
	struct faults *f = faults_new();
	struct fault_verdict v;
	char err[128];
	int i, fired = 0;

	(void)state;
	assert_int_equal(
	    faults_set(f,
		"{\"rules\":[{\"op\":\"write\",\"key\":\"a/*\",\"action\":\"drop\",\"after\":1,"
		"\"count\":1},{\"op\":\"GetObject\",\"latency_ms\":5},"
		"{\"op\":\"*\",\"action\":\"expired-token\",\"probability\":0.5}]}",
		err, sizeof err),
	    0);
	faults_decide(f, "PutObject", "write", "b", "a/1", &v);
	assert_true(v.action != FAULT_DROP);
	faults_decide(f, "PutObject", "write", "b", "c", &v);
	assert_true(v.action != FAULT_DROP);
	faults_decide(f, "PutObject", "write", "b", "a/2", &v);
	assert_int_equal(v.action, FAULT_DROP);
	faults_decide(f, "PutObject", "write", "b", "a/3", &v);
	assert_true(v.action != FAULT_DROP);
	for (i = 0; i < 100; i++) {
		faults_decide(f, "GetObject", "read", "b", "a", &v);
		assert_int_equal(v.latency_ms, 5);
		fired += v.action == FAULT_STATUS && strcmp(v.code, "ExpiredToken") == 0;
	}
	assert_in_range(fired, 25, 75);
	assert_int_equal(
	    faults_set(f, "{\"rules\":[{\"action\":\"no\"}]}", err, sizeof err), -EINVAL);
	faults_decide(f, "GetObject", "read", "b", "a", &v);
	assert_int_equal(v.latency_ms, 5); /* the old rules stay */
	faults_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ordinary_keys_are_their_own_paths),
	    cmocka_unit_test(odd_keys_are_escaped),
	    cmocka_unit_test(foreign_names_are_not_keys),
	    cmocka_unit_test(long_segments_are_split_between_characters),
	    cmocka_unit_test(split_segments_never_leave_a_dot_component),
	    cmocka_unit_test(index_agrees_with_a_sorted_array),
	    cmocka_unit_test(ranges_follow_the_rfc),
	    cmocka_unit_test(chunks_decode_however_they_are_cut),
	    cmocka_unit_test(malformed_chunks_are_refused),
	    cmocka_unit_test(metadata_survives_its_text),
	    cmocka_unit_test(fault_rules_fire_as_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
