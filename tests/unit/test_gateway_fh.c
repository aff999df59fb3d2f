/* SPDX-License-Identifier: Apache-2.0 */
/* Handles come back from the network: ours are understood, everything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/fh.h"

static void
what_was_encoded_is_decoded(void **state)
{
	uint8_t b[FH_LEN];
	uint32_t share, gen;
	uint64_t ino;

	(void)state;
	fh_encode(b, 0xfffffffe, 0x123456789abcdef0, 7);
	assert_int_equal(fh_decode(b, sizeof(b), &share, &ino, &gen), 0);
	assert_int_equal(share, 0xfffffffe);
	assert_true(ino == 0x123456789abcdef0);
	assert_int_equal(gen, 7);
}

static void
the_layout_is_what_the_header_says(void **state)
{
	static const uint8_t want[FH_LEN] = {
	    'C', 'W', 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0xaa, 0xbb, 0xcc, 0xdd, 0, 0, 0, 0};
	uint8_t b[FH_LEN];

	(void)state;
	fh_encode(b, 3, 9, 0xaabbccdd);
	assert_memory_equal(b, want, FH_LEN);
}

static void
every_other_length_is_refused(void **state)
{
	uint8_t b[64] = {0};
	uint32_t share, gen;
	uint64_t ino;
	size_t len;

	(void)state;
	fh_encode(b, 1, 2, 3);
	for (len = 0; len <= sizeof(b); len++)
		if (len != FH_LEN)
			assert_int_equal(fh_decode(b, len, &share, &ino, &gen), -EINVAL);
}

static void
foreign_and_spoiled_handles_are_refused(void **state)
{
	uint8_t good[FH_LEN], b[FH_LEN];
	uint32_t share, gen;
	uint64_t ino;
	size_t i;

	(void)state;
	fh_encode(good, 1, 2, 3);
	for (i = 0; i < FH_LEN; i++) {
		memcpy(b, good, FH_LEN);
		b[i] ^= 0xff;
		if (i == 2)
			assert_int_equal(fh_decode(b, FH_LEN, &share, &ino, &gen), -ESTALE);
		else if (i < 4 || i >= 20)
			assert_int_equal(fh_decode(b, FH_LEN, &share, &ino, &gen), -EINVAL);
	}
	fh_encode(b, 1, 0, 3);
	assert_int_equal(fh_decode(b, FH_LEN, &share, &ino, &gen), -EINVAL);
	fh_encode(b, 1, 2, 0);
	assert_int_equal(fh_decode(b, FH_LEN, &share, &ino, &gen), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_encoded_is_decoded),
	    cmocka_unit_test(the_layout_is_what_the_header_says),
	    cmocka_unit_test(every_other_length_is_refused),
	    cmocka_unit_test(foreign_and_spoiled_handles_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
