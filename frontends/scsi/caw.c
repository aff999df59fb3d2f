/* SPDX-License-Identifier: Apache-2.0 */
/* caw.c - COMPARE AND WRITE (SBC-3 5.2), ORWRITE(16) (5.7): both atomic, by the volume's own compare and write. */
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/cdb.h"
#include "frontends/scsi/scsi_int.h"
#include "gateway/base/strbuf.h"

#define PIECE (256u << 10)

static bool
is_fua(const struct scsi_task *t)
{
	return (t->cdb[1] & 8) != 0 ||
	       atomic_load_explicit(&t->nexus->target->is_write_through, memory_order_relaxed);
}

bool
scsi_prep_caw(struct scsi_task *t)
{
	uint8_t blocks = t->cdb[13];

	if (t->cdb[1] >> 5 != 0)
		return scsi_refuse_cdb(t, 1);
	if (!cdb_put_in_range(t, scsi_get64(t->cdb + 2), blocks))
		return false;
	t->want_out = 2 * t->len;
	/* half of it compares, half is written: any other amount cannot be meant (iscsi-test-cu InvalidDataOutSize, and
	 * CompareAndWrite.Simple: 256 blocks, which the CDB cannot say) */
	if (t->out_announced != t->want_out)
		return scsi_refuse_cdb(t, 13);
	return true;
}

static void
caw_ended(struct scsi_task *t)
{
	scsi_result(t, t->vio.result, true);
	if (t->vio.result == -EILSEQ)
		scsi_sense_info(t, t->vio.miscompare_off);
}

static void
caw_done(struct scsi_task *t)
{
	caw_ended(t);
	scsi_task_complete(t);
}

bool
scsi_run_caw(struct scsi_task *t)
{
	if (t->out_len < t->want_out)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	if (t->len == 0)
		return true;
	if (!scsi_task_vio(t, CW_VIO_COMPARE_WRITE, t->off, t->len, t->out, is_fua(t), caw_done))
		return false;
	caw_ended(t);
	return true;
}

/* --- ORWRITE ------------------------------------------------------------------------------------------ */

/* Read, or, write if nobody wrote between. buf: two pieces */
static int
or_piece(struct scsi_task *t, uint64_t at, uint64_t len, uint8_t *buf)
{
	const uint8_t *mask = (uint8_t *)t->out + at;
	int err;

	do {
		err = scsi_task_call(t, CW_VIO_READ, t->off + at, len, buf, false);
		if (err < 0)
			return err;
		for (uint64_t i = 0; i < len; i++)
			buf[len + i] = buf[i] | mask[i];
		err = scsi_task_call(t, CW_VIO_COMPARE_WRITE, t->off + at, len, buf, is_fua(t));
	} while (err == -EILSEQ && !scsi_task_is_stopping(t));
	return err;
}

static void
orwrite(struct scsi_task *t)
{
	uint8_t *buf = xmalloc(2 * PIECE);
	uint64_t len, n;
	int err = 0;

	if (scsi_out_blocks(t, &len)) {
		for (uint64_t at = 0; at < len && err == 0 && !scsi_task_is_stopping(t); at += n) {
			n = len - at < PIECE ? len - at : PIECE;
			err = or_piece(t, at, n, buf);
		}
		scsi_result(t, err, true);
	}
	free(buf);
}

bool
scsi_run_orwrite(struct scsi_task *t)
{
	return scsi_task_on_worker(t, orwrite);
}
