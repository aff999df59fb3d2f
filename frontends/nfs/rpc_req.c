/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_req.c - calls in flight and the way of their replies to the socket.
 *
 * Replies are put one behind the other into the connection's reply buffer, so that those of one
 * wake-up are one stretch of memory and leave with one system call.  A reply that somebody else fills
 * (READ, READDIR) reserves its place first; what is answered meanwhile goes behind it and is sent
 * before it.
 */
#include "frontends/nfs/rpc_conn_int.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define FLUSH_AT (256u * 1024)
#define SEND_IOVS 64
#define KEEP_REQS 512

/* --- sending ------------------------------------------------------------------------------------ */

void
conn_after_progress(struct rpc_conn *c)
{
	if (c->is_stalled && conn_may_take(c))
		conn_schedule_run(c);
	if (c->is_draining && c->nreqs == 0 && c->queued_bytes == 0)
		rpc_conn_close(c, "all is answered");
}

static void
sent(struct rpc_conn *c, size_t n)
{
	struct rpc_buf_pool *pool = &c->worker->pool;

	metric_add(c->worker->tx_bytes, (int64_t)n);
	c->queued_bytes -= n;
	while (n > 0) {
		struct segment *s = &c->segs[c->seg_head];

		if (n < s->len) {
			s->off += (uint32_t)n;
			s->len -= (uint32_t)n;
			return;
		}
		n -= s->len;
		rpc_buf_put(pool, s->buf);
		c->seg_head++;
	}
	if (c->seg_head < c->seg_tail)
		return;
	c->seg_head = c->seg_tail = 0;
	if (c->tx != NULL && c->tx->refs == 1)
		c->tx->len = 0; /* start over in memory that is warm */
}

void
conn_flush(struct rpc_conn *c)
{
	while (conn_is_open(c) && c->seg_head < c->seg_tail) {
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
				rpc_conn_close(c, strerror(errno));
			return; /* EPOLLOUT comes */
		}
		sent(c, (size_t)n);
		if ((size_t)n < asked)
			return;
	}
}

void
conn_on_flush_task(struct loop_task *t)
{
	struct rpc_conn *c = container_of(t, struct rpc_conn, flush_task);

	c->flush_pending = false;
	conn_flush(c);
	conn_after_progress(c);
	if (c->queued_bytes == 0 && c->tx != NULL && c->tx->refs == 1) {
		rpc_buf_put(&c->worker->pool, c->tx);
		c->tx = NULL;
	}
	conn_unref(c);
}

static void
schedule_flush(struct rpc_conn *c)
{
	if (c->flush_pending)
		return;
	c->flush_pending = true;
	c->refs++;
	loop_defer(c->worker->stream.loop, &c->flush_task);
}

static void
queue_segment(struct rpc_conn *c, struct rpc_buf *buf, uint32_t off, uint32_t len)
{
	struct segment *last = c->seg_tail > c->seg_head ? &c->segs[c->seg_tail - 1] : NULL;

	c->queued_bytes += len;
	if (last != NULL && last->buf == buf && last->off + last->len == off) {
		last->len += len;
	} else {
		if (c->seg_tail == c->seg_cap) {
			c->seg_cap = c->seg_cap == 0 ? 16 : c->seg_cap * 2;
			c->segs = xrealloc(c->segs, c->seg_cap * sizeof(*c->segs));
		}
		buf->refs++;
		c->segs[c->seg_tail++] = (struct segment){buf, off, len};
	}
	if (c->queued_bytes >= FLUSH_AT)
		conn_flush(c);
	schedule_flush(c);
}

/* Room for len bytes at the end of the current reply buffer, or in a new one. */
static uint32_t
tx_room(struct rpc_conn *c, uint32_t len)
{
	if (c->tx != NULL && c->tx->refs == 1)
		c->tx->len = 0; /* all of it was sent */
	if (c->tx != NULL && c->tx->cap - c->tx->len < len) {
		rpc_buf_put(&c->worker->pool, c->tx);
		c->tx = NULL;
	}
	if (c->tx == NULL)
		c->tx = rpc_buf_get(&c->worker->pool, len);
	return c->tx->len;
}

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
	c->refs++;
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
		rpc_buf_put(&w->pool, req->pin);
	}
	if (req->region != NULL) {
		c->reserved_bytes -= req->region_len;
		rpc_buf_put(&w->pool, req->region);
	}
	c->nreqs--;
	if (w->nfree_reqs < KEEP_REQS) {
		req->next_free = w->free_reqs;
		w->free_reqs = req;
		w->nfree_reqs++;
	} else {
		free(req);
	}
	conn_after_progress(c);
	conn_unref(c);
}

void
rpc_req_pin(struct rpc_req *req)
{
	struct rpc_conn *c = req->conn;

	CW_ASSERT(req->pin == NULL && c->rx != NULL);
	req->pin = c->rx;
	req->pin->refs++;
	c->pinned_bytes += req->record_len;
}

uint8_t *
rpc_req_reserve(struct rpc_req *req, uint32_t len)
{
	struct rpc_conn *c = req->conn;

	CW_ASSERT(req->region == NULL);
	len = (len + 3) & ~3u;
	req->region_off = tx_room(c, len);
	req->region_len = len;
	req->region = c->tx;
	req->region->refs++;
	req->region->len += len;
	c->reserved_bytes += len;
	return req->region->data + req->region_off;
}

/* A region that is still the last thing in its buffer gives back what the reply does not need. */
static void
trim_region(struct rpc_req *req, uint32_t used)
{
	struct rpc_buf *b = req->region;

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
		schedule_flush(req->conn); /* there the buffer is given back */
	else if (conn_is_open(req->conn))
		queue_segment(req->conn, req->region, at + req->sent, len + 4 - req->sent);
	req_end(req);
}

uint32_t
rpc_req_send(struct rpc_req *req, uint32_t off, uint32_t headers, const struct iovec *iov,
    unsigned int n, uint32_t body)
{
	struct rpc_conn *c = req->conn;
	struct iovec all[SEND_IOVS];
	struct msghdr msg = {.msg_iov = all, .msg_iovlen = n + 1};
	uint8_t *record = req->region->data + req->region_off + off - 4;
	ssize_t sent;

	CW_ASSERT(off >= 4 && off + headers + body <= req->region_len && n < SEND_IOVS);
	if (c->queued_bytes > 0)
		conn_flush(c);
	if (!conn_is_open(c) || c->queued_bytes > 0)
		return 0;
	be_store_u32(record, 0x80000000u | (headers + body));
	all[0] = (struct iovec){record, headers + 4};
	memcpy(all + 1, iov, n * sizeof(*iov));
	sent = sendmsg(c->fd.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent <= 0)
		return 0; /* whatever it is, sending the ordinary way will meet it again, or not */
	metric_add(c->worker->tx_bytes, sent);
	if ((uint32_t)sent <= headers + 4) {
		/* it does not happen: a socket that takes anything takes pages */
		rpc_conn_close(c, "took a part of a header");
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
	off = tx_room(req->conn, RPC_REPLY_MAX);
	be_writer_init(w, req->conn->tx->data + off + 4, RPC_REPLY_MAX - 4);
}

void
rpc_reply_end(struct rpc_req *req, struct be_writer *w)
{
	struct rpc_conn *c = req->conn;
	uint32_t len = (uint32_t)be_written(w);
	uint32_t off = c->tx->len;

	CW_ASSERT(!w->bad && w->start == c->tx->data + off + 4);
	be_store_u32(w->start - 4, 0x80000000u | len);
	if (conn_is_open(c)) {
		c->tx->len += len + 4;
		queue_segment(c, c->tx, off, len + 4);
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
