/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text_request.c - text negotiation in the full feature phase (RFC 7143 11.10, 11.11).
 *
 * A request may come in several PDUs (C), and an answer that exceeds the initiator's data segment
 * goes in several, each of which it asks for by an empty request with our tag.
 */
#include <string.h>

#include "frontends/iscsi/session.h"
#include "gateway/base/strbuf.h"

static void
reset(struct iscsi_conn *c)
{
	strbuf_free(&c->text_in);
	strbuf_free(&c->text_out);
	c->text_at = 0;
	c->text_ttt = c->text_itt = ISCSI_NO_TAG;
}

static void
fail(struct iscsi_conn *c, enum iscsi_reject_reason reason)
{
	reset(c);
	iscsi_conn_reject(c, reason);
}

/* result: false: the negotiation makes no sense */
static bool
answer_keys(struct iscsi_conn *c)
{
	struct strbuf *out = &c->text_out;
	const char *key, *value;
	struct iscsi_text t;
	int r;

	strbuf_addc(&c->text_in, '\0');
	iscsi_text_init(&t, c->text_in.s, c->text_in.len - 1);
	while ((r = iscsi_text_next(&t, &key, &value)) == 1) {
		if (strcmp(key, "SendTargets") == 0) {
			if (!iscsi_discovery_answer(c, value, out))
				iscsi_text_put(out, key, "Reject");
		} else if (strcmp(key, "MaxRecvDataSegmentLength") == 0) {
			if (iscsi_param_declare_segment(&c->session->params, value))
				c->peer_segment = c->session->params.peer_segment;
			else
				iscsi_text_put(out, key, "Reject");
		} else if (strcmp(key, "InitiatorAlias") != 0) {
			uint32_t seen = 0;
			struct iscsi_params none;
			struct strbuf unused = STRBUF_INIT;
			bool is_known;

			/* section 13: the others are settled at login */
			iscsi_params_init(&none);
			is_known = iscsi_param_offer(&none, &seen, false, key, value, &unused) !=
				   ISCSI_PARAM_UNKNOWN;
			strbuf_free(&unused);
			iscsi_text_put(out, key, is_known ? "Reject" : "NotUnderstood");
		}
	}
	return r == 0;
}

static uint32_t
new_tag(struct iscsi_conn *c, const struct iscsi_pdu *pdu)
{
	c->text_ttt = c->next_ttt++;
	c->next_ttt &= 0x7fffffffu;
	c->text_itt = pdu->itt;
	return c->text_ttt;
}

/* The next piece of the answer. The initiator may want to go on after it (F = 0). */
static void
send_piece(struct iscsi_conn *c, const struct iscsi_pdu *pdu)
{
	uint32_t left = (uint32_t)c->text_out.len - c->text_at;
	uint32_t n = left < c->peer_segment ? left : c->peer_segment, ttt = ISCSI_NO_TAG;
	bool is_last = n == left, is_final = is_last && pdu->is_final;
	struct iscsi_sn sn = iscsi_conn_sn(c, true);
	uint8_t *b = iscsi_tx_begin(c, n);

	if (n > 0)
		memcpy(iscsi_tx_data(c, b), c->text_out.s + c->text_at, n);
	c->text_at += n;
	if (is_last)
		reset(c);
	if (!is_final)
		ttt = new_tag(c, pdu);
	iscsi_put_text_response(b, pdu, is_final, !is_last, ttt, n, &sn);
	iscsi_tx_end(c, b, n);
}

/* More of the request is to come: an empty answer asks for it. */
static void
ask_for_more(struct iscsi_conn *c, const struct iscsi_pdu *pdu)
{
	struct iscsi_sn sn = iscsi_conn_sn(c, true);
	uint8_t *b = iscsi_tx_begin(c, 0);

	iscsi_put_text_response(b, pdu, false, false, new_tag(c, pdu), 0, &sn);
	iscsi_tx_end(c, b, 0);
}

void
iscsi_text_request(
    struct iscsi_conn *c, const struct iscsi_pdu *pdu, const uint8_t *data, uint32_t len)
{
	if (pdu->itt == ISCSI_NO_TAG || (pdu->is_final && pdu->is_continued)) {
		fail(c, ISCSI_REJECT_PROTOCOL);
		return;
	}
	if (pdu->text.ttt == ISCSI_NO_TAG) {
		reset(c); /* 11.10.4: a new negotiation, the old one is forgotten */
	} else if (pdu->text.ttt != c->text_ttt || pdu->itt != c->text_itt) {
		fail(c, ISCSI_REJECT_PROTOCOL);
		return;
	} else if (c->text_at > 0) {
		if (len > 0)
			fail(c, ISCSI_REJECT_PROTOCOL);
		else
			send_piece(c, pdu);
		return;
	}
	if (c->text_in.len + len > ISCSI_TEXT_MAX) {
		fail(c, ISCSI_REJECT_OUT_OF_RESOURCES);
		return;
	}
	strbuf_add(&c->text_in, data, len);
	if (pdu->is_continued) {
		ask_for_more(c, pdu);
		return;
	}
	if (!answer_keys(c)) {
		fail(c, ISCSI_REJECT_PROTOCOL);
		return;
	}
	send_piece(c, pdu);
}
