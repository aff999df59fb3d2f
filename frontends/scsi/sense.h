/* SPDX-License-Identifier: Apache-2.0 */
/* sense.h - sense data (fixed format, SPC-4 4.5.3), and the one place where an errno becomes a status. */
#ifndef SCSI_SENSE_H
#define SCSI_SENSE_H

#include <stdbool.h>
#include <stdint.h>

struct scsi_task;

enum scsi_key { /* SPC-4 4.5.6 */
	KEY_NO_SENSE = 0x0,
	KEY_NOT_READY = 0x2,
	KEY_MEDIUM_ERROR = 0x3,
	KEY_HARDWARE_ERROR = 0x4,
	KEY_ILLEGAL_REQUEST = 0x5,
	KEY_UNIT_ATTENTION = 0x6,
	KEY_DATA_PROTECT = 0x7,
	KEY_COPY_ABORTED = 0xa,
	KEY_ABORTED_COMMAND = 0xb,
	KEY_MISCOMPARE = 0xe,
};

enum scsi_asc { /* additional sense code and qualifier, SPC-4 annex D */
	ASC_NONE = 0x0000,
	ASC_UNREACHABLE_COPY_TARGET = 0x0804,
	ASC_WRITE_ERROR = 0x0c00,
	ASC_INVALID_FIELD_IN_IU = 0x0e03,
	ASC_UNRECOVERED_READ_ERROR = 0x1100,
	ASC_PARAMETER_LIST_LENGTH = 0x1a00,
	ASC_MISCOMPARE = 0x1d00,
	ASC_INVALID_OPCODE = 0x2000,
	ASC_LBA_OUT_OF_RANGE = 0x2100,
	ASC_INVALID_FIELD_IN_CDB = 0x2400,
	ASC_NO_LUN = 0x2500,
	ASC_INVALID_FIELD_IN_LIST = 0x2600,
	ASC_INVALID_RELEASE = 0x2604,
	ASC_TOO_MANY_TARGETS = 0x2606,
	ASC_TARGET_TYPE = 0x2607,
	ASC_TOO_MANY_SEGMENTS = 0x2608,
	ASC_SEGMENT_TYPE = 0x2609,
	ASC_WRITE_PROTECTED = 0x2700,
	ASC_SOFTWARE_WRITE_PROTECTED = 0x2702,
	ASC_SPACE_ALLOCATION_FAILED = 0x2707,
	ASC_RESET = 0x2900,
	ASC_LUN_RESET = 0x2903,
	ASC_MODE_CHANGED = 0x2a01,
	ASC_RESERVATIONS_PREEMPTED = 0x2a03,
	ASC_RESERVATIONS_RELEASED = 0x2a04,
	ASC_REGISTRATIONS_PREEMPTED = 0x2a05,
	ASC_CAPACITY_CHANGED = 0x2a09,
	ASC_COMMANDS_CLEARED = 0x2f00,
	ASC_NO_SAVING = 0x3900,
	ASC_INTERNAL_FAILURE = 0x4400,
	ASC_INVALID_MESSAGE = 0x4900,
	ASC_NO_REGISTRATION_RESOURCES = 0x5504,
};

#define SENSE_FIXED_LEN 18

/* scsi_sense - CHECK CONDITION with this sense data. */
void scsi_sense(struct scsi_task *t, enum scsi_key key, unsigned int asc);
/* scsi_sense_field - as scsi_sense, ILLEGAL REQUEST with the number of the byte that is wrong: in the CDB, or in the
 * parameter list (SPC-4 4.5.2.4.2). */
void scsi_sense_cdb(struct scsi_task *t, unsigned int byte);
void scsi_sense_list(struct scsi_task *t, unsigned int byte);
/* scsi_sense_info - add the INFORMATION field (left out when it does not fit into 32 bits). */
void scsi_sense_info(struct scsi_task *t, uint64_t info);
/* scsi_sense_fixed - the bytes alone. */
void scsi_sense_fixed(uint8_t out[SENSE_FIXED_LEN], enum scsi_key key, unsigned int asc);
/* scsi_result - set status and sense from 0 or a negative errno of the volume.
 * Trouble that passes (the store is away, the cache is full of dirty data, the volume is closing) is BUSY: the
 * initiator asks again, which bounds it.  Unreadable data is a MEDIUM ERROR, never zeros.
 * is_write: which of the two kinds of medium error. */
void scsi_result(struct scsi_task *t, int err, bool is_write);

/* refuse: for prepare(), returns false; fail: for run(), returns true. */
static inline bool
scsi_refuse(struct scsi_task *t, enum scsi_key key, unsigned int asc)
{
	scsi_sense(t, key, asc);
	return false;
}

static inline bool
scsi_refuse_cdb(struct scsi_task *t, unsigned int byte)
{
	scsi_sense_cdb(t, byte);
	return false;
}

static inline bool
scsi_fail(struct scsi_task *t, enum scsi_key key, unsigned int asc)
{
	scsi_sense(t, key, asc);
	return true;
}

#endif
