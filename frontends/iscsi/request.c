/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c - the command window, and the requests of the full feature phase that carry no SCSI
 * data: NOP-Out, text, task management, logout, and what is refused.
 */
#include <string.h>

#include "frontends/iscsi/session.h"
#include "gateway/base/clock.h"
#include "gateway/base/log.h"

#define CLEANUP_S 10u /* a logout waits so long for aborted commands */

struct iscsi_sn
iscsi_conn_sn(struct iscsi_conn *c, bool is_status)
{
	const struct iscsi_session *s = c->session;
	struct iscsi_sn sn = {.stat_sn = c->stat_sn};

	if (is_status)
		c->stat_sn++;
	if (s != NULL) {
		/* What runs keeps its place in the window, so MaxCmdSN never goes back. */
		sn.exp_cmd_sn = s->exp_cmd_sn;
		sn.max_cmd_sn = s->exp_cmd_sn - 1 + (ISCSI_WINDOW - s->ncounted);
	}
	return sn;
}

void
iscsi_conn_reject(struct iscsi_conn *c, enum iscsi_reject_reason reason)
{
	struct iscsi_sn sn = iscsi_conn_sn(c, true);
	uint8_t *b = iscsi_tx_begin(c, ISCSI_BHS_LEN);

	metric_add(c->worker->service->rejects, 1);
	iscsi_put_reject(b, reason, &sn);
	memcpy(iscsi_tx_data(c, b), c->bhs, ISCSI_BHS_LEN);
	iscsi_tx_end(c, b, ISCSI_BHS_LEN);
}

enum iscsi_cmd_sn
iscsi_session_take_sn(struct iscsi_session *s, const struct iscsi_pdu *pdu)
{
	struct iscsi_sn sn = iscsi_conn_sn(s->conn, false);
	int32_t ahead = (int32_t)(pdu->cmd_sn - sn.exp_cmd_sn);

	if (pdu->is_immediate)
		return CMD_SN_TAKE;
	if (ahead == 0 && sn.max_cmd_sn + 1 != sn.exp_cmd_sn) {
		s->exp_cmd_sn++;
		return CMD_SN_TAKE;
	}
	if (ahead < 0 || (int32_t)(pdu->cmd_sn - sn.max_cmd_sn) > 0) {
		log_warn("iscsi.session", "outside-window", "peer=%s cmdsn=%u exp=%u max=%u",
		    s->conn->stream.name, pdu->cmd_sn, sn.exp_cmd_sn, sn.max_cmd_sn);
		return CMD_SN_IGNORE; /* 4.2.2.1: silently */
	}
	/* One connection, in order: what is missing will never come. */
	log_warn("iscsi.session", "hole", "peer=%s cmdsn=%u exp=%u next=\"closed\"",
	    s->conn->stream.name, pdu->cmd_sn, sn.exp_cmd_sn);
	iscsi_conn_reject(s->conn, ISCSI_REJECT_PROTOCOL);
	stream_conn_end(&s->conn->stream);
	return CMD_SN_ERROR;
}

/* 11.18, 11.19 */
static void
nop_out(struct iscsi_conn *c, const struct iscsi_pdu *pdu, const uint8_t *data, uint32_t len)
{
	uint32_t n = len < c->peer_segment ? len : c->peer_segment;
	struct iscsi_sn sn;
	uint8_t *b;

	if (pdu->itt == ISCSI_NO_TAG)
		return; /* it answers our ping, or only acknowledges */
	sn = iscsi_conn_sn(c, true);
	b = iscsi_tx_begin(c, n);
	iscsi_put_nop_in(b, pdu->lun, pdu->itt, ISCSI_NO_TAG, n, &sn);
	if (n > 0)
		memcpy(iscsi_tx_data(c, b), data, n);
	iscsi_tx_end(c, b, n);
}

static void
refuse_logout(struct iscsi_conn *c, const struct iscsi_pdu *pdu, enum iscsi_logout_response r)
{
	struct iscsi_sn sn = iscsi_conn_sn(c, true);
	uint8_t *b = iscsi_tx_begin(c, 0);

	iscsi_put_logout_response(b, pdu->itt, r, &sn);
	iscsi_tx_end(c, b, 0);
}

/* 11.14: with one connection a session, closing either is the same */
static void
logout(struct iscsi_conn *c, const struct iscsi_pdu *pdu)
{
	struct iscsi_session *s = c->session;

	if (pdu->logout.reason == ISCSI_LOGOUT_RECOVERY) {
		refuse_logout(c, pdu, ISCSI_LOGOUT_NO_RECOVERY);
	} else if (pdu->logout.reason > ISCSI_LOGOUT_RECOVERY) {
		iscsi_conn_reject(c, ISCSI_REJECT_BAD_FIELD);
	} else if (pdu->logout.reason == ISCSI_LOGOUT_CONNECTION && pdu->logout.cid != c->cid) {
		refuse_logout(c, pdu, ISCSI_LOGOUT_NO_CID);
	} else if (iscsi_conn_event(c, CONN_EV_LOGOUT)) {
		s->logout_itt = pdu->itt;
		c->logout_by_ns = clock_mono_ns() + CLEANUP_S * 1000000000ull;
		iscsi_conn_hold(c);
		iscsi_session_quiesce(s);
	}
}

void
iscsi_session_pdu(struct iscsi_conn *c, const uint8_t *data, uint32_t len)
{
	const struct iscsi_pdu *pdu = &c->pdu;
	struct iscsi_session *s = c->session;

	if (pdu->opcode == ISCSI_SNACK) {
		iscsi_conn_reject(c, ISCSI_REJECT_SNACK); /* 11.16: error recovery level 0 */
		return;
	}
	if (iscsi_session_take_sn(s, pdu) != CMD_SN_TAKE)
		return;
	switch (pdu->opcode) {
	case ISCSI_NOP_OUT:
		nop_out(c, pdu, data, len);
		return;
	case ISCSI_TEXT_REQUEST:
		iscsi_text_request(c, pdu, data, len);
		return;
	case ISCSI_LOGOUT_REQUEST:
		logout(c, pdu);
		return;
	case ISCSI_TMF_REQUEST:
		if (!s->is_discovery) {
			iscsi_tmf_request(c, pdu);
			return;
		}
		break;
	default:
		break;
	}
	iscsi_conn_reject(c, ISCSI_REJECT_PROTOCOL);
}
