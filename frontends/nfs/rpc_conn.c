/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_conn.c - sockets to calls to sockets.
 *
 * One wake-up: receive once, take every complete record, answer what can be answered at once into
 * one reply buffer, and when the loop's other events are done send all of it with one system call.
 * Big replies do not wait: 256 KiB queued are sent at once, so that a stream of 1 MiB READs runs
 * through the same megabyte of memory again and again.
 *
 * The socket is watched edge-triggered for both directions, so that no system call changes the
 * interest; `is_readable` remembers what an edge told until a short receive clears it.
 *
 * A connection lives as long as something refers to it: its open socket, each call, each task.
 */
#include "frontends/nfs/rpc_conn.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define FLUSH_AT (256u * 1024)
#define ROUNDS_PER_WAKEUP 16
#define SEND_IOVS 64
#define RECV_ROOM_MIN 4096u
#define HALF_RECORD_NS (60ull * 1000000000)
#define KEEP_REQS 512

struct segment { /* bytes of a reply buffer that are to be sent; holds a reference */
	struct rpc_buf *buf;
	uint32_t off, len;
};

struct rpc_conn {
	struct rpc_worker *worker;
	const struct rpc_service *service;
	struct loop_fd fd; /* fd.fd is -1 once closed */
	struct list link;  /* worker->conns */
	unsigned int refs, tag;
	uint64_t id;
	bool is_readable, at_eof, is_stalled, is_draining;
	bool flush_pending, run_pending;
	bool wants_big; /* the last records did not fit in a small buffer */
	struct loop_task flush_task, run_task;
	/* receiving */
	struct rpc_buf *rx;
	uint32_t rx_start; /* where the current record starts */
	struct rpc_record record;
	size_t need; /* from rx_start on */
	uint64_t last_rx_ns;
	/* calls */
	unsigned int nreqs;
	size_t pinned_bytes;
	/* sending */
	struct rpc_buf *tx;
	struct segment *segs;
	unsigned int seg_head, seg_tail, seg_cap;
	size_t queued_bytes, reserved_bytes;
	union rpc_peer peer;
	char name[INET6_ADDRSTRLEN + 8];
};

static _Atomic uint64_t next_id = 1;

static void
conn_unref(struct rpc_conn *c)
{
	struct rpc_worker *w = c->worker;

	if (--c->refs > 0)
		return;
	CW_ASSERT(c->fd.fd < 0 && c->nreqs == 0);
	for (unsigned int i = c->seg_head; i < c->seg_tail; i++)
		rpc_buf_put(&w->pool, c->segs[i].buf);
	rpc_buf_put(&w->pool, c->tx);
	rpc_buf_put(&w->pool, c->rx);
	list_del(&c->link);
	free(c->segs);
	free(c);
	w->nconns--;
	w->gone(w);
}

void
rpc_conn_close(struct rpc_conn *c, const char *why)
{
	if (c->fd.fd < 0)
		return;
	log_debug("nfs.conn", "closed", "peer=%s why=\"%s\"", c->name, why);
	loop_del(c->worker->loop, &c->fd);
	close(c->fd.fd);
	c->fd.fd = -1;
	conn_unref(c);
}

static bool
is_open(const struct rpc_conn *c)
{
	return c->fd.fd >= 0;
}

static bool
may_take(const struct rpc_conn *c)
{
	size_t all;

	if (!is_open(c) || c->is_draining || c->nreqs >= RPC_CALLS_MAX ||
	    c->queued_bytes >= RPC_TX_QUEUED_MAX || c->reserved_bytes >= RPC_RESERVED_MAX ||
	    c->pinned_bytes >= RPC_PINNED_MAX)
		return false;
	all = atomic_load_explicit(c->worker->pool.in_use_bytes, memory_order_relaxed);
	/* one that waits for nothing always goes on, else all could wait for each other */
	return all < RPC_BUFFERS_MAX || (c->nreqs == 0 && c->queued_bytes == 0);
}

/* --- sending ------------------------------------------------------------------------------------ */

static void
schedule_run(struct rpc_conn *c)
{
	if (c->run_pending || !is_open(c))
		return;
	c->run_pending = true;
	c->refs++;
	loop_post(c->worker->loop, &c->run_task);
}

/* After progress: take up again what a limit had stopped; finish draining. */
static void
after_progress(struct rpc_conn *c)
{
	if (c->is_stalled && may_take(c))
		schedule_run(c);
	if (c->is_draining && c->nreqs == 0 && c->queued_bytes == 0)
		rpc_conn_close(c, "server stops");
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

static void
flush(struct rpc_conn *c)
{
	while (is_open(c) && c->seg_head < c->seg_tail) {
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

static void
on_flush_task(struct loop_task *t)
{
	struct rpc_conn *c = container_of(t, struct rpc_conn, flush_task);

	c->flush_pending = false;
	flush(c);
	after_progress(c);
	if (c->queued_bytes == 0 && c->tx != NULL && c->tx->refs == 1) {
		rpc_buf_put(&c->worker->pool, c->tx);
		c->tx = NULL;
	}
	conn_unref(c);
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
		flush(c);
	if (!c->flush_pending) {
		c->flush_pending = true;
		c->refs++;
		loop_defer(c->worker->loop, &c->flush_task);
	}
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

static struct rpc_req *
req_new(struct rpc_conn *c)
{
	struct rpc_worker *w = c->worker;
	struct rpc_req *req = w->free_reqs;

	if (req != NULL) {
		w->free_reqs = req->next_free;
		w->nfree_reqs--;
	} else {
		req = xmalloc(c->service->req_size);
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
	after_progress(c);
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

	CW_ASSERT(off >= 4 && off + len <= req->region_len);
	be_store_u32(req->region->data + at, 0x80000000u | len);
	trim_region(req, off + len);
	if (is_open(req->conn))
		queue_segment(req->conn, req->region, at, len + 4);
	req_end(req);
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
	if (is_open(c)) {
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

/* --- receiving ---------------------------------------------------------------------------------- */

static void
take_record(struct rpc_conn *c, const uint8_t *data, size_t len)
{
	struct rpc_req *req = req_new(c);

	req->record = data;
	req->record_len = (uint32_t)len;
	req->start_ns = c->last_rx_ns;
	be_reader_init(&req->args, data, len);
	if (rpc_decode_call(&req->args, &req->h) < 0) {
		log_warn("nfs.conn", "malformed", "peer=%s what=\"RPC header\"", c->name);
		rpc_conn_close(c, "malformed RPC header");
		rpc_req_drop(req);
		return;
	}
	if (req->h.rpcvers != RPC_VERSION) {
		struct be_writer w;

		rpc_reply_begin(req, &w);
		rpc_encode_mismatch(&w, req->h.xid);
		rpc_reply_end(req, &w);
		return;
	}
	c->service->call(req);
}

/* Take every complete record. */
static void
take_records(struct rpc_conn *c)
{
	while (c->rx != NULL && may_take(c)) {
		uint8_t *start = c->rx->data + c->rx_start;

		switch (rpc_record_next(&c->record, start, c->rx->len - c->rx_start, &c->need)) {
		case RPC_RECORD_NEED:
			if (c->need > RPC_BUF_SMALL)
				c->wants_big = true;
			return;
		case RPC_RECORD_BAD:
			log_warn("nfs.conn", "malformed", "peer=%s what=\"record mark\"", c->name);
			rpc_conn_close(c, "malformed record");
			return;
		case RPC_RECORD_READY:
			take_record(c, start + 4, c->record.len);
			c->rx_start += (uint32_t)c->record.raw;
			memset(&c->record, 0, sizeof(c->record));
			c->need = 4;
			break;
		}
	}
}

/* Make the receive buffer able to hold the current record, and worth a system call. */
static void
make_rx_room(struct rpc_conn *c)
{
	struct rpc_buf_pool *pool = &c->worker->pool;
	struct rpc_buf *old = c->rx;
	uint32_t have = old == NULL ? 0 : old->len - c->rx_start;
	size_t want = c->need + RECV_ROOM_MIN;

	if (old != NULL && old->cap - c->rx_start >= c->need &&
	    old->cap - old->len >= RECV_ROOM_MIN)
		return;
	if (want < have + RECV_ROOM_MIN)
		want = have + RECV_ROOM_MIN;
	if (old != NULL && old->refs == 1 && old->cap >= want) {
		memmove(old->data, old->data + c->rx_start, have);
		old->len = have;
	} else {
		c->rx = rpc_buf_get(pool, c->wants_big ? RPC_BUF_BIG : want);
		if (have > 0)
			memcpy(c->rx->data, old->data + c->rx_start, have);
		c->rx->len = have;
		rpc_buf_put(pool, old);
	}
	c->rx_start = 0;
}

static void
receive(struct rpc_conn *c)
{
	size_t room;
	ssize_t n;

	make_rx_room(c);
	room = c->rx->cap - c->rx->len;
	n = recv(c->fd.fd, c->rx->data + c->rx->len, room, MSG_DONTWAIT);
	if (n > 0) {
		c->last_rx_ns = clock_mono_ns();
		c->rx->len += (uint32_t)n;
		metric_add(c->worker->rx_bytes, n);
		if ((size_t)n < room && !c->at_eof)
			c->is_readable = false; /* the next edge tells */
		return;
	}
	if (n < 0 && errno == EINTR)
		return;
	c->is_readable = false;
	if (n == 0)
		rpc_conn_close(c, "peer closed");
	else if (errno != EAGAIN)
		rpc_conn_close(c, strerror(errno));
}

/* Give back or rewind the receive buffer when nothing of it is wanted any more. */
static void
rest_rx(struct rpc_conn *c)
{
	if (c->rx == NULL || c->rx_start < c->rx->len)
		return;
	if (c->rx->cap == RPC_BUF_BIG && c->rx->len < RPC_BUF_SMALL)
		c->wants_big = false;
	rpc_buf_put(&c->worker->pool, c->rx);
	c->rx = NULL;
	c->rx_start = 0;
}

static void
run(struct rpc_conn *c)
{
	c->refs++;
	c->is_stalled = false;
	for (int i = 0; i < ROUNDS_PER_WAKEUP; i++) {
		take_records(c);
		rest_rx(c);
		if (!may_take(c) || !c->is_readable)
			break;
		receive(c);
	}
	if (is_open(c)) {
		take_records(c);
		rest_rx(c);
	}
	if (!may_take(c))
		c->is_stalled = true;
	else if (c->is_readable)
		schedule_run(c); /* others have their turn first */
	conn_unref(c);
}

static void
on_run_task(struct loop_task *t)
{
	struct rpc_conn *c = container_of(t, struct rpc_conn, run_task);

	c->run_pending = false;
	if (is_open(c))
		run(c);
	conn_unref(c);
}

static void
on_event(struct loop_fd *f, uint32_t events)
{
	struct rpc_conn *c = container_of(f, struct rpc_conn, fd);

	if (events & (EPOLLERR | EPOLLHUP)) {
		rpc_conn_close(c, "connection lost");
		return;
	}
	c->refs++;
	if (events & EPOLLRDHUP)
		c->at_eof = true;
	if (events & (EPOLLIN | EPOLLRDHUP))
		c->is_readable = true;
	if ((events & EPOLLOUT) && c->queued_bytes > 0) {
		flush(c);
		after_progress(c);
	}
	if (is_open(c) && c->is_readable)
		run(c);
	conn_unref(c);
}

/* --- life --------------------------------------------------------------------------------------- */

static void
name_peer(struct rpc_conn *c)
{
	char addr[INET6_ADDRSTRLEN] = "?";

	if (c->peer.sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &c->peer.in6.sin6_addr, addr, sizeof(addr));
		snprintf(c->name, sizeof(c->name), "[%s]:%u", addr, ntohs(c->peer.in6.sin6_port));
	} else {
		inet_ntop(AF_INET, &c->peer.in.sin_addr, addr, sizeof(addr));
		snprintf(c->name, sizeof(c->name), "%s:%u", addr, ntohs(c->peer.in.sin_port));
	}
}

static void
set_socket_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
	    {IPPROTO_TCP, TCP_NODELAY, 1},
	    {SOL_SOCKET, SO_KEEPALIVE, 1},
	    {IPPROTO_TCP, TCP_KEEPIDLE, 60},
	    {IPPROTO_TCP, TCP_KEEPINTVL, 15},
	    {IPPROTO_TCP, TCP_USER_TIMEOUT, 300000},
	};

	/* each is a refinement: a socket that refuses one still serves */
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
		    sizeof(options[i].value));
}

int
rpc_conn_new(struct rpc_worker *w, const struct rpc_service *service, int fd,
    const union rpc_peer *peer, unsigned int tag)
{
	struct rpc_conn *c = xcalloc(1, sizeof(*c));
	int err;

	c->worker = w;
	c->service = service;
	c->tag = tag;
	c->id = atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed);
	c->peer = *peer;
	c->refs = 1;
	c->need = 4;
	c->fd.fd = fd;
	c->fd.cb = on_event;
	c->flush_task.fn = on_flush_task;
	c->run_task.fn = on_run_task;
	c->last_rx_ns = clock_mono_ns();
	name_peer(c);
	set_socket_options(fd);
	err = loop_add(w->loop, &c->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (err < 0) {
		close(fd);
		free(c);
		return err;
	}
	list_add_tail(&w->conns, &c->link);
	w->nconns++;
	log_debug("nfs.conn", "opened", "peer=%s", c->name);
	return 0;
}

void
rpc_worker_drain(struct rpc_worker *w)
{
	struct list *pos, *tmp;

	w->draining = true;
	list_for_each_safe(pos, tmp, &w->conns)
	{
		struct rpc_conn *c = container_of(pos, struct rpc_conn, link);

		c->is_draining = true;
		after_progress(c);
	}
}

void
rpc_worker_close_all(struct rpc_worker *w)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &w->conns)
	    rpc_conn_close(container_of(pos, struct rpc_conn, link), "server stops");
}

void
rpc_worker_sweep(struct rpc_worker *w)
{
	uint64_t now = clock_mono_ns();
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &w->conns)
	{
		struct rpc_conn *c = container_of(pos, struct rpc_conn, link);

		if (c->rx != NULL && !c->is_stalled && now - c->last_rx_ns > HALF_RECORD_NS) {
			log_warn("nfs.conn", "half-record", "peer=%s bytes=%u", c->name,
			    c->rx->len - c->rx_start);
			rpc_conn_close(c, "half a record for too long");
		}
	}
}

void
rpc_worker_free(struct rpc_worker *w)
{
	while (w->free_reqs != NULL) {
		struct rpc_req *next = w->free_reqs->next_free;

		free(w->free_reqs);
		w->free_reqs = next;
	}
	rpc_buf_pool_free(&w->pool);
}

const union rpc_peer *
rpc_conn_peer(const struct rpc_conn *c)
{
	return &c->peer;
}

const char *
rpc_conn_name(const struct rpc_conn *c)
{
	return c->name;
}

uint64_t
rpc_conn_id(const struct rpc_conn *c)
{
	return c->id;
}

unsigned int
rpc_conn_tag(const struct rpc_conn *c)
{
	return c->tag;
}

const struct rpc_service *
rpc_conn_service(const struct rpc_conn *c)
{
	return c->service;
}

struct loop *
rpc_conn_loop(const struct rpc_conn *c)
{
	return c->worker->loop;
}
