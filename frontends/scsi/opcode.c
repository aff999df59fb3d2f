/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opcode.c - the table of commands, by operation code; those with service actions have a table of their own below.
 *
 * Flags are the rows of the reservation tables: SPC-4 table 66 and SBC-3 table 13 for persistent reservations,
 * SPC-2 table 10 for RESERVE.  The last column is the CDB usage data of REPORT SUPPORTED OPERATION CODES: a one
 * for each bit that is looked at.
 */
#include "frontends/scsi/scsi_int.h"

struct row {
	struct scsi_op op;
	const struct scsi_op *by_sa; /* then op is not used but for its CDB length */
	uint8_t nby_sa;
};

/* clang-format off */
static const struct scsi_op sa_5e[] = {
	{"READ KEYS", 0x00, 0x5e, 10, OP_FREE, 1, scsi_prep_pr_in, scsi_run_pr_in,
	    {0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0}},
	{"READ RESERVATION", 0x01, 0x5e, 10, OP_FREE, 1, scsi_prep_pr_in, scsi_run_pr_in,
	    {0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0}},
	{"REPORT CAPABILITIES", 0x02, 0x5e, 10, OP_FREE, 1, scsi_prep_pr_in, scsi_run_pr_in,
	    {0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0}},
	{"READ FULL STATUS", 0x03, 0x5e, 10, OP_FREE, 1, scsi_prep_pr_in, scsi_run_pr_in,
	    {0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0}},
};

static const struct scsi_op sa_5f[] = {
	{"REGISTER", 0x00, 0x5f, 10, OP_FREE, 1, scsi_prep_pr_out, scsi_run_pr_out,
	    {0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}},
	{"RESERVE", 0x01, 0x5f, 10, OP_FREE, 1, scsi_prep_pr_out, scsi_run_pr_out,
	    {0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}},
	{"RELEASE", 0x02, 0x5f, 10, OP_FREE, 1, scsi_prep_pr_out, scsi_run_pr_out,
	    {0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}},
	{"CLEAR", 0x03, 0x5f, 10, OP_FREE, 1, scsi_prep_pr_out, scsi_run_pr_out,
	    {0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}},
	{"PREEMPT", 0x04, 0x5f, 10, OP_FREE, 1, scsi_prep_pr_out, scsi_run_pr_out,
	    {0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}},
	{"PREEMPT AND ABORT", 0x05, 0x5f, 10, OP_FREE, 1, scsi_prep_pr_out, scsi_run_pr_out,
	    {0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}},
	{"REGISTER AND IGNORE EXISTING KEY", 0x06, 0x5f, 10, OP_FREE, 1, scsi_prep_pr_out, scsi_run_pr_out,
	    {0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}},
	{"REGISTER AND MOVE", 0x07, 0x5f, 10, OP_FREE, 1, scsi_prep_pr_out, scsi_run_pr_out,
	    {0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}},
};

static const struct scsi_op sa_83[] = {
	{"EXTENDED COPY(LID1)", 0x00, 0x83, 16, OP_MEDIUM, 30, scsi_prep_xcopy, scsi_run_xcopy,
	    {0x83, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0}},
};

static const struct scsi_op sa_84[] = {
	{"COPY STATUS", 0x00, 0x84, 16, 0, 1, scsi_prep_copy_results, scsi_run_copy_results,
	    {0x84, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0}},
	{"OPERATING PARAMETERS", 0x03, 0x84, 16, 0, 1, scsi_prep_copy_results, scsi_run_copy_results,
	    {0x84, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0}},
};

static const struct scsi_op sa_9e[] = {
	{"READ CAPACITY(16)", 0x10, 0x9e, 16, OP_FREE | OP_SPC2_OK, 1, scsi_prep_capacity16, scsi_run_capacity16,
	    {0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0}},
	{"GET LBA STATUS", 0x12, 0x9e, 16, OP_READS, 1, scsi_prep_lba_status, scsi_run_lba_status,
	    {0x9e, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0}},
};

static const struct scsi_op sa_a3[] = {
	{"REPORT TARGET PORT GROUPS", 0x0a, 0xa3, 12, OP_FREE | OP_SPC2_OK, 1, scsi_prep_rtpg, scsi_run_rtpg,
	    {0xa3, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0}},
	{"REPORT SUPPORTED OPERATION CODES", 0x0c, 0xa3, 12, OP_READS, 1, scsi_prep_report_opcodes, scsi_run_report_opcodes,
	    {0xa3, 0x1f, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0}},
	{"REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", 0x0d, 0xa3, 12, OP_READS, 1, scsi_prep_report_tmfs, scsi_run_report_tmfs,
	    {0xa3, 0x1f, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0}},
};

static const struct row table[256] = {
	[0x00] = {.op = {"TEST UNIT READY", SCSI_NO_SA, 0x00, 6, OP_FREE, 1, scsi_prep_none, scsi_run_good,
	    {0x00, 0, 0, 0, 0, 0}}},
	[0x03] = {.op = {"REQUEST SENSE", SCSI_NO_SA, 0x03, 6, OP_FREE | OP_NO_LUN | OP_NO_UA | OP_SPC2_OK, 1, scsi_prep_request_sense, scsi_run_request_sense,
	    {0x03, 0x01, 0, 0, 0xff, 0}}},
	[0x08] = {.op = {"READ(6)", SCSI_NO_SA, 0x08, 6, OP_READS, 6, scsi_prep_read, scsi_run_read,
	    {0x08, 0x1f, 0xff, 0xff, 0xff, 0}}},
	[0x0a] = {.op = {"WRITE(6)", SCSI_NO_SA, 0x0a, 6, OP_MEDIUM, 6, scsi_prep_write, scsi_run_write,
	    {0x0a, 0x1f, 0xff, 0xff, 0xff, 0}}},
	[0x12] = {.op = {"INQUIRY", SCSI_NO_SA, 0x12, 6, OP_FREE | OP_NO_LUN | OP_NO_UA | OP_SPC2_OK, 1, scsi_prep_inquiry, scsi_run_inquiry,
	    {0x12, 0x01, 0xff, 0xff, 0xff, 0}}},
	[0x15] = {.op = {"MODE SELECT(6)", SCSI_NO_SA, 0x15, 6, 0, 1, scsi_prep_mode_select, scsi_run_mode_select,
	    {0x15, 0x11, 0, 0, 0xff, 0}}},
	[0x16] = {.op = {"RESERVE(6)", SCSI_NO_SA, 0x16, 6, OP_FREE, 1, scsi_prep_reserve, scsi_run_reserve,
	    {0x16, 0, 0, 0, 0, 0}}},
	[0x17] = {.op = {"RELEASE(6)", SCSI_NO_SA, 0x17, 6, OP_FREE | OP_SPC2_OK, 1, scsi_prep_reserve, scsi_run_release,
	    {0x17, 0, 0, 0, 0, 0}}},
	[0x1a] = {.op = {"MODE SENSE(6)", SCSI_NO_SA, 0x1a, 6, OP_READS, 1, scsi_prep_mode_sense, scsi_run_mode_sense,
	    {0x1a, 0x08, 0xff, 0xff, 0xff, 0}}},
	[0x1b] = {.op = {"START STOP UNIT", SCSI_NO_SA, 0x1b, 6, OP_FREE, 6, scsi_prep_start_stop, scsi_run_start_stop,
	    {0x1b, 0x01, 0, 0, 0x05, 0}}},
	[0x1d] = {.op = {"SEND DIAGNOSTIC", SCSI_NO_SA, 0x1d, 6, 0, 1, scsi_prep_send_diagnostic, scsi_run_good,
	    {0x1d, 0x04, 0, 0, 0, 0}}},
	[0x1e] = {.op = {"PREVENT ALLOW MEDIUM REMOVAL", SCSI_NO_SA, 0x1e, 6, OP_FREE | OP_SPC2_OK, 1, scsi_prep_prevent_allow, scsi_run_good,
	    {0x1e, 0, 0, 0, 0x03, 0}}},
	[0x25] = {.op = {"READ CAPACITY(10)", SCSI_NO_SA, 0x25, 10, OP_FREE | OP_SPC2_OK, 1, scsi_prep_capacity10, scsi_run_capacity10,
	    {0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}}},
	[0x28] = {.op = {"READ(10)", SCSI_NO_SA, 0x28, 10, OP_READS, 6, scsi_prep_read, scsi_run_read,
	    {0x28, 0x18, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0}}},
	[0x2a] = {.op = {"WRITE(10)", SCSI_NO_SA, 0x2a, 10, OP_MEDIUM, 6, scsi_prep_write, scsi_run_write,
	    {0x2a, 0x18, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0}}},
	[0x2e] = {.op = {"WRITE AND VERIFY(10)", SCSI_NO_SA, 0x2e, 10, OP_MEDIUM, 6, scsi_prep_write_verify, scsi_run_write_verify,
	    {0x2e, 0x16, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0}}},
	[0x2f] = {.op = {"VERIFY(10)", SCSI_NO_SA, 0x2f, 10, OP_READS, 6, scsi_prep_verify, scsi_run_verify,
	    {0x2f, 0x16, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0}}},
	[0x34] = {.op = {"PRE-FETCH(10)", SCSI_NO_SA, 0x34, 10, OP_READS, 6, scsi_prep_prefetch, scsi_run_prefetch,
	    {0x34, 0x02, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0}}},
	[0x35] = {.op = {"SYNCHRONIZE CACHE(10)", SCSI_NO_SA, 0x35, 10, 0, 12, scsi_prep_sync, scsi_run_sync,
	    {0x35, 0x02, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0}}},
	[0x37] = {.op = {"READ DEFECT DATA(10)", SCSI_NO_SA, 0x37, 10, OP_READS, 1, scsi_prep_defects10, scsi_run_defects,
	    {0x37, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0}}},
	[0x41] = {.op = {"WRITE SAME(10)", SCSI_NO_SA, 0x41, 10, OP_MEDIUM, 12, scsi_prep_write_same, scsi_run_write_same,
	    {0x41, 0x08, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0}}},
	[0x42] = {.op = {"UNMAP", SCSI_NO_SA, 0x42, 10, OP_MEDIUM, 12, scsi_prep_unmap, scsi_run_unmap,
	    {0x42, 0, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0}}},
	[0x55] = {.op = {"MODE SELECT(10)", SCSI_NO_SA, 0x55, 10, 0, 1, scsi_prep_mode_select, scsi_run_mode_select,
	    {0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0}}},
	[0x56] = {.op = {"RESERVE(10)", SCSI_NO_SA, 0x56, 10, OP_FREE, 1, scsi_prep_reserve, scsi_run_reserve,
	    {0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0}}},
	[0x57] = {.op = {"RELEASE(10)", SCSI_NO_SA, 0x57, 10, OP_FREE | OP_SPC2_OK, 1, scsi_prep_reserve, scsi_run_release,
	    {0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0}}},
	[0x5a] = {.op = {"MODE SENSE(10)", SCSI_NO_SA, 0x5a, 10, OP_READS, 1, scsi_prep_mode_sense, scsi_run_mode_sense,
	    {0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0}}},
	[0x5e] = {.op = {.len = 10}, .by_sa = sa_5e, .nby_sa = sizeof(sa_5e) / sizeof(sa_5e[0])},
	[0x5f] = {.op = {.len = 10}, .by_sa = sa_5f, .nby_sa = sizeof(sa_5f) / sizeof(sa_5f[0])},
	[0x83] = {.op = {.len = 16}, .by_sa = sa_83, .nby_sa = sizeof(sa_83) / sizeof(sa_83[0])},
	[0x84] = {.op = {.len = 16}, .by_sa = sa_84, .nby_sa = sizeof(sa_84) / sizeof(sa_84[0])},
	[0x88] = {.op = {"READ(16)", SCSI_NO_SA, 0x88, 16, OP_READS, 6, scsi_prep_read, scsi_run_read,
	    {0x88, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0x89] = {.op = {"COMPARE AND WRITE", SCSI_NO_SA, 0x89, 16, OP_MEDIUM, 6, scsi_prep_caw, scsi_run_caw,
	    {0x89, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0x1f, 0}}},
	[0x8a] = {.op = {"WRITE(16)", SCSI_NO_SA, 0x8a, 16, OP_MEDIUM, 6, scsi_prep_write, scsi_run_write,
	    {0x8a, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0x8b] = {.op = {"ORWRITE(16)", SCSI_NO_SA, 0x8b, 16, OP_MEDIUM, 6, scsi_prep_write, scsi_run_orwrite,
	    {0x8b, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0x8e] = {.op = {"WRITE AND VERIFY(16)", SCSI_NO_SA, 0x8e, 16, OP_MEDIUM, 6, scsi_prep_write_verify, scsi_run_write_verify,
	    {0x8e, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0x8f] = {.op = {"VERIFY(16)", SCSI_NO_SA, 0x8f, 16, OP_READS, 6, scsi_prep_verify, scsi_run_verify,
	    {0x8f, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0x90] = {.op = {"PRE-FETCH(16)", SCSI_NO_SA, 0x90, 16, OP_READS, 6, scsi_prep_prefetch, scsi_run_prefetch,
	    {0x90, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0x91] = {.op = {"SYNCHRONIZE CACHE(16)", SCSI_NO_SA, 0x91, 16, 0, 12, scsi_prep_sync, scsi_run_sync,
	    {0x91, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0x93] = {.op = {"WRITE SAME(16)", SCSI_NO_SA, 0x93, 16, OP_MEDIUM, 12, scsi_prep_write_same, scsi_run_write_same,
	    {0x93, 0x09, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0x9e] = {.op = {.len = 16}, .by_sa = sa_9e, .nby_sa = sizeof(sa_9e) / sizeof(sa_9e[0])},
	[0xa0] = {.op = {"REPORT LUNS", SCSI_NO_SA, 0xa0, 12, OP_FREE | OP_NO_LUN | OP_NO_UA | OP_SPC2_OK, 1, scsi_prep_report_luns, scsi_run_report_luns,
	    {0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0}}},
	[0xa3] = {.op = {.len = 12}, .by_sa = sa_a3, .nby_sa = sizeof(sa_a3) / sizeof(sa_a3[0])},
	[0xa8] = {.op = {"READ(12)", SCSI_NO_SA, 0xa8, 12, OP_READS, 6, scsi_prep_read, scsi_run_read,
	    {0xa8, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0xaa] = {.op = {"WRITE(12)", SCSI_NO_SA, 0xaa, 12, OP_MEDIUM, 6, scsi_prep_write, scsi_run_write,
	    {0xaa, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0xae] = {.op = {"WRITE AND VERIFY(12)", SCSI_NO_SA, 0xae, 12, OP_MEDIUM, 6, scsi_prep_write_verify, scsi_run_write_verify,
	    {0xae, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0xaf] = {.op = {"VERIFY(12)", SCSI_NO_SA, 0xaf, 12, OP_READS, 6, scsi_prep_verify, scsi_run_verify,
	    {0xaf, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0}}},
	[0xb7] = {.op = {"READ DEFECT DATA(12)", SCSI_NO_SA, 0xb7, 12, OP_READS, 1, scsi_prep_defects12, scsi_run_defects,
	    {0xb7, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0}}},
};
/* clang-format on */

const struct scsi_op *
scsi_op_lookup(uint8_t opcode, int sa, bool *has_sa)
{
	const struct row *row = &table[opcode];

	*has_sa = row->by_sa != NULL;
	if (row->by_sa == NULL)
		return row->op.name != NULL ? &row->op : NULL;
	for (unsigned int i = 0; i < row->nby_sa; i++) {
		if (row->by_sa[i].sa == sa)
			return &row->by_sa[i];
	}
	return NULL;
}

const struct scsi_op *
scsi_op_find(const uint8_t *cdb, unsigned int len, bool *is_sa_wrong)
{
	const struct scsi_op *op;

	*is_sa_wrong = false;
	if (len < 6 || len < table[cdb[0]].op.len)
		return NULL;
	op = scsi_op_lookup(cdb[0], cdb[1] & 0x1f, is_sa_wrong);
	if (op != NULL)
		*is_sa_wrong = false;
	return op;
}

void
scsi_op_each(void (*fn)(void *arg, const struct scsi_op *op), void *arg)
{
	for (unsigned int i = 0; i < 256; i++) {
		if (table[i].op.name != NULL)
			fn(arg, &table[i].op);
		for (unsigned int j = 0; j < table[i].nby_sa; j++)
			fn(arg, &table[i].by_sa[j]);
	}
}
