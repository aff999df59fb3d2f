/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/scsi/sense.h"

#include <stddef.h>
#include <string.h>

#include "frontends/scsi/bytes.h"
#include "frontends/scsi/scsi.h"

/* What the volume answers. Everything else is a mistake of ours: HARDWARE ERROR, INTERNAL TARGET FAILURE. */
static const struct {
	int err;
	enum scsi_status status;
	enum scsi_key key;
	uint16_t asc, write_asc;
} table[] = {
    /* ask again: SAM-5 5.3.1 BUSY */
    {ERR_BACKPRESSURE, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {ERR_OFFLINE, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {ERR_THROTTLED, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {ERR_STORE, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {ERR_PRECONDITION, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {ERR_CREDENTIALS, SCSI_BUSY, KEY_NO_SENSE, 0, 0}, /* the gateway's, not the initiator's */
    {ERR_CLOCK_SKEW, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {ERR_NO_BUCKET, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {EAGAIN, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {EBUSY, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {EINTR, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {ENOMEM, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {ETIMEDOUT, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {EHOSTDOWN, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    {ECANCELED, SCSI_BUSY, KEY_NO_SENSE, 0, 0}, /* the volume is closing */
    {ESHUTDOWN, SCSI_BUSY, KEY_NO_SENSE, 0, 0},
    /* the data cannot be had, or not be kept */
    {EIO, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR, ASC_WRITE_ERROR},
    {ERR_CHECKSUM, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR,
	ASC_WRITE_ERROR},
    {ERR_ARCHIVED, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR,
	ASC_WRITE_ERROR},
    {ERR_PROTOCOL, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR,
	ASC_WRITE_ERROR},
    {ENOENT, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR, ASC_WRITE_ERROR},
    {ESTALE, SCSI_CHECK_CONDITION, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR, ASC_WRITE_ERROR},
    /* SBC-3 4.7.3.6: thin provisioning is out of space */
    {ENOSPC, SCSI_CHECK_CONDITION, KEY_DATA_PROTECT, ASC_SPACE_ALLOCATION_FAILED,
	ASC_SPACE_ALLOCATION_FAILED},
    {EROFS, SCSI_CHECK_CONDITION, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED, ASC_WRITE_PROTECTED},
    {EACCES, SCSI_CHECK_CONDITION, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED, ASC_WRITE_PROTECTED},
    {EINVAL, SCSI_CHECK_CONDITION, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE, ASC_LBA_OUT_OF_RANGE},
    {ERR_INVALID_RANGE, SCSI_CHECK_CONDITION, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE,
	ASC_LBA_OUT_OF_RANGE},
    {EILSEQ, SCSI_CHECK_CONDITION, KEY_MISCOMPARE, ASC_MISCOMPARE, ASC_MISCOMPARE},
};

void
scsi_sense_fixed(uint8_t out[SENSE_FIXED_LEN], enum scsi_key key, unsigned int asc)
{
	memset(out, 0, SENSE_FIXED_LEN);
	out[0] = 0x70; /* current, fixed */
	out[2] = (uint8_t)key;
	out[7] = SENSE_FIXED_LEN - 8;
	scsi_put16(out + 12, (uint16_t)asc);
}

void
scsi_sense(struct scsi_task *t, enum scsi_key key, unsigned int asc)
{
	scsi_sense_fixed(t->sense, key, asc);
	t->sense_len = SENSE_FIXED_LEN;
	t->status = SCSI_CHECK_CONDITION;
	t->in_len = 0;
	t->in_full = 0;
}

static void
field(struct scsi_task *t, unsigned int asc, uint8_t is_cdb, unsigned int byte)
{
	scsi_sense(t, KEY_ILLEGAL_REQUEST, asc);
	t->sense[15] = (uint8_t)(0x80 | is_cdb); /* SKSV, C/D */
	scsi_put16(t->sense + 16, (uint16_t)byte);
}

void
scsi_sense_cdb(struct scsi_task *t, unsigned int byte)
{
	field(t, ASC_INVALID_FIELD_IN_CDB, 0x40, byte);
}

void
scsi_sense_list(struct scsi_task *t, unsigned int byte)
{
	field(t, ASC_INVALID_FIELD_IN_LIST, 0, byte);
}

void
scsi_sense_info(struct scsi_task *t, uint64_t info)
{
	if (info > UINT32_MAX)
		return;
	t->sense[0] |= 0x80; /* VALID */
	scsi_put32(t->sense + 3, (uint32_t)info);
}

void
scsi_result(struct scsi_task *t, int err, bool is_write)
{
	if (err >= 0) {
		t->status = SCSI_GOOD;
		t->sense_len = 0;
		return;
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].err != -err)
			continue;
		if (table[i].status == SCSI_CHECK_CONDITION) {
			scsi_sense(t, table[i].key, is_write ? table[i].write_asc : table[i].asc);
			return;
		}
		t->status = table[i].status;
		t->sense_len = 0;
		t->in_len = 0;
		t->in_full = 0;
		return;
	}
	scsi_sense(t, KEY_HARDWARE_ERROR, ASC_INTERNAL_FAILURE);
}
