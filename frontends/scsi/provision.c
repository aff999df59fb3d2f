/* SPDX-License-Identifier: Apache-2.0 */
/* provision.c - UNMAP (SBC-3 5.28), WRITE SAME (5.36, 5.37): what frees blocks, or fills them. */
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/cdb.h"
#include "frontends/scsi/limits.h"
#include "frontends/scsi/scsi_int.h"
#include "frontends/scsi/unmap.h"
#include "gateway/base/strbuf.h"

#define PIECE (1u << 20)

/* --- UNMAP ---------------------------------------------------------------------------------------------- */

bool
scsi_prep_unmap(struct scsi_task *t)
{
	if ((t->cdb[1] & 1) != 0) /* ANCHOR: ANC_SUP is 0 */
		return scsi_refuse_cdb(t, 1);
	t->want_out = scsi_get16(t->cdb + 7);
	return true;
}

struct unmap_job {
	unsigned int n, next;
	uint32_t block_bytes;
	struct unmap_extent e[UNMAP_MAX_DESCRIPTORS];
};

static void unmap_step(struct scsi_task *t);

/* Start extents until one has to be waited for. result: true: all done */
static bool
unmap_more(struct scsi_task *t)
{
	struct unmap_job *job = t->mem;

	while (job->next < job->n && t->status == SCSI_GOOD && !scsi_task_is_stopping(t)) {
		const struct unmap_extent *e = &job->e[job->next++];
		bool is_fua = job->next == job->n && /* what came before is durable with it */
			      atomic_load(&t->nexus->target->is_write_through);

		if (e->n == 0)
			continue;
		if (!scsi_task_vio(t, CW_VIO_ZERO, e->lba * job->block_bytes,
			(uint64_t)e->n * job->block_bytes, NULL, is_fua, unmap_step))
			return false;
		scsi_result(t, t->vio.result, true);
	}
	return true;
}

static void
unmap_step(struct scsi_task *t)
{
	scsi_result(t, t->vio.result, true);
	if (unmap_more(t))
		scsi_task_complete(t);
}

bool
scsi_run_unmap(struct scsi_task *t)
{
	struct unmap_job *job;
	unsigned int asc;

	if (t->out_len < t->want_out)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	if (t->out_len == 0)
		return true;
	job = t->mem = xcalloc(1, sizeof(*job));
	job->block_bytes = scsi_block_bytes(t);
	asc = unmap_decode(t->out, t->out_len, scsi_blocks(t), job->e, &job->n);
	if (asc != 0)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, asc);
	while (job->n > 0 && job->e[job->n - 1].n == 0)
		job->n--;
	return unmap_more(t);
}

/* --- WRITE SAME ------------------------------------------------------------------------------------------ */

static bool
has_no_data(const struct scsi_task *t)
{
	return t->op->len == 16 && (t->cdb[1] & 1) != 0; /* NDOB */
}

bool
scsi_prep_write_same(struct scsi_task *t)
{
	uint32_t size = scsi_block_bytes(t);
	struct cdb_blocks b;

	if ((t->cdb[1] & 0x10) != 0) /* ANCHOR */
		return scsi_refuse_cdb(t, 1);
	if ((t->cdb[1] & 0x06) != 0) /* PBDATA, LBDATA: obsolete */
		return scsi_refuse_cdb(t, 1);
	if (!cdb_range(t, false, &b))
		return false;
	if (b.n == 0 || b.n > WRITE_SAME_MAX_BLOCKS) /* WSNZ */
		return scsi_refuse_cdb(t, t->op->len == 16 ? 10 : 7);
	if (!has_no_data(t))
		t->want_out = size;
	if (t->out_announced != t->want_out) /* iscsi-test-cu InvalidDataOutSize */
		return scsi_refuse(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	return true;
}

static void
same_done(struct scsi_task *t)
{
	scsi_result(t, t->vio.result, true);
	scsi_task_complete(t);
}

/* Fill with a block that is not zeros. */
static void
fill(struct scsi_task *t)
{
	uint32_t size = scsi_block_bytes(t);
	uint64_t most = t->len < PIECE ? t->len : PIECE, n;
	bool is_fua = atomic_load(&t->nexus->target->is_write_through);
	uint8_t *buf = xmalloc(most);
	int err = 0;

	for (uint64_t at = 0; at < most; at += size)
		memcpy(buf + at, t->out, size);
	for (uint64_t at = 0; at < t->len && err == 0 && !scsi_task_is_stopping(t); at += n) {
		n = t->len - at < most ? t->len - at : most;
		err = scsi_task_call(t, CW_VIO_WRITE, t->off + at, n, buf, is_fua);
	}
	scsi_result(t, err, true);
	free(buf);
}

static bool
is_zeros(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* UNMAP or not, zeros become a hole: it reads the same (LBPRZ).  Other data is written even with UNMAP, for a hole would
 * not read as what was asked (SBC-3 4.7.3.4.4). */
bool
scsi_run_write_same(struct scsi_task *t)
{
	if (t->out_len < t->want_out)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	if (!has_no_data(t) && !is_zeros(t->out, t->out_len))
		return scsi_task_on_worker(t, fill);
	if (!scsi_task_vio(t, CW_VIO_ZERO, t->off, t->len, NULL,
		atomic_load(&t->nexus->target->is_write_through), same_done))
		return false;
	scsi_result(t, t->vio.result, true);
	return true;
}
