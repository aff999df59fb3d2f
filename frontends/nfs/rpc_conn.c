/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_conn.c - what is RPC's of a connection: bytes to calls, limits, what is late.
 *
 * One wake-up: receive once, take every complete record, answer what can be answered at once into
 * one reply buffer, and when the loop's other events are done send all of it with one system call.
 * Big replies do not wait: 256 KiB queued are sent at once, so that a stream of 1 MiB READs runs
 * through the same megabyte of memory again and again.
 */
#include "frontends/nfs/rpc_conn_int.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define HALF_RECORD_NS (60ull * 1000000000)

static _Atomic uint64_t next_id = 1;

static struct rpc_conn *
conn_of(const struct stream_conn *s)
{
	return container_of(s, struct rpc_conn, stream);
}

static bool
may_take(const struct stream_conn *s)
{
	const struct rpc_conn *c = conn_of(s);
	size_t all;

	if (c->nreqs >= RPC_CALLS_MAX || c->reserved_bytes >= RPC_RESERVED_MAX ||
	    c->pinned_bytes >= RPC_PINNED_MAX)
		return false;
	all = atomic_load_explicit(s->conns->pool.in_use_bytes, memory_order_relaxed);
	/* one that waits for nothing always goes on, else all could wait for each other */
	return all < RPC_BUFFERS_MAX || (c->nreqs == 0 && s->tx.queued_bytes == 0);
}

/* --- receiving ---------------------------------------------------------------------------------- */

static void
take_record(struct rpc_conn *c, const uint8_t *data, size_t len)
{
	struct rpc_req *req = rpc_req_new(c);

	req->record = data;
	req->record_len = (uint32_t)len;
	req->start_ns = c->stream.last_rx_ns;
	be_reader_init(&req->args, data, len);
	if (rpc_decode_call(&req->args, &req->h) < 0) {
		log_warn("nfs.conn", "malformed", "peer=%s what=\"RPC header\"", c->stream.name);
		stream_conn_close(&c->stream, "malformed RPC header");
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

static bool
take(struct stream_conn *s)
{
	struct rpc_conn *c = conn_of(s);
	uint8_t *start;

	if (s->rx == NULL)
		return false;
	start = s->rx->data + s->rx_start;
	switch (rpc_record_next(&c->record, start, s->rx->len - s->rx_start, &s->need)) {
	case RPC_RECORD_NEED:
		if (s->need > STREAM_BUF_SMALL)
			c->wants_big = true;
		return false;
	case RPC_RECORD_BAD:
		log_warn("nfs.conn", "malformed", "peer=%s what=\"record mark\"", s->name);
		stream_conn_close(s, "malformed record");
		return false;
	case RPC_RECORD_READY:
		break;
	}
	take_record(c, start + 4, c->record.len);
	s->rx_start += (uint32_t)c->record.raw;
	memset(&c->record, 0, sizeof(c->record));
	s->need = 4;
	if (s->rx_start == s->rx->len && s->rx->cap == STREAM_BUF_BIG &&
	    s->rx_start < STREAM_BUF_SMALL)
		c->wants_big = false;
	return true;
}

static void
receive(struct stream_conn *s)
{
	size_t room;
	ssize_t n;

	stream_buf_room(&s->conns->pool, &s->rx, &s->rx_start, s->need,
	    conn_of(s)->wants_big ? STREAM_BUF_BIG : 0);
	room = s->rx->cap - s->rx->len;
	n = recv(s->fd.fd, s->rx->data + s->rx->len, room, MSG_DONTWAIT);
	if (stream_conn_received(s, n, room))
		s->rx->len += (uint32_t)n;
	else if (n == 0)
		stream_conn_end(s); /* a half-closed connection is served to its end */
}

/* --- life --------------------------------------------------------------------------------------- */

static void
sent_all(struct stream_conn *s)
{
	if (conn_of(s)->nreqs == 0)
		stream_conn_close(s, "all is answered");
}

static void
sweep(struct stream_conn *s, uint64_t now)
{
	if (s->rx != NULL && !s->is_stalled && now - s->last_rx_ns > HALF_RECORD_NS) {
		log_warn("nfs.conn", "half-record", "peer=%s bytes=%u", s->name,
		    s->rx->len - s->rx_start);
		stream_conn_close(s, "half a record for too long");
	}
}

static void
conn_free(struct stream_conn *s)
{
	CW_ASSERT(conn_of(s)->nreqs == 0);
	free(conn_of(s));
}

const struct stream_conn_ops rpc_conn_ops = {.log = "nfs.conn",
    .user_timeout_ms = 300000,
    .may_take = may_take,
    .take = take,
    .receive = receive,
    .sent_all = sent_all,
    .drain = stream_conn_end,
    .sweep = sweep,
    .free = conn_free};

int
rpc_conn_open(struct stream_worker *w, int fd, const union inet_addr *peer, unsigned int tag)
{
	struct rpc_conn *c = xcalloc(1, sizeof(*c));
	int err;

	c->worker = container_of(w, struct rpc_worker, stream.worker);
	c->tag = tag;
	c->id = atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed);
	c->stream.need = 4;
	err = stream_conn_open(&c->stream, &c->worker->stream, fd, peer);
	if (err < 0) {
		close(fd);
		free(c);
	}
	return err;
}

void
rpc_conn_close(struct rpc_conn *c, const char *why)
{
	stream_conn_close(&c->stream, why);
}

void
rpc_worker_free(struct rpc_worker *w)
{
	while (w->free_reqs != NULL) {
		struct rpc_req *next = w->free_reqs->next_free;

		free(w->free_reqs);
		w->free_reqs = next;
	}
	stream_conns_free(&w->stream);
}

const union inet_addr *
rpc_conn_peer(const struct rpc_conn *c)
{
	return &c->stream.peer;
}

const char *
rpc_conn_name(const struct rpc_conn *c)
{
	return c->stream.name;
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
	return c->worker->stream.worker.loop;
}
