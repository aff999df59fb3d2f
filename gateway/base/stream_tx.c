/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/stream_tx.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "gateway/base/strbuf.h"

uint32_t
stream_tx_room(struct stream_tx *tx, uint32_t len)
{
	if (tx->buf != NULL && tx->buf->refs == 1)
		tx->buf->len = 0; /* all of it was sent */
	if (tx->buf != NULL && tx->buf->cap - tx->buf->len < len) {
		stream_buf_put(tx->pool, tx->buf);
		tx->buf = NULL;
	}
	if (tx->buf == NULL)
		tx->buf = stream_buf_get(tx->pool, len);
	return tx->buf->len;
}

void
stream_tx_queue(struct stream_tx *tx, struct stream_buf *buf, uint32_t off, uint32_t len)
{
	struct stream_segment *last = tx->tail > tx->head ? &tx->segs[tx->tail - 1] : NULL;

	tx->queued_bytes += len;
	if (last != NULL && last->buf == buf && last->off + last->len == off) {
		last->len += len;
		return;
	}
	if (tx->tail == tx->cap) {
		tx->cap = tx->cap == 0 ? 16 : tx->cap * 2;
		tx->segs = xrealloc(tx->segs, tx->cap * sizeof(*tx->segs));
	}
	buf->refs++;
	tx->segs[tx->tail++] = (struct stream_segment){buf, off, len};
}

static void
sent(struct stream_tx *tx, size_t n)
{
	metric_add(tx->bytes, (int64_t)n);
	tx->queued_bytes -= n;
	while (n > 0) {
		struct stream_segment *s = &tx->segs[tx->head];

		if (n < s->len) {
			s->off += (uint32_t)n;
			s->len -= (uint32_t)n;
			return;
		}
		n -= s->len;
		stream_buf_put(tx->pool, s->buf);
		tx->head++;
	}
	if (tx->head < tx->tail)
		return;
	tx->head = tx->tail = 0;
	if (tx->buf != NULL && tx->buf->refs == 1)
		tx->buf->len = 0; /* start over in memory that is warm */
}

int
stream_tx_send(struct stream_tx *tx, int fd)
{
	while (tx->head < tx->tail) {
		struct iovec iov[STREAM_TX_IOVS];
		struct msghdr msg = {.msg_iov = iov};
		size_t asked = 0;
		ssize_t n;

		for (unsigned int i = tx->head; i < tx->tail && msg.msg_iovlen < STREAM_TX_IOVS;
		     i++) {
			iov[msg.msg_iovlen].iov_base = tx->segs[i].buf->data + tx->segs[i].off;
			iov[msg.msg_iovlen++].iov_len = tx->segs[i].len;
			asked += tx->segs[i].len;
		}
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno; /* EPOLLOUT comes */
		sent(tx, (size_t)n);
		if ((size_t)n < asked)
			break;
	}
	return 0;
}

ssize_t
stream_tx_now(struct stream_tx *tx, int fd, struct iovec *iov, unsigned int n)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
	ssize_t bytes = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (bytes > 0)
		metric_add(tx->bytes, bytes);
	return bytes;
}

void
stream_tx_rest(struct stream_tx *tx)
{
	if (tx->queued_bytes > 0 || tx->buf == NULL || tx->buf->refs > 1)
		return;
	stream_buf_put(tx->pool, tx->buf);
	tx->buf = NULL;
}

void
stream_tx_drop(struct stream_tx *tx)
{
	for (; tx->head < tx->tail; tx->head++)
		stream_buf_put(tx->pool, tx->segs[tx->head].buf);
	tx->queued_bytes = 0;
}

void
stream_tx_free(struct stream_tx *tx)
{
	stream_tx_drop(tx);
	stream_buf_put(tx->pool, tx->buf);
	free(tx->segs);
}
