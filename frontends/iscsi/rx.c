/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rx.c - bytes to PDUs.
 *
 * Requests and small data are received many at once into a buffer and taken there.  A data segment
 * of more than SLICE_MAX is read from the socket right where its command wants it; the receive buffer
 * then takes only what comes behind it, which most likely is the next header.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "frontends/iscsi/cmd.h"
#include "frontends/iscsi/login.h"
#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"

#define ROUNDS_PER_WAKEUP 16
#define SLICE_MAX (16u * 1024)
#define DROP_PIECE (32u * 1024)
#define DROP_ALL (1024u * 1024)
#define BEHIND_BODY 512u /* received behind a data segment, or where one is expected */

static uint32_t
available(const struct iscsi_conn *c)
{
	return c->rx == NULL ? 0 : c->rx->len - c->rx_start;
}

static void
bad_stream(struct iscsi_conn *c, const char *what)
{
	log_warn("iscsi.rx", "malformed", "peer=%s what=\"%s\"", c->name, what);
	iscsi_conn_close(c, what);
}

static bool
has_login_ended(const struct iscsi_conn *c)
{
	return c->session != NULL && c->login == NULL;
}

/* --- headers ------------------------------------------------------------------------------------ */

static bool
digest_matches(const uint8_t *wire, uint32_t crc)
{
	uint8_t want[ISCSI_DIGEST_LEN];

	iscsi_tx_digest(want, crc);
	return memcmp(want, wire, sizeof(want)) == 0;
}

/* A header that can be told apart but not obeyed. Its data segment is dropped. */
static void
refuse_header(struct iscsi_conn *c, enum iscsi_reject_reason reason)
{
	if (!has_login_ended(c)) {
		bad_stream(c, "no login request");
		return;
	}
	log_warn(
	    "iscsi.rx", "rejected", "peer=%s opcode=%u reason=%u", c->name, c->pdu.opcode, reason);
	iscsi_conn_reject(c, reason);
	c->pdu.opcode = ISCSI_REJECT; /* nobody's */
}

/* result: false: more has to come first, or the connection is closed */
static bool
take_header(struct iscsi_conn *c)
{
	const uint8_t *h;
	uint32_t ahs, data, head;
	int err;

	c->need = ISCSI_BHS_LEN;
	if (available(c) < c->need)
		return false;
	h = c->rx->data + c->rx_start;
	iscsi_pdu_lengths(h, &ahs, &data);
	head = ISCSI_BHS_LEN + ahs + (c->has_header_digest ? ISCSI_DIGEST_LEN : 0);
	c->need = head;
	if (available(c) < c->need)
		return false;
	if (c->has_header_digest && !digest_matches(h + head - ISCSI_DIGEST_LEN,
					digest_crc32c(0, h, head - ISCSI_DIGEST_LEN))) {
		/* 7.7: the lengths cannot be trusted either */
		bad_stream(c, "header digest");
		return false;
	}
	if (data > (has_login_ended(c) ? ISCSI_OUR_SEGMENT : ISCSI_LOGIN_SEGMENT)) {
		bad_stream(c, "data segment too long");
		return false;
	}
	memcpy(c->bhs, h, ISCSI_BHS_LEN);
	err = iscsi_pdu_decode(h, h + ISCSI_BHS_LEN, &c->pdu);
	c->rx_start += head;
	c->has_header = true;
	if (err < 0)
		refuse_header(c, (enum iscsi_reject_reason) - err);
	else if (!has_login_ended(c) != (c->pdu.opcode == ISCSI_LOGIN_REQUEST))
		refuse_header(c, ISCSI_REJECT_PROTOCOL);
	return iscsi_conn_is_open(c);
}

/* --- data segments ------------------------------------------------------------------------------ */

static bool
is_data_pdu(const struct iscsi_pdu *pdu)
{
	return pdu->opcode == ISCSI_SCSI_COMMAND || pdu->opcode == ISCSI_DATA_OUT;
}

static uint32_t
tail_len(const struct iscsi_conn *c)
{
	uint32_t pad = iscsi_padded(c->pdu.data_len) - c->pdu.data_len;

	return pad + (c->has_data_digest && c->pdu.data_len > 0 ? ISCSI_DIGEST_LEN : 0);
}

static struct iscsi_cmd *
begin_data(struct iscsi_conn *c)
{
	switch (c->pdu.opcode) {
	case ISCSI_SCSI_COMMAND:
		return iscsi_cmd_begin(c, &c->pdu);
	case ISCSI_DATA_OUT:
		return iscsi_data_out_begin(c, &c->pdu);
	default:
		return NULL;
	}
}

/* A PDU that lies in the receive buffer with all its data. */
static void
take_whole(struct iscsi_conn *c)
{
	uint32_t len = c->pdu.data_len, tail = tail_len(c);
	uint8_t *data = c->rx == NULL ? NULL : c->rx->data + c->rx_start;
	bool is_intact = true;
	struct iscsi_cmd *cmd;

	if (c->has_data_digest && len > 0) {
		uint32_t padded = iscsi_padded(len);

		is_intact = digest_matches(data + padded, digest_crc32c(0, data, padded));
	}
	c->rx_start += len + tail;
	c->has_header = false;
	if (is_data_pdu(&c->pdu)) {
		cmd = begin_data(c);
		if (cmd != NULL && len > 0 && !iscsi_data_adopt(cmd, c->rx, data, len)) {
			uint32_t cap;
			uint8_t *dst = iscsi_data_place(cmd, &cap);

			if (dst != NULL)
				memcpy(dst, data, len < cap ? len : cap);
		}
		if (cmd != NULL)
			iscsi_data_end(c, &c->pdu, cmd, is_intact);
	} else if (c->pdu.opcode == ISCSI_LOGIN_REQUEST) {
		iscsi_login_pdu(c, data, len);
	} else if (!is_intact) {
		/* 7.8: it counts as not received, so at level 0 its CmdSN stays a hole for ever */
		iscsi_conn_reject(c, ISCSI_REJECT_DATA_DIGEST);
		iscsi_conn_close_sent(c);
	} else if (c->pdu.opcode != ISCSI_REJECT) {
		iscsi_session_pdu(c, data, len);
	}
}

static void
sink_took(struct iscsi_conn *c, const uint8_t *p, uint32_t n)
{
	struct iscsi_sink *k = &c->sink;
	uint32_t used = n < k->cap ? n : k->cap;

	if (c->has_data_digest)
		k->crc = digest_crc32c(k->crc, p, n);
	k->left -= n;
	k->cap -= used;
	if (k->dst != NULL)
		k->dst += used;
}

/* From the receive buffer. result: false: more has to come first */
static bool
take_body(struct iscsi_conn *c)
{
	struct iscsi_sink *k = &c->sink;
	uint32_t n = available(c) < k->left ? available(c) : k->left, tail = tail_len(c), pad;
	bool is_intact = true;
	struct iscsi_cmd *cmd;
	const uint8_t *p;

	if (n > 0) {
		p = c->rx->data + c->rx_start;
		if (k->dst != NULL)
			memcpy(k->dst, p, n < k->cap ? n : k->cap);
		sink_took(c, p, n);
		c->rx_start += n;
	}
	c->need = tail;
	if (k->cap == 0) /* dropped: in pieces that are worth a system call */
		c->need += k->left < DROP_PIECE ? k->left : DROP_PIECE;
	if (k->left > 0 || available(c) < tail)
		return false;
	if (c->has_data_digest) {
		p = c->rx->data + c->rx_start;
		pad = tail - ISCSI_DIGEST_LEN;
		is_intact = digest_matches(p + pad, digest_crc32c(k->crc, p, pad));
	}
	c->rx_start += tail;
	c->has_header = false;
	cmd = k->cmd;
	memset(k, 0, sizeof(*k));
	if (cmd != NULL)
		iscsi_data_end(c, &c->pdu, cmd, is_intact);
	return true;
}

static void
begin_body(struct iscsi_conn *c)
{
	struct iscsi_cmd *cmd = begin_data(c);
	struct iscsi_sink k = {.is_active = true, .cmd = cmd, .left = c->pdu.data_len};

	if (!iscsi_conn_is_open(c))
		return;
	if (cmd != NULL)
		k.dst = iscsi_data_place(cmd, &k.cap);
	if (k.dst == NULL)
		k.cap = 0;
	if (k.cap > k.left)
		k.cap = k.left;
	c->sink = k;
	c->wants_header_only = true;
}

/* Take every complete PDU. */
static void
take_pdus(struct iscsi_conn *c)
{
	while (iscsi_conn_may_take(c)) {
		if (c->sink.is_active) {
			if (!take_body(c))
				return;
			continue;
		}
		if (!c->has_header && !take_header(c))
			return;
		if (c->pdu.data_len > SLICE_MAX &&
		    (is_data_pdu(&c->pdu) || c->pdu.opcode == ISCSI_REJECT)) {
			begin_body(c);
			continue;
		}
		c->need = c->pdu.data_len + tail_len(c);
		if (available(c) < c->need)
			return;
		if (is_data_pdu(&c->pdu) && c->pdu.data_len > 0)
			c->wants_header_only = false;
		take_whole(c);
	}
}

/* --- receiving ---------------------------------------------------------------------------------- */

static void
received(struct iscsi_conn *c, size_t n)
{
	struct iscsi_sink *k = &c->sink;

	if (k->is_active && k->cap > 0) {
		uint32_t direct = n < k->cap ? (uint32_t)n : k->cap;

		sink_took(c, k->dst, direct);
		n -= direct;
	}
	c->rx->len += (uint32_t)n;
}

static void
receive(struct iscsi_conn *c)
{
	struct iovec iov[2];
	int niov = 0;
	size_t room, asked = 0;
	ssize_t n;

	stream_buf_room(&c->worker->pool, &c->rx, &c->rx_start, c->need, 0);
	room = c->rx->cap - c->rx->len;
	if (c->sink.is_active && c->sink.cap > 0) {
		asked = c->sink.cap;
		iov[niov++] = (struct iovec){c->sink.dst, c->sink.cap};
	}
	if (c->wants_header_only && room > c->need + BEHIND_BODY)
		room = c->need + BEHIND_BODY;
	asked += room;
	iov[niov++] = (struct iovec){c->rx->data + c->rx->len, room};
	n = readv(c->fd.fd, iov, niov);
	if (n > 0) {
		c->last_rx_ns = clock_mono_ns();
		c->ping_ns = 0;
		metric_add(c->worker->service->rx_bytes, n);
		received(c, (size_t)n);
		if ((size_t)n < asked && !c->at_eof)
			c->is_readable = false; /* the next edge tells */
		return;
	}
	if (n < 0 && errno == EINTR)
		return;
	c->is_readable = false;
	if (n == 0)
		iscsi_conn_close(c, "closed by the initiator");
	else if (errno != EAGAIN)
		iscsi_conn_close(c, strerror(errno));
}

/* Give back the receive buffer when nothing of it is wanted any more. */
static void
rest(struct iscsi_conn *c)
{
	if (c->rx == NULL || c->rx_start < c->rx->len)
		return;
	stream_buf_put(&c->worker->pool, c->rx);
	c->rx = NULL;
	c->rx_start = 0;
}

/* Nothing of it matters any more. */
static void
drop_all(struct iscsi_conn *c)
{
	for (int i = 0; i < ROUNDS_PER_WAKEUP; i++) {
		ssize_t n = recv(c->fd.fd, NULL, DROP_ALL, MSG_TRUNC | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0)
			break;
	}
	iscsi_conn_close(c, "all is said");
}

void
iscsi_rx_run(struct iscsi_conn *c)
{
	if (c->is_lingering) {
		drop_all(c);
		return;
	}
	c->is_stalled = false;
	for (int i = 0; i < ROUNDS_PER_WAKEUP; i++) {
		take_pdus(c);
		rest(c);
		if (!iscsi_conn_may_take(c) || !c->is_readable)
			return;
		receive(c);
	}
	take_pdus(c);
	rest(c);
}
