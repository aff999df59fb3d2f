/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_req.c - calls in flight and their replies.
 *
 * Replies are put one behind the other into the send buffer (stream_tx.h).  A reply that somebody else
 * fills (READ, READDIR) reserves its place first.
 */
#include "frontends/nfs/rpc_conn_int.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define KEEP_REQS 512

/* --- calls -------------------------------------------------------------------------------------- */

struct rpc_req *
rpc_req_new(struct rpc_conn *c)
{
	struct rpc_worker *w = c->worker;
	struct rpc_req *req = w->free_reqs;

	if (req != NULL) {
		w->free_reqs = req->next_free;
		w->nfree_reqs--;
	} else {
		req = xmalloc(w->service->req_size);
	}
	memset(req, 0, sizeof(*req));
	req->conn = c;
	stream_conn_ref(&c->stream);
	c->nreqs++;
	return req;
}

static void
req_end(struct rpc_req *req)
{
	struct rpc_conn *c = req->conn;
	struct rpc_worker *w = c->worker;

	if (req->pin != NULL) {
		c->pinned_bytes -= req->record_len;
		stream_buf_put(&w->stream.pool, req->pin);
	}
	if (req->region != NULL) {
		c->reserved_bytes -= req->region_len;
		stream_buf_put(&w->stream.pool, req->region);
	}
	c->nreqs--;
	if (w->nfree_reqs < KEEP_REQS) {
		req->next_free = w->free_reqs;
		w->free_reqs = req;
		w->nfree_reqs++;
	} else {
		free(req);
	}
	stream_conn_progress(&c->stream);
	stream_conn_unref(&c->stream);
}

void
rpc_req_pin(struct rpc_req *req)
{
	struct rpc_conn *c = req->conn;

	CW_ASSERT(req->pin == NULL && c->stream.rx != NULL);
	req->pin = c->stream.rx;
	req->pin->refs++;
	c->pinned_bytes += req->record_len;
}

uint8_t *
rpc_req_reserve(struct rpc_req *req, uint32_t len)
{
	struct rpc_conn *c = req->conn;

	CW_ASSERT(req->region == NULL);
	len = (len + 3) & ~3u;
	req->region_off = stream_tx_room(&c->stream.tx, len);
	req->region_len = len;
	req->region = c->stream.tx.buf;
	req->region->refs++;
	req->region->len += len;
	c->reserved_bytes += len;
	return req->region->data + req->region_off;
}

/* A region that is still the last thing in its buffer gives back what the reply does not need. */
static void
trim_region(struct rpc_req *req, uint32_t used)
{
	struct stream_buf *b = req->region;

	if (b->len == req->region_off + req->region_len)
		b->len = req->region_off + ((used + 3) & ~3u);
}

void
rpc_reply_region(struct rpc_req *req, uint32_t off, uint32_t len)
{
	uint32_t at = req->region_off + off - 4;

	CW_ASSERT(off >= 4 && off + len <= req->region_len && req->sent <= len + 4);
	be_store_u32(req->region->data + at, 0x80000000u | len);
	trim_region(req, off + len);
	if (req->sent == len + 4)
		stream_conn_flush_later(&req->conn->stream); /* there the buffer is given back */
	else
		stream_conn_queue(
		    &req->conn->stream, req->region, at + req->sent, len + 4 - req->sent);
	req_end(req);
}

uint32_t
rpc_req_send(struct rpc_req *req, uint32_t off, uint32_t headers, const struct iovec *iov,
    unsigned int n, uint32_t body)
{
	struct rpc_conn *c = req->conn;
	struct iovec all[STREAM_TX_IOVS];
	uint8_t *record = req->region->data + req->region_off + off - 4;
	ssize_t sent;

	CW_ASSERT(off >= 4 && off + headers + body <= req->region_len && n < STREAM_TX_IOVS);
	if (!stream_conn_has_sent(&c->stream))
		return 0;
	be_store_u32(record, 0x80000000u | (headers + body));
	all[0] = (struct iovec){record, headers + 4};
	memcpy(all + 1, iov, n * sizeof(*iov));
	sent = stream_tx_now(&c->stream.tx, c->stream.fd.fd, all, n + 1);
	if (sent <= 0)
		return 0; /* whatever it is, sending the ordinary way will meet it again, or not */
	if ((uint32_t)sent <= headers + 4) {
		/* it does not happen: a socket that takes anything takes pages */
		stream_conn_close(&c->stream, "took a part of a header");
		return 0;
	}
	req->sent = (uint32_t)sent;
	return req->sent - headers - 4;
}

void
rpc_reply_begin(struct rpc_req *req, struct be_writer *w)
{
	uint32_t off;

	if (req->region != NULL)
		trim_region(req, 0);
	off = stream_tx_room(&req->conn->stream.tx, RPC_REPLY_MAX);
	be_writer_init(w, req->conn->stream.tx.buf->data + off + 4, RPC_REPLY_MAX - 4);
}

void
rpc_reply_end(struct rpc_req *req, struct be_writer *w)
{
	struct rpc_conn *c = req->conn;
	uint32_t len = (uint32_t)be_written(w);
	uint32_t off = c->stream.tx.buf->len;

	CW_ASSERT(!w->bad && w->start == c->stream.tx.buf->data + off + 4);
	be_store_u32(w->start - 4, 0x80000000u | len);
	if (stream_conn_is_open(&c->stream)) {
		c->stream.tx.buf->len += len + 4;
		stream_conn_queue(&c->stream, c->stream.tx.buf, off, len + 4);
	}
	req_end(req);
}

void
rpc_reply_bytes(struct rpc_req *req, const void *reply, uint32_t len)
{
	struct be_writer w;

	rpc_reply_begin(req, &w);
	be_put_bytes(&w, reply, len);
	rpc_reply_end(req, &w);
}

void
rpc_reply_accepted(struct rpc_req *req, enum rpc_accept_stat stat, uint32_t low, uint32_t high)
{
	struct be_writer w;

	rpc_reply_begin(req, &w);
	rpc_encode_accepted(&w, req->h.xid, stat, low, high);
	rpc_reply_end(req, &w);
}

void
rpc_reply_auth_error(struct rpc_req *req, enum rpc_auth_stat stat)
{
	struct be_writer w;

	rpc_reply_begin(req, &w);
	rpc_encode_auth_error(&w, req->h.xid, stat);
	rpc_reply_end(req, &w);
}

void
rpc_req_drop(struct rpc_req *req)
{
	req_end(req);
}
