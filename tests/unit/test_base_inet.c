/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/base/inet.h"

static void
assert_text(const char *in, const char *want)
{
	union inet_addr a;
	char text[INET_TEXT_MAX];

	assert_int_equal(inet_parse(in, &a), 0);
	inet_text(&a, text, sizeof(text));
	assert_string_equal(text, want);
}

static void
addresses_are_read_and_written(void **state)
{
	(void)state;
	assert_text("10.0.0.1:3260", "10.0.0.1:3260");
	assert_text("[fd00::1]:65535", "[fd00::1]:65535");
	assert_text("[0:0:0:0:0:0:0:1]:0", "[::1]:0");
	assert_text("[10.0.0.1]:80", "10.0.0.1:80");
	assert_text("[::ffff:10.0.0.1]:877", "10.0.0.1:877"); /* one host, one name */
	assert_text("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void
what_is_no_address_is_refused(void **state)
{
	static const char *const bad[] = {"", ":", "10.0.0.1", "10.0.0.1:", "10.0.0.1:http",
	    "localhost:80", "10.0.0.256:80", "[::1:80", "::g:80"};
	char too_long[300];
	union inet_addr a;

	(void)state;
	memset(too_long, '0', sizeof(too_long));
	memcpy(too_long + sizeof(too_long) - 4, ":80", 4);
	assert_int_equal(inet_parse(too_long, &a), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(inet_parse(bad[i], &a), -EINVAL);
}

static void
a_name_is_no_address_but_is_resolved(void **state)
{
	static const char *const bad[] = {
	    "", ":", "localhost", "localhost:", "localhost:http", "[::1:80]", "localhost:-1"};
	union inet_addr a, same;

	(void)state;
	assert_int_equal(inet_parse("localhost:80", &a), -EINVAL);
	assert_int_equal(inet_resolve("localhost:80", &a), 0);
	assert_true(inet_has_host(&a, "127.0.0.1") || inet_has_host(&a, "::1"));
	assert_int_equal(inet_port(&a), 80);
	assert_int_equal(inet_resolve("[::1]:443", &a), 0);
	assert_int_equal(inet_parse("[::1]:443", &same), 0);
	assert_memory_equal(&a, &same, sizeof(a));
	assert_int_equal(inet_resolve(":80", &a), 0);
	assert_true(inet_is_any(&a));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(inet_resolve(bad[i], &a), -EINVAL);
	assert_int_equal(inet_resolve("10.0.0.256..:80", &a), -EADDRNOTAVAIL);
}

static void
all_addresses_are_told_from_one(void **state)
{
	static const struct {
		const char *text;
		bool is_any;
	} of[] = {{":80", true}, {"0.0.0.0:80", true}, {"[::]:80", true}, {"127.0.0.1:80", false},
	    {"[::1]:80", false}};
	union inet_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		assert_int_equal(inet_parse(of[i].text, &a), 0);
		assert_int_equal(inet_is_any(&a), of[i].is_any);
		assert_int_equal(inet_port(&a), 80);
	}
}

static void
a_host_is_found_in_its_address_alone(void **state)
{
	union inet_addr a;

	(void)state;
	assert_int_equal(inet_parse("10.0.0.1:80", &a), 0);
	assert_true(inet_has_host(&a, "10.0.0.1"));
	assert_false(inet_has_host(&a, "10.0.0.11"));
	assert_false(inet_has_host(&a, "10.0.0"));
	assert_int_equal(inet_parse("[fd00::1]:80", &a), 0);
	assert_true(inet_has_host(&a, "fd00::1"));
	assert_false(inet_has_host(&a, "fd00::"));
}

static void
a_listener_knows_its_port_and_has_it_alone(void **state)
{
	union inet_addr a, same;
	int fd;

	(void)state;
	assert_int_equal(inet_parse("127.0.0.1:0", &a), 0);
	fd = inet_listen(&a);
	assert_true(fd >= 0);
	assert_int_not_equal(inet_port(&a), 0);
	same = a;
	assert_int_equal(inet_listen(&same), -EADDRINUSE);
	close(fd);
	fd = inet_listen(&same);
	assert_true(fd >= 0);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses_are_read_and_written),
	    cmocka_unit_test(what_is_no_address_is_refused),
	    cmocka_unit_test(a_name_is_no_address_but_is_resolved),
	    cmocka_unit_test(all_addresses_are_told_from_one),
	    cmocka_unit_test(a_host_is_found_in_its_address_alone),
	    cmocka_unit_test(a_listener_knows_its_port_and_has_it_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
