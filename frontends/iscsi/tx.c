/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tx.c - answers as bytes.
 *
 * PDUs are put one behind the other into the send buffer (stream_tx.h).  Data-In that somebody else
 * fills reserves its place first.
 */
#include <string.h>

#include "frontends/iscsi/conn.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

uint32_t
iscsi_tx_reserve(struct iscsi_conn *c, uint32_t len, struct stream_buf **buf)
{
	uint32_t off = stream_tx_room(&c->stream.tx, (len + 7) & ~7u);

	c->stream.tx.buf->len += (len + 7) & ~7u;
	c->stream.tx.buf->refs++;
	*buf = c->stream.tx.buf;
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
	uint32_t off = stream_tx_room(
	    &c->stream.tx, ISCSI_BHS_LEN + 2 * ISCSI_DIGEST_LEN + iscsi_padded(data_cap));

	return c->stream.tx.buf->data + off;
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
	uint32_t padded = iscsi_padded(data_len), off = c->stream.tx.buf->len;

	CW_ASSERT(bhs == c->stream.tx.buf->data + off);
	if (c->has_header_digest)
		iscsi_tx_digest(bhs + ISCSI_BHS_LEN, digest_crc32c(0, bhs, ISCSI_BHS_LEN));
	memset(p + data_len, 0, padded - data_len);
	if (c->has_data_digest && data_len > 0) {
		iscsi_tx_digest(p + padded, digest_crc32c(0, p, padded));
		padded += ISCSI_DIGEST_LEN;
	}
	if (!stream_conn_is_open(&c->stream))
		return;
	c->stream.tx.buf->len = (uint32_t)(p + padded - c->stream.tx.buf->data);
	stream_conn_queue(&c->stream, c->stream.tx.buf, off, c->stream.tx.buf->len - off);
}
