/* SPDX-License-Identifier: Apache-2.0 */
/* UNMAP, WRITE SAME, GET LBA STATUS, EXTENDED COPY. */
#include "frontends/scsi/limits.h"
#include "frontends/scsi/unmap.h"
#include "frontends/scsi/xcopy.h"
#include "tests/unit/scsi_fixture.h"

static uint8_t buf[1 << 20];

static enum scsi_status
unmap(struct scsi_nexus *n, const struct unmap_extent *e, unsigned int count)
{
	static uint8_t list[8 + 16 * 300];
	uint8_t cdb[10] = {0x42};
	uint16_t len = (uint16_t)(8 + 16 * count);

	memset(list, 0, sizeof(list));
	scsi_put16(list, (uint16_t)(len - 2));
	scsi_put16(list + 2, (uint16_t)(len - 8));
	for (unsigned int i = 0; i < count; i++) {
		scsi_put64(list + 8 + 16 * i, e[i].lba);
		scsi_put32(list + 16 + 16 * i, e[i].n);
	}
	scsi_put16(cdb + 7, len);
	return command(n, cdb, 10, list, len, 0);
}

static bool
is_zero(uint64_t lba, uint64_t blocks)
{
	for (uint64_t i = lba * 512; i < (lba + blocks) * 512; i++) {
		if (volume->data[i] != 0)
			return false;
	}
	return true;
}

static void
unmapped_blocks_read_as_zeros(void **state)
{
	struct unmap_extent e[4] = {{8, 16}, {0, 0}, {33, 3}, {0, 0}};

	(void)state;
	for (int async = 0; async < 2; async++) {
		fake_is_async = async != 0;
		memset(buf, 'x', 64 * 512);
		assert_int_equal(block10(a, 0x2a, 0, 64, 0, buf, 64 * 512, 0), SCSI_GOOD);
		fake_fua = 0;
		assert_int_equal(unmap(a, e, 4), SCSI_GOOD);
		assert_int_equal(
		    atomic_load(&fake_fua), 1); /* the write cache is off: one flush for all */
		assert_true(is_zero(8, 16));
		assert_true(is_zero(33, 3)); /* less than a physical block, too */
		assert_int_equal(volume->data[8 * 512 - 1], 'x');
		assert_int_equal(volume->data[24 * 512], 'x');
		assert_int_equal(volume->data[36 * 512], 'x');
	}
}

/* iscsi-test-cu Unmap.ZeroBlocks, .Simple */
static void
unmap_checks_all_before_it_does_any(void **state)
{
	static struct unmap_extent e[257];
	uint8_t list[8] = {0};

	(void)state;
	fake_zeros = 0;
	e[0] = (struct unmap_extent){0, 8};
	e[1] = (struct unmap_extent){2097151, 2};
	assert_int_equal(unmap(a, e, 2), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	e[1] = (struct unmap_extent){0, UNMAP_MAX_BLOCKS};
	assert_int_equal(unmap(a, e, 2), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_LIST);
	memset(e, 0, sizeof(e));
	assert_int_equal(unmap(a, e, 257), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_LIST);
	assert_int_equal(unmap(a, e, 256), SCSI_GOOD);
	e[0].lba = 2097152;
	assert_int_equal(unmap(a, e, 1), SCSI_GOOD);
	assert_int_equal(unmap(a, e, 0), SCSI_GOOD);
	GOOD(a, NULL, 0, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	CHECK(a, list, 7, 0, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH, 0x42, 0, 0, 0, 0, 0, 0,
	    0, 7, 0);
	CHECK(a, list, 8, 0, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0x42, 1, 0, 0, 0, 0, 0,
	    0, 8, 0);
	assert_int_equal(atomic_load(&fake_zeros), 0);
}

static void
unmap_stops_at_the_first_error(void **state)
{
	struct unmap_extent e[2] = {{0, 8}, {16, 8}};

	(void)state;
	fake_zeros = 0;
	fake_fail_op = CW_VIO_ZERO;
	fake_fail_next = -ERR_BACKPRESSURE;
	assert_int_equal(unmap(a, e, 2), SCSI_BUSY);
	assert_int_equal(atomic_load(&fake_zeros), 0);
}

static void
write_same_frees_zeros_and_fills_the_rest(void **state)
{
	(void)state;
	memset(buf, 0, 512);
	memset(volume->data, 'x', 1 << 20);
	memset(volume->mapped, 1, 256);
	fake_zeros = fake_writes = 0;
	assert_int_equal(block10(a, 0x41, 0, 100, 0, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(atomic_load(&fake_zeros), 1);
	assert_true(is_zero(0, 100));
	assert_int_equal(volume->data[51200], 'x');
	/* VMware's zeroing: WRITE SAME(16) of 1 MiB of zeros, without UNMAP */
	assert_int_equal(block16(a, 0x93, 0, 2048, 0, buf, 512, 0), SCSI_GOOD);
	assert_true(is_zero(0, 2048));
	/* other data is written, UNMAP or not */
	buf[0] = 1;
	buf[511] = 2;
	assert_int_equal(block16(a, 0x93, 3, 4097, 8, buf, 512, 0), SCSI_GOOD);
	for (unsigned int i = 3; i < 4100; i++)
		assert_memory_equal(volume->data + i * 512, buf, 512);
	assert_true(is_zero(0, 3));
	assert_true(is_zero(4100, 10));
	/* NDOB: no data, zeros */
	assert_int_equal(block16(a, 0x93, 3, 8, 1, NULL, 0, 0), SCSI_GOOD);
	assert_int_equal(r.want_out, 0);
	assert_true(is_zero(3, 8));
	/* iscsi-test-cu WriteSame16.Unmap, .InvalidDataOutSize, .ZeroBlocks, .UnmapUntilEnd */
	assert_int_equal(block16(a, 0x93, 0, 1, 0x10, buf, 512, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
	assert_int_equal(block16(a, 0x93, 0, 1, 0x18, buf, 512, 0), SCSI_CHECK_CONDITION);
	assert_int_equal(block16(a, 0x93, 0, 1, 8, buf, 256, 0), SCSI_CHECK_CONDITION);
	assert_int_equal(r.key, KEY_ILLEGAL_REQUEST);
	assert_int_equal(block16(a, 0x93, 0, 1, 8, buf, 1024, 0), SCSI_CHECK_CONDITION);
	assert_int_equal(r.key, KEY_ILLEGAL_REQUEST);
	assert_int_equal(block16(a, 0x93, 0, 0, 0, buf, 512, 0), SCSI_CHECK_CONDITION); /* WSNZ */
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
	assert_int_equal(
	    block16(a, 0x93, 0, WRITE_SAME_MAX_BLOCKS + 1, 0, buf, 512, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
	memset(buf, 0, 512);
	assert_int_equal(block16(a, 0x93, 0, WRITE_SAME_MAX_BLOCKS, 0, buf, 512, 0), SCSI_GOOD);
}

static void
lba_status_tells_what_is_mapped(void **state)
{
	uint8_t cdb[16] = {0x9e, 0x12, [13] = 24};

	(void)state;
	memset(buf, 'x', 64 * 512);
	assert_int_equal(block10(a, 0x2a, 16, 16, 0, buf, 16 * 512, 0), SCSI_GOOD);
	scsi_put64(cdb + 2, 16);
	assert_int_equal(command(a, cdb, 16, NULL, 0, 24), SCSI_GOOD);
	assert_int_equal(scsi_get32(r.in), 20);
	assert_true(scsi_get64(r.in + 8) == 16);
	assert_int_equal(scsi_get32(r.in + 16), 16);
	assert_int_equal(r.in[20], 0);
	cdb[13] = 255;
	scsi_put64(cdb + 2, 0);
	assert_int_equal(command(a, cdb, 16, NULL, 0, 255), SCSI_GOOD);
	assert_int_equal(scsi_get32(r.in), 4 + 3 * 16);
	assert_int_equal(r.in[20], 1);
	assert_int_equal(scsi_get32(r.in + 16), 16);
	assert_int_equal(r.in[36], 0);
	assert_int_equal(r.in[52], 1);
	assert_true(scsi_get64(r.in + 40) == 32);
	assert_int_equal(scsi_get32(r.in + 48), 2097152 - 32);
	/* iscsi-test-cu GetLBAStatus.UnmapSingle: amid a physical block the next one counts */
	cdb[13] = 24;
	scsi_put64(cdb + 2, 9);
	assert_int_equal(command(a, cdb, 16, NULL, 0, 24), SCSI_GOOD);
	assert_true(scsi_get64(r.in + 8) == 16);
	assert_int_equal(r.in[20], 0);
	scsi_put64(cdb + 2, 2097151);
	assert_int_equal(command(a, cdb, 16, NULL, 0, 24), SCSI_GOOD);
	assert_true(scsi_get64(r.in + 8) == 2097151);
	assert_int_equal(scsi_get32(r.in + 16), 1);
	scsi_put64(cdb + 2, 2097152);
	assert_int_equal(command(a, cdb, 16, NULL, 0, 24), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
}

/* --- EXTENDED COPY --------------------------------------------------------------------------------------- */

static uint8_t list[4096];
static unsigned int list_len;

static void
list_begin(uint8_t id, uint8_t usage)
{
	memset(list, 0, sizeof(list));
	list[0] = id;
	list[1] = (uint8_t)(usage << 3);
	list_len = XCOPY_HEADER;
}

static void
list_target(const char *volume_id, uint32_t block_bytes)
{
	uint8_t *p = list + list_len;

	p[0] = 0xe4;
	p[4] = 1;
	p[5] = 3;
	p[7] = 8;
	scsi_put64(p + 8, scsi_naa(volume_id));
	scsi_put24(p + 29, block_bytes);
	list_len += XCOPY_TARGET_LEN;
	scsi_put16(list + 2, (uint16_t)(scsi_get16(list + 2) + XCOPY_TARGET_LEN));
}

static void
list_segment(uint16_t from, uint16_t to, uint16_t blocks, uint64_t from_lba, uint64_t to_lba)
{
	uint8_t *p = list + list_len;

	p[0] = 2;
	scsi_put16(p + 2, 24);
	scsi_put16(p + 4, from);
	scsi_put16(p + 6, to);
	scsi_put16(p + 10, blocks);
	scsi_put64(p + 12, from_lba);
	scsi_put64(p + 20, to_lba);
	list_len += XCOPY_B2B_LEN;
	scsi_put32(list + 8, scsi_get32(list + 8) + XCOPY_B2B_LEN);
}

static enum scsi_status
xcopy(struct scsi_nexus *n)
{
	uint8_t cdb[16] = {0x83};

	scsi_put32(cdb + 10, list_len);
	return command(n, cdb, 16, list, list_len, 0);
}

static enum scsi_status
copy_results(struct scsi_nexus *n, uint8_t sa, uint8_t id, uint32_t alloc)
{
	uint8_t cdb[16] = {0x84, sa, id};

	scsi_put32(cdb + 10, alloc);
	return command(n, cdb, 16, NULL, 0, alloc);
}

static void
xcopy_copies_within_a_volume(void **state)
{
	(void)state;
	memset(buf, 'A', 1 << 20);
	assert_int_equal(block16(a, 0x8a, 0, 2048, 0, buf, 1 << 20, 0), SCSI_GOOD);
	list_begin(1, 2);
	list_target(VOLUME_ID, 512);
	list_segment(0, 0, 2048, 0, 2097152 - 2048);
	assert_int_equal(xcopy(a), SCSI_GOOD);
	assert_memory_equal(volume->data + 1024 * MIB - MIB, buf, 1 << 20);
	assert_int_equal(copy_results(a, 0, 1, 64), SCSI_CHECK_CONDITION); /* not kept */
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
	/* overlapping, upwards: as memmove */
	for (unsigned int i = 0; i < 6000; i++)
		memset(volume->data + i * 512, (int)(i % 251), 512);
	memset(volume->mapped, 1, 1000);
	list_begin(7, 0);
	list_target(VOLUME_ID, 512);
	list_segment(0, 0, 5000, 0, 8);
	assert_int_equal(xcopy(a), SCSI_GOOD);
	for (unsigned int i = 0; i < 5000; i++)
		assert_int_equal(volume->data[(i + 8) * 512], i % 251);
	assert_int_equal(copy_results(a, 0, 7, 64), SCSI_GOOD);
	assert_int_equal(r.in[4], 1);
	assert_int_equal(scsi_get16(r.in + 5), 1);
	assert_int_equal(scsi_get32(r.in + 8), 5000);
	assert_int_equal(copy_results(a, 0, 7, 64), SCSI_CHECK_CONDITION); /* told once */
	assert_int_equal(copy_results(b, 0, 7, 64), SCSI_CHECK_CONDITION); /* another nexus' list */
}

/* VMware clones VMs so: 4 MiB in a command, between datastores */
static void
xcopy_copies_between_volumes_and_keeps_holes(void **state)
{
	struct cw_volume *other = fake_volume_new("vol-99887766", 64 * MIB, 4096);
	struct scsi_target *there = scsi_target_get(other);
	struct scsi_nexus *n;

	(void)state;
	memset(volume->data + MIB, 'y', MIB);
	memset(volume->mapped + 256, 1, 256);
	memset(other->data, 'z', 4 * MIB);
	memset(other->mapped, 1, 1024);
	list_begin(0, 3);
	list_target(VOLUME_ID, 512);
	list_target("vol-99887766", 4096);
	list_segment(0, 1, 8192, 0, 0);
	/* not logged in there: a copy is no way around CHAP */
	n = scsi_nexus_new(there, NAME_B, 1, loops[0]);
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_COPY_ABORTED, ASC_UNREACHABLE_COPY_TARGET);
	assert_int_equal(other->data[0], 'z');
	free_nexus(n);
	n = scsi_nexus_new(there, "iqn.2026-01.test:a,i,0x00023d00abcd", 1, loops[1]);
	assert_int_equal(xcopy(a), SCSI_GOOD);
	assert_memory_equal(other->data, volume->data, 4 * MIB);
	assert_int_equal(other->mapped[0], 0);
	assert_int_equal(other->mapped[256], 1);
	assert_int_equal(other->mapped[512], 0);
	list[28 + 16 + 3] = 0; /* the block length does not fit */
	list[28 + 16 + 2] = 4;
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_LIST);
	/* a read-only destination */
	other->conf.is_read_only = true;
	list_begin(0, 3);
	list_target(VOLUME_ID, 512);
	list_target("vol-99887766", 4096);
	list_segment(0, 1, 8192, 0, 0);
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_COPY_ABORTED, ASC_UNREACHABLE_COPY_TARGET);
	free_nexus(n);
	scsi_target_put(there);
	fake_volume_free(other);
	/* gone */
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_COPY_ABORTED, ASC_UNREACHABLE_COPY_TARGET);
}

/* iscsi-test-cu ExtendedCopy.ParamHdr, .DescrLimits, .DescrType, .ValidTgtDescr, .ValidSegDescr; ReceiveCopyResults.* */
static void
xcopy_lists_are_checked(void **state)
{
	unsigned int targets, segments, most;

	(void)state;
	list_begin(1, 0);
	list_target(VOLUME_ID, 512);
	list_segment(0, 0, 2048, 0, 2097152 - 2048);
	list_len--;
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	list_len = XCOPY_HEADER + XCOPY_TARGET_LEN - 1;
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	list_len = 0;
	assert_int_equal(xcopy(a), SCSI_GOOD);

	assert_int_equal(copy_results(a, 3, 0, 1024), SCSI_GOOD);
	targets = scsi_get16(r.in + 8);
	segments = scsi_get16(r.in + 10);
	most = scsi_get32(r.in + 12);
	assert_int_equal(scsi_get32(r.in) + 4, r.in_full);
	list_begin(1, 0);
	for (unsigned int i = 0; i < targets + 1; i++)
		list_target(VOLUME_ID, 512);
	list_segment(0, 0, 2048, 0, 0);
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_TOO_MANY_TARGETS);
	list_begin(1, 0);
	list_target(VOLUME_ID, 512);
	for (unsigned int i = 0; i < segments + 1; i++)
		list_segment(0, 0, 2048, 0, 0);
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_TOO_MANY_SEGMENTS);
	list_begin(1, 0);
	for (unsigned int i = 0; i < targets + 1; i++)
		list_target(VOLUME_ID, 512);
	for (unsigned int i = 0; i < segments + 1; i++)
		list_segment(0, 0, 2048, 0, 0);
	assert_true(list_len - XCOPY_HEADER > most);
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);

	list_begin(1, 0);
	list_target(VOLUME_ID, 512);
	list[XCOPY_HEADER] = 0xe0;
	list_segment(0, 0, 2048, 0, 0);
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_TARGET_TYPE);
	list_begin(1, 0);
	list_target(VOLUME_ID, 512);
	list_segment(0, 0, 2048, 0, 0);
	list[XCOPY_HEADER + XCOPY_TARGET_LEN] = 3;
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_SEGMENT_TYPE);
	list_begin(1, 0);
	list_target(VOLUME_ID, 512);
	list[XCOPY_HEADER + 1] = 0xe0; /* LU ID TYPE, NUL: ignored in SPC-4 */
	list_segment(0, 0, 8, 0, 0);
	assert_int_equal(xcopy(a), SCSI_GOOD);
	list_begin(1, 0);
	list_target(VOLUME_ID, 512);
	list_segment(0, 1, 2048, 0, 0);
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_COPY_ABORTED, ASC_UNREACHABLE_COPY_TARGET);
	assert_int_equal(copy_results(a, 0, 1, 64), SCSI_GOOD);
	assert_int_equal(r.in[4], 2);
	list_begin(1, 0);
	list_target(VOLUME_ID, 512);
	list_segment(0, 0, 2048, 0, 2097151);
	assert_int_equal(xcopy(a), SCSI_CHECK_CONDITION);
	assert_check(KEY_COPY_ABORTED, ASC_NONE);
	/* trouble of a volume is its own sense */
	list_begin(1, 2);
	list_target(VOLUME_ID, 512);
	list_segment(0, 0, 8, 0, 8);
	memset(volume->mapped, 1, 1);
	fake_fail_op = CW_VIO_READ;
	fake_fail_next = -ERR_OFFLINE;
	assert_int_equal(xcopy(a), SCSI_BUSY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(unmapped_blocks_read_as_zeros, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		unmap_checks_all_before_it_does_any, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(unmap_stops_at_the_first_error, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		write_same_frees_zeros_and_fills_the_rest, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(lba_status_tells_what_is_mapped, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(xcopy_copies_within_a_volume, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		xcopy_copies_between_volumes_and_keeps_holes, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(xcopy_lists_are_checked, setup_512, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
