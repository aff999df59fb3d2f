/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_conn.h - the life of one TCP connection on its loop: when it receives, sends, waits and ends.
 *
 * A protocol embeds struct stream_conn as the first member of its connection, and struct stream_conns as
 * the first of what the connections of one loop share; what bytes mean is told by struct stream_conn_ops.
 *
 * The socket is watched edge-triggered for both directions, so that no system call changes the
 * interest; `is_readable` remembers what an edge told until a short receive clears it.  A connection
 * lives as long as something refers to it: its open socket, its tasks, what the protocol counts.
 *
 * It ends in steps: it takes nothing more (stream_conn_end); when nothing is queued the protocol is asked
 * (ops->sent_all), which closes it or lets it linger.
 *
 * All of it belongs to the loop, and nothing here may be called elsewhere.
 */
#ifndef CW_BASE_STREAM_CONN_H
#define CW_BASE_STREAM_CONN_H

#include "gateway/base/stream_server.h"
#include "gateway/base/stream_tx.h"

#define STREAM_CONN_QUEUED_MAX (1024u * 1024) /* bytes to send; past it nothing is taken */

struct stream_conn;

struct stream_conn_ops { /* c is referred to meanwhile; it may be closed by any but may_take */
	const char *log; /* a literal: category of log lines */
	unsigned int user_timeout_ms; /* TCP_USER_TIMEOUT */
	/* may_take - do the protocol's own limits allow to go on? */
	bool (*may_take)(const struct stream_conn *c);
	/* take - the next thing that lies whole in c->rx. result: false: c->need bytes have to come first, or
	 * c is closed */
	bool (*take)(struct stream_conn *c);
	/* receive - one system call, and stream_conn_received about it. */
	void (*receive)(struct stream_conn *c);
	/* sent_all - c is ending and nothing is queued. Asked again at each progress until it is closed */
	void (*sent_all)(struct stream_conn *c);
	/* drain - the server stops: end when all is done. */
	void (*drain)(struct stream_conn *c);
	/* sweep - c is open: is it late? */
	void (*sweep)(struct stream_conn *c, uint64_t now_ns);
	/* over - once: c was closed or lingers. May be NULL */
	void (*over)(struct stream_conn *c);
	/* free - the last reference is gone: what the protocol owns, and the memory of c itself. */
	void (*free)(struct stream_conn *c);
};

struct stream_conns {		     /* what the connections of one loop share */
	struct stream_worker worker; /* first */
	const struct stream_conn_ops *ops;
	struct stream_buf_pool pool;
	struct list list;
	struct metric *rx_bytes, *tx_bytes;
};

struct stream_conn {
	struct stream_conns *conns;
	struct loop_fd fd; /* fd.fd is -1 once closed */
	struct list link;
	unsigned int refs;
	bool is_readable, at_eof;
	bool is_stalled;   /* a limit keeps it from taking more */
	bool is_ending;	   /* takes nothing more */
	bool is_broken;	   /* nothing can be sent any more */
	bool is_lingering; /* all is said and sent; only the end of the other side is waited for */
	bool flush_pending, run_pending;
	struct loop_task flush_task, run_task;
	uint64_t last_rx_ns, linger_by_ns;
	struct stream_buf *rx; /* received and not taken yet; NULL = nothing */
	uint32_t rx_start;     /* where in rx the next thing to take starts */
	size_t need;	       /* bytes from rx_start on without which nothing can be taken */
	struct stream_tx tx;
	union inet_addr peer;
	char name[INET_TEXT_MAX]; /* the peer's, for logs */
};

/* stream_conns_init - of a worker of a server that does not run yet.
 * args: ops and metrics borrowed for good; in_use_bytes of all loops' buffers */
void stream_conns_init(struct stream_conns *all, const struct stream_conn_ops *ops,
    _Atomic size_t *in_use_bytes, struct metric *rx_bytes, struct metric *tx_bytes);
/* stream_conns_free - the pool; no connection may be left. */
void stream_conns_free(struct stream_conns *all);
/* stream_conns_drain, _close_all, _sweep - as struct stream_ops wants them, for a stream_conns. */
void stream_conns_drain(struct stream_worker *w);
void stream_conns_close_all(struct stream_worker *w);
void stream_conns_sweep(struct stream_worker *w);

/* stream_conn_open - begin to serve fd.
 * args:   c cleared, but for what is the protocol's; need may be set
 * result: 0: c is freed by ops->free, and the server is told; or a negative errno: fd and c stay the
 *         caller's */
int stream_conn_open(struct stream_conn *c, struct stream_conns *all, int fd,
    const union inet_addr *peer) CW_MUST_CHECK;
/* stream_conn_ref, _unref - what the protocol counts. */
void stream_conn_ref(struct stream_conn *c);
void stream_conn_unref(struct stream_conn *c);
/* stream_conn_received - what ops->receive's system call returned (with its errno) of `asked` bytes.
 * result: n > 0. What to do at the end (n = 0) is the caller's; a failed connection is closed here */
bool stream_conn_received(struct stream_conn *c, ssize_t n, size_t asked);
/* stream_conn_queue - send these bytes after what is queued; takes a reference of its own. */
void stream_conn_queue(struct stream_conn *c, struct stream_buf *buf, uint32_t off, uint32_t len);
/* stream_conn_flush - send now what is queued, as much as the socket takes. */
void stream_conn_flush(struct stream_conn *c);
/* stream_conn_has_sent - flush. result: the socket took all and can take more: stream_tx_now may be used */
bool stream_conn_has_sent(struct stream_conn *c);
/* stream_conn_flush_later - at the end of the wake-up; there the send buffer is given back, too. */
void stream_conn_flush_later(struct stream_conn *c);
/* stream_conn_resume - something was freed: take up again what a limit had stopped; later, by a post. */
void stream_conn_resume(struct stream_conn *c);
/* stream_conn_progress - something was done: resume, or go on with the end. It may close c. */
void stream_conn_progress(struct stream_conn *c);
/* stream_conn_end - take nothing more; ops->sent_all not before the end of the wake-up. */
void stream_conn_end(struct stream_conn *c);
/* stream_conn_break - what goes out makes no sense any more, or cannot go: close at the wake-up's end. */
void stream_conn_break(struct stream_conn *c);
/* stream_conn_linger - for ops->sent_all: hang up our side, and drop what still comes until the other has
 * closed, too, or ms have passed (and a sweep comes). */
void stream_conn_linger(struct stream_conn *c, unsigned int ms);
/* stream_conn_close - at once; why is for the log. Nothing happens to one that is closed. */
void stream_conn_close(struct stream_conn *c, const char *why);

static inline bool
stream_conn_is_open(const struct stream_conn *c)
{
	return c->fd.fd >= 0;
}

#endif
