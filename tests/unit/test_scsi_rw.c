/* SPDX-License-Identifier: Apache-2.0 */
/* READ, WRITE, VERIFY, SYNCHRONIZE CACHE, COMPARE AND WRITE: data, durability, residuals, errors. */
#include "tests/unit/scsi_fixture.h"

static uint8_t buf[1 << 20];

static void
pattern(uint8_t *p, size_t n, uint8_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(seed + i * 7 + (i >> 9));
}

static void
all_lengths_of_cdb_reach_the_same_blocks(void **state)
{
	(void)state;
	pattern(buf, 4096, 1);
	GOOD(a, buf, 1024, 0, 0x0a, 0, 0, 9, 2, 0);
	assert_memory_equal(volume->data + 9 * 512, buf, 1024);
	GOOD(a, NULL, 0, 1024, 0x08, 0, 0, 9, 2, 0);
	assert_int_equal(r.in_len, 1024);
	assert_memory_equal(r.in, buf, 1024);
	assert_int_equal(block10(a, 0x2a, 100, 8, 0, buf, 4096, 0), SCSI_GOOD);
	assert_int_equal(block10(a, 0x28, 100, 8, 0, NULL, 0, 4096), SCSI_GOOD);
	assert_memory_equal(r.in, buf, 4096);
	GOOD(a, buf + 512, 512, 0, 0xaa, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0);
	GOOD(a, NULL, 0, 512, 0xa8, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0);
	assert_memory_equal(r.in, buf + 512, 512);
	assert_memory_equal(volume->data + 256 * 512, buf + 512, 512);
	assert_int_equal(block16(a, 0x8a, 2097151, 1, 0, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(block16(a, 0x88, 2097151, 1, 0, NULL, 0, 512), SCSI_GOOD);
	assert_memory_equal(r.in, buf, 512);
	/* READ(6) of 0 blocks is 256 */
	GOOD(a, NULL, 0, 1 << 20, 0x08, 0, 0, 0, 0, 0);
	assert_int_equal(r.in_len, 256 * 512);
	/* bits above 32 of an LBA count */
	assert_int_equal(block16(a, 0x88, 1ull << 32, 1, 0, NULL, 0, 512), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
}

/* iscsi-test-cu *.BeyondEol, *.ZeroBlocks, *.ReadProtect, *.WriteProtect */
static void
ranges_are_checked_before_data_is_asked_for(void **state)
{
	static const uint8_t ops[] = {0x88, 0x8a, 0x8b, 0x8e, 0x8f, 0x90, 0x91, 0x93};

	(void)state;
	for (size_t i = 0; i < sizeof(ops); i++) {
		uint8_t flags = ops[i] == 0x8e || ops[i] == 0x8f ? 2 : 0;

		assert_int_equal(
		    block16(a, ops[i], 2097152, 1, flags, buf, 512, 0), SCSI_CHECK_CONDITION);
		assert_check(KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
		assert_true(r.is_refused);
		assert_int_equal(r.want_out, 0);
		assert_int_equal(
		    block16(a, ops[i], 2097151, 2, flags, buf, 1024, 0), SCSI_CHECK_CONDITION);
		assert_check(KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
		assert_int_equal(
		    block16(a, ops[i], 2097153, 0, flags, NULL, 0, 0), SCSI_CHECK_CONDITION);
		assert_check(KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
		assert_int_equal(
		    block16(a, ops[i], UINT64_MAX, 1, flags, NULL, 0, 0), SCSI_CHECK_CONDITION);
		assert_check(KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
		if (ops[i] != 0x93)
			assert_int_equal(
			    block16(a, ops[i], 2097152, 0, flags, NULL, 0, 0), SCSI_GOOD);
		for (uint8_t p = 1; p < 8 && ops[i] != 0x90 && ops[i] != 0x91; p++) {
			assert_int_equal(
			    block16(a, ops[i], 0, 1, (uint8_t)(flags | p << 5), buf, 512, 0),
			    SCSI_CHECK_CONDITION);
			assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
		}
	}
}

/* iscsi-test-cu iSCSIResiduals.*: what arrives counts, in whole blocks */
static void
less_data_than_the_cdb_says_moves_whole_blocks(void **state)
{
	(void)state;
	memset(volume->data, 'a', 4096);
	memset(buf, 'b', 4096);
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, NULL, 0, 0), SCSI_GOOD);
	assert_int_equal(r.want_out, 512);
	assert_int_equal(volume->data[0], 'a');
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 200, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	assert_int_equal(volume->data[0], 'a');
	assert_int_equal(block10(a, 0x2a, 0, 2, 0, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(volume->data[511], 'b');
	assert_int_equal(volume->data[512], 'a');
	assert_int_equal(
	    block10(a, 0x2a, 1, 1, 0, buf, 1024, 0), SCSI_GOOD); /* more is announced */
	assert_int_equal(volume->data[1023], 'b');
	assert_int_equal(volume->data[1024], 'a');
	assert_int_equal(block10(a, 0x2e, 4, 1, 2, NULL, 0, 0), SCSI_GOOD);
	assert_int_equal(block10(a, 0x2e, 4, 2, 2, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(volume->data[4 * 512], 'b');
	assert_int_equal(volume->data[5 * 512], 'a');
	assert_int_equal(block10(a, 0x2e, 4, 1, 2, buf, 200, 0), SCSI_CHECK_CONDITION);
	/* READ: fewer bytes than a block */
	assert_int_equal(block10(a, 0x28, 0, 1, 0, NULL, 0, 200), SCSI_GOOD);
	assert_int_equal(r.in_len, 200);
	assert_int_equal(r.in_full, 512);
	assert_int_equal(r.in[199], 'b');
	assert_int_equal(block10(a, 0x28, 0, 1, 0, NULL, 0, 0), SCSI_GOOD);
	assert_int_equal(r.in_len, 0);
	assert_int_equal(r.in_full, 512);
	assert_int_equal(block10(a, 0x28, 0, 2, 0, NULL, 0, 512), SCSI_GOOD);
	assert_int_equal(r.in_len, 512);
	assert_int_equal(r.in_full, 1024);
}

/* iscsi-test-cu ProutReserve.Access* writes 512 bytes in the name of a block, whatever its size */
static void
part_of_a_large_block_can_come(void **state)
{
	(void)state;
	memset(volume->data, 'a', 8192);
	memset(buf, 'b', 8192);
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(r.want_out, 4096);
	assert_int_equal(volume->data[511], 'b');
	assert_int_equal(volume->data[512], 'a');
	assert_int_equal(block10(a, 0x28, 0, 1, 0, NULL, 0, 4096), SCSI_GOOD);
	assert_memory_equal(r.in, volume->data, 4096);
	/* but a block that all are compared with must be whole */
	assert_int_equal(block16(a, 0x8f, 0, 4, 6, buf, 512, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
}

static void
set_wce(bool is_on)
{
	uint8_t list[] = {
	    0, 0, 0, 0, 0x08, 18, is_on ? 4 : 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

	GOOD(a, list, sizeof(list), 0, 0x15, 0x10, 0, 0, sizeof(list), 0);
	CHECK(b, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_MODE_CHANGED, 0, 0, 0, 0, 0, 0);
}

static void
fua_and_write_through_are_durable(void **state)
{
	(void)state;
	fake_fua = fake_syncs = 0;
	/* an initiator outlives us, and flushes only later what it wrote before */
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(atomic_load(&fake_fua), 1);
	set_wce(true);
	fake_fua = fake_syncs = 0;
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(atomic_load(&fake_fua), 0);
	assert_int_equal(block10(a, 0x2a, 0, 1, 0x18, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(atomic_load(&fake_fua), 1);
	assert_int_equal(block10(a, 0x28, 0, 1, 8, NULL, 0, 512), SCSI_GOOD); /* READ with FUA */
	assert_int_equal(atomic_load(&fake_syncs), 1);
	assert_int_equal(block10(a, 0x35, 0, 0, 0, NULL, 0, 0), SCSI_GOOD);
	assert_int_equal(block16(a, 0x91, 0, 0, 2, NULL, 0, 0), SCSI_GOOD); /* IMMED waits, too */
	assert_int_equal(atomic_load(&fake_syncs), 3);
	/* WCE off: written back till now becomes durable, and every write after */
	set_wce(false);
	assert_int_equal(atomic_load(&fake_syncs), 4);
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(atomic_load(&fake_fua), 2);
	GOOD(a, NULL, 0, 0, 0, 0, 0, 0, 0, 0);
	/* START STOP UNIT with START = 0 flushes and stops nothing */
	GOOD(a, NULL, 0, 0, 0x1b, 0, 0, 0, 0, 0);
	assert_int_equal(atomic_load(&fake_syncs), 5);
	GOOD(a, NULL, 0, 0, 0, 0, 0, 0, 0, 0);
}

static uint32_t sent, take_most;

static uint32_t
take(struct scsi_task *t, struct iovec *iov, unsigned int n)
{
	(void)t;
	assert_int_equal(n, 1);
	sent = (uint32_t)iov[0].iov_len < take_most ? (uint32_t)iov[0].iov_len : take_most;
	return sent;
}

static void
cached_data_can_be_sent_from_where_it_is(void **state)
{
	const uint8_t cdb[10] = {0x28, 0, 0, 0, 0, 0, 0, 0, 8};
	struct io *io = io_new(a, cdb, 10, NULL, 0, 4096);

	(void)state;
	pattern(volume->data, 4096, 9);
	take_most = 1024;
	io->t.send = take;
	io_send(io);
	io_take(io);
	assert_int_equal(r.status, SCSI_GOOD);
	assert_int_equal(r.in_len, 4096);
	assert_int_equal(sent, 1024);
	assert_int_equal(r.in[0], 0xee); /* not copied */
	assert_memory_equal(r.in + 1024, volume->data + 1024, 3072);
	/* not when the answer ends amid a block */
	io = io_new(a, cdb, 10, NULL, 0, 700);
	io->t.send = take;
	sent = 0;
	io_send(io);
	io_take(io);
	assert_int_equal(sent, 0);
	assert_memory_equal(r.in, volume->data, 700);
}

static void
what_completes_later_calls_done(void **state)
{
	(void)state;
	fake_is_async = true;
	pattern(buf, 4096, 3);
	assert_int_equal(block10(a, 0x2a, 8, 8, 0, buf, 4096, 0), SCSI_GOOD);
	assert_int_equal(block10(a, 0x28, 8, 8, 8, NULL, 0, 4096), SCSI_GOOD);
	assert_memory_equal(r.in, buf, 4096);
	assert_int_equal(block10(a, 0x28, 8, 8, 8, NULL, 0, 1000), SCSI_GOOD);
	assert_memory_equal(r.in, buf, 1000);
	assert_int_equal(block10(a, 0x35, 0, 0, 0, NULL, 0, 0), SCSI_GOOD);
	assert_int_equal(block10(a, 0x41, 16, 8, 8, memset(buf, 0, 512), 512, 0), SCSI_GOOD);
	fake_fail_next = -EIO;
	fake_fail_op = CW_VIO_SYNC;
	assert_int_equal(block10(a, 0x28, 8, 8, 8, NULL, 0, 4096), SCSI_CHECK_CONDITION);
	assert_check(KEY_MEDIUM_ERROR, ASC_WRITE_ERROR);
}

/* --- errno to sense ---------------------------------------------------------------------------------- */

static void
every_errno_has_its_sense(void **state)
{
	static const struct {
		int err;
		enum scsi_status status;
		unsigned int key, asc;
	} want[] = {
	    {EIO, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR},
	    {ERR_CHECKSUM, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR},
	    {ERR_ARCHIVED, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR},
	    {ERR_PROTOCOL, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR},
	    {ERR_NO_UPLOAD, SCSI_CHECK_CONDITION, KEY_HARDWARE_ERROR, ASC_INTERNAL_FAILURE},
	    {ENOSPC, SCSI_CHECK_CONDITION, KEY_DATA_PROTECT, ASC_SPACE_ALLOCATION_FAILED},
	    {EROFS, SCSI_CHECK_CONDITION, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED},
	    {EINVAL, SCSI_CHECK_CONDITION, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE},
	    {ERR_INVALID_RANGE, SCSI_CHECK_CONDITION, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE},
	    {EILSEQ, SCSI_CHECK_CONDITION, KEY_MISCOMPARE, ASC_MISCOMPARE},
	    {EBADF, SCSI_CHECK_CONDITION, KEY_HARDWARE_ERROR, ASC_INTERNAL_FAILURE},
	    {ERR_BACKPRESSURE, SCSI_BUSY, 0, 0},
	    {ERR_OFFLINE, SCSI_BUSY, 0, 0},
	    {ERR_THROTTLED, SCSI_BUSY, 0, 0},
	    {ERR_STORE, SCSI_BUSY, 0, 0},
	    {ERR_PRECONDITION, SCSI_BUSY, 0, 0},
	    {ERR_CREDENTIALS, SCSI_BUSY, 0, 0},
	    {ERR_NO_BUCKET, SCSI_BUSY, 0, 0},
	    {ERR_CLOCK_SKEW, SCSI_BUSY, 0, 0},
	    {ECANCELED, SCSI_BUSY, 0, 0},
	    {ETIMEDOUT, SCSI_BUSY, 0, 0},
	};
	bool is_covered[ERR_MAX - ERR_BASE] = {false};

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		if (want[i].err > ERR_BASE)
			is_covered[want[i].err - ERR_BASE] = true;
		fake_fail_op = CW_VIO_READ;
		fake_fail_next = -want[i].err;
		assert_int_equal(block10(a, 0x28, 0, 8, 0, NULL, 0, 4096), want[i].status);
		assert_int_equal(r.key, want[i].key);
		assert_int_equal(r.asc, want[i].asc);
		assert_int_equal(r.in_len, 0); /* never a silent zero block */
	}
	for (int e = ERR_BASE + 1; e < ERR_MAX; e++)
		assert_true(is_covered[e - ERR_BASE]);
	fake_fail_op = CW_VIO_WRITE;
	fake_fail_next = -EIO;
	assert_int_equal(block10(a, 0x2a, 0, 8, 0, buf, 4096, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_MEDIUM_ERROR, ASC_WRITE_ERROR);
}

/* --- VERIFY, WRITE AND VERIFY -------------------------------------------------------------------------- */

static void
verify_compares_when_asked_to(void **state)
{
	(void)state;
	pattern(volume->data, 1 << 20, 5);
	memcpy(buf, volume->data, 1 << 20);
	assert_int_equal(block10(a, 0x2f, 0, 2048, 2, buf, 1 << 20, 0), SCSI_GOOD);
	assert_int_equal(r.want_out, 1 << 20);
	buf[700000] ^= 1;
	assert_int_equal(block10(a, 0x2f, 0, 2048, 2, buf, 1 << 20, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_MISCOMPARE, ASC_MISCOMPARE);
	assert_true(r.has_info);
	assert_int_equal(r.info, 700000);
	assert_int_equal(block10(a, 0x2f, 0, 2048, 0, NULL, 0, 0), SCSI_GOOD); /* BYTCHK 0 */
	assert_int_equal(block10(a, 0x2f, 0, 0, 2, NULL, 0, 0), SCSI_GOOD);
	assert_int_equal(block10(a, 0x2f, 0, 1, 4, buf, 512, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
	/* BYTCHK 11b: one block against all */
	memset(volume->data, 7, 1 << 16);
	memset(buf, 7, 512);
	assert_int_equal(block16(a, 0x8f, 0, 128, 6, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(r.want_out, 512);
	volume->data[50 * 512 + 3] = 0;
	assert_int_equal(block16(a, 0x8f, 0, 128, 6, buf, 512, 0), SCSI_CHECK_CONDITION);
	assert_int_equal(r.info, 50 * 512 + 3);
	fake_fail_next = -EIO;
	fake_fail_op = CW_VIO_READ;
	assert_int_equal(block16(a, 0x8f, 0, 128, 0, NULL, 0, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR);
}

static void
write_and_verify_is_durable(void **state)
{
	(void)state;
	fake_fua = 0;
	pattern(buf, 8192, 11);
	assert_int_equal(block10(a, 0x2e, 3, 16, 2, buf, 8192, 0), SCSI_GOOD);
	assert_memory_equal(volume->data + 3 * 512, buf, 8192);
	assert_int_equal(atomic_load(&fake_fua), 1);
	GOOD(a, buf, 512, 0, 0xae, 2, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0);
	assert_int_equal(block16(a, 0x8e, 5, 1, 0, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(block16(a, 0x8e, 5, 0, 0, NULL, 0, 0), SCSI_GOOD);
}

/* --- COMPARE AND WRITE, ORWRITE -------------------------------------------------------------------------- */

static enum scsi_status
caw(struct scsi_nexus *n, uint64_t lba, uint8_t blocks, uint64_t announced)
{
	uint8_t cdb[16] = {0x89, [13] = blocks};

	scsi_put64(cdb + 2, lba);
	return command(n, cdb, 16, buf, announced, 0);
}

/* VMware ATS: one block of a VMFS heartbeat; iscsi-test-cu CompareAndWrite.* */
static void
compare_and_write_writes_what_was_as_expected(void **state)
{
	(void)state;
	memset(buf, 0, 512);
	memset(buf + 512, 'B', 512);
	assert_int_equal(caw(a, 7, 1, 1024), SCSI_GOOD);
	assert_int_equal(volume->data[7 * 512], 'B');
	assert_int_equal(caw(b, 7, 1, 1024), SCSI_CHECK_CONDITION);
	assert_check(KEY_MISCOMPARE, ASC_MISCOMPARE);
	assert_true(r.has_info);
	assert_int_equal(r.info, 0);
	memset(buf, 'B', 512);
	buf[100] = 0;
	assert_int_equal(caw(a, 7, 1, 1024), SCSI_CHECK_CONDITION);
	assert_int_equal(r.info, 100); /* CompareAndWrite.MiscompareSense */
	assert_int_equal(caw(a, 7, 0, 0), SCSI_GOOD);
	/* InvalidDataOutSize: 4 blocks announced, the CDB says 2 or 6 */
	assert_int_equal(caw(a, 0, 1, 2048), SCSI_CHECK_CONDITION);
	assert_int_equal(r.key, KEY_ILLEGAL_REQUEST);
	assert_int_equal(caw(a, 0, 3, 2048), SCSI_CHECK_CONDITION);
	assert_int_equal(r.key, KEY_ILLEGAL_REQUEST);
	assert_int_equal(caw(a, 2097152, 1, 1024), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	memset(buf, 0, 2 * 255 * 512);
	assert_int_equal(caw(a, 1000, 255, 2 * 255 * 512), SCSI_GOOD);
}

static void
orwrite_sets_bits(void **state)
{
	(void)state;
	memset(volume->data, 0x50, 1 << 20);
	memset(buf, 0x0a, 1 << 20);
	assert_int_equal(block16(a, 0x8b, 0, 2048, 0, buf, 1 << 20, 0), SCSI_GOOD);
	for (size_t i = 0; i < 1 << 20; i++)
		assert_int_equal(volume->data[i], 0x5a);
}

static void
protection_refuses_what_changes_the_medium(void **state)
{
	uint8_t list[] = {0, 0, 0, 0, 0x0a, 10, 0x20, 0x10, 0x08, 0x40, 0, 0, 0xff, 0xff, 0, 0};
	uint8_t unmap[8] = {0};

	(void)state;
	volume->conf.is_read_only = true;
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
	assert_int_equal(block10(a, 0x28, 0, 1, 0, NULL, 0, 512), SCSI_GOOD);
	GOOD(a, NULL, 0, 4, 0x1a, 8, 0x3f, 0, 4, 0);
	assert_int_equal(r.in[2], 0x90);
	volume->conf.is_read_only = false;
	/* iscsi-test-cu ModeSense6.Control-SWP */
	GOOD(a, list, sizeof(list), 0, 0x15, 0x10, 0, 0, sizeof(list), 0);
	for (uint8_t op = 0x8a; op <= 0x8e; op += op == 0x8b ? 3 : 1) {
		assert_int_equal(block16(a, op, 0, 1, 0, buf, 512, 0), SCSI_CHECK_CONDITION);
		assert_check(KEY_DATA_PROTECT, ASC_SOFTWARE_WRITE_PROTECTED);
	}
	CHECK(a, unmap, 8, 0, KEY_DATA_PROTECT, ASC_SOFTWARE_WRITE_PROTECTED, 0x42, 0, 0, 0, 0, 0,
	    0, 0, 8, 0);
	assert_int_equal(caw(a, 0, 1, 1024), SCSI_CHECK_CONDITION);
	assert_check(KEY_DATA_PROTECT, ASC_SOFTWARE_WRITE_PROTECTED);
	list[8] = 0;
	GOOD(a, list, sizeof(list), 0, 0x15, 0x10, 0, 0, sizeof(list), 0);
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_GOOD);
	clear_ua(b);
}

static void
prefetch_reads_behind_the_status(void **state)
{
	(void)state;
	fake_reads = 0;
	assert_int_equal(block10(a, 0x34, 0, 256, 0, NULL, 0, 0), SCSI_GOOD);
	assert_int_equal(block16(a, 0x90, 0, 256, 2, NULL, 0, 0), SCSI_GOOD);
	for (int i = 0; i < 1000 && atomic_load(&fake_reads) < 2; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&fake_reads), 2);
	workq_drain(scsi_workq());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		all_lengths_of_cdb_reach_the_same_blocks, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		ranges_are_checked_before_data_is_asked_for, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		less_data_than_the_cdb_says_moves_whole_blocks, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(part_of_a_large_block_can_come, setup_4096, teardown),
	    cmocka_unit_test_setup_teardown(fua_and_write_through_are_durable, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		cached_data_can_be_sent_from_where_it_is, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(what_completes_later_calls_done, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(every_errno_has_its_sense, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(verify_compares_when_asked_to, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(write_and_verify_is_durable, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		compare_and_write_writes_what_was_as_expected, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(orwrite_sets_bits, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		protection_refuses_what_changes_the_medium, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(prefetch_reads_behind_the_status, setup_512, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
