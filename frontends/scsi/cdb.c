/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/scsi/cdb.h"

#include <string.h>

#include "frontends/scsi/scsi_int.h"

void
cdb_blocks_decode(const uint8_t *cdb, struct cdb_blocks *out)
{
	memset(out, 0, sizeof(*out));
	switch (cdb[0] >> 5) {
	case 0: /* 6 bytes */
		out->lba = scsi_get24(cdb + 1) & 0x1fffff;
		out->n = cdb[4] != 0 ? cdb[4] : 256;
		return;
	case 4: /* 16 */
		out->lba = scsi_get64(cdb + 2);
		out->n = scsi_get32(cdb + 10);
		break;
	case 5: /* 12 */
		out->lba = scsi_get32(cdb + 2);
		out->n = scsi_get32(cdb + 6);
		break;
	default: /* 10 */
		out->lba = scsi_get32(cdb + 2);
		out->n = scsi_get16(cdb + 7);
		break;
	}
	out->protect = cdb[1] >> 5;
	out->is_fua = (cdb[1] & 8) != 0;
}

bool
cdb_put_in_range(struct scsi_task *t, uint64_t lba, uint64_t n)
{
	uint64_t blocks = scsi_blocks(t);
	uint32_t size = scsi_block_bytes(t);

	if (lba > blocks || n > blocks - lba) {
		scsi_sense(t, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
		scsi_sense_info(t, lba > blocks ? lba : blocks);
		return false;
	}
	t->off = lba * size;
	t->len = n * size;
	return true;
}

bool
cdb_range(struct scsi_task *t, bool is_bounded, struct cdb_blocks *out)
{
	cdb_blocks_decode(t->cdb, out);
	if (out->protect != 0)
		return scsi_refuse_cdb(t, 1);
	if (!cdb_put_in_range(t, out->lba, out->n))
		return false;
	if (is_bounded && t->len > SCSI_IO_MAX)
		return scsi_refuse_cdb(t, t->op->len == 16 ? 10 : t->op->len == 12 ? 6 : 7);
	return true;
}
