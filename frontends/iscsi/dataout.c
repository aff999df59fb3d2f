/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dataout.c - data that an initiator sends: with the command, unsolicited behind it, and as it is
 * asked for by R2Ts.  DataPDUInOrder and DataSequenceInOrder are Yes, so it comes from offset 0 on
 * without a gap (RFC 7143 13.18, 13.19), and the oldest R2T is served first.
 */
#include "frontends/iscsi/cmd.h"
#include "gateway/base/log.h"

/* RFC 7143 11.4.7.2, additional sense code and qualifier */
#define UNEXPECTED_DATA 0x0c, 0x0c
#define NOT_ENOUGH_DATA 0x0c, 0x0d
#define CRC_ERROR 0x47, 0x05
#define PHASE_ERROR 0x4b, 0x00 /* SPC-4: DATA PHASE ERROR */

/* --- asking ------------------------------------------------------------------------------------- */

/* Is there room to ask for this command's data? 0 = none taken before, then always. */
static bool
may_ask(const struct iscsi_session *s, const struct iscsi_cmd *cmd)
{
	size_t all =
	    atomic_load_explicit(s->worker->stream.pool.in_use_bytes, memory_order_relaxed);

	return cmd->has_out_bytes || s->out_bytes == 0 ||
	       (s->out_bytes + cmd->out_len <= ISCSI_OUT_SOFT_MAX &&
		   all + cmd->out_len <= ISCSI_BUFFERS_MAX);
}

static void
take_out_bytes(struct iscsi_cmd *cmd)
{
	if (cmd->has_out_bytes)
		return;
	cmd->has_out_bytes = true;
	cmd->session->out_bytes += cmd->out_len;
}

static void
send_r2t(struct iscsi_cmd *cmd, uint32_t len)
{
	struct iscsi_session *s = cmd->session;
	struct iscsi_sn sn = iscsi_conn_sn(s->conn, false);
	uint32_t ttt = s->next_ttt++;
	uint8_t *b;

	if (s->next_ttt == ISCSI_NO_TAG)
		s->next_ttt = 0;
	b = iscsi_tx_begin(s->conn, 0);
	iscsi_put_r2t(b, cmd->task.lun, cmd->itt, ttt, cmd->r2t_sn++, cmd->r2t_off, len, &sn);
	iscsi_tx_end(s->conn, b, 0);
	cmd->r2t_off += len;
	cmd->r2ts[cmd->nr2ts].ttt = ttt;
	cmd->r2ts[cmd->nr2ts++].end = cmd->r2t_off;
}

void
iscsi_r2t_next(struct iscsi_cmd *cmd)
{
	struct iscsi_session *s = cmd->session;
	const struct iscsi_params *p = &s->params;

	if (s->conn == NULL || cmd->is_refused)
		return;
	if (!may_ask(s, cmd) ||
	    (!cmd->has_out_bytes && !list_empty(&s->r2t_waiters) && list_empty(&cmd->r2t_link))) {
		if (list_empty(&cmd->r2t_link))
			list_add_tail(&s->r2t_waiters, &cmd->r2t_link);
		return;
	}
	list_del(&cmd->r2t_link);
	take_out_bytes(cmd);
	if (cmd->r2t_off < cmd->got)
		cmd->r2t_off = cmd->got;
	while (cmd->nr2ts < p->max_r2ts && cmd->nr2ts < ISCSI_R2TS_MAX &&
	       cmd->r2t_off < cmd->out_len) {
		uint32_t left = cmd->out_len - cmd->r2t_off;

		send_r2t(cmd, left < p->max_burst ? left : p->max_burst);
	}
}

void
iscsi_r2t_wake(struct iscsi_session *s)
{
	while (s->conn != NULL && !s->is_quiescing && !list_empty(&s->r2t_waiters)) {
		struct iscsi_cmd *cmd =
		    container_of(s->r2t_waiters.next, struct iscsi_cmd, r2t_link);

		if (!may_ask(s, cmd))
			return;
		iscsi_r2t_next(cmd);
	}
}

/* --- receiving ---------------------------------------------------------------------------------- */

uint8_t *
iscsi_data_place(struct iscsi_cmd *cmd, uint32_t *cap)
{
	*cap = 0;
	if (cmd->is_refused || cmd->got >= cmd->out_len)
		return NULL;
	if (cmd->buf == NULL) {
		take_out_bytes(cmd);
		cmd->buf = stream_buf_get(&cmd->session->worker->stream.pool, cmd->out_len);
		cmd->out = cmd->buf->data;
	}
	*cap = cmd->out_len - cmd->got;
	return cmd->out + cmd->got;
}

bool
iscsi_data_adopt(struct iscsi_cmd *cmd, struct stream_buf *b, uint8_t *data, uint32_t len)
{
	if (cmd->is_refused || cmd->buf != NULL || cmd->got > 0 || len < cmd->out_len ||
	    cmd->out_len == 0)
		return false;
	b->refs++;
	cmd->buf = b;
	cmd->out = data;
	return true;
}

/* Where may the sequence that the PDU belongs to end? result: false: it belongs to none */
static bool
sequence_end(const struct iscsi_cmd *cmd, uint32_t ttt, uint32_t *end)
{
	if (ttt == ISCSI_NO_TAG) {
		*end = cmd->unsol_max;
		return !cmd->is_unsol_done;
	}
	if (cmd->nr2ts == 0 || cmd->r2ts[0].ttt != ttt)
		return false;
	*end = cmd->r2ts[0].end;
	return true;
}

struct iscsi_cmd *
iscsi_data_out_begin(struct iscsi_conn *c, const struct iscsi_pdu *pdu)
{
	struct iscsi_cmd *cmd = iscsi_cmd_find(c->session, pdu->itt);
	uint32_t end;

	/* Of a command that was aborted, ignored or answered: the initiator could not know. */
	if (cmd == NULL || cmd->state != CMD_GATHER) {
		log_debug("iscsi.data", "stray", "peer=%s itt=%08x", c->stream.name, pdu->itt);
		return NULL;
	}
	if (cmd->is_refused)
		return cmd; /* only its end is of interest */
	if (!sequence_end(cmd, pdu->data.ttt, &end))
		iscsi_cmd_fail(cmd, UNEXPECTED_DATA);
	else if (pdu->data.data_sn != cmd->data_sn || pdu->data.offset != cmd->got)
		iscsi_cmd_fail(cmd, PHASE_ERROR);
	else if (pdu->data_len > end - cmd->got)
		iscsi_cmd_fail(cmd, UNEXPECTED_DATA);
	return cmd;
}

/* The last PDU of a sequence. */
static void
end_sequence(struct iscsi_cmd *cmd, uint32_t ttt)
{
	cmd->data_sn = 0;
	if (ttt == ISCSI_NO_TAG) {
		cmd->is_unsol_done = true;
		return;
	}
	for (unsigned int i = 0; i < cmd->nr2ts; i++) {
		if (cmd->r2ts[i].ttt != ttt)
			continue;
		if (cmd->got < cmd->r2ts[i].end)
			iscsi_cmd_fail(cmd, NOT_ENOUGH_DATA);
		for (cmd->nr2ts--; i < cmd->nr2ts; i++)
			cmd->r2ts[i] = cmd->r2ts[i + 1];
		return;
	}
}

void
iscsi_data_end(
    struct iscsi_conn *c, const struct iscsi_pdu *pdu, struct iscsi_cmd *cmd, bool is_intact)
{
	if (!is_intact) {
		iscsi_conn_reject(c, ISCSI_REJECT_DATA_DIGEST);
		if (pdu->opcode == ISCSI_SCSI_COMMAND) {
			/* 7.8: counts as not received; at level 0 that ends the session */
			stream_conn_end(&c->stream);
			return;
		}
		iscsi_cmd_fail(cmd, CRC_ERROR);
	}
	if (!stream_conn_is_open(&c->stream))
		return;
	if (!cmd->is_refused)
		cmd->got += pdu->data_len;
	if (pdu->opcode == ISCSI_DATA_OUT) {
		cmd->data_sn++;
		if (pdu->is_final)
			end_sequence(cmd, pdu->data.ttt);
	}
	if (cmd->nr2ts > 0 && !cmd->is_refused)
		iscsi_r2t_next(cmd);
	else
		iscsi_cmd_gather(cmd);
}
