/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tx.c - the way of answers to the socket.
 *
 * Answers are put one behind the other into the connection's send buffer, so that those of one
 * wake-up are one stretch of memory and leave with one system call.  Data-In that somebody else fills
 * reserves its place first; what is answered meanwhile goes behind it and is sent before it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "frontends/iscsi/conn.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

/* Queued answers of so much are sent at once: a stream of 1 MiB READs answered before the first is
 * sent would push each other out of the CPU's cache. */
#define FLUSH_AT (256u * 1024)
#define SEND_IOVS 64

static void
sent(struct iscsi_conn *c, size_t n)
{
	struct iscsi_buf_pool *pool = &c->worker->pool;

	metric_add(c->worker->service->tx_bytes, (int64_t)n);
	c->queued_bytes -= n;
	while (n > 0) {
		struct iscsi_segment *s = &c->segs[c->seg_head];

		if (n < s->len) {
			s->off += (uint32_t)n;
			s->len -= (uint32_t)n;
			return;
		}
		n -= s->len;
		iscsi_buf_put(pool, s->buf);
		c->seg_head++;
	}
	if (c->seg_head < c->seg_tail)
		return;
	c->seg_head = c->seg_tail = 0;
	if (c->tx != NULL && c->tx->refs == 1)
		c->tx->len = 0; /* start over in memory that is warm */
}

static void
drop_queue(struct iscsi_conn *c)
{
	for (; c->seg_head < c->seg_tail; c->seg_head++)
		iscsi_buf_put(&c->worker->pool, c->segs[c->seg_head].buf);
	c->queued_bytes = 0;
}

void
iscsi_tx_break(struct iscsi_conn *c)
{
	c->is_broken = true;
	drop_queue(c);
	iscsi_conn_close_sent(c);
}

ssize_t
iscsi_tx_send_now(struct iscsi_conn *c, struct iovec *iov, unsigned int n)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
	ssize_t sent_bytes = sendmsg(c->fd.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent_bytes > 0)
		metric_add(c->worker->service->tx_bytes, sent_bytes);
	return sent_bytes;
}

void
iscsi_tx_flush(struct iscsi_conn *c)
{
	while (iscsi_conn_is_open(c) && c->seg_head < c->seg_tail) {
		struct iovec iov[SEND_IOVS];
		struct msghdr msg = {.msg_iov = iov};
		size_t asked = 0;
		ssize_t n;

		for (unsigned int i = c->seg_head; i < c->seg_tail && msg.msg_iovlen < SEND_IOVS;
		     i++) {
			iov[msg.msg_iovlen].iov_base = c->segs[i].buf->data + c->segs[i].off;
			iov[msg.msg_iovlen++].iov_len = c->segs[i].len;
			asked += c->segs[i].len;
		}
		n = sendmsg(c->fd.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				iscsi_tx_break(c);
			return; /* EPOLLOUT comes */
		}
		sent(c, (size_t)n);
		if ((size_t)n < asked)
			return;
	}
}

void
iscsi_tx_on_task(struct loop_task *t)
{
	struct iscsi_conn *c = container_of(t, struct iscsi_conn, flush_task);

	c->flush_pending = false;
	iscsi_tx_flush(c);
	iscsi_conn_progress(c);
	if (c->queued_bytes == 0 && c->tx != NULL && c->tx->refs == 1) {
		iscsi_buf_put(&c->worker->pool, c->tx);
		c->tx = NULL;
	}
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
iscsi_tx_queue(struct iscsi_conn *c, struct iscsi_buf *buf, uint32_t off, uint32_t len)
{
	struct iscsi_segment *last = c->seg_tail > c->seg_head ? &c->segs[c->seg_tail - 1] : NULL;

	if (!iscsi_conn_is_open(c) || c->is_broken)
		return;
	c->queued_bytes += len;
	if (last != NULL && last->buf == buf && last->off + last->len == off) {
		last->len += len;
	} else {
		if (c->seg_tail == c->seg_cap) {
			c->seg_cap = c->seg_cap == 0 ? 16 : c->seg_cap * 2;
			c->segs = xrealloc(c->segs, c->seg_cap * sizeof(*c->segs));
		}
		buf->refs++;
		c->segs[c->seg_tail++] = (struct iscsi_segment){buf, off, len};
	}
	if (c->queued_bytes >= FLUSH_AT)
		iscsi_tx_flush(c);
	iscsi_tx_schedule(c);
}

/* Room for len bytes at the end of the current send buffer, or in a new one. */
static uint32_t
tx_room(struct iscsi_conn *c, uint32_t len)
{
	if (c->tx != NULL && c->tx->refs == 1)
		c->tx->len = 0; /* all of it was sent */
	if (c->tx != NULL && c->tx->cap - c->tx->len < len) {
		iscsi_buf_put(&c->worker->pool, c->tx);
		c->tx = NULL;
	}
	if (c->tx == NULL)
		c->tx = iscsi_buf_get(&c->worker->pool, len);
	return c->tx->len;
}

uint32_t
iscsi_tx_reserve(struct iscsi_conn *c, uint32_t len, struct iscsi_buf **buf)
{
	uint32_t off = tx_room(c, (len + 7) & ~7u);

	c->tx->len += (len + 7) & ~7u;
	c->tx->refs++;
	*buf = c->tx;
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
	uint32_t off = tx_room(c, ISCSI_BHS_LEN + 2 * ISCSI_DIGEST_LEN + iscsi_padded(data_cap));

	return c->tx->data + off;
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
	uint32_t padded = iscsi_padded(data_len), off = c->tx->len;

	CW_ASSERT(bhs == c->tx->data + off);
	if (c->has_header_digest)
		iscsi_tx_digest(bhs + ISCSI_BHS_LEN, digest_crc32c(0, bhs, ISCSI_BHS_LEN));
	memset(p + data_len, 0, padded - data_len);
	if (c->has_data_digest && data_len > 0) {
		iscsi_tx_digest(p + padded, digest_crc32c(0, p, padded));
		padded += ISCSI_DIGEST_LEN;
	}
	if (!iscsi_conn_is_open(c))
		return;
	c->tx->len = (uint32_t)(p + padded - c->tx->data);
	iscsi_tx_queue(c, c->tx, off, c->tx->len - off);
}

void
iscsi_tx_free(struct iscsi_conn *c)
{
	drop_queue(c);
	iscsi_buf_put(&c->worker->pool, c->tx);
	free(c->segs);
}
