/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tx.c - the way of answers to the socket.
 *
 * PDUs are put one behind the other into the send buffer (stream_tx.h).  Data-In that somebody else
 * fills reserves its place first.
 */
#include <string.h>

#include "frontends/iscsi/conn.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

void
iscsi_tx_break(struct iscsi_conn *c)
{
	c->is_broken = true;
	stream_tx_drop(&c->tx);
	iscsi_conn_close_sent(c);
}

ssize_t
iscsi_tx_send_now(struct iscsi_conn *c, struct iovec *iov, unsigned int n)
{
	return stream_tx_now(&c->tx, c->fd.fd, iov, n);
}

void
iscsi_tx_flush(struct iscsi_conn *c)
{
	if (iscsi_conn_is_open(c) && stream_tx_send(&c->tx, c->fd.fd) < 0)
		iscsi_tx_break(c);
}

void
iscsi_tx_on_task(struct loop_task *t)
{
	struct iscsi_conn *c = container_of(t, struct iscsi_conn, flush_task);

	c->flush_pending = false;
	iscsi_tx_flush(c);
	iscsi_conn_progress(c);
	stream_tx_rest(&c->tx);
	iscsi_conn_unref(c);
}

void
iscsi_tx_schedule(struct iscsi_conn *c)
{
	if (c->flush_pending)
		return;
	c->flush_pending = true;
	iscsi_conn_ref(c);
	loop_defer(c->worker->stream.loop, &c->flush_task);
}

void
iscsi_tx_queue(struct iscsi_conn *c, struct stream_buf *buf, uint32_t off, uint32_t len)
{
	if (!iscsi_conn_is_open(c) || c->is_broken)
		return;
	stream_tx_queue(&c->tx, buf, off, len);
	if (c->tx.queued_bytes >= STREAM_TX_FLUSH_AT)
		iscsi_tx_flush(c);
	iscsi_tx_schedule(c);
}

uint32_t
iscsi_tx_reserve(struct iscsi_conn *c, uint32_t len, struct stream_buf **buf)
{
	uint32_t off = stream_tx_room(&c->tx, (len + 7) & ~7u);

	c->tx.buf->len += (len + 7) & ~7u;
	c->tx.buf->refs++;
	*buf = c->tx.buf;
	return off;
}

void
iscsi_tx_digest(uint8_t *p, uint32_t crc)
{
	/* 13.1: the CRC's bytes go out least significant first */
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(crc >> (8 * i));
}

uint8_t *
iscsi_tx_begin(struct iscsi_conn *c, uint32_t data_cap)
{
	uint32_t off =
	    stream_tx_room(&c->tx, ISCSI_BHS_LEN + 2 * ISCSI_DIGEST_LEN + iscsi_padded(data_cap));

	return c->tx.buf->data + off;
}

uint8_t *
iscsi_tx_data(struct iscsi_conn *c, uint8_t *bhs)
{
	return bhs + ISCSI_BHS_LEN + (c->has_header_digest ? ISCSI_DIGEST_LEN : 0);
}

void
iscsi_tx_end(struct iscsi_conn *c, uint8_t *bhs, uint32_t data_len)
{
	uint8_t *p = iscsi_tx_data(c, bhs);
	uint32_t padded = iscsi_padded(data_len), off = c->tx.buf->len;

	CW_ASSERT(bhs == c->tx.buf->data + off);
	if (c->has_header_digest)
		iscsi_tx_digest(bhs + ISCSI_BHS_LEN, digest_crc32c(0, bhs, ISCSI_BHS_LEN));
	memset(p + data_len, 0, padded - data_len);
	if (c->has_data_digest && data_len > 0) {
		iscsi_tx_digest(p + padded, digest_crc32c(0, p, padded));
		padded += ISCSI_DIGEST_LEN;
	}
	if (!iscsi_conn_is_open(c))
		return;
	c->tx.buf->len = (uint32_t)(p + padded - c->tx.buf->data);
	iscsi_tx_queue(c, c->tx.buf, off, c->tx.buf->len - off);
}
