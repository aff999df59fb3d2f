/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_conn.h - one TCP connection that carries ONC RPC calls, and the calls in flight on it.
 *
 * Everything here belongs to the connection's loop.  Calls come in through struct rpc_service;
 * each is answered (rpc_reply_*) or dropped (rpc_req_drop) exactly once, at once or later.
 *
 * Limits (P8): calls in flight, bytes of replies queued or reserved and bytes of records pinned are
 * bounded a connection, buffers are bounded over all; past a bound the socket is not read.
 */
#ifndef NFS_RPC_CONN_H
#define NFS_RPC_CONN_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "frontends/nfs/rpc_msg.h"
#include "frontends/nfs/rpc_record.h"
#include "gateway/base/stream_conn.h"

#define RPC_CALLS_MAX 256u
#define RPC_RESERVED_MAX (16u * 1024 * 1024)
#define RPC_PINNED_MAX (16u * 1024 * 1024)
#define RPC_BUFFERS_MAX (512ul * 1024 * 1024) /* of the whole server */
/* A reply that is not built in a reserved region fits in this. */
#define RPC_REPLY_MAX 4096u

struct rpc_conn;

struct rpc_req { /* first member of the service's own call struct */
	struct rpc_conn *conn;
	struct rpc_header h; /* cred and verf point into the record */
	struct be_reader args;
	const uint8_t *record; /* valid until the service returns, or as long as it is pinned */
	uint32_t record_len;
	uint64_t start_ns; /* when it was received */
	struct stream_buf *pin;
	struct stream_buf *region; /* rpc_req_reserve */
	uint32_t region_off, region_len;
	uint32_t sent; /* bytes of the reply record that rpc_req_send sent */
	struct rpc_req *next_free;
};

struct rpc_service {
	size_t req_size; /* of the service's call struct */
	/* call - a decoded call header; req is the service's until it replies or drops. loop */
	void (*call)(struct rpc_req *req);
};

/* What the connections of one loop share. */
struct rpc_worker {
	struct stream_conns stream; /* first; its ops are rpc_conn_ops */
	const struct rpc_service *service;
	struct rpc_req *free_reqs;
	unsigned int nfree_reqs;
};

extern const struct stream_conn_ops rpc_conn_ops;

/* rpc_conn_open - serve fd; see struct stream_ops. tag is the service's (which port it came by) */
int rpc_conn_open(
    struct stream_worker *w, int fd, const union inet_addr *peer, unsigned int tag) CW_MUST_CHECK;
/* rpc_conn_close - at once; calls in flight end in silence. loop */
void rpc_conn_close(struct rpc_conn *c, const char *why);
/* rpc_worker_free - free pools; no connection may be left. */
void rpc_worker_free(struct rpc_worker *w);

const union inet_addr *rpc_conn_peer(const struct rpc_conn *c);
const char *rpc_conn_name(const struct rpc_conn *c); /* "10.0.0.1:877" for logs */
uint64_t rpc_conn_id(const struct rpc_conn *c);	     /* never used twice */
unsigned int rpc_conn_tag(const struct rpc_conn *c);
const struct rpc_service *rpc_conn_service(const struct rpc_conn *c);
struct loop *rpc_conn_loop(const struct rpc_conn *c);

/* rpc_req_pin - keep the record's bytes valid until the reply. */
void rpc_req_pin(struct rpc_req *req);
/* rpc_req_reserve - room in the reply stream for the reply of req, to be filled by anybody until the
 * reply. result: len bytes, not cleared, 4-byte aligned; len at most STREAM_BUF_BIG */
uint8_t *rpc_req_reserve(struct rpc_req *req, uint32_t len);

/* rpc_reply_begin - writer for a reply without a region; nothing else may happen on the connection
 * before rpc_reply_end. The writer stands at the reply's xid. */
void rpc_reply_begin(struct rpc_req *req, struct be_writer *w);
void rpc_reply_end(struct rpc_req *req, struct be_writer *w);
/* rpc_reply_region - the reply is region[off .. off+len); the 4 bytes before off must lie in the
 * region too: they take the record mark. */
void rpc_reply_region(struct rpc_req *req, uint32_t off, uint32_t len);
/* rpc_req_send - start the reply that rpc_reply_region() with the same place is going to end, if the
 * socket can take it now: the headers from there, the payload from iov, with no copy of ours.
 * args:   headers bytes at off, then body payload bytes, of which n iovecs hold all but the padding
 * result: payload bytes sent from the start of iov; the caller puts the rest into the region and must
 *         end the reply (or close the connection) before anything else happens on the connection
 * ctx:    loop */
uint32_t rpc_req_send(struct rpc_req *req, uint32_t off, uint32_t headers, const struct iovec *iov,
    unsigned int n, uint32_t body);
/* rpc_reply_bytes - a reply that was made before (the duplicate-request cache). */
void rpc_reply_bytes(struct rpc_req *req, const void *reply, uint32_t len);
/* rpc_reply_accepted, _auth_error - whole replies without results. */
void rpc_reply_accepted(
    struct rpc_req *req, enum rpc_accept_stat stat, uint32_t low, uint32_t high);
void rpc_reply_auth_error(struct rpc_req *req, enum rpc_auth_stat stat);
void rpc_req_drop(struct rpc_req *req);

#endif
