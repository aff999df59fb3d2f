/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_tx.h - the way of answers to a socket.
 *
 * Answers are put one behind the other into the connection's send buffer, so that those of one wake-up
 * are one stretch of memory and leave with one system call.  An answer that somebody else fills reserves
 * its place first; what is answered meanwhile goes behind it and is sent before it.
 *
 * All of it belongs to the connection's loop.
 */
#ifndef CW_BASE_STREAM_TX_H
#define CW_BASE_STREAM_TX_H

#include <stdbool.h>
#include <sys/uio.h>

#include "gateway/base/err.h"
#include "gateway/base/metrics.h"
#include "gateway/base/stream_buf.h"

/* Queued answers of so much are sent at once: a stream of 1 MiB READs answered before the first is
 * sent would push each other out of the CPU's cache. */
#define STREAM_TX_FLUSH_AT (256u * 1024)
#define STREAM_TX_IOVS 64

struct stream_segment { /* bytes of a buffer that are to be sent; holds a reference */
	struct stream_buf *buf;
	uint32_t off, len;
};

struct stream_tx {
	struct stream_buf_pool *pool;
	struct metric *bytes;	/* sent */
	struct stream_buf *buf; /* where the next answer goes; NULL = none */
	struct stream_segment *segs;
	unsigned int head, tail, cap;
	size_t queued_bytes;
};

/* stream_tx_room - room for len bytes at the end of the send buffer, or in a new one.
 * result: where it begins in tx->buf; nothing else may be put there before buf->len was raised over it */
uint32_t stream_tx_room(struct stream_tx *tx, uint32_t len);
/* stream_tx_queue - these bytes of a buffer behind what is queued; takes a reference of its own. */
void stream_tx_queue(struct stream_tx *tx, struct stream_buf *buf, uint32_t off, uint32_t len);
/* stream_tx_send - what is queued, as much as the socket takes. result: 0, or the error of the socket */
int stream_tx_send(struct stream_tx *tx, int fd) CW_MUST_CHECK;
/* stream_tx_now - past the queue, which must be empty. result: bytes, or as sendmsg */
ssize_t stream_tx_now(struct stream_tx *tx, int fd, struct iovec *iov, unsigned int n);
/* stream_tx_rest - give the send buffer back if nothing is in it. */
void stream_tx_rest(struct stream_tx *tx);
/* stream_tx_drop - nothing of what is queued is sent. */
void stream_tx_drop(struct stream_tx *tx);
void stream_tx_free(struct stream_tx *tx);

#endif
