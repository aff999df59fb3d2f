/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - VERIFY, WRITE AND VERIFY (SBC-3 5.29 to 5.35): straight-line code on a worker. */
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/cdb.h"
#include "frontends/scsi/scsi_int.h"
#include "gateway/base/strbuf.h"

#define PIECE (1u << 20)

static unsigned int
bytchk(const struct scsi_task *t)
{
	return t->cdb[1] >> 1 & 3;
}

bool
scsi_prep_verify(struct scsi_task *t)
{
	struct cdb_blocks b;
	bool has_data = bytchk(t) != 0;

	if (bytchk(t) == 2)
		return scsi_refuse_cdb(t, 1);
	if (!cdb_range(t, has_data, &b))
		return false;
	if (has_data && b.n > 0) /* 11b: one block is compared with all of them */
		t->want_out = bytchk(t) == 3 ? scsi_block_bytes(t) : t->len;
	return true;
}

static bool
compare(struct scsi_task *t, const uint8_t *have, const uint8_t *want, uint64_t len, uint64_t base)
{
	if (memcmp(have, want, len) == 0)
		return true;
	for (uint64_t i = 0; i < len; i++) {
		if (have[i] != want[i]) {
			scsi_sense(t, KEY_MISCOMPARE, ASC_MISCOMPARE);
			scsi_sense_info(t, base + i);
			break;
		}
	}
	return false;
}

static bool
compare_piece(
    struct scsi_task *t, const uint8_t *have, uint64_t at, uint64_t len, bool is_one_block)
{
	uint32_t size = scsi_block_bytes(t);

	if (!is_one_block)
		return compare(t, have, (uint8_t *)t->out + at, len, at);
	for (uint64_t i = 0; i < len; i += size) {
		if (!compare(t, have + i, t->out, size, at + i))
			return false;
	}
	return true;
}

/* Read [off, off+len) in pieces; compare if there is something to compare with. */
static void
read_back(struct scsi_task *t, uint64_t len, bool has_data, bool is_one_block)
{
	uint8_t *buf = xmalloc(len < PIECE ? len : PIECE);

	for (uint64_t at = 0, n; at < len && !scsi_task_is_stopping(t); at += n) {
		int err;

		n = len - at < PIECE ? len - at : PIECE;
		err = scsi_task_call(t, CW_VIO_READ, t->off + at, n, buf, false);
		if (err < 0) {
			scsi_result(t, err, false);
			break;
		}
		if (has_data && !compare_piece(t, buf, at, n, is_one_block))
			break;
	}
	free(buf);
}

static void
verify(struct scsi_task *t)
{
	uint64_t len = t->len;

	if (bytchk(t) == 1)
		len = t->out_len; /* what came: checked before */
	read_back(t, len, bytchk(t) != 0, bytchk(t) == 3);
}

bool
scsi_run_verify(struct scsi_task *t)
{
	uint64_t len;

	if (bytchk(t) != 0 && !scsi_out_blocks(t, &len))
		return true;
	if (t->len == 0 || (bytchk(t) != 0 && t->out_len == 0))
		return true;
	if (bytchk(t) == 3 && t->out_len < t->want_out)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	return scsi_task_on_worker(t, verify);
}

/* --- WRITE AND VERIFY --------------------------------------------------------------------------------- */

bool
scsi_prep_write_verify(struct scsi_task *t)
{
	struct cdb_blocks b;

	if (bytchk(t) > 1)
		return scsi_refuse_cdb(t, 1);
	if (!cdb_range(t, true, &b))
		return false;
	t->want_out = t->len;
	return true;
}

/* To be verified it must be on the medium: the write is durable. */
static void
write_verify(struct scsi_task *t)
{
	uint64_t len;
	int err;

	if (!scsi_out_blocks(t, &len) || len == 0)
		return;
	err = scsi_task_call(t, CW_VIO_WRITE, t->off, len, t->out, true);
	if (err < 0)
		scsi_result(t, err, true);
	else
		read_back(t, len, bytchk(t) == 1, false);
}

bool
scsi_run_write_verify(struct scsi_task *t)
{
	return scsi_task_on_worker(t, write_verify);
}
