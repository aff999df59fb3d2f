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
#include "gateway/base/digest.h"
#include "gateway/base/log.h"

#define SLICE_MAX (16u * 1024)
#define DROP_PIECE (32u * 1024)
#define BEHIND_BODY 512u /* received behind a data segment, or where one is expected */

static uint32_t
available(const struct iscsi_conn *c)
{
	return c->stream.rx == NULL ? 0 : c->stream.rx->len - c->stream.rx_start;
}

static void
bad_stream(struct iscsi_conn *c, const char *what)
{
	log_warn("iscsi.rx", "malformed", "peer=%s what=\"%s\"", c->stream.name, what);
	stream_conn_close(&c->stream, what);
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
	log_warn("iscsi.rx", "rejected", "peer=%s opcode=%u reason=%u", c->stream.name,
	    c->pdu.opcode, reason);
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

	c->stream.need = ISCSI_BHS_LEN;
	if (available(c) < c->stream.need)
		return false;
	h = c->stream.rx->data + c->stream.rx_start;
	iscsi_pdu_lengths(h, &ahs, &data);
	head = ISCSI_BHS_LEN + ahs + (c->has_header_digest ? ISCSI_DIGEST_LEN : 0);
	c->stream.need = head;
	if (available(c) < c->stream.need)
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
	c->stream.rx_start += head;
	c->has_header = true;
	if (err < 0)
		refuse_header(c, (enum iscsi_reject_reason) - err);
	else if (!has_login_ended(c) != (c->pdu.opcode == ISCSI_LOGIN_REQUEST))
		refuse_header(c, ISCSI_REJECT_PROTOCOL);
	return stream_conn_is_open(&c->stream);
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
	uint8_t *data = c->stream.rx == NULL ? NULL : c->stream.rx->data + c->stream.rx_start;
	bool is_intact = true;
	struct iscsi_cmd *cmd;

	if (c->has_data_digest && len > 0) {
		uint32_t padded = iscsi_padded(len);

		is_intact = digest_matches(data + padded, digest_crc32c(0, data, padded));
	}
	c->stream.rx_start += len + tail;
	c->has_header = false;
	if (is_data_pdu(&c->pdu)) {
		cmd = begin_data(c);
		if (cmd != NULL && len > 0 && !iscsi_data_adopt(cmd, c->stream.rx, data, len)) {
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
		stream_conn_end(&c->stream);
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
		p = c->stream.rx->data + c->stream.rx_start;
		if (k->dst != NULL)
			memcpy(k->dst, p, n < k->cap ? n : k->cap);
		sink_took(c, p, n);
		c->stream.rx_start += n;
	}
	c->stream.need = tail;
	if (k->cap == 0) /* dropped: in pieces that are worth a system call */
		c->stream.need += k->left < DROP_PIECE ? k->left : DROP_PIECE;
	if (k->left > 0 || available(c) < tail)
		return false;
	if (c->has_data_digest) {
		p = c->stream.rx->data + c->stream.rx_start;
		pad = tail - ISCSI_DIGEST_LEN;
		is_intact = digest_matches(p + pad, digest_crc32c(k->crc, p, pad));
	}
	c->stream.rx_start += tail;
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

	if (!stream_conn_is_open(&c->stream))
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

bool
iscsi_rx_take(struct stream_conn *s)
{
	struct iscsi_conn *c = container_of(s, struct iscsi_conn, stream);

	if (c->sink.is_active)
		return take_body(c);
	if (!c->has_header && !take_header(c))
		return false;
	if (c->pdu.data_len > SLICE_MAX &&
	    (is_data_pdu(&c->pdu) || c->pdu.opcode == ISCSI_REJECT)) {
		begin_body(c);
		return true;
	}
	s->need = c->pdu.data_len + tail_len(c);
	if (available(c) < s->need)
		return false;
	if (is_data_pdu(&c->pdu) && c->pdu.data_len > 0)
		c->wants_header_only = false;
	take_whole(c);
	return true;
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
	c->stream.rx->len += (uint32_t)n;
}

void
iscsi_rx_receive(struct stream_conn *s)
{
	struct iscsi_conn *c = container_of(s, struct iscsi_conn, stream);
	struct iovec iov[2];
	int niov = 0;
	size_t room, asked = 0;
	ssize_t n;

	stream_buf_room(&s->conns->pool, &s->rx, &s->rx_start, s->need, 0);
	room = s->rx->cap - s->rx->len;
	if (c->sink.is_active && c->sink.cap > 0) {
		asked = c->sink.cap;
		iov[niov++] = (struct iovec){c->sink.dst, c->sink.cap};
	}
	if (c->wants_header_only && room > s->need + BEHIND_BODY)
		room = s->need + BEHIND_BODY;
	asked += room;
	iov[niov++] = (struct iovec){s->rx->data + s->rx->len, room};
	n = readv(s->fd.fd, iov, niov);
	if (stream_conn_received(s, n, asked)) {
		c->ping_ns = 0;
		received(c, (size_t)n);
	} else if (n == 0) {
		stream_conn_close(s, "closed by the initiator");
	}
}
