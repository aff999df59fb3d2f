/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata in every form that gateways write, and Content-Type by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "gateway/meta_map.h"
#include "gateway/mime.h"

static struct meta_facts
parse1(const char *name, const char *value)
{
	const struct objstore_meta item = {name, value};
	struct meta_facts m;

	meta_parse(&item, 1, &m);
	return m;
}

static void
modes_are_read_with_and_without_type_and_zeros(void **state)
{
	static const struct {
		const char *text;
		uint32_t perm, type;
	} good[] = {{"0100664", 0664, S_IFREG}, {"100755", 0755, S_IFREG}, {"0644", 0644, 0},
	    {"644", 0644, 0}, {"0040755", 0755, S_IFDIR}, {"0120777", 0777, S_IFLNK}, {"0", 0, 0}};
	static const char *const bad[] = {
	    "", "rw-r--r--", "0888", "0644 ", "-1", "7777777", "0x1ff"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct meta_facts m = parse1("file-permissions", good[i].text);

		assert_true(m.has_perm);
		assert_int_equal(m.perm, good[i].perm);
		assert_int_equal(m.has_type, good[i].type != 0);
		assert_int_equal(m.type, good[i].type);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(parse1("file-permissions", bad[i]).has_perm);
}

static void
times_are_read_in_every_unit(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {{"1595002920000000000ns", 1595002920000000000},
	    {"1595002920000", 1595002920000000000}, {"1595002920", 1595002920000000000},
	    {"1595002920.25", 1595002920250000000}, {"1595002920000000", 1595002920000000000},
	    {"0ns", 0}, {"-5ns", -5}, {"5ns", 5}};
	static const char *const bad[] = {
	    "", "ns", "12x", "1.5s", "99999999999999999999ns", "1ns2", "--1"};
	int64_t ns;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(meta_parse_time(good[i].text, &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(meta_parse_time(bad[i], &ns), -EINVAL);
}

static void
owners_are_decimal_and_bounded(void **state)
{
	(void)state;
	assert_int_equal(parse1("file-owner", "4294967295").uid, 4294967295u);
	assert_false(parse1("file-owner", "4294967296").has_uid);
	assert_false(parse1("file-group", "root").has_gid);
	assert_true(parse1("file-group", "0").has_gid);
}

static void
what_is_written_is_read_back(void **state)
{
	struct meta_mark mark = {
	    .id = "sgw-12345678", .ino = 42, .seq = 7, .boot = 0xabcdef, .gen = 99, .key_crc = 5};
	struct meta_facts m;
	struct meta_set set;

	(void)state;
	meta_build(&set, S_IFREG | 0640, false, 1, 2, 1234567890123456789, -1, &mark);
	assert_string_equal(set.items[0].value, "0100640");
	meta_parse(set.items, set.n, &m);
	assert_int_equal(m.perm, 0640);
	assert_int_equal(m.mtime_ns, 1234567890123456789);
	assert_int_equal(m.atime_ns, -1);
	assert_true(m.has_origin);
	assert_string_equal(m.origin_id, "sgw-12345678");
	assert_int_equal(m.origin_ino, 42);
	assert_int_equal(m.origin_boot, 0xabcdef);
	meta_build(&set, S_IFREG | 0640, true, 1, 2, 0, 0, NULL);
	assert_string_equal(set.items[0].value, "0640");
	meta_build(&set, S_IFLNK | 0777, true, 1, 2, 0, 0, NULL);
	assert_string_equal(set.items[0].value, "0120777");
}

static void
types_are_guessed_by_extension(void **state)
{
	(void)state;
	assert_string_equal(mime_guess("a.html", 6), "text/html");
	assert_string_equal(mime_guess("A.JPG", 5), "image/jpeg");
	assert_string_equal(mime_guess("a.tar.gz", 8), "application/gzip");
	assert_string_equal(mime_guess("a.7z", 4), "application/x-7z-compressed");
	assert_string_equal(mime_guess("a.zst", 5), "application/zstd");
	assert_string_equal(mime_guess("Makefile", 8), "application/octet-stream");
	assert_string_equal(mime_guess(".html", 5), "application/octet-stream");
	assert_string_equal(mime_guess("a.", 2), "application/octet-stream");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(modes_are_read_with_and_without_type_and_zeros),
	    cmocka_unit_test(times_are_read_in_every_unit),
	    cmocka_unit_test(owners_are_decimal_and_bounded),
	    cmocka_unit_test(what_is_written_is_read_back),
	    cmocka_unit_test(types_are_guessed_by_extension),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
