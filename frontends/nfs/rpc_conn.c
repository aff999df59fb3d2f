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
#include "frontends/nfs/rpc_conn_int.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define ROUNDS_PER_WAKEUP 16
#define HALF_RECORD_NS (60ull * 1000000000)

static _Atomic uint64_t next_id = 1;

void
conn_unref(struct rpc_conn *c)
{
	struct rpc_worker *w = c->worker;

	if (--c->refs > 0)
		return;
	CW_ASSERT(c->fd.fd < 0 && c->nreqs == 0);
	stream_tx_free(&c->tx);
	stream_buf_put(&w->pool, c->rx);
	list_del(&c->link);
	free(c);
	stream_worker_gone(&w->stream);
}

void
rpc_conn_close(struct rpc_conn *c, const char *why)
{
	if (c->fd.fd < 0)
		return;
	log_debug("nfs.conn", "closed", "peer=%s why=\"%s\"", c->name, why);
	loop_del(c->worker->stream.loop, &c->fd);
	close(c->fd.fd);
	c->fd.fd = -1;
	conn_unref(c);
}

bool
conn_may_take(const struct rpc_conn *c)
{
	size_t all;

	if (!conn_is_open(c) || c->is_draining || c->nreqs >= RPC_CALLS_MAX ||
	    c->tx.queued_bytes >= RPC_TX_QUEUED_MAX || c->reserved_bytes >= RPC_RESERVED_MAX ||
	    c->pinned_bytes >= RPC_PINNED_MAX)
		return false;
	all = atomic_load_explicit(c->worker->pool.in_use_bytes, memory_order_relaxed);
	/* one that waits for nothing always goes on, else all could wait for each other */
	return all < RPC_BUFFERS_MAX || (c->nreqs == 0 && c->tx.queued_bytes == 0);
}

void
conn_schedule_run(struct rpc_conn *c)
{
	if (c->run_pending || !conn_is_open(c))
		return;
	c->run_pending = true;
	c->refs++;
	loop_post(c->worker->stream.loop, &c->run_task);
}

/* --- receiving ---------------------------------------------------------------------------------- */

static void
take_record(struct rpc_conn *c, const uint8_t *data, size_t len)
{
	struct rpc_req *req = rpc_req_new(c);

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
	c->worker->service->call(req);
}

/* Take every complete record. */
static void
take_records(struct rpc_conn *c)
{
	while (c->rx != NULL && conn_may_take(c)) {
		uint8_t *start = c->rx->data + c->rx_start;

		switch (rpc_record_next(&c->record, start, c->rx->len - c->rx_start, &c->need)) {
		case RPC_RECORD_NEED:
			if (c->need > STREAM_BUF_SMALL)
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

static void
receive(struct rpc_conn *c)
{
	size_t room;
	ssize_t n;

	stream_buf_room(
	    &c->worker->pool, &c->rx, &c->rx_start, c->need, c->wants_big ? STREAM_BUF_BIG : 0);
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
	if (n == 0) {
		/* it may still wait for replies: a half-closed connection is served to its end */
		c->is_draining = true;
		conn_after_progress(c);
	} else if (errno != EAGAIN) {
		rpc_conn_close(c, strerror(errno));
	}
}

/* Give back or rewind the receive buffer when nothing of it is wanted any more. */
static void
rest_rx(struct rpc_conn *c)
{
	if (c->rx == NULL || c->rx_start < c->rx->len)
		return;
	if (c->rx->cap == STREAM_BUF_BIG && c->rx->len < STREAM_BUF_SMALL)
		c->wants_big = false;
	stream_buf_put(&c->worker->pool, c->rx);
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
		if (!conn_may_take(c) || !c->is_readable)
			break;
		receive(c);
	}
	if (conn_is_open(c)) {
		take_records(c);
		rest_rx(c);
	}
	if (!conn_may_take(c))
		c->is_stalled = true;
	else if (c->is_readable)
		conn_schedule_run(c); /* others have their turn first */
	conn_unref(c);
}

static void
on_run_task(struct loop_task *t)
{
	struct rpc_conn *c = container_of(t, struct rpc_conn, run_task);

	c->run_pending = false;
	if (conn_is_open(c))
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
	if ((events & EPOLLOUT) && c->tx.queued_bytes > 0) {
		conn_flush(c);
		conn_after_progress(c);
	}
	if (conn_is_open(c) && c->is_readable)
		run(c);
	conn_unref(c);
}

/* --- life --------------------------------------------------------------------------------------- */

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
rpc_conn_new(struct rpc_worker *w, int fd, const union inet_addr *peer, unsigned int tag)
{
	struct rpc_conn *c = xcalloc(1, sizeof(*c));
	int err;

	c->worker = w;
	c->tx.pool = &w->pool;
	c->tx.bytes = w->tx_bytes;
	c->tag = tag;
	c->id = atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed);
	c->peer = *peer;
	c->refs = 1;
	c->need = 4;
	c->fd.fd = fd;
	c->fd.cb = on_event;
	c->flush_task.fn = conn_on_flush_task;
	c->run_task.fn = on_run_task;
	c->last_rx_ns = clock_mono_ns();
	inet_text(&c->peer, c->name, sizeof(c->name));
	set_socket_options(fd);
	err = loop_add(w->stream.loop, &c->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (err < 0) {
		close(fd);
		free(c);
		return err;
	}
	list_add_tail(&w->conns, &c->link);
	log_debug("nfs.conn", "opened", "peer=%s", c->name);
	return 0;
}

void
rpc_worker_drain(struct rpc_worker *w)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &w->conns)
	{
		struct rpc_conn *c = container_of(pos, struct rpc_conn, link);

		c->is_draining = true;
		conn_after_progress(c);
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
	stream_buf_pool_free(&w->pool);
}

const union inet_addr *
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
	return c->worker->service;
}

struct loop *
rpc_conn_loop(const struct rpc_conn *c)
{
	return c->worker->stream.loop;
}
