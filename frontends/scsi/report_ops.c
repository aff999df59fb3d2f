/* SPDX-License-Identifier: Apache-2.0 */
/* report_ops.c - REPORT SUPPORTED OPERATION CODES (SPC-4 6.35), REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (6.36). */
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/scsi_int.h"
#include "gateway/base/strbuf.h"

#define OPS_MAX 128
#define TIMEOUTS_LEN 12
#define ALL_MAX (4 + OPS_MAX * (8 + TIMEOUTS_LEN))

enum reporting { REPORT_ALL, REPORT_OPCODE, REPORT_SA, REPORT_EITHER };

bool
scsi_prep_report_opcodes(struct scsi_task *t)
{
	if ((t->cdb[2] & 7) > REPORT_EITHER)
		return scsi_refuse_cdb(t, 2);
	return scsi_want_in(t, scsi_get32(t->cdb + 6), ALL_MAX);
}

static uint8_t *
put_timeouts(uint8_t *p, const struct scsi_op *op)
{
	memset(p, 0, TIMEOUTS_LEN);
	scsi_put16(p, TIMEOUTS_LEN - 2);
	scsi_put32(p + 4, op->timeout_s);	/* nominal, seconds */
	scsi_put32(p + 8, op->timeout_s * 10u); /* recommended */
	return p + TIMEOUTS_LEN;
}

struct all {
	uint8_t *p;
	bool has_timeouts;
};

static void
put_one(void *arg, const struct scsi_op *op)
{
	struct all *a = arg;
	uint8_t *p = a->p;

	memset(p, 0, 8);
	p[0] = op->opcode;
	if (op->sa != SCSI_NO_SA) {
		scsi_put16(p + 2, (uint16_t)op->sa);
		p[5] |= 1; /* SERVACTV */
	}
	if (a->has_timeouts)
		p[5] |= 2; /* CTDP */
	scsi_put16(p + 6, op->len);
	a->p = a->has_timeouts ? put_timeouts(p + 8, op) : p + 8;
}

static void
report_all(struct scsi_task *t)
{
	uint8_t *buf = xmalloc(ALL_MAX);
	struct all a = {buf + 4, (t->cdb[2] & 0x80) != 0};

	scsi_op_each(put_one, &a);
	scsi_put32(buf, (uint32_t)(a.p - buf) - 4);
	scsi_reply(t, buf, (size_t)(a.p - buf));
	free(buf);
}

/* One command: its CDB usage data. The codes stand there as they are (SPC-4 6.35.3). */
static void
report_one(struct scsi_task *t, const struct scsi_op *op)
{
	bool has_timeouts = (t->cdb[2] & 0x80) != 0;
	uint8_t buf[4 + SCSI_OP_USAGE_MAX + TIMEOUTS_LEN] = {0}, *p = buf + 4;

	if (op == NULL) {
		buf[1] = 1; /* not supported */
		scsi_reply(t, buf, 4);
		return;
	}
	buf[1] = (uint8_t)(3 | (has_timeouts ? 0x80 : 0)); /* as in the standard; CTDP */
	scsi_put16(buf + 2, op->len);
	memcpy(p, op->usage, op->len);
	if (op->sa != SCSI_NO_SA)
		p[1] = (uint8_t)((p[1] & ~0x1f) | op->sa);
	p += op->len;
	if (has_timeouts)
		p = put_timeouts(p, op);
	scsi_reply(t, buf, (size_t)(p - buf));
}

bool
scsi_run_report_opcodes(struct scsi_task *t)
{
	enum reporting how = (enum reporting)(t->cdb[2] & 7);
	uint16_t sa = scsi_get16(t->cdb + 4);
	const struct scsi_op *op;
	bool has_sa;

	if (how == REPORT_ALL) {
		report_all(t);
		return true;
	}
	op = scsi_op_lookup(t->cdb[3], sa, &has_sa);
	if ((how == REPORT_OPCODE && has_sa) || (how == REPORT_SA && !has_sa && op != NULL)) {
		scsi_sense_cdb(t, 2);
		return true;
	}
	report_one(t, how == REPORT_EITHER && !has_sa && sa != 0 ? NULL : op);
	return true;
}

bool
scsi_prep_report_tmfs(struct scsi_task *t)
{
	uint32_t alloc = scsi_get32(t->cdb + 6);

	if (alloc < 4)
		return scsi_refuse_cdb(t, 6);
	return scsi_want_in(t, alloc, 16);
}

bool
scsi_run_report_tmfs(struct scsi_task *t)
{
	bool is_long = (t->cdb[2] & 0x80) != 0; /* REPD */
	uint8_t buf[16] = {0};

	buf[0] = 0x80 | 0x40 | 0x10 | 0x08 |
		 0x02; /* ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LU and TARGET RESET */
	if (is_long)
		buf[3] = 12; /* without timeouts */
	scsi_reply(t, buf, is_long ? 16 : 4);
	return true;
}
