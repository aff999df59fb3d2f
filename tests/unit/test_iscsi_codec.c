/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes to structs of the iSCSI front end, and what is computed over them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "frontends/iscsi/chap.h"
#include "frontends/iscsi/param.h"
#include "frontends/iscsi/pdu.h"
#include "frontends/iscsi/text.h"
#include "gateway/base/be.h"
#include "gateway/base/digest.h"

/* RFC 7143 Appendix A.4: the examples */
static void
crc32c_is_that_of_the_examples(void **state)
{
	uint8_t b[48] = {0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0,
	    4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 2};

	(void)state;
	assert_int_equal(digest_crc32c(0, b, 48), 0xd9963a56);
	memset(b, 0, 32);
	assert_int_equal(digest_crc32c(0, b, 32), 0x8a9136aa);
	memset(b, 0xff, 32);
	assert_int_equal(digest_crc32c(0, b, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	assert_int_equal(digest_crc32c(0, b, 32), 0x46dd794e);
	assert_int_equal(digest_crc32c(digest_crc32c(0, b, 13), b + 13, 19), 0x46dd794e);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)(31 - i);
	assert_int_equal(digest_crc32c(0, b, 32), 0x113fdb5c);
}

static void
a_command_header_is_read_field_by_field(void **state)
{
	uint8_t b[48] = {ISCSI_SCSI_COMMAND | ISCSI_IMMEDIATE, 0xa2, 0, 0, 0, 0x01, 0x02, 0x03};
	struct iscsi_pdu p;

	(void)state;
	be_store_u32(b + 8, 0x00050000);
	be_store_u32(b + 16, 0x11223344);
	be_store_u32(b + 20, 0x55667788);
	be_store_u32(b + 24, 7);
	be_store_u32(b + 28, 9);
	b[32] = 0x2a;
	assert_int_equal(iscsi_pdu_decode(b, NULL, &p), 0);
	assert_int_equal(p.opcode, ISCSI_SCSI_COMMAND);
	assert_true(p.is_immediate && p.is_final && p.cmd.is_write && !p.cmd.is_read);
	assert_int_equal(p.cmd.attr, 2);
	assert_int_equal(p.data_len, 0x010203);
	assert_true(p.lun == 0x0005000000000000ull);
	assert_int_equal(p.itt, 0x11223344);
	assert_int_equal(p.cmd.edtl, 0x55667788);
	assert_int_equal(p.cmd_sn, 7);
	assert_int_equal(p.exp_stat_sn, 9);
	assert_int_equal(p.cmd.cdb_len, 16);
	assert_int_equal(p.cmd.cdb[0], 0x2a);
}

static void
additional_headers_are_checked(void **state)
{
	static const struct {
		uint8_t words, ahs[12];
		int result;
	} cases[] = {
	    {1, {0, 1, 2, 0}, 0},			  /* length of a bidirectional read */
	    {1, {0, 2, 2, 0}, -ISCSI_REJECT_BAD_FIELD},	  /* longer than it is */
	    {1, {0, 0, 2, 0}, -ISCSI_REJECT_BAD_FIELD},	  /* of nothing: no end would come */
	    {1, {0, 1, 9, 0}, -ISCSI_REJECT_BAD_FIELD},	  /* of no known type */
	    {2, {0, 5, 1, 0, 0xaa, 0xbb, 0xcc, 0xdd}, 0}, /* 4 bytes of CDB */
	    {3, {0, 5, 1, 0, 1, 2, 3, 4, 0, 1, 1, 0}, -ISCSI_REJECT_BAD_FIELD}, /* twice */
	};
	uint8_t b[48] = {ISCSI_SCSI_COMMAND, 0x80};
	struct iscsi_pdu p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		b[4] = cases[i].words;
		assert_int_equal(iscsi_pdu_decode(b, cases[i].ahs, &p), cases[i].result);
	}
	b[4] = 2;
	assert_int_equal(iscsi_pdu_decode(b, cases[4].ahs, &p), 0);
	assert_int_equal(p.cmd.cdb_len, 20);
	assert_int_equal(p.cmd.cdb[19], 0xdd);
	b[0] = ISCSI_NOP_OUT; /* they belong to commands only */
	assert_int_equal(iscsi_pdu_decode(b, cases[4].ahs, &p), -ISCSI_REJECT_BAD_FIELD);
	b[0] = ISCSI_SCSI_COMMAND;
	b[1] = 0; /* unsolicited data without W */
	b[4] = 0;
	assert_int_equal(iscsi_pdu_decode(b, NULL, &p), -ISCSI_REJECT_PROTOCOL);
}

static void
numbers_and_binaries_are_strict(void **state)
{
	static const char *bad[] = {"", "x", "1x", "0x", "0xg", "-1", "+1", " 1", "4294967296",
	    "0x100000000", "99999999999999999999999"};
	uint8_t out[8];
	uint32_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(iscsi_text_number(bad[i], &v), -EINVAL);
	assert_int_equal(iscsi_text_number("4294967295", &v), 0);
	assert_int_equal(v, UINT32_MAX);
	assert_int_equal(iscsi_text_number("0X1f", &v), 0);
	assert_int_equal(v, 31);
	assert_int_equal(iscsi_text_binary("0x0102ff", out, 8), 3);
	assert_memory_equal(out, "\x01\x02\xff", 3);
	assert_int_equal(iscsi_text_binary("0x102", out, 8), 2);
	assert_memory_equal(out, "\x01\x02", 2);
	assert_int_equal(iscsi_text_binary("0xf", out, 8), 1);
	assert_int_equal(iscsi_text_binary("0bAQL/", out, 8), 3);
	assert_memory_equal(out, "\x01\x02\xff", 3);
	assert_int_equal(iscsi_text_binary("0b", out, 8), -EINVAL);
	assert_int_equal(iscsi_text_binary("0xzz", out, 8), -EINVAL);
	assert_int_equal(iscsi_text_binary("12", out, 8), -EINVAL);
	assert_int_equal(iscsi_text_binary("0x112233445566778899", out, 8), -EINVAL);
	assert_int_equal(iscsi_text_binary("0x12233445566778899", out, 8), -EINVAL);
}

static void
lists_are_searched_by_whole_words(void **state)
{
	(void)state;
	assert_true(iscsi_text_in_list("a,bc,d", "bc"));
	assert_true(iscsi_text_in_list("bc", "bc"));
	assert_false(iscsi_text_in_list("abc,bcd,", "bc"));
	assert_false(iscsi_text_in_list("", "bc"));
	assert_int_equal(chap_pick("15,75,55"), CHAP_NONE);
	assert_int_equal(chap_pick("5"), CHAP_MD5);
	assert_int_equal(chap_pick("5,7"), CHAP_SHA256);
}

static void
pairs_end_where_the_text_ends(void **state)
{
	char text[] = "a=1\0\0b.c=\0X#d==e\0f";
	const char *key, *value;
	struct iscsi_text t;

	(void)state;
	iscsi_text_init(&t, text, sizeof(text) - 1);
	assert_int_equal(iscsi_text_next(&t, &key, &value), 1);
	assert_string_equal(key, "a");
	assert_string_equal(value, "1");
	assert_int_equal(iscsi_text_next(&t, &key, &value), 1);
	assert_string_equal(key, "b.c");
	assert_string_equal(value, "");
	assert_int_equal(iscsi_text_next(&t, &key, &value), 1);
	assert_string_equal(key, "X#d");
	assert_string_equal(value, "=e");
	assert_int_equal(iscsi_text_next(&t, &key, &value), -EPROTO);
}

/* RFC 7143 13: the defaults */
static void
defaults_are_those_of_the_standard(void **state)
{
	struct iscsi_params p;

	(void)state;
	iscsi_params_init(&p);
	assert_true(p.initial_r2t && p.immediate_data);
	assert_false(p.has_header_digest || p.has_data_digest);
	assert_int_equal(p.peer_segment, 8192);
	assert_int_equal(p.max_burst, 262144);
	assert_int_equal(p.first_burst, 65536);
	assert_int_equal(p.max_r2ts, 1);
	assert_int_equal(p.time2wait, 2);
	assert_int_equal(p.time2retain, 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(crc32c_is_that_of_the_examples),
	    cmocka_unit_test(a_command_header_is_read_field_by_field),
	    cmocka_unit_test(additional_headers_are_checked),
	    cmocka_unit_test(numbers_and_binaries_are_strict),
	    cmocka_unit_test(lists_are_searched_by_whole_words),
	    cmocka_unit_test(pairs_end_where_the_text_ends),
	    cmocka_unit_test(defaults_are_those_of_the_standard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
