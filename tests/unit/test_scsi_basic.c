/* SPDX-License-Identifier: Apache-2.0 */
/* What every initiator asks first: INQUIRY and its pages, capacity, mode pages, the list of commands. */
#include "tests/unit/scsi_fixture.h"

static void
inquiry_names_the_storage_gateway(void **state)
{
	(void)state;
	/* the udev rule of the AWS guide: ATTRS{model}=="Storage Gateway" */
	GOOD(a, NULL, 0, 96, 0x12, 0, 0, 0, 96, 0);
	assert_int_equal(r.in_len, 96);
	assert_int_equal(r.in[0], 0);
	assert_int_equal(r.in[2], 6);
	assert_int_equal(r.in[3] & 0x0f, 2);
	assert_int_equal(r.in[4], 91);
	assert_memory_equal(r.in + 8, "Amazon  Storage Gateway ", 24);
	/* 36 bytes is what Linux asks first (drivers/scsi/scsi_scan.c) */
	GOOD(a, NULL, 0, 36, 0x12, 0, 0, 0, 36, 0);
	assert_int_equal(r.in_len, 36);
	assert_int_equal(r.in_full, 36);
	/* iscsi-test-cu Inquiry.AllocLength: 16 bits of allocation length */
	GOOD(a, NULL, 0, 512, 0x12, 0, 0, 2, 0, 0);
	assert_int_equal(r.in_len, 96);
	CHECK(
	    a, NULL, 0, 255, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0x12, 0, 1, 0, 255, 0);
	CHECK(a, NULL, 0, 255, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0x12, 1, 0xc9, 0, 255,
	    0);
}

static void
all_pages_of_the_list_can_be_read(void **state)
{
	uint8_t list[16];
	unsigned int n;

	(void)state;
	GOOD(a, NULL, 0, 255, 0x12, 1, 0, 0, 255, 0);
	n = scsi_get16(r.in + 2);
	assert_in_range(n, 8, sizeof(list));
	memcpy(list, r.in + 4, n);
	for (unsigned int i = 0; i < n; i++) {
		GOOD(a, NULL, 0, 255, 0x12, 1, list[i], 0, 255, 0);
		assert_int_equal(r.in[1], list[i]);
		assert_int_equal(r.in_full, scsi_get16(r.in + 2) + 4u);
		if (i > 0) /* ascending: SPC-4 7.8.14 */
			assert_true(list[i] > list[i - 1]);
	}
}

/* SPC-4 7.8.6: walk the designators as an initiator does. */
static void
identification_is_stable_and_of_the_volume(void **state)
{
	unsigned int seen = 0, len;

	(void)state;
	GOOD(a, NULL, 0, 255, 0x12, 1, 0x83, 0, 255, 0);
	len = scsi_get16(r.in + 2);
	for (unsigned int at = 4; at < 4 + len; at += 4u + r.in[at + 3]) {
		const uint8_t *d = r.in + at;

		seen |= 1u << (d[1] & 0x0f);
		if ((d[1] & 0x3f) == 3) {
			assert_int_equal(d[3], 8);
			assert_int_equal(d[4] >> 4, 3); /* locally assigned */
			assert_true(scsi_get64(d + 4) == scsi_naa(VOLUME_ID));
		}
		if ((d[1] & 0x3f) == 1)
			assert_memory_equal(d + 4, "Amazon  " VOLUME_ID, 8 + strlen(VOLUME_ID));
		assert_true(at + 4u + d[3] <= 4 + len);
	}
	assert_int_equal(seen, 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8);
	GOOD(a, NULL, 0, 255, 0x12, 1, 0x80, 0, 255, 0);
	assert_memory_equal(r.in + 4, VOLUME_ID, strlen(VOLUME_ID));
}

static void
limits_say_what_the_commands_do(void **state)
{
	(void)state;
	GOOD(a, NULL, 0, 64, 0x12, 1, 0xb0, 0, 64, 0);
	assert_int_equal(r.in[3], 0x3c);
	assert_int_equal(r.in[5], 255);
	assert_int_equal(scsi_get16(r.in + 6), 8);
	assert_int_equal(scsi_get32(r.in + 8), 32768);
	assert_int_equal(scsi_get32(r.in + 12), 512);
	/* VMware's space reclamation wants a granularity and an alignment; 4 KiB, at 0 */
	assert_int_equal(scsi_get32(r.in + 28), 8);
	assert_int_equal(scsi_get32(r.in + 32), 0x80000000);
	/* iscsi-test-cu Inquiry.BlockLimits: sane, but not 0 */
	assert_in_range(scsi_get32(r.in + 20), 8, 1024 * 1024);
	assert_in_range(scsi_get32(r.in + 24), 1, 1024 * 1024);
	GOOD(a, NULL, 0, 64, 0x12, 1, 0xb1, 0, 64, 0);
	assert_int_equal(scsi_get16(r.in + 4), 1); /* Linux: queue/rotational 0 */
	GOOD(a, NULL, 0, 64, 0x12, 1, 0xb2, 0, 64, 0);
	assert_int_equal(r.in[5], 0xe4);
	assert_int_equal(r.in[6] & 7, 2);
	/* more than 16 MiB in one command is refused */
	assert_int_equal(block16(a, 0x88, 0, 32769, 0, NULL, 0, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
}

static void
capacity_is_that_of_the_volume(void **state)
{
	(void)state;
	GOOD(a, NULL, 0, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(scsi_get32(r.in), 2097151);
	assert_int_equal(scsi_get32(r.in + 4), 512);
	GOOD(a, NULL, 0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	assert_int_equal(scsi_get64(r.in), 2097151);
	assert_int_equal(scsi_get32(r.in + 8), 512);
	assert_int_equal(r.in[13], 3);		     /* 8 logical blocks in a physical one */
	assert_int_equal(r.in[14], 0xc0);	     /* LBPME, LBPRZ */
	for (uint8_t alloc = 0; alloc < 16; alloc++) /* iscsi-test-cu ReadCapacity16.Alloclen */
		GOOD(a, NULL, 0, alloc, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, alloc, 0, 0);
	/* over 2 TiB: READ CAPACITY(10) says "ask the other one" */
	atomic_store(&volume->size, 4ull << 40);
	GOOD(a, NULL, 0, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(scsi_get32(r.in), 0xffffffff);
	GOOD(a, NULL, 0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	assert_true(scsi_get64(r.in) == (4ull << 40) / 512 - 1);
	atomic_store(&volume->size, 1024 * MIB);
}

static void
blocks_of_4096_can_be_had(void **state)
{
	(void)state;
	GOOD(a, NULL, 0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	assert_int_equal(scsi_get64(r.in), 262143);
	assert_int_equal(scsi_get32(r.in + 8), 4096);
	assert_int_equal(r.in[13], 0);
	GOOD(a, NULL, 0, 64, 0x12, 1, 0xb0, 0, 64, 0);
	assert_int_equal(scsi_get32(r.in + 8), 4096); /* 16 MiB */
	assert_int_equal(scsi_get32(r.in + 28), 1);
}

static void
mode_pages_are_those_that_initiators_read(void **state)
{
	(void)state;
	/* Linux sd_read_cache_type: page 8, 4 bytes first, then all of it */
	GOOD(a, NULL, 0, 4, 0x1a, 8, 8, 0, 4, 0);
	assert_int_equal(r.in_full, 4);
	GOOD(a, NULL, 0, 24, 0x1a, 8, 8, 0, 24, 0);
	assert_int_equal(r.in[0], 23);
	assert_int_equal(r.in[2], 0x10); /* DPOFUA */
	assert_int_equal(r.in[3], 0);
	assert_int_equal(r.in[4], 0x88);
	assert_int_equal(
	    r.in[6] & 4, 0); /* WCE: writes are durable unless somebody wants it otherwise */
	GOOD(a, NULL, 0, 255, 0x1a, 0, 0x3f, 0, 255, 0);
	assert_int_equal(r.in[3], 8);
	assert_int_equal(scsi_get32(r.in + 4), 2097152);
	assert_int_equal(scsi_get24(r.in + 9), 512);
	assert_int_equal(r.in[0] + 1u, r.in_full);
	GOOD(a, NULL, 0, 255, 0x5a, 0x10, 0x3f, 0, 0, 0, 0, 0, 255, 0);
	assert_int_equal(r.in[4], 1);
	assert_int_equal(scsi_get16(r.in + 6), 16);
	assert_int_equal(scsi_get64(r.in + 8), 2097152);
	assert_int_equal(scsi_get32(r.in + 20), 512);
	CHECK(a, NULL, 0, 255, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0x1a, 0, 0x05, 0, 255,
	    0);
	/* what can be changed: WCE and SWP */
	GOOD(a, NULL, 0, 255, 0x1a, 8, 0x48, 0, 255, 0);
	assert_int_equal(r.in[6], 4);
	GOOD(a, NULL, 0, 255, 0x1a, 8, 0x4a, 0, 255, 0);
	assert_int_equal(r.in[6], 0);
	assert_int_equal(r.in[8], 8);
	GOOD(a, NULL, 0, 255, 0x1a, 8, 0x88, 0, 255, 0); /* the default */
	assert_int_equal(r.in[6], 0);
}

static void
only_lun_0_is_there(void **state)
{
	struct io *io;
	const uint8_t tur[6] = {0}, inq[6] = {0x12, 0, 0, 0, 96}, luns[12] = {0xa0, [9] = 16};

	(void)state;
	io = io_new(a, tur, 6, NULL, 0, 0);
	io->t.lun = 1ull << 48;
	io_send(io);
	io_take(io);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_NO_LUN);
	io = io_new(a, inq, 6, NULL, 0, 96);
	io->t.lun = 1ull << 48;
	io_send(io);
	io_take(io);
	assert_int_equal(r.status, SCSI_GOOD);
	assert_int_equal(r.in[0], 0x7f);
	io = io_new(a, luns, 12, NULL, 0, 16);
	io_send(io);
	io_take(io);
	assert_int_equal(r.status, SCSI_GOOD);
	assert_int_equal(scsi_get32(r.in), 8);
	assert_true(scsi_get64(r.in + 8) == 0);
	assert_int_equal(tmf(a, SCSI_LUN_RESET, 0), SCSI_TMF_COMPLETE);
	clear_ua(a);
	clear_ua(b);
}

static void
unknown_commands_are_refused(void **state)
{
	(void)state;
	CHECK(a, NULL, 0, 0, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE, 0x04, 0, 0, 0, 0, 0);
	CHECK(a, NULL, 0, 0, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE, 0xff, 0, 0, 0, 0, 0);
	/* iscsi-test-cu PrinServiceactionRange */
	for (uint8_t sa = 4; sa < 0x20; sa++)
		CHECK(a, NULL, 0, 0, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0x5e, sa, 0, 0,
		    0, 0, 0, 0, 8, 0);
	CHECK(a, NULL, 0, 0, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0, 0, 0, 0, 0,
	    4); /* NACA */
}

/* iscsi-test-cu ReportSupportedOpcodes.* */
static void
every_command_of_the_list_can_be_asked_for(void **state)
{
	static uint8_t all[sizeof(r.in)];
	unsigned int n, with_sa = 0;

	(void)state;
	GOOD(a, NULL, 0, 65535, 0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0);
	n = scsi_get32(r.in) / 20;
	assert_in_range(n, 60, 80);
	memcpy(all, r.in, r.in_len);
	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *d = all + 4 + 20 * i;
		bool has_sa = (d[5] & 1) != 0;

		with_sa += has_sa;
		assert_int_equal(d[5] & 2, 2);
		assert_int_equal(scsi_get16(d + 8), 10);
		assert_true(has_sa || scsi_get16(d + 2) == 0);
		if (has_sa) {
			CHECK(a, NULL, 0, 255, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0xa3,
			    0x0c, 1, d[0], d[2], d[3], 0, 0, 0, 255, 0, 0);
		} else {
			CHECK(a, NULL, 0, 255, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0xa3,
			    0x0c, 2, d[0], 0, 0, 0, 0, 0, 255, 0, 0);
		}
		GOOD(a, NULL, 0, 255, 0xa3, 0x0c, has_sa ? 2 : 1, d[0], d[2], d[3], 0, 0, 0, 255, 0,
		    0);
		assert_int_equal(r.in[1] & 7, 3);
		assert_int_equal(scsi_get16(r.in + 2), scsi_get16(d + 6));
		assert_int_equal(r.in[4], d[0]);
		if (has_sa)
			assert_int_equal(r.in[5] & 0x1f, d[3]);
	}
	assert_int_equal(with_sa, 20);
	/* not there */
	GOOD(a, NULL, 0, 255, 0xa3, 0x0c, 1, 0x04, 0, 0, 0, 0, 0, 255, 0, 0);
	assert_int_equal(r.in[1] & 7, 1);
	GOOD(a, NULL, 0, 255, 0xa3, 0x0c, 3, 0x5e, 0, 9, 0, 0, 0, 255, 0, 0);
	assert_int_equal(r.in[1] & 7, 1);
	GOOD(a, NULL, 0, 16, 0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0);
	assert_int_equal(r.in[0], 0xda);
}

static void
target_port_groups_are_active(void **state)
{
	(void)state;
	GOOD(a, NULL, 0, 255, 0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0);
	assert_int_equal(scsi_get32(r.in), 12);
	assert_int_equal(r.in[4] & 0x0f, 0);
	assert_int_equal(scsi_get16(r.in + 6), 1);
	assert_int_equal(r.in[11], 1);
	assert_int_equal(scsi_get16(r.in + 14), 1);
	GOOD(a, NULL, 0, 255, 0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0);
	assert_int_equal(scsi_get32(r.in), 16);
	assert_int_equal(r.in[4], 0x10);
}

static void
request_sense_tells_a_unit_attention(void **state)
{
	(void)state;
	GOOD(a, NULL, 0, 18, 3, 0, 0, 0, 18, 0);
	assert_int_equal(r.in[0], 0x70);
	assert_int_equal(r.in[2], KEY_NO_SENSE);
	scsi_ua_raise(a, UA_CAPACITY_CHANGED);
	GOOD(a, NULL, 0, 18, 3, 0, 0, 0, 18, 0);
	assert_int_equal(r.in[2], KEY_UNIT_ATTENTION);
	assert_int_equal(scsi_get16(r.in + 12), ASC_CAPACITY_CHANGED);
	GOOD(a, NULL, 0, 0, 0, 0, 0, 0, 0, 0);
	GOOD(a, NULL, 0, 18, 3, 1, 0, 0, 18, 0);
	assert_int_equal(r.in[0], 0x72);
	assert_int_equal(r.in_len, 8);
}

static void
unit_attentions_come_once_and_in_order(void **state)
{
	(void)state;
	scsi_ua_raise(a, UA_CAPACITY_CHANGED);
	scsi_ua_raise(a, UA_LUN_RESET);
	scsi_ua_raise(a, UA_LUN_RESET);
	GOOD(
	    a, NULL, 0, 96, 0x12, 0, 0, 0, 96, 0); /* INQUIRY does not report them, and they stay */
	CHECK(a, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_LUN_RESET, 0, 0, 0, 0, 0, 0);
	CHECK(a, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_CAPACITY_CHANGED, 0x04, 0, 0, 0, 0, 0);
	GOOD(a, NULL, 0, 0, 0, 0, 0, 0, 0, 0);
	/* resize: the others hear of it, too */
	atomic_store(&volume->size, 2048 * MIB);
	scsi_nexus_changed(a);
	CHECK(a, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_CAPACITY_CHANGED, 0, 0, 0, 0, 0, 0);
	scsi_nexus_changed(a);
	CHECK(a, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_MODE_CHANGED, 0, 0, 0, 0, 0, 0);
	atomic_store(&volume->size, 1024 * MIB);
}

static void
a_new_nexus_hears_of_power_on(void **state)
{
	struct scsi_nexus *n =
	    scsi_nexus_new(target, "iqn.2026-01.test:c,i,0x000000000001", 1, loops[0]);

	(void)state;
	GOOD(n, NULL, 0, 96, 0x12, 0, 0, 0, 96, 0);
	CHECK(n, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_RESET, 0, 0, 0, 0, 0, 0);
	GOOD(n, NULL, 0, 0, 0, 0, 0, 0, 0, 0);
	free_nexus(n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(inquiry_names_the_storage_gateway, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(all_pages_of_the_list_can_be_read, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		identification_is_stable_and_of_the_volume, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(limits_say_what_the_commands_do, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(capacity_is_that_of_the_volume, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(blocks_of_4096_can_be_had, setup_4096, teardown),
	    cmocka_unit_test_setup_teardown(
		mode_pages_are_those_that_initiators_read, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(only_lun_0_is_there, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(unknown_commands_are_refused, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		every_command_of_the_list_can_be_asked_for, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(target_port_groups_are_active, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		request_sense_tells_a_unit_attention, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		unit_attentions_come_once_and_in_order, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(a_new_nexus_hears_of_power_on, setup_512, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
