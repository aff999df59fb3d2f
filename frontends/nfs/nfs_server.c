/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nfs_server.c - which call goes where; start and stop.
 */
#include "frontends/nfs/nfs.h"

#include <stdlib.h>

#include "frontends/nfs/mount3.h"
#include "frontends/nfs/nfs3.h"
#include "frontends/nfs/rpc_auth.h"
#include "frontends/nfs/rpcbind.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define DRC_BYTES (32u * 1024 * 1024)
#define DRC_AGE_S 300u
#define STOP_S 3 /* then it is the bucket that calls wait for, and their clients ask again */
#define CLOSE_S 1
#define SWEEP_MS 10000

struct nfs_server {
	struct nfs_service service;
	struct stream_server *stream;
	_Atomic size_t buffer_bytes;
	struct rpcbind *rpcbind;
	bool is_started;
};

/* --- calls -------------------------------------------------------------------------------------- */

static void
on_nfs_call(struct nfs_call *call)
{
	struct rpc_req *req = &call->rpc;
	enum rpc_auth_stat auth;
	struct cw_cred claimed;

	if (req->h.vers != NFS3_VERSION) {
		rpc_reply_accepted(req, RPC_PROG_MISMATCH, NFS3_VERSION, NFS3_VERSION);
		return;
	}
	if (req->h.proc >= NFS3PROC_MAX) {
		rpc_reply_accepted(req, RPC_PROC_UNAVAIL, 0, 0);
		return;
	}
	if (req->h.proc == NFS3PROC_NULL) {
		rpc_reply_accepted(req, RPC_SUCCESS, 0, 0);
		return;
	}
	auth = rpc_auth_decode(&req->h, &claimed);
	if (auth != RPC_AUTH_OK) {
		rpc_reply_auth_error(req, auth);
		return;
	}
	nfs3_call(call, &claimed);
}

static void
on_mount_call(struct nfs_call *call)
{
	struct rpc_req *req = &call->rpc;

	if (req->h.vers != MOUNT_VERSION)
		rpc_reply_accepted(req, RPC_PROG_MISMATCH, MOUNT_VERSION, MOUNT_VERSION);
	else if (req->h.proc >= MOUNTPROC3_MAX)
		rpc_reply_accepted(req, RPC_PROC_UNAVAIL, 0, 0);
	else
		mount3_call(call);
}

static void
on_call(struct rpc_req *req)
{
	struct nfs_call *call = container_of(req, struct nfs_call, rpc);

	if (req->h.prog == NFS3_PROGRAM && rpc_conn_tag(req->conn) == NFS_PORT_ALL)
		on_nfs_call(call);
	else if (req->h.prog == MOUNT_PROGRAM)
		on_mount_call(call);
	else
		rpc_reply_accepted(req, RPC_PROG_UNAVAIL, 0, 0);
}

/* --- open --------------------------------------------------------------------------------------- */

static void
open_workers(struct nfs_server *s)
{
	struct metric *rx_bytes =
	    metrics_counter("nfs_received_bytes_total", NULL, "bytes from NFS clients");
	struct metric *tx_bytes =
	    metrics_counter("nfs_sent_bytes_total", NULL, "bytes to NFS clients");
	struct stream_worker *w;

	for (unsigned int i = 0; (w = stream_server_worker(s->stream, i)) != NULL; i++) {
		struct rpc_worker *rpc = container_of(w, struct rpc_worker, stream.worker);

		rpc->service = &s->service.rpc;
		stream_conns_init(
		    &rpc->stream, &rpc_conn_ops, &s->buffer_bytes, rx_bytes, tx_bytes);
	}
}

static void
server_free(struct nfs_server *s)
{
	struct stream_worker *w;

	for (unsigned int i = 0;
	     s->stream != NULL && (w = stream_server_worker(s->stream, i)) != NULL; i++)
		rpc_worker_free(container_of(w, struct rpc_worker, stream.worker));
	stream_server_free(s->stream);
	rpcbind_free(s->rpcbind);
	drc_free(s->service.drc);
	mount_table_free(s->service.mounts);
	free(s);
}

int
nfs_server_open(const struct nfs_server_conf *conf, struct nfs_server **out)
{
	static const struct stream_ops ops = {.open = rpc_conn_open,
	    .drain = stream_conns_drain,
	    .close_all = stream_conns_close_all,
	    .sweep = stream_conns_sweep};
	const struct stream_conf stream = {.name = "nfs",
	    .log = "nfs.server",
	    .ops = &ops,
	    .worker_size = sizeof(struct rpc_worker),
	    .loops = conf->loops,
	    .spin_us = conf->spin_us,
	    .max_connections = conf->max_connections,
	    .sweep_ms = SWEEP_MS,
	    .connections =
		metrics_gauge("nfs_connections", NULL, "open NFS and MOUNT connections")};
	struct nfs_server *s = xcalloc(1, sizeof(*s));
	int err;

	*out = NULL;
	s->service.rpc.req_size = sizeof(struct nfs_call);
	s->service.rpc.call = on_call;
	s->service.drc = drc_new(DRC_BYTES, DRC_AGE_S);
	s->service.mounts = mount_table_new();
	nfs3_metrics_init();
	err = stream_server_new(&stream, &s->stream);
	if (err == 0)
		err = stream_server_listen(s->stream, conf->listen, NFS_PORT_ALL);
	if (err == 0 && conf->mount_listen != NULL)
		err = stream_server_listen(s->stream, conf->mount_listen, NFS_PORT_MOUNT);
	if (err < 0) {
		server_free(s);
		return err;
	}
	open_workers(s);
	if (conf->register_rpcbind) {
		int r = rpcbind_open(&s->rpcbind);

		if (r < 0)
			log_warn("nfs.rpcbind", "no-socket", "err=\"%s\"", err_str(r));
	}
	*out = s;
	return 0;
}

/* --- start and stop ----------------------------------------------------------------------------- */

static void
announce(struct nfs_server *s)
{
	const union inet_addr *second = stream_server_address(s->stream, 1);
	unsigned int nfs = nfs_server_port(s), mount = second != NULL ? inet_port(second) : nfs;
	int err;

	if (s->rpcbind == NULL)
		return;
	err = rpcbind_set(s->rpcbind, NFS3_PROGRAM, NFS3_VERSION, nfs);
	if (err == 0)
		err = rpcbind_set(s->rpcbind, MOUNT_PROGRAM, MOUNT_VERSION, mount);
	if (err == 0) {
		log_info("nfs.rpcbind", "registered", "nfs=%u mount=%u", nfs, mount);
		return;
	}
	if (err == -ECONNREFUSED)
		log_info(
		    "nfs.rpcbind", "none", "next=\"mount with port=%u,mountport=%u\"", nfs, mount);
	else
		log_warn("nfs.rpcbind", "failed", "err=\"%s\"", err_str(err));
	rpcbind_free(s->rpcbind);
	s->rpcbind = NULL;
}

int
nfs_server_start(struct nfs_server *s)
{
	int err = stream_server_start(s->stream);

	if (err < 0)
		return err;
	s->is_started = true;
	announce(s);
	return 0;
}

uint16_t
nfs_server_port(const struct nfs_server *s)
{
	return inet_port(stream_server_address(s->stream, 0));
}

void
nfs_server_stop(struct nfs_server *s)
{
	if (s == NULL)
		return;
	if (s->rpcbind != NULL && s->is_started &&
	    (rpcbind_unset(s->rpcbind, NFS3_PROGRAM, NFS3_VERSION) < 0 ||
		rpcbind_unset(s->rpcbind, MOUNT_PROGRAM, MOUNT_VERSION) < 0))
		log_warn("nfs.rpcbind", "not-unregistered", "next=\"stop anyway\"");
	if (!stream_server_stop(s->stream, STOP_S, CLOSE_S)) {
		/* Calls wait for the store. Their completions will still come to our loops, so these
		 * must outlive us; the process is about to end. */
		log_warn("nfs.server", "calls-left", "next=\"their clients ask again\"");
		return;
	}
	server_free(s);
}
