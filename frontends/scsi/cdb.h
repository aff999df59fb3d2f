/* SPDX-License-Identifier: Apache-2.0 */
/* cdb.h - fields that stand at the same place in the CDBs of one length (SPC-4 4.3.4). Pure. */
#ifndef SCSI_CDB_H
#define SCSI_CDB_H

#include <stdbool.h>
#include <stdint.h>

#include "frontends/scsi/scsi.h"

struct cdb_blocks {
	uint64_t lba;
	uint32_t n;	 /* as it stands there; of READ(6), WRITE(6) 0 is 256 already */
	uint8_t protect; /* RDPROTECT, WRPROTECT, VRPROTECT */
	bool is_fua;
};

/* cdb_blocks_decode - LBA, length and flags of a block command, by the group of its operation code. */
void cdb_blocks_decode(const uint8_t *cdb, struct cdb_blocks *out);
/* cdb_range - the same, checked: protection information is refused (there is none), the range must lie in the volume,
 * at most SCSI_IO_MAX bytes if is_bounded. Sets t->off and t->len. result: false: refused, sense set */
bool cdb_range(struct scsi_task *t, bool is_bounded, struct cdb_blocks *out);
/* cdb_put_in_range - lba and n blocks into t->off, t->len. result: false: LBA OUT OF RANGE */
bool cdb_put_in_range(struct scsi_task *t, uint64_t lba, uint64_t n);

#define SCSI_IO_MAX CW_VIO_LEN_MAX

#endif
