/* SPDX-License-Identifier: Apache-2.0 */
/* response.c - how a SCSI command is answered: Data-In, status, sense, residual counts. */
#include <string.h>

#include "frontends/iscsi/cmd.h"

uint8_t
iscsi_cmd_residual(const struct iscsi_cmd *cmd, uint32_t *count)
{
	const struct scsi_task *t = &cmd->task;
	bool is_expected = cmd->is_read || cmd->is_write, is_good;
	uint64_t expected, moved;

	is_good = t->status == SCSI_GOOD || t->status == SCSI_CONDITION_MET;
	moved = is_good ? t->in_full : t->in_len;
	/* what there was to be moved, whichever way the initiator thought that it would go */
	if (t->want_out > 0) {
		is_expected = cmd->is_write;
		moved = t->want_out;
	} else if (t->want_in > 0) {
		is_expected = cmd->is_read;
		moved = cmd->is_read ? moved : t->want_in;
	}
	expected = is_expected ? cmd->edtl : 0;
	if (moved > expected) {
		*count = moved - expected > UINT32_MAX ? UINT32_MAX : (uint32_t)(moved - expected);
		return ISCSI_OVERFLOW;
	}
	*count = (uint32_t)(expected - moved);
	return moved < expected ? ISCSI_UNDERFLOW : 0;
}

/* SCSI Response with what sense data there is. nsent: R2T or Data-In PDUs before it. 11.4 */
static void
send_response(struct iscsi_cmd *cmd, uint32_t nsent)
{
	struct iscsi_conn *c = cmd->session->conn;
	const struct scsi_task *t = &cmd->task;
	uint32_t len = t->sense_len > 0 ? 2u + t->sense_len : 0, residual = 0;
	uint8_t flags = iscsi_cmd_residual(cmd, &residual);
	struct iscsi_sn sn = iscsi_conn_sn(c, true);
	uint8_t *b = iscsi_tx_begin(c, len), *data = iscsi_tx_data(c, b);

	iscsi_put_scsi_response(b, cmd->itt, (uint8_t)t->status, flags, residual, nsent, len, &sn);
	if (len > 0) {
		data[0] = (uint8_t)(t->sense_len >> 8);
		data[1] = (uint8_t)t->sense_len;
		memcpy(data + 2, t->sense, t->sense_len);
	}
	iscsi_tx_end(c, b, len);
}

void
iscsi_cmd_answer(struct iscsi_cmd *cmd)
{
	struct iscsi_conn *c = cmd->session->conn;
	struct scsi_task *t = &cmd->task;
	bool is_silent = t->is_aborted;

	/* the command's place in the window is free: its answer may already say so */
	if (cmd->is_counted) {
		cmd->is_counted = false;
		cmd->session->ncounted--;
	}
	if (c == NULL || c->stream.is_broken) {
		/* nobody to tell */
	} else if (cmd->sent > 0) {
		/* its start has promised what there must be */
		if (is_silent || t->status != SCSI_GOOD || t->in_len != t->in_cap ||
		    t->in_full != t->want_in)
			stream_conn_break(&c->stream);
		else
			iscsi_datain_queue(cmd, true);
	} else if (!is_silent) {
		bool is_collapsed = t->in_len > 0 && t->status == SCSI_GOOD && t->sense_len == 0;

		uint32_t nsent = cmd->r2t_sn;

		if (t->in_len > 0)
			nsent = iscsi_datain_queue(cmd, is_collapsed);
		if (!is_collapsed)
			send_response(cmd, nsent);
	}
	iscsi_cmd_free(cmd);
}
