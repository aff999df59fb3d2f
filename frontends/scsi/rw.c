/* SPDX-License-Identifier: Apache-2.0 */
/* rw.c - READ, WRITE, SYNCHRONIZE CACHE, PRE-FETCH (SBC-3 5.8 to 5.18, 5.24 to 5.31). */
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/cdb.h"
#include "frontends/scsi/scsi_int.h"
#include "gateway/base/strbuf.h"

#define PREFETCH_MAX (16u << 20) /* bytes that one PRE-FETCH reads ahead */

/* --- READ ---------------------------------------------------------------------------------------- */

bool
scsi_prep_read(struct scsi_task *t)
{
	struct cdb_blocks b;

	if (!cdb_range(t, true, &b))
		return false;
	t->want_in = t->len;
	return true;
}

static void
read_ended(struct scsi_task *t)
{
	int err = t->vio.result;

	if (err < 0) {
		scsi_result(t, err, false);
		return;
	}
	if (t->mem != NULL) /* in_cap ends amid a block */
		memcpy(t->in, t->mem, t->in_len);
}

static void
read_done(struct scsi_task *t)
{
	read_ended(t);
	scsi_task_complete(t);
}

/* As much as fits; the volume reads whole blocks. result: true: complete */
static bool
read_now(struct scsi_task *t)
{
	void *buf = t->in;
	uint64_t len = t->in_len;

	if (len % 512 != 0) {
		len = (len + 511) & ~511ull;
		buf = t->mem = xmalloc(len);
	}
	if (!scsi_task_vio(t, CW_VIO_READ, t->off, len, buf, false, read_done))
		return false;
	read_ended(t);
	return true;
}

static void
read_after_sync(struct scsi_task *t)
{
	if (t->vio.result < 0)
		scsi_result(t, t->vio.result, true);
	else if (!read_now(t))
		return;
	scsi_task_complete(t);
}

bool
scsi_run_read(struct scsi_task *t)
{
	t->in_full = t->len;
	t->in_len = (uint32_t)(t->len < t->in_cap ? t->len : t->in_cap);
	if (t->in_len == 0)
		return true;
	if (t->op->len > 6 && (t->cdb[1] & 8) != 0) { /* FUA: what is read shall be on the medium */
		if (!scsi_task_vio(t, CW_VIO_SYNC, 0, 0, NULL, false, read_after_sync))
			return false;
		if (t->vio.result < 0) {
			scsi_result(t, t->vio.result, true);
			return true;
		}
	}
	return read_now(t);
}

/* --- WRITE --------------------------------------------------------------------------------------- */

bool
scsi_prep_write(struct scsi_task *t)
{
	struct cdb_blocks b;

	if (!cdb_range(t, true, &b))
		return false;
	t->want_out = t->len;
	return true;
}

/* What came is written, in units that the volume can write (FCP-4 9.4.2: process normally, up to what was transferred; of a
 * block of 4,096 bytes that may be a part).  What ends amid 512 bytes is refused, and nothing of it is written. */
bool
scsi_out_blocks(struct scsi_task *t, uint64_t *len)
{
	*len = t->out_len < t->len ? t->out_len : t->len;
	if (*len % 512 == 0)
		return true;
	return scsi_refuse(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
}

static void
write_done(struct scsi_task *t)
{
	scsi_result(t, t->vio.result, true);
	scsi_task_complete(t);
}

bool
scsi_run_write(struct scsi_task *t)
{
	bool is_fua =
	    (t->op->len > 6 && (t->cdb[1] & 8) != 0) ||
	    atomic_load_explicit(&t->nexus->target->is_write_through, memory_order_relaxed);
	uint64_t len;

	if (!scsi_out_blocks(t, &len) || len == 0)
		return true;
	if (!scsi_task_vio(t, CW_VIO_WRITE, t->off, len, t->out, is_fua, write_done))
		return false;
	scsi_result(t, t->vio.result, true);
	return true;
}

/* --- SYNCHRONIZE CACHE ----------------------------------------------------------------------------- */

bool
scsi_prep_sync(struct scsi_task *t)
{
	struct cdb_blocks b;

	cdb_blocks_decode(t->cdb, &b); /* byte 1 has no protection field */
	return cdb_put_in_range(t, b.lba, b.n);
}

/* All of the volume, whatever the range says; IMMED is allowed to wait, too. */
bool
scsi_run_sync(struct scsi_task *t)
{
	if (!scsi_task_vio(t, CW_VIO_SYNC, 0, 0, NULL, false, write_done))
		return false;
	scsi_result(t, t->vio.result, true);
	return true;
}

/* --- PRE-FETCH ------------------------------------------------------------------------------------- */

/* Reading is all that it takes; it goes on after the status, on its own. */
struct prefetch {
	struct work work;
	struct cw_vio vio;
	struct cw_volume *volume;
};

static void
prefetch(struct work *w)
{
	struct prefetch *p = container_of(w, struct prefetch, work);

	(void)cw_volume_call(&p->vio);
	cw_volume_put(p->volume);
	free(p->vio.buf);
	free(p);
}

bool
scsi_prep_prefetch(struct scsi_task *t)
{
	struct cdb_blocks b;

	cdb_blocks_decode(t->cdb, &b);
	if (!cdb_put_in_range(t, b.lba, b.n))
		return false;
	if (b.n == 0) /* SBC-3 5.8: to the end */
		return cdb_put_in_range(t, b.lba, scsi_blocks(t) - b.lba);
	return true;
}

/* GOOD, not CONDITION MET: that all of it stays in the cache is not promised. */
bool
scsi_run_prefetch(struct scsi_task *t)
{
	struct prefetch *p;

	if (t->len == 0)
		return true;
	p = xcalloc(1, sizeof(*p));
	p->volume = scsi_volume(t);
	cw_volume_get(p->volume);
	p->vio.op = CW_VIO_READ;
	p->vio.volume = p->volume;
	p->vio.off = t->off;
	p->vio.len = t->len < PREFETCH_MAX ? t->len : PREFETCH_MAX;
	p->vio.buf = xmalloc(p->vio.len);
	p->work.fn = prefetch;
	workq_submit(scsi_workq(), &p->work);
	return true;
}
