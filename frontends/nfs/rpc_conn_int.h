/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_conn_int.h - what rpc_conn.c (life, receiving) and rpc_req.c (calls, sending) share. */
#ifndef NFS_RPC_CONN_INT_H
#define NFS_RPC_CONN_INT_H

#include "frontends/nfs/rpc_conn.h"

struct rpc_conn {
	struct rpc_worker *worker;
	struct loop_fd fd; /* fd.fd is -1 once closed */
	struct list link;  /* worker->conns */
	unsigned int refs, tag;
	uint64_t id;
	bool is_readable, at_eof, is_stalled, is_draining;
	bool flush_pending, run_pending;
	bool wants_big; /* the last records did not fit in a small buffer */
	struct loop_task flush_task, run_task;
	/* receiving */
	struct stream_buf *rx;
	uint32_t rx_start; /* where the current record starts */
	struct rpc_record record;
	size_t need; /* from rx_start on */
	uint64_t last_rx_ns;
	/* calls */
	unsigned int nreqs;
	size_t pinned_bytes;
	/* sending */
	struct stream_tx tx;
	size_t reserved_bytes;
	union inet_addr peer;
	char name[INET_TEXT_MAX];
};

static inline bool
conn_is_open(const struct rpc_conn *c)
{
	return c->fd.fd >= 0;
}

void conn_unref(struct rpc_conn *c);
/* conn_may_take - do the limits allow one more call? */
bool conn_may_take(const struct rpc_conn *c);
/* conn_schedule_run - read and take calls again, after the other events. */
void conn_schedule_run(struct rpc_conn *c);

/* conn_flush - send what is queued, as much as the socket takes. */
void conn_flush(struct rpc_conn *c);
/* conn_after_progress - take up again what a limit had stopped; finish draining. */
void conn_after_progress(struct rpc_conn *c);
void conn_on_flush_task(struct loop_task *t);
/* rpc_req_new - a call of c, its rpc part cleared. */
struct rpc_req *rpc_req_new(struct rpc_conn *c);

#endif
